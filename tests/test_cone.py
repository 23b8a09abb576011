"""Layers run on parts of their tensors: one table of calls, one of properties.

A unit's value and gradient by its cone are those of the whole model, and the
cone's part of the input is as narrow as the unit's field where the layer can be
run on parts, and all of it where it cannot.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target, locate, target_of
from keras_erf.layers.table import ENTRIES
from tests import cones, jacobian
from tests.cases import Case, Cases, check_all, model_of, of
from tests.cones import Block, Scale
from tests.perturbation import normal

# Relative to the largest gradient, in double precision; and of what TensorFlow computes in single.
TOLERANCE = 1e-12
SINGLE = 1e-6


def negative(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -rng.uniform(0.5, 1.5, shape)


def tied(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 0, shape).astype(float)


# A name begins with the class of the layer in question.
CASES = Cases(draw=normal, tolerance=TOLERANCE)
add = CASES.add

LINE, PLANE, SOLID = (13, 4), (8, 7, 4), (5, 6, 4, 2)
FIRST = (4, 8, 7)

# --- Convolutions --------------------------------------------------------------------------------

# Kernel, stride, dilation: even, longer and shorter than the stride, dilated.
WINDOWS = ((1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1), (3, 2, 1), (4, 2, 1), (2, 3, 1), (1, 2, 1))
DILATED = ((3, 1, 2), (2, 1, 3), (4, 1, 2))
# The same along two axes of a plane, different on each.
PLANES = (((3, 2), (1, 1), (1, 1)), ((2, 3), (3, 2), (1, 1)), ((2, 3), (1, 1), (3, 2)))

for kind, paddings in {
    "Conv1D": ("valid", "same", "causal"),
    "SeparableConv1D": ("valid", "same"),
    "DepthwiseConv1D": ("valid", "same"),
}.items():
    for padding, (kernel, stride, dilation) in itertools.product(paddings, WINDOWS + DILATED):
        if kind != "Conv1D" and (kernel, stride, dilation) in WINDOWS[::2]:
            continue
        width = () if kind == "DepthwiseConv1D" else (3,)
        add(
            f"{kind}-{padding}-{kernel}-{stride}-{dilation}",
            of(
                kind,
                *width,
                kernel,
                stride,
                padding=padding,
                dilation_rate=dilation,
                activation="tanh",
            ),
            LINE,
        )
for kind, padding, (kernel, strides, dilation) in itertools.product(
    ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"), ("valid", "same"), PLANES
):
    if kind != "Conv2D" and strides != (1, 1):
        # TensorFlow's depthwise convolutions take one stride for both axes.
        strides = (2, 2)
    width = () if kind == "DepthwiseConv2D" else (3,)
    add(
        f"{kind}-{padding}-{kernel}-{strides}-{dilation}".replace(" ", ""),
        of(
            kind,
            *width,
            kernel,
            strides,
            padding=padding,
            dilation_rate=dilation,
            activation="tanh",
        ),
        PLANE,
    )
for padding in ("valid", "same"):
    add(f"Conv3D-{padding}", of("Conv3D", 3, (2, 3, 1), (1, 2, 1), padding=padding), SOLID)
for kind in ("Conv1D", "Conv2D"):
    add(
        f"{kind}-groups",
        of(kind, 6, 3, padding="same", groups=2),
        LINE if kind == "Conv1D" else PLANE,
    )
for kind in ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"):
    width = (3,) if kind.startswith("Separable") else ()
    add(
        f"{kind}-multiplier",
        of(kind, *width, 3, padding="same", depth_multiplier=3),
        LINE if "1D" in kind else PLANE,
    )
    add(f"{kind}-no-bias", of(kind, *width, 3, use_bias=False), LINE if "1D" in kind else PLANE)
add("Conv1D-no-bias", of("Conv1D", 3, 3, use_bias=False), LINE)
add(
    "Conv2D-first",
    of("Conv2D", 3, (3, 2), padding="same", data_format="channels_first"),
    FIRST,
    compiled=True,
)
add(
    "Conv1D-first",
    of("Conv1D", 3, 4, 2, padding="same", data_format="channels_first"),
    LINE[::-1],
    compiled=True,
)

# As many channels as the part has columns: a bias must not be taken for theirs.
add(
    "Conv2D-first-square",
    lambda x: layers.MaxPooling2D(3, 1, data_format="channels_first")(
        layers.Conv2D(3, 2, activation="tanh", data_format="channels_first")(x)
    ),
    FIRST,
    compiled=True,
)

# Activations behind a convolution: mixing the last axis, layers, unknown functions.
add("Conv2D-softmax", of("Conv2D", 3, 3, activation="softmax"), PLANE)
add(
    "Conv2D-softmax-first",
    of("Conv2D", 3, 3, activation="softmax", data_format="channels_first"),
    FIRST,
    part="whole",
    compiled=True,
)
add("DepthwiseConv2D-softmax", of("DepthwiseConv2D", 3, activation="softmax"), PLANE, part="whole")
for name, make in {"leaky": layers.LeakyReLU, "elu": layers.ELU, "relu": layers.ReLU}.items():
    add(f"Conv2D-{name}", lambda x, m=make: layers.Conv2D(3, 3, activation=m())(x), PLANE)
add(
    "Conv2DTranspose-leaky",
    lambda x: layers.Conv2DTranspose(3, 3, activation=layers.ELU())(x),
    PLANE,
)
add(
    "Conv2D-PReLU", lambda x: layers.Conv2D(3, 3, activation=layers.PReLU())(x), PLANE, part="whole"
)
add("Conv2D-own", lambda x: layers.Conv2D(3, 3, activation=swish_of_ones_own)(x), PLANE)
add(
    "Conv2D-stretched",
    lambda x: layers.Conv2D(3, 3, activation=lambda v: v * np.arange(1.0, 4.0))(x),
    PLANE,
)
add("Conv2D-tensorflow", lambda x: layers.Conv2D(3, 3, activation=cubed)(x), PLANE)
add("Conv2D-unknown", lambda x: layers.Conv2D(3, 3, activation=hidden)(x), PLANE, part="whole")


def swish_of_ones_own(x: Any) -> Any:
    """One written in `keras.ops`, on single elements."""
    return ops.where(x > 0, x * ops.sigmoid(1.5 * x), 0.1 * x)


def cubed(x: Any) -> Any:
    """A function of TensorFlow's."""
    return tf.pow(x, 3)


def hidden(x: Any) -> Any:
    """One that no graph can hold: it ends in a loop of TensorFlow's."""
    return tf.map_fn(tf.tanh, x)


def graded(x: Any) -> Any:
    """One that is not the same everywhere."""
    return tf.multiply(x, tf.reshape(tf.range(1, x.shape[-1] + 1, dtype=x.dtype), (-1,)))


def ramp(x: Any) -> Any:
    """One that grows along the rows."""
    return tf.multiply(x, tf.constant(np.arange(1.0, 9.0).reshape(8, 1, 1), x.dtype))


# --- Transposed convolutions ---------------------------------------------------------------------

for padding, (kernel, stride) in itertools.product(
    ("valid", "same"), [(1, 1), (3, 1), (2, 2), (3, 2), (4, 2), (5, 2), (4, 3)]
):
    add(
        f"Conv1DTranspose-{padding}-{kernel}-{stride}",
        of("Conv1DTranspose", 3, kernel, stride, padding=padding),
        LINE,
    )
for padding, extra in itertools.product(("valid", "same"), (0, 1)):
    add(
        f"Conv2DTranspose-{padding}-output-{extra}",
        of(
            "Conv2DTranspose",
            3,
            (3, 2),
            2,
            padding=padding,
            output_padding=(extra, 1),
            activation="tanh",
        ),
        PLANE,
    )
add("Conv1DTranspose-dilated", of("Conv1DTranspose", 3, 3, dilation_rate=2), LINE, compiled=True)
add(
    "Conv2DTranspose-dilated",
    of("Conv2DTranspose", 3, 2, padding="same", dilation_rate=(3, 2)),
    PLANE,
    compiled=True,
)
# Parts that begin, or end, where no tap reaches.
add(
    "Conv1DTranspose-holes",
    lambda x: layers.Conv1D(3, 3)(layers.Conv1DTranspose(3, 1, 3)(x)),
    (12, 4),
)
add(
    "Conv1DTranspose-beyond",
    lambda x: layers.Conv1D(3, 4)(layers.Conv1DTranspose(3, 3, 3, output_padding=2)(x)),
    LINE,
)
add("Conv2DTranspose-no-bias", of("Conv2DTranspose", 3, 3, use_bias=False), PLANE)
add("Conv2DTranspose-softmax", of("Conv2DTranspose", 3, 3, 2, activation="softmax"), PLANE)
add(
    "Conv2DTranspose-first",
    of("Conv2DTranspose", 3, 3, 2, data_format="channels_first"),
    FIRST,
    compiled=True,
)
add("Conv3DTranspose-same", of("Conv3DTranspose", 3, 3, 2, padding="same"), SOLID)

# --- Pools ---------------------------------------------------------------------------------------

for kind, padding, (size, stride) in itertools.product(
    ("Max", "Average"), ("valid", "same"), [(2, 2), (3, 1), (4, 2), (2, 3), (3, 3)]
):
    add(
        f"{kind}Pooling1D-{padding}-{size}-{stride}",
        of(f"{kind}Pooling1D", size, stride, padding=padding),
        LINE,
        draw=negative,
    )
for kind, padding, draw in itertools.product(
    ("Max", "Average"), ("valid", "same"), (negative, tied)
):
    add(
        f"{kind}Pooling2D-{padding}-{draw.__name__}",
        of(f"{kind}Pooling2D", (3, 4), 2, padding=padding),
        PLANE,
        draw=draw,
    )
    if draw is negative:
        add(
            f"{kind}Pooling3D-{padding}",
            lambda x, k=kind, p=padding: getattr(layers, f"{k}Pooling3D")(2, padding=p)(x),
            SOLID,
            draw=draw,
            # TensorFlow's pools of volumes have no kernel in double precision.
            tolerance=SINGLE,
            dtype="float32",
        )
for kind in ("Max", "Average"):
    add(
        f"{kind}Pooling2D-first",
        of(f"{kind}Pooling2D", 3, 2, padding="same", data_format="channels_first"),
        FIRST,
    )

# --- Padding, cropping, up-sampling --------------------------------------------------------------

add(
    "ZeroPadding1D-first",
    lambda x: layers.MaxPooling1D(3, 1, data_format="channels_first")(
        layers.ZeroPadding1D((0, 2), data_format="channels_first")(x)
    ),
    LINE[::-1],
)
for kind in ("ZeroPadding", "Cropping"):
    add(f"{kind}1D", lambda x, k=kind: getattr(layers, f"{k}1D")((0, 2))(conv1(x)), LINE)
    add(
        f"{kind}2D",
        lambda x, k=kind: layers.Conv2D(3, 4)(getattr(layers, f"{k}2D")(((1, 2), (0, 2)))(x)),
        PLANE,
    )
    add(
        f"{kind}3D",
        lambda x, k=kind: layers.Conv3D(3, 3)(
            getattr(layers, f"{k}3D")(((1, 0), (1, 2), (0, 1)))(x)
        ),
        SOLID,
    )
    add(
        f"{kind}2D-first",
        lambda x, k=kind: layers.AveragePooling2D(3, 1, data_format="channels_first")(
            getattr(layers, f"{k}2D")(((1, 2), (2, 0)), data_format="channels_first")(x)
        ),
        FIRST,
    )


def conv1(x: Any) -> Any:
    return layers.Conv1D(3, 3, padding="same")(x)


add("UpSampling1D", of("UpSampling1D", 3), LINE)
add("UpSampling3D", of("UpSampling3D", (2, 1, 3)), SOLID)
for how, factors in itertools.product(("nearest", "bilinear"), [(2, 4), (3, 1), (1, 5)]):
    add(
        f"UpSampling2D-{how}-{factors}".replace(" ", ""),
        lambda x, h=how, f=factors: layers.UpSampling2D(f, interpolation=h)(x),
        PLANE,
        # TensorFlow's weights are of single precision.
        tolerance=TOLERANCE if how == "nearest" or factors == (2, 4) else SINGLE,
    )
add("UpSampling2D-first", of("UpSampling2D", 2, data_format="channels_first"), FIRST)
add(
    "UpSampling2D-bicubic",
    of("UpSampling2D", 2, interpolation="bicubic"),
    (12, 13, 2),
    part="whole",
)

# --- Element by element --------------------------------------------------------------------------

for kind in ("ELU", "LeakyReLU", "ReLU", "Identity", "ActivityRegularization"):
    add(f"{kind}-plain", of(kind), PLANE)
for kind in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"):
    add(f"{kind}-plain", of(kind, 0.5), PLANE)
for rank, shape in {1: LINE, 2: PLANE, 3: SOLID}.items():
    add(f"SpatialDropout{rank}D-plain", of(f"SpatialDropout{rank}D", 0.5), shape)
for kind in ("AlphaDropout", "Dropout"):
    for label, noise, part in (
        ("samples", (None, 1, 1, 1), "field"),
        ("rows", (None, 8, None, 1), "rows"),
        ("pixels", (None, 8, 7, 1), "whole"),
        # One batch size and no other, in training.
        ("batch", (3, 1, 1, 1), "whole"),
    ):
        add(f"{kind}-{label}", of(kind, 0.5, noise_shape=noise), PLANE, part=part)
add("Activation-tanh", of("Activation", "tanh"), PLANE)
add("Activation-softmax", of("Activation", "softmax"), PLANE)
add("Activation-layer", lambda x: layers.Activation(layers.LeakyReLU())(x), PLANE)
add("Activation-PReLU", lambda x: layers.Activation(layers.PReLU())(x), PLANE, part="whole")
add("Activation-opened", lambda x: layers.Activation(lambda v: v * ops.tanh(v))(x), PLANE)
add("Activation-tensorflow", lambda x: layers.Activation(cubed)(x), PLANE)
add("Activation-unknown", lambda x: layers.Activation(hidden)(x), PLANE, part="whole")
add("Activation-ramp", lambda x: layers.Activation(ramp)(x), PLANE, part="rows")
add("Activation-graded", lambda x: layers.Activation(graded)(x), PLANE)
add("Dense-plain", of("Dense", 3), PLANE)
add("Dense-softmax", of("Dense", 3, activation="softmax"), PLANE)
add("Dense-layer", lambda x: layers.Dense(3, activation=layers.ReLU())(x), PLANE)
add("Dense-PReLU", lambda x: layers.Dense(3, activation=layers.PReLU())(x), PLANE, part="whole")
add("Dense-ramp", lambda x: layers.Dense(3, activation=ramp)(x), PLANE, part="rows")
# What a dense layer makes cannot be cut: here its units are what a window moves over.
add(
    "Dense-turned",
    lambda x: layers.Conv1D(3, 2)(layers.Permute((2, 1))(layers.Dense(6)(x))),
    LINE,
    part="global",
)
add("Permute-plane", lambda x: layers.Conv2D(3, 3)(layers.Permute((2, 1, 3))(x)), PLANE)
add(
    "Permute-channels",
    lambda x: layers.MaxPooling2D(2, data_format="channels_first")(layers.Permute((3, 2, 1))(x)),
    PLANE,
)
add(
    "Embedding-plain",
    lambda x, ids: conv1(layers.Add()([x, layers.Embedding(5, 4)(ops.cast(ops.abs(ids), int))])),
    LINE,
    LINE[:1],
)

# Numbers stretched over the input
add("PReLU-own", of("PReLU"), PLANE, part="whole")
add("PReLU-shared", of("PReLU", shared_axes=[1, 2]), PLANE)
add("PReLU-rows", of("PReLU", shared_axes=[2]), PLANE, part="rows")
add("Rescaling-plain", of("Rescaling", 0.5, 0.25), PLANE)
add("Rescaling-channels", of("Rescaling", [1.0, 2.0, 3.0, 4.0]), PLANE)
add(
    "Rescaling-pixels",
    lambda x: layers.Rescaling(2.0, np.arange(56.0).reshape(8, 7, 1))(layers.ReLU()(x)),
    PLANE,
    part="whole",
)
add(
    "Rescaling-rows",
    lambda x: layers.Rescaling(np.arange(8.0).reshape(8, 1, 1) + 1)(x),
    PLANE,
    part="rows",
)
add(
    "Normalization-channels",
    lambda x: layers.Normalization(mean=np.arange(4.0), variance=np.arange(1.0, 5.0))(x),
    PLANE,
)
add(
    "Normalization-rows",
    lambda x: layers.Normalization(axis=1, mean=np.arange(8.0), variance=np.arange(1.0, 9.0))(x),
    PLANE,
    part="rows",
)
add("Normalization-all", of("Normalization", axis=None, mean=2, variance=4), PLANE)
add("Normalization-adapted", of("Normalization", axis=(1, 3)), PLANE, part="rows")
add("BatchNormalization-channels", of("BatchNormalization"), PLANE)
add("BatchNormalization-rows", of("BatchNormalization", axis=1), PLANE, part="rows")
add(
    "BatchNormalization-first",
    lambda x: layers.BatchNormalization(axis=1)(
        layers.MaxPooling2D(2, data_format="channels_first")(x)
    ),
    FIRST,
)

# Statistics
NORMALIZERS = ("LayerNormalization", "RMSNormalization", "UnitNormalization", "Softmax")
for kind in NORMALIZERS:
    add(f"{kind}-channels", of(kind), PLANE)
    add(f"{kind}-space", of(kind, axis=(1, 2, 3)), PLANE, part="global")
    if kind != "RMSNormalization":  # Keras's own stretches its scale over the last axis.
        add(f"{kind}-rows", of(kind, axis=1), PLANE)
add(
    "Softmax-mask",
    lambda x: layers.Softmax()(x, mask=np.arange(8 * 7 * 4).reshape(1, 8, 7, 4) % 3 > 0),
    PLANE,
    part="whole",
)
add("Softmax-mask-input", lambda x, y: layers.Softmax()(x, mask=y > 0), PLANE, PLANE, part="whole")

# --- Merges --------------------------------------------------------------------------------------

for kind in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"):
    add(f"{kind}-two", lambda x, y, k=kind: getattr(layers, k)()([x, y]), PLANE, PLANE)
add("Add-line", lambda x, y: layers.Add()([x, y]), PLANE, (7, 4))
add("Multiply-rows", lambda x, y: layers.Multiply()([x, y]), PLANE, (1, 7, 4))
add("Multiply-stretched", lambda x, y: layers.Multiply()([x, y]), (1, 7, 4), (8, 1, 4))
add("Add-twice", lambda x: layers.Add()([x, x]), PLANE)
add("Multiply-twice", lambda x: layers.Multiply()([conv1(x)] * 2), LINE)
add("Concatenate-channels", lambda x, y: layers.Concatenate()([x, y]), PLANE, (8, 7, 2))
add("Concatenate-twice", lambda x: layers.Concatenate()([x, x]), PLANE)
add(
    "Concatenate-space",
    lambda x, y: layers.Concatenate(axis=1)([x, y]),
    PLANE,
    (3, 7, 4),
    part="rows",
)


def gate(x: Any) -> Any:
    """A squeeze-excite gate: all of space in one number for each channel."""
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid")(squeezed)])


add("Multiply-gate", gate, PLANE, part="global")

# --- Operations ----------------------------------------------------------------------------------

PIXELS = np.random.default_rng(3).uniform(0.5, 1.5, (8, 7, 1))
add("ops-chain", lambda x: ops.relu(ops.tanh(2 * x - 1) / 3) ** 2, PLANE)
add("ops-two", lambda x, y: ops.maximum(x * y, x + y), PLANE, PLANE)
add("ops-channels", lambda x: x * np.arange(1.0, 5.0), PLANE)
add("ops-pixels", lambda x: x * PIXELS, PLANE, part="whole")
add("ops-pixels-batch", lambda x: x + x * PIXELS[None], PLANE, part="whole")
add("ops-rows", lambda x: ops.multiply(x, PIXELS[:, :1]), PLANE, part="rows")
add("ops-stretched", lambda x: x * np.arange(1.0, 9.0).reshape(8, 1, 1), (1, 7, 4))
# Keras takes a row of numbers for the biases of the first axis where that is as long: in a part of
# seven rows, and in a square map.
LINES = np.random.default_rng(4).uniform(0.5, 1.5, (7, 1))
add("ops-row", lambda x: ops.square(x + PIXELS[:, :1]), PLANE, part="rows")
add(
    "ops-row-pooled",
    lambda x: layers.MaxPooling2D((7, 1), 1)(ops.square(x + LINES)),
    (12, 7, 4),
    part="whole",
)
add("ops-row-square", lambda x: ops.square(x + LINES), (7, 7, 4), part="whole")
add("ops-clip", lambda x: ops.clip(x, -PIXELS, PIXELS), PLANE, part="whole")
add("ops-cast", lambda x: ops.cast(ops.cast(x, np.float64), "float64"), PLANE)
add("ops-clip-plain", lambda x: ops.clip(x, -0.5, 0.5), PLANE)
add("ops-where", lambda x: ops.where(x > 0, x, 2 * x), PLANE)

# Windows of operations
KERNELS = {shape: np.random.default_rng(5).uniform(0.5, 1.5, shape) for shape in (
    (3, 2, 4, 3), (3, 3, 4, 2), (2, 3, 3, 4), (3, 4, 3), (4, 5)
)}  # fmt: skip
for padding, stride in itertools.product(("valid", "same"), (1, 2)):
    options = {"padding": padding, "strides": stride, "data_format": "channels_last"}
    add(
        f"ops-conv-{padding}-{stride}",
        lambda x, o=options: ops.conv(x, KERNELS[3, 2, 4, 3], **o),
        PLANE,
    )
    add(
        f"ops-depthwise-{padding}-{stride}",
        lambda x, o=options: ops.depthwise_conv(x, KERNELS[3, 3, 4, 2], **o),
        PLANE,
    )
    for kind in ("max_pool", "average_pool"):
        add(
            f"ops-{kind}-{padding}-{stride}",
            lambda x, k=kind, o=options: getattr(ops, k)(x, (3, 2), **o),
            PLANE,
        )
add("ops-conv-dilated", lambda x: ops.conv(x, KERNELS[3, 4, 3], 1, "same", dilation_rate=2), LINE)
add("ops-max_pool-default", lambda x: ops.max_pool(x, 2), PLANE)

# Sizes, places and axes
for how, antialias in itertools.product(("bilinear", "nearest", "bicubic", "lanczos3"), (0, 1)):
    resize = {"interpolation": how, "antialias": bool(antialias)}
    add(
        f"ops-resize-{how}-{antialias}",
        lambda x, o=resize: ops.image.resize(x, (5, 16), data_format="channels_last", **o),
        PLANE,
        dtype="float32",
        tolerance=SINGLE,
    )
add("Resizing-larger", of("Resizing", 17, 9), PLANE, dtype="float32", tolerance=SINGLE)
add("Resizing-rows", of("Resizing", 3, 7), PLANE, dtype="float32", tolerance=SINGLE)
add(
    "Resizing-cropped",
    of("Resizing", 4, 4, crop_to_aspect_ratio=True),
    PLANE,
    part="whole",
    dtype="float32",
    tolerance=SINGLE,
)
add("ops-slice", lambda x: x[:, 2:, 1:-1], PLANE)
add("ops-slice-steps", lambda x: x[:, 1::2, ::3, 1:], PLANE)
add("ops-slice-backwards", lambda x: x[:, ::-1], PLANE, part="whole")
add("ops-slice-row", lambda x: conv1(x[:, 3]), PLANE, part="whole")
add("ops-pad", lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0))), PLANE)
add(
    "ops-pad-then",
    lambda x: ops.max_pool(
        ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-2.0), 3, 2
    ),
    PLANE,
)
add(
    "ops-pad-reflect",
    lambda x: ops.pad(x, [(0, 0), (2, 2), (1, 1), (0, 0)], "reflect"),
    PLANE,
    part="whole",
)
add("ops-concatenate", lambda x: ops.concatenate([x, ops.tanh(x)], axis=-1), PLANE)
add("ops-concatenate-rows", lambda x: ops.concatenate([x, x], axis=1), PLANE, part="rows")
add("ops-transpose", lambda x: ops.transpose(ops.transpose(x, (0, 2, 1, 3)), (0, 2, 1, 3)), PLANE)
add("ops-matmul", lambda x: ops.matmul(x, KERNELS[4, 5]), PLANE)
add("ops-squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 2), 2) * 2, PLANE)
add("ops-mean", lambda x: x * ops.mean(x, axis=-1, keepdims=True), PLANE)
add("ops-mean-rows", lambda x: x * ops.max(x, axis=1, keepdims=True), PLANE, part="field")
add("ops-softmax", lambda x: ops.softmax(x, axis=-1), PLANE)

# Whole numbers stay what they are.
for kind, make in {
    "MaxPooling2D": lambda: layers.MaxPooling2D(2, padding="same"),
    "ZeroPadding2D": lambda: layers.ZeroPadding2D(1),
    "Cropping2D": lambda: layers.Cropping2D(1),
}.items():
    add(
        f"{kind}-integers",
        lambda x, m=make: m()(x) * ops.cast(m()(ops.cast(8 * x, "int32")) // 3, x.dtype),
        PLANE,
    )

# --- Layers of one's own -------------------------------------------------------------------------


class Doubled(layers.Conv2D):
    """A convolution that computes something else."""

    def call(self, x: Any) -> Any:
        return 2 * super().call(x)


class Named(layers.Conv2D):
    """A convolution that computes what its parent does."""

    def __init__(self, *args: Any, own: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)
        self.own = own


class Reshaped(layers.Layer):
    """Does by a detour what could be done in place."""

    def call(self, x: Any) -> Any:
        samples = ops.shape(x)[0]
        return ops.reshape(ops.reshape(x, (samples, 56, 4)) * 2, (samples, 8, 7, 4))


class Counted(layers.Layer):
    """Writes the size of the batch into a constant."""

    def call(self, x: Any) -> Any:
        return x * ops.ones((ops.shape(x)[0], 1, 1, 1)) * 2


add("Doubled-overrides", lambda x: Doubled(3, 3)(x), PLANE)
add("Named-inherits", lambda x: Named(3, 3)(x), PLANE)
add("Scale-channels", lambda x: Scale(4)(x), PLANE)
add("Scale-pixels", lambda x: Scale(8, 7, 1)(x), PLANE, part="whole")
add("Reshaped-inside", lambda x: Reshaped()(x), PLANE, part="whole")
add("Counted-inside", lambda x: Counted()(x), PLANE, part="whole")
add("Block-inside", lambda x: Block()(x), PLANE)
add("Lambda-plain", lambda x: layers.Lambda(cubed)(x), PLANE)
add("Lambda-unknown", lambda x: layers.Lambda(hidden)(x), PLANE, part="whole")
add("TimeDistributed-opened", lambda x: layers.TimeDistributed(Scale(4))(x), PLANE, part="whole")
add(
    "TimeDistributed-conv",
    lambda x: layers.TimeDistributed(layers.Conv2D(3, 3))(x),
    SOLID,
    part="whole",
)
add(
    "SpectralNormalization-conv",
    lambda x: layers.SpectralNormalization(layers.Conv2D(3, 3))(x),
    PLANE,
    part="whole",
)

# --- Whole models --------------------------------------------------------------------------------


def nested(x: Any) -> Any:
    """A model inside the model, called twice."""
    source = keras.Input(PLANE)
    inner = keras.Model(source, layers.Conv2D(4, 3, padding="same", activation="tanh")(source))
    return inner(layers.AveragePooling2D(2, 1, padding="same")(inner(x)))


def shared(x: Any) -> Any:
    """One layer on two maps of different size."""
    conv = layers.Conv2D(4, 3, padding="same", activation="tanh")
    small = conv(layers.MaxPooling2D(2, padding="same")(x))
    large = conv(x)
    return large + layers.Cropping2D(((0, 0), (0, 1)))(layers.UpSampling2D(2)(small))


def misaligned(x: Any) -> Any:
    """Two branches that need different parts of one tensor."""
    x = layers.Conv2D(4, (3, 2), padding="same", activation="tanh")(x)
    left = layers.Cropping2D(((3, 0), (0, 2)))(x)
    right = layers.Conv2D(4, (4, 3))(x)
    return left * right


def deep(x: Any) -> Any:
    """Asymmetrical parts, one behind the other."""
    x = layers.ZeroPadding2D(((2, 1), (0, 3)))(x)
    x = layers.Conv2D(4, (3, 2), 2, activation="tanh")(x)
    x = layers.Conv2DTranspose(4, (3, 4), 2, padding="same")(x)
    x = layers.AveragePooling2D((2, 3), (1, 2), padding="same")(x)
    return layers.DepthwiseConv2D(2, padding="same", dilation_rate=2)(x)


def causal(x: Any) -> Any:
    for dilation in (1, 2, 4):
        x = layers.Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="tanh")(x)
    return x


add("Model-nested", nested, PLANE)
add("Model-shared", shared, PLANE, part="within")
add("Model-misaligned", misaligned, PLANE)
add("Model-deep", deep, (14, 13, 2), part="within")
add("Model-causal", causal, (17, 4))
add(
    "Model-two-inputs",
    lambda x, y: layers.Conv2D(3, 3)(x + layers.UpSampling2D((2, 1))(y)),
    PLANE,
    (4, 7, 4),
)


@dataclass(frozen=True, eq=False)
class Solved:
    """A case's units, each by the cone and by the whole model."""

    case: Case
    targets: list[Target]
    found: list[cones.ByCone]
    expected: list[cones.Computed]


def some_units(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The centre of a map, two of its corners, and the middles of two of its edges."""
    last = tuple(size - 1 for size in shape)
    centre = tuple(size // 2 for size in shape)
    edges = ((0, *centre[1:]), (*last[:1], *centre[1:]))
    return list(dict.fromkeys([centre, (0,) * len(shape), last, *edges]))


def solve(name: str) -> Solved:
    """Some units of a case, with random weights.

    The inputs are three samples: layers are opened with two.
    """
    case = CASES[name]
    rng = np.random.default_rng(0)
    with jacobian.precision(case.dtype):
        model = model_of(case)
        kind = name.partition("-")[0]
        assert kind in ("ops", "Model", *(type(layer).__name__ for layer in model.layers))
        for weight in model.weights:
            if "seed" not in weight.path and "count" not in weight.path:
                # Sums stay near 1, where nothing saturates.
                scale = max(np.prod(weight.shape[:-1]), 1)
                weight.assign(rng.uniform(0.5, 1.5, weight.shape) / scale)
        values = [tf.constant(case.draw(rng, (3, *shape)), case.dtype) for shape in case.shapes]
        centre = locate(model, model.output)
        units = some_units(centre.tracing.spatial_shape(centre.tensor))
        targets = []
        # What is compiled takes its time: the centre and one corner of it.
        for unit in units[:2] if case.compiled else units:
            # What lies beyond the last tap, or in another input's part, sees nothing.
            with contextlib.suppress(InvalidInputError):
                target = target_of(centre.tracing, centre.tensor, unit=unit)
                if target.receptive_field.support().any():
                    targets.append(target)
        found = [
            cones.by_cone(one.tracing, one.tensor, one.position, values, compiled=case.compiled)
            for one in targets
        ]
        expected = cones.by_model(model, targets, values, compiled=case.compiled)
        return Solved(case, targets, found, expected)


def input_part(target: Target, cone_part: Box) -> Box:
    """The spatial axes of a part of the input."""
    return tuple(cone_part[axis] for axis in target.tracing.input_axes)


def clipped(box: Box, sizes: tuple[int, ...]) -> Box:
    """What of a box lies inside the input."""
    return tuple(
        (max(start, 0), min(stop, size)) for (start, stop), size in zip(box, sizes, strict=True)
    )


# --- Properties ----------------------------------------------------------------------------------


def has_the_models_values_and_gradients(solved: Solved) -> None:
    for found, expected in zip(solved.found, solved.expected, strict=True):
        for one, other in ((found.value, expected.value), (found.gradient, expected.gradient)):
            assert np.abs(one - other).max() <= solved.case.tolerance * np.abs(other).max()
    assert any(expected.gradient.any() for expected in solved.expected)


def is_as_narrow_as_the_field(solved: Solved) -> None:
    narrower = False
    for target, found in zip(solved.targets, solved.found, strict=True):
        sizes = target.receptive_field.input_size
        part = input_part(target, found.cone.parts[target.input])
        field = clipped(target.receptive_field.box(), sizes)
        narrower |= field != entire(sizes)
        if solved.case.part == "within":
            seen = target.receptive_field.visible()
            assert all(a <= b for (a, _), (b, _) in zip(part, seen, strict=True))
            assert all(a >= b for (_, a), (_, b) in zip(part, seen, strict=True))
            assert all(a >= b for (a, _), (b, _) in zip(part, field, strict=True))
            assert all(a <= b for (_, a), (_, b) in zip(part, field, strict=True))
        else:
            whole = {"rows": 1, "whole": len(sizes)}.get(solved.case.part, 0)
            assert part == entire(sizes)[:whole] + field[whole:]
    assert narrower == (solved.case.part != "global")


def holds_the_parts_it_names(solved: Solved) -> None:
    for found in solved.found:
        for number, value in found.values.items():
            part = found.cone.parts[number]
            assert tuple(value.shape[1:]) == tuple(stop - start for start, stop in part)


PROPERTIES = (
    has_the_models_values_and_gradients,
    is_as_narrow_as_the_field,
    holds_the_parts_it_names,
)


@pytest.mark.parametrize("name", CASES)
def test_cone(name):
    check_all(PROPERTIES, solve(name))


def test_every_layer_that_can_be_cut_has_a_case():
    named = {name for entry in ENTRIES if entry.part for name in entry.layers.split()}
    assert named <= {name.partition("-")[0] for name in CASES}
