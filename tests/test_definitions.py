"""Every definition, computed by hand from the gradients of single samples."""

from __future__ import annotations

import dataclasses
from typing import get_args, get_type_hints

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_erf.definitions import DEFINITIONS, Definition, get_definition
from keras_erf.errors import InvalidInputError
from keras_erf.measuring.gradients import MEASURES
from keras_erf.measuring.probing import probe

UNIT = (4, 3)
SAMPLES = 5


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Two input channels, three channels at the unit, of mixed signs; float64."""
    options = {"padding": "same", "dtype": "float64", "bias_initializer": "random_normal"}
    x = keras.Input((9, 8, 2), dtype="float64")
    y = keras.layers.Conv2D(4, 3, activation="relu", name="first", **options)(x)
    y = keras.layers.Conv2D(3, 3, name="second", **options)(y)
    model = keras.Model(x, y)
    rng = np.random.default_rng(8)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    return model


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(6).normal(size=(SAMPLES, 9, 8, 2))


def gradients(network, samples, seeded) -> np.ndarray:
    """Gradient of `seeded(channels of the unit)`, one eager pass per sample."""
    found = []
    for sample in samples:
        x = tf.constant(sample[None])
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = seeded(network(x)[(0, *UNIT)])
        found.append(tape.gradient(value, x).numpy()[0])
    return np.array(found)


# For each preset: what is differentiated, and what becomes of all gradients (samples first).
BY_HAND = {
    "luo2016": (tf.reduce_sum, lambda g: np.abs(g).mean(axis=-1).mean(axis=0)),
    "luo2016-squared": (tf.reduce_sum, lambda g: (g**2).mean(axis=-1).mean(axis=0)),
    "luo2016-signed": (tf.reduce_sum, lambda g: g.mean(axis=-1).mean(axis=0)),
    "replknet": (
        lambda y: tf.reduce_sum(tf.maximum(y, 0)),
        lambda g: np.where(g > 0, g, 0).sum(axis=-1).mean(axis=0),
    ),
    "openerf": (
        tf.reduce_mean,
        lambda g: (lambda m: m / m.sum())(np.maximum(g.mean(axis=-1), 0).sum(axis=0)),
    ),
    "raghu2021": (tf.reduce_sum, lambda g: np.abs(g).mean(axis=(0, -1))),
}


def test_every_measure_has_its_function():
    assert set(get_args(get_type_hints(Definition)["measure"])) == set(MEASURES)


def test_every_preset_is_computed_by_hand_here():
    assert set(BY_HAND) == set(DEFINITIONS)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_map_by_hand(network, samples, name):
    seeded, collect = BY_HAND[name]
    expected = collect(gradients(network, samples, seeded))
    result = probe(network, "second", unit=UNIT, inputs=samples, definition=name)
    np.testing.assert_allclose(result.map, expected, rtol=1e-12, atol=1e-13 * expected.max())
    assert result.definition == DEFINITIONS[name]
    assert name in repr(result)


def test_the_presets_differ_on_this_network(network, samples):
    # Else the network would be too simple to distinguish them; raghu2021 and luo2016 are the same.
    signs = np.sign([network(samples)[(number, *UNIT)] for number in range(SAMPLES)])
    assert (signs > 0).any(axis=0).all()
    assert (signs < 0).any()
    maps = {
        name: hand(gradients(network, samples, seeded)) for name, (seeded, hand) in BY_HAND.items()
    }
    del maps["raghu2021"]
    shapes = [one / np.abs(one).max() for one in maps.values()]
    for number, first in enumerate(shapes):
        for second in shapes[number + 1 :]:
            assert np.abs(first - second).max() > 0.01


def test_a_definition_of_ones_own(network, samples):
    own = Definition("own", seed="mean", measure="square", channels="sum", after="relu")
    expected = (gradients(network, samples, tf.reduce_mean) ** 2).sum(axis=-1).mean(axis=0)
    result = probe(network, "second", unit=UNIT, inputs=samples, definition=own)
    np.testing.assert_allclose(result.map, expected, rtol=1e-12, atol=1e-16)


def test_names_are_their_own():
    assert all(name == one.name for name, one in DEFINITIONS.items())
    assert all(one.source for one in DEFINITIONS.values())
    assert get_definition("luo2016") is DEFINITIONS["luo2016"]
    own = Definition("own")
    assert get_definition(own) is own


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("luo2016square", "Did you mean 'luo2016-squared'?"),
        ("RepLKNet", "Did you mean 'replknet'?"),
        ("zzz", None),
        (["luo2016"], "Did you mean 'luo2016'?"),
        (None, None),
    ],
)
def test_an_unknown_definition_lists_the_known_ones(network, given, hint):
    with pytest.raises(InvalidInputError, match="`definition` must be") as caught:
        probe(network, definition=given)
    message = str(caught.value)
    assert f"Received: definition={given!r}" in message
    assert all(name in message for name in DEFINITIONS)
    assert "\n" not in message
    if hint:
        assert hint in message
    else:
        assert "Did you mean" not in message


@pytest.mark.parametrize("option", ["seed", "measure", "channels", "after", "display"])
def test_an_option_that_is_none_is_refused(option):
    with pytest.raises(InvalidInputError, match=f"`{option}` .* Received: {option}='max'"):
        Definition("own", **{option: "max"})


def test_a_definition_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFINITIONS["luo2016"].measure = "square"


def test_no_definition_takes_the_name_of_another(network):
    assert get_definition(dataclasses.replace(DEFINITIONS["openerf"])) == DEFINITIONS["openerf"]
    own = dataclasses.replace(DEFINITIONS["luo2016"], measure="square")
    with pytest.raises(InvalidInputError, match="a name of its own: 'luo2016' is that of other"):
        probe(network, definition=own)
    assert probe(
        network, definition=dataclasses.replace(own, name="own"), samples=1
    ).definition.name
