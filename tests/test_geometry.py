"""The integer algebra, against literal enumeration of what it stands for."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from keras_erf.geometry import (
    Blocks,
    Link,
    ReceptiveField,
    View,
    Window,
    intersection,
    union,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

# Wide enough for every index the strategies below can lead to.
HORIZON = range(-150, 151)


def sees(relation: Window | Blocks, output: int, position: int) -> bool:
    """The defining relation, word for word."""
    if isinstance(relation, Blocks):
        return output // relation.outputs == position // relation.inputs
    return any(
        relation.up * position
        == output * relation.stride - relation.padding + tap * relation.dilation
        for tap in range(relation.size)
    )


def seen_of(relation: Window | Blocks, start: int, stop: int) -> list[int]:
    return [i for i in HORIZON if any(sees(relation, o, i) for o in range(start, stop))]


@st.composite
def windows(draw) -> Window:
    up = draw(st.integers(1, 4))
    return Window(
        size=draw(st.integers(1, 5)),
        stride=draw(st.integers(1, 4)) if up == 1 else 1,
        dilation=draw(st.integers(1, 4)),
        padding=draw(st.integers(-6, 9)),
        up=up,
    )


blocks = st.builds(Blocks, outputs=st.integers(1, 3), inputs=st.integers(1, 3))


@hypothesis.given(windows(), st.integers(-8, 12), st.integers(1, 6))
def test_interval_is_the_hull_of_the_relation(window, start, length):
    seen = seen_of(window, start, start + length)
    expected = (min(seen), max(seen) + 1) if seen else None
    assert window.interval(start, start + length) == expected


@hypothesis.given(blocks, st.integers(-8, 12), st.integers(1, 6))
def test_interval_of_blocks_is_the_hull_of_the_relation(relation, start, length):
    seen = seen_of(relation, start, start + length)
    assert relation.interval(start, start + length) == (min(seen), max(seen) + 1)


@pytest.mark.parametrize(
    ("window", "output", "expected"),
    [
        # Dilation 2 over inputs 2 apart: every tap of an odd position falls between them.
        (Window(size=3, dilation=2, up=2), 0, (0, 3)),
        (Window(size=3, dilation=2, up=2), 1, None),
        # Taps at 0, 3 and 6 over inputs 2 apart: the middle one sees nothing, or alone something.
        (Window(size=3, dilation=3, up=2), 0, (0, 4)),
        (Window(size=3, dilation=3, up=2), 1, (2, 3)),
        # A transposed convolution whose kernel is smaller than its stride.
        (Window(size=2, up=3), 0, (0, 1)),
        (Window(size=2, up=3), 1, None),
    ],
)
def test_holes_between_up_sampled_inputs(window, output, expected):
    assert window.interval(output, output + 1) == expected


@hypothesis.given(windows(), st.integers(0, 14), st.lists(st.booleans(), min_size=1, max_size=12))
def test_backward_marks_the_relation(window, size, outputs):
    outputs = np.array(outputs)
    expected = [any(sees(window, o, i) for o in np.flatnonzero(outputs)) for i in range(size)]
    np.testing.assert_array_equal(window.backward(outputs, size), expected)


@hypothesis.given(blocks, st.integers(1, 4), st.data())
def test_backward_of_blocks_marks_the_relation(relation, count, data):
    outputs = np.array(
        data.draw(
            st.lists(
                st.booleans(), min_size=count * relation.outputs, max_size=count * relation.outputs
            )
        )
    )
    size = count * relation.inputs
    expected = [any(sees(relation, o, i) for o in np.flatnonzero(outputs)) for i in range(size)]
    np.testing.assert_array_equal(relation.backward(outputs, size), expected)


@hypothesis.given(windows(), st.integers(0, 10), st.integers(0, 2**32 - 1))
def test_backward_treats_the_other_axes_one_by_one(window, size, seed):
    seen = np.random.default_rng(seed).random((7, 2, 3)) < 0.3
    together = window.backward(seen, size)
    for place in np.ndindex(2, 3):
        alone = window.backward(seen[(slice(None), *place)], size)
        np.testing.assert_array_equal(together[(slice(None), *place)], alone)


@hypothesis.given(windows(), st.integers(-5, 5))
def test_ratio_is_the_speed_of_the_relation(window, output):
    # `up` outputs on, the relation has moved by `stride` inputs.
    moved = [i + window.stride for i in seen_of(window, output, output + 1)]
    assert seen_of(window, output + window.up, output + window.up + 1) == moved
    assert window.ratio == Fraction(window.stride, window.up)
    assert window.period == window.up


@hypothesis.given(blocks, st.integers(-5, 5))
def test_ratio_is_the_speed_of_blocks(relation, output):
    moved = [i + relation.inputs for i in seen_of(relation, output, output + 1)]
    later = output + relation.outputs
    assert seen_of(relation, later, later + 1) == moved
    assert relation.ratio == Fraction(relation.inputs, relation.outputs)
    assert relation.period == relation.outputs


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"stride": 0}, {"dilation": -1}, {"up": 0}, {"stride": 2, "up": 2}]
)
def test_an_impossible_window_is_refused(wrong):
    with pytest.raises(ValueError, match="Window"):
        Window(**wrong)


# --- Views ---------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    """A view of random links, with the shapes of its output and its input."""
    output_rank, rank = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    order = draw(st.permutations(range(output_rank)))
    output_shape = [draw(st.integers(1, 5)) for _ in range(output_rank)]
    links, shape = [], []
    for axis in range(rank):
        followed = order[axis] if axis < output_rank and draw(st.integers(0, 3)) else None
        if followed is None:
            links.append(Link(None))
            shape.append(draw(st.integers(1, 4)))
        elif draw(st.booleans()):
            relation = draw(blocks)
            count = draw(st.integers(1, 2))
            output_shape[followed] = count * relation.outputs
            links.append(Link(followed, relation))
            shape.append(count * relation.inputs)
        else:
            links.append(Link(followed, draw(windows()), clip=draw(st.booleans())))
            shape.append(draw(st.integers(1, 7)))
    return View(tuple(links)), tuple(output_shape), tuple(shape)


def dense(view: View, output_shape: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The view as a boolean matrix: entry (output index, input index), both flattened."""
    return np.array(
        [
            [
                all(
                    link.axis is None or sees(link.relation, output[link.axis], position)
                    for link, position in zip(view.links, place, strict=True)
                )
                for place in np.ndindex(*shape)
            ]
            for output in np.ndindex(*output_shape)
        ]
    )


@hypothesis.given(cases(), st.integers(0, 2**32 - 1), st.data())
def test_mask_is_the_product_with_the_dense_matrix(case, seed, data):
    view, output_shape, shape = case
    # An axis along which the mask is constant may be given with length 1.
    short = [data.draw(st.booleans()) for _ in output_shape]
    given = tuple(1 if one else size for one, size in zip(short, output_shape, strict=True))
    mask = np.random.default_rng(seed).random(given) < 0.5
    full = np.broadcast_to(mask, output_shape)
    expected = (full.reshape(-1) @ dense(view, output_shape, shape)).reshape(shape)
    found = view.mask(mask, output_shape, shape)
    assert found.ndim == len(shape)
    np.testing.assert_array_equal(np.broadcast_to(found, shape), expected)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_mask_with_its_axes_in_another_order(order):
    mask = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    view = View(tuple(Link(axis) for axis in order))
    shape = tuple(mask.shape[axis] for axis in order)
    np.testing.assert_array_equal(view.mask(mask, mask.shape, shape), mask.transpose(order))


@hypothesis.given(cases(), st.data())
def test_box_is_the_hull_of_each_axis(case, data):
    view, output_shape, shape = case
    starts = [data.draw(st.integers(-3, 6)) for _ in output_shape]
    output = tuple((start, start + data.draw(st.integers(1, 4))) for start in starts)
    expected = []
    for link, size in zip(view.links, shape, strict=True):
        if link.axis is None:
            seen = list(range(size))
        else:
            seen = seen_of(link.relation, *output[link.axis])
        hull = (min(seen), max(seen) + 1) if seen else None
        # Clipping cuts the hull, holes and all.
        if link.clip and hull is not None:
            hull = intersection(hull, (0, size))
        expected.append(hull)
    assert view.box(output, shape) == (None if None in expected else tuple(expected))


@hypothesis.given(cases())
def test_box_holds_the_mask(case):
    view, output_shape, shape = case
    for unit in np.ndindex(*output_shape):
        mask = np.zeros(output_shape, dtype=bool)
        mask[unit] = True
        seen = np.argwhere(np.broadcast_to(view.mask(mask, output_shape, shape), shape))
        box = view.box(tuple((index, index + 1) for index in unit), shape)
        if box is None:
            assert not len(seen)
        for place in seen:
            assert all(a <= p < b for p, (a, b) in zip(place, box, strict=True))


def test_mask_of_one_axis_is_left_short_where_all_is_seen():
    view = View((Link(0, Window(3, padding=1)), Link(None)))
    mask = np.zeros((6, 1), dtype=bool)
    mask[2] = True
    assert view.mask(mask, (6, 4), (6, 1000)).shape == (6, 1)


# --- Intervals and the field ---------------------------------------------------------------------

intervals = st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda one: (one[0], sum(one)))


@hypothesis.given(st.lists(intervals, max_size=4))
def test_union_is_the_hull(several):
    inside = sorted(set().union(*(range(a, b) for a, b in several)))
    assert union(several) == ((inside[0], inside[-1] + 1) if inside else None)
    assert union(iter(several)) == union(several)


@hypothesis.given(intervals, intervals)
def test_intersection_is_the_common_part(first, second):
    common = sorted(set(range(*first)) & set(range(*second)))
    assert intersection(first, second) == ((common[0], common[-1] + 1) if common else None)


class Shifted:
    """A tracer of 3-pixel fields with stride 2."""

    def box(self, unit):
        return tuple((2 * index - 1, 2 * index + 2) for index in unit)

    def visible(self, unit):
        return tuple((max(start, 0), stop) for start, stop in self.box(unit))

    def support(self, unit):
        mask = np.zeros((9, 9), dtype=bool)
        mask[tuple(itertools.starmap(slice, self.visible(unit)))] = True
        return mask


def test_receptive_field_answers_for_its_unit_and_for_others():
    field = ReceptiveField(
        layer="conv",
        input="image",
        unit=(2, 0),
        input_size=(9, 9),
        output_size=(5, 5),
        size=(3, 3),
        stride=(2, 2),
        padding=(1, 1),
        status="exact",
        tracer=Shifted(),
    )
    assert field.box() == ((3, 6), (-1, 2))
    assert field.box((0, 4)) == ((-1, 2), (7, 10))
    assert field.center() == (4.0, 0.0)
    assert field.center((1, 1)) == (2.0, 2.0)
    assert field.visible() == ((3, 6), (0, 2))
    assert field.visible((0, 0)) == ((0, 2), (0, 2))
    assert field.support().sum() == 6
    assert field.support((2, 2)).sum() == 9
    assert "Shifted" not in repr(field)
