"""The units of one layer's map: what each sees, and which is the centre one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.geometry import Box
from keras_erf.tracing import Course, Seen, Tracing

__all__ = ["UnitTracer"]

Unit = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class UnitTracer:
    """Answers for the units of one tensor; see `geometry.Tracer`."""

    tracing: Tracing = field(repr=False)
    tensor: int
    through_global: bool

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.tracing.graph.tensors[self.tensor].name

    def trace(self, unit: Unit) -> tuple[Seen, str]:
        """What a unit inside the map sees, and the status of that."""
        tracing = self.tracing
        seen = tracing.see(self.tensor, unit, through_global=self.through_global)
        if seen is None:
            how = "" if self.through_global else " without the layers that gather the whole space"
            raise InvalidInputError(
                f"`unit` {unit} of layer {self.name!r} sees nothing of the input{how}. Choose "
                f"another unit or layer. Received: through_global={self.through_global}"
            )
        entire = tuple((0, size) for size in tracing.spatial_shape(tracing.input))
        full = [a <= 0 and b >= size for (a, b), (_, size) in zip(seen.box, entire, strict=True)]
        if seen.gathered and all(full):
            return replace(seen, box=entire), "whole"
        # What a layer takes in whole has no padding around it.
        box = tuple(
            entire[place] if full[place] and axis in seen.gathered else seen.box[place]
            for place, axis in enumerate(tracing.input_axes)
        )
        return replace(seen, box=box), "exact"

    def box(self, unit: Unit) -> Box:
        """Unclipped box of what the unit sees."""
        return self.trace(self.checked(unit))[0].box

    def visible(self, unit: Unit) -> Box:
        """Tight box of the pixels the unit really sees."""
        support = self.support(unit)
        lines = (
            np.flatnonzero(support.any(axis=tuple(set(range(support.ndim)) - {axis})))
            for axis in range(support.ndim)
        )
        return tuple((int(line[0]), int(line[-1]) + 1) if line.size else (0, 0) for line in lines)

    def support(self, unit: Unit) -> np.ndarray:
        """Boolean mask over the input of the pixels the unit really sees."""
        return self.tracing.mask(
            self.tensor, self.checked(unit), through_global=self.through_global
        )

    def checked(self, unit: Any) -> Unit:
        """`unit` as a tuple of ints inside the map.

        Raises:
            InvalidInputError: It is not.
        """
        sizes = self.tracing.spatial_shape(self.tensor)
        given = unit if isinstance(unit, (tuple, list)) else (unit,)
        if len(given) != len(sizes) or not all(
            isinstance(index, (int, np.integer)) and 0 <= index < size
            for index, size in zip(given, sizes, strict=True)
        ):
            raise InvalidInputError(
                "`unit` must be 'center' or an index for each axis, inside the map of layer "
                f"{self.name!r}, whose shape is {sizes}. Received: unit={unit!r}"
            )
        return tuple(int(index) for index in given)

    def center_unit(self) -> Unit:
        """The unit whose field's centre is nearest the input's.

        Of two as near it is the later one; of more, which up-sampling makes, the
        middle one. Local paths decide: a unit that sees everything is centred wherever it is.
        """
        tracing = self.tracing
        sizes = tracing.spatial_shape(self.tensor)
        axes = tracing.spatial_axes(self.tensor)
        courses = tracing.follows(self.tensor)
        moves = [  # Place in the unit, place in the input, course.
            (axes.index(courses[axis].axis), place, courses[axis])
            for place, axis in enumerate(tracing.input_axes)
            if axis in courses and courses[axis].axis in axes
        ]
        # A field moves by its stride, so one jump leads there; the second allows for clipping.
        unit = self._seeing([size // 2 for size in sizes], moves)
        for _ in range(2):
            found = self._offsets(unit)
            if found is None:
                break
            for place, axis, course in moves:
                steps = math.ceil(Fraction(found[axis]) / (2 * course.stride) - Fraction(1, 2))
                unit[place] = min(max(unit[place] - steps, 0), sizes[place] - 1)
            unit = self._seeing(unit, moves)
        # Where fields do not move evenly, one that is near may be nearer.
        for place, axis, course in moves:
            around = _around(course, unit[place], sizes[place])
            nearest: dict[int, list[int]] = {}
            for index in around if len(around) > 1 else ():
                found = self._offsets([*unit[:place], index, *unit[place + 1 :]])
                if found is not None:
                    nearest.setdefault(abs(found[axis]), []).append(index)
            if nearest:
                equals = nearest[min(nearest)]
                unit[place] = equals[len(equals) // 2]
        return tuple(unit)

    def _offsets(self, unit: Sequence[int]) -> list[int] | None:
        """Twice the distance of the field's centre from the input's, per input axis."""
        seen = self.tracing.see(self.tensor, tuple(unit), through_global=False)
        if seen is None:
            return None
        extents = self.tracing.spatial_shape(self.tracing.input)
        return [a + b - size for (a, b), size in zip(seen.box, extents, strict=True)]

    def _seeing(self, unit: list[int], moves: Iterable[tuple[int, int, Course]]) -> list[int]:
        """The unit, or the nearest around it that sees anything; up-sampling may leave holes."""
        if self._offsets(unit) is not None:
            return unit
        sizes = self.tracing.spatial_shape(self.tensor)
        around = [range(index, index + 1) for index in unit]
        for place, _, course in moves:
            around[place] = _around(course, unit[place], sizes[place])
        near = sorted(itertools.product(*around), key=lambda one: math.dist(one, unit))
        return list(next((one for one in near if self._offsets(one) is not None), unit))


def _around(course: Course, index: int, size: int) -> range:
    """The indices among which the best is sought, near one that is about right."""
    if not course.steady:
        return range(size)
    # Fields repeat after a period: those as near as the best are within two.
    reach = 0 if course.period == 1 else 2 * course.period
    return range(max(index - reach, 0), min(index + reach + 1, size))
