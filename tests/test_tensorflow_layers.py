"""Layers of one's own whose `call` uses TensorFlow: fields and cones against brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf.fields.theoretical import locate
from tests import jacobian, networks
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
