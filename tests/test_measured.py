"""Unknown layers, whose fields are known by hand: traced, and measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_erf
from keras_erf import check, probe, receptive_field, receptive_fields, rules
from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.errors import InvalidInputError, UnsupportedLayerError
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import build_graph
from tests import jacobian
from tests.cases import Case, Cases, model_of

Unit = tuple[int, ...]


class Filter(layers.Layer):
    """A convolution of 3 with stride 2 and a ReLU, written by hand; its kernel starts at zero."""

    def __init__(self, initializer: str = "glorot_uniform", **options: Any) -> None:
        super().__init__(**options)
        self.initializer = initializer

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, shape[-1], 4), initializer=self.initializer)
        self.bias = self.add_weight(shape=(4,), initializer="zeros")

    def call(self, x):
        return ops.relu(ops.conv(x, self.kernel, strides=2, padding="valid") + self.bias)


class Halved(layers.Layer):
    """Two outputs: the neighbour on the left, and every second step."""

    def call(self, x):
        return ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1] * 2, ops.tanh(x[:, ::2])


class Mixed(layers.Layer):
    """A step of the first input, times a mean of three of the second."""

    def call(self, a, b):
        return a * ops.average_pool(b, 3, 1, padding="valid")


class Chosen(layers.Layer):
    """Steps of the first input that integers in the second tell."""

    def call(self, x, places):
        return ops.take_along_axis(x, ops.expand_dims(places, -1), axis=1)


class Signs(layers.Layer):
    """One where the first channel is positive, as an integer."""

    def call(self, x):
        return ops.cast(x[..., 0] > 0, "int32")


MEASURED = dict.fromkeys((layers.Lambda, Filter, Halved, Mixed, Chosen, Signs), rules.measured)
# Without a rule of one's own a layer is traced first.
WAYS = {"measured": MEASURED, "traced": None}


def cross(x):
    wide = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1]
    return x + rows + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]


def shuffled(x):
    """Depth to space: blocks of 2 by 2 are made of four channels."""
    x = ops.reshape(x, (-1, 3, 4, 2, 2, 2))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 6, 8, 2)) * 2


def called(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: layers.Lambda(function, name="odd")(x)


def near(row: int, column: int) -> list[Unit]:
    around = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
    return [(row + down, column + right) for down, right in around]


# Calls with the pixels that a unit sees, by hand.
CASES = Cases()
add = CASES.add
add("convolution", lambda x: Filter(name="odd")(x), (11, 2), sees=lambda u: range(2 * u, 2 * u + 3))
add("cross", called(cross), (5, 6, 2), sees=near)
add(
    "mean of a window",
    called(lambda x: ops.mean(ops.reshape(x, (-1, 3, 4, 2)), axis=2)),
    (12, 2),
    sees=lambda u: range(4 * u, 4 * u + 4),
)
add("depth to space", called(shuffled), (3, 4, 8), sees=lambda r, c: [(r // 2, c // 2)])
add("slice", called(lambda x: 2 * x[:, 2:7]), (9, 2), sees=lambda u: [u + 2])
add(
    "shift in a plane",
    called(lambda x: ops.pad(x, [[0, 0], [2, 0], [0, 0], [0, 0]])[:, :-2]),
    (5, 4, 2),
    sees=lambda r, c: [(r - 2, c)],
)
add("flip", called(lambda x: ops.flip(x, 1) * 3), (9, 2), sees=lambda u: [8 - u])
add(
    "maximum",
    called(lambda x: ops.max_pool(x, 3, 3)),
    (11, 2),
    sees=lambda u: range(3 * u, 3 * u + 3),
)
add("softmax over space", called(lambda x: ops.softmax(x, 1)), (7, 2), sees=lambda u: range(7))
add(
    "axis swap",
    called(lambda x: ops.transpose(x, (0, 2, 1, 3)) + 1),
    (4, 5, 2),
    sees=lambda r, c: [(c, r)],
)
add("far ends", called(lambda x: x + ops.flip(x, 1)), (7, 2), sees=lambda u: [u, 6 - u])
add("running sum", called(lambda x: ops.cumsum(x, 1)), (7, 2), sees=lambda u: range(u + 1))
add(
    "dilated sum",
    called(lambda x: x[:, :-4] + x[:, 2:-2] + x[:, 4:]),
    (11, 2),
    sees=lambda u: [u, u + 2, u + 4],
)
add(
    "diagonal",
    called(lambda x: x[:, :-1, :-1] + x[:, 1:, 1:]),
    (4, 5, 2),
    sees=lambda r, c: [(r, c), (r + 1, c + 1)],
)
add("repetition", called(lambda x: ops.repeat(x, 3, 1) * 2), (4, 2), sees=lambda u: [u // 3])
# The columns of the output follow none of the input.
add(
    "two columns",
    called(lambda x: ops.repeat(ops.sum(x[:, :, 1:3], axis=2, keepdims=True), 4, axis=2)),
    (4, 5, 2),
    sees=lambda r, c: [(r, 1), (r, 2)],
)
add(
    "every channel",
    called(lambda x: x + ops.mean(x, -1, keepdims=True)),
    (4, 5, 3),
    sees=lambda r, c: [(r, c)],
)


def mask_of(case: Case, unit: Unit) -> np.ndarray:
    mask = np.zeros(case.shapes[0][:-1], dtype=bool)
    for place in case.sees(*unit):
        at = place if isinstance(place, tuple) else (place,)
        if all(0 <= index < size for index, size in zip(at, mask.shape, strict=True)):
            mask[at] = True
    return mask


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_an_unknown_layer_has_the_field_it_is_known_to_have(name, way):
    case = CASES[name]
    field = receptive_field(model_of(case), rules=WAYS[way])
    assert field.status in (("measured",) if way == "measured" else ("exact", "whole"))
    for unit in np.ndindex(*field.output_size):
        expected = mask_of(case, unit)
        np.testing.assert_array_equal(field.support(unit), expected, err_msg=f"unit {unit}")
        hull = jacobian.bounding_box(expected)
        assert field.visible(unit) == hull, unit
        if not expected.any():
            continue
        for (start, stop), (first, last), size in zip(
            field.box(unit), hull, field.input_size, strict=True
        ):
            assert (max(start, 0), min(stop, size)) == (first, last), unit


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_an_unknown_layer_between_others(name, way):
    case = CASES[name]
    (shape,) = case.shapes
    rank = len(shape) - 1
    kind = getattr(layers, f"Conv{rank}D")
    x = keras.Input(shape)
    inside = case.build(kind(shape[-1], 3, padding="same")(x))
    model = keras.Model(x, kind(1, 2)(inside))
    field = receptive_field(model, rules=WAYS[way])
    few = jacobian.some_units(field.output_size, count=2)
    for unit in few:
        seen = np.zeros(shape[:-1], dtype=bool)
        for ahead in np.ndindex(*(2,) * rank):
            for place in np.argwhere(mask_of(case, tuple(np.add(unit, ahead).tolist()))):
                seen[tuple(slice(max(at - 1, 0), at + 2) for at in place)] = True
        np.testing.assert_array_equal(field.support(unit), seen, err_msg=f"unit {unit}")
        assert field.visible(unit) == jacobian.bounding_box(seen)


@pytest.mark.parametrize("way", WAYS)
def test_axes_that_follow_one_and_the_same(way):
    def diagonal(x):
        return ops.moveaxis(ops.diagonal(x, axis1=1, axis2=2), -1, 1)

    x = keras.Input((5, 5, 2))
    model = keras.Model(x, layers.Lambda(diagonal)(x))
    field = receptive_field(model, unit=(3,), rules=WAYS[way])
    assert field.box() == ((3, 4), (3, 4))
    assert np.argwhere(field.support()).tolist() == [[3, 3]]
    assert field.visible((0,)) == ((0, 1), (0, 1))


@pytest.mark.parametrize("way", WAYS)
def test_figures_of_a_window(way):
    x = keras.Input((16, 16, 2))
    odd = layers.Lambda(lambda x: ops.average_pool(x, 3, 2, padding="same"), name="odd")
    field = receptive_field(keras.Model(x, odd(x)), unit=(3, 4), rules=WAYS[way])
    # SAME puts nothing before an even axis of stride 2 and 3 taps.
    assert field.box() == ((6, 9), (8, 11))
    assert (field.size, field.stride, field.padding) == ((3, 3), (2, 2), (0, 0))
    assert field.status == ("measured" if way == "measured" else "exact")
    # Maps of 8 and of 7: with a unit beyond the middle, and with the middle at an odd place.
    for size in (15, 13):
        x = keras.Input((size, size, 2))
        field = receptive_field(keras.Model(x, odd(x)), unit=(0, 0), rules=WAYS[way])
        assert (field.box(), field.padding) == (((-1, 2), (-1, 2)), (1, 1))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("initializer", ["zeros", "ones", "glorot_uniform"])
def test_weights_do_not_matter(initializer, frozen):
    x = keras.Input((11, 2))
    odd = Filter(initializer, name="odd")
    model = keras.Model(x, odd(x))
    odd.trainable = not frozen
    field = receptive_field(model, unit=(2,), rules=MEASURED)
    assert (field.box(), field.status) == (((4, 7),), "measured")
    assert receptive_field(model, unit=(2,)).box() == ((4, 7),)
    assert odd.trainable is not frozen


def test_a_model_of_one_batch_size():
    x = keras.Input(batch_shape=(3, 9, 2))
    model = keras.Model(x, layers.Lambda(lambda x: ops.reshape(x, (3, 3, 6)))(x))
    field = receptive_field(model, unit=(1,), rules=MEASURED)
    assert (field.box(), field.status) == (((3, 6),), "measured")
    field = receptive_field(model, unit=(1,))
    assert (field.box(), field.status) == (((3, 6),), "exact")


@pytest.mark.parametrize("way", WAYS)
def test_each_input_has_its_own_view(way):
    a, b = keras.Input((8, 2), name="a"), keras.Input((10, 2), name="b")
    model = keras.Model([a, b], Mixed(name="odd")(a, b))
    own = WAYS[way]
    assert receptive_field(model, unit=(4,), rules=own).box() == ((4, 5),)
    assert receptive_field(model, unit=(4,), input="b", rules=own).box() == ((4, 7),)


@pytest.mark.parametrize("way", WAYS)
def test_each_output_has_its_own_view(way):
    x = keras.Input((9, 2))
    left, every = Halved(name="odd")(x)
    model = keras.Model(x, [layers.ReLU(name="a")(left), layers.ReLU(name="b")(every)])
    own = WAYS[way]
    assert receptive_field(model, "a", unit=(4,), rules=own).box() == ((3, 4),)
    assert receptive_field(model, "b", unit=(4,), rules=own).box() == ((8, 9),)


def test_what_an_integer_input_does_is_bounded_by_all_of_it():
    x, places = keras.Input((9, 2), name="x"), keras.Input((5,), dtype="int32", name="places")
    model = keras.Model([x, places], Chosen(name="odd")(x, places))
    # Which step is taken the integers tell.
    field = receptive_field(model, unit=(2,), rules=MEASURED)
    assert (field.status, field.box()) == ("bound", ((0, 9),))
    y = layers.Conv1D(3, 3, padding="same", name="conv")(x)
    model = keras.Model(x, Chosen(name="odd")(x, Signs(name="signs")(y)))
    field = receptive_field(model, model.output, rules={**MEASURED, Signs: pointwise})
    assert (field.status, field.box()) == ("bound", ((0, 9),))
    # What is compared changes with what it is compared with.
    field = receptive_field(model, model.output, rules=MEASURED)
    assert (field.status, field.box()) == ("bound", ((0, 9),))


def pointwise(call: rules.Call) -> tuple[View, ...]:
    """A rule of one's own: step by step, over all channels."""
    return (View((Link(0), Link(None))),)


# --- Dependence without a gradient --------------------------------------------------------------


def centre_peaks(x):
    """Peaks as CenterNet picks them (Zhou et al. 2019, "Objects as Points", section 4)."""
    return x * tf.cast(tf.equal(tf.nn.max_pool2d(x, 3, 1, "SAME"), x), x.dtype)


def straight_through(x):
    """Rounded means whose gradient is that of the identity."""
    return x + tf.stop_gradient(tf.round(3 * tf.nn.avg_pool2d(x, 3, 1, "SAME")) - x)


def above_mean(x):
    return tf.where(x > tf.nn.avg_pool2d(x, 5, 1, "SAME"), x, 0.1 * x)


def above_neighbours(x):
    """What is larger than the pixels above and to the left."""
    wide = tf.pad(x, [[0, 0], [1, 0], [1, 0], [0, 0]])
    return tf.where((x > wide[:, :-1, 1:]) & (x > wide[:, 1:, :-1]), x, 0.1 * x)


HIDDEN = {
    "peaks": (centre_peaks, [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]),
    "straight through": (straight_through, [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]),
    "above a mean": (above_mean, [(r, c) for r in range(-2, 3) for c in range(-2, 3)]),
    "above neighbours": (above_neighbours, [(-1, 0), (0, -1), (0, 0)]),
    "rounding": (tf.round, [(0, 0)]),
    "largest channel": (lambda x: tf.cast(tf.argmax(x, -1)[..., None], tf.float32), [(0, 0)]),
}
# Those whose gradient shows something, but not all.
IN_PART = ("peaks", "straight through", "above a mean", "above neighbours")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HIDDEN)
def test_dependence_without_a_gradient(name, way):
    function, offsets = HIDDEN[name]
    x = keras.Input((7, 6, 2))
    shape = (lambda s: (*s[:-1], 1)) if name == "largest channel" else (lambda s: s)
    odd = layers.Lambda(function, output_shape=shape, name="odd")
    model = keras.Model(x, odd(x))
    field = receptive_field(model, rules=WAYS[way])
    assert field.status == ("measured" if way == "measured" else "exact")
    for unit in [(0, 0), (3, 3)]:
        expected = np.zeros((7, 6), dtype=bool)
        for down, right in offsets:
            row, column = unit[0] + down, unit[1] + right
            if 0 <= row < 7 and 0 <= column < 6:
                expected[row, column] = True
        np.testing.assert_array_equal(field.support(unit), expected, err_msg=f"{unit}")
    found = check(model, rules=WAYS[way])
    assert (found.verdict, found.unmeasured) == ("pass", ()), str(found)
    if name in ("straight through", "above a mean"):
        # What the gradient shows by itself is not enough.
        assert check(model, rules={layers.Lambda: alone}).verdict == "fail"


def alone(call: rules.Call) -> tuple[View, ...]:
    return (View((Link(0), Link(1), Link(None))),)


@pytest.mark.parametrize("name", IN_PART)
def test_results_name_what_a_gradient_does_not_see(name):
    x = keras.Input((9, 8, 2))
    y = layers.Conv2D(2, 3, padding="same", name="before")(x)
    y = layers.Lambda(HIDDEN[name][0], name="odd")(y)
    model = keras.Model(x, layers.Conv2D(2, 3, padding="same", name="behind")(y))
    result = probe(model, "behind", samples=2)
    assert result.unseen == ("odd",)
    assert "gradient-free paths: odd" in repr(result)
    result = probe(model, "before", samples=2)
    assert result.unseen == ()
    assert "gradient-free" not in repr(result)


def test_operations_without_a_gradient_are_named(tmp_path):
    x = keras.Input((9, 2))
    y = layers.Conv1D(2, 3, padding="same")(x)
    above = ops.cast(ops.greater(y, ops.average_pool(y, 3, 1, padding="same")), "float32")
    model = keras.Model(x, y * above + ops.stop_gradient(ops.round(y) - y))
    assert receptive_field(model).size == (5,)
    assert check(model).verdict == "pass"
    result = probe(model, samples=2)
    assert sorted(name.rstrip("_0123456789") for name in result.unseen) == [
        "greater",
        "round",
        "stop_gradient",
    ]
    result.save(tmp_path / "result.npz")
    assert keras_erf.load(tmp_path / "result.npz").unseen == result.unseen


# --- Refusals ------------------------------------------------------------------------------------


def raising(x):
    if not isinstance(x, keras.KerasTensor):
        raise RuntimeError("out of order\nsecond line")
    return x


REFUSED = {
    "a constant": (lambda x: ops.ones_like(x), "nothing it returns depends on its inputs"),
    "batch mixing": (lambda x: x - ops.mean(x, axis=0, keepdims=True), "mixes the samples"),
    "a reversed batch": (lambda x: ops.flip(x, 0), "mixes the samples"),
    "an exception": (raising, "it does not run by itself: out of order"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_measured_is_refused_in_one_line(name):
    function, reason = REFUSED[name]
    x = keras.Input((6, 5, 2))
    y = layers.Conv2D(2, 3, name="before")(x)
    model = keras.Model(x, layers.Lambda(function, name="odd", output_shape=lambda s: s)(y))
    with pytest.raises(UnsupportedLayerError, match=reason) as caught:
        receptive_field(model, "odd", rules=MEASURED)
    message = str(caught.value)
    assert "\n" not in message
    assert "'odd'" in message
    # Both remedies are named.
    assert "`rules={Lambda: rule}`" in message
    assert "`keras_erf.rules.whole`" in message
    assert "Received: Lambda" in message
    table = receptive_fields(model, rules=MEASURED)
    assert [one.layer for one in table.fields] == ["before"]
    assert [name for name, _ in table.skipped] == ["odd"]
    # And both help.
    assert receptive_field(model, "odd", rules={layers.Lambda: rules.whole}).status == "whole"
    assert receptive_field(model, "odd", rules={layers.Lambda: same}).size == (3, 3)


def same(call: rules.Call) -> tuple[View, ...]:
    return (View((Link(0), Link(1), Link(2))),)


# --- Rules of one's own --------------------------------------------------------------------------


class Doubled(layers.Conv1D):
    """A convolution that looks one step further, after all."""

    def call(self, x):
        return super().call(x) + super().call(ops.roll(x, 1, axis=1))


@pytest.mark.parametrize("way", WAYS)
def test_a_subclass_that_computes_otherwise_is_not_its_parent(way):
    x = keras.Input((12, 2))
    own = {Doubled: rules.measured} if way == "measured" else None
    model = keras.Model(x, Doubled(3, 3, padding="same", name="odd")(x))
    field = receptive_field(model, unit=(5,), rules=own)
    assert field.box() == ((3, 7),)
    assert field.status == ("measured" if way == "measured" else "exact")
    # At the start it comes round the other end.
    assert np.flatnonzero(field.support((0,))).tolist() == [0, 1, 11]
    ((start, stop),) = field.box((0,))
    assert (max(start, 0), min(stop, 12)) == (0, 12)


def test_a_rule_of_one_s_own_comes_first():
    def wide(call: rules.Call) -> tuple[View, ...]:
        assert call.name == "odd"
        assert (call.inputs, call.outputs) == (((12, 2),), ((12, 3),))
        return (View((Link(0, Window(7, padding=3)), Link(None))),)

    x = keras.Input((12, 2))
    model = keras.Model(x, Doubled(3, 3, padding="same", name="odd")(x))
    field = receptive_field(model, unit=(5,), rules={Doubled: wide})
    assert (field.box(), field.status) == (((2, 9),), "exact")
    # For layers that are known as well, but not for their subclasses.
    known = keras.Model(x, layers.Conv1D(3, 3, padding="same", name="odd")(x))
    assert receptive_field(known, rules={layers.Conv1D: wide}).size == (7,)
    assert receptive_field(model, rules={layers.Conv1D: wide}, unit=(5,)).size == (4,)


def test_the_least_sure_layer_on_the_way_counts():
    x = keras.Input((9, 9, 2))
    first = layers.Conv2D(2, 3, padding="same", name="exact")(x)
    odd = layers.Lambda(lambda x: x * 2, name="odd")(first)
    behind = layers.Conv2D(2, 3, padding="same", name="behind")(odd)

    def loose(call: rules.Call) -> tuple[View, ...]:
        return (View((Link(0), Link(1), Link(2)), status="bound"),)

    last = layers.ReLU(name="last")(behind)
    model = keras.Model(x, layers.Add(name="sum")([last, first]))
    found = {one.layer: one.status for one in receptive_fields(model, rules=MEASURED).fields}
    assert found == {
        "exact": "exact",
        "odd": "measured",
        "behind": "measured",
        "last": "measured",
        "sum": "measured",
    }
    own = {**MEASURED, layers.ReLU: loose}
    assert receptive_field(model, "sum", rules=own).status == "bound"
    assert receptive_field(model, "behind", rules=own).status == "measured"
    # Off the path it does not count.
    side = layers.Conv2D(2, 3, padding="same", name="side")(first)
    assert receptive_field(keras.Model(x, [side, last]), "side").status == "exact"


# --- Nothing is changed --------------------------------------------------------------------------


class Noisy(layers.Layer):
    """Draws random numbers even when it does not train, and counts its calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        self.add_loss(ops.mean(x))
        return x * self.scale + keras.random.normal(ops.shape(x), seed=self.seeds)


def test_the_model_is_left_as_it_was():
    x = keras.Input((9, 2))
    odd = Noisy(name="odd")
    model = keras.Model(x, Filter("zeros", name="filter")(odd(x)))
    before = [np.array(one) for one in [*model.variables, odd.seeds.state]]
    assert len(before) == 6
    nodes = {one.name: (len(one._inbound_nodes), len(one._outbound_nodes)) for one in model.layers}
    losses = len(model.losses)
    trainable = [one.trainable for one in model.variables]
    assert receptive_field(model).size == (3,)
    for kept, now in zip(before, [*model.variables, odd.seeds.state], strict=True):
        np.testing.assert_array_equal(kept, now)
    assert nodes == {
        one.name: (len(one._inbound_nodes), len(one._outbound_nodes)) for one in model.layers
    }
    assert len(model.losses) == losses
    assert [one.trainable for one in model.variables] == trainable


def test_the_same_answer_whatever_the_global_seed():
    x = keras.Input((5, 6, 2))
    model = keras.Model(x, layers.Lambda(cross)(x))
    masks = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        masks.append(receptive_field(model).support((2, 3)))
    np.testing.assert_array_equal(*masks)


def test_a_unit_that_sees_nothing_has_no_field():
    x = keras.Input((6, 2))
    odd = layers.Lambda(lambda x: ops.concatenate([x[:, :3], ops.zeros_like(x[:, 3:])], axis=1))
    model = keras.Model(x, odd(x))
    assert receptive_field(model, unit=(1,)).box() == ((1, 2),)
    with pytest.raises(InvalidInputError, match="sees nothing"):
        receptive_field(model, unit=(4,))


# --- Models over time ----------------------------------------------------------------------------


class Block(layers.Layer):
    """A convolution and a pool, called by a layer of one's own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.conv = layers.Conv1D(2, 3, padding="same")

    def build(self, shape):
        self.conv.build(shape)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] // 2, 2)

    def call(self, x):
        return ops.average_pool(self.conv(x), 2, 2)


def backbone() -> keras.Model:
    x = keras.Input((10, 2))
    y = layers.Add()([layers.Conv1D(2, 3, padding="same")(x), x])
    return keras.Model(x, layers.MaxPooling1D(2)(y))


def test_channels_first_stay_behind_the_steps():
    x, step = keras.Input((3, 2, 6, 8)), keras.Input((2, 6, 8))
    padded = layers.ZeroPadding2D(((1, 0), (0, 2)), data_format="channels_first")(step)
    model = keras.Model(x, layers.TimeDistributed(keras.Model(step, padded))(x))
    graph = build_graph(model)
    tracing = Tracing(graph, graph.inputs[0])
    assert tracing.spatial_axes(graph.outputs[0]) == (0, 2, 3)


@pytest.mark.parametrize("make", [backbone, Block])
def test_a_model_over_time_is_traced_step_by_step(make):
    x = keras.Input((4, 10, 2))
    model = keras.Model(x, layers.TimeDistributed(make(), name="steps")(x))
    field = receptive_field(model, unit=(2, 1))
    assert (field.status, field.box()) == ("exact", ((2, 3), (1, 5)))
    assert (field.stride, field.padding) == ((1, 2), (0, 1))
    expected = np.zeros((4, 10), dtype=bool)
    expected[2, 1:5] = True
    np.testing.assert_array_equal(field.support(), expected)
    assert check(model, unit=(2, 1)).verdict == "pass"
    # Once more over time, and in front of a layer that gathers all steps.
    video = keras.Input((2, 4, 10, 2))
    twice = layers.TimeDistributed(layers.TimeDistributed(make()))(video)
    field = receptive_field(keras.Model(video, twice), unit=(1, 2, 1))
    assert (field.status, field.box()) == ("exact", ((1, 2), (2, 3), (1, 5)))
    last = layers.LSTM(3, return_sequences=True)(layers.Reshape((4, 10))(model.output))
    field = receptive_field(keras.Model(x, last), unit=(1,))
    assert field.support().tolist() == [[True] * 10] * 2 + [[False] * 10] * 2


class Gather(layers.Layer):
    """Each pixel is read at a place that a convolution computes."""

    def build(self, shape):
        self.offsets = layers.Conv1D(1, 3, padding="same")
        self.offsets.build(shape)

    def call(self, x):
        import tensorflow as tf

        size = x.shape[1]
        at = tf.range(size, dtype="float32")[None] + 3 * self.offsets(x)[..., 0]
        low = tf.clip_by_value(tf.floor(at), 0, size - 2)
        share = (at - low)[..., None]
        ends = [tf.gather(x, tf.cast(low, "int32") + one, axis=1, batch_dims=1) for one in (0, 1)]
        return ends[0] * (1 - share) + ends[1] * share


def test_what_reads_at_computed_places_may_see_everything():
    x = keras.Input((48, 1))
    model = keras.Model(x, Gather()(layers.Conv1D(1, 3, padding="same")(x)))
    field = receptive_field(model, model.output, unit=(5,))
    # No number of draws shows how far an offset goes: all of the input holds what is seen.
    assert (field.status, field.visible()) == ("bound", ((0, 48),))
    assert field.support().all()
