"""Ranges of sizes by brute force: the box of every single unit."""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.errors import InvalidInputError

__all__ = ["brute_range", "interior"]

Boxes = dict[tuple[int, ...], Box]


def every_box(field: ReceptiveField) -> Boxes:
    """Boxes of all units that see anything."""
    boxes = {}
    for unit in np.ndindex(*field.output_size):
        try:
            boxes[unit] = field.box(unit)
        except InvalidInputError:  # It sees nothing.
            continue
    return boxes


def interior(field: ReceptiveField) -> Boxes:
    """Boxes of the units that lie inside the input; those of all units if there are none."""
    boxes = every_box(field)
    inside = {
        unit: box
        for unit, box in boxes.items()
        if all(a >= 0 and b <= n for (a, b), n in zip(box, field.input_size, strict=True))
    }
    return inside or boxes


def sizes_of(boxes: Boxes) -> np.ndarray:
    """Sizes of boxes, of shape `(boxes, axes)`."""
    return np.array([[stop - start for start, stop in box] for box in boxes.values()])


def brute_range(field: ReceptiveField) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """What `size_range` and `size_median` must be."""
    sizes = largest = sizes_of(interior(field))
    if not any(reach.gathered for reach in field.tracer.known(through_global=True).reaches or ()):
        largest = sizes_of(every_box(field))
    pairs = zip(sizes.min(axis=0).tolist(), largest.max(axis=0).tolist(), strict=True)
    return tuple(pairs), tuple(np.median(sizes, axis=0).tolist())
