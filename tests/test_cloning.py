"""Copies of models: the same calls and numbers, and nothing left behind in the original."""

from __future__ import annotations

import inspect
import random
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf.errors import InvalidInputError
from keras_erf.graph import build_graph, cloned
from tests.models import MODELS, call, changed, randomize, restless, state_of, values_of

REMEDY = "Do otherwise"


def plain(model: keras.Model, **options: Any) -> keras.Model:
    return cloned(model, remedy=REMEDY, **options)


def triple(x):
    return 3 * x


class Plain(layers.Layer):
    """Its constructor takes nothing that every layer takes; it builds its layers late."""

    def __init__(self, units):
        super().__init__()
        self.units = units
        self.first = layers.Dense(units)

    def build(self, shape):
        self.last = layers.Dense(self.units, activation=triple)
        self.first.build(shape)
        self.last.build((*shape[:-1], self.units))

    def call(self, x):
        return self.last(self.first(x))


class Holder(layers.Layer):
    """Holds a layer that is in no config."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class Odd(layers.Layer):
    """Has a config that its constructor does not take."""

    def call(self, x):
        return x

    def get_config(self):
        return {**super().get_config(), "size": 3}


class Growing(layers.Layer):
    """Has another weight each time that it is made."""

    count = 0

    def build(self, shape):
        Growing.count += 1
        self.weight = self.add_weight(shape=(Growing.count,))

    def call(self, x):
        return x + ops.sum(self.weight)


def custom() -> keras.Model:
    x = keras.Input((6, 5, 2), name="image")
    y = Plain(3)(x)
    y = layers.Lambda(lambda t: triple(t), output_shape=(6, 5, 3))(y)
    y = layers.Conv2D(2, 2, activation=lambda t: t * t)(y)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2, activation=triple))(y))


def statistics() -> keras.Model:
    """A layer that keeps what it learned somewhere else than in its weights."""
    learned = layers.Normalization()
    learned.adapt(np.random.default_rng(0).normal(3, 2, (20, 6, 5, 2)))
    x = keras.Input((6, 5, 2))
    return keras.Model(x, learned(x))


def frozen() -> keras.Model:
    x = keras.Input((6, 5, 2))
    inner = keras.Sequential([keras.Input((6, 5, 2)), layers.Conv2D(2, 1), layers.Dense(2)])
    inner.trainable = False
    inner.layers[1].trainable = True
    own = Plain(2)
    own.trainable = False
    return keras.Model(x, layers.Dense(2, trainable=False)(own(inner(x))))


def calls_of(model: keras.Model) -> list[tuple[int, int]]:
    """How many calls the layers and operations of a model remember."""
    parts = [node.operation for node in build_graph(model).nodes]
    return [(len(one._inbound_nodes), len(one._outbound_nodes)) for one in parts]


COPIED = {**MODELS, **{one.__name__: one for one in (custom, statistics, frozen)}}


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_computes_the_same(name: str):
    model = COPIED[name]()
    if name != "statistics":
        randomize(model)
    before, drawn = (state_of(model), calls_of(model)), random.getstate()
    copy = plain(model)
    assert (state_of(model), calls_of(model)) == before
    assert random.getstate() == drawn
    values = values_of(model)
    for training in (False, True):
        ours, theirs = (call(one, values, training=training) for one in (model, copy))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not {id(one) for one in model.variables} & {id(one) for one in copy.variables}
    flags = [{o.name: o.trainable for o in one._flatten_layers()} for one in (model, copy)]
    assert flags[0] == flags[1]


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_has_the_same_calls_and_numbers(name: str):
    model = COPIED[name]()
    ours, theirs = build_graph(model), build_graph(plain(model))
    assert ours.tensors == theirs.tensors
    assert (ours.inputs, ours.outputs, ours.batch) == (theirs.inputs, theirs.outputs, theirs.batch)
    assert ours.channel_axes == theirs.channel_axes
    for one, other in zip(ours.nodes, theirs.nodes, strict=True):
        assert (one.name, one.inputs, one.outputs) == (other.name, other.inputs, other.outputs)
        assert one.kind == other.kind
        assert one.operation is not other.operation
    names = [{one for one in graph.layers if isinstance(one, str)} for graph in (ours, theirs)]
    assert names[0] == names[1]


def test_the_kind_of_model_and_of_its_inputs_is_kept():
    assert type(plain(MODELS["chain"]())) is keras.Sequential
    copy = plain(MODELS["by_key"]())
    assert set(copy.input) == {"z", "gate"}
    assert set(copy.output) == {"one", "two"}
    fixed = plain(keras.Model(x := keras.Input((4, 2), 3, name="x"), layers.Dense(2)(x)))
    assert (fixed.input.shape, fixed.input.name) == ((3, 4, 2), "x")


def test_a_model_that_records_losses_and_draws_is_copied():
    model = randomize(restless())
    model(values_of(model)[0], training=True)
    before = state_of(model)
    copy = plain(model)
    assert state_of(model) == before
    np.testing.assert_array_equal(copy(values_of(model)[0]), model(values_of(model)[0]))


def test_a_compiled_model_is_copied_without_its_loss():
    model = MODELS["chain"]()
    model.compile(loss=lambda y, z: ops.mean(y - z))
    assert not plain(model).compiled


def test_other_dtypes():
    with_half = {"float16": "float32"}
    x = keras.Input((6, 5, 2), dtype="float16", name="x")
    y = layers.Conv2D(2, 1, dtype="float64")(layers.Conv2D(3, 3, dtype="mixed_float16")(x))
    y = ops.cast(ops.cast(y, "float16"), "bfloat16")
    copy = plain(keras.Model(x, y), dtypes=with_half)
    assert [one.dtype for one in build_graph(copy).tensors] == [
        "float32", "float32", "float64", "float32", "bfloat16",
    ]  # fmt: skip


REFUSED = {
    "without get_config": (
        lambda: Holder(layers.Dense(2)),
        "layer 'mine' cannot be made again, as its class Holder has no `get_config`",
    ),
    "odd config": (
        Odd,
        "layer 'mine' cannot be made again: Unrecognized keyword arguments passed to Odd: "
        "{'size': 3}",
    ),
    "other weights": (Growing, "layer 'mine' made from its config has other weights"),
    "a lambda inside": (
        lambda: layers.TimeDistributed(layers.Lambda(lambda t: t)),
        "layer 'mine' cannot be made again: Requested the deserialization of a `Lambda` layer "
        "whose `function` is a Python lambda",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_copied_is_refused(name: str):
    make, reason = REFUSED[name]
    layer = make()
    layer.name = "mine"
    x = keras.Input((3, 2))
    model = keras.Model(x, layer(x), name="whole")
    policy = keras.config.dtype_policy()
    with pytest.raises(InvalidInputError) as caught:
        plain(model)
    text = str(caught.value)
    assert text.startswith(f"`model` must be one that can be copied: {reason}")
    assert text.endswith(f". {REMEDY}. Received: model='whole'")
    assert "\n" not in text
    assert keras.config.dtype_policy() is policy


def test_a_subclassed_model_that_is_not_built_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InvalidInputError, match="`model` must be built"):
        plain(Own())


def test_keras_keeps_what_is_copied():
    x = keras.Input((2,))
    model = keras.Model(x, layers.Dense(2)(x) + 1)
    assert model._inputs_struct is model.input, changed("Function._inputs_struct")
    known = inspect.signature(model._run_through_graph).parameters
    assert {"inputs", "operation_fn"} <= set(known), changed("Function._run_through_graph")
    operation = model.output._keras_history.operation
    assert {"_inbound_nodes", "_outbound_nodes"} <= set(vars(operation)), changed("nodes")
    assert hasattr(layers.Lambda(lambda t: t), "_output_shape"), changed("Lambda._output_shape")
