"""What a cone provides besides one unit's gradient: other parts, other modes, other rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box, Window
from keras_erf.algebra.views import Link, View
from keras_erf.cone import Cone, cone_of, whole_cone
from keras_erf.dependence.chaining import chained
from keras_erf.fields.theoretical import Target, locate, tracing_of
from keras_erf.layers.activation import is_finished_by_position
from keras_erf.layers.parts import PartSite, Restricted, as_called, called_on_part, shortened
from keras_erf.layers.table import TABLE
from keras_erf.rules import Call
from tests import cones, jacobian
from tests.cones import Block, Scale

SHAPE = (9, 8, 3)


def model_of(build: Callable[..., Any], *shapes: tuple[int, ...]) -> keras.Model:
    """A model with random weights, none of them zero."""
    inputs = [keras.Input(shape) for shape in shapes or [SHAPE]]
    model = keras.Model(inputs, build(*inputs))
    return jacobian.make_positive(model)


def drawn(*shape: int, dtype: str = "float64") -> Any:
    return tf.constant(np.random.default_rng(0).normal(size=shape), dtype)


def values_at(cone: Cone, inputs: dict[int, Any], **options: Any) -> dict[int, Any]:
    """Runs a cone on the parts it needs of whole inputs."""
    known = {
        number: value[(slice(None), *(slice(*one) for one in cone.parts.get(number, ())))]
        for number, value in inputs.items()
    }
    return cone.run(known, **options)


# --- Units that see nothing ----------------------------------------------------------------------

BLIND = {
    "padding": (lambda x: layers.ZeroPadding2D(3)(x), (0, 1)),
    "padding-one-axis": (lambda x: layers.ZeroPadding2D(3)(x), (0, 5)),
    "convolution": (
        lambda x: layers.Conv2D(2, 3)(layers.ZeroPadding2D(((3, 0), (1, 1)))(x)),
        (0, 4),
    ),
    "convolution-twice": (
        lambda x: layers.Conv2D(2, 3, padding="same")(
            layers.Conv2D(2, 2)(layers.ZeroPadding2D(((0, 5), (1, 1)))(x))
        ),
        (12, 4),
    ),
    "average": (lambda x: layers.AveragePooling2D(2)(layers.ZeroPadding2D(4)(x)), (1, 4)),
    "between-taps": (lambda x: layers.Conv2DTranspose(2, 1, 3)(x), (1, 3)),
    "output-padding": (lambda x: layers.Conv2DTranspose(2, 2, 2, output_padding=1)(x), (18, 16)),
    "cut-away": (lambda x, y: layers.Concatenate(axis=1)([x, y]), (13, 2)),
}


@pytest.mark.parametrize(("build", "unit"), BLIND.values(), ids=BLIND)
def test_a_unit_that_sees_nothing(build, unit):
    with jacobian.precision():
        model = model_of(build, *[SHAPE] * build.__code__.co_argcount)
        target = replace(locate(model, model.output), position=unit)
        values = [drawn(2, *SHAPE) for _ in model.inputs]
        (expected,) = cones.by_model(model, [target], values)
        found = cones.by_cone(target.tracing, target.tensor, unit, values)
        assert not expected.gradient.any()
        assert not found.gradient.any()
        assert np.allclose(found.value, expected.value, rtol=1e-14, atol=0)


# --- Training ------------------------------------------------------------------------------------


def in_training(
    target: Target, value: Any, position: tuple[int, ...], seed: int
) -> tuple[Any, Any]:
    """A unit by its cone and by the whole graph, from one state of the random numbers."""
    graph = target.graph
    states = graph.random_states()
    state = [(variable, tf.constant([seed, 0], variable.dtype)) for variable in states]
    assert state
    found = cones.by_cone(
        target.tracing, target.tensor, position, [value], training=True, state=state
    )
    made = whole_cone(graph, [target.tensor]).run({target.input: value}, training=True, state=state)
    return found, made[target.tensor][(slice(None), *position)]


@pytest.mark.parametrize(
    "drop",
    [
        lambda: layers.SpatialDropout2D(0.5),
        lambda: layers.Dropout(0.5, noise_shape=(None, 9, 1, 3)),
        lambda: layers.AlphaDropout(0.5, noise_shape=(None, 9, 8, 1)),
    ],
    ids=["spatial", "noise-shape", "alpha"],
)
def test_dropout_of_whole_channels_or_rows_draws_what_the_model_draws(drop):
    with jacobian.precision():
        model = model_of(lambda x: layers.Conv2D(2, 3)(drop()(x)))
        target = locate(model, model.output)
        found, expected = in_training(target, drawn(32, *SHAPE), (3, 2), 5)
        assert np.allclose(found.value, expected, rtol=1e-12)
        # Something is dropped, by the state that is given.
        still = cones.by_cone(target.tracing, target.tensor, (3, 2), [drawn(32, *SHAPE)])
        other, _ = in_training(target, drawn(32, *SHAPE), (3, 2), 6)
        assert not np.allclose(found.value, still.value)
        assert not np.allclose(found.value, other.value)


def test_dropout_drops_within_the_part():
    with jacobian.precision():
        model = model_of(lambda x: layers.Dropout(0.25)(x))
        target = locate(model, model.output)
        value = tf.ones((4000, *SHAPE), "float64")
        found, _ = in_training(target, value, (3, 2), 0)
        assert found.cone.parts[target.input] == ((3, 4), (2, 3), (0, 3))
        assert set(np.unique(found.value.round(12))) == {0, np.round(4 / 3, 12)}
        # Of 12000 draws with standard deviation 0.43: five standard errors.
        assert abs((found.value == 0).mean() - 0.25) < 0.02
        outside = found.gradient.copy()
        outside[:, 3, 2] = 0
        assert not outside.any()


# --- What is wanted ------------------------------------------------------------------------------


def test_a_part_of_several_units():
    with jacobian.precision():
        model = model_of(lambda x: layers.Conv2D(4, 3, 2, padding="same")(layers.ReLU()(x)))
        tracing = tracing_of(model)
        value = drawn(2, *SHAPE)
        tensor = tracing.graph.outputs[0]
        part = ((1, 4), (0, 2), (0, 4))
        cone = cone_of(tracing, {tensor: part})
        # Rows 1 to 3 of stride 2 with one row of padding see rows 1 to 7; columns 0 and 1 of no
        # padding before see columns 0 to 4.
        assert cone.parts[tracing.input] == ((1, 8), (0, 5), (0, 3))
        found = values_at(cone, {tracing.input: value})[tensor]
        assert np.allclose(found, model(value)[:, 1:4, 0:2], rtol=1e-12)


def test_parts_of_two_tensors_at_once():
    with jacobian.precision():
        inner = layers.Conv2D(4, 3, padding="same", name="inner")
        model = model_of(lambda x: layers.MaxPooling2D(2)(inner(x)))
        tracing = tracing_of(model)
        first, last = tracing.graph.find("inner"), tracing.graph.outputs[0]
        wanted: dict[int, Box] = {first: ((6, 7), (7, 8), (0, 4)), last: ((0, 1), (1, 2), (0, 4))}
        cone = cone_of(tracing, wanted)
        # The hull of both; the second needs rows 0 and 1, columns 2 and 3.
        assert cone.parts[first] == ((0, 7), (2, 8), (0, 4))
        assert cone.parts[last] == wanted[last]
        value = drawn(2, *SHAPE)
        found = values_at(cone, {tracing.input: value})
        assert np.allclose(found[first], inner(value)[:, 0:7, 2:8], rtol=1e-12)
        assert np.allclose(found[last], model(value)[:, 0:1, 1:2], rtol=1e-12)


def test_an_input_that_is_not_needed_is_not_asked_for():
    with jacobian.precision():
        model = model_of(lambda x, y: [layers.ReLU(name="left")(x), x + y], SHAPE, SHAPE)
        tracing = tracing_of(model)
        left = tracing.graph.find("left")
        cone = cone_of(tracing, {left: ((1, 2), (3, 4), (0, 3))})
        assert set(cone.parts) == {tracing.input, left}
        assert len(cone.steps) == 1


def test_some_steps():
    with jacobian.precision():
        model = model_of(lambda x: layers.ReLU()(layers.Conv2D(4, 3, name="conv")(x)))
        tracing = tracing_of(model)
        cone = cone_of(tracing, {tracing.graph.outputs[0]: ((1, 2), (3, 4), (0, 4))})
        known = values_at(cone, {tracing.input: drawn(1, *SHAPE)}, steps=1)
        assert set(known) == {tracing.input, tracing.graph.find("conv")}


def test_the_whole_cone_is_the_model():
    with jacobian.precision():
        model = model_of(lambda x: [layers.Conv2D(4, 3)(x), layers.ReLU(name="aside")(x)])
        tracing = tracing_of(model)
        cone = whole_cone(tracing.graph, tracing.graph.outputs[:1])
        assert [step.node.name for step in cone.steps] == [model.layers[1].name]
        value = drawn(2, *SHAPE)
        found = cone.run({tracing.input: value})[tracing.graph.outputs[0]]
        assert np.array_equal(found, model(value)[0])


# --- What holds a layer back ---------------------------------------------------------------------


def test_activations_that_need_more_than_their_position():
    def conv(activation: Any, **options: Any) -> layers.Layer:
        return layers.Conv2D(3, 3, activation=activation, **options)

    for activation in ("tanh", "softmax", layers.ReLU()):
        assert is_finished_by_position(conv(activation))
    for activation in ("glu", layers.PReLU(), layers.Softmax(axis=1), np.tanh):
        assert not is_finished_by_position(conv(activation))
    assert not is_finished_by_position(conv("softmax", data_format="channels_first"))


SAME = View((Link(0), Link(1)))
MOVED = View((Link(0, Window(3)), Link(1)))


@pytest.mark.parametrize(
    ("steps", "shorter"),
    [
        ((MOVED, SAME), MOVED),
        ((SAME, MOVED), MOVED),
        ((SAME, SAME), SAME),
        ((MOVED, MOVED), None),
        ((MOVED, replace(SAME, status="measured")), None),
    ],
)
def test_steps_at_which_nothing_moves_are_left_out(steps, shorter):
    call = Call("layer", None, inputs=((7, 2), (7, 2)), outputs=((7, 2),))
    (chain,) = chained([replace(steps[0], input=1)], (7, 2), [steps[1]])
    expected = chain if shorter is None else replace(shorter, input=1)
    assert shortened(chain, call) == expected
    assert shortened(MOVED, call) is MOVED


def test_a_step_that_changes_the_size_is_kept():
    call = Call("layer", None, inputs=((7, 2),), outputs=((5, 2),))
    (chain,) = chained([SAME], (5, 2), [SAME])
    # The other step is all there is, though it is the same place as well.
    assert shortened(chain, call) == SAME
    (chain,) = chained([MOVED], (5, 2), [View((Link(None), Link(1)))])
    assert shortened(chain, call) is chain


def test_measured_views_hold_a_layer_back():
    call = Call("layer", layers.ReLU(), inputs=((7, 2),), outputs=((7, 2),))
    for status, cut in (("exact", True), ("bound", False), ("measured", False)):
        view = replace(SAME, status=status)
        assert (called_on_part(PartSite(call, (view,), ((1, 2), (0, 2)))) is not None) == cut


def test_one_tensor_in_two_parts_holds_a_layer_back(monkeypatch):
    def torn(site: PartSite) -> Restricted:
        first, *_ = site.wanted
        whole = entire(SHAPE)
        return Restricted(((first, *whole[1:]), whole), (first, *whole[1:]), as_called)

    monkeypatch.setitem(TABLE, layers.Subtract, replace(TABLE[layers.Subtract], part=torn))
    with jacobian.precision():
        for build, whole in (
            (lambda x: layers.Subtract()([x, x]), True),
            (lambda x: layers.Subtract()([x, 2 * x]), False),
        ):
            model = model_of(build)
            tracing = tracing_of(model)
            wanted = ((1, 2), (3, 4), (0, 3))
            cone = cone_of(tracing, {tracing.graph.outputs[0]: wanted})
            (step,) = (one for one in cone.steps if "subtract" in one.node.name)
            assert (step.inputs == (entire(SHAPE),) * 2) == whole


# --- What it reports -----------------------------------------------------------------------------


def identity_rule(call: Any) -> tuple[View, ...]:
    return (View(tuple(map(Link, range(len(call.output))))),)


@pytest.mark.parametrize("kind", [Scale, layers.ReLU])
def test_a_layer_with_a_rule_of_the_users_runs_whole(kind):
    with jacobian.precision():
        model = model_of(lambda x: (kind(3) if kind is Scale else kind())(x))
        for rules, whole in ((None, False), ({kind: identity_rule}, True)):
            target = locate(model, model.output, rules=rules)
            found = cones.by_cone(target.tracing, target.tensor, (1, 2), [drawn(2, *SHAPE)])
            assert (found.cone.parts[target.input] == entire(SHAPE)) == whole


def test_an_opened_layer_runs_whole_where_it_must_not_be_run_from_inside():
    with jacobian.precision():
        model = model_of(lambda x: Block()(x), (9, 8, 4))
        target = locate(model, model.output)
        for inside in (True, False):
            found = cones.by_cone(
                target.tracing, target.tensor, (1, 2), [drawn(2, 9, 8, 4)], inside=inside
            )
            assert (found.cone.parts[target.input] != entire((9, 8, 4))) == inside
            assert (len(found.cone.steps) > 1) == inside


def test_gradients_by_the_second_input():
    with jacobian.precision():
        model = model_of(lambda x, y: layers.Conv2D(2, 3)(x * y), SHAPE, SHAPE)
        target = locate(model, model.output, unit=(0, 5), input=model.inputs[1].name)
        values = [drawn(2, *SHAPE) + 1, drawn(2, *SHAPE)]
        (expected,) = cones.by_model(model, [target], values, 1)
        found = cones.by_cone(target.tracing, target.tensor, (0, 5), values)
        assert np.allclose(found.gradient, expected.gradient, rtol=1e-12)
        assert expected.gradient.any()


def test_a_single_sample():
    # Of one sample and one channel a column of three rows is taken for the biases of three
    # channels by Keras's own addition.
    def build(x: Any, y: Any) -> Any:
        return layers.Conv2D(2, (3, 1))(ops.square(layers.Add()([x, y])))

    with jacobian.precision():
        model = model_of(build, SHAPE, (9, 8, 1))
        values = [drawn(1, *SHAPE), drawn(1, 9, 8, 1)]
        target = locate(model, model.output)
        (expected,) = cones.by_model(model, [target], values)
        found = cones.by_cone(target.tracing, target.tensor, target.position, values)
        assert np.allclose(found.value, expected.value, rtol=1e-12)
        assert np.allclose(found.gradient, expected.gradient, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.MaxPooling2D(2, padding="same"),
        lambda: layers.ZeroPadding2D(1),
        lambda: layers.Cropping2D(1),
        lambda: layers.UpSampling2D(2),
        lambda: layers.ReLU(),
    ],
    ids=["maxima", "padding", "cropping", "nearest", "relu"],
)
def test_whole_numbers_stay_what_they_are(make):
    with jacobian.precision():
        model = model_of(lambda x: ops.cast(make()(ops.cast(8 * x, "int32")), x.dtype))
        target = locate(model, model.output)
        value = drawn(2, *SHAPE)
        whole = whole_cone(target.graph, [target.tensor]).run({target.input: value})
        last = tuple(size - 1 for size in target.tracing.spatial_shape(target.tensor))
        for position in ((0, 0), last):
            found = cones.by_cone(target.tracing, target.tensor, position, [value])
            assert np.array_equal(found.value, model(value)[(slice(None), *position)])
            for number, one in whole.items():
                assert found.values[number].dtype == one.dtype
        assert "int32" in {one.dtype.name for one in whole.values()}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_that_of_the_model(policy):
    def build(x: Any) -> Any:
        # Two of single precision, of which the one that is traced runs whole.
        x = layers.AveragePooling2D(3, 1, padding="same")(x) * Scale(3, name="scaled")(x)
        x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, 1)(x)
        x = layers.Conv2DTranspose(4, 3, 2)(layers.BatchNormalization()(x))
        return layers.Dense(2, dtype="float32")(x)

    keras.config.set_dtype_policy(policy)
    try:
        model = model_of(build, (24, 23, 3))
        target = locate(model, model.output)
        value = drawn(2, 24, 23, 3, dtype="float32")
        found = cones.by_cone(target.tracing, target.tensor, (4, 5), [value])
        whole = whole_cone(target.graph, [target.tensor]).run({target.input: value})
    finally:
        keras.config.set_dtype_policy("float32")
    parts = {step.node.operation.name: step.inputs[0] for step in found.cone.steps}
    assert {name for name, part in parts.items() if part == entire((24, 23, 3))} == {"scaled"}
    for number, one in whole.items():
        assert found.values[number].dtype == one.dtype
    # Half precision has at least 8 bits.
    assert np.allclose(found.value, whole[target.tensor][:, 4, 5], rtol=2**-6)
