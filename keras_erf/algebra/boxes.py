"""Boxes of indices: one interval per axis, the batch not counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_erf.algebra.geometry import Box, Interval
from keras_erf.types import Array

__all__ = ["cut", "elements", "entire", "hull", "widened"]


def entire(shape: Sequence[int]) -> Box:
    """The part that is all of a tensor."""
    return tuple((0, size) for size in shape)


def elements(part: Box) -> int:
    """Number of elements of a part."""
    return math.prod(stop - start for start, stop in part)


def hull(first: Box | None, second: Box) -> Box:
    """Smallest part that holds both; the first may be none yet."""
    if first is None:
        return second
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))


def cut(value: Array, held: Box, wanted: Box) -> Array:
    """The `wanted` part of a value, with a batch axis, that is the part `held` of a tensor."""
    if held == wanted:
        return value
    slices = [
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(wanted, held, strict=True)
    ]
    return value[(slice(None), *slices)]


def widened(needed: Interval, size: int) -> tuple[Interval, tuple[int, int]] | None:
    """What an axis of `size` holds of a needed interval, and the padding to put around that.

    Returns:
        The interval inside the axis, and the numbers of indices before and after
        it that lie in the padding; `None` where all of it does.
    """
    start, stop = max(needed[0], 0), min(needed[1], size)
    if start >= stop:
        return None
    return (start, stop), (start - needed[0], needed[1] - stop)
