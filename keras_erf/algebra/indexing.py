"""Views of layers that only move elements about: the source of each single element.

Where every axis of the input follows an axis of the output by itself, such a
view is a `View` like any other (`rearranged`); elsewhere it is an `IndexedView`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from keras_erf.algebra.geometry import Ranges, Relation, Window
from keras_erf.algebra.intervals import Line, Reach, Table, simplified, table
from keras_erf.algebra.views import AnyView, Link, Shape, Status, View

__all__ = ["IndexedView", "other_axes", "rearranged"]


@dataclass(frozen=True, eq=False)
class IndexedView:
    """The source of each single element of the output.

    Args:
        indices: For each element of the output the flat index of the input
            element it copies, -1 for none; of the output's shape.
        shape: Shape of the input, the batch not counted.
        input: Which of the layer's inputs is seen.
        output: Which of the layer's outputs sees it.
        gathers: As in `View`.
        status: As in `View`.
    """

    indices: np.ndarray
    shape: Shape
    input: int = 0
    output: int = 0
    gathers: bool = False
    status: Status = "exact"

    @cached_property
    def _sources(self) -> tuple[np.ndarray, ...]:
        """Index along each input axis, of length 1 along the output axes that do not matter."""
        inside = np.where(self.indices < 0, 0, self.indices)
        return tuple(_squeezed(line) for line in np.unravel_index(inside, self.shape))

    @cached_property
    def _present(self) -> np.ndarray:
        return _squeezed(self.indices >= 0)

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Output axis that each input axis follows, as far as it follows a single one."""
        moved = (_long_axes(line) for line in self._sources)
        return tuple(axes[0] if len(axes) == 1 else None for axes in moved)

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, given that of the input; see `AnyView`."""
        if isinstance(reach, Line) and reach.axis is None and self._present.all():
            return reach
        source = table(reach, shape)
        lines = [
            line if size > 1 else np.zeros((1,) * line.ndim, dtype=int)
            for line, size in zip(self._sources, source.starts.shape, strict=True)
        ]
        starts, stops = (array[tuple(lines)] for array in (source.starts, source.stops))
        # Each entry keeps its place on the line it comes from: moves are not read off averages.
        places = source.indices()
        if places is not None:
            places = np.broadcast_to(places, source.starts.shape)[tuple(lines)]
        stride = None if places is None else source.stride
        found = Table(starts, stops, stride, source.gathered, places)
        return simplified(found.without(~self._present))

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the input seen by the mask `seen` of the output; see `AnyView`."""
        result = np.zeros(np.prod(shape, dtype=int), dtype=bool)
        sources = self.indices[np.broadcast_to(seen, output)]
        result[sources[sources >= 0]] = True
        return result.reshape(shape)

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the output that sees any `marked` input; see `AnyView`."""
        return np.broadcast_to(marked, shape).ravel()[self.indices] & (self.indices >= 0)


def rearranged(
    indices: np.ndarray, shape: Shape, *, input: int = 0, output: int = 0, alone: bool = True
) -> AnyView:
    """The view of a layer that only moves elements about.

    Axis by axis, wherever each input axis follows an output axis of its own;
    element by element elsewhere.

    Args:
        indices: As in `IndexedView`.
        shape: Shape of the input, the batch not counted.
        input: Which of the layer's inputs is seen.
        output: Which of the layer's outputs sees it.
        alone: Whether elements that come from nowhere are padding around the
            input; otherwise another input may stand there.
    """
    whole = IndexedView(indices, shape, input, output)
    present = indices >= 0
    if not present.any():
        return whole
    coordinates = np.unravel_index(np.where(present, indices, 0), shape)
    fixed = [bool((line[present] == line[present][0]).all()) for line in coordinates]
    # Outputs of each axis that copy anything; together they must be all that do.
    ranks = range(indices.ndim)
    along = [np.asarray(present.any(axis=other_axes(axis, indices.ndim))) for axis in ranks]
    product = np.ones((), dtype=bool)
    for marked in along:
        product = np.logical_and.outer(product, marked)
    if not np.array_equal(product, present):
        return whole
    links: dict[int, Link] = {}
    free = set(range(indices.ndim))
    # What moves chooses first; what stands still takes an axis with padding, or one of length 1.
    for place in sorted(range(len(shape)), key=fixed.__getitem__):
        line, size = coordinates[place], shape[place]
        if fixed[place]:
            suits = [one for one in free if not along[one].all()]
            suits += [one for one in free if size > 1 and indices.shape[one] == 1]
        else:
            suits = [one for one in free if _follows(line, present, one)]
        axis = min(suits, default=None)
        if axis is None and not (fixed[place] and size == 1):
            return whole
        if axis is None:
            links[place] = Link(None)
            continue
        free.discard(axis)
        sources = np.where(present, line, -1).max(axis=other_axes(axis, indices.ndim))
        relation = _relation(sources, along[axis], size)
        links[place] = Link(axis, relation, clip=not alone)
    if not all(along[axis].all() for axis in free):
        return whole
    return View(tuple(links[place] for place in range(len(shape))), input, output)


def _follows(line: np.ndarray, present: np.ndarray, axis: int) -> bool:
    """Whether an output's index along `axis` tells the index it copies, where it copies any."""
    others = other_axes(axis, line.ndim)
    lowest = np.where(present, line, np.iinfo(line.dtype).max).min(axis=others)
    highest = np.where(present, line, -1).max(axis=others)
    return bool((lowest == highest)[present.any(axis=others)].all())


def _relation(line: np.ndarray, present: np.ndarray, size: int) -> Relation:
    """A relation of outputs that each copy one input index, or none where not `present`."""
    kept = np.flatnonzero(present)
    sources = line[kept]
    steps = np.diff(sources) if len(kept) > 1 else np.ones(1, dtype=int)
    if (np.diff(kept) == 1).all() and (steps == steps[0]).all() and steps[0] > 0:
        stride = int(steps[0])
        window = Window(stride=stride, padding=int(kept[0]) * stride - int(sources[0]))
        # What the window sees beyond must lie outside of the input.
        positions = np.arange(len(line)) * stride - window.padding
        if np.array_equal(
            (positions >= 0) & (positions < size), np.isin(np.arange(len(line)), kept)
        ):
            return window
    counted = np.zeros(len(line), dtype=bool)
    counted[kept] = True
    starts = np.where(counted, line, 0)
    ratio = Fraction(size, len(line))
    return Ranges(tuple(starts.tolist()), tuple((starts + counted).tolist()), ratio)


def _squeezed(array: np.ndarray) -> np.ndarray:
    """The array with axes along which it is constant cut to length 1."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if array.shape[axis] > 1 and (array == first).all():
            array = first
    return array


def other_axes(axis: int, rank: int) -> tuple[int, ...]:
    """All axes of `rank` axes but one."""
    return tuple(one for one in range(rank) if one != axis)


def _long_axes(array: np.ndarray) -> list[int]:
    return [axis for axis, size in enumerate(array.shape) if size > 1]
