"""Fields along one axis, against literal sets of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from keras_erf.algebra.geometry import Blocks, Relation, Window
from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.intervals import NOTHING, Line, Reach, Table, simplified, table, united
from keras_erf.algebra.strides import even_step, repeated

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

from tests.relations import blocks, marks, ranges, reached, windows

Hull = tuple[int, int] | None
# Units inside a tensor and in the padding around it.
UNITS = range(-7, 15)


def hull(pixels: Iterable[int]) -> Hull:
    """The smallest interval of some pixels, `None` of none."""
    inside = set(pixels)
    return (min(inside), max(inside) + 1) if inside else None


def hulls(starts: np.ndarray, stops: np.ndarray) -> list[Hull]:
    """The library's hulls, flattened, in the same spelling."""
    pairs = zip(np.ravel(starts).tolist(), np.ravel(stops).tolist(), strict=True)
    return [(start, stop) if start < stop else None for start, stop in pairs]


def field(line: Line, unit: int) -> set[int]:
    """Pixels of a line's unit, by the definition."""
    turn, phase = divmod(unit, len(line.starts))
    moved = turn * line.step
    return set(range(line.starts[phase] + moved, line.stops[phase] + moved))


@st.composite
def lines(draw: Any, axis: int | None = 0) -> Line:
    """A line of up to three phases, some of them empty, which may move backwards."""
    period = 1 if axis is None else draw(st.integers(1, 3))
    step = 0 if axis is None else draw(st.integers(-4, 6))
    starts = [draw(st.integers(-5, 5)) for _ in range(period)]
    stops = [start + draw(st.integers(0, 4)) for start in starts]
    pairs = [pair if pair[0] < pair[1] else NOTHING for pair in zip(starts, stops, strict=True)]
    return Line(axis, *map(tuple, zip(*pairs, strict=True)), step, draw(st.booleans()))


@st.composite
def tables(draw: Any, shape: Sequence[int]) -> Table:
    """A table of short fields, some of them empty, without some of the axes."""
    own = tuple(size if draw(st.integers(0, 3)) else 1 for size in shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    starts = rng.integers(-4, 9, own)
    stops = starts + rng.integers(0, 4, own)
    empty = starts == stops
    starts, stops = np.where(empty, NOTHING[0], starts), np.where(empty, NOTHING[1], stops)
    return Table(starts, stops, Fraction(1), draw(st.booleans()))


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def entry(one: Table, index: Sequence[int]) -> set[int]:
    """Pixels of a table's unit."""
    place = tuple(at if size > 1 else 0 for at, size in zip(index, one.starts.shape, strict=True))
    return set(range(int(one.starts[place]), int(one.stops[place])))


# --- Lines ---------------------------------------------------------------------------------------


@hypothesis.given(lines())
def test_a_line_at_its_units(line):
    starts, stops = line.at(np.array(UNITS))
    assert hulls(starts, stops) == [hull(field(line, unit)) for unit in UNITS]
    # What is empty stays so wherever it is moved.
    empty = starts >= stops
    assert set(zip(starts[empty].tolist(), stops[empty].tolist(), strict=True)) <= {NOTHING}
    assert line.empty == any(not field(line, unit) for unit in range(line.period))


@hypothesis.given(lines(), windows() | blocks, st.integers(0, 2))
def test_a_line_after_a_relation(line, relation, axis):
    after = line.after(relation, axis)
    expected = [
        hull(set().union(*(field(line, one) for one in reached(relation, unit)))) for unit in UNITS
    ]
    assert hulls(*after.at(np.array(UNITS))) == expected
    assert (after.axis, after.gathered) == (axis, line.gathered)
    assert after.stride == line.stride * relation.ratio


@hypothesis.given(st.lists(windows() | blocks, min_size=1, max_size=4))
def test_relations_composed_from_the_input_on(relations):
    line = Line(0, (0,), (1,), 1)
    seen: Callable[[int], set[int]] = lambda unit: {unit}  # noqa: E731
    for relation in relations:
        line = line.after(relation, 0)
        before = seen
        seen = lambda unit, r=relation, b=before: set().union(*map(b, reached(r, unit)))  # noqa: E731
    units = range(-3, 8)
    assert hulls(*line.at(np.array(units))) == [hull(seen(unit)) for unit in units]
    assert line.stride == np.prod([relation.ratio for relation in relations])


def test_holes_of_an_up_sampling_stay_and_are_closed():
    # A kernel of 1 with stride 3: two units of three fall between the pixels.
    line = Line(0, (0,), (1,), 1).after(Window(up=3), 0)
    assert hulls(*line.at(np.arange(6))) == [(0, 1), None, None, (1, 2), None, None]
    assert line.empty
    # Every third of them is never empty; a window of 3 closes the holes.
    assert line.after(Window(stride=3), 0).at(np.arange(2))[0].tolist() == [0, 1]
    assert not line.after(Window(3), 0).empty
    # Two of three holes are picked, forever.
    assert line.after(Window(stride=3, padding=-1), 0).empty
    strided = line.after(Window(stride=2), 0)
    assert (strided.period, strided.step) == (3, 2)
    assert hulls(*strided.at(np.arange(4))) == [(0, 1), None, None, (2, 3)]


@hypothesis.given(lines() | lines(axis=None), st.integers(1, 7))
def test_a_whole_line_is_what_all_units_see(line, size):
    whole = line.whole(size)
    seen = set().union(*(field(line, unit) for unit in range(size)))
    assert hulls(np.array(whole.starts), np.array(whole.stops)) == [hull(seen)]
    assert (whole.axis, whole.step) == (None, 0)
    assert whole.gathered == (line.gathered or (line.axis is not None and size > 1))


# --- Tables --------------------------------------------------------------------------------------


@hypothesis.given(lines(axis=1) | lines(axis=None))
def test_a_line_as_a_table(line):
    made = table(line, (2, 5, 3))
    for index in np.ndindex(2, 5, 3):
        assert entry(made, index) == field(line, 0 if line.axis is None else index[1])
    assert made.axes == (() if line.axis is None else (1,))
    assert (made.stride, made.gathered) == (line.stride, line.gathered)
    assert table(made, (2, 5, 3)) is made


@hypothesis.given(st.data(), shapes)
def test_a_table_after_a_relation(data, shape):
    axis = data.draw(st.integers(0, len(shape) - 1))
    before = data.draw(tables(shape))
    size = before.starts.shape[axis]
    outputs = data.draw(st.integers(1, 6))
    relation: Relation = data.draw(
        windows() | blocks | ranges(outputs, size) | marks(outputs, size)
    )
    after = before.after(relation, axis, outputs)
    made = [outputs if one == axis else n for one, n in enumerate(before.starts.shape)]
    assert after.starts.shape == after.stops.shape == tuple(made)
    for index in np.ndindex(*made):
        # Around a tensor with a table there is nothing.
        sources = [one for one in reached(relation, index[axis]) if 0 <= one < size]
        seen = (entry(before, (*index[:axis], one, *index[axis + 1 :])) for one in sources)
        assert hull(entry(after, index)) == hull(set().union(*seen))
    # Ranges and marks repeat by no rule: what was a line is none behind them.
    stride = None if relation.period is None else before.stride * relation.ratio
    assert (after.stride, after.gathered) == (stride, before.gathered)


@hypothesis.given(st.data(), shapes)
def test_a_whole_table_is_what_all_units_of_an_axis_see(data, shape):
    axis = data.draw(st.integers(0, len(shape) - 1))
    before = data.draw(tables(shape))
    after = before.whole(axis)
    assert after.starts.shape[axis] == 1
    for index in np.ndindex(*after.starts.shape):
        seen = (entry(before, (*index[:axis], n, *index[axis + 1 :])) for n in range(shape[axis]))
        assert hull(entry(after, index)) == hull(set().union(*seen))
    assert after.gathered == (before.gathered or before.starts.shape[axis] > 1)


@hypothesis.given(st.data(), shapes)
def test_a_transposed_table(data, shape):
    before = data.draw(tables(shape))
    rank = data.draw(st.integers(len(before.axes), 4))
    order = data.draw(st.permutations(range(rank)))
    # Axes that make no difference may be dropped, as long as there are places left.
    places = dict(zip(before.axes, order, strict=False))
    axes = tuple(places.get(axis) for axis in range(len(shape)))
    after = before.transposed(axes, rank)
    assert after.starts.ndim == rank
    for index in np.ndindex(*before.starts.shape):
        moved = [0] * rank
        for axis, place in places.items():
            moved[place] = index[axis]
        assert entry(after, moved) == entry(before, index)
    assert after.starts.size == before.starts.size


@hypothesis.given(st.data(), shapes)
def test_a_simplified_table_says_the_same(data, shape):
    before = data.draw(tables(shape))
    after = table(simplified(before), shape)
    for index in np.ndindex(*shape):
        assert hull(entry(after, index)) == hull(entry(before, index))
    assert after.gathered == before.gathered


@hypothesis.given(lines(), st.integers(1, 2))
def test_fields_that_move_evenly_are_simplified_to_a_line(line, axis):
    # Three turns leave no doubt.
    shape = (2, 3 * line.period + 1) if axis == 1 else (2, 1, 3 * line.period + 1)
    moved = Line(axis, line.starts, line.stops, line.step, line.gathered)
    starts, _ = moved.at(np.arange(3 * line.period + 1))
    steps = np.diff(starts[starts < NOTHING[0]])
    hypothesis.assume(line.period == 1 or (steps >= 0).all() or (steps <= 0).all())
    found = simplified(table(moved, shape))
    assert isinstance(found, Line)
    units = np.array(UNITS)
    if found.axis is None:
        assert len(set(hulls(*moved.at(np.arange(3 * line.period + 1))))) == 1
    else:
        assert found.axis == axis
        assert hulls(*found.at(units)) == hulls(*moved.at(units))


def test_fields_that_do_not_move_evenly_stay_a_table():
    starts = np.array([[0, 1, 2, 4, 5]])
    assert isinstance(simplified(Table(starts, starts + 1, Fraction(1))), Table)
    # Nor do the columns of a map in a row of tokens: next to it there are no more of them.
    starts = np.tile([0, 4, 8], 4)
    assert isinstance(simplified(Table(starts, starts + 4, Fraction(1))), Table)
    # Rows go on.
    rows = simplified(Table(np.repeat(starts[:3], 3), np.repeat(starts[:3], 3) + 4, Fraction(1)))
    assert rows == Line(0, (0, 0, 0), (4, 4, 4), 4)
    # Nor do fields that move along two axes.
    starts = np.arange(6).reshape(2, 3)
    assert isinstance(simplified(Table(starts, starts + 1, Fraction(1))), Table)


# --- Several paths -------------------------------------------------------------------------------


def literal(path: Sequence[Reach], shape: Sequence[int], index: Sequence[int]) -> list[set[int]]:
    """Pixels of a path's unit along each input axis: none if it sees none along one of them."""
    seen = [entry(table(reach, shape), index) for reach in path]
    return seen if all(seen) else [set() for _ in seen]


def assert_united(paths: Sequence[Sequence[Reach]], shape: Sequence[int], sizes: Any) -> None:
    found = united(paths, shape, sizes)
    for index in np.ndindex(*shape):
        parts = [literal(path, shape, index) for path in paths]
        expected = [hull(set().union(*axis)) for axis in zip(*parts, strict=True)]
        made = [hull(entry(table(reach, shape), index)) for reach in found]
        # Along axes on which all paths agree the emptiness of others is not repeated.
        assert (None in made) == (None in expected)
        assert None in made or made == expected


@st.composite
def reaches(draw: Any, shape: Sequence[int]) -> Reach:
    axis = draw(st.sampled_from([None, *range(len(shape))]))
    made = draw(lines(axis) | tables(shape))
    # Whole inputs are a case of their own.
    if isinstance(made, Line):
        return Line(made.axis, made.starts, made.stops, made.step)
    return made


@hypothesis.given(st.data())
def test_paths_are_united_unit_by_unit(data):
    shape = data.draw(st.sampled_from([(6,), (4, 3), (5, 1), (2, 3, 2)]))
    rank = data.draw(st.integers(1, 2))
    count = data.draw(st.integers(1, 3))
    paths = [tuple(data.draw(reaches(shape)) for _ in range(rank)) for _ in range(count)]
    assert_united(paths, shape, (50,) * rank)


def moved(*relations: Relation, axis: int = 0) -> Line:
    line = Line(axis, (0,), (1,), 1)
    for relation in relations:
        line = line.after(relation, axis)
    return line


def test_misaligned_paths_of_one_stride():
    left, right = moved(Window(3, 2, padding=3)), moved(Window(2, 2, padding=-1))
    (found,) = united([(left,), (right,)], (5,), (12,))
    assert found == Line(0, (-3,), (3,), 2)
    # Two phases and three: after six units all have moved by six halves and thirds alike.
    slow, fast = moved(Window(2, up=2)), moved(Window(up=2, padding=-1))
    (found,) = united([(slow,), (fast,)], (5,), (12,))
    assert isinstance(found, Line)
    assert (found.period, found.stride) == (2, Fraction(1, 2))
    assert_united([(slow,), (fast,)], (9,), (12,))


def test_paths_of_different_stride_make_a_table():
    slow, fast = moved(), moved(Window(stride=3))
    (found,) = united([(slow,), (fast,)], (5,), (20,))
    assert isinstance(found, Table)
    assert (found.starts.tolist(), found.stops.tolist()) == ([0, 1, 2, 3, 4], [1, 4, 7, 10, 13])
    assert found.stride is None


def test_a_path_that_is_empty_along_one_axis_adds_nothing_along_the_others():
    # Odd rows of the first path fall between the pixels; its columns reach far.
    holes, far = moved(Window(up=2)), moved(Window(9, padding=4), axis=1)
    near = (moved(Window(2, up=2)), moved(axis=1))
    rows, columns = united([(holes, far), near], (4, 4), (2, 4))
    for row, column in itertools.product(range(4), range(4)):
        expected = (column - 4, column + 5) if row % 2 == 0 else (column, column + 1)
        assert hull(entry(table(columns, (4, 4)), (row, column))) == expected
    assert_united([(holes, far), near], (4, 4), (2, 4))
    assert not rows.empty
    # Without the other path, odd rows see nothing.
    assert_united([(holes, far)], (4, 4), (2, 4))


def test_next_to_the_whole_input_padding_does_not_count():
    whole, wide = moved().whole(8), moved(Window(5, padding=2))
    (found,) = united([(whole,), (wide,)], (8,), (8,))
    assert found == Line(None, (0,), (8,), 0, True)
    # Half of the input is not the whole of it.
    (found,) = united([(moved().whole(4),), (wide,)], (8,), (8,))
    made = table(found, (8,))
    assert hulls(made.starts, made.stops)[:3] == [(-2, 4), (-1, 4), (0, 5)]


def test_equal_paths_are_one():
    line = moved(Blocks(2, 3))
    assert united([(line, line), (line, line)], (4,), (9, 9)) == (line, line)


def test_entries_keep_their_places_on_the_line_they_come_from():
    # Six pixels in twos: a row of tokens, then the token before them.
    line = moved(Window(2, 2)).after(Window(up=3, size=3, padding=0), 0)
    rows = IndexedView(np.arange(6 * 4).reshape(24, 1), (6, 4, 1)).follow(line, (24, 1), (6, 4, 1))
    assert isinstance(rows, Table)
    assert rows.stride == Fraction(2, 3)
    assert rows.places.ravel().tolist() == np.repeat(np.arange(6), 4).tolist()
    behind = rows.after(Window(padding=1), 0, 25)
    assert behind.stride == rows.stride
    assert behind.places.ravel()[1:].tolist() == rows.places.ravel().tolist()
    # A window over several of them is of no line.
    assert rows.after(Window(3, padding=1), 0, 24).stride is None


@pytest.mark.parametrize(
    ("starts", "extent", "expected"),
    [
        ([0, 2, 4, 6], 9, 2),
        ([6, 4, 2, 0], 9, -2),
        ([0, 0, 1, 1, 2, 2], 9, Fraction(1, 2)),
        ([0, 1, 1, 3, 4, 4], 9, 1),
        # Cut at both edges; what lies inside moves evenly.
        ([0, 0, 1, 2, 3, 4, 4], 5, 1),
        # Two grids, one behind the other; columns that turn back; a choice; a standstill.
        ([0, 2, 4, 6, 0, 4, 8], 9, None),
        ([0, 1, 2, 0, 1, 2], 9, None),
        ([0, 4, 5], 9, None),
        ([3, 3, 3, 3], 9, None),
        # The nearest of 5 pixels for each of 7: 2/3 seems to repeat.
        ([0, 1, 1, 2, 3, 3, 4], 9, None),
        ([0, 1, 1, 2, 3, 3, 4, 5, 5], 9, Fraction(2, 3)),
    ],
)
def test_what_moves_evenly(starts, extent, expected):
    ends = np.array(starts)
    assert even_step(ends, ends + 1, extent) == expected


def test_a_fraction_is_no_stride_until_it_comes_round():
    assert [repeated(Fraction(5, 7), count) for count in (7, 13, 14)] == [False, False, True]
    assert all(repeated(Fraction(one), 2) for one in ("3", "-1", "1/8"))
