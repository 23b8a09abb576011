"""Units whose channels sum to a constant are refused: what they would show is rounding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf import ensemble, expected, growth, probe, profile
from keras_erf.errors import GradientError


def net(*ends: Any, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 2))
    y = layers.Conv2D(6, 3, activation="tanh", name="body")(x)
    y = layers.Conv2D(5, 3, name="logits")(y)
    for end in ends:
        y = end(y)
    return keras.Model(x, y)


CONSTANT = {
    "softmax": [lambda: layers.Softmax(name="end")],
    "activation": [lambda: layers.Activation("softmax", name="end")],
    "operation": [lambda: lambda y: ops.softmax(y, axis=3)],
    "convolution": [lambda: layers.Conv2D(4, 3, activation="softmax", name="end")],
    "upsampled": [layers.Softmax, lambda: layers.UpSampling2D(interpolation="bilinear")],
    "normalised": [lambda: layers.LayerNormalization(name="end")],
    "offset": [lambda: layers.LayerNormalization(scale=False, beta_initializer="ones")],
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_sum_that_is_constant_is_no_unit_to_probe(name):
    model = net(*(make() for make in CONSTANT[name]))
    with pytest.raises(GradientError, match=r"sum to a constant.*Choose the layer before it"):
        probe(model, model.output, samples=4)
    # The sum really is the same whatever the input.
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 2)).astype("float32")
    sums = np.asarray(ops.sum(model(images), axis=-1))
    np.testing.assert_allclose(sums, sums.flat[0], rtol=0, atol=1e-5)
    with tf.GradientTape() as tape:
        inputs = tf.constant(images)
        tape.watch(inputs)
        seeded = model(inputs)[:, 5, 5]
        part = seeded[..., 0]
    assert np.abs(tape.gradient(part, inputs)).max() > 1e-3


class Softmax(layers.Layer):
    """Of another's name, without an axis."""

    def call(self, x):
        return ops.sigmoid(x)


class Gated(layers.Conv2D):
    """With a softmax that is not the last."""

    def call(self, x):
        return ops.square(super().call(x))


SOUND = {
    "name": Softmax(),
    "subclass": Gated(4, 3, activation="softmax"),
    "states": layers.ConvLSTM1D(4, 3, activation="softmax", return_sequences=True),
    "factors": layers.LayerNormalization(gamma_initializer="random_uniform"),
    "rows": layers.Softmax(axis=1),
    "sigmoid": layers.Activation("sigmoid"),
    "batch": layers.BatchNormalization(),
    "body": layers.Identity(),
}


@pytest.mark.parametrize("name", SOUND)
def test_other_ends_are_measured(name):
    model = net(SOUND[name])
    assert probe(model, model.output, samples=4).map.max() > 1e-6


def test_the_layer_to_take_is_named():
    model = net(layers.Softmax(name="end"))
    with pytest.raises(GradientError, match=r"Choose the layer before it, 'logits'$"):
        probe(model)
    with pytest.raises(GradientError, match="or give the softmax a layer of its own"):
        probe(net(layers.Conv2D(4, 3, activation="softmax")))


def test_a_softmax_is_positive_and_a_normalisation_is_not():
    # `replknet` seeds the ReLU of the channels.
    with pytest.raises(GradientError, match="sum to a constant"):
        probe(net(layers.Softmax()), samples=2, definition="replknet")
    probe(net(layers.LayerNormalization()), samples=2, definition="replknet")


def test_profiles_leave_them_out_and_ensembles_refuse_them():
    model = net(layers.Softmax(name="end"))
    for found in (profile(model, samples=2), growth(model)):
        assert [one.layer for one in found] == ["body", "logits"]
        ((name, reason),) = found.skipped
        assert name == "end"
        assert "sum to a constant" in reason
    with pytest.raises(GradientError, match="sum to a constant"):
        ensemble(lambda seed: net(layers.Softmax(name="end"), seed=seed), "end", runs=2)
    with pytest.raises(GradientError, match="sum to a constant"):
        expected(model, "end")
