"""Tensors, shapes and names as old graphs nest them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

__all__ = [
    "Shape",
    "first_shape",
    "flat",
    "has_several",
    "holds_no_tensor",
    "shapes_of",
    "unpacked",
]

# Of a tensor a tuple, of several a list of tuples; `None` if it is not known.
Shape = Any


def flat(value: Any) -> list[Any]:
    """All entries of nested lists and dictionaries."""
    if isinstance(value, list | tuple):
        return [item for inner in value for item in flat(inner)]
    if isinstance(value, Mapping):
        return [item for key in sorted(value) for item in flat(value[key])]
    return [value]


def unpacked(value: Any) -> Any:
    """The entry of a list of one; any other value unchanged."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def holds_no_tensor(value: Any) -> bool:
    """Whether a structure is of plain Python values."""
    if isinstance(value, Mapping):
        return all(map(holds_no_tensor, value.values()))
    if isinstance(value, list | tuple):
        return all(map(holds_no_tensor, value))
    return not isinstance(value, keras.KerasTensor | np.ndarray)


def shapes_of(inputs: Any) -> Shape:
    """The shape of a tensor, or those of several."""
    if isinstance(inputs, keras.KerasTensor):
        return tuple(inputs.shape)
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if isinstance(inputs, list | tuple):
        return [tuple(t.shape) if hasattr(t, "shape") else np.shape(t) for t in inputs]
    return tuple(np.shape(inputs))


def has_several(shape: Shape) -> bool:
    """Whether it is the shapes of several tensors."""
    return bool(shape) and isinstance(shape[0], list | tuple)


def first_shape(shape: Shape) -> Any:
    """The shape of the first tensor."""
    return shape[0] if has_several(shape) else shape
