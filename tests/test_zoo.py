"""The model zoo: every family builds as it says, and the shipped weights are what they claim."""

from __future__ import annotations

import io
import math
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_erf import receptive_field, zoo
from keras_erf.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "models" / "weights"

# Each line: a zoo name, options, and what follows from the options alone.
SMALL = [
    pytest.param("plain", {"depth": 3}, id="plain"),
    pytest.param("plain", {"depth": 2, "dims": 1, "use_bias": True}, id="plain-1d"),
    pytest.param("plain", {"depth": 3, "dims": 3, "activation": "tanh"}, id="plain-3d"),
    pytest.param("plain", {"depth": 3, "activation": keras.activations.relu}, id="plain-relu"),
    pytest.param("cifar_resnet14", {"blocks": (1, 1), "width": 4}, id="resnet-tiny"),
    *(pytest.param(name, {}, id=name) for name in zoo.available()),
]


def open_shape(name: str, options: dict) -> tuple[None, ...]:
    return (None,) * options.get("dims", 2)


def random_weights(model: keras.Model) -> list[np.ndarray]:
    """The weights that an initialiser draws: every kernel, but no bias and no batch norm."""
    return [w.numpy() for w in model.trainable_weights if w.name == "kernel"]


def impact(model: keras.Model, sizes: tuple[int, ...], unit: tuple[int, ...]) -> np.ndarray:
    """Gradient of one unit (summed over channels) on an image of ones, summed over channels."""
    x = tf.ones((1, *sizes, model.input.shape[-1]), model.input.dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(model(x)[(0, *unit)])
    return tape.gradient(y, x).numpy().sum(axis=-1)[0]


# -- the index --


def test_every_name_is_described_and_resolves():
    # None may vanish; a new one needs no line here.
    assert {
        "camvid_resnet", "cifar_resnet14", "cifar_resnet36", "conv_only", "dilation", "dropout",
        "foveal", "large_kernel", "no_skip", "plain", "skip", "subsample", "weak_centre",
    } <= set(zoo.available())  # fmt: skip
    for name in zoo.available():
        description = zoo.describe(name)
        assert description
        assert "\n" not in description


@pytest.mark.parametrize("name", zoo.available())
def test_the_index_tells_the_facts(name):
    model, facts = zoo.build(name), zoo.facts(name)
    field = receptive_field(model)
    assert (field.size, field.stride) == (facts.trf, facts.stride)
    assert model.count_params() == facts.parameters
    assert facts.source
    assert zoo.describe(name) == facts.description


def test_importing_the_index_loads_no_framework():
    code = "import sys, keras_erf.zoo; print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_weights_are_found_in_the_installed_layout(tmp_path):
    """In a wheel `models/` takes the place of the bridge `keras_erf/models/`."""
    ignore = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(ROOT / "keras_erf", tmp_path / "keras_erf", ignore=ignore)
    shutil.copytree(ROOT / "models", tmp_path / "keras_erf" / "models")
    code = (
        "import keras_erf.zoo as zoo\n"
        "model = zoo.load('cifar_resnet14', input_shape=(8, 8))\n"
        "print(zoo.__file__, model.count_params())"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(tmp_path / "keras_erf" / "zoo.py"), "176378"]


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (
            lambda: zoo.build("plian"),
            ["`name`", "camvid_resnet, cifar_resnet14", "'plian'", "mean 'plain'"],
        ),
        (lambda: zoo.describe("resnet"), ["`name`", "Received: name='resnet'"]),
        (lambda: zoo.preprocess_input(""), ["`name`", "Received: name=''"]),
        (lambda: zoo.build("plain", deep=3), ["`options`", "depth, kernel_size", "deep=3"]),
        (lambda: zoo.load("plain"), ["`name`", "cifar_resnet14", "'plain'", "`build`"]),
        (lambda: zoo.load("cifar_resnet14", "best"), ["`weights`", "initial, trained", "'best'"]),
        (lambda: zoo.load("cifar_resnet14", classes=7), ["'logits'", "(64, 7)", "`build`"]),
        (lambda: zoo.load("cifar_resnet14", blocks=(3, 3, 3)), ["stage1_block3", "`build`"]),
        (lambda: zoo.build("cifar_resnet14", blocks=()), ["`blocks`", "blocks=()"]),
        (lambda: zoo.build("cifar_resnet14", width=0), ["`width`", "width=0"]),
        (lambda: zoo.build("cifar_resnet14", classes=2.5), ["`classes`", "classes=2.5"]),
        (lambda: zoo.build("cifar_resnet14", input_shape=32), ["`input_shape`", "=32"]),
        (lambda: zoo.build("cifar_resnet14", dtype="float7"), ["`dtype`", "dtype='float7'"]),
        (lambda: zoo.build("plain", depth=0), ["`depth`", "depth=0"]),
        (lambda: zoo.build("plain", filters=True), ["`filters`", "filters=True"]),
        (lambda: zoo.build("plain", channels="3"), ["`channels`", "channels='3'"]),
        (lambda: zoo.build("plain", dims=4), ["`dims`", "1, 2 or 3", "dims=4"]),
        (lambda: zoo.build("plain", weights="ones"), ["`weights`", "uniform", "='ones'"]),
        (lambda: zoo.build("plain", padding="full"), ["`padding`", "valid", "='full'"]),
        (lambda: zoo.build("plain", kernel_size=(3, 3, 3)), ["`kernel_size`", "(3, 3, 3)"]),
        (lambda: zoo.build("plain", activation="rulu"), ["`activation`", "'rulu'"]),
        (lambda: zoo.build("plain", seed=-1), ["`seed`", "seed=-1"]),
        (lambda: zoo.build("plain", input_shape=(9, 0)), ["`input_shape`", "(9, 0)"]),
        (
            lambda: zoo.build("plain", depth=5, padding="valid", input_shape=(11, 10)),
            ["`input_shape`", "(11, 11)", "Received: input_shape=(11, 10)"],
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(call, parts):
    with pytest.raises(InvalidInputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "Received: " in message
    for part in parts:
        assert part in message


# -- properties of every family --


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_the_seed_decides_every_weight(name, options):
    first, again, other = (random_weights(zoo.build(name, **options, seed=s)) for s in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.any(a == c)
    # No two layers of a model share their draws either.
    assert len({kernel.flat[0] for kernel in first}) == len(first)


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_float64_models_compute_in_float64(name, options):
    model = zoo.build(name, **options, dtype="float64")
    assert {tensor.dtype for tensor in (model.input, *model.outputs)} == {"float64"}
    assert {str(weight.dtype) for weight in model.weights} == {"float64"}
    # The input layer computes nothing: Keras leaves it its default policy.
    assert {layer.compute_dtype for layer in model.layers[1:]} == {"float64"}


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_open_sizes_run_at_any_size(name, options):
    sizes = open_shape(name, options)
    model = zoo.build(name, **options, input_shape=sizes)
    assert model.input.shape[1:-1] == sizes
    for size in (9, 12):
        x = np.ones((2, *(size,) * len(sizes), model.input.shape[-1]), np.float32)
        y = model(x).numpy()
        # A map has a unit every few pixels; scores of classes have no place.
        step, axes = zoo.facts(name).stride[0], len(model.output.shape) - 2
        assert y.shape == (2, *(math.ceil(size / step),) * axes, model.output.shape[-1])
        assert np.all(np.isfinite(y))


# -- the plain stack --


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("use_bias", [False, True])
def test_plain_has_the_parameters_of_its_options(dims, use_bias):
    depth, filters, channels, kernel = 4, 5, 2, (3, 5, 2)[:dims]
    model = zoo.build(
        "plain",
        depth=depth,
        filters=filters,
        channels=channels,
        kernel_size=kernel,
        dims=dims,
        use_bias=use_bias,
    )
    positions = math.prod(kernel)
    expected = positions * filters * (channels + (depth - 1) * filters)
    assert model.count_params() == expected + use_bias * depth * filters


@pytest.mark.parametrize("depth", [5, 20])
def test_uniform_impact_is_the_outer_product_of_trinomial_coefficients(depth):
    field = 2 * depth + 1
    model = zoo.build(
        "plain",
        depth=depth,
        weights="uniform",
        padding="valid",
        input_shape=(field, field),
        dtype="float64",
    )
    assert model.output.shape == (None, 1, 1, 1)
    for weight in model.weights:
        np.testing.assert_array_equal(weight.numpy(), 1.0)
    row = np.array([1], dtype=object)  # exact integers
    for _ in range(depth):
        row = np.convolve(row, np.ones(3, dtype=int))
    expected = np.outer(row, row).astype(np.float64)
    np.testing.assert_allclose(impact(model, (field, field), (0, 0)), expected, rtol=1e-12)


def test_further_uniform_filters_only_scale_the_impact():
    one, three = (
        impact(zoo.build("plain", depth=4, weights="uniform", filters=n), (9, 9), (4, 4))
        for n in (1, 3)
    )
    # Each of the three inner convolutions sums 3 channels, and so does the unit.
    np.testing.assert_allclose(three, 3.0**4 * one, rtol=1e-6)


@pytest.mark.parametrize(("activation", "gain"), [(None, 1), ("tanh", 1), ("relu", 2)])
def test_random_weights_are_gaussian_with_the_right_gain(activation, gain):
    model = zoo.build("plain", depth=3, filters=64, activation=activation)
    for kernel, channels in zip(random_weights(model), (1, 64, 64), strict=True):
        z = kernel.ravel() / math.sqrt(gain / (9 * channels))
        error = math.sqrt(2 / z.size)  # of a variance estimated from a Gaussian
        assert np.mean(z) == pytest.approx(0, abs=5 / math.sqrt(z.size))
        assert np.mean(z**2) == pytest.approx(1, abs=5 * error)
    # A normal distribution truncated at two sigma would never reach this far.
    assert np.mean(np.abs(z) > 3) == pytest.approx(math.erfc(3 / math.sqrt(2)), rel=0.5)


def test_activations_stand_between_the_convolutions_only():
    names = [layer.name for layer in zoo.build("plain", depth=3, activation="relu").layers]
    assert names == ["input", "conv1", "act1", "conv2", "act2", "conv3"]
    # All inputs negative: the first ReLU is dead wherever the kernel is positive.
    model = zoo.build("plain", depth=2, weights="uniform", activation="relu")
    assert model(-np.ones((1, 5, 5, 1))).numpy().max() == 0
    linear = zoo.build("plain", depth=1, weights="uniform", activation="relu")
    assert linear(-np.ones((1, 5, 5, 1))).numpy().min() == -9


# -- the residual network --


@pytest.mark.parametrize(("n", "printed"), [(3, 0.27), (5, 0.46)])
def test_resnet_has_the_parameters_the_paper_prints(n, printed):
    """He et al. 2015, table 6, in millions; their skips carry no weights."""
    model = zoo.build("cifar_resnet14", blocks=(n, n, n))
    layers = [layer for layer in model.layers if "skip" not in layer.name]
    count = sum(math.prod(w.shape) for layer in layers for w in layer.trainable_weights)
    assert round(count / 1e6, 2) == printed


def test_resnet_has_the_parameters_of_its_layout():
    model = zoo.build("cifar_resnet14")
    kernels, channels = 27 * 16, [16]
    for stage, width in enumerate((16, 32, 64)):
        before = width if stage == 0 else width // 2
        kernels += 9 * width * (before + 3 * width) + (before * width if stage else 0)
        channels += [width] * (5 if stage else 4)
    dense = 64 * 10 + 10
    assert model.count_params() == kernels + 4 * sum(channels) + dense == 176_378
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == kernels + 2 * sum(channels) + dense


@pytest.mark.parametrize("size", [109, 112])
def test_both_paths_of_a_resnet_block_see_the_same_centre(size):
    """The field of unit u is centred on pixel 4 u for odd and even inputs alike."""
    model = zoo.build(
        "cifar_resnet14", input_shape=(size, size), include_top=False, dtype="float64"
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(tf.ones_like(layer.kernel) / math.prod(layer.kernel.shape[:3]))
    assert model.output.shape == (None, math.ceil(size / 4), math.ceil(size / 4), 64)
    unit, sizes = (14, 13), (size, size)
    # 3x3 layers that read a map of stride 1, 2 and 4: each adds twice that stride.
    field = 1 + 2 * 1 * 6 + 2 * 2 * 4 + 2 * 4 * 3
    rows, columns = np.nonzero(impact(model, sizes, unit))
    for index, seen in zip(unit, (rows, columns), strict=True):
        assert (seen.min(), seen.max()) == (4 * index - field // 2, 4 * index + field // 2)


def test_resnet_skips_carry_the_signal_past_the_branches():
    """With dead branches (batch norm scale 0) the skips alone still lead to the input."""
    model = zoo.build("cifar_resnet14", include_top=False, dtype="float64")
    for layer in model.layers:
        if layer.name.endswith("_bn2"):
            layer.gamma.assign(tf.zeros_like(layer.gamma))
    seen = np.nonzero(impact(model, (32, 32), (4, 4)))
    # Only the 3x3 stem spreads: the 1x1 projections look at pixel 16 = 4 x 4.
    assert [(axis.min(), axis.max()) for axis in seen] == [(15, 17), (15, 17)]


def test_preprocessing_standardises_raw_pixels():
    preprocess = zoo.preprocess_input("cifar_resnet14")
    assert zoo.preprocess_input("plain") is None
    x = np.array([[0, 128, 255], [255, 0, 7]], np.uint8)
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    expected = [[(v / 255 - m) / s for v, m, s in zip(row, mean, std, strict=True)] for row in x]
    for raw, dtype in [(x, "float32"), (x.astype("float64"), "float64"), (x.tolist(), "float32")]:
        y = preprocess(raw)
        assert isinstance(y, np.ndarray)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=1e-5)
    (batch,) = tf.data.Dataset.from_tensors(x).map(preprocess)
    np.testing.assert_allclose(batch.numpy(), expected, rtol=1e-5)


# -- the shipped weights --


def test_shipped_weights_are_small():
    files = sorted(WEIGHTS.glob("*.h5"))
    assert [file.name for file in files] == [
        "cifar_resnet14_initial.weights.h5",
        "cifar_resnet14_trained.weights.h5",
        "cifar_resnet36_initial.weights.h5",
        "cifar_resnet36_trained.weights.h5",
    ]
    sizes = [file.stat().st_size for file in files]
    assert max(sizes[0] + sizes[1], sizes[2] + sizes[3]) < 2_000_000


SHIPPED = ("cifar_resnet14", "cifar_resnet36")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_finite_and_training_changed_every_kernel(name):
    initial, trained = (zoo.load(name, weights) for weights in ("initial", "trained"))
    for before, after in zip(initial.weights, trained.weights, strict=True):
        assert np.all(np.isfinite(before.numpy()))
        assert np.all(np.isfinite(after.numpy()))
        assert not np.array_equal(before.numpy(), after.numpy())
    # Training started from what `build` makes.
    for before, fresh in zip(initial.weights, zoo.build(name).weights, strict=True):
        np.testing.assert_allclose(before.numpy(), fresh.numpy(), rtol=1e-5, atol=1e-7)


def test_options_leave_the_loaded_function_as_it_is():
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    model = zoo.load("cifar_resnet14")
    expected = model(x).numpy()
    features = keras.Model(model.input, model.get_layer("stage3_block2_out").output)(x).numpy()
    for options, y, tolerance in [
        ({"input_shape": (None, None)}, expected, 1e-5),
        ({"dtype": "float64", "seed": 5}, expected, 1e-3),
        ({"include_top": False}, features, 1e-5),
    ]:
        loaded = zoo.load("cifar_resnet14", **options)
        np.testing.assert_allclose(loaded(x).numpy(), y, rtol=tolerance, atol=tolerance)
    larger = zoo.load("cifar_resnet14", input_shape=(None, None), include_top=False)
    assert larger(np.zeros((1, 64, 40, 3))).shape == (1, 16, 10, 64)


@pytest.fixture(scope="module")
def cifar10(shared_data) -> tuple[np.ndarray, np.ndarray]:
    """The first 30 test images of each of the 10 classes, raw, and their labels."""
    archive = shared_data / "cifar10_images.tar"
    if not archive.is_file():
        pytest.skip(f"no CIFAR-10 images: {archive.name} is missing from the shared data")
    files: dict[str, list[str]] = {}
    with tarfile.open(archive) as tar:
        for member in tar.getnames():
            parts = Path(member).parts
            if member.endswith(".jpg") and parts[-3] == "test":
                files.setdefault(parts[-2], []).append(member)
        chosen = [
            (name, label)
            for label, folder in enumerate(sorted(files))
            for name in sorted(files[folder])[:30]
        ]
        images = [
            np.asarray(Image.open(io.BytesIO(tar.extractfile(name).read()))) for name, _ in chosen
        ]
    return np.stack(images), np.array([label for _, label in chosen])


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("weights", "least", "most"), [("trained", 0.70, 1), ("initial", 0, 0.2)])
def test_accuracy_on_real_images(cifar10, name, weights, least, most):
    images, labels = cifar10
    assert images.shape == (300, 32, 32, 3)
    logits = zoo.load(name, weights)(zoo.preprocess_input(name)(images))
    assert least <= np.mean(np.argmax(logits, axis=-1) == labels) <= most
