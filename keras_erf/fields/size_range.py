"""The sizes that fields have over all units of a map."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_erf.algebra.intervals import Line
from keras_erf.fields.units import UnitTracer

__all__ = ["size_ranges"]

# Pairs of the smallest and the largest size, and medians, for each axis of the input.
Ranges = tuple[tuple[tuple[int, int], ...], tuple[float, ...]]
# Kinds of units that are combined one by one, at most.
MOST_KINDS = 1 << 20


def size_ranges(tracer: UnitTracer, size: Sequence[int]) -> Ranges:
    """Range and median of the fields' sizes over the interior units of a map.

    Interior are units whose box lies inside the input; if there are none, all units that see
    anything count. The largest size is that of all units where none gathers the input: a small
    input may have no interior unit with the largest field. Every kind of unit is counted once
    for each group of axes that moves fields by itself, so the cost is that of the map's sides
    and not of its area.

    Args:
        tracer: Answers for the units of the map.
        size: Size of the field of one of them, for where it is known to be that of all.
    """
    reaches = tracer.known(through_global=tracer.through_global).reaches or ()
    gathered = any(reach.gathered for reach in reaches)
    places = tracer.axes
    if not gathered and all(
        isinstance(reach, Line) and reach.period == 1 and reach.axis in (None, *places)
        for reach in reaches
    ):
        sizes = [reach.stops[0] - reach.starts[0] for reach in reaches if isinstance(reach, Line)]
        return tuple((size, size) for size in sizes), tuple(map(float, sizes))
    inputs, kinds, counts = [], [], []
    for axes, members in tracer.groups(reaches):
        columns = []
        for _, reach, extent in members:
            starts, stops = tracer.ends(reach, axes, tracer.middle)
            full = (starts <= 0) & (stops >= extent)
            inside = (starts >= 0) & (stops <= extent)
            length = stops - starts
            if reach.gathered:
                length, inside = np.where(full, extent, length), inside | full
            columns.append([length, inside, full, starts < stops])
        table = np.array([np.ravel(row) for column in columns for row in column])
        table, number = np.unique(table, axis=1, return_counts=True)
        # Axes: what is known of the kind, members, kinds.
        kind = table.reshape(len(members), 4, -1).swapaxes(0, 1)
        seeing = kind[3].all(axis=0)
        if not seeing.any():
            return tuple((side, side) for side in size), tuple(map(float, size))
        inputs += [place for place, _, _ in members]
        kinds.append(kind[:3, :, seeing])
        counts.append(number[seeing])
    if gathered and math.prod(map(len, counts)) <= MOST_KINDS:
        kinds, counts = _together(kinds, counts, inputs, tracer)
    inner = [kind[1].all(axis=0) for kind in kinds]
    interior = all(mask.any() for mask in inner)
    ranges = {}
    lines = [
        (line, number, mask)
        for kind, number, mask in zip(
            kinds,
            counts,
            inner if interior else [np.ones_like(mask) for mask in inner],
            strict=True,
        )
        for line in kind[0]
    ]
    for place, (line, number, mask) in zip(inputs, lines, strict=True):
        (low, high), median = _summed_up(line[mask], number[mask])
        # Gathered boxes count padding on the sides that they do not end with.
        ranges[place] = (low, high if gathered else int(line.max())), median
    ordered = [ranges[place] for place in sorted(ranges)]
    return tuple(entry[0] for entry in ordered), tuple(entry[1] for entry in ordered)


def _together(
    kinds: list[np.ndarray], counts: list[np.ndarray], inputs: list[int], tracer: UnitTracer
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One group for all axes: what is taken in whole has no padding around it."""
    reaches = tracer.known(through_global=tracer.through_global).reaches or ()
    extents = tracer.extents
    rows = itertools.product(*(range(len(number)) for number in counts))
    index = np.array(list(rows)).T
    joint = np.concatenate(
        [kind[:, :, columns] for kind, columns in zip(kinds, index, strict=True)], axis=1
    )
    number = np.prod([own[columns] for own, columns in zip(counts, index, strict=True)], axis=0)
    taken = np.array([reaches[place].gathered for place in inputs])[:, None]
    whole = (joint[2] & taken).any(axis=0) & joint[2].all(axis=0)
    joint[0] = np.where(whole, np.array([extents[place] for place in inputs])[:, None], joint[0])
    joint[1] |= whole
    return [joint], [number]


def _summed_up(sizes: np.ndarray, counts: np.ndarray) -> tuple[tuple[int, int], float]:
    order = np.argsort(sizes)
    sizes, totals = sizes[order], np.cumsum(counts[order])
    middle = [(totals[-1] - 1) // 2, totals[-1] // 2]
    median = sizes[np.searchsorted(totals, middle, side="right")].mean()
    return (int(sizes[0]), int(sizes[-1])), float(median)
