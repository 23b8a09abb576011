"""Models of half precision, probed in float32."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf.cone import whole_cone
from keras_erf.errors import InvalidInputError
from keras_erf.graph import build_graph
from keras_erf.measuring.precision import in_full_precision
from tests import jacobian
from tests.models import randomize, state_of

HALVES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
IMAGE = (6, 5, 2)


class Block(layers.Layer):
    """Makes one layer at once and one when it is built, of the current policy."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.first = layers.Conv2D(units, 3, activation="relu")

    def build(self, shape):
        self.first.build(shape)
        self.last = layers.Dense(self.units)
        self.last.build((*shape[:-1], self.units))

    def call(self, x):
        return self.last(self.first(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def chain() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(2),
        ]
    )


def shared() -> keras.Model:
    x, y = keras.Input(IMAGE, name="x"), keras.Input(IMAGE, name="y")
    conv = layers.Conv2D(2, 3, padding="same", name="conv", activation="tanh")
    inner = keras.Sequential([keras.Input(IMAGE), conv, layers.Dense(2)], name="inner")
    return keras.Model([x, y], layers.Add()([inner(conv(x)), inner(conv(y)) * 0.5]))


def custom() -> keras.Model:
    x = keras.Input(IMAGE)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2))(Block(3)(x)))


def sequence() -> keras.Model:
    x = keras.Input((4, 3))
    y = layers.MultiHeadAttention(2, 2)(x, x)
    # TensorFlow draws no orthogonal weights in bfloat16.
    inner = layers.LSTM(2, return_sequences=True, recurrent_initializer="uniform")
    return keras.Model(x, layers.Bidirectional(inner)(y))


def casting() -> keras.Model:
    x = keras.Input(IMAGE)
    y = layers.Rescaling(0.3)(x)
    return keras.Model(x, ops.cast(ops.cast(y, "float16"), y.dtype) ** 2)


MODELS: dict[str, Callable[[], keras.Model]] = {
    one.__name__: one for one in (chain, shared, custom, sequence, casting)
}


def made(name: str, policy: str) -> keras.Model:
    with jacobian.precision(policy if "mixed" not in policy else "float32"):
        keras.config.set_dtype_policy(policy)
        return MODELS[name]()


def gradient(model: keras.Model) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = [tf.constant(rng.normal(size=(2, *one.shape[1:])), "float32") for one in model.inputs]
    graph = build_graph(model)
    with tf.GradientTape() as tape:
        tape.watch(values[0])
        made = whole_cone(graph, graph.outputs).run(dict(zip(graph.inputs, values, strict=True)))
        score = tf.reduce_sum(made[graph.outputs[0]] ** 2)
    return tape.gradient(score, values[0]).numpy()


@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_model_in_float32(name: str, policy: str):
    model = randomize(made(name, policy))
    before = state_of(model), [one.dtype_policy.name for one in model._flatten_layers()]
    full = in_full_precision(model)
    after = state_of(model), [one.dtype_policy.name for one in model._flatten_layers()]
    assert after == before
    expected = made(name, "float32")
    for one, other in zip(expected.weights, model.weights, strict=True):
        one.assign(ops.convert_to_numpy(other).astype("float32"))
    if name == "casting":
        # What is asked for by a call is widened as well.
        x = keras.Input(IMAGE)
        expected = keras.Model(x, layers.Rescaling(0.3)(x) ** 2)
    found = gradient(full)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gradient(expected), rtol=1e-6)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.parametrize("name", MODELS)
def test_tensors_keep_their_numbers(name: str, policy: str):
    model = made(name, policy)
    with jacobian.precision("float32"):
        # Still the policy when the model is probed, as it often is.
        keras.config.set_dtype_policy(policy)
        full = in_full_precision(model)
        assert keras.config.dtype_policy().name == policy
    ours, theirs = build_graph(model), build_graph(full)
    assert "16" in {one.dtype[-2:] for one in ours.tensors}
    assert {one.dtype for one in theirs.tensors} == {"float32"}
    for one, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert (one.name, one.shape) == (other.name, other.shape)
    for one, other in zip(ours.nodes, theirs.nodes, strict=True):
        assert (one.name, one.inputs, one.outputs) == (other.name, other.inputs, other.outputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["chain", "shared", "custom", "sequence"])
def test_a_model_of_full_precision_is_handed_on(name: str, dtype: str):
    model = made(name, dtype)
    assert in_full_precision(model) is model


def test_a_policy_in_force_that_no_layer_has_is_no_half_precision():
    with jacobian.precision("float32"):
        keras.config.set_dtype_policy("mixed_float16")
        x = keras.Input(IMAGE)
        model = keras.Model(x, layers.Conv2D(2, 3, dtype="float32")(x))
        assert in_full_precision(model) is model


def test_layers_of_other_precisions_stay_as_they_are():
    x = keras.Input(IMAGE)
    y = layers.Conv2D(3, 3, dtype="mixed_float16")(x)
    model = keras.Model(x, layers.Dense(2, dtype="float64")(layers.Dense(2, dtype="float32")(y)))
    policies = [one.dtype_policy.name for one in in_full_precision(model).layers[1:]]
    assert policies == ["float32", "float32", "float64"]


def test_a_precision_written_into_a_layer_is_widened():
    class Fixed(layers.Layer):
        def build(self, shape):
            self.inner = layers.Dense(3, dtype="float16")
            self.inner.build(shape)

        def call(self, x):
            return self.inner(x)

    x = keras.Input(IMAGE)
    model = randomize(keras.Model(x, Fixed()(x)))
    full = in_full_precision(model)
    kernel, bias = (ops.convert_to_numpy(one).astype("float64") for one in model.weights)
    value = np.random.default_rng(0).normal(size=(1, *IMAGE)).astype("float32")
    np.testing.assert_allclose(full(value), value @ kernel + bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize("nested", [False, True])
def test_quantized_layers_are_refused(mode: str, nested: bool):
    x = keras.Input((4, 8))
    layer = layers.Dense(2, name="rounded")
    part = keras.Sequential([keras.Input((4, 8)), layer]) if nested else layer
    model = keras.Model(x, part(x))
    assert in_full_precision(model) is model
    layer.quantize(mode)
    with pytest.raises(InvalidInputError) as caught:
        in_full_precision(model)
    assert str(caught.value) == (
        "`model` must not be quantized: what is rounded to whole numbers has no gradient of its "
        "own. Probe the model before `quantize`. "
        f"Received: layer 'rounded' quantized to {mode}"
    )


def test_what_cannot_be_copied_is_refused():
    class Holder(layers.Layer):
        def __init__(self, inner, **options):
            super().__init__(**options)
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    x = keras.Input(IMAGE)
    layer = Holder(layers.Dense(2), name="mine", dtype="mixed_bfloat16")
    model = keras.Model(x, layer(x), name="whole")
    with pytest.raises(InvalidInputError) as caught:
        in_full_precision(model)
    assert str(caught.value) == (
        "`model` must be one that can be copied: layer 'mine' cannot be made again, as its class "
        "Holder has no `get_config`. It computes in half precision: build or load it with "
        "dtype=\"float32\". Received: model='whole'"
    )


def test_what_has_no_graph_is_refused():
    with pytest.raises(InvalidInputError, match="`model` must be a Keras 3 model"):
        in_full_precision("model")
