"""Units whose channels sum to a constant, and near misses, in random networks.

The truth comes from other inputs: in double precision, the sum of a unit's channels is the same
for all of them, or it is not. `make test` checks a few networks, `make fuzz` many.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import strategies as st
from keras import layers, ops

from keras_erf import probe, receptive_field
from keras_erf.errors import GradientError
from tests import jacobian

CHANNELS = 4


class Jittered(keras.initializers.Initializer):
    """Factors that are nearly ones."""

    def __init__(self, by):
        self.by = by

    def __call__(self, shape, dtype=None):
        values = np.random.default_rng(0).normal(size=shape)
        return ops.convert_to_tensor(1 + self.by * values, dtype=dtype)

    def get_config(self):
        return {"by": self.by}


def by_hand(y):
    raised = ops.exp(y - ops.max(y, axis=-1, keepdims=True))
    return raised / ops.sum(raised, axis=-1, keepdims=True)


class Hand(layers.Layer):
    """A softmax that no table knows."""

    def call(self, y):
        return by_hand(y)


def rank(y):
    return len(y.shape) - 2


def conv(y, filters=CHANNELS, size=1, **options):
    return getattr(layers, f"Conv{rank(y)}D")(filters, size, **options)(y)


def sized(name, y, *args, **options):
    return getattr(layers, f"{name}{rank(y)}D")(*args, **options)(y)


def normalised(y, **options):
    return layers.LayerNormalization(**options)(y)


Step = Callable[[Any], Any]
# The first ones are constant in sum, the others may be or not: the truth is measured.
ENDS: dict[str, Step] = {
    "softmax": lambda y: layers.Softmax()(y),
    "peaked softmax": lambda y: layers.Softmax()(layers.Rescaling(20.0)(y)),
    "activation": lambda y: conv(y, activation="softmax"),
    "operation": lambda y: ops.softmax(y, axis=-1),
    "lambda": lambda y: layers.Lambda(tf.nn.softmax)(y),
    "by hand": by_hand,
    "in a layer": lambda y: Hand()(y),
    "over time": lambda y: layers.TimeDistributed(layers.Softmax())(y),
    "normalised": normalised,
    "offset": lambda y: normalised(y, scale=False, beta_initializer="ones"),
    "two normalised": lambda y: layers.Add()([normalised(y), normalised(conv(y))]),
    "two softmaxes": lambda y: layers.Average()([layers.Softmax()(y), layers.Softmax()(conv(y))]),
    "complement": lambda y: layers.Concatenate()([y, 1 - y]),
    "centred": lambda y: y - ops.mean(y, axis=-1, keepdims=True),
    "summed softmax": lambda y: conv(ops.sum(ops.softmax(y), axis=-1, keepdims=True)),
    "jittered": lambda y: normalised(y, gamma_initializer=Jittered(1e-3)),
    "trained": lambda y: normalised(y, gamma_initializer=Jittered(0.1)),
    "logarithm": lambda y: ops.log_softmax(y),
    "convolved": lambda y: conv(layers.Softmax()(y)),
    "other axis": lambda y: layers.Softmax(axis=1)(y),
    "squared": lambda y: ops.square(layers.Softmax()(y)),
    "gated": lambda y: layers.Multiply()([layers.Softmax()(y), ops.sigmoid(conv(y, 1))]),
    "some channels": lambda y: layers.Softmax()(y)[..., :-1],
    "added": lambda y: layers.Add()([layers.Softmax()(y), ops.tanh(conv(y))]),
    "group": lambda y: layers.GroupNormalization(2)(y),
    "unit": lambda y: layers.UnitNormalization()(y),
    "rms": lambda y: layers.RMSNormalization()(y),
    "plain": lambda y: conv(y, activation="tanh"),
    "rectified": lambda y: conv(y, 2 * CHANNELS, activation="relu"),
}
# What keeps a constant sum, and at the end some that do not.
AFTER: dict[str, Step] = {
    "twice as large": lambda y: sized("UpSampling", y, 2),
    "rescaled": lambda y: layers.Rescaling(100.0, offset=1.0)(y),
    # TensorFlow's 3-D pools have no kernel in double precision.
    "averaged": lambda y: (
        sized("AveragePooling", y, 2, padding="same") if rank(y) < 3 else sized("UpSampling", y, 2)
    ),
    "padded": lambda y: sized("ZeroPadding", y, 1),
    "cropped": lambda y: sized("Cropping", y, 1),
    "with itself": lambda y: layers.Concatenate()([y, y]),
    "plus itself": lambda y: layers.Add()([y, y]),
    "cast": lambda y: ops.cast(ops.cast(y, "float64"), y.dtype),
    "flipped": lambda y: ops.flip(y, axis=1),
    "channels reversed": lambda y: y[..., ::-1],
    "first left out": lambda y: y[:, 1:],
    "dropout": lambda y: layers.Dropout(0.3)(y),
    "with a softmax": lambda y: layers.Average()([y, conv(y, y.shape[-1], activation="softmax")]),
    "reshaped": lambda y: layers.Reshape((-1, y.shape[-1]))(y),
    "resized": lambda y: layers.Resizing(11, 13)(y) if rank(y) == 2 else y,
    "bilinear": lambda y: (
        layers.UpSampling2D(2, interpolation="bilinear")(y) if rank(y) == 2 else y
    ),
    "turned": lambda y: layers.Permute((2, 1, 3))(y) if rank(y) == 2 else y,
    "largest": lambda y: (
        sized("MaxPooling", y, 2, padding="same") if rank(y) < 3 else ops.square(y)
    ),
    "rectified": lambda y: ops.relu(y),
}


@dataclass(frozen=True)
class Network:
    """A network in plain data: what `build` takes."""

    axes: int
    body: tuple[tuple[int, str], ...]
    end: str
    after: tuple[str, ...]
    definition: str


def networks() -> st.SearchStrategy[Network]:
    body = st.tuples(st.integers(1, 3), st.sampled_from(["tanh", "relu", "gelu", "linear"]))
    return st.builds(
        Network,
        st.sampled_from([2, 2, 1, 3]),
        st.lists(body, min_size=1, max_size=3).map(tuple),
        st.sampled_from(list(ENDS)),
        st.lists(st.sampled_from(list(AFTER)), max_size=3).map(tuple),
        st.sampled_from(["luo2016", "luo2016", "openerf", "replknet"]),
    )


def build(network: Network, dtype: str) -> keras.Model:
    with jacobian.precision(dtype):
        x = keras.Input(({1: 24, 2: 12, 3: 8}[network.axes],) * network.axes + (2,))
        y = x
        for size, activation in network.body:
            y = conv(y, CHANNELS + 1, size, activation=activation)
        y = conv(y)
        for step in (ENDS[network.end], *(AFTER[name] for name in network.after)):
            if step is not AFTER["cropped"] or min(y.shape[1:-1]) > 3:
                y = step(y)
        return keras.Model(x, y)


def weigh(model: keras.Model, seed: int) -> keras.Model:
    """Gives a model weights of one seed, whatever its precision."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        fresh = rng.normal(size=variable.shape)
        if variable.name not in ("gamma", "beta"):
            fan = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 10
            variable.assign(fresh / np.sqrt(fan))
    return model


def seeded(channels: Any, definition: str) -> Any:
    channels = ops.relu(channels) if definition == "replknet" else channels
    return ops.sum(channels, axis=-1)


def compare(network: Network, counts: Counter[str]) -> None:
    seed = zlib.crc32(repr(network).encode())
    model, exact = (weigh(build(network, dtype), seed) for dtype in ("float32", "float64"))
    field = receptive_field(model, model.output)
    unit = (slice(None), *field.unit)
    if len(field.unit) != len(model.output_shape) - 2:
        # Of tokens on a grid the index among all.
        unit = (slice(None), int(np.ravel_multi_index(field.unit, field.output_size)))
    images = np.random.default_rng(1).normal(size=(6, *model.input_shape[1:]))
    inputs = tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        sums = seeded(exact(inputs)[unit], network.definition)
        total = ops.sum(sums) / (exact.output_shape[-1] if network.definition == "openerf" else 1)
    gradient = np.asarray(tape.gradient(total, inputs))
    # TensorFlow resizes in single precision, whatever it is given.
    rounding = 1e-5 if {"resized", "bilinear"} & set(network.after) else 1e-10
    constant = np.ptp(np.asarray(sums)) < rounding * max(np.abs(sums).max(), 1)
    counts["networks"] += 1
    images = images.astype("float32")
    result = reason = None
    try:
        result = probe(model, model.output, inputs=images, definition=network.definition)
    except GradientError as error:
        reason = str(error)
    if reason is not None and "see what definition" in reason:
        # A gradient that the definition clamps to nothing is one.
        assert not constant
        counts["clamped"] += 1
    elif reason is not None:
        assert constant, reason
        refused = "sum to a constant" in reason
        # A ReLU that is closed for every sample sums to a constant, too.
        assert refused or np.abs(gradient).max() < rounding, reason
        counts["constant" if refused else "dead"] += 1
        remedy = re.search(r"Choose (?:the layer before it|an earlier layer), '([^']+)'", reason)
        if remedy:
            counts["remedies"] += 1
            instead = probe(model, remedy[1], samples=32, definition=network.definition)
            assert instead.map.any()
    if result is None:
        return
    assert not constant, "rounding given out as a field"
    counts["sound"] += 1
    if network.definition == "luo2016":
        own = np.abs(gradient).mean(axis=(0, -1))
        np.testing.assert_allclose(result.map, own, rtol=0, atol=0.02 * own.max())


FUZZING = "FUZZ_GRAPHS" in os.environ
PARTS = 4 if FUZZING else 1
# Outside `make fuzz` a few; in it a quarter of what the fields get, as each network is compiled.
NETWORKS = int(os.environ["FUZZ_GRAPHS"]) // 4 // PARTS if FUZZING else 12
SEED = int(os.environ.get("FUZZ_SEED", "0"))


@pytest.mark.parametrize("part", range(PARTS))
def test_constant_sums_are_refused_and_no_others(part, record_property):
    counts: Counter[str] = Counter()

    @hypothesis.seed(SEED * PARTS + part)
    @hypothesis.settings(max_examples=NETWORKS)
    @hypothesis.given(networks())
    def check(network: Network) -> None:
        compare(network, counts)

    check()
    record_property("fuzz", {f"sums: {what}": number for what, number in counts.items()})
    assert counts["constant"]
    assert counts["sound"]


NAMED = {"padding": Network(2, ((3, "tanh"),), "softmax", ("padded", "resized"), "luo2016")}


@pytest.mark.parametrize("name", NAMED)
def test_named_networks(name):
    compare(NAMED[name], Counter())
