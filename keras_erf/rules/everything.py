"""Layers that gather a whole extent: global pooling."""

from __future__ import annotations

from keras_erf.algebra.views import Link, View
from keras_erf.rules.call import Call, channel_axis

__all__ = ["global_pooling", "whole"]


def whole(call: Call) -> tuple[View, ...]:
    """Every output sees all of every input."""
    return tuple(
        View((Link(None),) * len(shape), place, output)
        for place, shape in enumerate(call.inputs)
        for output in range(len(call.outputs))
    )


def global_pooling(call: Call) -> tuple[View]:
    """Every position of each channel; the channel axis stays, alone or among axes of length 1."""
    rank = len(call.inputs[0])
    axis = channel_axis(call.layer, rank)
    kept = Link(axis if len(call.output) == rank else 0)
    links = tuple(kept if one == axis else Link(None) for one in range(rank))
    return (View(links),)
