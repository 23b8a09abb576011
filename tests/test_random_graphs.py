"""Theoretical fields of random functional graphs, against brute force.

`make test` checks the same few graphs everywhere; `make fuzz` many new ones, from a seed that
is printed.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")

from keras_erf import receptive_field
from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.errors import InvalidInputError
from tests import graphs, jacobian
from tests.ranges import Boxes, brute_range, every_box

# Of larger maps, the corners, the middle and some more units are compared.
MANY_UNITS, SOME_UNITS = 48, 16

# Layers whose outputs all see something of a large enough input, in the order of the positions:
# behind them the ends of a box are seen even where what lies between them is not.
ORDERLY = ("Conv", "Depthwise", "Separable", "AveragePooling", "MaxPooling", "UpSampling")
SHIFTING = ("ZeroPadding", "Cropping")

# Where the map of a graph is too small to show a stride, one with about as many units is made.
UNITS_SHOWN = 16

Ends = dict[int, tuple[int, int]]


def is_orderly(step: graphs.Step) -> bool:
    """Whether a box is tight behind the layer, but for what lies beyond an edge.

    Not behind transposed convolutions with a stride longer than the kernel: units in the holes
    see nothing, so a box that begins or ends with one of them has something to spare.
    """
    kind, options = step
    if "Transpose" in kind:
        return all(k >= s for k, s in zip(options["kernel_size"], options["strides"], strict=True))
    return kind.startswith((*ORDERLY, *SHIFTING))


def inner_units(tensors: list[Any], units: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The units of a chain's last tensor whose boxes keep within the edges of all tensors."""
    inside = dict.fromkeys(units, True)
    for tensor in tensors[1:]:
        part = keras.Model(tensor, tensors[0])
        sizes = tensor.shape[1:-1]
        for unit in units:
            try:
                box = receptive_field(part, part.output, unit=unit).box()
            except InvalidInputError:
                inside[unit] = False
                continue
            inside[unit] &= all(a >= 0 and b <= n for (a, b), n in zip(box, sizes, strict=True))
    return [unit for unit in units if inside[unit]]


def compare(description: graphs.Description, counts: Counter[str]) -> None:
    """Asserts that what the library says of a graph's units is what their gradients say."""
    with jacobian.precision():
        model, tensors = graphs.build(description)
        oracle = model
        if graphs.picks(description.steps):
            oracle, _ = graphs.build(description, smooth=True)
        graphs.weigh(oracle)
        if graphs.normalises_equals(oracle):
            counts["graphs that normalise equals"] += 1
            return
        shape = model.output_shape[1:-1]
        units = jacobian.units_of(shape)
        if len(units) > MANY_UNITS:
            units = jacobian.some_units(shape, count=SOME_UNITS)
        seen = jacobian.supports(
            oracle, units, input=description.analysed, tolerance=description.tolerance
        )
        counts["graphs"] += 1
        counts["nodes"] += len(model.layers) + graphs.node_count(description.steps)
        boxes = [jacobian.bounding_box(mask) for mask in seen]
        alive = [unit for unit, mask in zip(units, seen, strict=True) if mask.any()]
        counts["units"] += len(units)
        counts["units that see nothing"] += len(units) - len(alive)
        if not alive:
            # Nothing but padding and holes, or the other input alone.
            return
        name = model.inputs[description.analysed].name
        field = receptive_field(model, model.output, unit=alive[0], input=name)
        assert field.status in ("exact", "whole")
        assert field.input_size == description.inputs[description.analysed][:-1]
        assert field.output_size == shape
        for unit, mask, expected in zip(units, seen, boxes, strict=True):
            np.testing.assert_array_equal(field.support(unit), mask, err_msg=f"unit {unit}")
            assert field.visible(unit) == expected, unit
            if not mask.any():
                # Beyond an edge there may be a box; in a hole there is none.
                continue
            box = field.box(unit)
            ends = zip(box, expected, field.input_size, strict=True)
            assert all(max(a, 0) <= c and d <= min(b, n) for (a, b), (c, d), n in ends), (
                f"unit {unit}: box {box} does not hold {expected}"
            )
        compare_moves(field, description, counts)
        compare_pixels(description, model, tensors, name, counts)
        if len(description.inputs) == 1 and all(map(is_orderly, description.steps)):
            for unit in inner_units(tensors, alive):
                counts["units with a tight box"] += 1
                assert field.box(unit) == boxes[units.index(unit)], unit


def compare_moves(
    field: ReceptiveField, description: graphs.Description, counts: Counter[str]
) -> None:
    """Asserts that range, median and strides are those of the boxes of all units."""
    if field.tracer.known(through_global=True).loose:
        return
    counts["ranges"] += 1
    assert (field.size_range, field.size_median) == brute_range(field)
    local = field.tracer.known(through_global=False).reaches
    if local is not field.tracer.known(through_global=True).reaches:
        return
    boxes = every_box(field)
    for place, stride in enumerate(field.stride):
        moves = [axis for axis in range(len(field.output_size)) if moved_by(boxes, axis, place)]
        if not stride:
            assert stride is None or not moves, (place, moves)
            continue
        assert len(moves) <= 1, (place, stride, moves)
        axis = moves[0] if moves else min(place, len(field.output_size) - 1)
        row = longest_row(boxes, axis)
        ends = {unit[axis]: boxes[unit][place] for unit in row}
        if stride in strides_shown(ends, field.input_size[place]):
            counts["strides"] += 1
            continue
        pixels = field.size[place] + math.ceil(UNITS_SHOWN * max(abs(stride), 1))
        factor = -(-pixels // field.input_size[place])
        found = row_on_larger(description, place, axis, row[0], factor)
        shown = strides_shown(*found) if found else set()
        if found is None:
            counts["strides without a larger map"] += 1
        elif len(ends) == 1 and not shown:
            # Paths of several strides, of which the larger map shows more than the only unit.
            counts["strides of one unit, uneven on a larger map"] += 1
        else:
            counts["strides on larger maps"] += 1
            assert stride in shown, (place, stride, ends, found)


def longest_row(boxes: Boxes, axis: int) -> list[tuple[int, ...]]:
    """The units along an axis that see anything, of the row that has most of them."""
    rows: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for unit in boxes:
        rows.setdefault((*unit[:axis], *unit[axis + 1 :]), []).append(unit)
    return max(rows.values(), key=len)


def strides_shown(ends: Ends, extent: int) -> set[Fraction]:
    """Pixels per unit by which intervals along a row of units move, if they move evenly.

    Two repetitions and more have to be seen: over the whole of a row, uneven moves have an
    average, too. Where edges cut intervals at the ends of the row, the units between decide.
    """
    within = {unit: one for unit, one in ends.items() if one[0] >= 0 and one[1] <= extent}
    inside = {unit: one for unit, one in ends.items() if one[0] > 0 and one[1] < extent}
    # Of a kernel with holes, the tap that is cut may be one that does not touch the edge.
    margin = len(ends) // 4
    middle = dict(list(ends.items())[margin : len(ends) - margin])
    shown = {repeating(ends)} | {repeating(one) for one in (within, inside, middle) if len(one) > 2}
    return {one for one in shown if one is not None}


def repeating(ends: Ends) -> Fraction | None:
    """Pixels per unit where intervals repeat after some units; those without one repeat, too."""
    if len(ends) < 2:
        return None
    row = [ends.get(unit) for unit in range(min(ends), max(ends) + 1)]
    for period in range(1, len(row) // 2 + 1):
        pairs = list(zip(row[:-period], row[period:], strict=True))
        if any((one is None) != (other is None) for one, other in pairs):
            continue
        seen = [(one, other) for one, other in pairs if one and other]
        moves = {
            now - before for one, other in seen for before, now in zip(one, other, strict=True)
        }
        if len(moves) == 1:
            return Fraction(moves.pop(), period)
    return None


def row_on_larger(
    description: graphs.Description, place: int, axis: int, unit: tuple[int, ...], factor: int
) -> tuple[Ends, int] | None:
    """What gradients show of a row of units of the same graph on a larger input.

    Args:
        description: The graph.
        place: Axis of the input along which intervals are asked for.
        axis: Axis of the map along which the row lies.
        unit: A unit of the row.
        factor: How many times as long the input is.

    Returns:
        The interval of each unit that sees anything, and the size of the input's axis; `None`
        where the graph has no larger form, or its map does not grow with the input.
    """
    larger = graphs.enlarged(description, place, factor)
    if larger is None:
        return None
    model, _ = graphs.build(larger, smooth=True)
    count = model.output_shape[1 + axis]
    if count < UNITS_SHOWN // 2:
        return None
    row = [(*unit[:axis], index, *unit[axis + 1 :]) for index in range(count)]
    masks = jacobian.supports(
        graphs.weigh(model), row, input=larger.analysed, tolerance=larger.tolerance
    )
    ends = {
        index: jacobian.bounding_box(mask)[place] for index, mask in enumerate(masks) if mask.any()
    }
    return ends, larger.inputs[larger.analysed][place]


def moved_by(boxes: Boxes, axis: int, place: int) -> bool:
    """Whether boxes differ along an axis of the input between units that differ along one only."""
    rows: dict[tuple[int, ...], set[Any]] = {}
    for unit, box in boxes.items():
        rows.setdefault((*unit[:axis], *unit[axis + 1 :]), set()).add(box[place])
    return any(len(seen) > 1 for seen in rows.values())


def compare_pixels(
    description: graphs.Description,
    model: keras.Model,
    tensors: list[Any],
    name: str,
    counts: Counter[str],
) -> None:
    """Asserts that pixels in a row have the size, stride and padding of their map."""
    kind, options = description.steps[-1] if description.steps else ("", {})
    if kind != "pixels" or not graphs.PIXELS[options["how"]]:
        return
    whole, row = (receptive_field(model, one, input=name) for one in (tensors[2], tensors[0]))
    if len(row.output_size) != len(whole.output_size):
        # All of them see the same: no grid is found.
        return
    if options["how"] == "class token" and len(every_box(whole)) < math.prod(whole.output_size):
        # A row of the map that sees nothing is like more class tokens.
        return
    counts["maps as pixels"] += 1
    for fact in ("output_size", "size_range", "stride"):
        assert getattr(row, fact) == getattr(whole, fact), fact
    if row.unit == whole.unit:
        assert (row.size, row.padding) == (whole.size, whole.padding)


# A run is as many tests as these, so that processes share it.
FUZZING = hypothesis.settings.get_current_profile_name() == "fuzz"
PARTS = 4 if FUZZING else 1
# Outside `make fuzz`, a share of what the profile asks for.
GRAPHS = hypothesis.settings().max_examples // PARTS * (10 if FUZZING else 6) // 10
SEED = int(os.environ.get("FUZZ_SEED", "0"))


@pytest.mark.parametrize("part", range(PARTS))
def test_random_graphs(part: int, record_property: Callable[[str, object], None]) -> None:
    counts: Counter[str] = Counter(mismatches=0)
    passed: set[str] = set()

    @hypothesis.settings(max_examples=GRAPHS)
    @hypothesis.given(graphs.descriptions())
    def compare_drawn(description: graphs.Description) -> None:
        # Hypothesis comes back to what it drew before; only new graphs count.
        if repr(description) not in passed:
            compare(description, counts)
            passed.add(repr(description))

    if FUZZING:
        compare_drawn = hypothesis.seed(SEED * PARTS + part)(compare_drawn)
    try:
        compare_drawn()
    except BaseException as error:
        counts["mismatches"] += len(getattr(error, "exceptions", [error]))
        raise
    finally:
        record_property("fuzz", dict(counts))


POOL = {"pool_size": (1,), "padding": "valid"}
LINE = ((8, 2),)
# Graphs that were once answered wrongly, or that few draws hit.
NAMED = {
    "reshape behind a flatten": graphs.Description(
        LINE,
        (
            ("Conv1D", {"filters": 3, "kernel_size": 4}),
            ("Flatten", {}),
            ("Reshape", {"target_shape": (5, 3)}),
        ),
    ),
    "recurrence backwards": graphs.Description(
        LINE,
        (
            ("Conv1D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}),
            ("LSTM", {"units": 2, "return_sequences": True, "go_backwards": True}),
            ("slice", {"slices": ((1, None, 1),)}),
        ),
    ),
    "causal attention on every second step": graphs.Description(
        LINE,
        (
            ("attention", {"num_heads": 1, "key_dim": 2, "causal": True}),
            ("slice", {"slices": ((1, None, 2),)}),
        ),
    ),
    "groups that become rows": graphs.Description(
        ((4, 3, 4),),
        (
            ("Permute", {"dims": (3, 2, 1)}),
            ("GroupNormalization", {"groups": 2}),
            ("Activation", {"activation": "softplus"}),
            ("Permute", {"dims": (3, 2, 1)}),
        ),
    ),
    "a map too small for its stride": graphs.Description(
        ((7, 1),),
        (
            ("AveragePooling1D", {**POOL, "strides": (2,)}),
            ("Conv1DTranspose", {"filters": 1, "kernel_size": (3,), "strides": (2,)}),
            ("AveragePooling1D", {**POOL, "strides": (3,)}),
        ),
    ),
    "one unit that starts beyond the edges": graphs.Description(
        ((8, 10, 2),),
        (
            ("Conv2D", {"filters": 2, "kernel_size": 2, "strides": (1, 3), "padding": "same"}),
            ("MaxPooling2D", {"pool_size": (2, 1), "strides": (1, 3)}),
            ("DepthwiseConv2D", {"kernel_size": 2, "padding": "same", "dilation_rate": (3, 3)}),
        ),
    ),
    "normalised over equal positions": graphs.Description(
        ((4, 2),),
        (
            ("DepthwiseConv1D", {"kernel_size": 4}),
            ("UpSampling1D", {"size": 3}),
            ("GroupNormalization", {"groups": 2}),
            ("Activation", {"activation": "softplus"}),
        ),
    ),
    "reflected padding, strided": graphs.Description(
        ((5, 6, 1),),
        (
            ("pad", {"pad_width": ((2, 0), (1, 3), (0, 0)), "mode": "reflect"}),
            ("Conv2D", {"filters": 2, "kernel_size": (1, 2), "strides": (2, 3)}),
        ),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_graphs(name: str) -> None:
    compare(NAMED[name], Counter())


SMALL = ("a map too small for its stride", "one unit that starts beyond the edges")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("factor", [Fraction(1, 2), 2, -1])
def test_wrong_strides_are_found(name: str, factor: Fraction) -> None:
    with jacobian.precision():
        model, _ = graphs.build(NAMED[name])
        field = receptive_field(model, model.output)
        compare_moves(field, NAMED[name], Counter())
        wrong = tuple(factor * stride for stride in field.stride)
        with pytest.raises(AssertionError):
            compare_moves(replace(field, stride=wrong), NAMED[name], Counter())


EVEN = {unit: (2 * unit - 1, 2 * unit + 2) for unit in range(6)}
ROWS = {
    "even": (EVEN, {2}),
    "repeating": ({0: (0, 1), 1: (2, 4), 2: (3, 4), 3: (5, 7), 4: (6, 7)}, {Fraction(3, 2)}),
    "with holes": ({0: (0, 1), 2: (1, 2), 4: (2, 3)}, {Fraction(1, 2)}),
    "cut at its ends": ({**EVEN, 0: (0, 2), 5: (9, 10)}, {2}),
    "not seen twice": ({0: (-2, 1), 1: (2, 3), 2: (4, 7)}, set()),
    "uneven": ({0: (0, 1), 1: (1, 2), 2: (4, 5), 3: (5, 6), 4: (9, 10)}, set()),
    "growing": ({unit: (2 * unit, 3 * unit + 1) for unit in range(6)}, set()),
    "one": ({0: (0, 1)}, set()),
}


@pytest.mark.parametrize("name", ROWS)
def test_strides_are_those_that_a_row_shows(name: str) -> None:
    ends, shown = ROWS[name]
    assert strides_shown(ends, 10) == shown


@pytest.mark.parametrize(("groups", "constant"), [(2, True), (1, False)])
def test_normalisations_of_equal_values_show_no_gradient(groups: int, constant: bool) -> None:
    steps = dict(NAMED["normalised over equal positions"].steps)
    steps["GroupNormalization"] = {"groups": groups}
    with jacobian.precision():
        model, _ = graphs.build(graphs.Description(((4, 2),), tuple(steps.items())))
        assert graphs.normalises_equals(graphs.weigh(model)) is constant
        (seen,) = jacobian.supports(model, [(0,)], tolerance=0.0)
        values = np.random.default_rng(0).uniform(0.5, 1.5, (2, 4, 2))
        one, other = np.asarray(model(values))
    assert np.allclose(one, other, rtol=0, atol=1e-12) is constant
    assert constant or seen.all()
