"""Units whose channels sum to a constant are refused: what they would show is rounding."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf import ensemble, expected, growth, probe, profile
from keras_erf.errors import GradientError, InvalidInputError
from keras_erf.fields.theoretical import locate
from keras_erf.measuring import cancelling
from tests import jacobian

IMAGES = np.random.default_rng(0).normal(size=(6, 16, 16, 2)).astype("float32")
End = Callable[[Any], Any]


def network(*ends: End, seed: int = 0, dtype: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(seed)
    with jacobian.precision(dtype):
        x = keras.Input((16, 16, 2))
        y = layers.Conv2D(6, 3, activation="tanh", name="body")(x)
        y = layers.Conv2D(5, 3, name="logits")(y)
        for end in ends:
            y = end(y)
    return keras.Model(x, y)


def softmax(y):
    return layers.Softmax(name="softmax")(y)


def by_hand(y):
    raised = ops.exp(y)
    return raised / ops.sum(raised, axis=-1, keepdims=True)


class Hand(layers.Layer):
    """A softmax that no table knows."""

    def call(self, y):
        return by_hand(y)


class Unmakeable(layers.Layer):
    """One that cannot be copied, so that no other precision can be asked."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, y):
        return self.function(y)

    def get_config(self):
        raise NotImplementedError


class Grown(keras.initializers.Initializer):
    """Factors that differ by a share of themselves."""

    def __init__(self, by):
        self.by = by

    def __call__(self, shape, dtype=None):
        return ops.cast(1 + self.by * np.sin(np.arange(shape[0])), dtype)

    def get_config(self):
        return {"by": self.by}


def normalised(y, **options):
    return layers.LayerNormalization(**options)(y)


def other(y):
    return layers.Conv2D(5, 1)(y)


# --- Constant: what ends a network, and the layer to take instead --------------------------------

CONSTANT: dict[str, tuple[list[End], str]] = {
    "softmax": ([softmax], "logits"),
    "activation": ([layers.Activation("softmax")], "logits"),
    "operation": ([lambda y: ops.softmax(y, axis=3)], "logits"),
    "convolution": ([layers.Conv2D(4, 3, activation="softmax", name="end")], "end:linear"),
    "bilinear": ([softmax, layers.UpSampling2D(interpolation="bilinear")], "logits"),
    "resizing": ([softmax, layers.Resizing(64, 64)], "logits"),
    "reshape": ([softmax, layers.Reshape((144, 5))], "logits"),
    "permute": ([softmax, layers.Permute((2, 1, 3))], "logits"),
    "rescaling": ([softmax, layers.Rescaling(100.0)], "logits"),
    "padding": ([softmax, layers.ZeroPadding2D()], "logits"),
    "twice": ([softmax, lambda y: layers.Concatenate()([y, y])], "logits"),
    "cast": ([softmax, lambda y: ops.cast(ops.cast(y, "float16"), "float32")], "logits"),
    "pool": ([softmax, layers.AveragePooling2D(3, strides=1), lambda y: y[:, 1:]], "logits"),
    "tokens": ([softmax, layers.Reshape((-1, 5)), lambda y: y[:, 1:]], "logits"),
    "two softmaxes": ([lambda y: layers.Average()([softmax(y), Hand()(other(y))])], ""),
    "lambda": ([layers.Lambda(lambda y: tf.nn.softmax(y))], "logits"),
    "by hand": ([by_hand], "exp"),
    "in a layer": ([Hand()], "logits"),
    "over time": ([layers.TimeDistributed(layers.Softmax())], "logits"),
    "peaked": ([layers.Rescaling(30.0, name="scaled"), softmax], "scaled"),
    "normalised": ([normalised], "logits"),
    "offset": ([lambda y: normalised(y, scale=False, beta_initializer="ones")], "logits"),
    "two normalised": ([lambda y: layers.Add()([normalised(y), normalised(other(y))])], ""),
    "complement": ([lambda y: layers.Concatenate()([y, 1 - y])], "logits"),
    "centred": ([lambda y: y - ops.mean(y, axis=-1, keepdims=True)], "logits"),
    "sum of a softmax": ([by_hand, lambda y: ops.sum(y, -1, keepdims=True), other], "exp"),
    "not copied": ([Unmakeable(by_hand)], "logits"),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_sum_that_is_constant_is_no_unit_to_probe(name):
    ends, instead = CONSTANT[name]
    model = network(*ends)
    # The sum really is the same whatever the input.
    with jacobian.precision("float32"):
        sums = np.asarray(ops.sum(model(IMAGES), axis=-1)).reshape(len(IMAGES), -1)
    rounding = 2e-3 if name == "cast" else 1e-5
    np.testing.assert_allclose(sums, sums[:1].repeat(len(sums), 0), rtol=rounding, atol=rounding)
    with pytest.raises(GradientError, match="sum to a constant") as caught:
        probe(model, model.output, samples=4)
    assert "\n" not in str(caught.value)
    (named,) = re.findall(
        r"Choose (?:the layer before it, |an earlier layer, )?'([^']+)'", str(caught.value)
    )
    assert re.sub(r"_\d+$", "", named) == instead or not instead
    # Which does have a field.
    assert probe(model, named, samples=2).map.max() > 1e-6


def test_what_is_expected_is_refused_as_well():
    for name in ("resizing", "by hand", "two normalised", "sum of a softmax"):
        model = network(*CONSTANT[name][0])
        for weights in ("random", "given"):
            with pytest.raises(GradientError, match="sum to a constant"):
                expected(model, model.output, weights=weights)


def test_random_weights_are_those_a_layer_starts_with():
    # Its factors are ones again, as those of no trained layer are.
    model = network(lambda y: normalised(y, name="end"))
    factors = model.get_layer("end").gamma
    factors.assign(np.linspace(0.5, 2, 5))
    with pytest.raises(GradientError, match="sum to a constant"):
        expected(model, "end", weights="random")
    expected(model, "end", weights="given")
    np.testing.assert_array_equal(factors, np.linspace(0.5, 2, 5, dtype="float32"))


# --- Sound -----------------------------------------------------------------------------------


class Softmax(layers.Layer):
    """Of another's name, without an axis."""

    def call(self, x):
        return ops.sigmoid(x)


class Gated(layers.Conv2D):
    """With a softmax that is not the last."""

    def call(self, x):
        return ops.square(super().call(x))


SOUND: dict[str, list[End]] = {
    "name": [Softmax()],
    "subclass": [Gated(4, 3, activation="softmax")],
    "states": [layers.ConvLSTM1D(4, 3, activation="softmax", return_sequences=True)],
    "trained": [lambda y: normalised(y, gamma_initializer=Grown(0.3))],
    "hardly trained": [lambda y: normalised(y, gamma_initializer=Grown(1e-4))],
    "rows": [layers.Softmax(axis=1)],
    "saturated": [layers.Rescaling(10.0), layers.Activation("sigmoid")],
    "convolved": [softmax, other],
    "logarithm": [softmax, lambda y: ops.log(y)],
    "gate": [lambda y: layers.Multiply()([softmax(y), layers.Conv2D(1, 1)(y)])],
    "some channels": [softmax, lambda y: y[..., :-1]],
    "often dead": [layers.Conv2D(2, 3, activation="relu", bias_initializer=Grown(0))],
    "one channel": [layers.Conv2D(1, 3)],
    "faint": [layers.Rescaling(1e-6)],
    "not copied": [Unmakeable(ops.tanh)],
}


@pytest.mark.parametrize("name", SOUND)
def test_other_ends_are_measured(name):
    model = network(*SOUND[name])
    result = probe(model, model.output, inputs=IMAGES)
    with tf.GradientTape() as tape:
        inputs = tf.constant(IMAGES)
        tape.watch(inputs)
        seeded = tf.reduce_sum(model(inputs)[(slice(None), *result.unit)])
    own = np.abs(tape.gradient(seeded, inputs)).mean(axis=(0, -1))
    np.testing.assert_allclose(result.map, own, rtol=0, atol=0.01 * own.max())


def test_a_sound_sum_is_cleared_by_the_first_batch_alone(monkeypatch):
    # Neither a pass more nor a copy: the check costs what a batch computes anyway.
    monkeypatch.setattr(cancelling, "gradient_rows", None)
    probe(network(), "logits", inputs=IMAGES)


def test_what_is_lost_in_rounding_is_refused():
    # A sum that is there, of terms a million times as large: single precision holds none of it.
    single = network(lambda y: layers.Concatenate()([y * 3e7, y * 0.3 - y * 3e7]))
    with pytest.raises(GradientError, match=r"lost in rounding.*float64"):
        probe(single, single.output, samples=2)


def test_double_precision_has_constants_too_and_holds_more():
    nearly = network(lambda y: normalised(y, gamma_initializer=Grown(1e-9)), dtype="float64")
    assert probe(nearly, nearly.output, samples=2).map.max() > 1e-12
    model = network(softmax, dtype="float64")
    with pytest.raises(GradientError, match=r"sum to a constant.*'logits'"):
        probe(model, samples=2)


def test_one_sample_and_equal_samples_show_it():
    model = network(softmax)
    for options in ({"samples": 1}, {"inputs": "zeros", "samples": 3}):
        with pytest.raises(GradientError, match="sum to a constant"):
            probe(model, **options)
    linear = network(lambda y: y - ops.mean(y, axis=-1, keepdims=True))
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(keras.Model(linear.get_layer("logits").input, linear.output))


def test_another_input_does_not_hide_it():
    x, z = keras.Input((8, 8, 3), name="x"), keras.Input((8, 8, 3), name="z")
    model = keras.Model([x, z], layers.Softmax()(layers.Conv2D(3, 3, padding="same")(x)) + z)
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(model, samples=4, input="x")
    with pytest.raises(GradientError, match="sum to a constant"):
        expected(model, input="x")
    assert probe(model, samples=4, input="z").size == 1


def test_where_nothing_else_is_left_one_channel_is():
    x = keras.Input((6, 6, 4))
    model = keras.Model(x, layers.Softmax(name="end")(x))
    with pytest.raises(GradientError, match=r"one channel.*Lambda"):
        probe(model, samples=2)
    y = keras.layers.Lambda(lambda y: y[..., :1])(model.output)
    assert probe(keras.Model(x, y), samples=2).size == 1


def test_the_layer_to_take_is_named():
    with pytest.raises(GradientError, match=r"Choose the layer before it, 'logits'$"):
        probe(network(softmax), samples=2)
    with pytest.raises(GradientError, match=":linear', the value before its softmax"):
        probe(network(layers.Conv2D(4, 3, activation="softmax")), samples=2)


def test_a_softmax_is_positive_and_a_normalisation_is_not():
    # `replknet` seeds the ReLU of the channels.
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(network(softmax, layers.Resizing(20, 20)), samples=2, definition="replknet")
    probe(network(normalised), samples=2, definition="replknet")


def test_half_precision_is_measured_in_single():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network(softmax, layers.UpSampling2D())
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(model, model.output, samples=2)


def test_dropout_in_training_keeps_no_sum():
    model = network(softmax, layers.Dropout(0.5))
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(model, model.output, samples=4)
    assert probe(model, model.output, samples=4, training=True).map.max() > 1e-4


def test_the_model_stays_as_it_was():
    model = network(softmax)
    before = [layer.get_config() for layer in model.layers]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    with pytest.raises(GradientError):
        probe(model, samples=2)
    assert [layer.get_config() for layer in model.layers] == before
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_profiles_leave_them_out_and_ensembles_refuse_them():
    model = network(softmax, layers.Resizing(20, 20, name="end"))
    for found in (profile(model, samples=2), growth(model)):
        assert [one.layer for one in found] == ["body", "logits"]
        assert [name for name, _ in found.skipped] == ["softmax", "end"]
        assert all("sum to a constant" in reason for _, reason in found.skipped)
    with pytest.raises(GradientError, match="sum to a constant"):
        ensemble(lambda seed: network(softmax, seed=seed), "softmax", runs=2)


def test_more_axes_than_a_map_may_have_are_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr("keras_erf.cone.Cone.run", None)
    x = keras.Input((3, 3, 3, 3, 2), name="deep")
    model = keras.Model(x, layers.Dense(3)(x))
    assert locate(model, model.output).receptive_field.size == (1, 1, 1, 1)
    for measure in (probe, expected):
        with pytest.raises(
            InvalidInputError, match=r"`input` .* 3 spatial axes.*Received: 4 .*deep"
        ):
            measure(model, model.output)
