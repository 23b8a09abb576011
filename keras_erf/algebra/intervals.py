"""What the units of a tensor see along one axis of the network's input.

A `Line` is a field that moves evenly: unit `u` and unit `u + period` see the
same, `step` pixels apart, for any `u`, inside the tensor or in the padding
around it. Sliding layers make lines of lines (`after`), so one pass from the
input to a tensor knows the field of each of its units. Where fields do not move
evenly a `Table` holds them, one entry per unit. Both give the hull of what is
seen, in pixels; an empty hull starts after it stops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from keras_erf.algebra.geometry import Interval, Relation, Window

__all__ = ["NOTHING", "Line", "Reach", "Table", "simplified", "table", "united"]

# Hull of no pixel at all: it gives way in every union, and stays empty wherever it is moved.
NOTHING: Interval = (2**40, -(2**40))
# Units after which a table may repeat to be taken for a line.
LONGEST_PERIOD = 4


@dataclass(frozen=True)
class Line:
    """A field that moves evenly along one axis of a tensor, or not at all.

    Args:
        axis: Axis of the tensor (the batch not counted) it moves along; `None`
            if every unit sees the same.
        starts: First pixel seen by units 0, 1, ... of one period.
        stops: Pixel after the last one seen.
        step: Pixels moved per period.
        gathered: Whether a layer on the way takes in whole what moved.
    """

    axis: int | None
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    step: int = 0
    gathered: bool = False

    @property
    def period(self) -> int:
        """Units after which the field has moved by `step`."""
        return len(self.starts)

    @property
    def stride(self) -> Fraction:
        """Pixels moved per unit, on average."""
        return Fraction(self.step, self.period)

    @property
    def empty(self) -> bool:
        """Whether some unit sees nothing."""
        return any(map(_nothing, self.starts, self.stops))

    def at(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and stops of the fields of `units`, indices along `axis`."""
        turns, phases = np.divmod(units, self.period)
        starts, stops = np.array(self.starts)[phases], np.array(self.stops)[phases]
        return _normal(starts + turns * self.step, stops + turns * self.step)

    def after(self, relation: Relation, axis: int) -> Line:
        """The line of the output of a layer that sees this one's axis by `relation`.

        Args:
            relation: Of the layer's input axis to its output axis; it has a period.
            axis: The output axis.
        """
        if isinstance(relation, Window) and relation.up == self.period == 1 and self.step >= 0:
            # The usual case, by itself: the first and the last tap decide.
            first = -relation.padding * self.step
            last = first + (relation.size - 1) * relation.dilation * self.step
            start, stop = self.starts[0] + first, self.stops[0] + last
            return Line(axis, (start,), (stop,), self.step * relation.stride, self.gathered)
        assert relation.period is not None
        moved = int(relation.period * relation.ratio)
        turns = self.period // math.gcd(moved, self.period)
        units, counted = relation.taps(np.arange(relation.period * turns))
        starts, stops = _hull(*self.at(units), counted)
        step = moved * turns // self.period * self.step
        return Line(axis, tuple(starts.tolist()), tuple(stops.tolist()), step, self.gathered)

    def whole(self, size: int) -> Line:
        """What all units of the axis, `size` of them, see together."""
        starts, stops = self.at(np.arange(size))
        gathered = self.gathered or (size > 1 and self.axis is not None)
        return Line(None, (int(starts.min()),), (int(stops.max()),), 0, gathered)


@dataclass(frozen=True, eq=False)
class Table:
    """A field with an entry for each unit.

    Args:
        starts: First pixel seen, of the tensor's rank (the batch not counted);
            of length 1 along the axes that make no difference.
        stops: Pixel after the last one seen, of the same shape.
        stride: Pixels per unit of the line that the entries were taken from;
            `None` if they are of no line.
        gathered: Whether a layer on the way takes in whole what moved.
        places: Index of each entry on that line, of a shape that broadcasts to
            that of `starts`; `None` if it is the entry's own along its axis.
    """

    starts: np.ndarray
    stops: np.ndarray
    stride: Fraction | None = None
    gathered: bool = False
    places: np.ndarray | None = None

    @property
    def empty(self) -> bool:
        """Whether some unit sees nothing."""
        return bool((self.starts >= self.stops).any())

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that make a difference."""
        return tuple(axis for axis, size in enumerate(self.starts.shape) if size > 1)

    def after(self, relation: Relation, axis: int, size: int) -> Table:
        """This table where its `axis` is seen, by a layer, along an output axis of `size`."""
        units, counted = relation.taps(np.arange(size))
        own = self.starts.shape[axis]
        counted = counted & (units >= 0) & (units < own)
        units = np.where(counted, units, 0)
        # The taps stand behind the axis while they are gathered.
        shape = [1] * (self.starts.ndim + 1)
        shape[axis : axis + 2] = counted.shape
        starts, stops = (np.take(array, units, axis=axis) for array in (self.starts, self.stops))
        starts, stops = _hull(starts, stops, counted.reshape(shape), axis + 1)
        stride, places = None, None
        if self.stride is not None and self.places is None and relation.period is not None:
            stride = self.stride * relation.ratio
        elif self.places is not None and isinstance(relation, Window) and relation.size == 1:
            # It moves entries about: each stays where it was on the line.
            stride, places = self.stride, self.places
            if places.shape[axis] > 1:
                places = np.take(places, units[:, 0], axis=axis)
        return Table(starts, stops, stride, self.gathered, places)

    def indices(self) -> np.ndarray | None:
        """Index of each entry on the line it was taken from; `None` if it was from none."""
        if self.stride is None or self.places is not None or len(self.axes) != 1:
            return self.places
        return np.arange(self.starts.size).reshape(self.starts.shape)

    def whole(self, axis: int) -> Table:
        """What all units of the axis see together; it stays, of length 1."""
        gathered = self.gathered or self.starts.shape[axis] > 1
        starts, stops = self.starts.min(axis, keepdims=True), self.stops.max(axis, keepdims=True)
        places = self.indices()
        if places is None or (places != places.take([0], axis)).any():
            return Table(starts, stops, None, gathered)
        return Table(starts, stops, self.stride, gathered, places.take([0], axis))

    def without(self, blind: np.ndarray) -> Table:
        """This table with nothing seen by the units that are `blind`, an array that broadcasts."""
        starts = np.where(blind, NOTHING[0], self.starts)
        stops = np.where(blind, NOTHING[1], self.stops)
        return replace(self, starts=starts, stops=stops)

    def transposed(self, axes: Sequence[int | None], rank: int) -> Table:
        """This table with axis `i` put at `axes[i]` of `rank`; `None` drops one of length 1.

        Of axes put at the same place the diagonal is taken.
        """
        dropped = tuple(axis for axis, place in enumerate(axes) if place is None)
        places = [place for place in axes if place is not None]
        missing = sorted(set(range(rank)) - set(places))
        parts = [self.starts, self.stops]
        if self.places is not None:
            parts.append(np.broadcast_to(self.places, self.starts.shape))
        moved = [
            np.expand_dims(
                np.einsum(np.squeeze(array, dropped), places, sorted(set(places))), missing
            )
            for array in parts
        ]
        return Table(moved[0], moved[1], self.stride, self.gathered, *moved[2:])


Reach = Line | Table


def table(reach: Reach, shape: Sequence[int]) -> Table:
    """`reach` with an entry for each unit of a tensor of `shape`."""
    if isinstance(reach, Table):
        return reach
    places = [1] * len(shape)
    count = 1
    if reach.axis is not None:
        places[reach.axis] = count = shape[reach.axis]
    starts, stops = reach.at(np.arange(count))
    return Table(starts.reshape(places), stops.reshape(places), reach.stride, reach.gathered)


def simplified(table: Table) -> Reach:
    """A line for the table, where its fields move evenly along one axis."""
    for axis in table.axes:
        # What makes no difference is no axis of the table.
        alike = ((array == array.take([0], axis)).all() for array in (table.starts, table.stops))
        if all(alike):
            starts, stops = table.starts.take([0], axis), table.stops.take([0], axis)
            places = None if table.places is None else table.places.take([0], axis)
            table = Table(starts, stops, table.stride, table.gathered, places)
    axes = table.axes
    starts, stops = table.starts.ravel(), table.stops.ravel()
    if not axes:
        return Line(None, (int(starts[0]),), (int(stops[0]),), 0, table.gathered)
    if len(axes) > 1:
        return table
    nothing = starts >= stops
    # Two turns and more: what repeats only once may be chance, and a line never ends.
    for period in range(1, min(LONGEST_PERIOD, (len(starts) - 1) // 2) + 1):
        seen = ~(nothing[period:] | nothing[:-period])
        if (nothing[period:] != nothing[:-period]).any() or not seen.any():
            continue
        steps = np.concatenate([(ends[period:] - ends[:-period])[seen] for ends in (starts, stops)])
        if (steps == steps[0]).all() and (period == 1 or _one_way(starts[~nothing])):
            cycle = [tuple(ends[:period].tolist()) for ends in (starts, stops)]
            return Line(axes[0], cycle[0], cycle[1], int(steps[0]), table.gathered)
    return table


def united(
    paths: Sequence[Sequence[Reach]], shape: Sequence[int], sizes: Sequence[int]
) -> tuple[Reach, ...]:
    """What several paths see together, for each axis of the input.

    Args:
        paths: For each path, its reach along each axis of the input.
        shape: Shape of the tensor they lead from, the batch not counted.
        sizes: Sizes of the input's axes.
    """
    if all(path == paths[0] for path in paths[1:]):
        return tuple(paths[0])
    together = []
    for place, size in enumerate(sizes):
        parts = [path[place] for path in paths]
        if any(part != parts[0] for part in parts[1:]):
            # Where a path sees nothing along one axis, it sees nothing along the others.
            parts = [_seeing(path, place, shape) for path in paths]
        together.append(_united(parts, shape, size))
    return tuple(together)


def _united(parts: Sequence[Reach], shape: Sequence[int], size: int) -> Reach:
    first = parts[0]
    if all(part == first for part in parts[1:]):
        return first
    gathered = any(part.gathered for part in parts)
    for part in parts:
        # Next to all of the input nothing counts, not even the padding around it.
        whole = isinstance(part, Line) and part.gathered and part.axis is None
        if whole and part.starts[0] <= 0 and part.stops[0] >= size:
            return Line(None, (0,), (size,), 0, True)
    lines = [part for part in parts if isinstance(part, Line)]
    if len(lines) == len(parts) and len({(one.axis, one.stride) for one in lines}) == 1:
        period = math.lcm(*(one.period for one in lines))
        ends = [one.at(np.arange(period)) for one in lines]
        starts = np.min([start for start, _ in ends], axis=0)
        stops = np.max([stop for _, stop in ends], axis=0)
        step = int(lines[0].stride * period)
        return Line(lines[0].axis, tuple(starts.tolist()), tuple(stops.tolist()), step, gathered)
    tables = [table(part, shape) for part in parts]
    starts = np.array(tables[0].starts)
    stops = np.array(tables[0].stops)
    for one in tables[1:]:
        starts, stops = np.minimum(starts, one.starts), np.maximum(stops, one.stops)
    # Together they move as each of them does, if all move alike and none has gaps.
    alike = all(_alike(one, tables[0]) for one in tables) and not any(one.empty for one in tables)
    stride, places = (tables[0].stride, tables[0].indices()) if alike else (None, None)
    return simplified(Table(starts, stops, stride, gathered, places))


def _alike(one: Table, other: Table) -> bool:
    """Whether two tables take each entry from the same place of lines of one stride."""
    own, others = one.indices(), other.indices()
    if own is None or others is None or one.stride != other.stride:
        return False
    return np.array_equal(own, others)


def _seeing(path: Sequence[Reach], place: int, shape: Sequence[int]) -> Reach:
    """The reach along one axis, empty where the path's reach along another one is."""
    reach = path[place]
    for other in path:
        if other is not reach and other.empty:
            holes = table(other, shape)
            reach = table(reach, shape).without(holes.starts >= holes.stops)
    return reach


def _one_way(starts: np.ndarray) -> bool:
    """Whether fields never turn back, as the columns of a map do in a row of tokens."""
    steps = np.diff(starts)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _nothing(start: int, stop: int) -> bool:
    return start >= stop


def _normal(starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hulls with the empty ones put back to `NOTHING`, from where a move took them."""
    nothing = starts >= stops
    return np.where(nothing, NOTHING[0], starts), np.where(nothing, NOTHING[1], stops)


def _hull(
    starts: np.ndarray, stops: np.ndarray, counted: np.ndarray, axis: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Hull over `axis` of the intervals that count."""
    return (
        np.where(counted, starts, NOTHING[0]).min(axis=axis),
        np.where(counted, stops, NOTHING[1]).max(axis=axis),
    )
