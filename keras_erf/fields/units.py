"""The units of one layer's map: what each sees, and which is the centre one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Box, Interval, index_within
from keras_erf.algebra.intervals import Line, Reach, table
from keras_erf.algebra.propagation import TensorField
from keras_erf.algebra.strides import even_step, repeated
from keras_erf.errors import InvalidInputError
from keras_erf.fields.supports import support, visible_box
from keras_erf.fields.tokens import TokenGrid
from keras_erf.fields.tracing import Tracing

__all__ = ["UnitTracer"]

Unit = tuple[int, ...]


@dataclass(frozen=True)
class UnitField:
    """What one unit sees.

    Args:
        box: Unclipped box.
        gathered: For each axis, whether all of it is seen through a layer that
            takes it in whole.
        status: How sure that is.
    """

    box: Box
    gathered: tuple[bool, ...]
    status: str


@dataclass(frozen=True, eq=False)
class UnitTracer:
    """Answers for the units of one tensor; see `geometry.Tracer`.

    Args:
        tracing: Fields of the graph.
        tensor: Number of the tensor.
        through_global: Whether paths through all of space count.
        grid: Rows and columns of a tensor of tokens; its units are named by them.
    """

    tracing: Tracing = field(repr=False)
    tensor: int
    through_global: bool
    grid: TokenGrid | None = None

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.tracing.graph.tensors[self.tensor].name

    @cached_property
    def shape(self) -> Unit:
        """Shape of the tensor, the batch not counted."""
        return self.tracing.shape(self.tensor)

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Its spatial axes."""
        return self.tracing.spatial_axes(self.tensor)

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """Spatial shape of the input."""
        return self.tracing.spatial_shape(self.tracing.input)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of units along each axis of the map."""
        return self.grid.shape if self.grid else tuple([self.shape[axis] for axis in self.axes])

    def position(self, unit: Unit) -> Unit:
        """Indices of a unit along the tensor's spatial axes."""
        return self.grid.position(unit) if self.grid else unit

    def known(self, *, through_global: bool) -> TensorField:
        """What is known of the tensor's units."""
        return self.tracing.known(self.tensor, through_global=through_global)

    def trace(self, unit: Unit) -> UnitField:
        """What a unit of the map sees.

        Raises:
            InvalidInputError: It sees nothing of the input.
        """
        known = self.known(through_global=self.through_global)
        box = tuple(self._interval(reach, unit) for reach in known.reaches or ())
        if not box or any(start >= stop for start, stop in box):
            how = "" if self.through_global else " without the layers that gather the whole space"
            raise InvalidInputError(
                argument="unit",
                expected=f"{unit} of layer {self.name!r} sees nothing of the input{how}",
                remedy="Choose another unit or layer",
                received=f"through_global={self.through_global}",
            )
        entire = tuple((0, size) for size in self.extents)
        full = [a <= 0 and b >= size for (a, b), (_, size) in zip(box, entire, strict=True)]
        gathered = tuple(
            all_of_it and reach.gathered
            for all_of_it, reach in zip(full, known.reaches or (), strict=True)
        )
        # What a layer takes in whole has no padding around it.
        whole = any(gathered) and all(full)
        cut = tuple(
            own if whole or axis_gathered else side
            for own, side, axis_gathered in zip(entire, box, gathered, strict=True)
        )
        status: str = "whole" if whole and known.status == "exact" else known.status
        if known.loose and not whole:
            cut, status = self._tightened(unit, cut, status)
        return UnitField(cut, gathered, status)

    def _tightened(self, unit: Unit, box: Box, status: str) -> tuple[Box, str]:
        """The box of what is really seen, where a box may be too wide, and how sure it is."""
        visible = self.visible(unit)
        sizes = self.extents
        triples = list(zip(box, visible, sizes, strict=True))
        if all((max(a, 0), min(b, size)) == side for (a, b), side, size in triples):
            return box, status
        if all(start > 0 and stop < size for _, (start, stop), size in triples):
            return visible, status
        # How far it continues into the padding is not known.
        return box, "bound"

    def box(self, unit: Unit) -> Box:
        """Unclipped box of what the unit sees."""
        return self.trace(self.checked(unit)).box

    def visible(self, unit: Unit) -> Box:
        """Tight box of the pixels the unit really sees."""
        position = self.position(self.checked(unit))
        return visible_box(self.tracing, self.tensor, position, through_global=self.through_global)

    def support(self, unit: Unit) -> np.ndarray:
        """Boolean mask over the input of the pixels the unit really sees."""
        position = self.position(self.checked(unit))
        return support(self.tracing, self.tensor, position, through_global=self.through_global)

    def checked(self, unit: Any) -> Unit:
        """`unit` as a tuple of ints inside the map.

        Raises:
            InvalidInputError: It is not.
        """
        index = index_within(unit, self.sizes)
        if index is None:
            raise InvalidInputError(
                argument="unit",
                expected="must be 'center' or an index for each axis, inside the map of "
                f"layer {self.name!r}, whose shape is {self.sizes}",
                received=f"unit={' '.join(repr(unit).split())}",
            )
        return index

    def _moving(self) -> tuple[Reach, ...]:
        """The reaches that show how fields move: of local paths, or of all if there are none."""
        local = self.known(through_global=False).reaches
        entire = self.known(through_global=True).reaches
        nothing = (Line(None, (0,), (0,)),) * len(self.tracing.input_axes)
        return local or entire or nothing

    def strides(self) -> tuple[Fraction | None, ...]:
        """Pixels the field moves per unit, for each axis of the input.

        0 where it does not move, and `None` where it moves unevenly.
        """
        extents = self.extents
        return tuple(map(self._stride, self._moving(), extents))

    def _stride(self, reach: Reach, extent: int) -> Fraction | None:
        axes = self._followed(reach)
        if len(axes) != 1:
            return None if axes else Fraction(0)
        (axis,) = axes
        unit: list[Any] = [0] * len(self.sizes)
        unit[axis] = np.arange(self.sizes[axis])
        stride = self._stride_on_line(reach, tuple(unit))
        if stride is not None and repeated(stride, 0):
            return stride
        step = even_step(*self._hulls(reach, tuple(unit)), extent)
        # Of a line with another fraction, the map has to show that it comes round, or that all
        # of its units move by whole pixels.
        return step if stride in (None, step) or (step and step.denominator == 1) else None

    def _stride_on_line(self, reach: Reach, unit: tuple[Any, ...]) -> Fraction | None:
        """Pixels per unit of a row of units, if they lie evenly on the line they come from."""
        places = self.axes
        position = self.position(unit)
        if isinstance(reach, Line):
            if reach.axis not in places:
                return None
            indices = np.asarray(position[places.index(reach.axis)])
        else:
            table_indices = reach.indices()
            if table_indices is None:
                return None
            channels = tuple(axis for axis in range(table_indices.ndim) if axis not in places)
            if any(table_indices.shape[axis] > 1 for axis in channels):
                return None
            indices = _chosen(
                table_indices.reshape([table_indices.shape[i] for i in places]), position
            )
        steps = np.unique(np.diff(indices))
        if len(indices) == 1 and isinstance(reach, Line):
            return reach.stride
        return reach.stride * int(steps[0]) if reach.stride and len(steps) == 1 else None

    def index_along(self, place: int, unit: Unit) -> int:
        """Index of the unit along the axis of the map that moves its field along an input axis."""
        moved = self._followed(self._moving()[place])
        return unit[min(moved)] if moved else 0

    def moves_so(self, place: int, unit: Unit, start: int) -> bool:
        """Whether a field that begins at `start` begins where strides are read off."""
        known = self.known(through_global=self.through_global)
        return known.loose or self._interval(self._moving()[place], unit)[0] == start

    def _followed(self, reach: Reach) -> set[int]:
        """Axes of the units, those of the grid if there is one, that move a field."""
        moved = self._moved_axes(reach)
        if self.grid is None or not moved:
            return moved
        starts, stops = self.ends(reach, range(len(self.sizes)), (0,) * len(self.sizes))
        return {
            axis
            for axis in moved
            if any((ends != ends.take([0], axis)).any() for ends in (starts, stops))
        }

    def center_unit(self) -> Unit:
        """The unit whose field's centre is nearest the input's.

        Of two as near it is the later one; of more, which up-sampling makes, the
        middle one. Local paths decide: a unit that sees everything is centred wherever it is.
        """
        middle = self.middle
        unit = list(middle)
        # Holes of one axis may hide what is nearest along another: they are left out of each.
        for axes, members in self.groups(self._moving()):
            for axis, index in self._nearest(axes, members, middle).items():
                unit[axis] = index
        return tuple(unit)

    @property
    def middle(self) -> Unit:
        """The unit in the middle of the map."""
        return tuple(size // 2 for size in self.sizes)

    def groups(
        self, reaches: Sequence[Reach]
    ) -> list[tuple[list[int], list[tuple[int, Reach, int]]]]:
        """Axes of the map that move fields together, and the input's axes along which they do.

        Returns:
            For each group its axes of the map, and for each axis of the input its number, the
            reach along it and its size. Those that nothing moves have groups of their own.
        """
        extents = self.extents
        groups: list[tuple[set[int], list[tuple[int, Reach, int]]]] = []
        for place, (reach, extent) in enumerate(zip(reaches, extents, strict=True)):
            moved = self._moved_axes(reach)
            joined = [group for group in groups if group[0] & moved]
            members = [*(member for group in joined for member in group[1]), (place, reach, extent)]
            groups = [group for group in groups if group not in joined]
            groups.append((set().union(moved, *(group[0] for group in joined)), members))
        return [(sorted(axes), members) for axes, members in groups]

    def _nearest(
        self, axes: Sequence[int], members: Sequence[tuple[int, Reach, int]], middle: Unit
    ) -> dict[int, int]:
        """Indices along `axes` of the unit that is nearest along the input axes of `members`."""
        if not axes:
            return {}
        if len(axes) == len(members) == 1:
            _, line, extent = members[0]
            if isinstance(line, Line) and line.period == 1 and line.step > 0 and not self.grid:
                # Twice the distance from unit 0's centre to the input's, in steps; halves go up.
                twice = extent - line.starts[0] - line.stops[0]
                index = (twice + line.step) // (2 * line.step)
                return {axes[0]: min(max(index, 0), self.sizes[axes[0]] - 1)}
        ranges = [range(self.sizes[axis]) for axis in axes]
        shape = tuple(map(len, ranges))
        distance = np.zeros(shape)
        for _, reach, extent in members:
            starts, stops = self.ends(reach, axes, middle)
            offset = np.where(starts < stops, np.abs(starts + stops - extent), np.inf)
            distance = distance + offset.astype(float) ** 2
        best = distance.min()
        if not math.isfinite(best):
            return {}
        nearest = np.argwhere(distance == best)
        indices = {}
        for place, axis in enumerate(axes):
            equals = sorted(set(nearest[:, place].tolist()))
            indices[axis] = equals[len(equals) // 2]
            nearest = nearest[nearest[:, place] == indices[axis]]
        return indices

    def ends(
        self, reach: Reach, axes: Sequence[int], middle: Unit
    ) -> tuple[np.ndarray, np.ndarray]:
        """Starts and stops of the units along `axes`, the other indices being the middle ones."""
        grids = np.meshgrid(*(np.arange(self.sizes[axis]) for axis in axes), indexing="ij")
        unit: list[Any] = list(middle)
        for axis, indices in zip(axes, grids, strict=True):
            unit[axis] = indices
        return self._hulls(reach, tuple(unit))

    def _hulls(self, reach: Reach, unit: tuple[Any, ...]) -> tuple[Any, Any]:
        """Starts and stops of units whose indices are numbers or arrays of them."""
        places = self.axes
        position = self.position(unit)
        if isinstance(reach, Line):
            if reach.axis is None:
                return reach.starts[0], reach.stops[0]
            if reach.axis in places:
                return reach.at(np.asarray(position[places.index(reach.axis)]))
            # It follows the channels, and the unit has all of them.
            reach = table(reach, self.shape)
        arrays = []
        for array, low in ((reach.starts, True), (reach.stops, False)):
            channels = tuple(axis for axis in range(array.ndim) if axis not in places)
            array = array.min(channels) if low else array.max(channels)
            arrays.append(_chosen(array, position))
        return arrays[0], arrays[1]

    def _interval(self, reach: Reach, unit: Unit) -> Interval:
        start, stop = self._hulls(reach, unit)
        return int(start), int(stop)

    def _moved_axes(self, reach: Reach) -> set[int]:
        """Axes of the map that make a difference to a reach."""
        places = self.axes
        if isinstance(reach, Line):
            moved = {reach.axis} if reach.axis is not None else set()
        else:
            moved = set(reach.axes)
        on_map = {places.index(axis) for axis in moved if axis in places}
        # Along a row of tokens one input axis follows the rows, another one the columns.
        return set(range(len(self.sizes))) if self.grid and on_map else on_map


def _chosen(array: np.ndarray, position: Sequence[Any]) -> Any:
    """Entries at `position`, numbers or arrays; an axis of length 1 stands for all of it."""
    index = tuple(
        place if size > 1 else np.zeros_like(place)
        for place, size in zip(position, array.shape, strict=True)
    )
    return array[index]
