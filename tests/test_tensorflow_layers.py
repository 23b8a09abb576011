"""Layers of one's own whose `call` uses TensorFlow: fields and cones against brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_erf as erf
from keras_erf.cone.planning import cone_of
from keras_erf.fields.theoretical import locate
from keras_erf.tensorflow_operations import raw_nodes
from tests import cones, jacobian, networks
from tests.cases import Cases, check_all, model_of
from tests.perturbation import normal


@keras.saving.register_keras_serializable("tests")
class Written(layers.Layer):
    """A layer whose call is a function of its input and its weight."""

    def __init__(self, function: Callable[..., Any], *shape: int) -> None:
        super().__init__()
        self.function, self.shape = function, shape

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight(shape=self.shape, initializer="ones") if self.shape else None

    def call(self, x: Any) -> Any:
        return self.function(x) if self.weight is None else self.function(x, self.weight)


PLANE, LINE, SOLID = (7, 6, 2), (9, 2), (4, 5, 4, 2)
CASES = Cases(shapes=(PLANE,), even=False, draws=3)


def add(
    name: str, function: Callable[..., Any], *shapes: Any, weight: Any = (), **how: Any
) -> None:
    """A layer of one's own."""
    CASES.add(name, lambda x: Written(function, *weight)(x), *shapes, **how)


# Convolutions
add("conv2d", lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), weight=(3, 2, 2, 3))
add("conv2d-strides", lambda x, w: tf.nn.conv2d(x, w, [2, 1], "VALID"), weight=(3, 3, 2, 3))
add(
    "conv2d-dilated",
    lambda x, w: tf.nn.conv2d(x, w, 1, "SAME", dilations=2),
    weight=(3, 3, 2, 3),
    compiled=True,
)
add(
    "conv2d-paddings",
    lambda x, w: tf.nn.conv2d(x, w, 1, [[0, 0], [2, 0], [0, 1], [0, 0]]),
    weight=(3, 3, 2, 3),
)
add("conv2d-groups", lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), weight=(3, 3, 1, 4), compiled=True)
add("conv1d", lambda x, w: tf.nn.conv1d(x, w, 2, "SAME"), LINE, weight=(3, 2, 3))
add(
    "conv3d",
    lambda x, w: tf.nn.conv3d(x, w, [1, 1, 2, 1, 1], "SAME"),
    SOLID,
    weight=(2, 3, 2, 2, 3),
    dtype="float32",
    tolerance=1e-5,
)
add(
    "depthwise",
    lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"),
    weight=(3, 3, 2, 2),
)
add(
    "depthwise-dilated",
    lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "VALID", dilations=[2, 2]),
    weight=(3, 2, 2, 1),
)
add(
    "transposed",
    lambda x, w: tf.nn.conv2d_transpose(x, w, [tf.shape(x)[0], 14, 12, 3], 2, "SAME"),
    weight=(3, 3, 3, 2),
)
add(
    "transposed-longer",
    lambda x, w: tf.nn.conv2d_transpose(x, w, [tf.shape(x)[0], 14, 13, 3], 2, "VALID"),
    weight=(2, 3, 3, 2),
)
add(
    "separable",
    lambda x, w: tf.nn.separable_conv2d(x, w, np.ones((1, 1, 2, 3)), [1, 1, 1, 1], "SAME"),
    weight=(3, 3, 2, 1),
)
add("laplace", lambda x: tf.nn.conv2d(x[..., :1], CROSS[..., None, None], 1, "SAME"))
add("bias", lambda x, w: tf.nn.bias_add(tf.nn.avg_pool2d(x, 2, 2, "SAME"), w), weight=(2,))
CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], float)

# Pools, resizes and normalisation
add("max_pool", lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), draw=normal, draws=40)
add("avg_pool", lambda x: tf.nn.avg_pool2d(x, [2, 3], [2, 1], "VALID"))
add("pool-line", lambda x: tf.nn.avg_pool1d(x, 3, 2, "SAME"), LINE)
for how in ("bilinear", "nearest", "bicubic", "lanczos3"):
    add(
        f"resize-{how}",
        lambda x, h=how: tf.image.resize(x, (5, 11), h),
        dtype="float32",
        tolerance=1e-6,
    )
add(
    "resize-antialias",
    lambda x: tf.image.resize(x, (3, 4), antialias=True),
    dtype="float32",
    tolerance=1e-6,
)
add(
    "resize-double",
    lambda x: tf.image.resize(x, [2 * n for n in x.shape[1:3]]),
    dtype="float32",
    tolerance=1e-6,
)
old = tf.compat.v1.image
add("resize-corners", lambda x: old.resize_bilinear(x, (14, 9)), dtype="float32", tolerance=1e-6)
add(
    "resize-aligned",
    lambda x: old.resize_bilinear(x, (13, 16), align_corners=True),
    dtype="float32",
    tolerance=1e-5,
)
add("resize-nearest-corners", lambda x: old.resize_nearest_neighbor(x, (10, 4)), dtype="float32")
add("batch_norm", lambda x: tf.nn.batch_normalization(x, 0.1, 1.3, 0.2, 1.1, 1e-3))
add(
    "fused_batch_norm",
    lambda x: old_batch_norm(x),
    dtype="float32",
    tolerance=1e-6,
)
add("moments", lambda x: x - tf.nn.moments(x, [1], keepdims=True)[0])
add("l2_normalize", lambda x: tf.math.l2_normalize(x, axis=-1), draws=8)
add("lrn", lambda x: tf.nn.local_response_normalization(x, 1), dtype="float32", tolerance=1e-6)


def old_batch_norm(x: Any) -> Any:
    ones = np.ones(2, "float32")
    return tf.compat.v1.nn.fused_batch_norm(x, 2 * ones, ones, ones, ones, is_training=False)[0]


# Shapes
add("pad", lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [0, 0]]))
add("pad-reflect", lambda x: tf.pad(x, [[0, 0], [2, 2], [1, 1], [0, 0]], "REFLECT"))
add("reshape", lambda x: tf.reshape(x, (-1, 6, 7, 2)))
add("reshape-batch", lambda x: tf.reshape(x, [tf.shape(x)[0], 6, 7, 2]))
add("transpose", lambda x: tf.transpose(x, (0, 2, 1, 3)))
add("slice", lambda x: x[:, 1:-1, ::2])
add("slice-flip", lambda x: x[:, ::-1])
add("slice-sizes", lambda x: tf.slice(x, [0, 2, 1, 0], [-1, 3, 4, 2]))
add("gather", lambda x: tf.gather(x, [3, 0, 3, 5], axis=1))
add("concat", lambda x: tf.concat([x, tf.roll(x, 2, axis=1)], axis=-1))
add("split", lambda x: tf.add(*tf.split(x, 2, axis=2)))
add("split-sizes", lambda x: tf.split(x, [2, 4, 1], axis=1)[1])
add("stack", lambda x: tf.reshape(tf.stack([x, x[:, ::-1]], axis=2), (-1, 14, 6, 2)))
add("unstack", lambda x: tf.unstack(x, axis=1)[2] + tf.unstack(x, axis=1)[3], channels=(-1, -1))
add(
    "depth_to_space",
    lambda x, w: tf.nn.depth_to_space(x @ w, 2),
    weight=(2, 8),
    dtype="float32",
    tolerance=1e-6,
)
add("space_to_depth", lambda x: tf.nn.space_to_depth(x, 2), (6, 4, 2))
add("tile", lambda x: tf.tile(x, [1, 2, 1, 1]))
add("broadcast", lambda x: tf.broadcast_to(x[:, :1], tf.shape(x)))
add("expand", lambda x: tf.squeeze(tf.expand_dims(x, 3), axis=3) * 2)
add(
    "patches",
    lambda x: tf.image.extract_patches(x, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
)
add("reverse", lambda x: tf.reverse(x, [2]))
add("shift", lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]])[:, :-1] + x)
add("dilated-batches", lambda x, w: tf.nn.atrous_conv2d(x, w, 2, "SAME"), weight=(3, 3, 2, 2))

# Products and reductions
add("matmul", lambda x, w: tf.matmul(x, w), weight=(2, 3))
add("einsum", lambda x, w: tf.einsum("bhwc,hk->bkwc", x, w), weight=(7, 4))
add("tensordot", lambda x, w: tf.tensordot(x, w, [[3], [0]]), weight=(2, 3))
add("mean", lambda x: x * tf.reduce_mean(x, axis=[1], keepdims=True))
add("max", lambda x: tf.reduce_max(x, axis=2), draw=normal, draws=40)
add("cumsum", lambda x: tf.cumsum(x, axis=1))
add("attention", lambda x: tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x), (5, 2))
add("gate", lambda x: x * tf.sigmoid(tf.reduce_mean(x, [1, 2], keepdims=True)))

# Elements
add("elements", lambda x: tf.nn.swish(x) + tf.exp(-tf.square(x)) * tf.math.softplus(x) - 3.0 * x)
add("select", lambda x: tf.where(x > 0.5, tf.nn.relu6(x), tf.nn.leaky_relu(x) * 0.3))
add("casts", lambda x: x * tf.cast(tf.cast(x, tf.float32) > -1.0, x.dtype))
add("clipped", lambda x: tf.clip_by_value(x, 0.0, 9.0))
add("compiled", tf.function(lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME")))


@pytest.mark.parametrize("name", CASES)
def test_fields(name: str) -> None:
    check_all(networks.PROPERTIES, networks.solve(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_every_call_is_known(name: str) -> None:
    with jacobian.precision(CASES[name].dtype):
        model = model_of(CASES[name])
        target = locate(model, model.output)
    (node,) = target.tracing.graph.nodes
    inside = target.tracing.inside(node)
    assert node not in inside
    assert all(isinstance(one.kind, str) for one in inside), [one.name for one in inside]


# --- Layers inside, and what is left as it was ---------------------------------------------------


class Detector(keras.Model):
    """An edge detector of two scales, as such are written: models inside, resized by TensorFlow."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = keras.Sequential([layers.Conv2D(4, 3, padding="same", name="fine_conv")])
        self.coarse = keras.Sequential(
            [layers.MaxPooling2D(2, name="pool"), layers.Conv2D(4, 3, padding="same", name="conv")]
        )
        self.fuse = layers.Conv2D(1, 1, name="fuse")
        self.offset = tf.Variable(0.5)

    def call(self, x: Any, training: bool = False) -> Any:
        size = tf.shape(x)[1:3]
        fine = self.fine(x)
        coarse = tf.image.resize(self.coarse(fine), size)
        logits = self.fuse(tf.concat([fine, coarse], axis=-1)) + self.offset
        return logits if training else tf.sigmoid(logits)


def detector(size: int, built: int = 16) -> tuple[keras.Model, Detector]:
    """A functional model with a detector, whose models inside were built for another size."""
    keras.utils.set_random_seed(3)
    inner = Detector()
    inner(tf.zeros((1, built, built, 3)))
    x = keras.Input((size, size, 3))
    return keras.Model(x, inner(x)), inner


@pytest.mark.parametrize("size", [16, 22])
def test_layers_inside_keep_their_names_and_rules(size: int) -> None:
    model, inner = detector(size)
    tracing = locate(model, model.output).tracing
    (node,) = tracing.graph.nodes
    inside = {one.name.rpartition("/")[2]: one.operation for one in tracing.inside(node)}
    assert inside["conv"] is inner.coarse.layers[1]
    assert inside["fine_conv"] is inner.fine.layers[0]
    assert inside["fuse"] is inner.fuse


def test_the_field_of_a_detector_is_that_of_its_gradient() -> None:
    model, _ = detector(22)
    field = erf.receptive_field(model, unit=(10, 7))
    assert field.status == "exact"
    for weight in jacobian.make_positive(model).trainable_variables:
        # No sum is so large that the sigmoid's slope is zero.
        weight.assign(0.1 * weight)
    seen = jacobian.supports(model, [(10, 7)], draws=30, tolerance=1e-6)
    np.testing.assert_array_equal(field.support(), seen[0])


def test_a_probe_of_a_detector_runs_on_its_cone() -> None:
    model, _ = detector(64)
    cone = erf.probe(model, unit=(30, 21), samples=4, seed=1)
    whole = erf.probe(model, unit=(30, 21), samples=4, seed=1, cone=False)
    np.testing.assert_allclose(cone.map, whole.map, rtol=1e-5, atol=1e-6 * whole.map.max())
    part = cones.part_of_unit(locate(model, unit=(30, 21)).tracing, 1, (30, 21))
    assert all(stop - start < 20 for start, stop in part[:2])


def test_nothing_is_left_behind() -> None:
    model, inner = detector(22)
    parts = [inner, *inner._flatten_layers(include_self=False)]
    before = [
        (sorted(vars(one)), len(one._inbound_nodes), len(one._outbound_nodes)) for one in parts
    ]
    weights = [np.array(one) for one in model.weights]
    erf.receptive_fields(model)
    erf.probe(model, samples=2)
    after = [
        (sorted(vars(one)), len(one._inbound_nodes), len(one._outbound_nodes)) for one in parts
    ]
    assert before == after
    assert not tf.config.functions_run_eagerly()
    for old, new in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_variable_of_tensorflow_is_read_when_it_runs() -> None:
    scale = tf.Variable(1.0)
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, layers.Lambda(lambda x: tf.sin(x * scale))(x))
    target = locate(model, model.output)
    cone = cone_of(target.tracing, {1: ((3, 4), (3, 4), (0, 1))})
    value = np.full((1, 1, 1, 1), 0.5, "float32")
    for factor in (1.0, 2.0):
        scale.assign(factor)
        result = np.asarray(cone.run({0: value})[1]).item()
        assert result == pytest.approx(np.sin(0.5 * factor))


# --- What the tables lack ------------------------------------------------------------------------


def dilated(x: Any) -> Any:
    """A dilation of mathematical morphology, with convolutions around."""
    x = tf.nn.conv2d(x, np.ones((3, 3, 2, 2), "float32"), 1, "SAME")
    x = tf.nn.dilation2d(x, np.zeros((3, 1, 2), "float32"), [1] * 4, "SAME", "NHWC", [1] * 4)
    return tf.nn.conv2d(x, np.ones((1, 3, 2, 2), "float32"), 1, "SAME")


def test_an_unknown_operation_is_measured_alone() -> None:
    x = keras.Input((11, 12, 2))
    model = keras.Model(x, layers.Lambda(dilated)(x))
    target = locate(model, model.output)
    (node,) = target.tracing.graph.nodes
    kinds = [type(one.operation).__name__ for one in target.tracing.inside(node)]
    assert kinds == ["Conv", "UnknownOperation", "Conv"]
    field = erf.receptive_field(model)
    # Of 3 x 3, 3 x 1 and 1 x 3 pixels.
    assert (field.size, field.status) == ((5, 5), "measured")
    assert erf.check(model).verdict == "pass"


def test_calls_that_return_something_else_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x = keras.Input((11, 2))
    model = keras.Model(x, layers.Lambda(lambda x: tf.nn.relu(x) * 2)(x))
    assert erf.receptive_field(model).status == "exact"
    monkeypatch.setitem(raw_nodes.NODES, "Relu", raw_nodes.NODES["Neg"])
    assert erf.receptive_field(model).status == "measured"


def test_layers_that_draw_or_loop_are_measured() -> None:
    for function in (
        lambda x: x + tf.random.normal(tf.shape(x)),
        lambda x: tf.map_fn(tf.tanh, x),
        lambda x: tf.py_function(lambda y: y * 2, [x], tf.float32),
    ):
        x = keras.Input((6, 2))
        odd = layers.Lambda(function, output_shape=lambda shape: shape)
        assert erf.receptive_field(keras.Model(x, odd(x))).status == "measured"


@pytest.mark.parametrize("dtype", ["mixed_float16", "float64"])
def test_other_precisions(dtype: str) -> None:
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(2, 3, dtype=dtype, padding="same")(x)
    kernel = np.ones((3, 3, 2, 2))
    y = layers.Lambda(lambda x: tf.nn.conv2d(x, tf.cast(kernel, x.dtype), 1, "SAME"), dtype=dtype)(
        y
    )
    field = erf.receptive_field(keras.Model(x, y))
    assert (field.size, field.status) == ((5, 5), "exact")
