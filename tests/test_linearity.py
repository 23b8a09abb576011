"""Which layers have the same gradient for every sample, against gradients at two samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

hypothesis = pytest.importorskip("hypothesis")

from keras_erf import zoo
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target, locate
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import build_graph
from keras_erf.layers.table import TABLE
from keras_erf.measuring.linearity import has_constant_gradient
from tests import cases, graphs, jacobian, operation_cases
from tests.releases import ops

IMAGE, LINE, VOLUME, STEPS = (6, 5, 4), (8, 4), (4, 5, 3, 2), (3, 6, 4)
# TensorFlow resizes in single precision.
ROUNDING = 1e-6


def gradients(
    model: keras.Model,
    *,
    place: int = 0,
    training: bool = False,
    run: Callable[..., Any] | None = None,
) -> list[np.ndarray]:
    """Gradients of a weighted sum of the output at two draws of all inputs."""
    rng = np.random.default_rng(0)

    def called(*values):
        return model(values if len(values) > 1 else values[0], training=training)

    weights = tf.constant(rng.uniform(0.5, 1.5, model.outputs[0].shape[1:]))
    found = []
    for _ in range(2):
        values = [
            tf.cast(rng.standard_normal((tensor.shape[0] or 1, *tensor.shape[1:])), tensor.dtype)
            for tensor in model.inputs
        ]
        with tf.GradientTape() as tape:
            tape.watch(values[place])
            score = tf.reduce_sum(tf.cast((run or called)(*values), "float64") * weights)
        found.append(tape.gradient(score, values[place], unconnected_gradients="zero").numpy())
    return found


def is_constant(model: keras.Model, *, place: int = 0, training: bool = False) -> bool:
    one, other = gradients(model, place=place, training=training)
    return bool(np.abs(one - other).max() <= ROUNDING * np.abs(one).max())


def randomized(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Gives a model weights, statistics too, of which none is special."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def model_of(build: Callable[..., Any], *shapes: tuple[int, ...]) -> keras.Model:
    inputs = [keras.Input(shape) for shape in shapes]
    return randomized(keras.Model(inputs, build(*inputs)))


def answer(model: keras.Model, *, training: bool = False, layer: Any = None) -> bool:
    target = locate(model, model.output if layer is None else layer)
    return has_constant_gradient(target, training=training)


class Doubled(layers.Layer):
    """A custom layer that is affine."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return ops.multiply(x, self.factor) * 2 + self.factor


class Gate(layers.Layer):
    def call(self, x):
        return x * ops.sigmoid(x)


class Jittered(layers.Layer):
    """Draws another factor in each call."""

    def call(self, x):
        return x * keras.random.normal((1, 1, 1))


class Shaken(layers.Layer):
    """Adds another random number in each call, which changes no gradient."""

    def call(self, x):
        return x + keras.random.normal((1, 1, 1))


class AlwaysDropping(layers.Layer):
    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)

    def call(self, x):
        return self.drop(x, training=True)


class Named(layers.Conv2D):
    """A subclass that computes the same."""


class Squared(layers.Dense):
    """A subclass that does not."""

    def call(self, x):
        return super().call(x) ** 2


class Halved(layers.Dense):
    def call(self, x):
        return super().call(x) / 2


def frozen_norm(x):
    return layers.BatchNormalization(trainable=False)(x)


def adapted(x):
    return layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 2.0, 3.0, 4.0])(x)


def nested(x):
    inner = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(3, 2), layers.Dropout(0.5)])
    return layers.UpSampling2D(2)(inner(x))


def slid(rank: str) -> Callable[[Any], Any]:
    """Layers that slide over all axes, one after the other; 3-D pools are of single precision."""

    def build(x):
        pooled = {"dtype": "float32"} if rank == "3D" else {}
        for kind, option, more in (
            ("ZeroPadding", 2, {}),
            ("AveragePooling", 2, pooled),
            ("AdaptiveAveragePooling", 3, pooled),
            ("UpSampling", 2, {}),
            ("Cropping", 1, {}),
        ):
            x = getattr(layers, f"{kind}{rank}")(option, **more)(x)
        return x

    return build


def dropped(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(layers, name)(0.5)(x)


def masked_average(x, steps, average=None):
    """The mask comes with another input, and sees to how many steps are averaged."""
    both = layers.Concatenate(axis=1)([x, layers.Masking()(ops.relu(steps))])
    return layers.RepeatVector(2)((average or layers.GlobalAveragePooling1D())(both))


def masked_average_inside(x, steps):
    """A model inside does not know of the mask until it is run."""
    inner = keras.Sequential([keras.Input((16, 1)), layers.GlobalAveragePooling1D()])
    return masked_average(x, steps, inner)


CONVOLUTIONS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Conv1D": (layers.Conv1D(3, 3, padding="causal", dilation_rate=2), LINE),
    "Conv2D": (layers.Conv2D(4, 3, strides=2, groups=2), IMAGE),
    "Conv3D": (layers.Conv3D(2, 2), (3, 3, 3, 2)),
    "DepthwiseConv1D": (layers.DepthwiseConv1D(3), LINE),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(3), IMAGE),
    "SeparableConv1D": (layers.SeparableConv1D(3, 3), LINE),
    "SeparableConv2D": (layers.SeparableConv2D(3, 3), IMAGE),
    "Conv1DTranspose": (layers.Conv1DTranspose(3, 3, strides=2), LINE),
    "Conv2DTranspose": (layers.Conv2DTranspose(3, 3, strides=2), IMAGE),
    "Conv3DTranspose": (layers.Conv3DTranspose(2, 2), (3, 3, 3, 2)),
}
Build = Callable[..., Any]
AFFINE: dict[str, tuple[Any, ...]] = {
    "dense": (lambda x: layers.Dense(3)(x), IMAGE),
    "dense, activation linear": (lambda x: layers.Dense(3, "linear")(x), IMAGE),
    "einsum dense": (lambda x: layers.EinsumDense("abcd,de->abce", (6, 5, 3))(x), IMAGE),
    "plane": (lambda x: slid("2D")(x), IMAGE),
    "line": (lambda x: slid("1D")(x), LINE),
    "volume": (lambda x: slid("3D")(x), VOLUME),
    "bilinear": (lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x), IMAGE),
    "bicubic": (lambda x: layers.UpSampling2D(2, interpolation="bicubic")(x), IMAGE),
    "resizing": (lambda x: layers.Resizing(4, 9)(x), IMAGE),
    "centre crop": (lambda x: layers.CenterCrop(3, 3)(x), IMAGE),
    "global average": (lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling2D()(x)), IMAGE),
    "global average of a line": (
        lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling1D()(x)),
        LINE,
    ),
    "global average of a volume": (
        lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling3D()(x)),
        VOLUME,
    ),
    "skip": (lambda x: layers.Add()([layers.Conv2D(4, 3, padding="same")(x), x]), IMAGE),
    "subtract, average": (
        lambda x: layers.Average()([layers.Subtract()([layers.Dense(4)(x), x]), x]),
        IMAGE,
    ),
    "concatenate": (lambda x: layers.Concatenate(axis=1)([x, layers.Dense(4)(x)]), IMAGE),
    "moved about": (
        lambda x: layers.Reshape((8, 3, 5))(layers.Flatten()(layers.Permute((2, 1, 3))(x))),
        (6, 5, 4),
    ),
    "identity": (lambda x: layers.Identity()(x), IMAGE),
    "activation linear": (lambda x: layers.Activation("linear")(x), IMAGE),
    "batch norm": (lambda x: layers.BatchNormalization()(x), IMAGE),
    "rescaling": (lambda x: layers.Rescaling(1 / 255, offset=-1)(x), IMAGE),
    "normalization": (adapted, IMAGE),
    **{name: (dropped(name), LINE) for name in ("Dropout", "AlphaDropout", "SpatialDropout1D")},
    **{name: (dropped(name), IMAGE) for name in ("GaussianDropout", "SpatialDropout2D")},
    **{name: (dropped(name), VOLUME) for name in ("GaussianNoise", "SpatialDropout3D")},
    "regularised": (lambda x: layers.ActivityRegularization(l2=0.1)(x), IMAGE),
    "over time": (lambda x: layers.TimeDistributed(layers.Conv1D(2, 2))(x), STEPS),
    "nested": (nested, IMAGE),
    "custom": (lambda x: Doubled()(x), IMAGE),
    "custom, adding noise": (lambda x: Shaken()(x), IMAGE),
    "subclass": (lambda x: Named(3, 2)(x), IMAGE),
    "subclass that halves": (lambda x: Halved(3)(x), IMAGE),
    "lambda": (lambda x: layers.Lambda(lambda t: 3 * t[:, 1:])(x), IMAGE),
    "two inputs added": (lambda x, y: layers.Add()([x, y]), IMAGE, IMAGE),
    "another input, relu": (lambda x, y: layers.Add()([x, layers.ReLU()(y)]), IMAGE, IMAGE),
    "arithmetic": (lambda x: ops.divide(-(x + 1.0) / 2.0, 3) - x * np.arange(1.0, 5.0), IMAGE),
    "weight": (lambda x: ops.multiply(x, keras.Variable(np.arange(1.0, 5.0))), IMAGE),
    "slices": (lambda x: ops.concatenate([x[:, ::2], x[:, 1::2]], axis=1), IMAGE),
    "pads": (lambda x: ops.pad(x, ((0, 0), (1, 1), (2, 0), (0, 0)), constant_values=1), IMAGE),
    "reflection": (lambda x: ops.pad(x, ((0, 0), (1, 1), (2, 0), (0, 0)), "reflect"), IMAGE),
    "turned": (lambda x: ops.roll(ops.flip(ops.transpose(x, (0, 2, 1, 3)), 1), 2, 1), IMAGE),
    "reshaped": (lambda x: ops.squeeze(ops.expand_dims(ops.reshape(x, (-1, 30, 4)), 1), 1), IMAGE),
    "mean and sum": (lambda x: ops.mean(x, 1) + ops.sum(x, 2)[:, :5], IMAGE),
    "matmul": (lambda x: ops.matmul(x, np.arange(8.0).reshape(4, 2)), IMAGE),
    "einsum": (lambda x: ops.einsum("abcd,de->abce", x, np.arange(8.0).reshape(4, 2)), IMAGE),
    "conv": (lambda x: ops.conv(x, np.arange(24.0).reshape(2, 3, 4, 1)), IMAGE),
    "average pool": (lambda x: ops.average_pool(x, 2), IMAGE),
    "cast": (lambda x: ops.cast(ops.cast(x, "float32"), "float64"), IMAGE),
    "where, written down": (lambda x: ops.where(np.eye(5, 4) > 0, x, 2 * x), IMAGE),
    "take": (lambda x: ops.take(x, [2, 0], axis=1), IMAGE),
    "stacked": (lambda x: ops.sum(ops.stack([x, 2 * x], axis=1), 1), IMAGE),
    "split": (lambda x: ops.subtract(*ops.split(x, 2, axis=1)), IMAGE),
    "weighted average": (lambda x: ops.average(x, 1, np.arange(1.0, 7.0)), IMAGE),
    "cumulative": (lambda x: ops.cumsum(x, axis=1), IMAGE),
    "grey": (lambda x: ops.image.rgb_to_grayscale(x[..., :3]), IMAGE),
    "blurred": (lambda x: ops.image.gaussian_blur(x), IMAGE),
    "resized": (lambda x: ops.image.resize(x, (4, 9)), IMAGE),
    "edges": (lambda x: ops.reshape(ops.image.sobel_edges(x), (-1, 6, 5, 8)), IMAGE),
    "patches": (lambda x: ops.image.extract_patches(x, (2, 2)), IMAGE),
}
OTHER: dict[str, tuple[Any, ...]] = {
    "dense, relu": (lambda x: layers.Dense(3, "relu")(x), IMAGE),
    "conv, softplus": (lambda x: layers.Conv2D(3, 3, activation="softplus")(x / 9), IMAGE),
    "relu": (lambda x: layers.ReLU()(x), IMAGE),
    "leaky": (lambda x: layers.LeakyReLU()(x), IMAGE),
    "activation": (lambda x: layers.Activation("tanh")(x), IMAGE),
    "max pooling": (lambda x: layers.MaxPooling2D(2)(x), IMAGE),
    "softmax": (lambda x: layers.Softmax()(x), IMAGE),
    "layer norm": (lambda x: layers.LayerNormalization()(x), IMAGE),
    "maximum": (lambda x: layers.Maximum()([x, 2 * x]), IMAGE),
    "multiply": (lambda x: layers.Multiply()([x, layers.Dense(4)(x)]), IMAGE),
    "multiply another input": (lambda x, y: layers.Multiply()([x, y]), IMAGE, IMAGE),
    "gate": (
        lambda x: layers.Multiply()([x, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))]),
        (6, 6, 4),
    ),
    "recurrent": (lambda x: layers.LSTM(3, return_sequences=True)(x), LINE),
    "attention": (lambda x: layers.MultiHeadAttention(2, 2)(x, x), LINE),
    "over time, elu": (
        lambda x: layers.TimeDistributed(layers.Conv1D(2, 2, activation="elu"))(x),
        STEPS,
    ),
    "before an affine one": (lambda x: layers.Conv2D(3, 3)(ops.tanh(x)), IMAGE),
    "custom": (lambda x: Gate()(x), IMAGE),
    "custom, multiplying noise": (lambda x: Jittered()(x), IMAGE),
    "custom, always dropping": (lambda x: AlwaysDropping()(x), IMAGE),
    "subclass that squares": (lambda x: Squared(3)(x), IMAGE),
    "lambda": (lambda x: layers.Lambda(lambda t: t * t)(x), IMAGE),
    "product": (lambda x: x * x, IMAGE),
    "product with another input": (lambda x, y: x * y, IMAGE, IMAGE),
    "one over": (lambda x: 1 / (x + 9), IMAGE),
    "quotient": (lambda x, y: x / (ops.abs(y) + 1), IMAGE, IMAGE),
    "matmul": (lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))), IMAGE),
    "power": (lambda x: x**2, IMAGE),
    "max": (lambda x: ops.max(x, axis=1), IMAGE),
    "chosen by itself": (lambda x: ops.where(x > 0, x, 2 * x), IMAGE),
    "chosen by another input": (lambda x, y: ops.where(y > 0, x, 2 * x), IMAGE, IMAGE),
    "variance": (lambda x: ops.var(x, axis=1), IMAGE),
    "masked average": (masked_average, (8, 1), (8, 1)),
    "masked average inside": (masked_average_inside, (8, 1), (8, 1)),
}  # fmt: skip


def test_convolutions():
    for name, (layer, shape) in CONVOLUTIONS.items():
        config = layer.get_config()
        for activation in ("linear", "elu"):
            with jacobian.precision():
                config |= {"activation": activation, "dtype": "float64"}
                model = model_of(type(layer).from_config(config), shape)
                expected = activation == "linear"
                assert answer(model) is expected, (name, activation)
                assert is_constant(model) is expected, (name, activation)


@pytest.mark.parametrize("name", AFFINE)
def test_affine(name: str):
    with jacobian.precision():
        build, *shapes = AFFINE[name]
        model = model_of(build, *shapes)
        assert answer(model)
        assert is_constant(model)


# Keras thinks a mask is lost that has done its work.
@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("name", OTHER)
def test_not_affine(name: str):
    with jacobian.precision():
        build, *shapes = OTHER[name]
        model = model_of(build, *shapes)
        assert not answer(model)
        assert not is_constant(model)


# --- Every entry of the table --------------------------------------------------------------------


def affine_kind(case: cases.Case) -> Any:
    """The operation of a call that is taken for affine, checked by its gradients."""
    model = cases.model_of(case)
    graph = build_graph(model)
    start = graph.tensors[graph.inputs[0]]
    if not (start.shape and start.dtype.startswith("float")):
        return None
    target = Target(Tracing(graph, graph.inputs[0]), graph.outputs[0], (), (), None)
    if not has_constant_gradient(target, training=False):
        return None
    run = case.build if case.eager else lambda *values: model(list(values))
    try:
        one, other = gradients(model, run=lambda *values: keras.tree.flatten(run(*values))[0])
    except tf.errors.InvalidArgumentError:
        # TensorFlow resizes with antialiasing in single precision only.
        return None
    assert np.abs(one - other).max() <= ROUNDING * np.abs(one).max(), graph.nodes[0].kind
    return graph.nodes[0].kind


def test_every_entry_is_seen_to_be_affine():
    with jacobian.precision():
        models = [model_of(build, *shapes) for build, *shapes in AFFINE.values()]
        seen = {node.kind for model in models for node in build_graph(model).nodes}
        seen |= {type(layer) for layer, _ in CONVOLUTIONS.values()}
        seen |= {affine_kind(case) for case in operation_cases.CASES.one_of_each()}
    assert {kind for kind, entry in TABLE.items() if entry.affine} - seen == set()


# --- Training, other weights, whole models -------------------------------------------------------

TRAINING = {
    "dropout": (lambda x: layers.Dropout(0.5)(x), False),
    "spatial dropout": (lambda x: layers.SpatialDropout2D(0.5)(x), False),
    "batch norm": (lambda x: layers.BatchNormalization()(x), False),
    "batch norm, frozen": (frozen_norm, True),
    "added noise": (lambda x: layers.GaussianNoise(0.5)(x), True),
    "convolution": (lambda x: layers.Conv2D(3, 3)(x), True),
    "custom": (lambda x: Doubled()(x), None),
}


@pytest.mark.parametrize("name", TRAINING)
def test_in_training(name: str):
    build, expected = TRAINING[name]
    # Two draws of a mask of a few channels may be one: these are not.
    keras.utils.set_random_seed(1)
    with jacobian.precision():
        model = model_of(build, IMAGE)
        assert answer(model)
        assert answer(model, training=True) is bool(expected)
        # What is inside of custom layers is not known in training.
        assert is_constant(model, training=True) is (expected is not False)


def test_low_rank_adaptation_is_affine_and_quantization_is_not():
    x = keras.Input(IMAGE)
    adapted, quantized = layers.Dense(3), layers.Dense(3)
    models = [keras.Model(x, one(x)) for one in (adapted, quantized)]
    adapted.enable_lora(2)
    quantized.quantize("int8")
    randomized(models[0])
    assert [answer(model) for model in models] == [True, False]
    one, other = gradients(models[0])
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_only_what_leads_to_the_layer_counts():
    x, y = keras.Input(IMAGE), keras.Input(IMAGE, name="other")
    start = layers.Conv2D(4, 3, name="start")(x)
    end = layers.Add(name="end")([layers.ReLU()(start), layers.Dense(4, "relu")(y[:, 1:-1, 1:-1])])
    model = keras.Model([x, y], end)
    assert answer(model, layer="start")
    assert not answer(model, layer="end")
    assert not has_constant_gradient(locate(model, "end", input="other"), training=False)


def test_a_rule_of_one_s_own_says_nothing_about_gradients():
    from keras_erf.rules import whole

    model = model_of(lambda x: Doubled()(x), IMAGE)
    target = locate(model, model.output, rules={Doubled: whole})
    assert not has_constant_gradient(target, training=False)


def test_whole_numbers_have_no_gradient():
    assert not answer(model_of(lambda x: ops.cast(x, "int32") + 1, IMAGE))


def test_the_zoo():
    linear = zoo.build("plain", depth=3, weights="uniform", input_shape=(9, 9))
    assert answer(linear)
    trained = zoo.load("cifar_resnet14")
    assert answer(trained, layer=trained.layers[1].name)
    assert not answer(trained, layer="stage2_block2_out")
    assert not answer(trained, layer="stage3_block2_conv2")


def sees_something(model: keras.Model, name: str) -> bool:
    try:
        locate(model, model.output, input=name)
    except InvalidInputError as error:
        return "sees nothing of the input" not in str(error)
    return True


def test_random_graphs():
    seen: Counter[bool] = Counter()

    @hypothesis.settings(max_examples=60)
    @hypothesis.given(graphs.descriptions())
    def compare(description: graphs.Description) -> None:
        with jacobian.precision():
            model, _ = graphs.build(description)
            graphs.weigh(model)
            start = model.inputs[description.analysed]
            # Such as a dilated window over an axis of one: its units see padding alone.
            hypothesis.assume(sees_something(model, start.name))
            target = locate(model, model.output, input=start.name)
            constant = has_constant_gradient(target, training=False)
            seen[constant] += 1
            if constant:
                assert is_constant(model, place=description.analysed)

    compare()
    assert min(seen[True], seen[False]) > 5
