"""Arrays over parts of an input: their boxes, and moving values from one box to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Box, Interval

__all__ = ["box_shape", "clipped_box", "hull", "reframed", "whole_box"]


def whole_box(shape: Sequence[int]) -> Box:
    """The box of everything."""
    return tuple((0, int(size)) for size in shape)


def box_shape(box: Box) -> tuple[int, ...]:
    """Number of pixels along each axis."""
    return tuple(stop - start for start, stop in box)


def clipped_box(box: Box, shape: Sequence[int]) -> Box:
    """What of a box lies inside of an input of `shape`."""
    return tuple(
        (max(start, 0), min(stop, size)) for (start, stop), size in zip(box, shape, strict=True)
    )


def hull(box: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))


def reframed(values: np.ndarray, box: Box, frame: Box) -> np.ndarray:
    """`values` of one box, moved into another: cut, or zero where nothing is known.

    Args:
        values: Array whose last axes run over `box`; axes before them are kept.
        box: `(start, stop)` per axis, in pixels of the input.
        frame: The same for the result.

    Returns:
        An array whose last axes run over `frame`; `values` itself if nothing changes.
    """
    if box == frame:
        return values
    result = np.zeros((*values.shape[: values.ndim - len(box)], *box_shape(frame)), values.dtype)
    shared = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, frame, strict=True)]
    if all(start < stop for start, stop in shared):
        result[_slices(shared, frame)] = values[_slices(shared, box)]
    return result


def _slices(shared: Sequence[Interval], around: Box) -> tuple[Any, ...]:
    """Slices of `shared` in an array whose last axes run over `around`."""
    lines = (
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(shared, around, strict=True)
    )
    return (..., *lines)
