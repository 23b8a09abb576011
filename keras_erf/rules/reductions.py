"""Operations over whole axes: sums, sorting, normalisation, running sums, matrices.

`call.layer.axis` counts the batch as axis 0, and `None` is all axes, the batch
with them.
"""

from __future__ import annotations

import math

import numpy as np

from keras_erf.algebra.gathering import Gather
from keras_erf.algebra.geometry import Ranges, Window
from keras_erf.algebra.holes import Holes
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.graph import LOW, Argument
from keras_erf.rules.call import Call, Rule
from keras_erf.rules.chain import Chain, chained
from keras_erf.rules.knowing import silent, softmax_axes
from keras_erf.rules.operands import Label, labelled, own_axes
from keras_erf.rules.refused import ACROSS_BATCH

__all__ = [
    "cumulative",
    "difference",
    "gated",
    "largest",
    "matrix",
    "normalization",
    "reduction",
    "reduction_over",
    "top",
    "trace",
    "whole",
    "without_low",
]


def reduction_over(attribute: str) -> Rule:
    """A rule for sums, means, maxima and their kin over the axes in `attribute`."""

    def rule(call: Call) -> tuple[AnyView, ...]:
        shape = call.inputs[0]
        axes = own_axes(call, getattr(call.layer, attribute), len(shape))
        if any(other != shape for other in call.inputs):
            # Weights or quantiles that are tensors without the axes of the input.
            return ACROSS_BATCH(call)
        labels: list[Label] = list(range(len(shape) + 1))
        kept = [one for one in range(len(shape) + 1) if one - 1 not in axes]
        views: list[AnyView] = []
        left: list[Label] = [*kept]
        if getattr(call.layer, "keepdims", False):
            left = [one if one in kept else ("one", one) for one in labels]
        for output, made in enumerate(call.outputs):
            if len(made) != len(left) - 1:
                # Several quantiles: their axis stands before the batch.
                return ACROSS_BATCH(call)
            given = [(Argument(place), labels) for place in range(len(call.inputs))]
            views += labelled(call, given, left, output=output)
        return tuple(views)

    return rule


reduction = reduction_over("axis")


def whole(call: Call) -> tuple[AnyView, ...]:
    """Sorting and its kin: every index sees all indices along the axis."""
    rank = len(call.inputs[0])
    axes = own_axes(call, getattr(call.layer, "axis", -1), rank)
    links = tuple(Link(None if axis in axes else axis) for axis in range(rank))
    return tuple(View(links, output=output) for output in range(len(call.outputs)))


def normalization(call: Call) -> tuple[AnyView, ...]:
    """Softmax and norms: the position itself, and by their statistics all along the axis."""
    if len(call.inputs) > 1:
        # Scales are constants: a tensor's batch axis would fall on the normalised one.
        return ACROSS_BATCH(call)
    rank = len(call.output)
    return without_low(call, (View(tuple(map(Link, range(rank)))), *whole(call)))


def without_low(call: Call, views: tuple[AnyView, ...]) -> tuple[AnyView, ...]:
    """The views of a softmax without the scores that are known to have no weight.

    Where all but one have none, that one has all of it, whatever the scores are.
    """
    axes = softmax_axes(call)
    present = None if axes is None else silent(call, axes)
    if axes is None or present is None:
        return views
    present = present & (present.sum(axis=axes, keepdims=True) > 1)
    shape, holes = call.output, (Holes(present),)
    return chained(chained(holes, shape, views), shape, holes) if present.any() else ()


def largest(call: Call) -> tuple[AnyView, ...]:
    """Maxima, and their smooth kin: numbers far below all others do not count."""
    views, values = reduction(call), call.fixed(Argument(0))
    if values is None or len(call.inputs) > 1 or not (values <= LOW).any():
        return views
    shape = call.inputs[0]
    axes = own_axes(call, call.layer.axis, len(shape))
    present = values > LOW
    present = np.isnan(values) | present
    present |= ~present.any(axis=axes, keepdims=True)
    return chained((Holes(np.asarray(present)),), shape, views)


def cumulative(call: Call) -> tuple[AnyView, ...]:
    """Running sums and products: the position itself, and all before it."""
    rank = len(call.inputs[0])
    (axis,) = own_axes(call, call.layer.axis, rank) if call.layer.axis is not None else (-1,)
    if axis == -1:
        return ACROSS_BATCH(call)
    size = call.output[axis]
    before = Ranges((0,) * size, tuple(range(1, size + 1)))
    links = tuple(Link(one, before if one == axis else Window()) for one in range(rank))
    return (View(tuple(map(Link, range(rank)))), View(links, gathers=True))


def difference(call: Call) -> tuple[AnyView, ...]:
    """Differences of order n: neighbours with the binomial coefficients as weights."""
    rank = len(call.inputs[0])
    (axis,) = own_axes(call, call.layer.axis, rank)
    window = Window(call.layer.n + 1)
    return (View(tuple(Link(one, window if one == axis else Window()) for one in range(rank))),)


def gated(call: Call) -> tuple[AnyView, ...]:
    """The gated linear unit: index o of the first half, and its gate in the second half."""
    rank = len(call.inputs[0])
    (axis,) = own_axes(call, call.layer.axis, rank)
    window = Window(2, dilation=call.output[axis])
    return (View(tuple(Link(one, window if one == axis else Window()) for one in range(rank))),)


def trace(call: Call) -> tuple[AnyView, ...]:
    """The sum of a diagonal, which goes to the last axis first."""
    layer, shape = call.layer, call.inputs[0]
    first, second = own_axes(call, [layer.axis1, layer.axis2], len(shape))
    ids = np.arange(math.prod(shape)).reshape(shape)
    diagonal = np.diagonal(ids, layer.offset, first, second)
    rank = diagonal.ndim - 1
    total = View((*map(Link, range(rank)), Link(None)))
    return (Chain((Gather(diagonal, shape), total), (diagonal.shape,)),)


def matrix(status: Status = "exact") -> Rule:
    """A rule for functions of the matrices in the last two axes.

    Args:
        status: `"bound"` for factors with zeros by construction (triangular ones).
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        leading = len(call.inputs[0]) - 1
        labels = [*range(leading), "row", "column"]
        views: list[AnyView] = []
        for output, shape in enumerate(call.outputs):
            made = [*range(leading), *("made", "too")[: len(shape) + 1 - leading]]
            views += labelled(call, [(Argument(0), labels)], made, output=output, status=status)
        return tuple(views)

    return rule


def top(call: Call) -> tuple[AnyView, ...]:
    """The largest of the last axis, and their places."""
    rank = len(call.inputs[0])
    if rank == 0:
        return ACROSS_BATCH(call)
    links = (*map(Link, range(rank - 1)), Link(None))
    return tuple(View(links, output=output) for output in range(len(call.outputs)))
