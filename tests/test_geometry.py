"""The integer algebra, against literal enumeration of what it stands for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from keras_erf.algebra.geometry import (
    Blocks,
    Marks,
    Ranges,
    ReceptiveField,
    Relation,
    Window,
    bounding_box,
    index_within,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

from tests.relations import blocks, marks, ranges, reached, seen_of, sees, windows

# --- What the relations say of themselves --------------------------------------------------------


def counted(relation: Relation, outputs: list[int]) -> list[set[int]]:
    """The taps that count, as sets."""
    positions, count = relation.taps(np.array(outputs))
    assert positions.shape == count.shape
    assert len(positions) == len(outputs)
    return [set(row[mask].tolist()) for row, mask in zip(positions, count, strict=True)]


anywhere = st.lists(st.integers(-9, 14), min_size=1, max_size=6)


@hypothesis.given(windows() | blocks, anywhere)
def test_taps_are_the_relation_anywhere(relation, outputs):
    seen = [set(seen_of(relation, o)) for o in outputs]
    assert counted(relation, outputs) == seen
    assert [reached(relation, o) for o in outputs] == seen


@hypothesis.given(ranges() | marks(), anywhere)
def test_taps_of_a_list_are_what_it_lists(relation, outputs):
    # Outputs that are not on the list see nothing.
    assert counted(relation, outputs) == [set(seen_of(relation, o)) for o in outputs]


@pytest.mark.parametrize(
    ("window", "output", "expected"),
    [
        # Dilation 2 over inputs 2 apart: every tap of an odd position falls between them.
        (Window(size=3, dilation=2, up=2), 0, {0, 1, 2}),
        (Window(size=3, dilation=2, up=2), 1, set()),
        # Taps at 0, 3 and 6 over inputs 2 apart: the middle one sees nothing, or alone something.
        (Window(size=3, dilation=3, up=2), 0, {0, 3}),
        (Window(size=3, dilation=3, up=2), 1, {2}),
        # A transposed convolution whose kernel is smaller than its stride.
        (Window(size=2, up=3), 0, {0}),
        (Window(size=2, up=3), 1, set()),
    ],
)
def test_holes_between_up_sampled_inputs(window, output, expected):
    assert counted(window, [output]) == [expected]


def test_one_run_may_be_empty_and_others_not():
    relation = Ranges(starts=(2, 5, 0), stops=(4, 5, 1))
    assert counted(relation, [0, 1, 2]) == [{2, 3}, set(), {0}]
    assert counted(Ranges((3,), (3,)), [0]) == [set()]


@hypothesis.given(windows(), st.integers(0, 14), st.lists(st.booleans(), min_size=1, max_size=12))
def test_backward_marks_the_relation(window, size, outputs):
    outputs = np.array(outputs)
    expected = [any(sees(window, o, i) for o in np.flatnonzero(outputs)) for i in range(size)]
    np.testing.assert_array_equal(window.backward(outputs, size), expected)


def extent(relation: Relation, count: int) -> tuple[int, int]:
    """Sizes of the output and the input axis of a relation that has its own."""
    if isinstance(relation, Blocks):
        return count * relation.outputs, count * relation.inputs
    if isinstance(relation, Ranges):
        return len(relation.starts), max(*relation.stops, count)
    assert isinstance(relation, Marks)
    return relation.table.shape


@hypothesis.given(blocks | ranges() | marks(), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_backward_of_a_relation_of_given_sizes_marks_it(relation, count, seed):
    outputs, size = extent(relation, count)
    seen = np.random.default_rng(seed).random(outputs) < 0.4
    expected = [any(sees(relation, o, i) for o in np.flatnonzero(seen)) for i in range(size)]
    found = relation.backward(seen, size)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)


@hypothesis.given(windows() | blocks | ranges() | marks(), st.integers(0, 2**32 - 1))
def test_backward_treats_the_other_axes_one_by_one(relation, seed):
    outputs, size = (7, 9) if isinstance(relation, Window) else extent(relation, 2)
    seen = np.random.default_rng(seed).random((outputs, 2, 3)) < 0.3
    together = relation.backward(seen, size)
    assert together.shape == (size, 2, 3)
    for place in np.ndindex(2, 3):
        alone = relation.backward(seen[(slice(None), *place)], size)
        np.testing.assert_array_equal(together[(slice(None), *place)], alone)


@hypothesis.given(windows() | blocks, st.integers(-5, 5))
def test_ratio_and_period_are_the_speed_of_the_relation(relation, output):
    # A period on, the relation has moved by a whole number of inputs.
    moved = relation.ratio * relation.period
    assert moved.denominator == 1
    later = seen_of(relation, output + relation.period)
    assert later == [i + moved for i in seen_of(relation, output)]


def test_ratio_and_period_by_hand():
    for relation, ratio, period in [
        (Window(stride=3), Fraction(3), 1),
        (Window(size=2, up=4), Fraction(1, 4), 4),
        (Blocks(outputs=3, inputs=2), Fraction(2, 3), 3),
        (Ranges((0, 1), (1, 2), Fraction(2)), Fraction(2), None),
        (Ranges((0,), (1,)), Fraction(1), None),
        (Marks(np.ones((4, 6), dtype=bool)), Fraction(3, 2), None),
    ]:
        assert (relation.ratio, relation.period) == (ratio, period)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"stride": 0}, {"dilation": -1}, {"up": 0}, {"stride": 2, "up": 2}]
)
def test_an_impossible_window_is_refused(wrong):
    with pytest.raises(ValueError, match="Window"):
        Window(**wrong)


# --- Boxes and indices ---------------------------------------------------------------------------


@hypothesis.given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.05, 0.3, 1.0]),
)
def test_the_bounding_box_ends_at_the_outermost_marks(shape, seed, density):
    mask = np.random.default_rng(seed).random(shape) < density
    places = np.argwhere(mask)
    if len(places):
        expected = zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
    else:
        expected = [(0, 0)] * len(shape)
    found = bounding_box(mask)
    assert found == tuple(expected)
    assert all(type(one) is int for ends in found for one in ends)


@pytest.mark.parametrize(
    ("index", "sizes", "expected"),
    [
        ((0, 4), (3, 5), (0, 4)),
        ([2, 0], (3, 5), (2, 0)),
        (2, (3,), (2,)),
        (np.int64(2), (3,), (2,)),
        ((), (), ()),
        # One for each axis.
        ((0,), (3, 5), None),
        ((0, 0, 0), (3, 5), None),
        # Inside of each, and whole numbers.
        ((3, 0), (3, 5), None),
        ((0, -1), (3, 5), None),
        ((0, 5), (3, 5), None),
        ((True, 0), (3, 5), None),
        ((0, 1.0), (3, 5), None),
        (np.array([2, 4]), (3, 5), (2, 4)),
        (np.array([2, 4], np.uint8), (3, 5), (2, 4)),
        ([np.int32(2), np.int64(4)], (3, 5), (2, 4)),
        (range(1, 3), (3, 5), (1, 2)),
        (np.array(2), (3,), (2,)),
        (np.array([2.0, 4.0]), (3, 5), None),
        (np.array([True, False]), (3, 5), None),
        (np.array([[2, 4]]), (3, 5), None),
        (np.array([2, 4, 1]), (3, 5), None),
        (np.array([3, 4]), (3, 5), None),
        ("ab", (3, 5), None),
        (None, (3,), None),
    ],
)
def test_an_index_is_as_many_whole_numbers_each_inside_its_axis(index, sizes, expected):
    found = index_within(index, sizes)
    assert found == expected
    assert found is None or all(type(one) is int for one in found)


# --- The field -----------------------------------------------------------------------------------


class Shifted:
    """A tracer of 3-pixel fields with stride 2."""

    def box(self, unit):
        return tuple((2 * index - 1, 2 * index + 2) for index in unit)

    def visible(self, unit):
        return tuple((max(start, 0), stop) for start, stop in self.box(unit))

    def support(self, unit):
        mask = np.zeros((9, 9), dtype=bool)
        mask[tuple(slice(*one) for one in self.visible(unit))] = True
        return mask


class Wider(Shifted):
    """The same with fields of 4 pixels."""

    def box(self, unit):
        return tuple((2 * index - 1, 2 * index + 3) for index in unit)


def field_of(tracer: Shifted) -> ReceptiveField:
    return ReceptiveField(
        layer="conv",
        input="image",
        unit=(2, 0),
        input_size=(9, 9),
        output_size=(5, 5),
        size=(3, 3),
        stride=(2, 2),
        padding=(1, 1),
        status="exact",
        tracer=tracer,
    )


def test_receptive_field_answers_for_its_unit_and_for_others():
    field = field_of(Shifted())
    assert field.box() == ((3, 6), (-1, 2))
    assert field.box((0, 4)) == ((-1, 2), (7, 10))
    assert field.center() == (4.0, 0.0)
    assert field.center((1, 1)) == (2.0, 2.0)
    assert field.visible() == ((3, 6), (0, 2))
    assert field.visible((0, 0)) == ((0, 2), (0, 2))
    assert field.support().sum() == 6
    assert field.support((2, 2)).sum() == 9
    assert "Shifted" not in repr(field)


def test_the_centre_of_an_even_field_lies_between_pixels():
    # Pixels 3 to 6, and -1 to 2.
    assert field_of(Wider()).center() == (4.5, 0.5)


def test_fields_are_equal_whoever_answers_for_them():
    assert field_of(Shifted()) == field_of(Wider())
