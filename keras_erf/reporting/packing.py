"""Maps as compact text: the part that the unit sees, in 16 bits."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["LEVELS", "MapPanel", "packed", "panels_of", "steps_of"]

# Roots of shares of the peak are stored, so that small values are precise enough for a log scale.
LEVELS = 2**16 - 1
# Maximum number of cells of all maps; each takes 2.8 bytes with its bit of the region.
CELLS = 3_000_000


@dataclass(frozen=True, eq=False)
class MapPanel:
    """A map, or its projection onto two axes, limited to what the unit sees.

    Args:
        axes: The input's axes that it shows; it is summed over the others.
        start: Index of its first pixel on each of them.
        values: Magnitudes.
        mask: The 2-sigma region, or its projection.
    """

    axes: tuple[int, ...]
    start: tuple[int, ...]
    values: np.ndarray
    mask: np.ndarray


def panels_of(result: EffectiveReceptiveField) -> list[MapPanel]:
    """A map of one or two axes itself; one of more axes as its projection onto each pair."""
    size = result.receptive_field.input_size
    part = result.part or tuple((0, length) for length in size)
    cut = tuple(slice(*pair) for pair in part)
    # A copy, so that its cached arrays of the input's size are freed after this.
    brief = replace(result)
    values, mask = np.abs(brief.map[cut]), brief.region().mask[cut]
    panels = []
    for axes in combinations(range(len(size)), min(2, len(size))):
        hidden = tuple(axis for axis in range(len(size)) if axis not in axes)
        panels.append(
            MapPanel(
                axes=axes,
                start=tuple(part[axis][0] for axis in axes),
                values=values.sum(axis=hidden),
                mask=np.asarray(mask.any(axis=hidden)),
            )
        )
    return panels


def steps_of(panels: Sequence[MapPanel]) -> list[int]:
    """Returns pixels per cell along each axis for each panel, with at most `CELLS` cells in total.

    The largest panels become coarser first.
    """
    limit = float(max((panel.values.size for panel in panels), default=1))
    while True:
        steps = [_step(panel.values.shape, limit) for panel in panels]
        used = sum(_count(panel.values.shape, s) for panel, s in zip(panels, steps, strict=True))
        if used <= max(CELLS, len(panels)):
            return steps
        limit /= 1.2


def _count(shape: Sequence[int], step: int) -> int:
    return math.prod(math.ceil(size / step) for size in shape)


def _step(shape: Sequence[int], limit: float) -> int:
    step = 1
    while _count(shape, step) > max(limit, 1):
        step += 1
    return step


def packed(panel: MapPanel, step: int) -> dict[str, Any]:
    """A panel as plain data.

    `data` is little-endian unsigned 16-bit numbers in base64, row by row, each the
    root of its share of `peak` times 65535; `mask` one bit per cell, the first the
    highest. A cell is the mean over `step` pixels along each axis.
    """
    values = _coarse(panel.values, step)
    mask = _coarse(panel.mask.astype(np.float64), step) >= 0.5
    peak = float(values.max())
    levels = np.rint(np.sqrt(values / peak) * LEVELS).astype("<u2")
    return {
        "axes": panel.axes,
        "start": panel.start,
        "pixels": panel.values.shape,
        "step": step,
        "shape": values.shape,
        "peak": peak,
        "data": base64.b64encode(levels.tobytes()).decode("ascii"),
        "mask": base64.b64encode(np.packbits(mask).tobytes()).decode("ascii"),
    }


def _coarse(values: np.ndarray, step: int) -> np.ndarray:
    """Means over `step` pixels along each axis, or the remaining pixels at the end."""
    for axis, size in enumerate(values.shape):
        edges = np.arange(0, size, step)
        lengths = np.diff(np.append(edges, size))
        shape = [-1 if place == axis else 1 for place in range(values.ndim)]
        values = np.add.reduceat(values, edges, axis=axis) / lengths.reshape(shape)
    return values
