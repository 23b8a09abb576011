"""Spatial sizes that the data give to inputs whose sizes are open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_erf.graph import Graph

__all__ = ["sizes_of_data"]


def sizes_of_data(graph: Graph, number: int, inputs: Any) -> tuple[int, ...] | None:
    """Spatial sizes of an input from the array meant for it.

    Returns:
        One size per axis; `None` where the model defines them, or the data are no such array.
    """
    own = graph.tensors[number].shape
    if isinstance(inputs, Mapping):
        inputs = inputs.get(graph.tensors[number].name)
    elif isinstance(inputs, (list, tuple)) and len(inputs) == len(graph.inputs) > 1:
        inputs = inputs[graph.inputs.index(number)]
    shape = tuple(getattr(inputs, "shape", ()))
    if None not in own or len(shape) != len(own) + 1:
        return None
    return tuple(int(own[axis] or shape[axis + 1]) for axis in graph.spatial_axes(number))
