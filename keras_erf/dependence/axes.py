"""Axes as Keras counts them, with the batch, and as this package does, without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_erf.dependence.call import Call, unsupported
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import Argument
from keras_erf.types import Layer

__all__ = ["channel_axis", "counted_axes", "own_axes", "rank_of", "spatial_axes"]


def channel_axis(layer: Layer, rank: int) -> int:
    """Channel axis a layer goes by, on tensors of `rank` axes: the last, if it does not say."""
    return 0 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def spatial_axes(layer: Layer, rank: int) -> tuple[int, ...]:
    """The other axes, in order."""
    channel = channel_axis(layer, rank)
    return tuple(axis for axis in range(rank) if axis != channel)


def rank_of(call: Call, operand: Any) -> int:
    """Number of axes of an operand, the batch counted."""
    if isinstance(operand, Argument):
        return len(call.inputs[operand.place]) + 1
    return len(operand.shape) if hasattr(operand, "shape") else np.ndim(operand)


def own_axes(call: Call, axis: Any, rank: int) -> tuple[int, ...]:
    """Axes as Keras names them, of a tensor of `rank` axes, with the batch not counted.

    Raises:
        UnsupportedLayerError: The batch is among them, as it is in `axis=None`.
    """
    given = range(rank + 1) if axis is None else np.atleast_1d(axis).tolist()
    axes = tuple(one % (rank + 1) - 1 for one in given)
    if -1 in axes:
        ACROSS_BATCH(call)
    return axes


def counted_axes(call: Call, axes: Sequence[int]) -> set[int]:
    """Axes as Keras counts them, of the first input, as we do: without the batch.

    Raises:
        UnsupportedLayerError: One is the batch axis.
    """
    rank = len(call.inputs[0])
    counted = {axis % (rank + 1) - 1 for axis in axes}
    if -1 in counted:
        received = f"{type(call.layer).__name__} with axis={list(axes)!r}"
        raise unsupported(call, "it mixes the samples of a batch", received)
    return counted
