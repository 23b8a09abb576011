"""Elements by themselves: functions of numbers, logic and bits, and copies."""

from __future__ import annotations

from functools import partial

import keras

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.layers.conditions import in_one_tensor, unless_integer
from keras_erf.layers.entry import Entry
from keras_erf.layers.parts import called_on_part
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.signals.signal_moments import activated

__all__ = [
    "ENTRIES",
    "elementwise",
    "elementwise_squares",
    "on_entries",
    "one_by_one",
    "unchanged_squares",
]


def one_by_one(call: Call) -> tuple[AnyView, ...]:
    """As many outputs as inputs, each of them of its own input, element by element."""
    if call.inputs != call.outputs:
        return measured(call)
    return tuple(
        View(tuple(map(Link, range(len(shape)))), place, place)
        for place, shape in enumerate(call.inputs)
    )


def elementwise(call: Call) -> tuple[AnyView, ...]:
    """Every output, element by element; axes of length 1 are stretched.

    NumPy aligns axes at the end. A layer merges tensors of fewer axes as they are; an operation
    counts the batch: an operand of fewer axes than the output has its batch axis somewhere else.
    """
    views: list[AnyView] = []
    for output, made in enumerate(call.outputs):
        for number, shape in enumerate(call.inputs):
            missing = len(made) - len(shape)
            if missing and not isinstance(call.layer, keras.Layer):
                ACROSS_BATCH(call)
            links = (
                Link(None) if size == 1 and made[axis + missing] > 1 else Link(axis + missing)
                for axis, size in enumerate(shape)
            )
            views.append(View(tuple(links), number, output))
    return tuple(views)


def unchanged_squares(site: SquareSite) -> Recipe:
    """What returns its input."""
    return Recipe(None, (site.signal,), common=1.0, entrywise=True)


def negated_squares(site: SquareSite) -> Recipe:
    """What changes the sign of its input."""
    return Recipe(None, (site.signal.negated(),), common=1.0, entrywise=True)


def elementwise_squares(site: SquareSite) -> Recipe:
    """Activations that are layers or operations of their own: the mean square of their slope."""
    made, slope = activated(site.signal, site.layer.call)
    return Recipe(
        None, (made,), after=slope.square, common=slope.common, apart=slope.apart, entrywise=True
    )


# Layers and operations on single entries: a part of the output needs the same part of the inputs.
on_entries = partial(Entry, dependence=elementwise, part=called_on_part, entrywise=True)

ENTRIES = (
    # Functions of one or two numbers
    on_entries(
        operations="Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cbrt Conj "
        "Conjugate Cos Cosh DivideNoNan Erf Erfc Erfinv Exp2 Expm1 Fabs Fmax "
        "Fmin Fmod Gcd Hypot I0 Imag Lcm Ldexp Log Log10 Log1p Log2 Logaddexp "
        "Logaddexp2 Mod NanToNum Polar Power Real Reciprocal Rsqrt Signbit "
        "Sinc Sinh Sqrt Square Tan UnravelIndex"
    ),
    on_entries(operations="Ceil Floor FloorDivide Heaviside Nextafter Round Sign Trunc", flat=True),
    on_entries(operations="Exp", keeps_known=True),
    on_entries(operations="Deg2rad Rad2deg", affine=in_one_tensor),
    on_entries(operations="Abs Absolute Clip Sin", squares=elementwise_squares),
    on_entries(operations="Negative", squares=negated_squares, affine=in_one_tensor),
    # Logic and bits
    on_entries(
        operations="BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr "
        "BitwiseRightShift BitwiseXor Equal Greater GreaterEqual Isclose Isfinite Isinf Isnan "
        "Isneginf Isposinf Isreal LeftShift Less LessEqual LogicalAnd LogicalNot LogicalOr "
        "LogicalXor NotEqual RightShift"
    ),
    # Copies, and other dtypes
    on_entries(
        layers="Identity",
        operations="Copy",
        squares=unchanged_squares,
        affine=in_one_tensor,
        keeps_known=True,
    ),
    on_entries(layers="ActivityRegularization", squares=unchanged_squares, affine=in_one_tensor),
    on_entries(operations="StopGradient", affine=in_one_tensor, keeps_known=True, flat=True),
    on_entries(operations="Cast ConvertToTensor", affine=unless_integer, keeps_known=True),
    on_entries(operations="Array", affine=unless_integer),
    on_entries(operations="SaturateCast"),
)
