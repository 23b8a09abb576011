"""The flat graph, and the contract with Keras's private structures it is read from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf import receptive_field
from keras_erf.cone import whole_cone
from keras_erf.errors import InvalidInputError, UnknownLayerError
from keras_erf.graph import Graph, build_graph
from tests.models import (
    MODELS,
    call,
    chain,
    changed,
    nested,
    randomize,
    restless,
    shared_layer,
    shared_model,
    state_of,
    values_of,
)


def run_tensors(graph: Graph, values: list[tf.Tensor], **options: Any) -> list[tf.Tensor]:
    known = dict(zip(graph.inputs, values, strict=True))
    found = whole_cone(graph, graph.outputs).run(known, **options)
    return [found[number] for number in graph.outputs]


def run(graph: Graph, values: list[tf.Tensor], **options: Any) -> list[np.ndarray]:
    return [one.numpy() for one in run_tensors(graph, values, **options)]


# --- The contract --------------------------------------------------------------------------------


def test_keras_keeps_the_structures_that_are_read():
    """Reads each private name in the way `graph.py` does."""
    inside = getattr(chain(), "_functional", None)
    assert isinstance(inside, keras.Function), changed("Sequential._functional")
    model = nested()
    assert isinstance(model, keras.Function), changed("a Functional model is a keras.Function")
    by_depth = getattr(model, "_nodes_by_depth", None)
    assert isinstance(by_depth, dict), changed("Function._nodes_by_depth")
    assert all(isinstance(depth, int) for depth in by_depth), changed("depths are integers")
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    first, last = nodes[0], nodes[-1]
    assert first.is_input, changed("Node.is_input, deepest nodes first")
    kinds = [type(node.operation).__name__ for node in nodes[1:]]
    assert kinds == ["Functional", "Add"], changed("Node.operation, deepest nodes first")
    assert last.outputs[0] is model.outputs[0], changed("Node.outputs")
    assert [id(one) for one in last.input_tensors] == [
        id(one) for one in keras.tree.flatten(last.arguments.args)
    ], changed("Node.input_tensors and Node.arguments.args")
    args, kwargs = last.arguments.convert(lambda one: one)
    assert [type(one) for one in keras.tree.flatten(args)] == [keras.KerasTensor] * 2, changed(
        "Node.arguments.convert"
    )
    assert kwargs == {}, changed("Node.arguments.convert gives args and kwargs")
    history = getattr(model.inputs[0], "_keras_history", None)
    assert getattr(history, "operation", None) is model.get_layer("image"), changed(
        "KerasTensor._keras_history.operation"
    )


def test_keras_keeps_what_layers_are_asked_for():
    layer = layers.Dropout(0.5)
    assert "training" in getattr(layer, "_call_context_args", ()), changed(
        "Layer._call_context_args"
    )
    assert [id(one.state) for one in getattr(layer, "_seed_generators", ())] == [
        id(one) for one in layer.variables
    ], changed("Layer._seed_generators")
    wrapped = keras.Sequential([keras.Input((3,)), layer])
    assert layer in list(getattr(wrapped, "_flatten_layers", list)()), changed(
        "Layer._flatten_layers"
    )
    assert callable(layer.compute_output_spec), changed("Operation.compute_output_spec")


def test_keras_keeps_the_places_of_its_code():
    assert keras.Model.call.__module__.startswith("keras."), changed("the place of Model.call")
    assert type(nested()).call.__module__ == "keras.src.models.functional", changed(
        "the place of Functional.call"
    )
    assert keras.Function.call.__module__ == "keras.src.ops.function", changed(
        "the place of Function.call"
    )
    x = keras.Input((3,))
    assert type((x + 1)._keras_history.operation).__module__.startswith("keras.src.ops."), changed(
        "the place of operations"
    )
    assert "kwargs" in inspect.signature(keras.Layer.__call__).parameters


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_running_the_graph_is_calling_the_model(name: str, training: bool):
    model = randomize(MODELS[name]())
    values = values_of(model)
    found = run(build_graph(model), values, training=training)
    expected = call(model, values, training=training)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        # The very same calls: not a bit differs.
        np.testing.assert_array_equal(one, other)


# Keras says so of any model inside of another one.
@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_a_nested_model_gets_its_masks():
    x, y = keras.Input((6,), dtype="int32"), keras.Input((3, 3))
    start = keras.Input((None, 3))
    inner = keras.Model(start, layers.LSTM(2)(start))
    embed = layers.Embedding(5, 3, mask_zero=True)
    model = randomize(keras.Model([x, y], layers.Add()([inner(embed(x)), inner(y)])))
    values = [tf.constant([[1, 2, 3, 4, 0, 0]]), tf.ones((1, 3, 3))]
    (found,), (expected,) = run(build_graph(model), values), call(model, values)
    np.testing.assert_array_equal(found, expected)
    (unmasked,) = run(build_graph(model), [tf.constant([[1, 2, 3, 4, 1, 1]]), values[1]])
    assert np.abs(found - unmasked).max() > 1e-4


def test_running_the_graph_of_an_application():
    model = keras.applications.MobileNetV3Small(weights=None, input_shape=(64, 64, 3))
    values = values_of(model, batch=1)
    found = run(build_graph(model), values)
    np.testing.assert_array_equal(found, call(model, values, training=False))


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_those_of_the_tensors(name: str):
    model = MODELS[name]()
    graph = build_graph(model)
    resized = graph.resized({})
    assert not resized.failures
    every = [number for node in graph.nodes for number in node.outputs]
    values = dict(zip(graph.inputs, values_of(model), strict=True))
    for number, value in whole_cone(graph, every).run(values).items():
        assert resized.tensors[number].shape == tuple(value.shape[1:])
        known = graph.tensors[number].shape
        assert all(a in (None, b) for a, b in zip(known, value.shape[1:], strict=True))
        assert graph.tensors[number].dtype == value.dtype.name


@pytest.mark.parametrize("size", [(6, 5), (9, 14)])
def test_resizing_gives_the_shapes_of_the_model_of_that_size(size):
    graph = build_graph(nested()).resized({0: size})
    image = tf.zeros((1, *size, 2))
    every = [number for node in graph.nodes for number in node.outputs]
    for number, value in whole_cone(graph, every).run({0: image}).items():
        assert graph.tensors[number].shape == tuple(value.shape[1:])


def test_resizing_keeps_the_reason_of_a_call_that_does_not_fit():
    x = keras.Input((6, 5, 2))
    y = layers.Conv2D(2, 3, name="conv")(x)
    z = layers.Reshape((24,), name="line")(y)
    graph = build_graph(keras.Model(x, layers.Dense(2, name="dense")(z))).resized({0: (7, 5)})
    conv, line, dense = (node.outputs[0] for node in graph.nodes)
    assert graph.tensors[conv].shape == (5, 3, 2)
    assert set(graph.failures) == {line, dense}
    # What comes after is lost for the same reason.
    assert graph.failures[line] == graph.failures[dense]
    assert graph.failures[line].startswith("line: ")


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chain", ["inner/conv", "inner/norm", "inner/relu", "last"]),
        ("nested", ["mid/deep/conv", "mid/deep/norm", "mid/deep/relu", "mid/out", "sum"]),
        ("shared_layer", ["conv:0", "relu", "conv:1", "sum"]),
        (
            "shared_model",
            [f"tower:{n}/{part}" for n in (0, 1) for part in ("conv", "norm", "relu")] + ["minus"],
        ),
    ],
)
def test_calls_are_named_by_path(name: str, expected: list[str]):
    names = [node.name for node in build_graph(MODELS[name]()).nodes]
    assert names == expected


def test_a_layer_is_found_by_name_path_layer_and_tensor():
    model = nested()
    graph = build_graph(model)
    middle = model.get_layer("mid")
    out = middle.get_layer("out")
    number = graph.find("mid/out")
    assert graph.tensors[number].name == "mid/out"
    # The nested model stands for its output, by name and by itself.
    for layer in (out, middle, "mid", middle.output, model.get_layer("mid").output):
        assert graph.find(layer) == number
    assert graph.find(model.output) == graph.find("sum") == graph.find(model.get_layer("sum"))
    assert graph.find("image") == graph.find(model.input) == graph.inputs[0]
    assert graph.find(model.get_layer("image")) == graph.inputs[0]


def test_an_unknown_layer_lists_the_nearest_names():
    model = nested()
    graph = build_graph(model)
    with pytest.raises(UnknownLayerError, match=r"`layer`.*Nearest names: mid/out.*'mid/outt'"):
        graph.find("mid/outt")
    with pytest.raises(UnknownLayerError, match=r"`layer`.*The last: .*layer='qqq'"):
        graph.find(layers.ReLU(name="qqq"))
    with pytest.raises(UnknownLayerError, match=r"`layer`.*Received: layer='3'"):
        graph.find(3)


@pytest.mark.parametrize(
    ("name", "layer", "calls"),
    [
        ("shared_layer", "conv", "conv:0, conv:1"),
        ("shared_model", "tower", "tower:0, tower:1"),
        ("shared_model", "tower/relu", "tower:0/relu, tower:1/relu"),
    ],
)
def test_a_layer_called_twice_needs_the_number_of_the_call(name, layer, calls):
    model = MODELS[name]()
    graph = build_graph(model)
    with pytest.raises(UnknownLayerError, match=f"is called 2 times: name one of {calls}. "):
        graph.find(layer)
    assert graph.find(calls.split(", ")[0]) != graph.find(calls.split(", ")[1])


def test_a_shared_layer_or_its_tensor_is_ambiguous_but_the_call_s_tensor_is_not():
    model = shared_layer()
    graph = build_graph(model)
    conv = model.get_layer("conv")
    with pytest.raises(UnknownLayerError, match="called 2 times"):
        graph.find(conv)
    tensors = [node.outputs[0] for node in conv._inbound_nodes]
    assert [graph.find(one) for one in tensors] == [graph.find("conv:0"), graph.find("conv:1")]
    twice = shared_model()
    graph = build_graph(twice)
    inside = twice.get_layer("tower").get_layer("relu")
    for layer in (inside, inside.output):
        with pytest.raises(
            UnknownLayerError, match="2 times: name one of tower:0/relu, tower:1/relu"
        ):
            graph.find(layer)


def test_inputs_are_found_by_name():
    graph = build_graph(shared_model())
    assert graph.input_number(None) == graph.input_number("first") == graph.inputs[0]
    assert graph.input_number("second") == graph.inputs[1]
    with pytest.raises(InvalidInputError, match=r"`input`.*first, second.*input='third'"):
        graph.input_number("third")


def test_ancestors_are_what_a_tensor_depends_on_in_order():
    graph = build_graph(shared_model())
    names = [node.name for node in graph.ancestors(graph.find("tower:1/norm"))]
    assert names == ["tower:1/conv", "tower:1/norm"]
    assert graph.ancestors(graph.inputs[0]) == ()
    assert graph.ancestors(graph.outputs[0]) == graph.nodes


@pytest.mark.parametrize(
    ("build", "axis"),
    [
        (lambda x: layers.Conv2D(2, 3)(x), 2),
        (lambda x: layers.Conv2D(2, 3, data_format="channels_first")(x), 0),
        (lambda x: layers.MaxPooling2D(2, data_format="channels_first")(layers.ReLU()(x)), 0),
        # Steps in time come first.
        (lambda x: layers.ConvLSTM1D(2, 3, data_format="channels_first")(x), 1),
        (lambda x: layers.ConvLSTM1D(2, 3, data_format="channels_last")(x), 2),
        (lambda x: layers.Conv2D(2, 3)(layers.Permute((2, 3, 1))(x)), 0),
        (
            lambda x: layers.Conv2D(2, 3, data_format="channels_first")(
                layers.Permute((3, 1, 2))(x)
            ),
            2,
        ),
        (lambda x: layers.Dense(2)(x), 2),
    ],
)
def test_the_channel_axis_of_an_input_is_the_first_layer_s(build, axis):
    x = keras.Input((6, 7, 8))
    graph = build_graph(keras.Model(x, build(x)))
    assert graph.channel_axes == {graph.inputs[0]: axis}
    assert graph.spatial_axes(graph.inputs[0]) == tuple({0, 1, 2} - {axis})


# --- What is no graph ----------------------------------------------------------------------------


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3)

    def call(self, x):
        return self.conv(x)


class Overridden(keras.Model):
    """Functional by construction, but its call does something else."""

    def call(self, x):
        return super().call(ops.flip(x, axis=1))


class Plain(keras.Model):
    """Functional by construction and by call."""


def functional(kind: type) -> keras.Model:
    x = keras.Input((6, 5, 2))
    return kind(x, layers.Conv2D(2, 3)(x))


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (Subclassed, r"`model` must be built.*input_shape=\(224, 224, 3\)"),
        (
            lambda: keras.Sequential([layers.Conv2D(2, 3)]),
            r"`model` must be built.*Call it once on data",
        ),
        (lambda: layers.Conv2D(2, 3), "`model` must be a Keras 3 model"),
        (
            lambda: "ResNet50",
            "`model` must be a Keras 3 model. Received: model of type builtins.str",
        ),
        (lambda: None, "`model` must be a Keras 3 model"),
    ],
)
def test_what_has_no_graph_is_refused(make, remedy):
    with pytest.raises(InvalidInputError, match=remedy) as caught:
        build_graph(make())
    assert "\n" not in str(caught.value)
    assert "Received: model" in str(caught.value)


def test_the_remedy_for_a_subclassed_model_works():
    model = Subclassed()
    x = keras.Input((6, 5, 2))
    # It is traced, and a wrapped call has the same field.
    fields = [receptive_field(keras.Model(x, made)) for made in (model(x), model.call(x))]
    assert [(field.size, field.status) for field in fields] == [((3, 3), "exact")] * 2


def test_a_subclass_of_a_functional_model_is_read():
    assert len(build_graph(functional(Plain)).nodes) == 1


def test_a_nested_model_that_computes_otherwise_is_one_call():
    x = keras.Input((6, 5, 2))
    graph = build_graph(keras.Model(x, functional(Overridden)(x)))
    assert [node.kind for node in graph.nodes] == [Overridden]


# --- Nothing is changed --------------------------------------------------------------------------


ACTIONS: dict[str, Callable[[Graph, tf.Tensor], Any]] = {
    "build": lambda graph, image: None,
    "run": lambda graph, image: run(graph, [image]),
    "run in training": lambda graph, image: run(graph, [image], training=True),
    "run compiled": lambda graph, image: tf.function(
        lambda x: run_tensors(graph, [x], training=True)
    )(image),
    "resize": lambda graph, image: graph.resized({0: (9, 8)}),
    "random states": lambda graph, image: graph.random_states(),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_user_s_model_is_left_as_it_was(action: str):
    model = randomize(restless())
    image = values_of(model)[0]
    model(image, training=True)
    before = state_of(model)
    assert len(before["losses"]) == 4, "the model records losses: else nothing is tested"
    assert len(before["seeds"]) == 3
    ACTIONS[action](build_graph(model), image)
    assert state_of(model) == before


def test_training_mode_is_the_model_s_own():
    model = randomize(restless())
    image = values_of(model)[0]
    graph = build_graph(model)
    kept, trained = (run(graph, [image], training=mode)[0] for mode in (False, True))
    np.testing.assert_array_equal(kept, model(image, training=False))
    assert np.abs(kept - trained).max() > 0.1


def test_seeds_may_be_given_from_outside():
    model = randomize(restless())
    image = values_of(model)[0]
    graph = build_graph(model)
    states = graph.random_states()
    assert [id(one) for one in states] == [
        id(generator.state)
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    ]

    def draw(seed: int) -> np.ndarray:
        given = [
            (state, tf.constant([seed, number], "uint32")) for number, state in enumerate(states)
        ]
        return run(graph, [image], training=True, state=given)[0]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert np.abs(draw(1) - draw(2)).max() > 1e-3


def test_a_deep_model_is_read_without_recursion():
    # Keras itself goes no deeper than about 900 calls in one model.
    parts = [[layers.Identity() for _ in range(400)] for _ in range(3)]
    inner = [keras.Sequential([keras.Input((4, 1)), *part]) for part in parts]
    graph = build_graph(keras.Sequential([keras.Input((4, 1)), *inner]))
    assert len(graph.ancestors(graph.outputs[0])) == 1200
    assert run(graph, [tf.ones((1, 4, 1))])[0].shape == (1, 4, 1)
