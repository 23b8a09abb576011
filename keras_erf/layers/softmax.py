"""Softmax, and the scores that are known to have no weight in it."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import LOW, Argument
from keras_erf.layers.entry import Entry
from keras_erf.layers.normalisation import normalization
from keras_erf.layers.parts import called_on_part
from keras_erf.layers.reducing import whole_axes

__all__ = ["ENTRIES", "silent", "softmax_axes"]


def softmax(call: Call) -> tuple[AnyView, ...]:
    """Softmax over `axis`, without the scores that are known to have no weight."""
    return without_low(call, normalization(call))


# The operation, which Keras does not export.
SOFTMAX = "keras.src.ops.nnSoftmax"


def softmax_axes(call: Call) -> tuple[int, ...] | None:
    """Axes a softmax sums over, the batch not counted; `None` for other calls."""
    kind = type(call.layer)
    softmax = kind is layers.Softmax or kind.__module__ + kind.__name__ == SOFTMAX
    if kind is layers.Activation:
        softmax = call.layer.activation is keras.activations.softmax
    axis = getattr(call.layer, "axis", -1) if softmax else None
    if axis is None or len(call.inputs) != 1:
        return None
    rank = len(call.output) + 1
    axes = tuple(one % rank - 1 for one in np.atleast_1d(axis).tolist())
    return None if -1 in axes else axes


def silent(call: Call, axes: tuple[int, ...]) -> np.ndarray | None:
    """Which scores a softmax over `axes` sees, where some are too low; `None` if it sees all.

    In a row of nothing else those that are low count, too.
    """
    values = call.fixed(Argument(0))
    low = np.zeros((1,) * len(call.output), bool) if values is None else values <= LOW
    mask = call.arguments[1].get("mask") if call.arguments[1] else None
    args = call.arguments[0]
    mask = args[1] if mask is None and len(args) > 1 else mask
    known = call.fixed(mask) if mask is not None else None
    if known is not None and isinstance(call.layer, layers.Softmax):
        closed = known <= 0.5
        if not isinstance(mask, Argument) and closed.ndim == len(call.output) + 1:
            closed = np.asarray(closed.all(axis=0))
        low = low | closed.reshape((1,) * (len(call.output) - closed.ndim) + closed.shape)
    if not low.any():
        return None
    present = ~np.broadcast_to(low, call.output)
    return np.asarray(present | ~present.any(axis=axes, keepdims=True))


def without_low(call: Call, views: tuple[AnyView, ...]) -> tuple[AnyView, ...]:
    """The views of a softmax without the scores that are known to have no weight.

    Where all but one have none, that one has all of it, whatever the scores are.
    """
    axes = softmax_axes(call)
    present = None if axes is None else silent(call, axes)
    if axes is None or present is None:
        return views
    present = present & (present.sum(axis=axes, keepdims=True) > 1)
    shape, holes = call.output, (MaskedView(present),)
    return chained(chained(holes, shape, views), shape, holes) if present.any() else ()


def normalization_operation(call: Call) -> tuple[AnyView, ...]:
    """Softmax and norms: the position itself, and by their statistics all along the axis."""
    if len(call.inputs) > 1:
        # Scales are constants: a tensor's batch axis would fall on the normalised one.
        return ACROSS_BATCH(call)
    rank = len(call.output)
    return without_low(call, (View(tuple(map(Link, range(rank)))), *whole_axes(call)))


ENTRIES = (
    Entry(layers="Softmax", dependence=softmax, part=called_on_part),
    Entry(operations="LayerNorm Normalize RMSNorm Sparsemax", dependence=normalization_operation),
    Entry(
        operations="LogSoftmax Softmax",
        dependence=normalization_operation,
        part=called_on_part,
    ),
)
