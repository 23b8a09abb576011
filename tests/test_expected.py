"""The expected field: against Jacobians, all sign flips, closed forms and an ensemble."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from matplotlib.text import Text
from scipy import integrate, stats

import keras_erf as erf
from keras_erf import zoo
from keras_erf.cone import whole_cone
from keras_erf.errors import GradientError, InvalidInputError, UnknownLayerError
from keras_erf.fields.theoretical import locate
from keras_erf.second_moments import squared
from keras_erf.second_moments.network import _built
from tests import jacobian, oracles


def seeded(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives all weights values of either sign, statistics positive ones."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        values = rng.uniform(0.3, 1.2, variable.shape)
        if not variable.path.endswith("variance"):
            values *= rng.choice((-1, 1), variable.shape)
        variable.assign(values)
    return model


def built(make: Callable[[Any], Any], shape: tuple[int, ...], seed: int = 0) -> keras.Model:
    # In three dimensions TensorFlow pools in single precision only.
    with jacobian.precision("float32" if len(shape) == 4 else "float64"):
        inputs = keras.Input(shape)
        return seeded(keras.Model(inputs, make(inputs)), seed)


def squares_of_jacobian(model: keras.Model, unit: tuple[int, ...]) -> np.ndarray:
    """Sum over the unit's channels, mean over the input's, of the Jacobian's squares."""
    values = np.random.default_rng(1).normal(size=(1, *model.input_shape[1:]))
    x = tf.constant(values, model.inputs[0].dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = model(x)[(0, *unit)]
    found = tape.jacobian(y, x, experimental_use_pfor=False).numpy()[:, 0]
    return np.square(found).sum(axis=0).mean(axis=-1)


# Layers whose Jacobian has no entry that is a sum over random weights: the mean over random signs
# of its squares is that of its squares.
SINGLE: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "conv1d": (lambda x: layers.Conv1D(3, 3, padding="causal")(x), (9, 2)),
    "conv2d": (lambda x: layers.Conv2D(3, 3, padding="same")(x), (7, 6, 2)),
    "strided": (lambda x: layers.Conv2D(2, 3, strides=2, padding="same")(x), (8, 7, 2)),
    "dilated": (lambda x: layers.Conv2D(2, 3, dilation_rate=2)(x), (9, 9, 2)),
    "grouped": (lambda x: layers.Conv2D(4, 3, groups=2)(x), (6, 6, 4)),
    "conv3d": (lambda x: layers.Conv3D(2, 2)(x), (4, 3, 3, 2)),
    "depthwise": (lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(x), (6, 6, 3)),
    "separable": (lambda x: layers.SeparableConv2D(3, 3)(x), (6, 6, 2)),
    "transposed": (lambda x: layers.Conv2DTranspose(2, 3, strides=2, padding="same")(x), (5, 4, 3)),
    "dense": (lambda x: layers.Dense(4)(x), (5, 5, 3)),
    "average pool": (lambda x: layers.AveragePooling2D(3, 2)(x), (8, 7, 2)),
    "average pool, same": (lambda x: layers.AveragePooling2D(3, 1, padding="same")(x), (5, 6, 2)),
    "average pool, volume": (lambda x: layers.AveragePooling3D(2)(x), (4, 4, 4, 2)),
    "global average": (
        lambda x: x - layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(2, 1)(x)),
        (4, 5, 2),
    ),
    "zero padding": (lambda x: layers.ZeroPadding2D(((1, 0), (2, 1)))(x), (4, 4, 2)),
    "cropping": (lambda x: layers.Cropping2D(1)(x), (6, 6, 2)),
    "copies": (lambda x: layers.UpSampling2D(2)(x), (4, 4, 2)),
    "interpolation": (lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x), (5, 4, 2)),
    "resizing": (lambda x: layers.Resizing(7, 9)(x), (5, 4, 2)),
    "batch normalisation": (lambda x: layers.BatchNormalization()(x), (4, 4, 3)),
    "standardisation": (
        lambda x: layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 0.25])(x),
        (4, 4, 2),
    ),
    "rescaling": (lambda x: layers.Rescaling(1 / 3, offset=2)(x), (4, 4, 2)),
    "scales by channel": (lambda x: layers.Rescaling([2.0, 3.0])(x), (4, 4, 2)),
    "numbers": (lambda x: 3.0 * x / 4.0 - 1.0, (4, 4, 2)),
    "numbers by place": (lambda x: x * np.arange(1.0, 17).reshape(4, 4, 1), (4, 4, 2)),
    "permuted": (lambda x: layers.Permute((2, 1, 3))(x), (4, 5, 2)),
    "reshaped": (lambda x: layers.Reshape((5, 4, 2))(x), (4, 5, 2)),
    "cut and put together": (
        lambda x: ops.concatenate([x[..., :1], layers.Conv2D(2, 1)(x[..., 1:])], axis=-1),
        (4, 4, 3),
    ),
    "sum of branches": (
        lambda x: layers.Conv2D(2, 3, padding="same")(x) - layers.Conv2D(2, 1)(x),
        (5, 5, 2),
    ),
    "mean of branches": (
        lambda x: layers.Average()([layers.Conv2D(2, 1, strides=2)(x), layers.Conv2D(2, 2, 2)(x)]),
        (6, 6, 2),
    ),
    "repeated over time": (
        lambda x: layers.TimeDistributed(layers.Conv1D(2, 3, padding="same"))(x),
        (3, 5, 2),
    ),
}
# Entries that are sums over random weights get their squares' mean all the same.
SUMMED = {"sum of branches", "mean of branches", "separable", "global average"}
# Measured by random signs: right in the mean only.
DRAWN = {"repeated over time"}


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        (name, corner)
        for name in sorted(set(SINGLE) - SUMMED - DRAWN)
        for corner in (False, True)
        if not (corner and name == "zero padding")  # There is nothing but padding.
    ],
)
def test_squares_of_one_layer_are_those_of_its_jacobian(name, corner):
    make, shape = SINGLE[name]
    model = built(make, shape)
    unit = (0,) * (len(shape) - 1) if corner else "center"
    found = erf.expected(model, weights="given", unit=unit)
    wanted = squares_of_jacobian(model, found.unit)
    single = len(shape) == 4 or name in ("interpolation", "resizing", "rescaling")
    np.testing.assert_allclose(found.map, wanted, rtol=1e-6 if single else 1e-12, atol=0)
    assert found.provenance["expected"]["approximate"] == []
    assert found.provenance["expected"]["measured"] == []


def test_a_layer_without_a_rule_is_measured():
    make, shape = SINGLE["repeated over time"]
    model = built(make, shape)
    found = erf.expected(model, weights="given")
    wanted = squares_of_jacobian(model, found.unit)
    assert len(found.provenance["expected"]["measured"]) == 1
    # An input channel sees two of the output's, by draws of 32 signs: a few tenths off at most.
    np.testing.assert_allclose(found.map, wanted, rtol=0.6)
    np.testing.assert_allclose(found.map.sum(), wanted.sum(), rtol=0.25)


@keras.saving.register_keras_serializable("tests")
class Rolled(layers.Layer):
    """Three times the pixel one to the left: each pixel is seen by one unit."""

    def call(self, x):
        # In a loop of TensorFlow's, so that there is nothing to trace.
        return tf.map_fn(lambda row: 3.0 * tf.roll(row, 1, axis=0), tf.convert_to_tensor(x))

    def compute_output_shape(self, shape):
        return shape


def test_measured_squares_are_exact_where_each_pixel_is_seen_once():
    model = built(lambda x: layers.Conv1D(2, 3)(Rolled()(x)), (8, 2))
    found = erf.expected(model, weights="given")
    wanted = squares_of_jacobian(model, found.unit)
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12)
    assert found.provenance["expected"]["measured"] == [model.layers[1].name]


@keras.saving.register_keras_serializable("tests")
class Mixed(layers.Layer):
    """A scale for each channel, and a move: operations whose squares are known."""

    def build(self, shape):
        self.scales = self.add_weight(
            shape=(shape[-1],), initializer=keras.initializers.RandomUniform(0.5, 1.5, seed=0)
        )

    def call(self, x):
        return ops.roll(x * self.scales, 1, axis=1) / 2.0


@pytest.mark.parametrize("weights", ["given", "random"])
def test_a_layer_of_ones_own_is_traced(weights):
    model = built(lambda x: layers.Conv1D(2, 3)(Mixed()(x)), (8, 2))
    found = erf.expected(model, weights=weights)
    assert found.provenance["expected"]["measured"] == []
    wanted = squares_of_jacobian(model, found.unit)
    if weights == "random":
        # Glorot's variance for each tap and output; scales as they are.
        scales = np.square(model.layers[1].scales.numpy()).mean() / 4
        taps = wanted > 0
        wanted = np.where(taps, 2 * (2 / (3 * 2 + 3 * 2)) * scales, 0.0)
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12)


@keras.saving.register_keras_serializable("tests")
class Led(layers.Layer):
    """A token of its own in front of the others."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="zeros")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1)


def test_tokens_that_a_layer_puts_in_front_are_no_part_of_the_field():
    model = built(lambda x: layers.Conv1D(2, 3, name="end")(Led()(x)), (8, 2))
    for unit in ((0,), (4,)):
        found = erf.expected(model, "end", weights="given", unit=unit)
        wanted = squares_of_jacobian(model, found.unit)
        np.testing.assert_allclose(found.map, wanted, rtol=1e-12)
    assert [one.layer for one in erf.growth(model)] == [model.layers[1].name, "end"]


class Flips:
    """The mean squared gradient of a small model over every choice of its weights' signs."""

    def __init__(self, model: keras.Model, unit: tuple[int, ...]) -> None:
        self.model, self.unit = model, unit
        self.variables = model.trainable_variables
        self.values = [variable.numpy() for variable in self.variables]

    def squares(self) -> np.ndarray:
        x = tf.zeros((1, *self.model.input_shape[1:]), tf.float64)

        @tf.function
        def gradient(weights):
            with tf.GradientTape() as tape, keras.StatelessScope(zip_of(self.variables, weights)):
                tape.watch(x)
                y = tf.reduce_sum(self.model(x)[(0, *self.unit)])
            return tape.gradient(y, x)

        sizes = [value.size for value in self.values]
        total, count = np.zeros(x.shape[1:]), 0
        for signs in itertools.product((-1.0, 1.0), repeat=sum(sizes)):
            parts = np.split(np.array(signs), np.cumsum(sizes)[:-1])
            flipped = [
                tf.constant(value * part.reshape(value.shape))
                for value, part in zip(self.values, parts, strict=True)
            ]
            total += np.square(gradient(flipped).numpy()[0])
            count += 1
        return (total / count).mean(axis=-1)


def zip_of(variables, weights):
    return list(zip(variables, weights, strict=True))


def small_residual(x: Any) -> Any:
    """A strided convolution, a shortcut and an average pool: 6 + 4 weights."""
    x = layers.Conv1D(2, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.DepthwiseConv1D(2, padding="same", use_bias=False)(x)
    return layers.AveragePooling1D(2, 1, padding="same")(layers.Add()([x, y]))


def small_branches(x: Any) -> Any:
    """A dilated and a 1x1 convolution side by side, then one over both: 3 + 1 + 4 weights."""
    one = layers.Conv1D(1, 3, dilation_rate=2, padding="same", use_bias=False)(x)
    other = layers.Conv1D(1, 1, use_bias=False)(x)
    both = layers.Concatenate()([one, other])
    return layers.Conv1D(1, 2, padding="same", use_bias=False)(both)


@pytest.mark.parametrize("make", [small_residual, small_branches])
def test_all_sign_flips_have_the_expected_squares_in_the_mean(make):
    model = built(make, (9, 1))
    found = erf.expected(model, weights="given")
    wanted = Flips(model, found.unit).squares()
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("depth", [5, 10, 20, 40])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_random_stacks_have_the_map_of_uniform_kernels(depth, activation):
    size = 2 * depth + 1
    model = zoo.build("plain", depth=depth, activation=activation, input_shape=(size, size))
    found = erf.expected(model)
    wanted = oracles.uniform_map(depth, 3)
    shown = found.map / found.map.sum()
    np.testing.assert_allclose(shown, wanted, rtol=1e-10)
    assert round(found.size**2) == oracles.PIXELS_OF_UNIFORM[depth]


@pytest.mark.parametrize("dims", [1, 3])
def test_any_number_of_axes(dims):
    model = zoo.build("plain", depth=3, dims=dims, kernel_size=2, input_shape=(9,) * dims)
    found = erf.expected(model)
    shown = found.map[found.map > 0].ravel() / found.map.sum()
    np.testing.assert_allclose(shown, oracles.uniform_map(3, 2, dims).ravel(), rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_a_relu_halves_the_squares(depth):
    # He's kernels have variance 2 / (9 c): each ReLU layer keeps the energy, the last has twice
    # that of its 8 channels.
    model = zoo.build("plain", depth=depth, activation="relu", input_shape=(31, 31))
    assert erf.expected(model).moments().mass == pytest.approx(2 * 8, rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "silu"])
def test_slopes_are_those_of_a_gaussian_signal(name):
    function = keras.activations.get(name)

    def build(activation):
        start = keras.initializers.RandomNormal(stddev=0.5, seed=0)
        x = keras.Input((9, 9, 4))
        y = layers.Conv2D(8, 3, kernel_initializer=start, activation=activation)(x)
        return keras.Model(x, layers.Conv2D(8, 3, kernel_initializer=start)(y))

    # Of noise of variance 1: 9 * 4 terms of variance 1/4.
    spread = 3.0

    def integrand(z):
        point = tf.constant(spread * z, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(point)
            made = function(point)
        return float(tape.gradient(made, point)) ** 2 * stats.norm.pdf(z)

    wanted, _ = integrate.quad(integrand, -8, 8, limit=200, points=[0])
    ratio = erf.expected(build(name)).moments().mass / erf.expected(build(None)).moments().mass
    assert ratio == pytest.approx(wanted, rel=0.02)


@keras.saving.register_keras_serializable("tests")
class Dropping(layers.Layer):
    """A layer of one's own with dropout inside."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drop = layers.Dropout(rate)

    def call(self, x, training=False):
        return self.drop(x, training=training) * 1.0


@pytest.mark.parametrize(
    "layer", [layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, Dropping]
)
def test_dropout_scales_by_what_is_kept(layer):
    x = keras.Input((9, 9, 2))
    model = keras.Model(x, layers.Conv2D(3, 3)(layer(0.2)(layers.Conv2D(3, 3)(x))))
    quiet, active = erf.expected(model), erf.expected(model, training=True)
    np.testing.assert_allclose(active.map, quiet.map / 0.8, rtol=1e-12)


def test_a_shortcut_weighs_as_much_as_its_branch():
    # y = x + F(x) with one convolution of energy v in F: (1 + v K), K uniform.
    energy, start = 2.25, keras.initializers.RandomNormal(stddev=1.5 / np.sqrt(9 * 8), seed=0)
    inputs = x = keras.Input((21, 21, 8))
    for _ in range(3):
        branch = layers.Conv2D(8, 3, padding="same", kernel_initializer=start)(x)
        x = layers.Add()([x, branch])
    found = erf.expected(keras.Model(inputs, x))
    wanted = np.zeros((21, 21))
    for steps, ways in enumerate((1, 3, 3, 1)):
        around = 10 - steps
        wanted += ways * energy**steps * np.pad(oracles.uniform_map(steps, 3), around)
    np.testing.assert_allclose(found.map, wanted, rtol=1e-10)


def test_random_batch_normalisation_undoes_the_scale_before_it():
    def build(scale):
        start = keras.initializers.RandomNormal(stddev=scale, seed=0)
        x = keras.Input((17, 17, 4))
        y = layers.Conv2D(6, 3, padding="same", kernel_initializer=start)(x)
        return keras.Model(
            x, layers.Add()([layers.Conv2D(6, 1)(x), layers.BatchNormalization()(y)])
        )

    small, large = erf.expected(build(0.5)), erf.expected(build(5.0))
    # But for epsilon, 1e-3 against a variance of 9.
    np.testing.assert_allclose(small.map, large.map, rtol=2e-4)
    # The branch: 9 x 4 terms of one unit's energy in all, for each of 6 units. On average over the
    # map 49 of 51 taps of each axis are inside of it: the others see zeros.
    edge = small.map[8, 9] * 9 * 4
    assert edge == pytest.approx(6 / (49 / 51) ** 2, rel=1e-3)


def test_an_ensemble_agrees():
    def build(seed):
        return zoo.build(
            "plain",
            depth=4,
            filters=24,
            channels=8,
            activation="relu",
            input_shape=(9, 9),
            seed=seed,
        )

    predicted = erf.expected(build(0))
    sampled = erf.ensemble(build, runs=120, definition="luo2016-squared")
    mass = sampled.estimate("mass")
    assert abs(predicted.moments().mass - mass.value) < 4 * mass.error
    assert np.corrcoef(predicted.map.ravel(), sampled.map.ravel())[0, 1] > 0.985


def test_one_channel_stands_for_all():
    def build():
        x = keras.Input((24, 24, 3))
        y = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
        z = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(y)
        y = layers.Concatenate()([layers.Conv2D(3, 3, padding="same", groups=3)(y), z])
        y = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(y))
        y = layers.Conv2DTranspose(4, 4, strides=2, padding="same")(y)
        return keras.Model(x, layers.DepthwiseConv2D(3, padding="same")(y))

    target = locate(build())
    network = squared(target.tracing, [target.tensor], weights="random", training=False)
    assert network.narrow
    calls = [(node, (node.outputs[0], 0)) for node in target.graph.ancestors(target.tensor)]
    wide = _built(target.tracing, calls, [target.tensor], "random", False, narrow=False)
    found = []
    for one in (network, wide):
        shape = one.tracing.shape(target.input)
        x = tf.zeros((1, *shape), tf.float64)
        cone = whole_cone(one.tracing.graph, [target.tensor])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cone.run({target.input: x})[target.tensor][0, 6, 6]
            seed = tf.reduce_sum(y)
        found.append(tape.gradient(seed, x).numpy()[0].mean(axis=-1))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_growth_is_the_expected_field_of_each_layer():
    model = zoo.build("plain", depth=6, activation="relu", input_shape=(21, 21))
    grown = erf.growth(model)
    assert [one.layer for one in grown.results] == [one.name for one in model.layers[1:]]
    assert round(grown["conv5"].size ** 2) == oracles.PIXELS_OF_UNIFORM[5]
    assert list(grown.frame["depth"]) == list(range(1, 12))
    one = erf.expected(model, "conv4")
    np.testing.assert_allclose(grown["conv4"].map, one.map, rtol=1e-12)
    assert [one.layer for one in erf.growth(model, ["conv2", "conv4"]).results] == [
        "conv2",
        "conv4",
    ]


def test_growth_and_expected_give_one_answer():
    def conv(x, size=3):
        return layers.Conv2D(8, size, padding="same")(x)

    x = keras.Input((9, 9, 4))
    y = layers.ReLU()(layers.BatchNormalization()(conv(x)))
    y = layers.ReLU()(layers.Add()([y, layers.BatchNormalization()(conv(y))]))
    y = layers.Concatenate()([y, layers.AveragePooling2D(3, 1, padding="same")(conv(y))])
    y = layers.AveragePooling2D(2)(layers.ReLU()(layers.BatchNormalization()(y)))
    # Channels that become space are all there, and no longer one for all.
    y = layers.Reshape((4, 64))(layers.LayerNormalization()(y))
    grown = erf.growth(keras.Model(x, y))
    assert len(grown.results) > 10
    for one in grown.results:
        alone = erf.expected(keras.Model(x, y), one.layer).map
        np.testing.assert_allclose(one.map, alone, rtol=1e-9, atol=1e-12 * alone.max())


def test_the_model_stays_as_it_is():
    model = zoo.load("cifar_resnet14")
    before = [weight.numpy() for weight in model.weights]
    calls = [len(layer._inbound_nodes) for layer in model.layers]
    for weights in ("random", "given"):
        erf.expected(model, "stage2_block2_out", weights=weights)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert [len(layer._inbound_nodes) for layer in model.layers] == calls


def test_units_at_a_border_lose_what_lies_outside():
    model = zoo.build("plain", depth=3, input_shape=(12, 12))
    found = erf.expected(model, unit=(0, 0))
    # A walk that steps out of the image is lost at once: brute force over the paths inside.
    line = np.zeros(12)
    line[0] = 1
    for _ in range(3):
        line = np.convolve(line, np.ones(3) / 3, mode="same")
    wanted = np.multiply.outer(line, line)
    np.testing.assert_allclose(
        found.map / found.map.max(), wanted / wanted.max(), rtol=1e-10, atol=1e-14
    )


def test_several_inputs():
    one, other = keras.Input((9, 9, 2), name="one"), keras.Input((9, 9, 2), name="other")
    x = layers.Conv2D(4, 3, padding="same")(one)
    y = layers.Conv2D(4, 5, padding="same")(other)
    model = keras.Model([one, other], layers.Conv2D(2, 3)(layers.Concatenate()([x, y])))
    assert erf.expected(model, input="one").receptive_field.size == (5, 5)
    found = erf.expected(model, input="other")
    alone = keras.Model(other, layers.Conv2D(2, 3)(layers.Conv2D(4, 5, padding="same")(other)))
    wanted = erf.expected(alone)
    shape = found.map / found.map.sum()
    np.testing.assert_allclose(shape, wanted.map / wanted.map.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"weights": "trained"}, InvalidInputError, "`weights` must be 'random' or 'given'"),
        ({"training": 1}, InvalidInputError, "`training` must be True or False"),
        ({"layer": "conv9"}, UnknownLayerError, "conv9"),
        ({"unit": (99, 99)}, InvalidInputError, "`unit`"),
    ],
)
def test_bad_arguments_are_reported(options, error, text):
    model = zoo.build("plain", depth=2, input_shape=(9, 9))
    with pytest.raises(error, match=text):
        erf.expected(model, **options)


def test_weights_about_another_mean_have_no_random_signs():
    model = zoo.build("plain", depth=2, weights="uniform", input_shape=(9, 9))
    with pytest.raises(InvalidInputError, match=r"`weights` must be 'given'.*'conv1'.*Ones"):
        erf.expected(model)
    assert erf.expected(model, weights="given").size > 0


def test_no_gradient_is_reported():
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(2, 3, kernel_initializer="zeros")(x)
    with pytest.raises(GradientError, match="is zero everywhere"):
        erf.expected(keras.Model(x, y))


def test_there_are_no_samples_to_merge():
    model = zoo.build("plain", depth=2, input_shape=(9, 9))
    measured = erf.probe(model, definition="luo2016-squared")
    for one, other in ((measured, erf.expected(model)), (erf.expected(model), measured)):
        with pytest.raises(InvalidInputError, match="an expected field has no samples to add"):
            one.merge(other)


def test_it_says_what_it_is(tmp_path):
    model = zoo.build("plain", depth=2, input_shape=(9, 9))
    found = erf.expected(model)
    assert "expected of random weights" in repr(found)
    assert "sample" not in repr(found)
    assert found.expected == "random"
    texts = [text.get_text() for text in found.plot().figure.findobj(Text)]
    assert any("expected of random weights" in text for text in texts)
    assert not any("sample" in text for text in texts)
    texts = [text.get_text() for text in erf.growth(model).plot().figure.findobj(Text)]
    assert any("expected of random weights" in text for text in texts)
    assert found.definition.name == "luo2016-squared"
    assert erf.probe(model, samples=2).expected is None
    found.save(tmp_path / "one.npz")
    again = erf.load(tmp_path / "one.npz")
    np.testing.assert_array_equal(again.map, found.map)
    assert again.provenance["expected"] == {"weights": "random", "approximate": [], "measured": []}


# --- Models as users have them -------------------------------------------------------------------


class Narrow(layers.Conv2D):
    """A convolution whose own constructor takes less than Keras's."""

    def __init__(self, filters: int, **options: Any) -> None:
        super().__init__(filters, 3, padding="same", **options)


class Unknown(keras.initializers.Initializer):
    """Registered nowhere."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.random.normal(shape, stddev=0.2, dtype=dtype)


class Plain(keras.regularizers.Regularizer):
    """Cannot tell its settings."""

    def __call__(self, x: Any) -> Any:
        return ops.sum(ops.square(x))


def drawn(shape, dtype):
    return keras.random.normal(shape, stddev=0.2, dtype=dtype)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Narrow(4, kernel_initializer=keras.initializers.RandomNormal(stddev=0.2)),
        lambda: layers.Conv2D(4, 3, padding="same", kernel_initializer=Unknown()),
        lambda: layers.Conv2D(4, 3, padding="same", kernel_initializer=drawn),
        lambda: layers.Conv2D(
            4,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.2),
            kernel_regularizer=Plain(),
        ),
    ],
)
def test_layers_that_keras_could_not_make_again(make):
    x = keras.Input((9, 9, 2))
    found = erf.expected(keras.Model(x, make()(make()(x))))
    wanted = oracles.uniform_map(2, 3)
    shown = found.map[2:7, 2:7] / found.map.sum()
    np.testing.assert_allclose(shown, wanted, rtol=0.2)
    # 9 taps of 4 channels on the way, twice, of variance 0.04 each.
    assert found.map.sum() == pytest.approx((9 * 4 * 0.04) ** 2, rel=0.1)


def test_an_activation_that_is_a_layer_is_no_weight():
    def build(inside):
        start = keras.initializers.HeNormal(seed=0)
        x = y = keras.Input((13, 13, 4))
        for _ in range(3):
            slope = layers.LeakyReLU(negative_slope=0.1)
            y = layers.Conv2D(8, 3, kernel_initializer=start, activation=slope if inside else None)(
                y
            )
            y = y if inside else slope(y)
        return keras.Model(x, y)

    inside, behind = erf.expected(build(True)), erf.expected(build(False))
    assert inside.provenance["expected"]["measured"] == []
    # Examples are drawn by the place of a call, so that they differ.
    np.testing.assert_allclose(inside.map, behind.map, rtol=2e-3)


def test_channels_first():
    def build(form):
        start = keras.initializers.RandomNormal(stddev=0.2, seed=0)
        shape = (2, 11, 11) if form == "channels_first" else (11, 11, 2)
        x = keras.Input(shape)
        y = layers.Conv2D(4, 3, data_format=form, kernel_initializer=start)(x)
        y = layers.ReLU()(layers.MaxPooling2D(2, 1, data_format=form)(y))
        y = layers.ZeroPadding2D(((1, 0), (2, 0)), data_format=form)(y)
        y = layers.BatchNormalization(axis=1 if form == "channels_first" else -1)(y)
        y = layers.AveragePooling2D(3, 1, padding="same", data_format=form)(y)
        return keras.Model(x, layers.Conv2D(3, 3, data_format=form, kernel_initializer=start)(y))

    first, last = erf.expected(build("channels_first")), erf.expected(build("channels_last"))
    np.testing.assert_allclose(first.map, last.map, rtol=1e-9)


def test_normalisation_along_another_axis():
    with jacobian.precision():
        x = keras.Input((4, 5, 3))
        model = seeded(keras.Model(x, layers.BatchNormalization(axis=1)(x)))
    found = erf.expected(model, weights="given")
    np.testing.assert_allclose(found.map, squares_of_jacobian(model, found.unit), rtol=1e-10)


def test_there_is_no_error_to_tell():
    model = zoo.build("plain", depth=3, activation="relu", input_shape=(9, 9))
    found = erf.expected(model)
    assert np.isnan(found.size_error)
    assert np.isnan(found.estimate("sigma").low).all()
    assert found.stopped_by == "expected"


def test_nothing_is_drawn_from_the_global_seeds():
    model = zoo.build("plain", depth=3, activation="relu", input_shape=(9, 9))
    keras.utils.set_random_seed(3)
    wanted = random.random(), float(keras.random.normal((1,))[0])
    keras.utils.set_random_seed(3)
    erf.expected(model)
    erf.expected(model, weights="given")
    erf.growth(model)
    found = random.random(), float(keras.random.normal((1,))[0])
    assert found == wanted


def test_growth_leaves_out_layers_without_a_field():
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(4, 3, padding="same", name="one")(x)
    z = layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros", name="two")(y)
    z = layers.Add(name="sum")([y, z])
    z = layers.Conv2D(4, 3, kernel_initializer="ones", name="three")(z)
    grown = erf.growth(keras.Model(x, z))
    assert [one.layer for one in grown.results] == ["one", "sum"]
    assert [name for name, _ in grown.skipped] == ["two", "three"]
    with pytest.raises(GradientError, match="'two' is zero everywhere"):
        erf.growth(keras.Model(x, z), ["one", "two"])


def test_whole_numbers_have_no_gradient():
    x = keras.Input((9, 9, 2), dtype="uint8")
    model = keras.Model(x, layers.Conv2D(2, 3)(ops.cast(x, "float32")))
    with pytest.raises(InvalidInputError, match="`input` must be of a floating type"):
        erf.expected(model)


@pytest.mark.parametrize("norm", [layers.LayerNormalization, lambda: layers.GroupNormalization(2)])
def test_layer_and_group_normalisation(norm):
    def build(seed):
        keras.utils.set_random_seed(seed)
        x = keras.Input((11, 11, 4))
        y = layers.Conv2D(48, 3, kernel_initializer="he_normal")(x)
        y = layers.ReLU()(norm()(y))
        y = layers.ReLU()(norm()(layers.Conv2D(48, 3, kernel_initializer="he_normal")(y)))
        return keras.Model(x, layers.Conv2D(8, 3)(y))

    predicted = erf.expected(build(0))
    assert len(predicted.provenance["expected"]["approximate"]) == 2
    sampled = erf.ensemble(build, runs=40, definition="luo2016-squared")
    assert predicted.map.sum() == pytest.approx(sampled.map.sum(), rel=0.15)
    assert np.corrcoef(predicted.map.ravel(), sampled.map.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("norm", [layers.LayerNormalization, lambda: layers.GroupNormalization(2)])
def test_the_gain_of_a_normalisation_counts_by_its_square(norm):
    x = keras.Input((9, 9, 2))
    y = norm()(layers.Conv2D(4, 3, kernel_initializer=keras.initializers.HeNormal(seed=0))(x))
    model = keras.Model(x, layers.Conv2D(2, 3, kernel_initializer="ones")(y))
    plain = erf.expected(model, weights="given").map
    model.layers[2].gamma.assign(np.full(4, 3.0))
    np.testing.assert_allclose(erf.expected(model, weights="given").map, 9 * plain, rtol=1e-9)


def pooled_twice(x: Any) -> Any:
    x = layers.AveragePooling1D(2, 1)(x)
    x = layers.Conv1D(1, 3, use_bias=False)(x)
    return layers.AveragePooling1D(2, 1)(x)


def pooled_around_a_stride(x: Any) -> Any:
    x = layers.AveragePooling1D(3, 1, padding="same")(x)
    x = layers.Conv1D(2, 2, strides=2, padding="same", use_bias=False)(x)
    x = layers.AveragePooling1D(3, 1)(layers.Conv1D(1, 2, use_bias=False)(x))
    return layers.AveragePooling1D(2, 1)(x)


def pooled_around_an_enlargement(x: Any) -> Any:
    x = layers.AveragePooling1D(3, 1)(x)
    x = layers.Conv1DTranspose(1, 3, strides=2, use_bias=False)(x)
    x = layers.AveragePooling1D(3, 1, padding="same")(layers.ZeroPadding1D((2, 1))(x))
    return layers.UpSampling1D(2)(layers.DepthwiseConv1D(2, use_bias=False)(x))


def own_averages(x: Any) -> Any:
    for _ in range(2):
        x = layers.Conv1D(1, 3, padding="same", use_bias=False)(x)
        x = layers.Add()([x, layers.AveragePooling1D(3, 1, padding="same")(x)])
    return x


def less_own_average(x: Any) -> Any:
    x = layers.Conv1D(1, 2, use_bias=False)(layers.AveragePooling1D(2, 1)(x))
    y = layers.AveragePooling1D(3, 1, padding="same")(x)
    return layers.Average()([layers.Subtract()([y, x]), x])


def scaled_average(x: Any) -> Any:
    x = layers.Conv1D(1, 2, use_bias=False)(layers.AveragePooling1D(2, 1)(x))
    y = layers.AveragePooling1D(3, 1, padding="same")(x)
    return layers.Add()([layers.BatchNormalization(scale=False, center=False, epsilon=3.0)(y), x])


@pytest.mark.parametrize(
    "make",
    [
        pooled_twice,
        scaled_average,
        pooled_around_a_stride,
        pooled_around_an_enlargement,
        own_averages,
        less_own_average,
    ],
)
@pytest.mark.parametrize("corner", [False, True])
def test_what_neighbours_have_in_common_is_carried(make, corner):
    model = built(make, (13, 1))
    found = erf.expected(model, weights="given", unit=(0,) if corner else "center")
    wanted = Flips(model, found.unit).squares()
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12, atol=1e-14)
    assert found.provenance["expected"]["approximate"] == []


def test_a_scale_by_channel_is_no_function_of_single_entries():
    """A setting of the layer and an operand of the call are the same product."""

    def gated(scale: Callable[[Any], Any]) -> np.ndarray:
        inputs = keras.Input((6, 6, 2))
        x = layers.Conv2D(2, 3, kernel_initializer=keras.initializers.HeNormal(seed=0))(inputs)
        x = layers.Multiply()([x, layers.Activation("sigmoid")(scale(x))])
        return erf.expected(keras.Model(inputs, x), weights="given").map

    constant = np.asarray([2.0, 3.0], "float32")
    found = gated(layers.Rescaling([2.0, 3.0]))
    np.testing.assert_allclose(found, gated(lambda x: x * constant), rtol=1e-9)


def interpolated(x: Any, form: str = "channels_last") -> Any:
    x = layers.AveragePooling2D(3, 1, data_format=form)(x)
    x = layers.Conv2D(1, 2, strides=(2, 1), use_bias=False, data_format=form)(x)
    return layers.UpSampling2D(2, interpolation="bilinear", data_format=form)(x)


@pytest.mark.parametrize("form", ["channels_last", "channels_first"])
def test_what_neighbours_have_in_common_along_two_axes(form):
    last = built(interpolated, (8, 6, 1))
    model = last
    if form == "channels_first":
        model = built(lambda x: interpolated(x, form), (1, 8, 6))
        model.set_weights(last.get_weights())
    found = erf.expected(model, weights="given")
    wanted = Flips(last, found.unit).squares()
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12, atol=1e-14)


def meeting(between: Callable[[Any], Any], seed: int = 0) -> keras.Model:
    """Tensors that are added to what a layer without weights makes of them, and a branch."""
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((24, 24, 8))
    for block in range(4):
        x = layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal")(x)
        own = layers.Add(name=f"own{block}")([x, between(x)])
        branch = layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal")(x)
        x = layers.Add()([branch, own])
    return keras.Model(inputs, layers.Conv2D(8, 3, padding="same", name="end")(x))


def test_mixed_terms_that_may_change_a_size_are_refused():
    def between(x):
        return layers.BatchNormalization()(layers.ReLU()(x))

    model = meeting(between)
    with pytest.raises(InvalidInputError, match=r"own0, own1, own2, own3.*keras_erf\.ensemble"):
        erf.expected(model, "end")
    # Both remedies work: an earlier layer, and sampling.
    assert erf.expected(model, model.layers[1]).size == 3
    sampled = erf.ensemble(
        lambda seed: meeting(between, seed), "end", runs=2, definition="luo2016-squared"
    )
    assert sampled.size > 3
    # Where all paths are linear nothing is left out.
    linear = meeting(layers.AveragePooling2D(3, 1, padding="same"))
    assert erf.expected(linear, "end").provenance["expected"]["approximate"] == []


def shared(x: Any) -> Any:
    conv = layers.Conv2D(2, 3, padding="same")
    return conv(conv(x))


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda x: layers.Conv2D(2, 3)(layers.AveragePooling2D(3, 1)(x)), 0),
        (lambda x: layers.AveragePooling2D(3, 1)(layers.Conv2D(2, 3)(x)), 0),
        (
            lambda x: layers.AveragePooling2D(2)(
                layers.Conv2D(2, 2)(layers.AveragePooling2D(2)(x))
            ),
            0,
        ),
        (lambda x: layers.AveragePooling2D(3, 1)(layers.AveragePooling2D(3, 1)(x)), 0),
        (lambda x: layers.AveragePooling2D(2)(layers.Conv2D(2, 2)(layers.UpSampling2D(2)(x))), 0),
        (lambda x: layers.Add()([x, x]), 0),
        (lambda x: x - layers.AveragePooling2D(3, 1, padding="same")(x), 0),
        (lambda x: layers.Add()([x, layers.Conv2D(2, 3, padding="same")(x)]), 0),
        (lambda x: layers.Add()([x, layers.BatchNormalization()(layers.ReLU()(x))]), 1),
        (shared, 1),
        (
            lambda x: layers.AveragePooling2D(3, 1)(
                layers.Reshape((6, 6, 2))(layers.Reshape((36, 2))(layers.AveragePooling2D(3, 1)(x)))
            ),
            1,
        ),
    ],
)
def test_which_layers_mix(make, count):
    model = built(make, (8, 8, 2))
    about = erf.expected(model, weights="given").provenance["expected"]
    assert len(about["approximate"]) == count
    assert about["measured"] == []
