"""The gradient probe against closed forms and against plain gradient tapes."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import keras_erf
from keras_erf import zoo
from keras_erf.errors import (
    BackendError,
    GradientError,
    InvalidInputError,
    KerasERFError,
    UnknownLayerError,
)
from keras_erf.graph.unrolling import Builder
from keras_erf.inputs.images import ImageFolder
from keras_erf.measuring import plans as plans_module
from keras_erf.measuring.probing import probe
from keras_erf.results.effective import EffectiveReceptiveField
from tests import oracles

ROOT = Path(__file__).resolve().parents[1]


# -- references --


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight and statistic a random value, as if the model had been trained."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            values = rng.uniform(0.5, 1.5, weight.shape)
        else:
            values = rng.normal(0, 0.3, weight.shape)
        weight.assign(values)
    return model


def by_tape(model, layer, unit, *inputs, training=False, over=0) -> np.ndarray:
    """Gradient of the unit's channel sum on whole batches, by an eager tape on the whole model."""
    tensors = [tf.constant(one) for one in inputs]
    whole = keras.Model(model.inputs, model.get_layer(layer).output)
    with tf.GradientTape() as tape:
        tape.watch(tensors[over])
        made = whole(tensors if len(tensors) > 1 else tensors[0], training=training)
        value = tf.reduce_sum(made[(slice(None), *unit)])
    return tape.gradient(value, tensors[over]).numpy().astype(np.float64)


def mean_map(gradients: np.ndarray) -> np.ndarray:
    """The default definition: |g|, mean over channels (last) and samples."""
    return np.abs(gradients).mean(axis=(0, -1))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal up to float32 rounding of sums over a few hundred products."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def inside(result: EffectiveReceptiveField) -> np.ndarray:
    """The part of a map that its theoretical field spans, with sum 1; nothing lies outside."""
    window = tuple(slice(*pair) for pair in result.receptive_field.box())
    outside = result.map.copy()
    outside[window] = 0
    assert not outside.any()
    return result.map[window] / result.map.sum()


@pytest.fixture(scope="module")
def residual() -> keras.Model:
    """A residual network with batch norm and strides on an uneven input; all weights random."""
    options = {"blocks": (1, 1), "width": 4, "input_shape": (20, 23), "include_top": False}
    return randomize(zoo.build("cifar_resnet14", **options))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(9).normal(size=(20, 20, 23, 3)).astype("float32")


@pytest.fixture(autouse=True)
def quiet(caplog):
    """However often a process probes, TensorFlow has no reason to warn of repeated tracing."""
    yield
    assert not [one for one in caplog.get_records("call") if "retracing" in one.getMessage()]


# -- exactness --


@pytest.mark.parametrize("depth", [5, 10, 20, 40])
def test_uniform_stacks_have_polynomial_coefficients(depth):
    model = zoo.build("plain", depth=depth, weights="uniform", dtype="float64")
    result = probe(model, samples=2)
    found, expected = inside(result), oracles.uniform_map(depth, 3)
    assert found.shape == expected.shape == (2 * depth + 1, 2 * depth + 1)
    assert np.abs(found - expected).max() < 1e-12 * expected.max()
    # All terms are positive, so that even the smallest, 1e-37 of the peak, is right.
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    pixels = {5: 69, 10: 137, 20: 261, 40: 517}[depth]
    assert result.region().pixels == pixels
    assert result.size == pytest.approx(math.sqrt(pixels))
    assert result.ratio == pytest.approx(math.sqrt(pixels) / (2 * depth + 1))


@pytest.mark.parametrize(
    ("kernel", "size"),
    [((3,), (40,)), ((4,), (40,)), ((2, 5), (20, 40)), ((3, 2, 4), (14, 11, 19))],
    ids=["1-D", "1-D even", "2-D uneven", "3-D uneven"],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_uniform_stacks_of_any_rank(kernel, size, channels):
    depth = 5
    model = zoo.build(
        "plain", depth=depth, kernel_size=kernel, dims=len(kernel), weights="uniform",
        channels=channels, filters=2, input_shape=size, dtype="float64",
    )  # fmt: skip
    result = probe(model, samples=1)
    rows = [np.array(oracles.binomial_row(depth, k), dtype=float) for k in kernel]
    expected = oracles.outer(rows)
    np.testing.assert_allclose(inside(result), expected / expected.sum(), rtol=1e-12)
    # Two filters in every layer, and two channels of the unit: 2 ** depth paths.
    assert result.map.max() == pytest.approx(expected.max() * 2**depth, rel=1e-12)


def test_the_border_takes_its_share():
    # Zero padding loses mass: a corner unit of a stack of two has paths in, of 25, only some.
    model = zoo.build("plain", depth=2, weights="uniform", input_shape=(6, 6), dtype="float64")
    result = probe(model, unit=(0, 5), samples=1)
    line = np.array([2.0, 2, 1, 0, 0, 0])  # 1 + x of x's own two neighbours, then again.
    np.testing.assert_allclose(result.map, np.outer(line, line[::-1]), rtol=1e-12)


def test_the_map_of_a_wide_random_stack_is_sqrt_2_wider_than_that_of_squares():
    sizes = []
    for depth in (5, 10, 20):
        maps = {"luo2016": 0.0, "luo2016-squared": 0.0}
        for seed in range(4):
            # Every input channel has weights of its own in the first layer: a draw of its own.
            model = zoo.build(
                "plain", depth=depth, filters=64, channels=64,
                input_shape=(2 * depth + 1,) * 2, seed=seed,
            )  # fmt: skip
            for name in maps:
                result = probe(model, samples=1, inputs="zeros", definition=name)
                maps[name] = maps[name] + result.map
        sizes.append([math.sqrt((m > 0.0455 * m.max()).sum()) for m in maps.values()])
    ratios = [absolute / squared for absolute, squared in sizes]
    exact = [
        (math.sqrt(oracles.PIXELS_OF_ROOT[n]), math.sqrt(oracles.PIXELS_OF_UNIFORM[n]))
        for n in (5, 10, 20)
    ]
    # 256 draws of each pixel leave the sizes good to about 2 %.
    np.testing.assert_allclose(sizes, exact, rtol=0.04)
    np.testing.assert_allclose(ratios, [a / b for a, b in exact], rtol=0.04)
    # The field cuts the wider map off where it is small: sqrt 2 is reached from below.
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] == pytest.approx(math.sqrt(2), rel=0.04)


def positive_residual(dims: int) -> keras.Model:
    """A residual network of positive weights, padded like Keras's ResNets: 19 pixels, stride 4."""
    conv = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[dims]
    pad = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}[dims]
    options = {"dtype": "float64", "use_bias": False}

    def weights() -> keras.initializers.Initializer:
        return keras.initializers.RandomUniform(0.5, 0.5)

    x = keras.Input((*(32,) * dims, 1), dtype="float64")
    y = x
    for stage in range(2):
        y = pad(1, dtype="float64")(y)
        y = conv(2, 3, strides=2, kernel_initializer=weights(), **options)(y)
        branch = conv(2, 3, padding="same", kernel_initializer=weights(), **options)(y)
        branch = layers.BatchNormalization(dtype="float64")(branch)
        y = layers.Add(dtype="float64", name=f"add{stage}")(
            [y, layers.ReLU(dtype="float64")(branch)]
        )
    return keras.Model(x, y)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_positive_strided_nets_are_centred_on_their_field_and_not_on_the_image(dims):
    result = probe(positive_residual(dims), inputs="uniform", samples=3)
    field = result.receptive_field
    assert field.size == (19,) * dims
    # Padding by one on both sides puts unit u on pixel 4 u: an even image has no such middle.
    assert field.center() == (16.0,) * dims
    compared = result.compare()
    np.testing.assert_allclose(compared.centroid, 16.0, atol=1e-12)
    np.testing.assert_allclose(compared.offset, 0.0, atol=1e-12)
    assert all(abs(one - 15.5) > 0.4 for one in compared.centroid)
    # A box about the field's own centre needs no more than the field to hold everything.
    assert result.area_ratio(1.0).side == 19.0


# -- against plain tapes --


@pytest.mark.parametrize(
    ("layer", "unit"),
    [
        ("stem_conv", (3, 4)),
        ("stage1_block1_out", (0, 0)),
        ("stage1_block1_out", (19, 22)),
        ("stage1_block1_add", (19, 0)),
        ("stage2_block1_conv1", (0, 11)),
        ("stage2_block1_out", (4, 6)),
        ("stage2_block1_out", (9, 11)),
    ],
)
def test_a_residual_net_equals_a_plain_tape(residual, images, layer, unit):
    result = probe(residual, layer, unit=unit, inputs=images, batch_size=8)
    gradients = by_tape(residual, layer, unit, images)
    assert_close(result.map, mean_map(gradients))
    # The first convolution is linear, and one sample tells all.
    assert result.count == (1 if layer == "stem_conv" else 20)
    assert result.unit == unit
    # Sample n belongs to block n modulo 16.
    blocks = np.zeros((16, *images.shape[1:3]))
    for number, gradient in enumerate(gradients[: result.count]):
        blocks[number % 16] += mean_map(gradient[None])
    part = tuple(slice(*one) for one in result.part)
    assert_close(result.block_sums, blocks[(slice(None), *part)])


def test_the_last_spatial_layer_and_the_unit_in_the_middle_are_the_default(residual, images):
    result = probe(residual, inputs=images)
    assert result.layer == "stage2_block1_out"
    assert_close(result.map, mean_map(by_tape(residual, result.layer, result.unit, images)))
    middle = np.array(result.receptive_field.center()) - (np.array(result.map.shape) - 1) / 2
    assert (np.abs(middle) <= 1).all()


def test_nothing_lies_outside_of_the_theoretical_support(residual, images):
    result = probe(residual, "stage1_block1_out", inputs=images)
    assert not result.map[~result.receptive_field.support()].any()
    assert result.map[result.receptive_field.support()].all()


def test_a_relu_unit_is_dead_for_the_samples_it_is_negative_on():
    # Without biases the pre-activation of symmetric noise is symmetric: half of it is negative.
    x = keras.Input((7, 7, 2))
    y = layers.Conv2D(1, 5, padding="same", use_bias=False, name="linear")(x)
    model = randomize(keras.Model(x, layers.ReLU(name="relu")(y)))
    noise = np.random.default_rng(2).normal(size=(400, 7, 7, 2)).astype("float32")
    negative = keras.Model(x, y).predict(noise, verbose=0)[:, 3, 3, 0] <= 0
    result = probe(model, "relu", unit=(3, 3), inputs=noise)
    assert result.dead == negative.mean()
    assert result.dead_count == negative.sum()
    # Binomial(400, 1/2): four standard errors.
    assert result.dead == pytest.approx(0.5, abs=0.1)
    alive = probe(model, "linear", unit=(3, 3), inputs=noise)
    assert alive.dead == 0
    assert_close(result.map, alive.map * (1 - negative.mean()))


def test_relu_stacks_kill_half_of_their_relu_units():
    def dead(model: keras.Model) -> float:
        try:
            return probe(model, "relu", samples=60).dead
        except GradientError:  # every sample
            return 1.0

    # Over networks: where the last layer's weights leave a unit alive, their opposites kill it.
    shares = []
    for seed in range(3):
        stack = zoo.build(
            "plain", depth=3, activation="relu", channels=2, input_shape=(9, 9), seed=seed
        )
        last = layers.Conv2D(1, 1, use_bias=False, name="last")
        model = keras.Model(stack.input, layers.ReLU(name="relu")(last(stack.output)))
        weights = np.random.default_rng(seed).normal(size=(1, 1, 8, 1))
        for sign in (1, -1):
            last.set_weights([sign * weights])
            shares.append(dead(model))
        assert sum(shares[-2:]) == pytest.approx(1)
    assert any(0 < share < 1 for share in shares)


# -- samples: how many, in which batches --


@pytest.mark.parametrize("size", [1, 3, 16, 64])
@pytest.mark.parametrize("kind", ["noise", "array"])
def test_the_batch_size_makes_no_difference(residual, images, kind, size):
    inputs = {"noise": "normal", "array": images}[kind]
    options = {"unit": (5, 5), "inputs": inputs, "samples": 20}
    whole = probe(residual, "stage1_block1_out", batch_size=20, **options)
    parts = probe(residual, "stage1_block1_out", batch_size=size, **options)
    assert_close(parts.block_sums, whole.block_sums)
    np.testing.assert_array_equal(parts.block_counts, [2] * 4 + [1] * 12)
    assert parts.count == whole.count == 20
    assert parts.dead_count == whole.dead_count


@pytest.mark.parametrize("inputs", ["normal", "uniform"])
def test_the_seed_decides_the_noise(residual, inputs):
    one, again, other = (
        probe(residual, "stage1_block1_out", inputs=inputs, samples=4, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.map, again.map)
    assert np.abs(one.map - other.map).max() > 0.01 * one.map.max()


@pytest.mark.parametrize(("samples", "count"), [(None, 20), (7, 7), (20, 20), (1000, 20)])
def test_an_array_is_used_from_its_start_and_no_further(residual, images, samples, count):
    result = probe(residual, "stem_out", unit=(4, 4), inputs=images, samples=samples)
    assert result.count == count
    assert_close(result.map, mean_map(by_tape(residual, "stem_out", (4, 4), images[:count])))


@pytest.mark.parametrize("inputs", ["normal", "dataset", "folder"])
def test_what_has_no_size_of_its_own_gives_64_samples(residual, images, tmp_path, inputs):
    if inputs == "dataset":
        inputs = tf.data.Dataset.from_tensor_slices(images).repeat()
    elif inputs == "folder":
        inputs = str(tmp_path)
        for number in range(66):
            Image.new("RGB", (23, 20), (number, 90, 10)).save(tmp_path / f"{number}.png")
    assert probe(residual, "stem_out", inputs=inputs).count == 64


def test_the_standard_error_is_the_textbooks(residual, images):
    layer, unit = "stage1_block1_out", (5, 5)
    maps = np.abs(by_tape(residual, layer, unit, images)).mean(axis=-1)
    # One sample per block: s / sqrt(n) of the samples.
    result = probe(residual, layer, unit=unit, inputs=images[:16])
    expected = maps[:16].std(axis=0, ddof=1) / math.sqrt(16)
    np.testing.assert_allclose(result.standard_error, expected, rtol=1e-3, atol=1e-6)
    # Two per block: the same of the blocks' means, sample n being in block n modulo 16.
    twice = np.concatenate([images[:16], images[4:]])
    pairs = (maps[:16] + maps[4:]) / 2
    result = probe(residual, layer, unit=unit, inputs=twice)
    np.testing.assert_array_equal(result.block_counts, [2] * 16)
    expected = pairs.std(axis=0, ddof=1) / math.sqrt(16)
    np.testing.assert_allclose(result.standard_error, expected, rtol=1e-3, atol=1e-6)


def test_one_sample_has_no_error(residual):
    result = probe(residual, "stem_out", samples=1)
    assert math.isnan(result.size_error)
    assert math.isnan(result.ratio_error)
    assert np.isnan(result.standard_error).all()
    assert result.standard_error.shape == (20, 23)
    assert result.size > 0


@pytest.mark.parametrize("samples", [3, 100])
def test_what_is_kept_does_not_grow_with_the_samples(residual, samples):
    result = probe(residual, "stem_out", samples=samples)
    assert result.block_sums.shape == (16, 3, 3)
    assert result.block_sums.dtype == np.float64
    kept = [value for value in vars(result).values() if isinstance(value, np.ndarray)]
    assert sum(value.size for value in kept) == 16 * 3 * 3 + 16


def test_a_fixed_batch_is_filled_up_with_what_does_not_count(residual, images):
    fixed = keras.Input(batch_shape=(8, 20, 23, 3))
    model = keras.Model(fixed, residual(fixed), name="fixed")
    layer = f"{residual.name}/stage1_block1_out"
    result = probe(model, layer, unit=(5, 5), inputs=images, samples=19)
    again = probe(model, layer, unit=(5, 5), inputs=images, samples=19, batch_size=8)
    np.testing.assert_array_equal(again.map, result.map)
    assert result.count == result.provenance["runs"][0]["samples"] == 19
    free = by_tape(residual, "stage1_block1_out", (5, 5), images[:19])
    assert_close(result.map, mean_map(free))


def test_a_fixed_batch_takes_no_other_size():
    x = keras.Input(batch_shape=(4, 8, 9, 3))
    model = keras.Model(x, small(8, 9)(x))
    with pytest.raises(InvalidInputError, match=r"`batch_size` must be 4.* batch_size=2"):
        probe(model, batch_size=2)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 4), ("float32", 4), ("float64", 2)])
def test_batches_keep_the_bytes_of_activations_within_the_memory(monkeypatch, dtype, size):
    # Forward and backward: 2 x 10 x 10 values a layer, of two layers; 4 samples of 4 bytes each.
    monkeypatch.setattr("keras_erf.measuring.batch_size.MEMORY", 4 * 4 * (2 * 2 * 10 * 10))
    monkeypatch.setattr("keras_erf.measuring.batch_size.SMALL_MEMORY", 0)
    x = keras.Input((10, 10, 1), dtype=dtype)
    y = layers.Activation("tanh", dtype=dtype)(layers.AveragePooling2D(1, dtype=dtype)(x))
    counts = []
    model = keras.Model(x, y)
    probe(model, samples=16, cone=False, progress=lambda done, _: counts.append(done))
    assert counts[0] == size


def test_dead_samples_that_fill_a_batch_up_do_not_count():
    x = keras.Input(batch_shape=(4, 5, 5, 1))
    model = keras.Model(x, layers.Conv2D(1, 3, kernel_initializer="ones", activation="relu")(x))
    signs = np.array([1.0, 1, 1, 1, 1, -1])[:, None, None, None] * np.ones((6, 5, 5, 1))
    assert probe(model, inputs=signs).dead_count == 1
    assert probe(model, inputs=signs[5:0:-1]).dead_count == 1


# -- inputs --


def small(*shape: int, channels: int = 3, dtype: str = "float32") -> keras.Model:
    """Two convolutions with a curved function between: the map depends on the input."""
    x = keras.Input((*shape, channels), dtype=dtype)
    y = layers.Conv2D(3, 3, padding="same", activation="tanh", dtype=dtype)(x)
    return randomize(keras.Model(x, layers.Conv2D(2, 3, name="last", dtype=dtype)(y)))


PICTURES = np.random.default_rng(11).integers(0, 256, (4, 8, 9, 3)).astype("uint8")


@pytest.mark.parametrize("kind", ["dataset", "batches", "labelled", "folder", "grey", "preprocess"])
def test_every_kind_of_inputs_is_measured_as_the_array_is(tmp_path, kind):
    values, scale = PICTURES.astype("float32"), 100.0
    # Tanh of large numbers is flat: the model's own scaling keeps it curved.
    channels = 1 if kind == "grey" else 3
    x = keras.Input((8, 9, channels))
    inner = small(8, 9, channels=channels)
    model = keras.Model(x, inner(layers.Rescaling(1 / scale)(x)))
    for number, picture in enumerate(PICTURES):
        one = picture[..., 0] if kind == "grey" else picture
        Image.fromarray(one).save(tmp_path / f"{number}.png")
    slices = tf.data.Dataset.from_tensor_slices
    inputs = {
        "dataset": lambda: slices(values),
        "batches": lambda: slices(values).batch(3),
        "labelled": lambda: slices((values, np.arange(4))).batch(3),
        "folder": lambda: str(tmp_path),
        "grey": lambda: tmp_path,
        "preprocess": lambda: ImageFolder(tmp_path, lambda batch: 255 - batch),
    }[kind]()
    expected = {"grey": values[..., :1], "preprocess": 255 - values}.get(kind, values)
    result = probe(model, inputs=inputs, samples=4, unit=(2, 3))
    reference = by_tape(inner, "last", (2, 3), (expected / scale).astype("float32")) / scale
    assert_close(result.map, mean_map(reference))
    assert result.count == 4


@pytest.fixture(scope="module")
def pair() -> keras.Model:
    """Two inputs of different sizes that multiply: the gradient of one depends on the other."""
    a, b = keras.Input((12, 12, 2), name="a"), keras.Input((6, 6, 1), name="b")
    upper = layers.Conv2D(2, 3, padding="same")(a)
    lower = layers.UpSampling2D(2)(layers.Conv2D(2, 3, padding="same", activation="tanh")(b))
    both = layers.Multiply(name="product")([upper, lower])
    return randomize(keras.Model([a, b], layers.Conv2D(2, 3, padding="same", name="last")(both)))


@pytest.mark.parametrize("form", ["list", "tuple", "dict", "dataset"])
@pytest.mark.parametrize("over", ["a", "b", None])
def test_two_inputs(pair, form, over):
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(3, *s)).astype("float32") for s in ((12, 12, 2), (6, 6, 1)))
    inputs = {
        "list": [a, b],
        "tuple": (a, b),
        "dict": {"b": b, "a": a},
        "dataset": tf.data.Dataset.from_tensor_slices(({"b": b, "a": a}, np.arange(3))),
    }[form]
    result = probe(pair, "last", unit=(5, 4), inputs=inputs, input=over)
    expected = by_tape(pair, "last", (5, 4), a, b, over=1 if over == "b" else 0)
    assert result.map.shape == ((6, 6) if over == "b" else (12, 12))
    assert result.receptive_field.input == (over or "a")
    assert_close(result.map, mean_map(expected))


def test_noise_for_two_inputs_is_drawn_for_each(pair):
    assert probe(pair, "last", samples=2, input="b").map.any()


@pytest.mark.parametrize("form", ["array", "tensor", "dict", "input_shape", "partly"])
def test_undefined_sizes_are_those_of_the_array(form):
    model = small(*((None, 15) if form == "partly" else (None, None)))
    values = np.random.default_rng(4).normal(size=(2, 13, 15, 3)).astype("float32")
    given = {"tensor": tf.constant(values), "dict": {model.inputs[0].name: values}}
    options = {"input_shape": (13, 15)} if form == "input_shape" else {}
    result = probe(model, "last", unit=(3, 4), inputs=given.get(form, values), **options)
    assert result.map.shape == (13, 15)
    assert result.receptive_field.output_size == (11, 13)
    assert_close(result.map, mean_map(by_tape(model, "last", (3, 4), values)))


def test_undefined_sizes_without_an_array_hold_the_field():
    result = probe(small(None, None), samples=2)
    assert all(0 <= a < b <= n for (a, b), n in zip(
        result.receptive_field.box(), result.map.shape, strict=True))  # fmt: skip


def test_input_shape_replaces_the_models_own():
    model = small(8, 9)
    result = probe(model, "last", input_shape=(20, 11), samples=2)
    assert result.map.shape == (20, 11)
    values = np.ones((2, 20, 11, 3), dtype="float32")
    free = small(None, None)
    free.set_weights(model.get_weights())
    result = probe(model, "last", unit=(9, 4), inputs=values, input_shape=(20, 11))
    assert_close(result.map, mean_map(by_tape(free, "last", (9, 4), values)))


def test_channels_first():
    # Of the convolutions TensorFlow runs these alone with channels first on every device.
    x = keras.Input((2, 9, 10))
    options = {"data_format": "channels_first", "padding": "same"}
    y = layers.DepthwiseConv2D(3, activation="tanh", **options)(x)
    model = randomize(keras.Model(x, layers.DepthwiseConv2D(3, name="last", **options)(y)))
    values = np.random.default_rng(4).normal(size=(3, 2, 9, 10)).astype("float32")
    result = probe(model, "last", unit=(4, 2), inputs=values)
    tensor = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = tf.reduce_sum(model(tensor)[:, :, 4, 2])
    expected = np.abs(tape.gradient(value, tensor).numpy()).mean(axis=(0, 1))
    assert_close(result.map, expected)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions(dtype):
    model, single = small(8, 9, dtype=dtype), small(8, 9)
    single.set_weights(model.get_weights())
    values = np.random.default_rng(4).normal(size=(3, 8, 9, 3)).astype("float32")
    result = probe(model, "last", unit=(2, 3), inputs=values)
    expected = mean_map(by_tape(single, "last", (2, 3), values))
    tolerance = {"float16": 0.02, "float64": 1e-5}[dtype]
    assert np.abs(result.map - expected).max() < tolerance * expected.max()
    assert result.map.dtype == np.float64


# -- what is refused --


def integer() -> keras.Model:
    x = keras.Input((8, 9, 3), dtype="int32")
    return keras.Model(x, layers.Conv2D(2, 3)(layers.Rescaling(0.1)(x)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "`samples` .* samples=0"),
        ({"samples": -3}, "`samples`"),
        ({"samples": 2.0}, "`samples` .* samples=2.0"),
        ({"samples": "all"}, "`samples`"),
        ({"samples": True}, "`samples`"),
        ({"batch_size": 0}, "`batch_size` .* batch_size=0"),
        ({"batch_size": 1.5}, "`batch_size`"),
        ({"seed": -1}, "`seed` .* seed=-1"),
        ({"seed": "a"}, "`seed` .* seed='a'"),
        ({"seed": None}, "`seed`"),
        ({"seed": 0.5}, "`seed`"),
        ({"training": 1}, "`training` .* training=1"),
        ({"unit": (6, 0)}, "`unit`"),
        ({"unit": (1,)}, "`unit`"),
        ({"input": "nowhere"}, "`input`"),
        ({"input_shape": (8,)}, "`input_shape`"),
        ({"input_shape": (8, 2)}, "`input_shape`"),
        ({"definition": "luo"}, "`definition` .*'luo2016'"),
        ({"inputs": "nothing"}, "`inputs`"),
        ({"inputs": np.zeros((2, 8, 9))}, r"`inputs` .*shape \(2, 8, 9\)"),
        ({"inputs": np.zeros((2, 8, 8, 3))}, "`inputs` .*`input_shape`"),
        ({"inputs": np.full((2, 8, 9, 3), np.nan)}, "`inputs` .* NaN"),
        ({"inputs": [np.zeros((2, 8, 9, 3))] * 2}, "`inputs`"),
        ({"inputs": tf.data.Dataset.from_tensor_slices(np.zeros((0, 8, 9, 3)))}, "at least one"),
    ],
)
def test_arguments_that_do_not_fit(options, says):
    with pytest.raises(InvalidInputError, match=says) as caught:
        probe(small(8, 9), "last", **options)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


FAILING = {
    "its own code": ("odd", TypeError("first line\nsecond line"), "layer 'odd' fails: first line"),
    "no words": ("odd", RuntimeError(), "layer 'odd' fails: RuntimeError"),
    "name": ("an odd", None, "layer 'an odd' fails: .* is not a valid scope name"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_layer_that_cannot_be_called_is_named_in_one_line(case):
    name, error, says = FAILING[case]

    def fail(*_, **__):
        raise error

    x = keras.Input((8, 9, 1))
    y = layers.Conv2D(2, 3, name="before")(x)
    y = layers.Conv2D(2, 3, name=name)(y)
    model = keras.Model(x, layers.Conv2D(2, 3, name="behind")(y))
    if error is not None:
        model.get_layer(name).call = fail
    with pytest.raises(GradientError, match=says) as caught:
        probe(model, samples=2, cone=False)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    probe(model, "before", samples=2)


def test_a_fault_that_is_no_layers_is_not_put_on_one(monkeypatch):
    def fail(*_):
        raise TypeError("a fault of ours")

    monkeypatch.setattr("keras_erf.measuring.accumulating.sample_maps", fail)
    with pytest.raises(TypeError, match="a fault of ours"):
        probe(small(8, 9), samples=2)


def test_an_array_must_have_the_sizes_that_are_defined():
    # The first axis is open, the second is not.
    with pytest.raises(InvalidInputError, match=r"`inputs` .*shape \(2, 20, 16, 3\)"):
        probe(small(None, 15), "last", inputs=np.zeros((2, 20, 16, 3)))


def test_an_unknown_layer_is_answered_with_the_nearest(residual):
    with pytest.raises(UnknownLayerError, match="stage1_block1_out"):
        probe(residual, "stage1_block1_ou")


def test_an_input_of_whole_numbers_has_no_gradient():
    with pytest.raises(InvalidInputError, match=r"`input` must be of a floating type.*int32"):
        probe(integer())


def test_a_folder_for_an_input_that_is_no_picture(tmp_path):
    Image.new("RGB", (9, 8)).save(tmp_path / "a.png")
    with pytest.raises(InvalidInputError, match=r"image folder.*\(8, 9, 5\)"):
        probe(small(8, 9, channels=5), inputs=str(tmp_path))


def test_one_image_is_one(tmp_path):
    Image.new("RGB", (9, 8)).save(tmp_path / "a.png")
    (run,) = probe(small(8, 9), inputs=str(tmp_path)).provenance["runs"]
    assert run["inputs"] == f"1 image of folder {tmp_path.name!r}"


def test_broken_files_are_in_the_provenance(tmp_path):
    for number in range(3):
        Image.new("RGB", (9, 8), (number, 9, 9)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"broken\.png"):
        result = probe(small(8, 9), inputs=str(tmp_path))
    assert result.count == 3
    (run,) = result.provenance["runs"]
    assert run["skipped"] == ["broken.png"]
    assert run["samples"] == 3
    assert run["inputs"] == f"4 images of folder {tmp_path.name!r}"


def test_another_backend_is_refused_in_one_line(monkeypatch, residual):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(BackendError, match=r"KERAS_BACKEND=tensorflow.*backend='torch'") as caught:
        probe(residual)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "needs"), [("numpy", "jax"), ("jax", "jax"), ("torch", "torch")]
)
def test_a_real_other_backend_has_theoretical_fields_only(backend, needs):
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"Keras's {backend} backend needs {needs}, which is not installed")
    script = """if True:
        import keras, keras_erf
        x = keras.Input((16, 16, 1))
        model = keras.Model(x, keras.layers.MaxPooling2D()(keras.layers.Conv2D(2, 3)(x)))
        print(keras_erf.receptive_field(model).size)
        try:
            keras_erf.probe(model)
        except keras_erf.errors.BackendError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    size, refusal = run.stdout.splitlines()
    assert size == "(4, 4)"
    assert f"backend={backend!r}" in refusal


# -- progress and provenance --


def test_progress_is_reported_after_every_batch(residual):
    counts = []
    probe(residual, samples=10, batch_size=4, progress=lambda *numbers: counts.append(numbers))
    assert counts == [(4, 10), (8, 10), (10, 10)]


def test_a_bar_is_shown_on_request(residual, capsys, monkeypatch):
    # On the error stream, so that what a script prints stays clean.
    monkeypatch.setenv("FORCE_COLOR", "1")
    probe(residual, "stem_out", samples=2)
    assert capsys.readouterr() == ("", "")
    probe(residual, "stem_out", samples=2, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Probing stem_out" in shown.err


def test_the_bar_takes_a_name_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    x = keras.Input((8, 9, 1))
    model = keras.Model(x, layers.Conv2D(1, 3, name="[red]")(x))
    with pytest.raises(GradientError):  # TensorFlow takes no such name, but the bar is there first.
        probe(model, progress=True, cone=False)
    assert "Probing [red]" in capsys.readouterr().err


def test_the_provenance_tells_model_weights_and_samples(residual, images):
    made = probe(residual, "stem_out", inputs=images, samples=3, seed=7).provenance
    assert made["model"] == residual.name
    assert made["training"] is False
    assert made["runs"] == [
        {
            "inputs": "array of shape (20, 20, 23, 3)",
            "seed": 7,
            "samples": 3,
            "stopped_by": "samples",
            "skipped": [],
        }
    ]
    assert made["versions"]["tensorflow"] == tf.__version__
    assert made["versions"]["keras"] == keras.__version__
    twin = keras.models.clone_model(residual)
    twin.set_weights(residual.get_weights())
    assert probe(twin, "stem_out", samples=1).provenance["weights"] == made["weights"]
    twin.weights[-1].assign_add(np.full(twin.weights[-1].shape, 1e-3))
    assert probe(twin, "stem_out", samples=1).provenance["weights"] != made["weights"]


# -- training mode, and the user's model --


@pytest.fixture
def noisy() -> keras.Model:
    """Batch norm, dropout (one layer called twice), noise, a loss of an activity; compiled."""
    x = keras.Input((9, 10, 2))
    drop = layers.Dropout(0.4, seed=1, name="drop")
    y = layers.Conv2D(6, 3, padding="same", activity_regularizer="l2")(x)
    y = drop(layers.BatchNormalization(name="norm")(y))
    y = layers.GaussianNoise(0.5, seed=2)(layers.Activation("tanh")(y))
    y = drop(layers.Conv2D(6, 3, padding="same", name="last")(y))
    model = randomize(keras.Model(x, layers.Activation("linear", name="end")(y)))
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(np.ones((2, 9, 10, 2)), np.ones((2, 9, 10, 6)))
    # In training mode it would mix the samples.
    model.get_layer("norm").trainable = False
    return model


def test_training_mode_draws_by_the_seed(noisy):
    def one(**options) -> np.ndarray:
        return probe(noisy, "end", inputs="zeros", samples=8, **options).map

    first = one(training=True, seed=1)
    np.testing.assert_array_equal(one(training=True, seed=1), first)
    assert np.abs(one(training=True, seed=2) - first).max() > 0.05 * first.max()
    # Without training mode nothing is random.
    np.testing.assert_array_equal(one(seed=1), one(seed=2))


def test_dropout_draws_anew_for_every_batch():
    x = keras.Input((7, 7, 1))
    ones = layers.Conv2D(1, 5, padding="same", kernel_initializer="ones", dtype="float64")
    model = keras.Model(x, ones(layers.Dropout(0.5, dtype="float64")(x)))
    result = probe(model, unit=(3, 3), inputs="zeros", samples=600, batch_size=20, training=True)
    # A pixel is kept in half of the samples, and then counts twice: variance 1 about 1.
    inner = result.map[1:6, 1:6]
    assert inner.mean() == pytest.approx(1, abs=6 / math.sqrt(25 * 600))
    assert np.abs(inner - 1).max() < 6 / math.sqrt(600)
    # Were every batch dropped alike, pixels would differ 4 times as much.
    assert inner.std() == pytest.approx(1 / math.sqrt(600), rel=0.6)


def test_training_mode_is_refused_where_samples_are_mixed(residual, images):
    layer, unit = "stage2_block1_out", (4, 6)
    with pytest.raises(InvalidInputError, match=r"`training` .*'stem_bn'.*training=True"):
        probe(residual, layer, unit=unit, inputs=images, training=True)
    # Before the first of them nothing is mixed.
    assert probe(residual, "stem_conv", inputs=images, training=True).linear


def test_training_mode_of_frozen_statistics_is_inference(residual, images):
    frozen = keras.models.clone_model(residual)
    frozen.set_weights(residual.get_weights())
    frozen.trainable = False
    options = {"unit": (4, 6), "inputs": images}
    result = probe(frozen, "stage2_block1_out", training=True, **options)
    assert_close(result.map, probe(residual, "stage2_block1_out", **options).map)
    assert result.receptive_field.status == "exact"


def state(model: keras.Model) -> dict[str, object]:
    """Everything about a model that a probe must leave alone."""
    return {
        "variables": [np.array(v).tobytes() for v in model.variables],
        "optimizer": [np.array(v).tobytes() for v in model.optimizer.variables],
        "states": [np.array(layer.seed_generator.state).tobytes()
                   for layer in model.layers if hasattr(layer, "seed_generator")],
        "nodes": [(len(one._inbound_nodes), len(one._outbound_nodes)) for one in model.layers],
        "metrics": [metric.name for metric in model.metrics],
        "trainable": [layer.trainable for layer in model.layers],
        "built": [layer.built for layer in model.layers],
        "compiled": (model.compiled, model.optimizer, model.loss, model.train_function),
        "config": model.get_config(),
    }  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fails", [False, True], ids=["measured", "refused"])
def test_the_users_model_stays_as_it_was(noisy, training, fails):
    if fails:
        noisy.get_layer("last").set_weights(
            [np.zeros(weight.shape) for weight in noisy.get_layer("last").get_weights()]
        )
    assert len(state(noisy)["states"]) == 2
    before = state(noisy)
    if fails:
        with pytest.raises(KerasERFError):
            probe(noisy, "end", samples=3, training=training)
    else:
        probe(noisy, "end", samples=3, batch_size=2, training=training)
    after = state(noisy)
    for name, value in before.items():
        assert after[name] == value, name
    # What is checked does change when the model is really called in training mode.
    noisy(np.ones((2, 9, 10, 2)), training=True)
    changed = {name for name, value in state(noisy).items() if value != before[name]}
    assert {"variables", "states"} <= changed


def test_the_losses_of_the_users_last_call_stay(noisy):
    noisy(np.ones((2, 9, 10, 2)))
    before = [float(one) for one in noisy.losses]
    assert len(before) == 1
    probe(noisy, "end", samples=3)
    assert [float(one) for one in noisy.losses] == before


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("ask", ["probe", "profile", "expected", "growth"])
def test_the_graph_is_built_once(ask, named, monkeypatch):
    model = keras_erf.zoo.build("plain", depth=3)
    options = {"samples": 1} if ask in ("probe", "profile") else {}
    built = []
    initialise = Builder.__init__
    monkeypatch.setattr(Builder, "__init__", lambda self: built.append(1) or initialise(self))
    getattr(keras_erf, ask)(model, "conv2" if named else None, **options)
    assert len(built) == 1


def test_a_profile_plans_each_unit_once(monkeypatch):
    planned, plans = plans_module.cone_of, []
    monkeypatch.setattr(
        plans_module, "cone_of", lambda *args, **kwargs: plans.append(1) or planned(*args, **kwargs)
    )
    result = keras_erf.profile(keras_erf.zoo.build("plain", depth=6), samples=1)
    # Each alone, and each together with the group it may join.
    assert len(plans) <= 2 * len(result) - 1
