"""Sources of samples: noise, arrays, datasets and image folders."""

from __future__ import annotations

import dataclasses
import itertools
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_erf.errors import InvalidInputError
from keras_erf.inputs.images import ImageFolder
from keras_erf.inputs.sampling import make_source
from keras_erf.inputs.sources import InputSpec

IMAGE = InputSpec("image", (6, 8, 3), "float32", 2)
GREY = InputSpec("grey", (4, 4, 1), "float64", 2)
PAIR = (IMAGE, GREY)

RNG = np.random.default_rng(3)
IMAGES = RNG.normal(size=(5, 6, 8, 3))
GREYS = RNG.normal(size=(5, 4, 4, 1))


# The part of each that the tests of parts ask for.
PARTS = tuple(
    dataclasses.replace(spec, part=part)
    for spec, part in zip(PAIR, [((1, 4), (5, 8), (0, 2)), ((0, 4), (3, 4), (0, 1))], strict=True)
)


def draw(source, size: int = 2, wanted: int = 5) -> list[np.ndarray]:
    """The first `wanted` samples of each input, put together from batches."""
    batches, seen = [], 0
    for batch in source.batches(size):
        assert 0 < len(batch[0]) <= size
        batches.append(batch)
        seen += len(batch[0])
        if seen >= wanted:
            break
    return [np.concatenate(parts)[:wanted] for parts in zip(*batches, strict=True)]


def refused(inputs, specs=(IMAGE,)) -> str:
    """The one line that says why `inputs` are not taken, at once or while they are read."""
    with pytest.raises(InvalidInputError) as caught:
        draw(make_source(inputs, specs, seed=0))
    message = str(caught.value)
    assert message.startswith(("`inputs`", "`preprocess`"))
    assert "Received: " in message
    assert "\n" not in message
    return message


# -- noise --


@pytest.mark.parametrize(
    ("kind", "low", "high", "mean", "variance"),
    [("normal", -np.inf, np.inf, 0, 1), ("uniform", 0, 1, 1 / 2, 1 / 12), ("zeros", 0, 0, 0, 0)],
)
def test_noise_has_its_moments(kind, low, high, mean, variance):
    source = make_source(kind, [IMAGE], seed=1)
    values = draw(source, 50, 200)[0]
    assert values.shape == (200, 6, 8, 3)
    assert values.dtype == np.float32
    assert source.count is None
    assert source.description == f"{kind} noise"
    assert low <= values.min()
    assert values.max() <= high
    # 28800 draws: six standard errors of mean and variance are below 0.05.
    assert values.mean() == pytest.approx(mean, abs=0.04)
    assert values.var() == pytest.approx(variance, abs=0.05)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_is_the_same_whatever_the_batch(kind):
    whole = draw(make_source(kind, PAIR, seed=4), 16, 16)
    for size in (1, 3):
        parts = draw(make_source(kind, PAIR, seed=4), size, 16)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)


def test_noise_differs_by_seed_sample_and_input():
    twins = (IMAGE, InputSpec("twin", IMAGE.shape, "float32", 2))
    draws = [one for seed in (1, 2) for one in draw(make_source("normal", twins, seed=seed))]
    single = [sample for one in draws for sample in one]
    for one, other in itertools.combinations(single, 2):
        # Independent draws: no two maps of 144 values are correlated beyond six sigma.
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5


# -- arrays --


@pytest.mark.parametrize(
    ("inputs", "specs"),
    [
        (IMAGES, (IMAGE,)),
        (IMAGES.astype("float16").astype("float64").tolist(), (IMAGE,)),
        (tf.constant(IMAGES), (IMAGE,)),
        ({"image": IMAGES}, (IMAGE,)),
        ([IMAGES, GREYS], PAIR),
        ((IMAGES, GREYS), PAIR),
        ({"grey": GREYS, "other": None, "image": IMAGES}, PAIR),
    ],
    ids=["array", "nested list", "tensor", "dict of one", "list", "tuple", "dict"],
)
def test_arrays(inputs, specs):
    source = make_source(inputs, specs, seed=0)
    assert source.count == 5
    for found, expected, spec in zip(draw(source), (IMAGES, GREYS), specs, strict=False):
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert found.dtype == spec.dtype
    assert len(list(source.batches(2))) == 3
    assert str((5, 6, 8, 3)) in source.description


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64"])
def test_whole_numbers_are_turned_into_the_models_dtype(dtype):
    values = RNG.integers(0, 2, (3, 6, 8, 3)).astype(dtype)
    (found,) = draw(make_source(values, [IMAGE], seed=0), wanted=3)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == np.float32


HOLED = IMAGES.copy()
HOLED[4, 5, 7, 2] = np.nan
ENDLESS = IMAGES.copy()
ENDLESS[0, 0, 0, 0] = -np.inf


@pytest.mark.parametrize(
    ("inputs", "specs", "says"),
    [
        (IMAGES[0], (IMAGE,), "shape (6, 8, 3)"),
        (IMAGES[:, :5], (IMAGE,), "shape (5, 5, 8, 3)"),
        (IMAGES[..., :1], (IMAGE,), "shape (5, 6, 8, 1)"),
        (IMAGES[:0], (IMAGE,), "shape (0, 6, 8, 3)"),
        (HOLED, (IMAGE,), "NaN or inf"),
        (ENDLESS, (IMAGE,), "NaN or inf"),
        (IMAGES.astype(complex), (IMAGE,), "complex128"),
        (np.full((5, 6, 8, 3), "a"), (IMAGE,), "<U1"),
        ([[1, 2], [3]], (IMAGE,), "list"),
        (None, (IMAGE,), "NoneType"),
        (7, (IMAGE,), "shape ()"),
        ({"picture": IMAGES}, (IMAGE,), "keys picture"),
        ({"image": IMAGES}, PAIR, "keys image"),
        (IMAGES, PAIR, "Received: 1"),
        ([IMAGES], PAIR, "Received: 1"),
        ([IMAGES, GREYS, GREYS], PAIR, "Received: 3"),
        ([GREYS, IMAGES], PAIR, "for 'image'"),
        ([IMAGES, GREYS[:4]], PAIR, "5, 4"),
    ],
)
def test_arrays_that_do_not_fit(inputs, specs, says):
    assert says in refused(inputs, specs)


def test_what_can_be_given_is_listed():
    message = refused(None)
    for word in ("'normal'", "'uniform'", "'zeros'", "(samples, 6, 8, 3)", "tf.data", "folder"):
        assert word in message


@pytest.mark.parametrize("part", [((0, 6), (0, 8)), ((0, 7), (0, 8), (0, 3)), ((3, 2),) * 3])
def test_a_part_lies_within_the_shape(part):
    with pytest.raises(ValueError, match=r"within the shape\. Received: InputSpec\(.*image"):
        dataclasses.replace(IMAGE, part=part)


@pytest.mark.parametrize("given", ["array", "read-only array", "samples", "batches"])
def test_parts_of_arrays_and_datasets(given):
    inputs = [IMAGES, GREYS]
    if given == "read-only array":
        for one in (inputs := [IMAGES.copy(), GREYS.copy()]):
            one.flags.writeable = False
    elif given != "array":
        inputs = SLICES((IMAGES, GREYS))
        inputs = inputs if given == "samples" else inputs.batch(3)
    for size in (2, 5):
        image, grey = draw(make_source(inputs, PARTS, seed=0), size)
        np.testing.assert_array_equal(image, IMAGES[:, 1:4, 5:8, :2].astype("float32"))
        np.testing.assert_array_equal(grey, GREYS[:, :, 3:])
        assert image.dtype == np.float32
        assert grey.dtype == np.float64


@pytest.mark.parametrize("wrap", [lambda array: array, lambda array: SLICES(array)])
def test_only_the_part_need_be_finite(wrap):
    spec = PARTS[0]
    for place, inside in [((0, 1, 5, 0), True), ((4, 3, 7, 1), True), ((0, 4, 5, 0), False)]:
        array = IMAGES.copy()
        array[place] = np.nan
        if inside:
            assert "NaN or inf" in refused(wrap(array), [spec])
        else:
            assert np.isfinite(draw(make_source(wrap(array), [spec], seed=0))[0]).all()


def test_samples_are_checked_when_they_are_read():
    batches = make_source(HOLED, [IMAGE], seed=0).batches(2)
    next(batches), next(batches)
    with pytest.raises(InvalidInputError, match="NaN or inf"):
        next(batches)


def test_arrays_have_the_whole_shape():
    for array in (IMAGES[:, 1:4, 5:8, :2], IMAGES[:, :5]):
        assert "(samples, 6, 8, 3)" in refused(array, [PARTS[0]])


@pytest.mark.parametrize("kind", ["array", "file", "tensor"])
def test_a_small_part_of_large_images_takes_little_memory(tmp_path, kind):
    array = np.zeros((6, 512, 512, 3), "float32")
    array[:, 100:140, 7:47] = RNG.normal(size=(6, 40, 40, 3))
    inputs = array
    if kind == "file":
        np.save(tmp_path / "images.npy", array)
        inputs = np.load(tmp_path / "images.npy", mmap_mode="r")
    elif kind == "tensor":
        inputs = tf.constant(array)
    spec = InputSpec("x", (512, 512, 3), "float64", 2, ((100, 140), (7, 47), (0, 3)))
    tracemalloc.start()
    batches = [batch for (batch,) in make_source(inputs, [spec], seed=0).batches(2)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(np.concatenate(batches), array[:, 100:140, 7:47])
    # The 18 MB are neither copied nor looked through; the three batches are 0.2 MB.
    assert peak < 2 * sum(batch.nbytes for batch in batches)


# -- datasets --

SLICES = tf.data.Dataset.from_tensor_slices
LABELS = np.arange(5)


@pytest.mark.parametrize(
    ("dataset", "specs"),
    [
        (SLICES(IMAGES), (IMAGE,)),
        (SLICES(IMAGES).batch(3), (IMAGE,)),
        (SLICES(IMAGES).batch(1), (IMAGE,)),
        (SLICES(IMAGES).repeat(), (IMAGE,)),
        (SLICES(IMAGES).batch(2).repeat(), (IMAGE,)),
        (SLICES((IMAGES, LABELS)), (IMAGE,)),
        (SLICES((IMAGES, LABELS)).batch(4), (IMAGE,)),
        (SLICES((IMAGES, LABELS, LABELS)).batch(4), (IMAGE,)),
        (SLICES({"image": IMAGES}), (IMAGE,)),
        (SLICES(({"image": IMAGES}, LABELS)), (IMAGE,)),
        (SLICES((IMAGES, GREYS)), PAIR),
        (SLICES(((IMAGES, GREYS), LABELS)).batch(2), PAIR),
        (SLICES({"grey": GREYS, "image": IMAGES}), PAIR),
        (SLICES(({"grey": GREYS, "image": IMAGES}, LABELS)), PAIR),
    ],
    ids=[
        "samples", "batches", "batches of one", "endless samples", "endless batches",
        "samples with labels", "batches with labels", "batches with labels and weights", "dict",
        "dict with labels", "pair", "pair with labels", "dict of two", "dict of two with labels",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 5])
def test_datasets(dataset, specs, size):
    found = draw(make_source(dataset, specs, seed=0), size)
    for one, expected, spec in zip(found, (IMAGES, GREYS), specs, strict=False):
        np.testing.assert_array_equal(one, expected.astype(spec.dtype))
        assert one.dtype == spec.dtype


@pytest.mark.parametrize(
    ("dataset", "specs", "says"),
    [
        (SLICES(IMAGES[..., 0]), (IMAGE,), "elements of shape (6, 8)"),
        (SLICES(IMAGES[None]).batch(2), (IMAGE,), "elements of shape (None, 5, 6, 8, 3)"),
        (SLICES(IMAGES[:, :5]), (IMAGE,), "shape (2, 5, 8, 3)"),
        (SLICES(HOLED), (IMAGE,), "NaN or inf"),
        (SLICES({"picture": IMAGES}), (IMAGE,), "keys picture"),
        (SLICES(({"image": IMAGES}, LABELS)), PAIR, "keys image"),
        (SLICES(IMAGES), PAIR, "2 tensors"),
        (SLICES(np.full((5, 6, 8, 3), "a")), (IMAGE,), "ndarray of dtype object"),
    ],
)
def test_datasets_that_do_not_fit(dataset, specs, says):
    assert says in refused(dataset, specs)


def of_sizes(*sizes: tuple[int, int]) -> tf.data.Dataset:
    """Images whose shapes the dataset does not state, as those that are read from files."""
    random = np.random.default_rng(1)
    images = [random.random((*size, 3), "float32") for size in sizes]
    spec = tf.TensorSpec((None, None, 3), tf.float32)
    return tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)


@pytest.mark.parametrize("batch", [None, 1, 2, 3])
@pytest.mark.parametrize("size", [2, 4])
def test_a_dataset_that_states_no_sizes_gives_samples_of_one(batch, size):
    dataset = of_sizes(*[(6, 8)] * 5)
    expected = np.stack(list(dataset.as_numpy_iterator()))
    given = dataset if batch is None else dataset.batch(batch)
    parts = [part[0] for part in make_source(given, (IMAGE,), seed=0).batches(size)]
    assert [len(part) for part in parts] == [2, 2, 1] if size == 2 else [4, 1]
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize(
    ("sizes", "batch", "received"),
    [
        ([(6, 8), (6, 8), (7, 8)], None, "shape (7, 8, 3) after samples of shape (6, 8, 3)"),
        ([(6, 8), (6, 8), (6, 9)], 2, "shape (6, 9, 3) after samples of shape (6, 8, 3)"),
        ([(9, 9), (6, 8)], None, "a sample of shape (9, 9, 3)"),
    ],
)
def test_a_dataset_of_several_sizes_is_refused_with_the_sizes(sizes, batch, received):
    dataset = of_sizes(*sizes)
    said = refused(dataset if batch is None else dataset.batch(batch), (IMAGE,))
    assert said.startswith("`inputs` for 'image' must be a dataset of samples of one shape, (6, 8")
    assert "tf.image.resize" in said
    assert said.endswith(f"Received: {received}" if "after" not in received else received)
    assert "\n" not in said
    # The remedy.
    resized = dataset.map(lambda image: tf.image.resize(image, (6, 8)))
    assert len(draw(make_source(resized, (IMAGE,), seed=0), 2)[0]) == len(sizes)


def test_ragged_batches_are_refused():
    said = refused(of_sizes((6, 8), (5, 8)).ragged_batch(2), (IMAGE,))
    assert said.endswith("Received: a ragged batch")


# -- image folders --


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)
    return path


def colour(*rgb: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, dtype=np.uint8), (*size, 3))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six files in nested folders, each with a red of its own, between files of other kinds."""
    root = tmp_path / "photos"
    names = ["a.png", "deep/er/b.png", "deep/c.JPG", "d.bmp", "deep/E.PNG", "f.gif"]
    for number, name in enumerate(names):
        save(root / name, colour(40 * number, 0, 0))
    (root / "notes.txt").write_text("no image")
    (root / "archive.png").mkdir()
    return root


def reds(source, size: int = 2) -> list[int]:
    """Which of the folder's six images come, in order."""
    return [round(float(image[0, 0, 0]) / 40) for image in draw(source, size, 6)[0]]


@pytest.mark.parametrize("wrap", [str, Path, ImageFolder], ids=["str", "Path", "ImageFolder"])
def test_a_folder_gives_every_image_once(folder, wrap):
    source = make_source(wrap(folder), [IMAGE], seed=0)
    assert source.count == 6
    assert source.description == "6 images of folder 'photos'"
    for size in (1, 4, 6, 9):
        assert sorted(reds(source, size)) == [0, 1, 2, 3, 4, 5]
    assert source.skipped == []


def test_the_order_of_files_is_the_seeds(folder):
    orders = [reds(make_source(str(folder), [IMAGE], seed=seed)) for seed in range(6)]
    assert reds(make_source(str(folder), [IMAGE], seed=3), 5) == orders[3]
    assert len({tuple(order) for order in orders}) > 3
    assert any(order != sorted(order) for order in orders)


QUARTERS = np.array([[(0, 100, 0), (0, 200, 0)], [(0, 0, 100), (0, 0, 200)]], dtype=np.uint8)


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "high"])
def test_images_are_cropped_in_the_middle_and_resized(tmp_path, wide):
    # Quarters of 6 x 8 pixels, to be halved, between red margins, to be cut off.
    image = np.repeat(np.repeat(QUARTERS, 6, axis=0), 8, axis=1)
    margins = ((0, 0), (8, 8), (0, 0)) if wide else ((10, 10), (0, 0), (0, 0))
    image = np.pad(image, margins)
    image[..., 0] = np.where(image.any(axis=-1), 0, 255)
    save(tmp_path / "image.png", image)
    (found,) = draw(make_source(str(tmp_path), [IMAGE], seed=0), 1, 1)
    # Away from seams and from the cut, over which the filter reaches.
    np.testing.assert_array_equal(found[0, 1::3, 2::3], QUARTERS)


def test_fine_patterns_are_averaged_when_images_shrink(tmp_path):
    # Every second pixel is white: taking single pixels would give all white or all black.
    image = np.zeros((24, 32, 3), dtype=np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    save(tmp_path / "image.png", image)
    (found,) = draw(make_source(str(tmp_path), [IMAGE], seed=0), 1, 1)
    np.testing.assert_allclose(found, 127.5, atol=15)


@pytest.mark.parametrize(
    ("mode", "channels", "pixel"),
    [
        # Luma of ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
        ("RGB", 1, [round(0.299 * 10 + 0.587 * 200 + 0.114 * 90)]),
        ("RGB", 3, [10, 200, 90]),
        ("RGB", 4, [10, 200, 90, 255]),
        ("RGBA", 3, [10, 200, 90]),
        ("RGBA", 4, [10, 200, 90, 70]),
        ("L", 1, [33]),
        ("L", 3, [33, 33, 33]),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_colours(tmp_path, mode, channels, pixel, first):
    colours = {"RGB": (10, 200, 90), "RGBA": (10, 200, 90, 70), "L": 33}
    Image.new(mode, (8, 6), colours[mode]).save(tmp_path / "image.png")
    shape = (channels, 6, 8) if first else (6, 8, channels)
    spec = InputSpec("x", shape, "float64", 0 if first else 2)
    (found,) = draw(make_source(str(tmp_path), [spec], seed=0), 1, 1)
    assert found.shape == (1, *shape)
    assert found.dtype == np.float64
    pixels = np.moveaxis(found[0], spec.channel_axis, -1)
    np.testing.assert_array_equal(pixels, np.broadcast_to(pixel, pixels.shape))


@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_preprocess_takes_and_gives_batches(tmp_path, first):
    save(tmp_path / "image.png", colour(10, 20, 30))
    seen = []

    def preprocess(batch):
        seen.append((batch.shape, batch.dtype.name))
        return tf.constant(batch[..., ::-1] / 10)

    spec = InputSpec("x", (3, 6, 8) if first else (6, 8, 3), "float32", 0 if first else 2)
    (found,) = draw(make_source(ImageFolder(tmp_path, preprocess), [spec], seed=0), 4, 1)
    assert seen == [((1, 6, 8, 3), "float32")]
    pixels = np.moveaxis(found[0], spec.channel_axis, -1)
    np.testing.assert_array_equal(pixels, np.broadcast_to([3, 2, 1], (6, 8, 3)))


@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_parts_of_images_are_cut_after_preprocessing(folder, first):
    seen = []

    def preprocess(batch):
        seen.append(batch.shape)
        return batch + np.arange(48).reshape(6, 8, 1) + np.array([0, 100, 200])

    part = ((2, 5), (0, 7), (1, 3))
    shape, box = ((3, 6, 8), (part[2], *part[:2])) if first else ((6, 8, 3), part)
    spec = InputSpec("x", shape, "float32", 0 if first else 2)
    inputs = ImageFolder(folder, preprocess)
    (whole,) = draw(make_source(inputs, [spec], seed=0), 4, 6)
    cut = dataclasses.replace(spec, part=box)
    (found,) = draw(make_source(inputs, [cut], seed=0), 4, 6)
    np.testing.assert_array_equal(found, whole[cut.cut])
    assert found.shape == (6, *(stop - start for start, stop in box))
    assert seen == [(4, 6, 8, 3), (2, 6, 8, 3)] * 2


@pytest.mark.parametrize(
    ("preprocess", "says"),
    [(lambda batch: batch[:, :3], "(1, 3, 8, 3)"), (lambda batch: batch / 0, "NaN or inf")],
)
def test_preprocess_that_spoils_the_batch(tmp_path, preprocess, says):
    save(tmp_path / "image.png", colour(10, 20, 30))
    with np.errstate(all="ignore"):
        message = refused(ImageFolder(tmp_path, preprocess))
    assert message.startswith("`preprocess`")
    assert says in message


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def broken(folder) -> Path:
    """The folder, with two files more that are no images and one that ends half-way."""
    (folder / "empty.png").touch()
    (folder / "deep" / "text.png").write_text("not an image at all")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    truncate(save(folder / "deep" / "er" / "half.jpg", noise))
    return folder


BROKEN = {"empty.png", "deep/text.png", "deep/er/half.jpg"}


@pytest.mark.parametrize("size", [1, 4, 9])
def test_broken_files_are_named_left_out_and_counted(broken, size):
    source = make_source(str(broken), [IMAGE], seed=0)
    assert source.count == 9
    for _ in range(2):
        with pytest.warns(UserWarning, match="cannot be read") as caught:
            images = np.concatenate([batch[0] for batch in source.batches(size)])
        assert sorted(np.rint(images[:, 0, 0, 0] / 40)) == [0, 1, 2, 3, 4, 5]
        assert sorted(source.skipped) == sorted(BROKEN)
        assert len(caught) == 3
        assert not any(re.search(r"<|\n", str(one.message)) for one in caught)
        for name in BROKEN:
            assert any(str(broken / name) in str(one.message) for one in caught)


def test_a_folder_of_nothing_but_broken_files(tmp_path):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_text("not an image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message = refused(str(tmp_path))
    assert "all 2 files failed" in message
    assert re.search(r"'[ab]\.(png|jpg)' first", message)


def test_a_folder_without_images(tmp_path):
    assert "which has none" in refused(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no image")
    assert ".jpeg, .jpg, .png" in refused(ImageFolder(tmp_path))


def test_a_folder_that_is_not_there(tmp_path):
    message = refused(str(tmp_path / "nowhere"))
    assert "'normal', 'uniform', 'zeros'" in message
    assert str(tmp_path / "nowhere") in message
    # A word that is neither noise nor a folder.
    assert "inputs='gaussian'" in refused("gaussian")


@pytest.mark.parametrize(
    ("specs", "says"),
    [
        (PAIR, "2 inputs"),
        ([InputSpec("x", (6, 8, 5), "float32", 2)], "(6, 8, 5)"),
        ([InputSpec("x", (6, 3), "float32", 1)], "(6, 3)"),
        ([InputSpec("x", (6, 6, 6, 3), "float32", 3)], "(6, 6, 6, 3)"),
    ],
)
def test_inputs_that_images_do_not_fit(folder, specs, says):
    assert says in refused(str(folder), specs)


# -- one source for each input --


@pytest.mark.parametrize("size", [1, 4, 9])
@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_inputs_may_each_have_a_source_of_their_own(broken, size):
    specs = [dataclasses.replace(IMAGE, name=name) for name in "abc"]
    source = make_source({"a": ImageFolder(broken), "b": "normal", "c": "normal"}, specs, seed=3)
    assert source.count == 9
    images, b, c = (np.concatenate(one) for one in zip(*source.batches(size), strict=True))
    assert images.shape == b.shape == c.shape == (6, *IMAGE.shape)
    assert sorted(source.skipped) == sorted(BROKEN)
    # In the order they have alone.
    alone = [batch for (batch,) in make_source(str(broken), [IMAGE], seed=3).batches(9)]
    np.testing.assert_array_equal(images, np.concatenate(alone))
    # Noise is each input's own, and does not depend on the batch size.
    assert abs(np.corrcoef(b.ravel(), c.ravel())[0, 1]) < 0.1
    endless = make_source({"a": "zeros", "b": "normal", "c": "normal"}, specs, seed=3)
    assert endless.count is None
    zeros, again, _ = next(endless.batches(6))
    assert not zeros.any()
    np.testing.assert_array_equal(b, again)


@pytest.mark.parametrize(("first", "second"), ["ab", ("array_in", "b")])
def test_arrays_are_taken_whole_whatever_inputs_are_called(first, second):
    specs = [dataclasses.replace(IMAGE, name=name) for name in (first, second)]
    many = np.zeros((100, *IMAGE.shape), "float32")
    assert make_source(many, [IMAGE], seed=0).samples == 100
    assert make_source({first: many, second: "normal"}, specs, seed=0).samples == 100
    assert make_source({first: "normal", second: "zeros"}, specs, seed=0).samples == 64


def test_filters_of_warnings_are_left_to_other_threads(folder, monkeypatch):
    """Reading enters no `catch_warnings`, whose end would undo what other threads have set."""

    entered = []

    class Watched(warnings.catch_warnings):
        def __enter__(self):
            entered.append(self)
            return super().__enter__()

    with monkeypatch.context() as patched:
        patched.setattr(warnings, "catch_warnings", Watched)
        (images,) = draw(make_source(str(folder), [IMAGE], seed=0))
    assert len(images)
    assert not entered


@pytest.mark.parametrize("specs", [PAIR, PARTS], ids=["whole", "parts"])
def test_noise_of_an_input_is_that_of_its_number(specs):
    both = draw(make_source("normal", specs, seed=3))
    image, grey = draw(make_source({"image": IMAGES, "grey": "normal"}, specs, seed=3))
    np.testing.assert_array_equal(grey, both[1])
    np.testing.assert_array_equal(image, IMAGES[specs[0].cut].astype("float32"))
    noisy, _ = draw(make_source({"image": "normal", "grey": SLICES(GREYS)}, specs, seed=3))
    np.testing.assert_array_equal(noisy, both[0])


def test_a_source_for_some_inputs_only_is_refused():
    specs = [dataclasses.replace(IMAGE, name=name) for name in "ab"]
    with pytest.raises(InvalidInputError, match="for each input of the model: a, b"):
        make_source({"b": "normal"}, specs, seed=0)
