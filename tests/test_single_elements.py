"""Which functions are known to work on single elements, against their Jacobians."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_erf as erf
from keras_erf.layers.single_elements import on_single_elements

SLOPES = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


class Scaling:
    """A function with a weight."""

    def __init__(self, values: Any) -> None:
        self.weight = keras.Variable(values)

    def __call__(self, x: Any) -> Any:
        return x * self.weight


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def by_rank(x: Any) -> Any:
    return x - ops.mean(x, axis=-2, keepdims=True) if len(x.shape) == 4 else ops.tanh(x)


# Functions, and whether each element of what they return needs one element alone.
ON_ELEMENTS: dict[str, Callable[..., Any]] = {
    "product": lambda x: x * ops.sigmoid(1.7 * x),
    "choice": lambda x: ops.where(x > 0.5, x, 0.01 * x),
    "clipped": hard_sigmoid_of_keras_2,
    "snake": lambda x: x + ops.square(ops.sin(x)),
    "of keras.activations": lambda x: keras.activations.relu(x, max_value=2.0) - 1.0,
    "maximum": lambda x: ops.maximum(x, -0.2 * x),
    "stopped": lambda x: x * ops.stop_gradient(ops.tanh(x)),
    "one weight": Scaling([0.7]),
    "of TensorFlow": tf.nn.relu,
    **{name: getattr(tf.nn, name) for name in ("relu6", "leaky_relu", "swish", "gelu", "elu")},
    "written in TensorFlow": lambda x: x * tf.tanh(tf.math.softplus(x)),
    "compiled": tf.function(lambda x: tf.where(x > 0, x, 0.1 * x)),
    "cast": lambda x: ops.cast(ops.tanh(ops.cast(x, "float32")), x.dtype),
}
NOT_ON_ELEMENTS: dict[str, Callable[..., Any]] = {
    "softmax": lambda x: ops.softmax(x),
    "mean": lambda x: x - ops.mean(x, axis=1, keepdims=True),
    "rows turned round": lambda x: ops.tanh(ops.flip(x, axis=1)),
    "weights along an axis": Scaling(SLOPES),
    "numbers along an axis": lambda x: ops.where(x > 0, x, SLOPES * x),
    "softmax of TensorFlow": tf.nn.softmax,
    "mean of TensorFlow": lambda x: x - tf.reduce_mean(x, axis=1, keepdims=True),
    "numbers of TensorFlow": lambda x: x * tf.constant(SLOPES, x.dtype),
    "gated": lambda x: ops.glu(ops.concatenate([x, x[..., ::-1]], axis=-1)),
    "cumulative": lambda x: ops.cumsum(x, axis=1),
    "of four axes": by_rank,
    "more axes": lambda x: x * np.ones((1,) * 6, "float32"),
    "a constant": lambda x: ops.ones((2, 3)),
    # It may be on single elements, but no gradient shows it.
    "without a gradient": ops.sign,
}


def crossings(function: Callable[..., Any]) -> bool:
    """Whether an element changes by another one, or the function differs from place to place."""
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 2, 3, 5)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        made = tf.convert_to_tensor(function(x))
    if made.shape != x.shape:
        return True
    found = np.reshape(
        tape.jacobian(made, x, unconnected_gradients="zero"), (made.shape[1:].num_elements(), -1)
    )
    if found.shape[0] != found.shape[1] or np.any(found - np.diag(np.diag(found))):
        return True
    return any(np.ptp(function(tf.fill(x.shape, value))) > 1e-6 for value in (-0.7, 0.7))


@pytest.mark.parametrize("name", ON_ELEMENTS)
def test_functions_on_single_elements_are_known(name: str) -> None:
    function = ON_ELEMENTS[name]
    assert not crossings(function)
    assert on_single_elements(function)


@pytest.mark.parametrize("name", NOT_ON_ELEMENTS)
def test_other_functions_are_not(name: str) -> None:
    function = NOT_ON_ELEMENTS[name]
    assert crossings(function) or name == "without a gradient"
    assert not on_single_elements(function)


def test_layers_that_a_function_calls_stay_as_they_are() -> None:
    inner = layers.ReLU()
    assert not on_single_elements(lambda x: inner(x) * 2.0)
    assert inner._inbound_nodes == []
    assert inner._outbound_nodes == []


def wide(activation: Any) -> keras.Model:
    x = keras.Input((512, 512, 3))
    y = x
    for _ in range(3):
        y = layers.Conv2D(8, 3, padding="same")(y)
        y = activation(y) if callable(activation) else layers.Activation(activation)(y)
    return keras.Model(x, y)


# By measuring, each of these takes minutes.
@pytest.mark.parametrize("function", [keras.activations.relu, keras.activations.gelu])
def test_functions_of_keras_activations_cost_no_more_than_a_layer(function: Any) -> None:
    model = wide(function)
    started = time.process_time()
    field = erf.receptive_field(model)
    result = erf.probe(model, samples=4, batch_size=4)
    assert time.process_time() - started < 8
    assert (field.size, field.status) == ((7, 7), "exact")
    assert result.receptive_field.status == "exact"
    # Of a 7 x 7 px field and no more.
    assert np.count_nonzero(result.map) <= 49


def test_an_activation_of_ones_own_has_the_map_of_the_built_in() -> None:
    def build(activation: Any) -> keras.Model:
        keras.utils.set_random_seed(1)
        x = keras.Input((40, 40, 2))
        y = layers.Conv2D(4, 5, activation=activation, padding="same")(x)
        return keras.Model(x, layers.Conv2D(2, 3, padding="same")(y))

    built_in = erf.probe(build("relu"), samples=8)
    for function in (lambda x: ops.maximum(x, 0.0), tf.nn.relu):
        own = erf.probe(build(function), samples=8)
        np.testing.assert_allclose(own.map, built_in.map, rtol=1e-5)


def test_recurrent_layers_know_them_too() -> None:
    x = keras.Input((5, 9, 9, 2))
    made = layers.ConvLSTM2D(
        2, 3, recurrent_activation=hard_sigmoid_of_keras_2, return_sequences=True, padding="same"
    )(x)
    field = erf.receptive_field(keras.Model(x, made), unit=(1, 4, 4))
    plain = layers.ConvLSTM2D(2, 3, return_sequences=True, padding="same")(x)
    expected = erf.receptive_field(keras.Model(x, plain), unit=(1, 4, 4))
    assert field.status == expected.status == "exact"
    np.testing.assert_array_equal(field.support(), expected.support())
