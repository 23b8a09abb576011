"""How an input is seen by an output, against matrices with an entry for each pair of elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from keras_erf.algebra.geometry import Marks, Ranges, Window
from keras_erf.algebra.indexing import IndexedView, rearranged
from keras_erf.algebra.intervals import NOTHING, Line, Reach, Table, table
from keras_erf.algebra.views import AnyView, Link, View

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

from tests.relations import blocks, marks, ranges, reached, sees, windows

Shape = tuple[int, ...]


@st.composite
def views(draw: Any) -> tuple[View, Shape, Shape]:
    """A view of random links, with the shapes of its output and its input."""
    output_rank, rank = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    order = draw(st.permutations(range(output_rank)))
    output = [draw(st.integers(1, 5)) for _ in range(output_rank)]
    links, shape = [], []
    for axis in range(rank):
        followed = order[axis] if axis < output_rank and draw(st.integers(0, 3)) else None
        if followed is None:
            links.append(Link(None))
            shape.append(draw(st.integers(1, 4)))
            continue
        kind = draw(st.sampled_from(["window", "blocks", "list"]))
        if kind == "blocks":
            relation, count = draw(blocks), draw(st.integers(1, 2))
            output[followed] = count * relation.outputs
            shape.append(count * relation.inputs)
            links.append(Link(followed, relation))
            continue
        shape.append(draw(st.integers(1, 6)))
        if kind == "window":
            links.append(Link(followed, draw(windows()), clip=draw(st.booleans())))
        else:
            sizes = output[followed], shape[-1]
            links.append(Link(followed, draw(ranges(*sizes) | marks(*sizes))))
    return View(tuple(links)), tuple(output), tuple(shape)


@st.composite
def gathers(draw: Any) -> tuple[IndexedView, Shape, Shape]:
    """A gather of random sources, some of them none, with the same shapes."""
    output = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    indices = rng.integers(-1, np.prod(shape), output)
    return IndexedView(indices, shape), output, shape


def dense(view: AnyView, output: Shape, shape: Shape) -> np.ndarray:
    """The view as a boolean matrix: entry (output element, input element), both flattened."""
    if isinstance(view, IndexedView):
        return view.indices.reshape(-1, 1) == np.arange(np.prod(shape))
    assert isinstance(view, View)
    return np.array(
        [
            [
                all(
                    link.axis is None or sees(link.relation, index[link.axis], position)
                    for link, position in zip(view.links, place, strict=True)
                )
                for place in np.ndindex(*shape)
            ]
            for index in np.ndindex(*output)
        ]
    )


def short(data: Any, shape: Shape) -> Shape:
    """The shape with some of its axes of length 1: masks and tables may be given so."""
    return tuple(1 if data.draw(st.booleans()) else size for size in shape)


# --- Masks ---------------------------------------------------------------------------------------


@hypothesis.given(views() | gathers(), st.integers(0, 2**32 - 1), st.data())
def test_mask_is_the_product_with_the_matrix(case, seed, data):
    view, output, shape = case
    mask = np.random.default_rng(seed).random(short(data, output)) < 0.5
    full = np.broadcast_to(mask, output)
    expected = (full.reshape(-1) @ dense(view, output, shape)).reshape(shape)
    found = view.mask(mask, output, shape)
    assert found.ndim == len(shape)
    np.testing.assert_array_equal(np.broadcast_to(found, shape), expected)


@hypothesis.given(views() | gathers(), st.integers(0, 2**32 - 1), st.data())
def test_spread_is_the_product_with_the_matrix_transposed(case, seed, data):
    view, output, shape = case
    marked = np.random.default_rng(seed).random(short(data, shape)) < 0.5
    full = np.broadcast_to(marked, shape)
    expected = (dense(view, output, shape) @ full.reshape(-1)).reshape(output)
    found = view.spread(marked, output, shape)
    assert found.shape == output
    np.testing.assert_array_equal(found, expected)


@hypothesis.given(views() | gathers())
def test_a_unit_is_in_the_spread_of_what_is_in_its_mask(case):
    view, output, shape = case

    def one(index: Shape, size: Shape) -> np.ndarray:
        mask = np.zeros(size, dtype=bool)
        mask[index] = True
        return mask

    masks = {
        unit: np.broadcast_to(view.mask(one(unit, output), output, shape), shape)
        for unit in np.ndindex(*output)
    }
    for place in np.ndindex(*shape):
        spread = view.spread(one(place, shape), output, shape)
        assert {unit for unit in masks if masks[unit][place]} == {
            tuple(unit) for unit in np.argwhere(spread).tolist()
        }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_masks_with_their_axes_in_another_order(order):
    mask = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    view = View(tuple(Link(axis) for axis in order))
    shape = tuple(mask.shape[axis] for axis in order)
    np.testing.assert_array_equal(view.mask(mask, mask.shape, shape), mask.transpose(order))
    moved = mask.transpose(order)
    np.testing.assert_array_equal(view.spread(moved, mask.shape, shape), mask)


def test_an_axis_of_a_mask_is_left_short_where_all_is_seen():
    view = View((Link(0, Window(3, padding=1)), Link(None)))
    mask = np.zeros((6, 1), dtype=bool)
    mask[2] = True
    assert view.mask(mask, (6, 4), (6, 1000)).shape == (6, 1)
    # Channels that follow themselves stay short as well.
    same = View((Link(0), Link(1)))
    assert same.mask(mask, (6, 1000), (6, 1000)).shape == (6, 1)
    # But not where some channels are unseen.
    part = View((Link(0), Link(1, Window(padding=2), clip=True)))
    found = part.mask(mask, (6, 4), (6, 5))
    assert found.shape == (6, 5)
    assert found[2].tolist() == [True, True, False, False, False]


# --- Fields --------------------------------------------------------------------------------------


def moving(axis: int) -> Line:
    """Pixels 2 i - 1 to 2 i + 1 for index i."""
    return Line(axis, (-1,), (2,), 2)


@st.composite
def reaches(draw: Any, shape: Shape) -> Reach:
    """A line along an axis that moves at odd speed, a constant one, or a table."""
    kind = draw(st.sampled_from(["line", "phases", "none", "table"]))
    axis = draw(st.integers(0, len(shape) - 1))
    if kind == "line":
        return moving(axis)
    if kind == "phases":
        return Line(axis, (0, NOTHING[0]), (3, NOTHING[1]), draw(st.integers(-2, 5)))
    if kind == "none":
        return Line(None, (2,), (5,), gathered=draw(st.booleans()))
    own = tuple(size if draw(st.booleans()) else 1 for size in shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    starts = rng.integers(-4, 20, own)
    return Table(starts, starts + rng.integers(1, 4, own), Fraction(1))


def seen_by(reach: Reach, index: Sequence[int]) -> set[int]:
    """Pixels of an element inside the tensor or, for lines, outside of it."""
    if isinstance(reach, Line):
        at = 0 if reach.axis is None else index[reach.axis]
        starts, stops = reach.at(np.array([at]))
        return set(range(int(starts[0]), int(stops[0])))
    place = tuple(i if n > 1 else 0 for i, n in zip(index, reach.starts.shape, strict=True))
    return set(range(int(reach.starts[place]), int(reach.stops[place])))


def assert_fields(found: Reach, expected: dict[Shape, set[int]], output: Shape) -> None:
    made = table(found, output)
    starts, stops = np.broadcast_to(made.starts, output), np.broadcast_to(made.stops, output)
    for unit, pixels in expected.items():
        hull = (min(pixels), max(pixels) + 1) if pixels else None
        start, stop = int(starts[unit]), int(stops[unit])
        assert ((start, stop) if start < stop else None) == hull, unit


@hypothesis.given(views(), st.data())
def test_a_view_takes_the_hull_of_what_is_seen_along_its_axes(case, data):
    view, output, shape = case
    reach = data.draw(reaches(shape))
    # Only the axes that make a difference to the field count, and only a line continues outside.
    if isinstance(reach, Line):
        axes = () if reach.axis is None else (reach.axis,)
    else:
        axes = reach.axes
    expected = {}
    for unit in np.ndindex(*output):
        along = []
        for axis in axes:
            link, size = view.links[axis], shape[axis]
            inside = set(range(size))
            seen = inside if link.axis is None else reached(link.relation, unit[link.axis])
            goes_on = isinstance(reach, Line) and not link.clip and link.relation.period
            along.append(seen if goes_on else seen & inside)
        expected[unit] = set()
        for places in itertools.product(*along):
            index = [0] * len(shape)
            for axis, place in zip(axes, places, strict=True):
                index[axis] = place
            expected[unit] |= seen_by(reach, index)
    found = view.follow(reach, output, shape)
    assert_fields(found, expected, output)
    # What still moves along another axis is not taken in whole.
    moving = [axis for axis in axes if shape[axis] > 1]
    gathered = bool(moving) and all(view.links[axis].axis is None for axis in moving)
    assert found.gathered == (reach.gathered or gathered)


@hypothesis.given(gathers(), st.data())
def test_a_gather_has_the_field_of_each_source(case, data):
    view, output, shape = case
    reach = data.draw(reaches(shape).filter(lambda one: getattr(one, "axis", 0) is not None))
    expected = {
        unit: set()
        if view.indices[unit] < 0
        else seen_by(reach, np.unravel_index(view.indices[unit], shape))
        for unit in np.ndindex(*output)
    }
    assert_fields(view.follow(reach, output, shape), expected, output)


def test_what_every_unit_sees_alike_is_not_moved():
    everywhere = Line(None, (0,), (9,), gathered=True)
    gather = IndexedView(np.array([1, 0, 3]), (4,))
    for view in (View((Link(0, Window(3)),)), View((Link(None),)), gather):
        assert view.follow(everywhere, (3,), (4,)) is everywhere


def test_which_axis_an_input_axis_follows():
    view = View((Link(1), Link(None), Link(0, Window(2))))
    assert view.follows == (1, None, 0)
    # The rows of the input follow the columns of the output; its columns follow both axes.
    indices = np.array([[0, 4], [1, 5], [2, 6]])
    assert IndexedView(indices, (2, 4)).follows == (1, 0)
    assert IndexedView(np.array([[0, 4], [1, 6]]), (2, 4)).follows == (1, None)


# --- Rearrangements ------------------------------------------------------------------------------


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape)


def padded(array: np.ndarray, *widths: tuple[int, int]) -> np.ndarray:
    return np.pad(array, widths, constant_values=-1)


SEPARABLE = {
    "identity": numbered(4, 5, 2),
    "slice": numbered(4, 5, 2)[1:3, :, :],
    "strided slice": numbered(7, 5, 2)[1::2, ::3],
    "flip": numbered(4, 5, 2)[::-1, :, ::-1],
    "roll": np.roll(numbered(4, 5, 2), 2, axis=1),
    "transposition": numbered(4, 5, 2).transpose(2, 0, 1),
    "padding": padded(numbered(3, 4, 2), (2, 1), (0, 3), (0, 0)),
    "padding and slice": padded(numbered(3, 4, 2)[1:], (0, 2), (1, 0), (0, 0)),
    "repetition": np.repeat(numbered(3, 2), 3, axis=0),
    "tiling": np.tile(numbered(3, 2), (2, 1)),
    "choice": numbered(5, 2)[[3, 0, 0, 4]],
    "holes": np.array([[0], [-1], [1], [-1], [2]]),
    "one column": numbered(4, 5, 2)[:, 2:3],
    "new axis": numbered(4, 2)[:, None],
    "dropped axis": numbered(4, 1, 2)[:, 0],
    "one element": numbered(4, 2)[1:2, 1:2],
}
TANGLED = {
    "reshape": numbered(4, 6).reshape(8, 3),
    "flattening": numbered(4, 6).reshape(24),
    "splitting": numbered(6, 2).reshape(2, 3, 2),
    "triangle": np.where(np.tri(4, 4, dtype=bool), numbered(4, 4), -1),
    "diagonal": np.arange(4) * 5,
    "shuffle": np.random.default_rng(0).permutation(20).reshape(4, 5),
    "shear": np.stack([np.roll(row, at) for at, row in enumerate(numbered(4, 5))]),
}
SHAPES = {
    "slice": (4, 5, 2),
    "strided slice": (7, 5, 2),
    "transposition": (4, 5, 2),
    "padding": (3, 4, 2),
    "padding and slice": (3, 4, 2),
    "repetition": (3, 2),
    "tiling": (3, 2),
    "choice": (5, 2),
    "holes": (3, 1),
    "one column": (4, 5, 2),
    "new axis": (4, 2),
    "dropped axis": (4, 1, 2),
    "one element": (4, 2),
    "reshape": (4, 6),
    "flattening": (4, 6),
    "splitting": (6, 2),
    "diagonal": (4, 4),
}


def shape_of(name: str) -> tuple[np.ndarray, Shape]:
    indices = {**SEPARABLE, **TANGLED}[name]
    return indices, SHAPES.get(name, indices.shape)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", [*SEPARABLE, *TANGLED])
def test_a_rearrangement_sees_the_sources(name, alone):
    indices, shape = shape_of(name)
    view = rearranged(indices, shape, input=1, output=2, alone=alone)
    assert (view.input, view.output) == (1, 2)
    assert isinstance(view, View if name in SEPARABLE else IndexedView)
    gather = IndexedView(indices, shape)
    np.testing.assert_array_equal(
        dense(view, indices.shape, shape), dense(gather, indices.shape, shape)
    )
    # Units away from the padding have the same field, and all have it next to other inputs.
    for axis in range(len(shape)):
        here, there = (
            table(one.follow(moving(axis), indices.shape, shape), indices.shape)
            for one in (view, gather)
        )
        seen = np.ones(indices.shape, bool) if not alone and shape[axis] > 1 else indices >= 0
        if shape[axis] == 1:
            continue
        # A hole along one axis is no hole along the others.
        others = tuple(one for one in range(indices.ndim) if view.follows[axis] != one)
        if isinstance(view, View) and not alone:
            seen = seen & (indices >= 0).any(axis=others, keepdims=True) & (indices >= 0)
        for ends, expected in ((here.starts, there.starts), (here.stops, there.stops)):
            ends, expected = (np.broadcast_to(one, indices.shape) for one in (ends, expected))
            np.testing.assert_array_equal(ends[seen], expected[seen])


@pytest.mark.parametrize(
    ("name", "axis", "relation"),
    [
        ("slice", 0, Window(padding=-1)),
        ("strided slice", 0, Window(stride=2, padding=-1)),
        ("strided slice", 1, Window(stride=3)),
        ("padding", 0, Window(padding=2)),
        ("padding", 1, Window()),
        ("transposition", 0, Window()),
        ("flip", 0, Ranges((3, 2, 1, 0), (4, 3, 2, 1))),
        ("repetition", 0, Ranges((0, 0, 0, 1, 1, 1, 2, 2, 2), (1, 1, 1, 2, 2, 2, 3, 3, 3))),
        ("choice", 0, Ranges((3, 0, 0, 4), (4, 1, 1, 5))),
        ("holes", 0, Ranges((0, 0, 1, 0, 2), (1, 0, 2, 0, 3))),
    ],
)
def test_the_relation_of_a_rearrangement(name, axis, relation):
    indices, shape = shape_of(name)
    view = rearranged(indices, shape)
    assert isinstance(view, View)
    found = view.links[axis].relation
    if isinstance(relation, Ranges):
        assert isinstance(found, Ranges)
        assert (found.starts, found.stops) == (relation.starts, relation.stops)
        assert found.ratio == Fraction(shape[axis], indices.shape[axis])
    else:
        assert found == relation


def test_padding_around_an_input_extends_a_line_only_without_other_inputs():
    indices = padded(numbered(3, 2), (2, 1), (0, 0))
    alone, joined = (rearranged(indices, (3, 2), alone=one) for one in (True, False))
    line = Line(0, (0,), (1,), 1)
    assert alone.follow(line, (6, 2), (3, 2)) == Line(0, (-2,), (-1,), 1)
    starts = table(joined.follow(line, (6, 2), (3, 2)), (6, 2)).starts.ravel()
    assert starts.tolist() == [NOTHING[0]] * 2 + [0, 1, 2] + [NOTHING[0]]


def test_marks_are_a_link_like_others():
    # A checkerboard along one axis.
    view = View((Link(0, Marks(np.array([[1, 0, 1], [0, 1, 0]], dtype=bool))), Link(1)))
    mask = np.array([[True], [False]])
    found = np.broadcast_to(view.mask(mask, (2, 2), (3, 2)), (3, 2))
    assert found[:, 0].tolist() == [True, False, True]
    assert_fields(view.follow(moving(0), (2, 2), (3, 2)), {(0, 0): {*range(-1, 6)}}, (2, 2))


@hypothesis.given(views(), st.data())
def test_a_unit_is_blind_where_it_sees_nothing_along_one_of_the_axes(case, data):
    view, output, shape = case
    axes = {axis for axis in range(len(shape)) if data.draw(st.booleans())}
    expected = np.zeros(output, dtype=bool)
    for unit in np.ndindex(*output):
        for axis in axes:
            link = view.links[axis]
            if link.axis is not None:
                seen = reached(link.relation, unit[link.axis])
                expected[unit] |= not seen & set(range(shape[axis]))
    found = np.zeros(output, dtype=bool)
    for axis, missing in view.blind(axes, output, shape).items():
        assert missing.any()
        found |= missing.reshape([-1 if one == axis else 1 for one in range(len(output))])
    np.testing.assert_array_equal(found, expected)
