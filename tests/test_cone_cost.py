"""Multiply-adds against numbers worked by hand and printed totals; and the arithmetic of parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from keras_erf.algebra.boxes import cut, elements, entire, hull, widened
from keras_erf.algebra.geometry import Box
from keras_erf.cone import cone_of, multiply_adds, whole_cone
from keras_erf.fields.theoretical import tracing_of
from keras_erf.fields.tracing import Tracing

PLANE = (20, 18, 4)


def traced(build: Callable[..., Any], shape: tuple[int, ...] = PLANE) -> Tracing:
    x = keras.Input(shape)
    return tracing_of(keras.Model(x, build(x)))


# A call, the part wanted of it (channels not counted), and its multiply-adds by hand.
COSTS = {
    "Conv1D": (lambda x: layers.Conv1D(8, 3)(x), ((5, 9),), 4 * 3 * 4 * 8),
    "Conv2D": (lambda x: layers.Conv2D(8, 3)(x), ((4, 9), (2, 7)), 5 * 5 * 3 * 3 * 4 * 8),
    "Conv2D-strides": (
        lambda x: layers.Conv2D(8, (3, 2), 2, padding="same")(x),
        ((0, 3), (7, 9)),
        3 * 2 * 3 * 2 * 4 * 8,
    ),
    "Conv2D-groups": (
        lambda x: layers.Conv2D(8, 3, groups=2)(x),
        ((4, 9), (2, 7)),
        5 * 5 * 3 * 3 * 2 * 8,
    ),
    "Conv2D-first": (
        lambda x: layers.Conv2D(8, 3, data_format="channels_first")(layers.Permute((3, 1, 2))(x)),
        ((4, 9), (2, 7)),
        5 * 5 * 3 * 3 * 4 * 8,
    ),
    "DepthwiseConv2D": (
        lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(x),
        ((4, 9), (2, 7)),
        5 * 5 * 3 * 3 * 4 * 2,
    ),
    "SeparableConv2D": (
        lambda x: layers.SeparableConv2D(6, 3, depth_multiplier=2)(x),
        ((4, 9), (2, 7)),
        5 * 5 * (3 * 3 * 4 * 2 + 4 * 2 * 6),
    ),
    # Outputs 4 to 8 and 6 to 8 of stride 2 come of inputs 1 to 4 and 2 to 4.
    "Conv2DTranspose": (
        lambda x: layers.Conv2DTranspose(6, 3, 2)(x),
        ((4, 9), (6, 9)),
        4 * 3 * 3 * 3 * 4 * 6,
    ),
    "Dense": (lambda x: layers.Dense(7)(x), ((4, 9), (2, 7)), 5 * 5 * 4 * 7),
    # 5x5 of the second need 7x7 of the first.
    "two": (
        lambda x: layers.Conv2D(8, 3)(layers.ReLU()(layers.Conv2D(6, 5, padding="same")(x))),
        ((4, 9), (2, 7)),
        5 * 5 * 3 * 3 * 6 * 8 + 7 * 7 * 5 * 5 * 4 * 6,
    ),
    "none": (lambda x: layers.MaxPooling2D(2)(layers.ReLU()(x)), ((4, 9), (2, 7)), 0),
}


@pytest.mark.parametrize(("build", "wanted", "count"), COSTS.values(), ids=COSTS)
def test_multiply_adds(build, wanted, count):
    tracing = traced(build, (20, 4) if len(wanted) == 1 else PLANE)
    (tensor,) = tracing.graph.outputs
    part = list(entire(tracing.shape(tensor)))
    for axis, interval in zip(tracing.spatial_axes(tensor), wanted, strict=True):
        part[axis] = interval
    assert multiply_adds(cone_of(tracing, {tensor: tuple(part)}), tracing) == count


def test_a_whole_tensor_costs_all_of_it():
    tracing = traced(lambda x: layers.Conv2D(8, 3, padding="same")(x))
    tensors = tracing.graph.outputs
    assert multiply_adds(whole_cone(tracing.graph, tensors), tracing) == 20 * 18 * 3 * 3 * 4 * 8


def test_only_what_leads_to_a_tensor_counts():
    def build(x: Any) -> Any:
        x = layers.Conv2D(8, 3, name="stem")(x)
        return [layers.Conv2D(2, 1, name="left")(x), layers.Conv2D(5, 1, name="right")(x)]

    tracing = traced(build)
    cone = whole_cone(tracing.graph, tracing.graph.outputs)
    stem, left, right = (18 * 16 * one for one in (3 * 3 * 4 * 8, 8 * 2, 8 * 5))
    find = tracing.graph.find
    assert multiply_adds(cone, tracing) == stem + left + right
    assert multiply_adds(cone, tracing, leading_to=[find("left")]) == stem + left
    assert multiply_adds(cone, tracing, leading_to=[find("stem")]) == stem
    both = [find("right"), find("left")]
    assert multiply_adds(cone, tracing, leading_to=both) == stem + left + right


# Printed totals at 224 x 224 pixels: He et al. 2016, "Deep Residual Learning", table 1 (multiply-
# adds, 3.8e9); Howard et al. 2017, "MobileNets", table 4 (569 million).
@pytest.mark.parametrize(
    ("make", "printed", "digits"),
    [(keras.applications.ResNet50, 3.8e9, 0.1e9), (keras.applications.MobileNet, 569e6, 1e6)],
    ids=["ResNet50", "MobileNet"],
)
def test_printed_totals(make, printed, digits):
    tracing = tracing_of(make(weights=None))
    total = multiply_adds(whole_cone(tracing.graph, tracing.graph.outputs), tracing)
    assert abs(total - printed) < digits


# --- Parts ---------------------------------------------------------------------------------------

INTERVALS = [(a, b) for a, b in itertools.product(range(5), repeat=2) if a < b]


def test_all_of_a_tensor():
    assert entire((3, 1, 7)) == ((0, 3), (0, 1), (0, 7))
    assert elements(entire((3, 1, 7))) == np.zeros((3, 1, 7)).size
    assert elements(((2, 4), (5, 8))) == 6


def test_hulls_hold_both_and_no_more():
    for first, second in itertools.product(INTERVALS, repeat=2):
        places = {*range(*first), *range(*second)}
        other: Box = ((0, 2), second)
        assert hull(((1, 3), first), other) == ((0, 3), (min(places), max(places) + 1))
    assert hull(None, ((1, 3),)) == ((1, 3),)


def test_cuts_are_those_of_the_whole():
    whole = np.arange(2 * 6 * 5).reshape(2, 6, 5)
    held = ((1, 6), (0, 4))
    value = whole[:, 1:6, 0:4]
    for start, stop in INTERVALS:
        found = cut(value, held, ((start + 1, stop + 1), (1, 3)))
        assert np.array_equal(found, whole[:, start + 1 : stop + 1, 1:3])
    assert cut(value, held, held) is value


def test_what_an_axis_holds_of_an_interval():
    size = 4
    for start in range(-6, 9):
        for stop in range(start + 1, 10):
            inside = [index for index in range(start, stop) if 0 <= index < size]
            found = widened((start, stop), size)
            if not inside:
                assert found is None
                continue
            assert found is not None
            (first, last), (before, after) = found
            assert list(range(first, last)) == inside
            assert before == sum(index < 0 for index in range(start, stop))
            assert after == sum(index >= size for index in range(start, stop))
