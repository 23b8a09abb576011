"""Ranges of sizes by brute force: the box of every single unit."""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.errors import InvalidInputError

__all__ = ["brute_range", "interior"]


def interior(field: ReceptiveField) -> dict[tuple[int, ...], Box]:
    """Boxes of the units that lie inside the input; those of all units if there are none."""
    boxes = {}
    for unit in np.ndindex(*field.output_size):
        try:
            boxes[unit] = field.box(unit)
        except InvalidInputError:  # It sees nothing.
            continue
    inside = {
        unit: box
        for unit, box in boxes.items()
        if all(a >= 0 and b <= n for (a, b), n in zip(box, field.input_size, strict=True))
    }
    return inside or boxes


def brute_range(field: ReceptiveField) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """What `size_range` and `size_median` must be."""
    sizes = np.array([[stop - start for start, stop in box] for box in interior(field).values()])
    pairs = zip(sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist(), strict=True)
    return tuple(pairs), tuple(np.median(sizes, axis=0).tolist())
