"""Fields of whole networks against brute force, unit by unit."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from keras_erf import receptive_field
from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.errors import InvalidInputError
from tests import jacobian
from tests.cases import Case, model_of
from tests.ruling import box_of


@dataclass(frozen=True)
class Solved:
    """A network, by the library and by brute force.

    Args:
        center: Field of the centre unit.
        local: The same of the local paths; `None` where there are none.
        boxes: Box of every unit, `None` where it sees nothing.
        supports: Mask of every unit, by brute force.
        fields: Fields of a few more units.
        even: As in `Case`.
    """

    center: ReceptiveField
    local: ReceptiveField | None
    boxes: dict[tuple[int, ...], Box | None]
    supports: dict[tuple[int, ...], np.ndarray]
    fields: dict[tuple[int, ...], ReceptiveField]
    even: bool


def solve(case: Case) -> Solved:
    """The case by the library and by brute force."""
    with jacobian.precision(case.dtype):
        model = jacobian.make_positive(model_of(case))
        shape = np.delete(model.output_shape, [0, case.channels[1]])
        units = jacobian.units_of(shape)
        seen = jacobian.supports(
            model,
            units,
            channels=case.channels,
            draws=case.draws,
            tolerance=case.tolerance,
            compiled=case.compiled,
        )
        center = receptive_field(model, model.output)
        local = None
        with contextlib.suppress(InvalidInputError):
            local = receptive_field(model, model.output, through_global=False)
        boxes = {unit: box_of(center, unit) for unit in units}
        few = [unit for unit in jacobian.some_units(shape, count=1) if boxes[unit]]
        return Solved(
            center=center,
            local=local,
            boxes=boxes,
            supports=dict(zip(units, seen, strict=True)),
            fields={unit: receptive_field(model, model.output, unit=unit) for unit in few},
            even=case.even,
        )


def check_support(one: Solved) -> None:
    """The mask is the Jacobian's."""
    for unit, expected in one.supports.items():
        found = one.center.support(unit)
        np.testing.assert_array_equal(found, expected, err_msg=f"unit {unit}")


def check_visible(one: Solved) -> None:
    """The visible box is the bounding box of what has a gradient."""
    for unit, expected in one.supports.items():
        assert one.center.visible(unit) == jacobian.bounding_box(expected), unit


def check_box(one: Solved) -> None:
    """The box holds what is seen, and there is none where nothing is."""
    for unit, box in one.boxes.items():
        if not one.supports[unit].any():
            continue
        assert box is not None, unit
        seen = jacobian.bounding_box(one.supports[unit])
        for (start, stop), (first, last) in zip(box, seen, strict=True):
            assert start <= first, unit
            assert last <= stop, unit


def check_tight(one: Solved) -> None:
    """A box inside the input has nothing to spare; beyond the edges it may see nothing."""
    sizes = one.center.input_size
    for unit, box in one.boxes.items():
        if box and all(a >= 0 and b <= size for (a, b), size in zip(box, sizes, strict=True)):
            assert box == jacobian.bounding_box(one.supports[unit]), unit


def check_figures(one: Solved) -> None:
    """Unit u covers `size` pixels from `-padding + u stride` on."""
    for unit, field in one.fields.items():
        box = one.boxes[unit]
        assert box is not None
        assert field.unit == unit
        assert field.size == tuple(stop - start for start, stop in box)
        assert field.center() == tuple((start + stop - 1) / 2 for start, stop in box)
        assert field.stride == one.center.stride
        if not one.even:
            continue
        for axis, step in enumerate(field.stride):
            if step is None:
                continue
            stride = Fraction(step)
            # As many units on as move the field by whole pixels.
            later = tuple(u + (a == axis) * stride.denominator for a, u in enumerate(unit))
            if later in one.boxes:
                moved = tuple(end + stride.numerator for end in box[axis])
                assert one.boxes[later] == (*box[:axis], moved, *box[axis + 1 :])
            if stride.denominator == 1:
                start = unit[axis] * stride - one.center.padding[axis]
                assert box[axis] == (start, start + one.center.size[axis])
                assert field.padding[axis] == one.center.padding[axis]


def check_center(one: Solved) -> None:
    """`"center"` is the unit whose local field's centre is nearest; of equals the middle one."""
    if one.local is None:
        assert one.center.unit == tuple(size // 2 for size in one.center.output_size)
        return
    distances = {}
    for unit in one.boxes:
        box = box_of(one.local, unit)
        if box is not None:
            pairs = zip(box, one.local.input_size, strict=True)
            distances[unit] = tuple(abs(start + stop - size) for (start, stop), size in pairs)
    best = tuple(min(axis) for axis in zip(*distances.values(), strict=True))
    assert one.center.unit == one.local.unit
    assert distances[one.center.unit] == best
    if one.even:
        equals = [unit for unit in distances if distances[unit] == best]
        places = [sorted(set(axis)) for axis in zip(*equals, strict=True)]
        # Of two the later.
        assert one.center.unit == tuple(place[len(place) // 2] for place in places)


PROPERTIES = [check_support, check_visible, check_box, check_tight, check_figures, check_center]
