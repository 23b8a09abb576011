"""What a rule is told about one call of a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_erf.geometry import View

__all__ = ["Call", "Rule", "channel_axis", "spatial_axes"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call of a layer on tensors of known shape; the batch axis is not counted.

    Args:
        name: Path of the layer in the model, for messages.
        layer: The layer or operation, read for its configuration only.
        inputs: Shape of each input tensor.
        output: Shape of the output tensor.
    """

    name: str
    layer: Any
    inputs: tuple[Shape, ...]
    output: Shape


Rule = Callable[[Call], tuple[View, ...]]


def channel_axis(layer: Any, rank: int) -> int:
    """Channel axis of a layer with a data format, on tensors of `rank` axes."""
    return 0 if layer.data_format == "channels_first" else rank - 1


def spatial_axes(layer: Any, rank: int) -> tuple[int, ...]:
    """The other axes, in order."""
    channel = channel_axis(layer, rank)
    return tuple(axis for axis in range(rank) if axis != channel)
