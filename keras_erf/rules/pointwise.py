"""Layers whose output at a position depends on that position only.

Activations, merges, scaling, dropout and the normalisations are here. A
normalisation over the channel axis mixes channels but not positions; one over
space sees its own position and, through its statistics, all others.
"""

from __future__ import annotations

from typing import Any

from keras_erf.rules.call import Call
from keras_erf.views import Link, View

__all__ = ["activation", "dense", "elementwise", "group_normalization", "mixes", "normalization"]


def elementwise(call: Call) -> tuple[View, ...]:
    """Element-wise layers and merges, with NumPy's broadcasting over axes of length 1."""
    views = []
    for number, shape in enumerate(call.inputs):
        missing = len(call.output) - len(shape)
        links = (
            Link(None) if size == 1 and call.output[axis + missing] > 1 else Link(axis + missing)
            for axis, size in enumerate(shape)
        )
        views.append(View(tuple(links), input=number))
    return tuple(views)


def activation(call: Call) -> tuple[View, ...]:
    """An activation by name: element-wise but for the softmax family, over the last axis."""
    if mixes(call.layer):
        return _statistics_over(call, {len(call.output) - 1})
    return elementwise(call)


def mixes(layer: Any) -> bool:
    """Whether a layer has an activation that mixes the last axis."""
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return name in {"softmax", "log_softmax", "sparsemax"}


def dense(call: Call) -> tuple[View]:
    """A matrix on the last axis."""
    return (_gathering(call, {len(call.output) - 1}),)


def normalization(call: Call) -> tuple[View, ...]:
    """Softmax, and layer, unit and root-mean-square normalisation, over `axis`."""
    axis, rank = call.layer.axis, len(call.output)
    given = axis if isinstance(axis, (list, tuple)) else [axis]
    # Keras counts the batch as axis 0.
    return _statistics_over(call, {one % (rank + 1) - 1 for one in given})


def group_normalization(call: Call) -> tuple[View, ...]:
    """Group normalisation: statistics over all of space and the channels of a group.

    Reference: Wu and He 2018, "Group Normalization", equation 3.
    """
    return _statistics_over(call, set(range(len(call.output))))


def _gathering(call: Call, axes: set[int]) -> View:
    return View(tuple(Link(None if axis in axes else axis) for axis in range(len(call.output))))


def _statistics_over(call: Call, axes: set[int]) -> tuple[View, ...]:
    """The position itself, and all positions along `axes`."""
    return (_gathering(call, set()), _gathering(call, axes))
