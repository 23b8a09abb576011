"""Values that old graphs compute of shapes, worked out while the model is built."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

__all__ = ["BATCH", "Unknown", "each", "is_static", "number", "sizes", "static_shape"]


class Unknown:
    """The size of the batch, or what is computed of it."""

    def _unknown(self, *_: Any) -> Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _unknown
    __floordiv__ = __rfloordiv__ = __truediv__ = __rtruediv__ = __mod__ = __neg__ = _unknown

    def __repr__(self) -> str:
        return "the size of the batch"


BATCH = Unknown()


def static_shape(tensor: Any) -> np.ndarray:
    """The shape of a tensor as old graphs compute it, with `BATCH` where it is not known."""
    if not isinstance(tensor, keras.KerasTensor):
        return np.array(np.shape(tensor), dtype=object)
    return np.array([BATCH if size is None else size for size in tensor.shape], dtype=object)


def is_static(value: Any) -> bool:
    """Whether a value holds no tensor of the graph."""
    if isinstance(value, list | tuple):
        return all(map(is_static, value))
    if isinstance(value, dict):
        return all(map(is_static, value.values()))
    return not isinstance(value, keras.KerasTensor)


def number(value: Any) -> int:
    """A size as an integer; -1 for one that is not known."""
    value = value.item() if isinstance(value, np.ndarray) else value
    return -1 if value is None or isinstance(value, Unknown) else int(value)


def sizes(value: Any) -> tuple[int, ...]:
    """Sizes as integers; -1 for those that are not known."""
    return tuple(map(number, each(value)))


def each(value: Any) -> list[Any]:
    """The entries of a list or an array; a number is a list of one."""
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    return list(value) if isinstance(value, list | tuple) else [value]
