"""Inputs for probing: noise, arrays, `tf.data` and image folders, as batches.

A source hands out batches as a list with one array per model input, always in
the same order for the same seed, whatever the batch size.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError

__all__ = ["DEFAULT_SAMPLES", "ImageFolder", "InputSpec", "Source", "make_source"]

DEFAULT_SAMPLES = 64
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
NOISE: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "zeros": lambda rng, shape: np.zeros(shape),
}

Batches = Iterator[list[np.ndarray]]


@dataclass(frozen=True)
class InputSpec:
    """What a model's input takes: its name, shape without the batch, dtype, channel axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    channel_axis: int


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, read recursively, resized and centre-cropped to the model's input.

    Files come in an order shuffled by the probe's seed, so a part of them is a
    fair draw from all subfolders. Files that cannot be read are left out, and
    named in a warning and in the result's provenance.

    Args:
        path: The folder.
        preprocess: Function of a float32 batch with values 0 to 255, shape
            `(images, rows, columns, channels)`, that gives what the model was
            trained on, e.g. `keras.applications.resnet50.preprocess_input`.
            `None` hands the pixel values over as they are.
    """

    path: str | os.PathLike[str]
    preprocess: Callable[[np.ndarray], Any] | None = None


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Args:
        description: What it is, for the result's provenance.
        count: How many samples it holds; `None` for no end.
        batches: Function from the batch size to an iterator of batches.
        skipped: Names of what could not be read, filled while it is read.
    """

    description: str
    count: int | None
    batches: Callable[[int], Batches]
    skipped: list[str]


def make_source(inputs: Any, specs: Sequence[InputSpec], *, seed: int) -> Source:
    """A source of batches for a model's inputs.

    Args:
        inputs: `"normal"` (standard normal noise), `"uniform"` (in [0, 1)) or
            `"zeros"`; an array `(samples, *input shape)`, or a list or dict of
            them for several inputs; a `tf.data.Dataset` of samples or batches,
            with or without labels; an `ImageFolder`, or the path of one; a dict
            of any of these, one for each input, which is as long as the shortest.
        specs: The model's inputs, in order.
        seed: Seed of noise and of the order of files.

    Returns:
        A `Source`.

    Raises:
        InvalidInputError: `inputs` is none of these, or does not fit `specs`.
    """
    if isinstance(inputs, str) and inputs in NOISE:
        return _noise(inputs, specs, seed)
    if isinstance(inputs, (str, os.PathLike)):
        inputs = ImageFolder(inputs)
    if isinstance(inputs, ImageFolder):
        return _images(inputs, specs, seed)
    if hasattr(inputs, "element_spec") and hasattr(inputs, "rebatch"):
        return _dataset(inputs, specs)
    if isinstance(inputs, Mapping) and any(map(_is_source, inputs.values())):
        return _mixed(inputs, specs, seed)
    return _arrays(inputs, specs)


def _is_source(inputs: Any) -> bool:
    """Whether one input's samples come from something else than an array."""
    return isinstance(inputs, (str, os.PathLike, ImageFolder)) or hasattr(inputs, "element_spec")


def _mixed(inputs: Mapping[str, Any], specs: Sequence[InputSpec], seed: int) -> Source:
    """Samples of each input from a source of its own."""
    _check_names(inputs, specs)
    parts = []
    for number, spec in enumerate(specs):
        one = inputs[spec.name]
        noise = isinstance(one, str) and one in NOISE
        # A stream of its own for each, as `_noise` has; files keep the order they have alone.
        parts.append(
            _noise(one, [spec], (seed, number)) if noise else make_source(one, [spec], seed=seed)
        )
    skipped: list[str] = []

    def batches(size: int) -> Batches:
        # All batches but the last are full.
        for arrays in zip(*(part.batches(size) for part in parts), strict=False):
            count = min(len(array) for (array,) in arrays)
            skipped[:] = [name for part in parts for name in part.skipped]
            yield [array[:count] for (array,) in arrays]
        skipped[:] = [name for part in parts for name in part.skipped]

    counts = [part.count for part in parts if part.count is not None]
    descriptions = (
        f"{spec.name}: {part.description}" for spec, part in zip(specs, parts, strict=True)
    )
    return Source("; ".join(descriptions), min(counts, default=None), batches, skipped)


def _noise(kind: str, specs: Sequence[InputSpec], seed: int | tuple[int, int]) -> Source:
    def batches(size: int) -> Batches:
        # A stream for each input, so that the batch size does not change the draws.
        children = np.random.SeedSequence(seed).spawn(len(specs))
        streams = [np.random.default_rng(child) for child in children]
        while True:
            yield [
                NOISE[kind](rng, (size, *spec.shape)).astype(spec.dtype)
                for rng, spec in zip(streams, specs, strict=True)
            ]

    return Source(f"{kind} noise", None, batches, [])


def _check_names(inputs: Mapping[str, Any], specs: Sequence[InputSpec]) -> None:
    names = [spec.name for spec in specs]
    if not set(names) <= set(inputs):
        raise InvalidInputError(
            f"`inputs` must have an array for each input of the model: {', '.join(names)}. "
            f"Received: keys {', '.join(map(str, inputs))}"
        )


def _arrays(inputs: Any, specs: Sequence[InputSpec]) -> Source:
    names = [spec.name for spec in specs]
    if isinstance(inputs, Mapping):
        _check_names(inputs, specs)
        given = [inputs[name] for name in names]
    else:
        given = list(inputs) if len(specs) > 1 and isinstance(inputs, (list, tuple)) else [inputs]
    if len(given) != len(specs):
        raise InvalidInputError(
            f"`inputs` must give {len(specs)} arrays, for {', '.join(names)}. "
            f"Received: {len(given)}"
        )
    arrays = [_checked_array(one, spec) for one, spec in zip(given, specs, strict=True)]
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise InvalidInputError(
            "`inputs` must have as many samples for each input of the model. "
            f"Received: {', '.join(str(len(array)) for array in arrays)}"
        )

    def batches(size: int) -> Batches:
        for start in range(0, len(arrays[0]), size):
            yield [
                array[start : start + size].astype(spec.dtype)
                for array, spec in zip(arrays, specs, strict=True)
            ]

    shapes = ", ".join(str(array.shape) for array in arrays)
    return Source(f"array of shape {shapes}", counts.pop(), batches, [])


def _checked_array(array: Any, spec: InputSpec) -> np.ndarray:
    expected = (
        f"`inputs` for {spec.name!r} must be one of {', '.join(map(repr, NOISE))}, an array of "
        f"shape (samples, {', '.join(map(str, spec.shape))}), a tf.data.Dataset, or an image folder"
    )
    try:
        values = np.asarray(array)
    except Exception as error:
        raise InvalidInputError(f"{expected}. Received: {type(array).__name__}") from error
    if values.dtype.kind not in "fiub":
        raise InvalidInputError(
            f"{expected}. Received: {type(array).__name__} of dtype {values.dtype}"
        )
    if values.shape[1:] != spec.shape or not len(values):
        raise InvalidInputError(
            f"{expected}; `input_shape` sets another spatial size. "
            f"Received: an array of shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InvalidInputError(f"`inputs` for {spec.name!r} must be finite. Received: NaN or inf")
    return values


def _dataset(dataset: Any, specs: Sequence[InputSpec]) -> Source:
    names = [spec.name for spec in specs]

    def parts(element: Any) -> list[Any]:
        # `(inputs, labels)` and `(inputs, labels, weights)`, as `fit` takes them.
        if isinstance(element, tuple) and not _is_all_inputs(element, len(specs)):
            element = element[0]
        if isinstance(element, Mapping):
            if not set(names) <= set(element):
                raise InvalidInputError(
                    f"`inputs` must be a dataset with the model's inputs: {', '.join(names)}. "
                    f"Received: elements with keys {', '.join(map(str, element))}"
                )
            element = [element[name] for name in names]
        return list(element) if isinstance(element, (list, tuple)) else [element]

    kinds = parts(dataset.element_spec)
    if len(kinds) != len(specs):
        raise InvalidInputError(
            f"`inputs` must be a dataset of {len(specs)} tensors for the model's inputs. "
            f"Received: elements of {dataset.element_spec}"
        )
    batched = kinds[0].shape.rank == len(specs[0].shape) + 1
    if not batched and kinds[0].shape.rank != len(specs[0].shape):
        raise InvalidInputError(
            f"`inputs` must be a dataset of samples of shape {specs[0].shape}, or batches of "
            f"them. Received: elements of shape {kinds[0].shape}"
        )

    def batches(size: int) -> Batches:
        ready = dataset.rebatch(size) if batched else dataset.batch(size)
        for element in ready.prefetch(2):
            arrays = [np.asarray(part) for part in parts(element)]
            yield [
                _checked_array(array, spec).astype(spec.dtype)
                for array, spec in zip(arrays, specs, strict=True)
            ]

    return Source("tf.data dataset", None, batches, [])


def _is_all_inputs(element: tuple[Any, ...], count: int) -> bool:
    """Whether a tuple holds a tensor for each of several inputs, rather than inputs and labels."""
    nested = any(isinstance(part, (Mapping, list, tuple)) for part in element)
    return count > 1 and len(element) == count and not nested


def _images(folder: ImageFolder, specs: Sequence[InputSpec], seed: int) -> Source:
    path = Path(folder.path)
    if not path.is_dir():
        raise InvalidInputError(
            f"`inputs` must be one of {', '.join(map(repr, NOISE))}, or an existing folder of "
            f"images. Received: inputs={str(path)!r}"
        )
    if len(specs) != 1:
        raise InvalidInputError(
            "`inputs` must say for each of several inputs what it takes: give a dict, such as "
            f"{{{specs[0].name!r}: ImageFolder(...), {specs[1].name!r}: 'normal'}}. "
            f"Received: a model with {len(specs)} inputs"
        )
    spec = specs[0]
    channels = spec.shape[spec.channel_axis]
    if len(spec.shape) != 3 or channels not in COLOR_MODES:
        raise InvalidInputError(
            "`inputs` can be an image folder for two-dimensional inputs of 1, 3 or 4 channels "
            f"only. Received: an input of shape {spec.shape}"
        )
    files = sorted(
        one for one in path.rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES and one.is_file()
    )
    if not files:
        raise InvalidInputError(
            f"`inputs` must be a folder that holds images ({', '.join(sorted(IMAGE_SUFFIXES))}), "
            f"at any depth. Received: inputs={str(path)!r}, which has none"
        )
    order = np.random.default_rng(seed).permutation(len(files))
    skipped: list[str] = []

    def read(file: Path) -> np.ndarray | None:
        import keras

        size = tuple(n for axis, n in enumerate(spec.shape) if axis != spec.channel_axis)
        try:
            image = keras.utils.load_img(
                file,
                color_mode=COLOR_MODES[channels],
                target_size=size,
                interpolation="bilinear",
                keep_aspect_ratio=True,
            )
            return np.asarray(image, dtype="float32").reshape((*size, channels))
        except Exception as error:  # A broken file may fail in any way an image reader can.
            skipped.append(file.relative_to(path).as_posix())
            # Pillow names the stream it read from, which is nothing to the user.
            reason = " ".join(re.sub(r"<_io\.[^>]*>", "", str(error)).split())
            warnings.warn(f"Left out {str(file)!r}, which cannot be read: {reason}", stacklevel=2)
            return None

    def batches(size: int) -> Batches:
        skipped.clear()
        waiting: list[np.ndarray] = []
        for number, index in enumerate(order):
            image = read(files[index])
            if image is not None:
                waiting.append(image)
            if waiting and (len(waiting) == size or number == len(order) - 1):
                yield [_prepared(np.stack(waiting), folder, spec)]
                waiting = []
        if len(skipped) == len(files):
            raise InvalidInputError(
                f"`inputs` must hold images that can be read: all {len(files)} files failed, "
                f"{skipped[0]!r} first. Received: inputs={str(path)!r}"
            )

    images = "1 image" if len(files) == 1 else f"{len(files)} images"
    return Source(f"{images} of folder {path.name!r}", len(files), batches, skipped)


def _prepared(batch: np.ndarray, folder: ImageFolder, spec: InputSpec) -> np.ndarray:
    """The batch after preprocessing, in the input's axis order and dtype."""
    ready = np.asarray(folder.preprocess(batch) if folder.preprocess else batch)
    if ready.shape != batch.shape:
        raise InvalidInputError(
            f"`preprocess` must keep the batch's shape {batch.shape}. Received: {ready.shape}"
        )
    if not np.isfinite(ready).all():
        raise InvalidInputError("`preprocess` must give finite values. Received: NaN or inf")
    return np.moveaxis(ready, -1, spec.channel_axis + 1).astype(spec.dtype)
