"""No map reaches beyond its field, and no unit sees another sample in training mode."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_erf import ensemble, expected, probe, profile
from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.errors import GradientError, InternalError, InvalidInputError
from keras_erf.rules import Link, View

# --- Beyond the field ----------------------------------------------------------------------------


class Shifted(layers.Layer):
    """Sees its own pixel and one two rows before it."""

    def call(self, x):
        return x + ops.roll(x, 2, axis=1)


class Centred(layers.Layer):
    """Sees the whole of its sample, in training mode alone."""

    def call(self, x, training=False):
        return x - ops.mean(x, axis=(1, 2), keepdims=True) if training else ops.tanh(x)


def alone(call):
    """What a layer that does the same at each pixel sees."""
    return (View((Link(0), Link(1), Link(2))),)


def network(*ends) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((12, 12, 2))
    y = layers.Conv2D(3, 3, name="first")(x)
    for end in ends:
        y = end(y)
    return keras.Model(x, y)


@pytest.fixture(scope="module")
def shifted() -> keras.Model:
    return network(Shifted(), layers.Conv2D(3, 3, name="last"))


@pytest.mark.parametrize(
    "measure",
    [
        lambda model, rules: probe(model, "last", samples=2, rules=rules),
        lambda model, rules: probe(model, "last", samples=2, rules=rules, cone=False),
        lambda model, rules: profile(model, ["first", "last"], samples=2, rules=rules),
        lambda model, rules: expected(model, "last", rules=rules),
        lambda model, rules: ensemble(
            lambda seed: network(Shifted(), layers.Conv2D(3, 3, name="last")), "last", runs=1,
            rules=rules,
        ),
    ],
    ids=["probe", "whole", "profile", "expected", "ensemble"],
)  # fmt: skip
def test_a_wrong_rule_is_caught(shifted, measure):
    measure(shifted, None)
    with pytest.raises(InvalidInputError, match=r"`rules` .* 5 x 5 px.*Shifted.*keras_erf.check"):
        measure(shifted, {Shifted: alone})


def test_a_field_that_is_too_small_by_our_fault_is_one(shifted, monkeypatch):
    box = ReceptiveField.box
    smaller = lambda field, unit=None: tuple((a + 1, b) for a, b in box(field, unit))  # noqa: E731
    monkeypatch.setattr(ReceptiveField, "box", smaller)
    for measure in (probe, expected):
        with pytest.raises(InternalError, match="fault of keras-erf"):
            measure(shifted, "first")


def test_a_layer_that_sees_more_in_training_is_refused_there():
    model = network(Centred(name="end"))
    assert probe(model, "end", samples=2).trf_size == 3
    with pytest.raises(InvalidInputError, match=r"`training` must be False.*beyond.*training=True"):
        probe(model, "end", samples=2, training=True)


# --- Samples that are mixed ----------------------------------------------------------------------


class Wrapped(layers.Layer):
    """A batch normalisation inside."""

    def __init__(self, norm=None, **options):
        super().__init__(**options)
        self.norm = norm or layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=False):
        return self.norm(x, training=training)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, x, training=False):
        return self.norm(x, training=training)


class Own(layers.BatchNormalization):
    """Of another class."""


class ByHand(layers.Layer):
    """Statistics of the batch without any layer of Keras."""

    def call(self, x, training=False):
        return x - ops.mean(x, axis=0, keepdims=True) if training else ops.tanh(x)


class AtInference(Wrapped):
    """One that runs at inference always."""

    def call(self, x, training=False):
        return self.norm(x, training=False)


MIXING = {
    "itself": (lambda: layers.BatchNormalization(name="end"), "'end'"),
    "subclass": (lambda: Own(name="end"), "'end'"),
    "layer": (lambda: Wrapped(name="end"), "'end/norm'"),
    "two deep": (lambda: Wrapped(Wrapped(name="inner"), name="end"), "'end/norm'"),
    "model": (lambda: Subclassed(name="end"), "'end/norm'"),
    "over time": (
        lambda: layers.TimeDistributed(layers.BatchNormalization(name="norm"), name="end"),
        "'end/norm'",
    ),
    "nested": (
        lambda: keras.Sequential([layers.Conv2D(2, 1), layers.BatchNormalization(name="end")]),
        "/end'",
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_batch_normalisation_is_found_wherever_it_is(name):
    make, named = MIXING[name]
    layer = make()
    model = network(layer, layers.Dropout(0.1, name="dropped"))
    # The second source: another sample changes what comes of the first one.
    images = np.random.default_rng(0).normal(size=(2, 12, 12, 2)).astype("float32")
    both, other = (model(images * [[[[1]]], [[[one]]]], training=True)[0] for one in (1, 9))
    assert np.abs(both - other).max() > 0.1
    with pytest.raises(InvalidInputError, match=f"`training` must be False.*{named}.*trainable"):
        probe(model, "dropped", samples=2, training=True)
    # The remedy works, and changes nothing else.
    layer.trainable = False
    assert probe(model, "dropped", samples=2, training=True).map.any()


def test_statistics_by_hand_are_found_too():
    model = network(layers.Conv2D(3, 1), ByHand(name="mixer"), layers.Conv2D(3, 1, name="end"))
    for measure in (probe, profile):
        with pytest.raises(InvalidInputError, match="layer 'mixer' mixes the samples"):
            measure(model, "end", samples=2, training=True)
    with pytest.raises(InvalidInputError, match="layer 'mixer' mixes the samples"):
        ensemble(lambda seed: model, "end", runs=1, training=True)
    assert probe(model, "end", samples=2).map.any()


def test_what_does_not_mix_is_measured():
    model = network(AtInference(name="end"), layers.GaussianNoise(0.1, name="noisy"))
    assert probe(model, "noisy", samples=2, training=True).map.any()
    # Behind the unit nothing matters.
    late = network(layers.Conv2D(2, 1, name="before"), layers.BatchNormalization())
    assert probe(late, "before", samples=2, training=True).map.any()


def test_a_batch_of_one_is_normalised_by_its_own_pixels():
    x = keras.Input(batch_shape=(1, 9, 9, 2))
    y = Wrapped(name="end")(layers.Conv2D(2, 3)(x))
    model = keras.Model(x, y)
    with pytest.raises(InvalidInputError, match="'end/norm'"):
        probe(model, "end", samples=2, training=True)
    assert probe(model, "end", samples=2).map.any()


# --- Padding alone -------------------------------------------------------------------------------


def test_a_unit_that_sees_padding_alone_is_recognised_by_its_weights():
    x = keras.Input((8, 8, 2))
    wide = keras.Model(x, layers.Conv2D(3, 3)(layers.ZeroPadding2D(4)(x)))
    inner = layers.ZeroPadding2D(3)(layers.Conv2D(3, 3, padding="same")(x))
    for model, unit in ((wide, (0, 0)), (keras.Model(x, inner), (2, 2))):
        # No pixel makes a difference.
        images = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype("float32")
        assert np.ptp(np.asarray(model(images)[(slice(None), *unit)]), axis=0).max() == 0
        for measure in (probe, expected):
            with pytest.raises(GradientError, match="nothing but padding") as caught:
                measure(model, model.output, unit=unit)
            inside = tuple(
                map(int, str(caught.value).split("such as (")[1].split(")")[0].split(","))
            )
            assert measure(model, model.output, unit=inside).map.any()
    with pytest.raises(GradientError, match="nothing but padding"):
        probe(keras.Model(x, layers.ReLU()(wide.output)), unit=(0, 0))


def test_no_gradient_is_lost_to_the_check():
    # The oracle of all: the plain tape's map holds nothing that the probe's does not.
    model = network(Shifted(), layers.Conv2D(3, 3, strides=2, name="last"))
    result = probe(model, "last", samples=1)
    inputs = tf.Variable(np.zeros((1, 12, 12, 2), "float32"))
    with tf.GradientTape() as tape:
        seeded = tf.reduce_sum(model(inputs)[(slice(None), *result.unit)])
    own = np.abs(tape.gradient(seeded, inputs)).mean(axis=(0, -1))
    np.testing.assert_allclose(result.map, own, rtol=1e-4, atol=1e-6)
