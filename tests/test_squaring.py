"""What the squared network is made of: initialisers' variances, signals, gates, merges."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import initializers, layers, ops

import keras_erf as erf
from keras_erf.errors import InvalidInputError
from keras_erf.signals.initializers import second_moment
from keras_erf.signals.signal_moments import activated, averaged, drawn, largest_of, mixed, summed

# Examples of a signal stand for all: figures are within a few percent.
EXAMPLES = 0.03

INITIALIZERS = [
    initializers.GlorotUniform(seed=0),
    initializers.GlorotNormal(seed=0),
    initializers.HeUniform(seed=0),
    initializers.HeNormal(seed=0),
    initializers.LecunNormal(seed=0),
    initializers.VarianceScaling(0.5, "fan_out", "untruncated_normal", seed=0),
    initializers.RandomNormal(stddev=0.3, seed=0),
    initializers.TruncatedNormal(stddev=0.3, seed=0),
    initializers.RandomUniform(-0.2, 0.2, seed=0),
    initializers.Orthogonal(gain=1.5, seed=0),
]


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("shape", [(3, 3, 40, 60), (3, 3, 60, 1), (400, 300), (60, 400)])
def test_initialisers_have_the_variance_they_draw(initializer, shape):
    kind, config = type(initializer), initializer.get_config()
    draws = [
        np.asarray(kind.from_config({**config, "seed": seed})(shape), np.float64)
        for seed in range(max(1, 100_000 // math.prod(shape)))
    ]
    # Rows or columns of an orthogonal matrix have a length that does not vary at all.
    drawn_squares = np.square(draws).mean()
    assert second_moment(initializer, shape) == pytest.approx(drawn_squares, rel=0.02)


class Cornered(initializers.Initializer):
    """Known to no table: a normal one, of three times the spread in the first row."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        values = np.random.default_rng(self.seed).standard_normal(shape)
        values[0] *= 3
        return ops.convert_to_tensor(values.astype("float32"))

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def test_an_unknown_initialiser_is_asked():
    found = second_moment(Cornered(), (3, 3, 20, 30))
    assert found.shape == (3, 3, 1, 1)
    wanted = np.repeat([9.0, 1.0, 1.0], 3).reshape(3, 3)
    np.testing.assert_allclose(found[..., 0, 0], wanted, rtol=0.05)


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Ones(),
        initializers.RandomNormal(mean=0.1),
        initializers.RandomUniform(0, 1),
        initializers.TruncatedNormal(mean=-0.1),
        lambda shape, dtype=None: ops.ones(shape),
    ],
)
def test_a_mean_other_than_zero_is_seen(initializer):
    assert second_moment(initializer, (3, 3, 8, 8)) is None


def test_zeros_are_about_zero():
    assert second_moment(initializers.Zeros(), (3, 3, 8, 8)) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_relu_of_a_gaussian_signal(share):
    # Cho and Saul 2009, "Kernel methods for deep learning", equation 6 with n = 1.
    before = drawn(4.0, 4.0 * share, key=(1,))
    angle = math.acos(share)
    wanted = 4.0 / (2 * math.pi) * (math.sin(angle) + (math.pi - angle) * share)
    after, slope = activated(before, keras.activations.relu)
    assert (slope.square, slope.common) == (0.5, 0.25)
    assert after.second == pytest.approx(2.0, rel=1e-12)
    assert after.shared == pytest.approx(wanted, rel=EXAMPLES)


def test_signals_of_independent_sums_add():
    one, other = drawn(1.0, 0.25, key=(1,)), drawn(3.0, 2.0, key=(2,))
    both = summed([one, other])
    assert both.second == pytest.approx(4.0, rel=EXAMPLES)
    assert both.shared == pytest.approx(2.25, rel=2 * EXAMPLES)
    mean = averaged(other, 4)
    assert mean.second == pytest.approx(2.0 + 1.0 / 4, rel=EXAMPLES)
    assert mixed([one, other], [1, 3]).second == pytest.approx(0.25 + 2.25, rel=EXAMPLES)


@pytest.mark.parametrize("size", [2, 4, 9])
def test_the_largest_of_some_entries_is_one_that_was_let_pass(size):
    after, _ = activated(drawn(1.0, 0.0, key=(3,)), keras.activations.relu)
    _, share = largest_of(after, size)
    assert share == pytest.approx((1 - 0.5**size) / 0.5, rel=EXAMPLES)
    assert largest_of(drawn(1.0, 0.0, key=(3,)), size)[1] == 1.0


def normal(variance: float) -> initializers.Initializer:
    return initializers.RandomNormal(stddev=math.sqrt(variance), seed=0)


def two_convolutions(first: float, second: float) -> tuple[Any, Any, Any]:
    """A 1x1 and a 3x3 convolution of one input, whose outputs have these variances."""
    x = keras.Input((7, 7, 4))
    one = layers.Conv2D(8, 1, kernel_initializer=normal(first / 4))(x)
    other = layers.Conv2D(8, 3, padding="same", kernel_initializer=normal(second / 36))(x)
    return x, one, other


def centre_and_edge(x: Any, y: Any) -> tuple[float, float]:
    """The expected squares at the unit's own pixel and at its neighbour, of a channel of 8.

    Behind random weights, so that the gradient has nothing in common with the signal.
    """
    y = layers.Conv2D(8, 1, kernel_initializer=normal(1 / 8))(y)
    found = erf.expected(keras.Model(x, y)).map / 8
    return found[3, 3], found[3, 4]


def test_a_product_has_the_other_factor_for_slope():
    x, one, other = two_convolutions(2.0, 5.0)
    centre, edge = centre_and_edge(x, layers.Multiply()([one, other]))
    assert edge == pytest.approx(2.0 * 5 / 36, rel=1e-9)
    assert centre == pytest.approx(5.0 * 2 / 4 + 2.0 * 5 / 36, rel=1e-9)


def test_a_maximum_is_each_as_often():
    x, one, other = two_convolutions(2.0, 2.0)
    centre, edge = centre_and_edge(x, layers.Maximum()([one, other]))
    assert edge == pytest.approx(2 / 36 / 2, rel=1e-9)
    assert centre == pytest.approx((2 / 4 + 2 / 36) / 2, rel=1e-9)


def test_a_shortcut_lets_pass_what_was_let_pass():
    # x = relu(a), z = relu(x + b), a and b alike: both let a pass in 3 of 8 cases, where b is
    # above -a; and z is above zero in 5 of 8.
    x, one, other = two_convolutions(1.0, 1.0)
    centre, edge = centre_and_edge(x, layers.ReLU()(layers.Add()([layers.ReLU()(one), other])))
    assert edge == pytest.approx(5 / 8 / 36, rel=EXAMPLES)
    assert centre == pytest.approx(3 / 8 / 4 + 5 / 8 / 36, rel=EXAMPLES)


def test_all_that_let_a_shortcut_pass_are_counted():
    # Three sums of equal, independent terms are all above zero in C(6, 3) / 4^3 of cases
    # (Sparre Andersen), two in 3 of 8; the last branch is let pass in one half of its own.
    x = keras.Input((7, 7, 4))
    y = layers.ReLU()(layers.Conv2D(8, 1, kernel_initializer=normal(1 / 4))(x))
    for _ in range(2):
        branch = layers.Conv2D(8, 3, padding="same", kernel_initializer=normal(1 / 36))(x)
        y = layers.ReLU()(layers.Add()([y, branch]))
    centre, edge = centre_and_edge(x, y)
    assert (centre - edge) * 4 == pytest.approx(20 / 64, rel=EXAMPLES)


def test_a_layer_normalisation_lets_pass_all_but_two_directions():
    # Its slope is a projector of rank C - 2, over the spread; 1 / s^2 is C / (C - 3) on average.
    def build(norm):
        x = keras.Input((7, 7, 4))
        y = norm(layers.Conv2D(16, 1, kernel_initializer=normal(1 / 4))(x))
        return keras.Model(x, layers.Conv2D(8, 3, kernel_initializer=normal(1 / 9))(y))

    ratio = erf.expected(build(layers.LayerNormalization(epsilon=0))).map.sum()
    ratio /= erf.expected(build(layers.Identity())).map.sum()
    assert ratio == pytest.approx(14 / 16 * 16 / 13, rel=EXAMPLES)


@pytest.mark.parametrize("weights", ["random", "given"])
def test_a_layer_normalisation_takes_off_what_all_channels_have_in_common(weights):
    # The shortcut hands the seed, one for each channel, to the normalisation: nothing is left of
    # it, and the nine pixels that the branch sees are alike. Right behind, with a ReLU between,
    # half of it is no more in common: (1 / 2 - 1 / 4) (1 - 2 / C) C / (C - 3).
    def build(between, weight):
        x = keras.Input((7, 7, 4))
        y = layers.LayerNormalization(epsilon=0)(
            layers.Conv2D(16, 1, kernel_initializer=normal(1 / 4))(x)
        )
        branch = layers.Conv2D(16, 3, padding="same", kernel_initializer=normal(weight))(y)
        return keras.Model(x, between(layers.Add()([y, branch])))

    found = erf.expected(build(layers.Identity(), 1.0), weights=weights).map[2:5, 2:5]
    if weights == "random":
        np.testing.assert_allclose(found, found[0, 0], rtol=1e-9)
    else:
        assert found[1, 1] < 1.2 * found.mean()
    shortcut = erf.expected(build(layers.ReLU(), 0.0), weights="random").map.sum()
    # 16 channels, of variance 1 / 4 for each of 4 inputs.
    assert shortcut == pytest.approx(16 / 4 * (1 / 4) * 14 / 13, rel=EXAMPLES)


def test_a_gate_made_by_hand_is_the_activation():
    def build(swish):
        x = keras.Input((7, 7, 4))
        y = swish(layers.Conv2D(8, 3, padding="same", kernel_initializer=normal(1 / 9))(x))
        return keras.Model(x, layers.Conv2D(8, 3, kernel_initializer=normal(1 / 36))(y))

    def by_hand(x):
        return layers.Multiply()([x, layers.ReLU(6.0)(x + 3.0) * (1 / 6)])

    wanted = erf.expected(build(layers.Activation("hard_silu"))).map
    found = erf.expected(build(by_hand))
    np.testing.assert_allclose(found.map, wanted, rtol=1e-6)
    assert found.provenance["expected"]["approximate"] == []


@pytest.mark.parametrize("last", ["conv", "dense"])
def test_channels_put_together_have_their_own_statistics(last):
    # 8 channels of a 1x1 convolution and 4 of a 3x3 one, ten times as strong: normalised,
    # each weighs as much as any other.
    x, one, other = two_convolutions(1.0, 100.0)
    y = layers.Concatenate()([one, layers.Conv2D(4, 1, kernel_initializer=normal(1 / 8))(other)])
    y = layers.BatchNormalization(epsilon=0)(y)
    make = (
        layers.Dense
        if last == "dense"
        else lambda units, **options: layers.Conv2D(units, 1, **options)
    )
    centre, edge = centre_and_edge(x, make(8, kernel_initializer=normal(1 / 12))(y))
    # The mean coverage of a 7x7 image by 3x3 taps.
    inside = (19 / 21) ** 2
    assert edge == pytest.approx(4 / 12 / 36 / inside, rel=EXAMPLES)
    assert centre - edge == pytest.approx(8 / 12 / 4, rel=EXAMPLES)


@pytest.mark.parametrize("size", [2, 3])
def test_a_max_pool_behind_a_relu(size):
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(8, 1, activation="relu", kernel_initializer=normal(0.25))(x)
    found = erf.expected(keras.Model(x, layers.MaxPooling2D(size)(y)))
    wanted = 8 * 0.25 * (1 - 0.5 ** (size * size)) / size**2
    values = found.map[found.map > 0]
    assert values.size == size**2
    np.testing.assert_allclose(values, wanted, rtol=EXAMPLES)
    assert len(found.provenance["expected"]["approximate"]) == 1


def test_a_global_maximum_is_at_each_place_as_often():
    x = keras.Input((4, 5, 4))
    y = layers.Conv2D(8, 1, kernel_initializer=normal(0.25))(x)
    gate = layers.GlobalMaxPooling2D(keepdims=True)(y)
    found = erf.expected(keras.Model(x, layers.Add()([layers.Conv2D(8, 1)(x), gate])))
    assert found.map[0, 0] == pytest.approx(8 * 0.25 / 20, rel=1e-9)


def test_softmax_attention_is_measured():
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 32))
    model = keras.Model(x, layers.MultiHeadAttention(2, 16)(x, x))
    found = erf.expected(model)
    assert len(found.provenance["expected"]["measured"]) == 1

    # Against plain sampling of inputs, with the weights there are.
    def run(values: np.ndarray) -> np.ndarray:
        inputs = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            # Signs of their own for each channel: sums over channels are over independent terms.
            signs = np.random.default_rng(1).choice((-1.0, 1.0), (len(values), 1, 32))
            seen = tf.reduce_sum(model(inputs)[:, 3:4] * signs.astype("float32"))
        return tape.gradient(seen, inputs).numpy()

    values = np.random.default_rng(0).standard_normal((4000, 6, 32)).astype("float32")
    wanted = np.square(run(values)).mean(axis=(0, 2))
    np.testing.assert_allclose(found.map, wanted, rtol=0.4)
    assert found.map.sum() == pytest.approx(wanted.sum(), rel=0.1)


def test_comparisons_are_measured():
    """A leaky ReLU written as a choice passes what the layer passes."""
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(8, 3, padding="same", kernel_initializer=normal(0.25))(x)
    head = layers.Conv2D(8, 3, padding="same", kernel_initializer=normal(0.25))
    found = erf.expected(keras.Model(x, head(ops.where(y > 0, y, 0.5 * y))))
    plain = erf.expected(keras.Model(x, head(layers.LeakyReLU(0.5)(y))))
    np.testing.assert_allclose(found.map, plain.map, rtol=0.15)
    assert len(found.provenance["expected"]["measured"]) == 2


def gates() -> dict[str, Any]:
    """Several ways to write one less a gate, or the gate less one."""
    return {
        "number first": lambda t: 1.0 - t,
        "number last": lambda t: t - 1.0,
        "negative": lambda t: ops.negative(t) + 1.0,
        "scaled": lambda t: t * -1.0 + 1.0,
        "rescaling": layers.Rescaling(-1.0, 1.0),
        "tensors": lambda t: layers.Subtract()([t * 0.0 + 1.0, t]),
    }


@pytest.mark.parametrize("name", gates())
def test_differences_keep_signs(name):
    """`E[(1 - t)^2]` of a sigmoid is `E[t^2]`, by symmetry; with the wrong sign 8 times that."""
    x = keras.Input((6, 6, 4))
    value, gate = (layers.Conv2D(64, 1, kernel_initializer=normal(1 / 4))(x) for _ in "ab")
    gate = layers.Activation("sigmoid")(gate)

    def strength(made: Any) -> float:
        head = layers.Conv2D(8, 1, kernel_initializer=normal(1 / 64))
        found = erf.expected(keras.Model(x, head(layers.Multiply()([value, made]))))
        return float(found.map.sum())

    assert strength(gates()[name](gate)) == pytest.approx(strength(gate), rel=0.1)


@pytest.mark.parametrize(
    "handed",
    [layers.Dropout(0.5), layers.Identity(), lambda y: y * 1.0, lambda y: -y],
    ids=["dropout", "identity", "scale", "sign"],
)
def test_an_activation_counts_once_behind_what_hands_it_on(handed):
    def values(hand: Any) -> np.ndarray:
        x = y = keras.Input((6, 6, 4))
        for _ in range(2):
            made = layers.Conv2D(4, 3, padding="same", kernel_initializer=normal(1 / 36))(y)
            y = layers.Add()([y, hand(layers.Activation("tanh")(made))])
        return erf.expected(keras.Model(x, layers.Conv2D(4, 1)(y))).map

    np.testing.assert_allclose(values(handed), values(lambda y: y), rtol=EXAMPLES)


NORMALISED = ("normalised", "unlike", "pooled")


def sampled_squares(form: str, runs: int = 250, inputs: int = 8, width: int = 40) -> np.ndarray:
    """Mean of g^2 over networks of three-tap convolutions that run side by side, by a tape."""
    random = np.random.default_rng(0)

    def conv(x: Any) -> Any:
        weights = random.normal(size=(3, runs, x.shape[-1], width))
        weights *= np.sqrt(2 / (3 * x.shape[-1]))
        padded = tf.pad(x, [[0, 0], [0, 0], [1, 1], [0, 0]])
        size = x.shape[2]
        return sum(
            tf.einsum("nbpc,ncd->nbpd", padded[:, :, tap : tap + size], weights[tap])
            for tap in range(3)
        )

    def norm(x: Any) -> Any:
        if form not in NORMALISED:
            return x
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        return (x - tf.stop_gradient(mean)) / tf.stop_gradient(tf.sqrt(variance + 1e-3))

    source = tf.constant(random.normal(size=(runs, inputs, 15, 24)))
    with tf.GradientTape() as tape:
        tape.watch(source)
        x = tf.nn.relu(norm(conv(source)))
        branch = norm(conv(tf.nn.relu(norm(conv(x)))))
        unit = 7
        if form == "chain":
            x = tf.nn.relu(branch)
        elif form == "concatenated":
            x = tf.nn.relu(tf.concat([x, tf.nn.relu(branch)], axis=-1))
        elif form == "unlike":
            x = tf.nn.relu(norm(tf.concat([conv(x), 3 * branch], axis=-1)))
        elif form == "pooled":
            pairs = conv(x)
            x, unit = tf.nn.relu(norm((pairs[:, :, 0:14:2] + pairs[:, :, 1:14:2]) / 2)), 3
        else:
            x = tf.nn.relu(x + branch)
        seeded = tf.reduce_sum(x[:, :, unit])
    return np.square(tape.gradient(seeded, source)).mean(axis=(0, 1, 3))


@pytest.mark.parametrize(
    "form", ["chain", "residual", "normalised", "concatenated", "unlike", "pooled"]
)
def test_gradients_behind_an_activation_are_along_the_signal(form):
    def conv(x: Any) -> Any:
        return layers.Conv1D(40, 3, padding="same", kernel_initializer="he_normal")(x)

    def norm(x: Any) -> Any:
        return layers.BatchNormalization()(x) if form in NORMALISED else x

    inputs = keras.Input((15, 24))
    x = layers.ReLU()(norm(conv(inputs)))
    branch = norm(conv(layers.ReLU()(norm(conv(x)))))
    if form == "concatenated":
        x = layers.Concatenate()([x, layers.ReLU()(branch)])
    elif form == "unlike":
        x = layers.ReLU()(norm(layers.Concatenate()([conv(x), layers.Rescaling(3.0)(branch)])))
    elif form == "pooled":
        x = layers.ReLU()(norm(layers.AveragePooling1D(2)(conv(x))))
    elif form == "chain":
        x = layers.ReLU()(branch)
    else:
        x = layers.ReLU()(layers.Add()([x, branch]))
    found, wanted = erf.expected(keras.Model(inputs, x)).map, sampled_squares(form)
    # Without the part along the signal a fifth of the squares is missing, most of it near the unit.
    assert found.sum() == pytest.approx(wanted.sum(), rel=0.12 if form == "pooled" else 0.08)
    # Of the mean of neighbours only its strength is followed, not where it comes from.
    near = 0.12 if form == "pooled" else 0.04
    np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), rtol=near, atol=0.002)


@pytest.mark.parametrize(
    ("stride", "wanted"),
    [(1, [1 / 12, 7 / 24, 7 / 24, 1 / 12]), (2, [1 / 12, 1 / 12, 4 / 15, 1 / 12, 1 / 12])],
)
@pytest.mark.parametrize("rank", [1, 2])
def test_windows_share_their_largest_entry(stride, wanted, rank):
    # Of n alike entries each is the largest with probability 1/n: of two windows' union it gets
    # both halves of the gradient, and else one of them.
    names = f"MaxPooling{rank}D", f"AveragePooling{rank}D"
    largest, mean = (getattr(layers, name) for name in names)
    ones = (1,) * (rank - 1)
    inputs = keras.Input((*(1,) * (rank - 1), 11, 1))
    x = largest((*ones, 3), strides=(*ones, stride))(inputs)
    x = mean((*ones, 2), strides=1)(x)
    model = keras.Model(inputs, x)
    result = erf.expected(model, unit=(*(0,) * (rank - 1), 1))
    np.testing.assert_allclose(result.map.ravel()[stride : stride + len(wanted)], wanted, rtol=1e-9)
    assert result.map.sum() == pytest.approx(sum(wanted))


def test_a_gate_for_all_channels_is_refused():
    # 40 networks had 10.4 px where squares alone give 7.0.
    inputs = x = keras.Input((48, 48, 8))
    for _ in range(3):
        x = layers.ReLU()(layers.Conv2D(32, 3, padding="same")(x))
        gate = layers.Conv2D(1, 7, padding="same", activation="sigmoid")(x)
        x = layers.Multiply()([x, gate])
    with pytest.raises(InvalidInputError, match="within 3%"):
        erf.expected(keras.Model(inputs, x))


@pytest.mark.parametrize("shortcut", [False, True])
def test_an_activation_in_a_layer_lets_pass_as_one_behind_it(shortcut):
    def build(inside):
        start = initializers.HeNormal(seed=0)
        inputs = x = keras.Input((13, 8))
        for _ in range(3):
            branch = layers.Conv1D(
                8,
                3,
                padding="same",
                kernel_initializer=start,
                activation="relu" if inside else None,
            )(x)
            branch = branch if inside else layers.ReLU()(branch)
            x = layers.ReLU()(layers.Add()([x, branch]) if shortcut else branch)
        return keras.Model(inputs, x)

    found, wanted = (erf.expected(build(inside)).map for inside in (True, False))
    # Examples are drawn by the place of a call, so that they differ.
    np.testing.assert_allclose(found, wanted, rtol=0.02, atol=1e-3 * wanted.max())
