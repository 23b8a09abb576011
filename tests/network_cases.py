"""Small networks of one input: layers that slide a window, and what is put around them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers, ops

from tests.cases import Cases, of

LINE, PLANE, SPACE = (11, 2), (9, 8, 3), (5, 6, 4, 2)

CASES = Cases(draws=1, tolerance=0.0)
add = CASES.add


def named(options: dict[str, Any]) -> str:
    """The options in one word, for the name of a case."""
    words = (f"{key}={value}".replace(" ", "") for key, value in options.items())
    return "-".join(words) or "plain"


# --- Convolutions --------------------------------------------------------------------------------

LINES = [
    {"kernel_size": 3},
    {"kernel_size": 2},
    {"kernel_size": 1, "strides": 2},
    {"kernel_size": 4, "strides": 3},
    {"kernel_size": 5, "strides": 2},
    {"kernel_size": 3, "dilation_rate": 2},
    {"kernel_size": 2, "dilation_rate": 3},
]
PLANES = [
    {"kernel_size": (3, 3)},
    {"kernel_size": (2, 5)},
    {"kernel_size": (2, 3), "dilation_rate": (2, 3)},
    {"kernel_size": (3, 2), "dilation_rate": (1, 2)},
    {"kernel_size": (3, 4), "strides": (2, 2)},
]
UNEVEN = [{"kernel_size": (3, 2), "strides": (2, 1)}, {"kernel_size": (4, 1), "strides": (3, 2)}]
SPACES = [
    {"kernel_size": (2, 3, 1), "strides": (1, 2, 3)},
    {"kernel_size": (2, 3, 2), "dilation_rate": (1, 2, 2)},
]

for padding, options in itertools.product(("valid", "same", "causal"), LINES):
    add(f"Conv1D-{padding}-{named(options)}", of("Conv1D", 2, padding=padding, **options), LINE)
for padding, options in itertools.product(("valid", "same"), LINES):
    add(
        f"DepthwiseConv1D-{padding}-{named(options)}",
        of("DepthwiseConv1D", padding=padding, depth_multiplier=2, **options),
        LINE,
    )
    add(
        f"SeparableConv1D-{padding}-{named(options)}",
        of("SeparableConv1D", 3, padding=padding, **options),
        LINE,
    )
for padding, options in itertools.product(("valid", "same"), PLANES + UNEVEN):
    add(f"Conv2D-{padding}-{named(options)}", of("Conv2D", 2, padding=padding, **options), PLANE)
for padding, options in itertools.product(("valid", "same"), PLANES):
    add(
        f"DepthwiseConv2D-{padding}-{named(options)}",
        of("DepthwiseConv2D", padding=padding, depth_multiplier=2, **options),
        PLANE,
    )
    add(
        f"SeparableConv2D-{padding}-{named(options)}",
        of("SeparableConv2D", 4, padding=padding, **options),
        PLANE,
    )
for padding, options in itertools.product(("valid", "same"), SPACES):
    add(f"Conv3D-{padding}-{named(options)}", of("Conv3D", 2, padding=padding, **options), SPACE)
add("Conv2D-groups", of("Conv2D", 6, (2, 3), strides=2, groups=3), PLANE)
add("Conv1D-groups", of("Conv1D", 4, 3, padding="same", groups=2), LINE)

# --- Transposed convolutions ---------------------------------------------------------------------

for padding, kernel, stride in itertools.product(("valid", "same"), (1, 2, 3, 4, 5), (1, 2, 3)):
    add(
        f"Conv1DTranspose-{padding}-kernel_size={kernel}-strides={stride}",
        of("Conv1DTranspose", 2, kernel, stride, padding=padding),
        (5, 2),
    )
for padding, kernel, stride, extra in [
    ("valid", 2, 3, 0),
    ("valid", 3, 3, 2),
    ("valid", 4, 2, 1),
    ("same", 3, 2, 0),
    ("same", 3, 2, 1),
    ("same", 5, 3, 2),
    ("same", 4, 3, 1),
]:
    add(
        f"Conv1DTranspose-{padding}-{kernel}-{stride}-output_padding={extra}",
        of("Conv1DTranspose", 2, kernel, stride, padding=padding, output_padding=extra),
        (5, 2),
    )
for padding, kernel in itertools.product(("valid", "same"), (1, 2, 3)):
    add(
        f"Conv1DTranspose-{padding}-kernel_size={kernel}-dilation_rate=2",
        of("Conv1DTranspose", 2, kernel, padding=padding, dilation_rate=2),
        (7, 2),
        compiled=True,
    )
for padding in ("valid", "same"):
    add(
        f"Conv2DTranspose-{padding}",
        of("Conv2DTranspose", 2, (3, 2), (2, 3), padding=padding),
        (4, 3, 2),
    )
    add(
        f"Conv2DTranspose-{padding}-holes",
        of("Conv2DTranspose", 2, (1, 2), (2, 3), padding=padding),
        (3, 3, 2),
    )
    add(
        f"Conv2DTranspose-{padding}-dilated",
        of("Conv2DTranspose", 2, (3, 2), padding=padding, dilation_rate=(2, 3)),
        (4, 5, 2),
        compiled=True,
    )
    add(
        f"Conv3DTranspose-{padding}",
        of("Conv3DTranspose", 2, (3, 2, 1), (1, 2, 2), padding=padding),
        (3, 2, 3, 2),
    )
add("Conv2DTranspose-dots", of("Conv2DTranspose", 2, 1, 2), (3, 3, 2))

# --- Pooling -------------------------------------------------------------------------------------

POOLS = {
    1: (LINE, [(2, 2), (3, 2), (3, 1), (2, 3), (4, 1)]),
    2: ((7, 8, 2), [((2, 3), (2, 2)), ((3, 2), (1, 3)), ((3, 3), (2, 1)), (2, None)]),
    3: (SPACE, [((2, 3, 1), (2, 2, 1))]),
}
# A maximum sees one pixel per draw.
KINDS = {"Average": 1, "Max": 120}

for (kind, draws), (rank, (shape, sizes)) in itertools.product(KINDS.items(), POOLS.items()):
    for padding, (size, stride) in itertools.product(("valid", "same"), sizes):
        pool = getattr(layers, f"{kind}Pooling{rank}D")
        add(
            f"{pool.__name__}-{padding}-{size}-{stride}".replace(" ", ""),
            lambda x, c=pool, n=size, s=stride, p=padding: c(n, s, padding=p)(x),
            shape,
            draws=draws,
            dtype="float32" if rank == 3 else "float64",
        )
for kind, (rank, shape) in itertools.product(
    KINDS, {1: (5, 2), 2: (3, 4, 2), 3: (2, 2, 3, 2)}.items()
):
    pool = getattr(layers, f"Global{kind}Pooling{rank}D")
    add(
        pool.__name__,
        lambda x, c=pool: c(keepdims=True)(x),
        shape,
        draws=300 if kind == "Max" else 1,
    )

# --- Padding, cropping, up-sampling --------------------------------------------------------------

SIDES = {1: (2, 1), 2: ((2, 1), (0, 3)), 3: ((2, 1), (0, 3), (1, 0))}
for rank, shape in {1: LINE, 2: PLANE, 3: SPACE}.items():
    for kind in ("ZeroPadding", "Cropping"):
        layer = getattr(layers, f"{kind}{rank}D")
        add(layer.__name__, lambda x, c=layer, s=SIDES[rank]: c(s)(x), shape)
for factor in (1, 2, 3, 4):
    add(f"UpSampling1D-{factor}", of("UpSampling1D", factor), (5, 2))
for interpolation, factors in itertools.product(
    ("nearest", "bilinear"), [(1, 2), (3, 2), (2, 3), (4, 5)]
):
    add(
        f"UpSampling2D-{interpolation}-{factors}".replace(" ", ""),
        lambda x, f=factors, i=interpolation: layers.UpSampling2D(f, interpolation=i)(x),
        (4, 3, 2),
        # TensorFlow resizes in single precision: a weight of zero comes out near 1e-7.
        tolerance=1e-5,
    )
add("UpSampling3D", of("UpSampling3D", (1, 2, 3)), (3, 2, 3, 2))

# --- Merges --------------------------------------------------------------------------------------


def conv(kernel: Any = 3, filters: int = 3, **options: Any) -> Callable[[Any], Any]:
    return lambda x: layers.Conv2D(filters, kernel, **{"padding": "same", **options})(x)


def gate(x: Any, filters: int = 3) -> Any:
    return layers.Dense(filters, "sigmoid")(layers.GlobalAveragePooling2D()(x * 0.1))


def misaligned(x: Any) -> list[Any]:
    """The input twice, shifted by (2, -1) pixels."""
    return [layers.Cropping2D(((0, 2), (1, 0)))(x), layers.Cropping2D(((2, 0), (0, 1)))(x)]


for kind in ("Add", "Average", "Multiply", "Subtract", "Maximum", "Minimum"):
    merge = getattr(layers, kind)
    add(kind, lambda x, c=merge: c()(misaligned(x)), (5, 4, 2), draws=30)
add("Concatenate-channels", lambda x: layers.Concatenate()([conv(3)(x), conv(1)(x)]), (5, 6, 3))
add(
    "Concatenate-space",
    lambda x: layers.Concatenate(axis=1)([conv(3)(x), conv(1)(x)]),
    (4, 4, 3),
    even=False,
)
add(
    "Concatenate-space-then-conv",
    lambda x: conv(3)(layers.Concatenate(axis=2)([conv(3)(x), conv(1)(x), x])),
    (3, 4, 3),
    even=False,
)
add(
    "Multiply-gate",
    lambda x: layers.Multiply()([conv()(x), layers.Reshape((1, 1, 3))(gate(x))]),
    (4, 3, 3),
    even=False,
)
add(
    "Multiply-gate-first",
    lambda x: layers.Multiply()([layers.Reshape((1, 1, 3))(gate(x)), conv()(x)]),
    (4, 3, 3),
    even=False,
)
add("Multiply-vector", lambda x: layers.Multiply()([conv()(x), gate(x)]), (4, 3, 3), even=False)
add("Multiply-spatial-gate", lambda x: layers.Multiply()([conv(3, 1)(x), conv(1)(x)]), (4, 3, 3))
add(
    "Multiply-pooled-rows",
    lambda x: layers.Multiply()([conv((1, 3))(x), layers.AveragePooling2D((4, 1))(x)]),
    (4, 5, 3),
    even=False,
)

# --- Normalisation and activation ----------------------------------------------------------------


def after_conv(*made: Any) -> Callable[[Any], Any]:
    """The layers behind a convolution that keeps their input small."""

    def build(x: Any) -> Any:
        x = layers.Conv2D(4, 2)(x) * 0.05
        for layer in made:
            x = layer(x)
        return x

    return build


SMALL = (5, 4, 3)
for name, make in {
    "BatchNormalization": lambda: layers.BatchNormalization(),
    "Normalization": lambda: layers.Normalization(mean=1.0, variance=2.0),
    "Rescaling": lambda: layers.Rescaling(1 / 255, offset=-1),
    "GroupNormalization": lambda: layers.GroupNormalization(2),
    "GroupNormalization-instance": lambda: layers.GroupNormalization(-1),
    "LayerNormalization": lambda: layers.LayerNormalization(),
    "LayerNormalization-row": lambda: layers.LayerNormalization(axis=1),
    "LayerNormalization-space": lambda: layers.LayerNormalization(axis=(1, 2)),
    "LayerNormalization-all": lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    "RMSNormalization": lambda: layers.RMSNormalization(),
    "RMSNormalization-row": lambda: layers.RMSNormalization(axis=1),
    "UnitNormalization": lambda: layers.UnitNormalization(),
    "UnitNormalization-row": lambda: layers.UnitNormalization(axis=2),
    "Softmax": lambda: layers.Softmax(),
    "Softmax-row": lambda: layers.Softmax(axis=2),
    "Softmax-space": lambda: layers.Softmax(axis=[1, 2]),
    "ELU": lambda: layers.ELU(),
    "LeakyReLU": lambda: layers.LeakyReLU(),
    "PReLU": lambda: layers.PReLU(),
    "PReLU-shared": lambda: layers.PReLU(shared_axes=[1, 2]),
    "ReLU": lambda: layers.ReLU(6.0),
    "Dropout": lambda: layers.Dropout(0.5),
    "AlphaDropout": lambda: layers.AlphaDropout(0.5),
    "GaussianDropout": lambda: layers.GaussianDropout(0.5),
    "GaussianNoise": lambda: layers.GaussianNoise(0.5),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.5),
    "ActivityRegularization": lambda: layers.ActivityRegularization(l2=0.1),
    "Identity": lambda: layers.Identity(),
    "Dense": lambda: layers.Dense(3),
    "Dense-softmax": lambda: layers.Dense(3, "softmax"),
    "Conv2D-softmax": lambda: layers.Conv2D(3, 2, activation="softmax"),
    "Conv2D-layer-activation": lambda: layers.Conv2D(3, 2, activation=layers.LeakyReLU()),
    "Conv2D-relu": lambda: layers.Conv2D(3, 2, activation="relu"),
}.items():
    # Along an axis that is gathered the field is the whole axis for every unit.
    add(f"then-{name}", lambda x, m=make: after_conv(m())(x), SMALL, even=False)
for rank, shape in {1: (5, 3), 3: (2, 3, 2, 3)}.items():
    layer = getattr(layers, f"SpatialDropout{rank}D")
    add(layer.__name__, lambda x, c=layer: c(0.5)(x), shape)
for name in (
    "relu",
    "gelu",
    "tanh",
    "sigmoid",
    "swish",
    "mish",
    "softsign",
    "hard_sigmoid",
    "linear",
    "softmax",
    "log_softmax",
):
    add(f"Activation-{name}", lambda x, n=name: after_conv(layers.Activation(n))(x), SMALL)

# --- Rearranging ---------------------------------------------------------------------------------

add(
    "Permute",
    lambda x: layers.Permute((2, 1, 3))(layers.Conv2D(2, (3, 1))(x)),
    (6, 5, 3),
    even=False,
)
add(
    "Permute-then-conv",
    lambda x: layers.Conv2D(2, (2, 3))(
        layers.Permute((2, 1, 3))(layers.Conv2D(2, (3, 1), (2, 1))(x))
    ),
    (9, 5, 3),
    even=False,
)
# Channels become a spatial axis: units select among them.
add(
    "Permute-channels",
    lambda x: layers.Conv2D(2, 2)(layers.Permute((3, 1, 2))(layers.Conv2D(4, (3, 1), (2, 1))(x))),
    (6, 5, 3),
    even=False,
)
add(
    "Permute-there-and-back",
    lambda x: layers.Permute((3, 1, 2))(layers.Conv2D(5, (2, 3))(layers.Permute((2, 3, 1))(x))),
    (3, 5, 4),
    channels=(1, 1),
)


def over_rows(layer: layers.Layer) -> Callable[[Any], Any]:
    """A layer that takes the rows for channels: units tell which channels it uses."""

    def build(x: Any) -> Any:
        rows = layers.Permute((3, 2, 1))(layers.Conv2D(1, 1)(x))
        return layers.AveragePooling2D(1)(layers.Permute((3, 2, 1))(layer(rows)))

    return build


add("over-rows-plain", lambda x: over_rows(layers.Conv2D(6, (1, 2)))(x), (4, 5, 2), even=False)
add("over-rows-groups", lambda x: over_rows(layers.Conv2D(6, (1, 2), groups=2))(x), (4, 5, 2))
add(
    "over-rows-depthwise",
    lambda x: over_rows(layers.DepthwiseConv2D((1, 2), depth_multiplier=3))(x),
    (4, 5, 2),
)
add(
    "over-rows-separable",
    lambda x: over_rows(layers.SeparableConv2D(6, (1, 2)))(x),
    (4, 5, 2),
    even=False,
)
add(
    "Permute-mixer",
    lambda x: layers.Permute((2, 1))(layers.Dense(5)(layers.Permute((2, 1))(x))),
    (5, 3),
    even=False,
)
add(
    "Reshape-drop-axis",
    lambda x: layers.Reshape((4, 3))(conv((5, 3), padding="valid")(x)),
    (5, 6, 3),
    even=False,
)
add(
    "Reshape-drop-axis-then-conv",
    lambda x: layers.Conv1D(2, 2)(layers.Reshape((4, 3))(conv((5, 3), padding="valid")(x))),
    (5, 6, 3),
    even=False,
)
add(
    "Reshape-move-axis",
    lambda x: layers.Reshape((4, 1, 3))(conv((5, 3), padding="valid")(x)),
    (5, 6, 3),
    even=False,
)
add(
    "Flatten-gate",
    lambda x: layers.Multiply()([conv()(x), layers.Dense(3)(layers.Flatten()(x))]),
    (4, 3, 3),
    even=False,
)
add(
    "Reshape-add-axis",
    lambda x: layers.Conv2D(2, (2, 1))(layers.Reshape((7, 1, 3))(x)),
    (7, 3),
    even=False,
)

# --- Operations ----------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[..., Any]] = {
    "Absolute": ops.abs,
    "Add": lambda x, y: x + y,
    "Cast": lambda x: ops.cast(ops.cast(x, "float32"), "float64"),
    "Clip": lambda x: ops.clip(x, 0, 9),
    "Divide": ops.divide,
    "Elu": ops.elu,
    "Exp": ops.exp,
    "Gelu": ops.gelu,
    "HardSigmoid": ops.hard_sigmoid,
    "HardSilu": ops.hard_silu,
    "LeakyRelu": ops.leaky_relu,
    "Log": ops.log,
    "Maximum": ops.maximum,
    "Minimum": ops.minimum,
    "Multiply": lambda x, y: x * y,
    "Negative": lambda x: -x,
    "Power": lambda x, y: x**y,
    "Relu": ops.relu,
    "Relu6": ops.relu6,
    "Selu": ops.selu,
    "Sigmoid": ops.sigmoid,
    "Silu": ops.silu,
    "Softplus": ops.softplus,
    "Sqrt": ops.sqrt,
    "Square": ops.square,
    "Subtract": lambda x, y: x - y,
    "Tanh": ops.tanh,
    "TrueDivide": lambda x, y: x / y,
}
for name, operation in OPERATIONS.items():
    if name in (
        "Add",
        "Divide",
        "Maximum",
        "Minimum",
        "Multiply",
        "Power",
        "Subtract",
        "TrueDivide",
    ):
        add(f"ops.{name}", lambda x, f=operation: f(*misaligned(x)), (5, 4, 2), draws=30)
    else:
        add(f"ops.{name}", lambda x, f=operation: f(layers.Conv2D(2, 2)(x * 0.05)), (4, 3, 2))
add("ops-scalars", lambda x: 2.0 - (x * 0.5 + 1) / 3, (4, 3, 2))
add(
    "ops-constant", lambda x: layers.Conv2D(1, 2)(x) * np.linspace(1, 2, 36).reshape(4, 3, 3), SMALL
)
add(
    "ops-broadcast-constant",
    lambda x: layers.GlobalAveragePooling2D(keepdims=True)(x) * np.ones((5, 4, 3)),
    SMALL,
    even=False,
)
