"""Models that are their own code, against brute force and against Keras's own call of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_erf as erf
from keras_erf.errors import InvalidInputError
from keras_erf.graph import build_graph
from tests import jacobian
from tests.models import state_of
from tests.perturbation import dependence


class Model(keras.Model):
    """A model whose layers are made by `parts`, and which gives every map it makes."""

    def __init__(self, **options):
        super().__init__(**options)
        for name, layer in self.parts().items():
            setattr(self, name, layer)

    def parts(self):
        return {}


class Plain(Model):
    def parts(self):
        return {
            "first": layers.Conv2D(2, 3, name="first"),
            "pool": layers.AveragePooling2D(2, name="pool"),
            "norm": layers.BatchNormalization(name="norm"),
            "last": layers.Conv2D(2, 3, padding="same", name="last"),
        }

    def call(self, x, training=None, mask=None):
        first = ops.relu(self.first(x))
        pool = self.norm(self.pool(first), training=training)
        return {"first": first, "last": self.last(pool)}


class Residual(Model):
    """A loop over layers of one name, sizes by Python's arithmetic."""

    def parts(self):
        return {"convs": [layers.Conv2D(2, 3, padding="same", name="conv") for _ in range(3)]}

    def call(self, x):
        maps = []
        for conv in self.convs:
            height, width = ops.shape(x)[1:3]
            y = conv(ops.image.resize(x, (2 * height, 2 * width), interpolation="nearest"))
            x = x + layers.AveragePooling2D(2)(y)
            maps.append(x)
        return maps


class Tokens(Model):
    """A transformer by hand, which writes the size of the batch into its calls."""

    def parts(self):
        self.token = self.add_weight(shape=(1, 1, 4), initializer="normal", name="token")
        return {
            "patch": layers.Conv2D(4, 3, strides=3, name="patch"),
            "place": layers.Embedding(16, 4, name="place"),
            "mix": layers.Conv1D(4, 2, name="mix"),
        }

    def call(self, x):
        tokens = self.patch(x)
        batch, height, width, channels = ops.shape(tokens)
        tokens = ops.reshape(tokens, (batch, height * width, channels))
        tokens = tokens + self.place(ops.arange(height * width))
        first = ops.broadcast_to(self.token, (batch, 1, channels))
        return [tokens, self.mix(ops.concatenate([first, tokens], axis=1))]


class Pair(Model):
    """Two inputs in a dict, and an output that is nothing."""

    def parts(self):
        return {
            "wide": layers.Conv2D(2, 5, name="wide"),
            "narrow": layers.Conv2D(2, 1, name="narrow"),
        }

    def call(self, inputs, training=False):
        return {"sum": self.wide(inputs["a"]) + self.narrow(inputs["b"]), "none": None}


class Inner(Model):
    def parts(self):
        return {"conv": layers.Conv2D(2, 3, name="conv")}

    def call(self, x):
        return ops.softplus(self.conv(x))


class Outer(Model):
    """A model of its own code in a model of its own code."""

    def parts(self):
        return {"inner": Inner(name="inner"), "last": layers.Conv2D(2, 3, name="last")}

    def call(self, x):
        middle = self.inner(x)
        return [middle, self.last(middle)]


class Flipped(keras.Model):
    """Functional by construction; its call does something else."""

    def call(self, x):
        return super().call(ops.flip(x, axis=1))


def flipped() -> keras.Model:
    x = keras.Input((8, 7, 2))
    return Flipped(x, layers.Conv2D(2, 3, strides=2, name="conv")(x) + 1)


class Foreign(Model):
    """One call that Keras cannot follow."""

    def parts(self):
        return {"conv": layers.Conv2D(2, 3, name="conv")}

    def call(self, x):
        return tf.nn.relu(self.conv(x))[:, ::2]


SHAPE = (9, 8, 2)
# The model, and shapes of its inputs without the batch.
MODELS = {
    "plain": (Plain, SHAPE),
    "loop": (Residual, (6, 5, 2)),
    "tokens": (Tokens, (9, 9, 2)),
    "dict": (Pair, {"a": (9, 8, 2), "b": (5, 4, 2)}),
    "nested": (Outer, SHAPE),
    "overridden": (flipped, (8, 7, 2)),
    "foreign": (Foreign, SHAPE),
}


def built(name: str) -> tuple[keras.Model, list[tuple[int, ...]]]:
    """The model, called on data once, and the shapes of its inputs."""
    make, shape = MODELS[name]
    model = make()
    if isinstance(shape, dict):
        model({key: np.zeros((3, *one)) for key, one in shape.items()})
        return jacobian.make_positive(model), list(shape.values())
    model(np.zeros((3, *shape)))
    return jacobian.make_positive(model), [shape]


@pytest.mark.parametrize("name", MODELS)
def test_fields_are_those_of_brute_force(name: str):
    with jacobian.precision():
        model, shapes = built(name)

        def run(values):
            given = dict(zip("ab", values, strict=True)) if len(values) > 1 else values[0]
            outputs = keras.tree.flatten(model(given, training=False))
            return [output for output in outputs if output is not None]

        before = state_of(model)
        graph = build_graph(model)
        # Each element of the input alone; channels together.
        expected = [one.any(axis=-1) for one in dependence(run, shapes)]
        assert len(graph.outputs) == len(expected)
        for number, seen in zip(graph.outputs, expected, strict=True):
            seen = seen.any(axis=-3)
            field = erf.receptive_field(graph, graph.tensors[number].name)
            assert field.status == "exact"
            for unit in np.ndindex(seen.shape[:-2]):
                np.testing.assert_array_equal(support(field, unit), seen[unit], err_msg=f"{unit}")
        assert state_of(model) == before


def support(field, unit):
    # Tokens are named by their place on the grid.
    same = len(unit) == len(field.output_size)
    return field.support(unit if same else divmod(unit[0], field.output_size[1]))


@pytest.mark.parametrize("name", ["plain", "loop", "tokens", "nested", "overridden"])
def test_maps_are_those_of_keras_s_own_call(name: str):
    model, (shape,) = built(name)
    x = keras.Input(shape)
    outputs = [one for one in keras.tree.flatten(model(x)) if one is not None]
    wrapped = keras.Model(x, outputs)
    # One batch and a rest: calls that hold the size of a batch must fit both.
    options = {"samples": 7, "batch_size": 4}
    graph = build_graph(model)
    ours = erf.probe(model, graph.tensors[graph.outputs[-1]].name, **options)
    # The wrapped model is one layer, which runs whole.
    theirs = erf.probe(wrapped, outputs[-1], unit=ours.unit, cone=False, **options)
    assert ours.count == theirs.count > 0
    np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-4, atol=1e-7 * theirs.map.max())


# --- What it is called on ------------------------------------------------------------------------


def test_a_model_that_was_trained_knows_its_size():
    model = Inner()
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 9, 8, 2)), np.zeros((4, 7, 6, 2)), verbose=0)
    assert erf.receptive_field(model).input_size == (9, 8)
    # Another size by the same convention as for any model: without channels.
    assert erf.receptive_field(model, input_shape=(12, 11)).input_size == (12, 11)


def test_open_sizes_are_sized_for_the_field():
    model = Plain()
    model(keras.Input((None, None, 2)))
    field = erf.receptive_field(model, "last")
    # A 3x3 convolution, a 2x2 pool and a 3x3 convolution: 3, 4, then 4 + 2 * 2.
    assert field.size == (8, 8)
    assert all(start >= 0 for start, _ in field.box())


def test_layers_before_the_one_that_does_not_fit_keep_their_field():
    class Head(Model):
        def parts(self):
            return {"conv": layers.Conv2D(2, 3, name="conv"), "end": layers.Dense(3, name="end")}

        def call(self, x):
            return self.end(ops.reshape(self.conv(x), (-1, 7 * 6 * 2)))

    model = Head()
    model(np.zeros((2, 9, 8, 2)))
    table = erf.receptive_fields(model, input_shape=(12, 12))
    assert [field.layer for field in table.fields] == ["conv"]
    assert table.fields[0].output_size == (10, 10)
    assert "end" in [name for name, _ in table.skipped]


NOT_BUILT = {
    "subclassed": Inner,
    "sequential": lambda: keras.Sequential([layers.Conv2D(2, 3, name="conv")]),
}


@pytest.mark.parametrize("name", NOT_BUILT)
def test_a_model_that_is_not_built_says_how_to_give_its_input(name: str):
    model = NOT_BUILT[name]()
    with pytest.raises(InvalidInputError, match="`model` must be built") as caught:
        erf.receptive_field(model)
    text = str(caught.value)
    assert "\n" not in text
    assert "`input_shape=(224, 224, 3)`" in text
    # As the line says.
    field = erf.receptive_field(model, "conv", input_shape=(9, 8, 2))
    assert (field.size, field.input_size) == ((3, 3), (9, 8))
    images = np.random.default_rng(0).normal(size=(4, 9, 8, 2)).astype("float32")
    layer = model.conv if name == "subclassed" else model.layers[0]
    for options in ({"inputs": images}, {"input_shape": (9, 8, 2)}):
        result = erf.probe(model, layer, samples=4, **options)
        assert result.map.shape == (9, 8)
        assert result.receptive_field.layer == "conv"
    assert not model.built
    assert not layer.built
    assert layer._inbound_nodes == []
    model(np.zeros((2, 9, 8, 2)))
    assert erf.receptive_field(model, "conv") is not None


def test_the_weights_of_built_layers_come_along():
    conv = layers.Conv2D(1, 3, use_bias=False, name="conv")
    conv.build((None, 5, 5, 1))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[0, 2] = 1
    conv.set_weights([kernel])
    model = keras.Sequential([conv])
    result = erf.probe(model, unit=(1, 1), input_shape=(5, 5, 1), samples=1)
    # Unit (1, 1) sees its pixel at the upper right.
    assert np.argwhere(result.map).tolist() == [[1, 3]]


def test_several_inputs_are_given_by_their_names():
    model, _ = built("dict")
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=(4, 9, 8, 2)), "b": rng.normal(size=(4, 5, 4, 2))}
    # "b" is seen through a 1x1 convolution.
    for name, size in (("a", 5), ("b", 1)):
        result = erf.probe(model, "add", inputs=data, input=name)
        assert result.receptive_field.size == (size, size)
        assert result.map.shape == data[name].shape[1:3]


def test_calls_that_fail_on_what_the_model_was_built_with_are_refused():
    class Wrong(keras.Model):
        def build(self, shape):
            self.built = True

        def call(self, x):
            raise TypeError("not today")

    model = Wrong()
    model.build((None, 4, 4, 1))
    with pytest.raises(InvalidInputError, match="`model` must run on what it was built with"):
        erf.receptive_field(model)


# --- Everything that takes a model ---------------------------------------------------------------


def fresh(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = Plain()
    model(np.zeros((2, 16, 16, 2)))
    return model


FUNCTIONS = {
    "receptive_fields": lambda model: erf.receptive_fields(model),
    "path_sizes": lambda model: erf.path_sizes(model, "last"),
    "unproductive_layers": lambda model: erf.unproductive_layers(model),
    "probe": lambda model: erf.probe(model, "last", samples=2),
    "probe calibrated": lambda model: erf.probe(model, "last", samples=2, calibrate=True),
    "expected": lambda model: erf.expected(model, "last"),
    "profile": lambda model: erf.profile(model, samples=2),
    "growth": lambda model: erf.growth(model),
    "calibrate": lambda model: erf.calibrate_batch_norm(model, "normal"),
    "ensemble": lambda model: erf.ensemble(fresh, "last", runs=2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_one_and_leaves_it_as_it_was(name: str):
    model = fresh(0)
    before = state_of(model)
    assert FUNCTIONS[name](model) is not None
    assert state_of(model) == before


def test_half_precision_is_measured_in_full():
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        half = fresh(0)
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(fresh(0).get_weights())
    maps = [erf.probe(model, "last", samples=4).map for model in (half, fresh(0))]
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-6 * maps[1].max())


def test_dropout_is_active_in_training():
    class Dropped(Model):
        def parts(self):
            return {"conv": layers.Conv2D(4, 3, name="conv"), "drop": layers.Dropout(0.5)}

        def call(self, x, training=False):
            return self.drop(self.conv(x), training=training)

    model = Dropped()
    model(np.zeros((2, 8, 8, 1)))
    still = erf.probe(model, samples=4)
    moved = erf.probe(model, samples=4, training=True)
    assert still.linear
    assert not moved.linear
    assert np.abs(still.map - moved.map).max() > 0.1 * still.map.max()


class Mixed(Tokens):
    """Constants of its calls are computed from weights."""

    def call(self, x):
        return super().call(x)[-1]


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("make", [Inner, Mixed])
def test_the_logger_follows_the_weights(make, called: bool):
    model = make()
    images = np.random.default_rng(0).normal(size=(8, 9, 9, 2)).astype("float32")
    shape = (8, 7, 7, 2) if make is Inner else (8, 9, 4)
    if called:
        model(images)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    logger = erf.ERFLogger(inputs=images)
    model.fit(images, np.ones(shape), epochs=1, verbose=0, callbacks=[logger])
    assert logger.frame["step"].tolist() == [0, 1]
    (name,) = set(logger.frame["layer"])
    after = erf.probe(model, name, inputs=images)
    before, seen = (logger.results[step, name] for step in (0, 1))
    np.testing.assert_allclose(seen.map, after.map, rtol=1e-4, atol=1e-6 * after.map.max())
    assert np.abs(before.map - after.map).max() > 1e-3 * after.map.max()


def test_calls_run_on_the_weights_there_are():
    """Constants that a trace computed must not outlive the weights they are of."""
    model = Mixed()
    images = np.random.default_rng(0).normal(size=(4, 9, 9, 2)).astype("float32")
    model(images)
    maps = []
    for scale in (1, 3):
        model.set_weights([scale * one for one in model.get_weights()])
        maps.append(erf.probe(model, inputs=images).map)
    # Two layers without a bias to speak of, each three times as strong.
    np.testing.assert_allclose(9 * maps[0], maps[1], rtol=1e-4)
