"""Statistics of batch normalisations, against NumPy layer after layer and training mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_erf
from keras_erf import calibrate_batch_norm
from keras_erf.errors import InvalidInputError
from keras_erf.measuring import calibrating
from tests.models import state_of

IMAGE = (5, 4, 2)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def images(count: int = 6, *, shape: tuple[int, ...] = IMAGE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, *shape)).astype("float32")


def weighted(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(1, 0.5, variable.shape))
    return model


def two_norms() -> keras.Model:
    x = keras.Input(IMAGE)
    y = layers.BatchNormalization(name="first")(layers.Dense(3, name="one")(x))
    y = layers.Dense(4, name="two")(layers.ReLU()(y))
    return weighted(keras.Model(x, layers.BatchNormalization(name="second")(y)))


def moments(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = tuple(range(value.ndim - 1))
    return value.mean(axis=axes), value.var(axis=axes)


def normalized(norm: Any, value: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    gamma, beta = norm.gamma.numpy(), norm.beta.numpy()
    return (value - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta


def by_hand(model: keras.Model, batches: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """What `two_norms` should hold: layer after layer in NumPy, each batch by itself."""
    dense = [model.get_layer(name).get_weights() for name in ("one", "two")]
    values = [np.asarray(batch, "float64") for batch in batches]
    counts = [len(batch) for batch in batches]
    found = {}
    for name, (kernel, bias) in zip(("first", "second"), dense, strict=True):
        values = [np.maximum(one, 0) if name == "second" else one for one in values]
        values = [one @ kernel + bias for one in values]
        each = [moments(one) for one in values]
        mean = sum(n * m for n, (m, _) in zip(counts, each, strict=True)) / sum(counts)
        square = sum(n * (m**2 + v) for n, (m, v) in zip(counts, each, strict=True)) / sum(counts)
        found[name] = [mean, square - mean**2]
        norm = model.get_layer(name)
        values = [normalized(norm, one, *own) for one, own in zip(values, each, strict=True)]
    return found


def held(model: keras.Model, name: str) -> list[np.ndarray]:
    norm = model.get_layer(name)
    return [norm.moving_mean.numpy(), norm.moving_variance.numpy()]


@pytest.mark.parametrize("size", [None, 6, 3, 4, 1])
def test_statistics_are_those_of_numpy(size: int | None):
    model, data = two_norms(), images()
    copy = calibrate_batch_norm(model, data, batch_size=size)
    step = size or len(data)
    batches = [data[start : start + step] for start in range(0, len(data), step)]
    for name, expected in by_hand(model, batches).items():
        for one, other in zip(held(copy, name), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_whatever_the_batches_the_first_one_sees_all_samples():
    """Its inputs do not depend on the batches, so that what is put together is exact."""
    model, data = two_norms(), images(7)
    whole = calibrate_batch_norm(model, data)
    parts = calibrate_batch_norm(model, data, batch_size=3)
    for one, other in zip(held(parts, "first"), held(whole, "first"), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    assert not np.allclose(held(parts, "second")[1], held(whole, "second")[1], rtol=1e-3)


def test_outputs_have_mean_beta_and_deviation_gamma():
    model, data = two_norms(), images(20)
    copy = calibrate_batch_norm(model, data)
    for name in ("first", "second"):
        norm = copy.get_layer(name)
        made = keras.Model(copy.input, norm.output)(data).numpy()
        mean, variance = moments(made)
        np.testing.assert_allclose(mean, norm.beta.numpy(), rtol=1e-4, atol=1e-4)
        # But for the epsilon that is added to the variance.
        np.testing.assert_allclose(np.sqrt(variance), np.abs(norm.gamma.numpy()), rtol=1e-3)


# --- Training mode is the second source ----------------------------------------------------------


class Block(layers.Layer):
    """Calls a batch normalisation of its own, at inference if `training` is False."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(3, 2)
        self.norm = layers.BatchNormalization()

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 3))

    def call(self, x, training=None):
        return ops.tanh(self.norm(self.conv(x), training=training))


def plain(x):
    return two_norms()(x)


def nested(x):
    inner = keras.Sequential([keras.Input(IMAGE), layers.Dense(3), layers.BatchNormalization()])
    return layers.BatchNormalization(scale=False)(layers.ReLU()(inner(x)))


def custom(x):
    return layers.BatchNormalization(center=False)(Block()(x))


def residual(x):
    y = layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same")(x))
    y = layers.ReLU()(layers.Add()([x, y]))
    return layers.BatchNormalization(axis=1)(y)


def double(x):
    return layers.BatchNormalization(dtype="float64")(layers.Dense(2, dtype="float64")(x))


ONE_INPUT: dict[str, Callable[[Any], Any]] = {
    one.__name__: one for one in (plain, nested, custom, residual, double)
}


@pytest.mark.parametrize("name", ONE_INPUT)
def test_on_one_batch_it_is_training_mode(name: str):
    x, data = keras.Input(IMAGE), images()
    model = weighted(keras.Model(x, ONE_INPUT[name](x)))
    before = state_of(model)
    copy = calibrate_batch_norm(model, data)
    assert state_of(model) == before
    expected = model(data, training=True)
    np.testing.assert_allclose(copy(data), expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(model(data), expected, rtol=1e-2)
    # Nothing stays of how it was measured.
    for norm, other in zip(calibrating._norms(copy), calibrating._norms(model), strict=True):
        assert norm.get_config() == other.get_config()
        assert "call" not in vars(norm)
    again = copy(data, training=True)
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)


def test_frozen_ones_are_calibrated_and_stay_frozen():
    x, data = keras.Input(IMAGE), images()
    frozen = layers.BatchNormalization(trainable=False, name="norm")
    copy = calibrate_batch_norm(keras.Model(x, frozen(x)), data)
    for one, other in zip(held(copy, "norm"), moments(data), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    assert not copy.get_layer("norm").trainable


def test_several_inputs():
    x, y = keras.Input(IMAGE, name="x"), keras.Input((3,), name="y")
    joined = layers.Multiply()([layers.Dense(3)(x), layers.BatchNormalization(name="norm")(y)])
    model = weighted(keras.Model([x, y], layers.BatchNormalization()(joined)))
    data = {"y": images(shape=(3,)), "x": images(seed=1)}
    expected = model([data["x"], data["y"]], training=True)
    for given in (data, [data["x"], data["y"]]):
        copy = calibrate_batch_norm(model, given)
        np.testing.assert_allclose(held(copy, "norm")[0], data["y"].mean(0), **CLOSE)
        np.testing.assert_allclose(copy([data["x"], data["y"]]), expected, rtol=1e-4, atol=1e-4)


def test_a_shared_layer_holds_the_statistics_of_all_its_calls():
    x, y = keras.Input(IMAGE), keras.Input(IMAGE)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model([x, y], layers.Subtract()([norm(x), norm(3 * y)]))
    one, other = images(), images(seed=1)
    copy = calibrate_batch_norm(model, [one, other], batch_size=4)
    expected = moments(np.concatenate([one, 3 * other]))
    for found, wanted in zip(held(copy, "norm"), expected, strict=True):
        np.testing.assert_allclose(found, wanted, **CLOSE)


def test_over_time_all_steps_count():
    x, data = keras.Input((3, 4)), images(shape=(3, 4))
    norm = layers.BatchNormalization()
    copy = calibrate_batch_norm(keras.Model(x, layers.TimeDistributed(norm)(x)), data)
    (found,) = calibrating._norms(copy)
    mean, variance = moments(data)
    np.testing.assert_allclose(found.moving_mean, mean, **CLOSE)
    np.testing.assert_allclose(found.moving_variance, variance, **CLOSE)


def test_dropout_stays_inactive():
    x, data = keras.Input(IMAGE), images()
    y = layers.BatchNormalization(name="norm")(layers.Dropout(0.5)(layers.GaussianNoise(0.9)(x)))
    copy = calibrate_batch_norm(keras.Model(x, y), data)
    for one, other in zip(held(copy, "norm"), moments(data), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def test_renormalisation_gets_the_statistics_of_the_batches():
    x, data = keras.Input(IMAGE), images()
    y = layers.BatchNormalization(renorm=True, name="norm")(x)
    copy = calibrate_batch_norm(keras.Model(x, layers.BatchNormalization(name="next")(y)), data)
    mean, variance = moments(data)
    found = copy.get_layer("norm")
    assert found.renorm
    for one in (found.moving_mean, found.renorm_mean):
        np.testing.assert_allclose(one, mean, **CLOSE)
    np.testing.assert_allclose(found.moving_variance, variance, **CLOSE)
    for one in (found.moving_stddev, found.renorm_stddev):
        np.testing.assert_allclose(one, np.sqrt(variance + found.epsilon), **CLOSE)
    np.testing.assert_allclose(held(copy, "next"), [[0, 0], [1, 1]], atol=1e-3)
    # The corrections are then 1 and 0: in training it computes the same.
    np.testing.assert_allclose(copy(data, training=True), copy(data), rtol=1e-3, atol=1e-4)


def test_spoilt_statistics_are_replaced():
    model, data = two_norms(), images()
    expected = calibrate_batch_norm(model, data)(data)
    model.get_layer("first").moving_variance.assign(np.full(3, np.nan))
    np.testing.assert_array_equal(calibrate_batch_norm(model, data)(data), expected)


def test_one_that_never_takes_the_batch_keeps_what_it_holds():
    class Kept(layers.BatchNormalization):
        def call(self, x, training=None):
            return super().call(x, training=False)

    x = keras.Input(IMAGE)
    y = layers.BatchNormalization(name="norm")(Kept(name="kept")(x))
    model = keras.Model(x, y)
    model.get_layer("kept").moving_mean.assign([5.0, 6.0])
    copy = calibrate_batch_norm(model, images())
    np.testing.assert_array_equal(held(copy, "kept"), [[5, 6], [1, 1]])
    assert (held(copy, "norm")[0] < 0).all()


# --- Inputs --------------------------------------------------------------------------------------


def seen(copy: keras.Model) -> np.ndarray:
    return np.array(held(copy, "first"))


def test_noise_is_the_default():
    model = two_norms()
    one = calibrate_batch_norm(model)
    np.testing.assert_array_equal(seen(one), seen(calibrate_batch_norm(model, samples=64)))
    assert (seen(one) != seen(calibrate_batch_norm(model, samples=63))).all()
    assert (seen(one) != seen(calibrate_batch_norm(model, seed=1))).all()
    kernel, bias = model.get_layer("one").get_weights()
    # Within five standard errors of the variance and the mean of `count` normal values.
    count = 64 * math.prod(IMAGE[:-1])
    variance = (kernel**2).sum(axis=0)
    np.testing.assert_allclose(seen(one)[1], variance, rtol=5 * math.sqrt(2 / count))
    assert (np.abs(seen(one)[0] - bias) < 5 * np.sqrt(variance / count)).all()


def test_samples_are_the_first_ones():
    model, data = two_norms(), images(9)
    few = calibrate_batch_norm(model, data, samples=4, batch_size=3)
    for one, other in zip(
        held(few, "first"), held(calibrate_batch_norm(model, data[:4]), "first"), strict=True
    ):
        np.testing.assert_allclose(one, other, **CLOSE)


def test_undefined_sizes():
    x = keras.Input((None, None, 2))
    model = keras.Model(x, layers.BatchNormalization(name="first")(layers.Conv2D(2, 3)(x)))
    data = images(shape=(9, 7, 2))
    given = model.layers[1](data).numpy()
    copy = calibrate_batch_norm(model, data)
    for one, other in zip(held(copy, "first"), moments(given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.isfinite(seen(calibrate_batch_norm(model, input_shape=8))).all()
    with pytest.raises(InvalidInputError) as caught:
        calibrate_batch_norm(model)
    assert str(caught.value) == (
        "`input_shape` must give the spatial sizes that the model leaves open. Received: input "
        f"{model.input.name!r} of shape (None, None, 2) without the batch"
    )


def test_a_fixed_batch_takes_whole_ones():
    x, data = keras.Input(IMAGE, batch_size=2, name="x"), images(5)
    model = keras.Model(x, layers.BatchNormalization(name="norm")(x))
    copy = calibrate_batch_norm(model, data)
    for one, other in zip(held(copy, "norm"), moments(data[:4]), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    for options in ({"batch_size": 3}, {"samples": 1}):
        with pytest.raises(InvalidInputError, match="`model` is built for batches of 2"):
            calibrate_batch_norm(model, data, **options)


def test_memory_limits_the_batch(monkeypatch: pytest.MonkeyPatch):
    model, data = two_norms(), images()
    # Of each pixel: 2 of the input, 3 of each of three tensors, 4 of two more; 4 bytes each.
    monkeypatch.setattr(calibrating, "MEMORY", 2 * 5 * 4 * (2 + 3 * 3 + 2 * 4) * 4)
    limited = calibrate_batch_norm(model, data)
    pairs = calibrate_batch_norm(model, data, batch_size=2)
    np.testing.assert_array_equal(held(limited, "second"), held(pairs, "second"))


def test_a_calibrated_model_is_probed():
    copy = calibrate_batch_norm(two_norms(), images())
    assert keras_erf.probe(copy, "first", samples=2).receptive_field.size == (1, 1)


# --- Errors --------------------------------------------------------------------------------------


def no_norm() -> keras.Model:
    x = keras.Input(IMAGE)
    return keras.Model(x, layers.Dense(2)(x), name="bare")


def failing() -> keras.Model:
    x = keras.Input(IMAGE)

    def fail(t):
        if isinstance(t, keras.KerasTensor):
            return t
        raise ValueError("it is broken")

    y = layers.Lambda(fail, output_shape=IMAGE)(x)
    return keras.Model(x, layers.BatchNormalization()(y))


def infinite() -> keras.Model:
    x = keras.Input(IMAGE)
    return keras.Model(x, layers.BatchNormalization(name="norm")(ops.log(x - 99)))


class Compiled(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        if isinstance(x, keras.KerasTensor):
            return self.norm(x)
        return tf.function(self.norm)(x)


def compiled() -> keras.Model:
    x = keras.Input(IMAGE)
    return keras.Model(x, Compiled()(x))


WRONG: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "no batch norm": (
        no_norm,
        {},
        "`model` must have a batch normalisation to calibrate; without one it is ready as it is. "
        "Received: model='bare'",
    ),
    "no model": (lambda: 3, {}, "`model` must be a Keras 3 model. "),
    "samples": (
        two_norms,
        {"samples": 0},
        "`samples` must be a whole number of at least 1. Received: samples=0",
    ),
    "batch size": (two_norms, {"batch_size": 1.5}, "`batch_size` must be a whole number"),
    "seed": (two_norms, {"seed": -1}, "`seed` must be a whole number of at least 0"),
    "input shape": (two_norms, {"input_shape": (3,)}, "`input_shape` must give 2 positive"),
    "inputs": (two_norms, {"inputs": np.zeros((3, 2, 2, 2))}, "`inputs` for "),
    "a layer that fails": (
        failing,
        {},
        "`model` cannot be run on `inputs`: it is broken. Fix it, or set `batch_size` lower if "
        "memory is short. Received: batches of 64",
    ),
    "compiled": (
        compiled,
        {},
        "`model` must not call batch normalisations inside of compiled functions, where their "
        "statistics cannot be read; call them outside. Received: layer 'norm'",
    ),
    "not finite": (
        infinite,
        {},
        "`inputs` must keep the model's values finite: layer 'norm' is given infinity or NaN. ",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_reported_in_one_line(name: str):
    make, options, text = WRONG[name]
    with pytest.raises(InvalidInputError) as caught:
        calibrate_batch_norm(make(), **options)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_copied_is_refused():
    class Holder(layers.Layer):
        def __init__(self, inner):
            super().__init__(name="mine")
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    x = keras.Input(IMAGE)
    model = keras.Model(x, Holder(layers.BatchNormalization())(x), name="whole")
    with pytest.raises(InvalidInputError) as caught:
        calibrate_batch_norm(model)
    assert str(caught.value) == (
        "`model` must be one that can be copied: layer 'mine' cannot be made again, as its class "
        "Holder has no `get_config`. Calibrate a model of layers with a `get_config`. "
        "Received: model='whole'"
    )
