"""Everything runs where warnings are errors, as in many test suites."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hanging import HANGING

SCRIPT = """
import keras
import numpy as np
from keras import layers

import keras_erf
import tensorflow as tf


def build(seed):
    keras.utils.set_random_seed(seed)
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(3, 3, padding="same", activation="tanh", name="first")(x)
    y = layers.BatchNormalization()(y)
    return keras.Model(x, layers.Conv2D(3, 3, padding="same", name="last")(y))


model, images = build(0), np.random.default_rng(0).random((4, 9, 9, 2))
result = keras_erf.probe(model, inputs=images)
for inputs in (tf.constant(images), tf.data.Dataset.from_tensor_slices(images)):
    again = keras_erf.probe(model, inputs=inputs, samples=4)
    np.testing.assert_allclose(again.map, result.map, rtol=1e-5)
keras_erf.profile(model, samples=2)
keras_erf.expected(model)
keras_erf.expected(model, weights="given")
keras_erf.ensemble(build, runs=2)
keras_erf.probe(keras_erf.calibrate_batch_norm(model, samples=4), samples=2).summary()
keras_erf.check(model)
keras_erf.tile_overlap(model)


class Masked(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 2))
        self.mask = np.tri(3)[..., None, None].astype("float32")

    def call(self, x):
        y = keras.ops.conv(x, self.kernel * self.mask, padding="same")
        return y * keras.ops.cast(y > 0, y.dtype)


x = keras.Input((9, 9, 2))
y = layers.Lambda(lambda t: tf.nn.relu(t), output_shape=(None, None, 2))(Masked()(x))
y = layers.LayerNormalization()(layers.Conv2D(3, 3)(y))
masked = keras.Model(x, layers.Conv2D(3, 3, name="last")(y))
keras_erf.receptive_field(masked)
keras_erf.probe(masked, samples=2).summary()
keras_erf.check(masked)
keras_erf.expected(masked, "last")
keras_erf.zoo.load("cifar_resnet14", "initial")
"""


def test_nothing_warns():
    # A process of its own: pytest's filters let one warning pass that Keras raises in other tests.
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=HANGING
    )
    assert run.returncode == 0, run.stderr[-2000:]
