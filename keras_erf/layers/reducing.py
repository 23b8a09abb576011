"""Operations over whole axes: sums, maxima, sorting, running sums, differences.

`call.layer.axis` counts the batch as axis 0, and `None` is all axes, with the batch.
"""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Ranges, Window
from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import own_axes
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.labelled_axes import Label, labelled
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import LOW, Argument
from keras_erf.layers.conditions import in_first_operand, in_one_tensor, unless_integer
from keras_erf.layers.entry import Entry
from keras_erf.layers.parts import called_on_part

__all__ = ["ENTRIES", "whole_axes"]


def reduction_over(attribute: str) -> Rule:
    """A rule for sums, means, maxima and similar ones over the axes in `attribute`."""

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


def whole_axes(call: Call) -> tuple[AnyView, ...]:
    """Sorting and similar ones: every index sees all indices along the axis."""
    rank = len(call.inputs[0])
    axes = own_axes(call, getattr(call.layer, "axis", -1), rank)
    links = tuple(Link(None if axis in axes else axis) for axis in range(rank))
    return tuple(View(links, output=output) for output in range(len(call.outputs)))


def largest(call: Call) -> tuple[AnyView, ...]:
    """Maxima, and smooth ones: numbers far below all others do not count."""
    views, values = reduction(call), call.fixed(Argument(0))
    if values is None or len(call.inputs) > 1 or not (values <= LOW).any():
        return views
    shape = call.inputs[0]
    axes = own_axes(call, call.layer.axis, len(shape))
    present = values > LOW
    present = np.isnan(values) | present
    present |= ~present.any(axis=axes, keepdims=True)
    return chained((MaskedView(np.asarray(present)),), shape, views)


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


def top(call: Call) -> tuple[AnyView, ...]:
    """The largest of the last axis, and their places."""
    rank = len(call.inputs[0])
    if rank == 0:
        return ACROSS_BATCH(call)
    links = (*map(Link, range(rank - 1)), Link(None))
    return tuple(View(links, output=output) for output in range(len(call.outputs)))


ENTRIES = (
    Entry(
        operations="Mean Sum",
        dependence=reduction,
        part=called_on_part,
        affine=in_one_tensor,
        over_space=True,
    ),
    Entry(operations="Average", dependence=reduction, affine=in_first_operand),
    Entry(
        operations="All Amin Any Argmax Argmin CountNonzero Median Min Nanargmax Nanargmin Nanmax "
        "Nanmean Nanmedian Nanmin "
        "Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Norm Percentile "
        "Prod Ptp Quantile Std Trapezoid Var",
        dependence=reduction,
        part=called_on_part,
    ),
    Entry(operations="Amax Logsumexp Max", dependence=largest, part=called_on_part),
    Entry(operations="Moments", dependence=reduction_over("axes")),
    Entry(operations="Argpartition Argsort Sort", dependence=whole_axes),
    Entry(operations="Cumsum", dependence=cumulative, affine=unless_integer),
    Entry(operations="Cumprod Nancumprod Nancumsum", dependence=cumulative),
    Entry(operations="Diff", dependence=difference, affine=in_one_tensor),
    Entry(operations="Glu", dependence=gated),
    Entry(operations="TopK", dependence=top),
)
