"""The rules, against the gradients of the layers they are about.

One table of layers by one table of properties.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import receptive_field
from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.errors import InvalidInputError
from keras_erf.layers.table import RULES, find_rule
from tests import jacobian
from tests.ruling import box_of

LINE, PLANE, SPACE = (11, 2), (9, 8, 3), (5, 6, 4, 2)


@dataclass(frozen=True)
class Case:
    """A small network of one input, and how its gradients are to be read.

    Args:
        build: Makes the output from the input tensor.
        shape: Shape of the input without the batch.
        options: Of `jacobian.supports`.
        dtype: Precision; TensorFlow's 3-D pools have no double one.
        even: Whether every unit's field has the same size, a stride apart.
    """

    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    options: dict[str, Any]
    dtype: str = "float64"
    even: bool = True


CASES: dict[str, Case] = {}


def add(
    name: str,
    build: Callable[[Any], Any],
    shape: tuple[int, ...],
    *,
    dtype: str = "float64",
    even: bool = True,
    **options: Any,
) -> None:
    assert name not in CASES, name
    CASES[name] = Case(build, shape, options, dtype, even)


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
UNEVEN = [
    {"kernel_size": (3, 2), "strides": (2, 1)},
    {"kernel_size": (4, 1), "strides": (3, 2)},
]
SPACES = [
    {"kernel_size": (2, 3, 1), "strides": (1, 2, 3)},
    {"kernel_size": (2, 3, 2), "dilation_rate": (1, 2, 2)},
]

for padding, options in itertools.product(("valid", "same", "causal"), LINES):
    add(
        f"Conv1D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.Conv1D(2, padding=p, **o)(x),
        LINE,
    )
for padding, options in itertools.product(("valid", "same"), LINES):
    add(
        f"DepthwiseConv1D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.DepthwiseConv1D(padding=p, depth_multiplier=2, **o)(
            x
        ),
        LINE,
    )
    add(
        f"SeparableConv1D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.SeparableConv1D(3, padding=p, **o)(x),
        LINE,
    )
for padding, options in itertools.product(("valid", "same"), PLANES + UNEVEN):
    add(
        f"Conv2D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.Conv2D(2, padding=p, **o)(x),
        PLANE,
    )
for padding, options in itertools.product(("valid", "same"), PLANES):
    add(
        f"DepthwiseConv2D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.DepthwiseConv2D(padding=p, depth_multiplier=2, **o)(
            x
        ),
        PLANE,
    )
    add(
        f"SeparableConv2D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.SeparableConv2D(4, padding=p, **o)(x),
        PLANE,
    )
for padding, options in itertools.product(("valid", "same"), SPACES):
    add(
        f"Conv3D-{padding}-{named(options)}",
        lambda x, p=padding, o=options: layers.Conv3D(2, padding=p, **o)(x),
        SPACE,
    )
add("Conv2D-groups", lambda x: layers.Conv2D(6, (2, 3), strides=2, groups=3)(x), PLANE)
add("Conv1D-groups", lambda x: layers.Conv1D(4, 3, padding="same", groups=2)(x), LINE)

# --- Transposed convolutions ---------------------------------------------------------------------

for padding, kernel, stride in itertools.product(("valid", "same"), (1, 2, 3, 4, 5), (1, 2, 3)):
    add(
        f"Conv1DTranspose-{padding}-kernel_size={kernel}-strides={stride}",
        lambda x, p=padding, k=kernel, s=stride: layers.Conv1DTranspose(2, k, s, padding=p)(x),
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
        lambda x, p=padding, k=kernel, s=stride, e=extra: layers.Conv1DTranspose(
            2, k, s, padding=p, output_padding=e
        )(x),
        (5, 2),
    )
for padding, kernel in itertools.product(("valid", "same"), (1, 2, 3)):
    add(
        f"Conv1DTranspose-{padding}-kernel_size={kernel}-dilation_rate=2",
        lambda x, p=padding, k=kernel: layers.Conv1DTranspose(2, k, padding=p, dilation_rate=2)(x),
        (7, 2),
        compiled=True,
    )
for padding in ("valid", "same"):
    add(
        f"Conv2DTranspose-{padding}",
        lambda x, p=padding: layers.Conv2DTranspose(2, (3, 2), (2, 3), padding=p)(x),
        (4, 3, 2),
    )
    add(
        f"Conv2DTranspose-{padding}-holes",
        lambda x, p=padding: layers.Conv2DTranspose(2, (1, 2), (2, 3), padding=p)(x),
        (3, 3, 2),
    )
    add(
        f"Conv2DTranspose-{padding}-dilated",
        lambda x, p=padding: layers.Conv2DTranspose(2, (3, 2), padding=p, dilation_rate=(2, 3))(x),
        (4, 5, 2),
        compiled=True,
    )
    add(
        f"Conv3DTranspose-{padding}",
        lambda x, p=padding: layers.Conv3DTranspose(2, (3, 2, 1), (1, 2, 2), padding=p)(x),
        (3, 2, 3, 2),
    )
add("Conv2DTranspose-dots", lambda x: layers.Conv2DTranspose(2, 1, 2)(x), (3, 3, 2))

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
    add(f"UpSampling1D-{factor}", lambda x, f=factor: layers.UpSampling1D(f)(x), (5, 2))
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
add("UpSampling3D", lambda x: layers.UpSampling3D((1, 2, 3))(x), (3, 2, 3, 2))

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
    add(
        f"Activation-{name}",
        lambda x, n=name: after_conv(layers.Activation(n))(x),
        SMALL,
    )

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


# --- The properties ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solved:
    """A network, by the library and by brute force.

    Args:
        center: Field of the centre unit.
        local: The same of the local paths; `None` where there are none.
        boxes: Box of every unit, `None` where it sees nothing.
        supports: Mask of every unit, by brute force.
        fields: Fields of a few more units.
        even: As in `Case`.
    """

    center: ReceptiveField
    local: ReceptiveField | None
    boxes: dict[tuple[int, ...], Box | None]
    supports: dict[tuple[int, ...], np.ndarray]
    fields: dict[tuple[int, ...], ReceptiveField]
    even: bool = True


def solve(model: keras.Model, *, even: bool = True, **options: Any) -> Solved:
    channel = options.get("channels", (-1, -1))[1]
    shape = np.delete(model.output_shape, [0, channel])
    units = jacobian.units_of(shape)
    seen = jacobian.supports(jacobian.make_positive(model), units, **options)
    center = receptive_field(model, model.output)
    local = None
    with contextlib.suppress(InvalidInputError):
        local = receptive_field(model, model.output, through_global=False)
    boxes = {unit: box_of(center, unit) for unit in units}
    few = [unit for unit in jacobian.some_units(shape, count=1) if boxes[unit]]
    return Solved(
        center=center,
        local=local,
        boxes=boxes,
        supports=dict(zip(units, seen, strict=True)),
        fields={unit: receptive_field(model, model.output, unit=unit) for unit in few},
        even=even,
    )


@cache
def solved(name: str) -> Solved:
    case = CASES[name]
    with jacobian.precision(case.dtype):
        x = keras.Input(case.shape)
        return solve(keras.Model(x, case.build(x)), even=case.even, **case.options)


def check_support(one: Solved) -> None:
    """The mask is the Jacobian's."""
    for unit, expected in one.supports.items():
        found = one.center.support(unit)
        np.testing.assert_array_equal(found, expected, err_msg=f"unit {unit}")


def check_visible(one: Solved) -> None:
    """The visible box is the bounding box of what has a gradient."""
    for unit, expected in one.supports.items():
        assert one.center.visible(unit) == jacobian.bounding_box(expected), unit


def check_box(one: Solved) -> None:
    """The box holds what is seen, and there is none where nothing is."""
    for unit, box in one.boxes.items():
        if not one.supports[unit].any():
            continue
        assert box is not None, unit
        seen = jacobian.bounding_box(one.supports[unit])
        for (start, stop), (first, last) in zip(box, seen, strict=True):
            assert start <= first, unit
            assert last <= stop, unit


def check_tight(one: Solved) -> None:
    """A box inside the input has nothing to spare; beyond the edges it may see nothing."""
    sizes = one.center.input_size
    for unit, box in one.boxes.items():
        if box and all(a >= 0 and b <= size for (a, b), size in zip(box, sizes, strict=True)):
            assert box == jacobian.bounding_box(one.supports[unit]), unit


def check_figures(one: Solved) -> None:
    """Unit u covers `size` pixels from `-padding + u stride` on."""
    for unit, field in one.fields.items():
        box = one.boxes[unit]
        assert box is not None
        assert field.unit == unit
        assert field.size == tuple(stop - start for start, stop in box)
        assert field.center() == tuple((start + stop - 1) / 2 for start, stop in box)
        assert field.stride == one.center.stride
        if not one.even:
            continue
        for axis, step in enumerate(field.stride):
            if step is None:
                continue
            stride = Fraction(step)
            # As many units on as move the field by whole pixels.
            later = tuple(u + (a == axis) * stride.denominator for a, u in enumerate(unit))
            if later in one.boxes:
                moved = tuple(end + stride.numerator for end in box[axis])
                assert one.boxes[later] == (*box[:axis], moved, *box[axis + 1 :])
            if stride.denominator == 1:
                start = unit[axis] * stride - one.center.padding[axis]
                assert box[axis] == (start, start + one.center.size[axis])
                assert field.padding[axis] == one.center.padding[axis]


def check_center(one: Solved) -> None:
    """`"center"` is the unit whose local field's centre is nearest; of equals the middle one."""
    if one.local is None:
        assert one.center.unit == tuple(size // 2 for size in one.center.output_size)
        return
    distances = {}
    for unit in one.boxes:
        box = box_of(one.local, unit)
        if box is not None:
            pairs = zip(box, one.local.input_size, strict=True)
            distances[unit] = tuple(abs(start + stop - size) for (start, stop), size in pairs)
    best = tuple(min(axis) for axis in zip(*distances.values(), strict=True))
    assert one.center.unit == one.local.unit
    assert distances[one.center.unit] == best
    if one.even:
        equals = [unit for unit in distances if distances[unit] == best]
        places = [sorted(set(axis)) for axis in zip(*equals, strict=True)]
        # Of two the later.
        assert one.center.unit == tuple(place[len(place) // 2] for place in places)


PROPERTIES = [check_support, check_visible, check_box, check_tight, check_figures, check_center]


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_rule(name: str, check: Callable[[Solved], None]) -> None:
    check(solved(name))


# --- What has no rule ----------------------------------------------------------------------------


class Renamed(layers.Conv2D):
    """Computes what its parent does."""

    def build(self, input_shape):
        super().build(input_shape)


class Recalled(layers.Conv2D):
    def call(self, inputs):
        return super().call(ops.flip(inputs, axis=1))


class Reconvolved(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(ops.flip(inputs, axis=1), kernel)


def test_a_subclass_keeps_the_rule_only_if_it_computes_the_same() -> None:
    assert find_rule(Renamed) is RULES[layers.Conv2D]
    assert find_rule(Recalled) is None
    assert find_rule(Reconvolved) is None


# --- Channels first ------------------------------------------------------------------------------

FIRST = {"data_format": "channels_first"}
MIRRORED: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "Conv1D": (lambda **o: layers.Conv1D(4, 3, 2, padding="causal", **o), (11, 2)),
    "Conv2D": (lambda **o: layers.Conv2D(4, (3, 2), (2, 1), padding="same", **o), (9, 8, 3)),
    "Conv3D": (lambda **o: layers.Conv3D(4, (3, 2, 1), (2, 1, 3), **o), (5, 6, 7, 2)),
    "Conv2D-groups": (lambda **o: layers.Conv2D(4, (3, 2), groups=2, **o), (5, 8, 2)),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, 2, **o), (11, 2)),
    "DepthwiseConv2D": (
        lambda **o: layers.DepthwiseConv2D((3, 2), 2, depth_multiplier=3, **o),
        (9, 8, 3),
    ),
    "SeparableConv1D": (lambda **o: layers.SeparableConv1D(5, 4, 3, padding="same", **o), (11, 2)),
    "SeparableConv2D": (
        lambda **o: layers.SeparableConv2D(5, (4, 3), dilation_rate=(1, 2), **o),
        (9, 8, 3),
    ),
    "Conv1DTranspose": (lambda **o: layers.Conv1DTranspose(4, 4, 3, padding="same", **o), (5, 2)),
    "Conv2DTranspose": (lambda **o: layers.Conv2DTranspose(4, (2, 3), (3, 2), **o), (3, 4, 2)),
    "Conv3DTranspose": (
        lambda **o: layers.Conv3DTranspose(4, (2, 3, 1), (1, 2, 2), **o),
        (3, 2, 4, 2),
    ),
    "MaxPooling1D": (lambda **o: layers.MaxPooling1D(3, 2, "same", **o), (8, 2)),
    "AveragePooling2D": (lambda **o: layers.AveragePooling2D((3, 2), (2, 3), **o), (8, 7, 2)),
    "MaxPooling3D": (
        lambda **o: layers.MaxPooling3D((3, 2, 1), (2, 3, 1), "same", **o),
        (5, 6, 4, 2),
    ),
    "ZeroPadding1D": (lambda **o: layers.ZeroPadding1D((2, 1), **o), (8, 3)),
    "ZeroPadding2D": (lambda **o: layers.ZeroPadding2D(((2, 1), (0, 3)), **o), (8, 7, 3)),
    "ZeroPadding3D": (
        lambda **o: layers.ZeroPadding3D(((2, 1), (0, 3), (1, 1)), **o),
        (4, 5, 3, 2),
    ),
    "Cropping2D": (lambda **o: layers.Cropping2D(((2, 1), (0, 3)), **o), (8, 7, 3)),
    "Cropping3D": (lambda **o: layers.Cropping3D(((2, 1), (0, 3), (1, 1)), **o), (4, 5, 3, 2)),
    "UpSampling2D": (
        lambda **o: layers.UpSampling2D((2, 3), interpolation="bilinear", **o),
        (4, 3, 2),
    ),
    "UpSampling3D": (lambda **o: layers.UpSampling3D((2, 3, 1), **o), (2, 3, 2, 2)),
    "GlobalAveragePooling2D": (
        lambda **o: layers.GlobalAveragePooling2D(keepdims=True, **o),
        (4, 3, 2),
    ),
    "GlobalMaxPooling3D": (lambda **o: layers.GlobalMaxPooling3D(keepdims=True, **o), (4, 3, 2, 2)),
}


@pytest.mark.parametrize("name", MIRRORED)
def test_channels_first_is_the_mirror_of_channels_last(name: str) -> None:
    make, shape = MIRRORED[name]
    last, first = keras.Input(shape), keras.Input((shape[-1], *shape[:-1]))
    expected = keras.Model(last, make(data_format="channels_last")(last))
    mirrored = keras.Model(first, make(**FIRST)(first))
    fields = [receptive_field(model, model.output) for model in (expected, mirrored)]
    assert fields[0].input_size == fields[1].input_size == shape[:-1]
    assert fields[0].output_size == fields[1].output_size == mirrored.output_shape[2:]
    assert [one.unit for one in fields] == [fields[0].unit] * 2
    assert fields[0].size == fields[1].size
    assert fields[0].stride == fields[1].stride
    for unit in np.ndindex(*fields[0].output_size):
        assert box_of(fields[0], unit) == box_of(fields[1], unit)
        np.testing.assert_array_equal(fields[0].support(unit), fields[1].support(unit))


# Those that TensorFlow runs on a CPU with channels first.
@pytest.mark.parametrize(
    "build",
    [
        lambda x: layers.ZeroPadding2D(((2, 1), (0, 3)), **FIRST)(x),
        lambda x: layers.Cropping2D(((1, 1), (0, 2)), **FIRST)(x),
        lambda x: layers.UpSampling2D((2, 3), **FIRST)(x),
        lambda x: layers.DepthwiseConv2D((3, 2), padding="same", **FIRST)(x),
        lambda x: layers.SeparableConv2D(4, (3, 2), padding="same", **FIRST)(x),
        lambda x: layers.AveragePooling2D((3, 2), (1, 2), **FIRST)(x),
        lambda x: layers.GlobalAveragePooling2D(keepdims=True, **FIRST)(x),
        lambda x: layers.BatchNormalization(axis=1)(layers.ZeroPadding2D(1, **FIRST)(x)),
        lambda x: layers.Concatenate(axis=1)([x, layers.UpSampling2D(1, **FIRST)(x)]),
    ],
    ids=[
        "padding",
        "cropping",
        "up-sampling",
        "depthwise",
        "separable",
        "pooling",
        "global",
        "batch",
        "concatenate",
    ],
)
@pytest.mark.parametrize("check", PROPERTIES[:3], ids=lambda check: check.__name__)
def test_rule_with_channels_first(
    build: Callable[[Any], Any], check: Callable[[Solved], None]
) -> None:
    with jacobian.precision():
        x = keras.Input((3, 5, 6))
        check(solve(keras.Model(x, build(x)), channels=(1, 1)))
