"""Probes on the cone: what they measure, when they stop, and what they refuse."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf import Definition, probe, zoo
from keras_erf.errors import GradientError, InvalidInputError


def network(*, size: int | None = 40, depth: int = 3, seed: int = 0, **options) -> keras.Model:
    """A small network of 3x3 convolutions with a skip connection, behind ReLUs."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((size, size, 2))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    for number in range(depth):
        branch = layers.Conv2D(8, 3, padding="same", **options)(y)
        branch = layers.BatchNormalization()(branch)
        y = layers.ReLU(name=f"out{number}")(layers.Add()([y, branch]))
    return keras.Model(x, layers.Conv2D(4, 3, strides=2, padding="same", name="last")(y))


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return network()


# -- The cone --


@pytest.mark.parametrize("unit", ["center", (0, 0), (0, 9), (19, 19)])
@pytest.mark.parametrize("definition", ["luo2016", "replknet", "openerf"])
def test_the_cone_gives_what_the_whole_model_gives(small, unit, definition):
    options = {"unit": unit, "definition": definition, "samples": 8}
    by_cone, whole = (probe(small, "last", cone=cone, **options) for cone in (True, False))
    np.testing.assert_allclose(by_cone.map, whole.map, rtol=0, atol=1e-6 * whole.map.max())
    assert by_cone.dead == whole.dead


def test_what_is_kept_is_as_large_as_the_field():
    # Five 3x3 convolutions of which the last strides: 11 px, whatever the size of the image.
    sums = [probe(network(size=size), "last", samples=2).block_sums for size in (40, 4000)]
    assert [one.shape for one in sums] == [(16, 11, 11)] * 2


def test_a_field_that_is_cut_at_the_edge_is_kept_as_it_is_cut(small):
    # Unit 0 is centred on pixel 0 or 1 and sees 5 pixels to either side.
    result = probe(small, "last", unit=(0, 19), samples=2)
    assert result.part == tuple(
        (max(start, 0), min(stop, 40)) for start, stop in result.receptive_field.box()
    )


def test_the_same_seed_gives_the_same_result_on_any_batch_size(small):
    results = [probe(small, samples=24, seed=3, batch_size=size) for size in (1, 5, 24)]
    for other in results[1:]:
        close = {"rtol": 0, "atol": 1e-6 * results[0].map.max()}
        np.testing.assert_allclose(other.block_sums, results[0].block_sums, **close)
    assert np.abs(probe(small, samples=24, seed=4).map - results[0].map).max() > 1e-3


def test_the_last_batch_is_filled_up_not_compiled_again(small, monkeypatch):
    from keras_erf.measuring import accumulating

    traced = []
    gradients = accumulating.channels_and_gradients

    def counted(*args, **options):
        traced.append(1)
        return gradients(*args, **options)

    monkeypatch.setattr(accumulating, "channels_and_gradients", counted)
    result = probe(small, samples=21, batch_size=8)
    assert (len(traced), result.count) == (1, 21)
    assert list(result.block_counts) == [2] * 5 + [1] * 11


def test_a_unit_that_another_input_does_not_reach_does_not_read_it():
    first, second = keras.Input((9, 9, 1), name="first"), keras.Input((9, 9, 1), name="second")
    y = layers.Conv2D(4, 3, activation="relu", name="own")(first)
    model = keras.Model([first, second], layers.Add()([y, layers.Conv2D(4, 3)(second)]))
    images = np.random.default_rng(0).standard_normal((2, 3, 9, 9, 1)).astype("float32")
    # What is not finite in the second would be refused if it were read.
    images[1, :, 5, 5] = np.nan
    assert probe(model, "own", inputs=list(images)).count == 3


def test_inputs_that_the_cone_cuts_are_each_cut_to_their_own_part():
    first, second = keras.Input((30, 30, 1), name="first"), keras.Input((30, 30, 1), name="second")
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(first)
    z = layers.Conv2D(4, 7, padding="same", activation="relu")(second)
    model = keras.Model([first, second], layers.Conv2D(2, 3, name="end")(layers.Multiply()([y, z])))
    images = list(np.random.default_rng(0).standard_normal((2, 4, 30, 30, 1)).astype("float32"))
    by_cone, whole = (probe(model, "end", inputs=images, cone=cone) for cone in (True, False))
    np.testing.assert_allclose(by_cone.map, whole.map, rtol=0, atol=1e-6 * whole.map.max())
    assert by_cone.part == ((13, 18), (13, 18))


def test_dropout_runs_on_the_cone(small):
    x = keras.Input((20, 20, 1))
    y = layers.Dropout(0.5)(layers.Conv2D(8, 3, name="before")(x))
    model = keras.Model(x, layers.Conv2D(1, 3, name="end")(y))
    kept = probe(model, "end", samples=256, training=True, definition="luo2016-squared", seed=1)
    still = probe(model, "end", definition="luo2016-squared")
    assert not kept.linear
    assert still.linear
    # Every path through a hidden unit weighs 2 in half of the draws: its square is there once more.
    first, second = (
        np.square(model.get_layer(name).kernel.numpy()).sum(axis=(0, 1))
        for name in ("before", "end")
    )
    paths = (first[0] * second[:, 0]).sum()
    assert kept.map.sum() == pytest.approx(still.map.sum() + paths, rel=0.15)


# -- When to stop --


def test_a_tolerance_is_reached_and_reported(small):
    result = probe(small, "out2", tolerance=0.1, samples=2000)
    size = result.estimate("size")
    assert result.stopped_by == "tolerance"
    assert 32 <= result.count < 2000
    assert (size.high - size.low) / 2 <= 0.1 * result.size


def test_a_tolerance_out_of_reach_ends_at_the_ceiling(small):
    result = probe(small, "out2", tolerance=1e-6, samples=48)
    assert (result.stopped_by, result.count) == ("samples", 48)


def test_a_tolerance_out_of_reach_ends_with_the_images(small):
    images = np.random.default_rng(0).standard_normal((40, 40, 40, 2)).astype("float32")
    result = probe(small, "out2", inputs=images, tolerance=1e-6, samples=100)
    assert (result.stopped_by, result.count) == ("inputs", 40)


def test_a_linear_model_needs_one_sample():
    model = zoo.build("plain", depth=5, weights="uniform", activation="linear")
    result = probe(model)
    assert (result.count, result.linear, result.stopped_by) == (1, True, "linear")
    assert result.size_error == result.ratio_error == 0
    # The central trinomial row of five 3x3 kernels of ones: 69 pixels (SCIENCE.md, section 4).
    assert result.size == math.sqrt(69)


def test_a_definition_that_rectifies_is_not_linear():
    model = zoo.build("plain", depth=2, weights="uniform", activation="linear")
    result = probe(model, definition="replknet", samples=8)
    assert (result.count, result.linear) == (8, False)


def test_two_half_runs_merged_are_the_whole(small):
    images = np.random.default_rng(0).standard_normal((64, 40, 40, 2)).astype("float32")
    whole = probe(small, "last", inputs=images, batch_size=16)
    halves = [
        probe(small, "last", inputs=part, batch_size=16) for part in (images[:32], images[32:])
    ]
    merged = halves[0].merge(halves[1])
    np.testing.assert_allclose(merged.block_sums, whole.block_sums, rtol=1e-12, atol=0)
    assert merged.estimate("size").error == pytest.approx(whole.estimate("size").error)


# -- Overflow, underflow, half precision --


def chain(weight: float, *, depth: int = 1, dtype: str = "float32") -> keras.Model:
    x = keras.Input((9, 9, 1), dtype=dtype)
    y = layers.Activation("tanh", dtype=dtype)(x)
    for _ in range(depth):
        kernel = keras.initializers.Constant(weight)
        y = layers.Conv2D(1, 3, padding="same", kernel_initializer=kernel, dtype=dtype)(y)
    return keras.Model(x, y)


def test_underflow_is_refused_not_averaged_in():
    # Gradients near 1e-36 are above the smallest float32 of 1.2e-38, but their tails are not.
    with pytest.raises(GradientError, match=r"underflows.*float64"):
        probe(chain(1e-12, depth=3), samples=4)
    result = probe(chain(1e-12, depth=3, dtype="float64"), samples=4)
    assert 0 < result.map.max() < 1e-34


def test_overflow_is_refused_not_averaged_in():
    with pytest.raises(GradientError, match="not finite"):
        probe(chain(1e20, depth=3), samples=4)
    assert np.isfinite(probe(chain(1e20, depth=3, dtype="float64"), samples=4).map).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_half_precision_is_measured_in_float32(policy):
    half, full = network(dtype=policy), network()
    for one, other in zip(half.weights, full.weights, strict=True):
        # What a model of half weights holds is what is measured.
        other.assign(tf.cast(one.value, tf.float32))
    images = np.random.default_rng(0).standard_normal((4, 40, 40, 2)).astype("float32")
    layer = half.layers[-2]
    result = probe(half, layer, inputs=images)
    expected = probe(full, full.layers[-2].name, inputs=images)
    np.testing.assert_allclose(result.map, expected.map, rtol=0, atol=1e-6 * expected.map.max())
    assert half.layers[2].compute_dtype != "float32"


def test_a_quantized_layer_is_refused():
    x = keras.Input((6, 6, 4))
    model = keras.Model(x, layers.Dense(4, name="mix")(layers.Conv2D(4, 3)(x)))
    model.get_layer("mix").quantize("int8")
    with pytest.raises(InvalidInputError, match=r"`model` .* 'mix' quantized to int8"):
        probe(model)


# -- What settings accept --


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tolerance": 0}, r"`tolerance` must be a share .*tolerance=0$"),
        ({"tolerance": "2 %"}, r"`tolerance` must be a share .*tolerance='2 %'$"),
        ({"tolerance": 2}, r"`tolerance` must be a share .*tolerance=2$"),
        ({"cone": 1}, r"`cone` must be True or False\. Received: cone=1$"),
    ],
)
def test_settings_that_make_no_sense(small, options, says):
    with pytest.raises(InvalidInputError, match=says):
        probe(small, **options)


def test_a_definition_of_ones_own(small):
    own = Definition("sum of squares", measure="square", channels="sum")
    squared = probe(small, samples=4, definition="luo2016-squared")
    np.testing.assert_allclose(probe(small, samples=4, definition=own).map, 2 * squared.map)
