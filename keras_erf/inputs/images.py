"""Samples from folders of images."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.analysis._checks import refuse_masked
from keras_erf.errors import InvalidInputError
from keras_erf.inputs.sources import NOISE, Batches, InputSpec, Source

__all__ = ["ImageFolder", "check_pixels", "folder_digest", "image_files", "images"]

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}


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


def image_files(files: Iterable[Path]) -> list[Path]:
    """Those that are images by their names, sorted: systems leave files of their own in folders."""
    return sorted(
        file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    )


def folder_digest(folder: Path) -> str:
    """A digest that identifies a folder of images, wherever it is: of their names and sizes.

    Not their content: a probe reads some of them, and a folder may hold millions.
    """
    about = [
        (file.relative_to(folder).as_posix(), file.stat().st_size)
        for file in image_files(folder.rglob("*"))
    ]
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()


def check_pixels(file: Path) -> None:
    """Raises if an image is too large to be meant, by the number of pixels from which Pillow warns.

    Pillow itself refuses twice as many. Its warning is not made an error: that would change the
    filters of all threads, of which this is one.
    """
    from PIL import Image

    with Image.open(file) as image:
        pixels, most = math.prod(image.size), Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"{pixels} pixels are more than the {most} of Pillow's MAX_IMAGE_PIXELS")


def images(folder: ImageFolder, specs: Sequence[InputSpec], seed: int) -> Source:
    """A source over the images of a folder, whole until they are preprocessed."""
    path = Path(folder.path)
    if not path.is_dir():
        raise InvalidInputError(
            argument="inputs",
            expected=f"must be one of {', '.join(map(repr, NOISE))}, or an existing folder of "
            "images",
            received=f"inputs={str(path)!r}",
        )
    if len(specs) != 1:
        raise InvalidInputError(
            argument="inputs",
            expected="must say for each of several inputs what it takes: give a dict, such as "
            f"{{{specs[0].name!r}: ImageFolder(...), {specs[1].name!r}: 'normal'}}",
            received=f"a model with {len(specs)} inputs",
        )
    spec = specs[0]
    channels = spec.shape[spec.channel_axis]
    if len(spec.shape) != 3 or channels not in COLOR_MODES:
        raise InvalidInputError(
            argument="inputs",
            expected="can be an image folder for two-dimensional inputs of 1, 3 or 4 channels only",
            received=f"an input of shape {spec.shape}",
        )
    files = image_files(path.rglob("*"))
    if not files:
        raise InvalidInputError(
            argument="inputs",
            expected=f"must be a folder that holds images ({', '.join(sorted(IMAGE_SUFFIXES))}), "
            "at any depth",
            received=f"inputs={str(path)!r}, which has none",
        )
    order = np.random.default_rng(seed).permutation(len(files))
    skipped: list[str] = []

    def read(file: Path) -> np.ndarray | None:
        import keras

        size = tuple(n for axis, n in enumerate(spec.shape) if axis != spec.channel_axis)
        try:
            check_pixels(file)
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
            message = " ".join(re.sub(r"<_io\.[^>]*>", "", str(error)).split())
            reason = message or type(error).__name__
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
                argument="inputs",
                expected=f"must hold images that can be read: all {len(files)} files failed, "
                f"{skipped[0]!r} first",
                received=f"inputs={str(path)!r}",
            )

    number = "1 image" if len(files) == 1 else f"{len(files)} images"
    return Source(f"{number} of folder {path.name!r}", len(files), batches, skipped)


def _prepared(batch: np.ndarray, folder: ImageFolder, spec: InputSpec) -> np.ndarray:
    """The part of the batch after preprocessing, in the input's axis order and dtype."""
    values = folder.preprocess(batch) if folder.preprocess else batch
    refuse_masked(values, "preprocess")
    ready = np.asarray(values)
    if ready.shape != batch.shape:
        raise InvalidInputError(
            argument="preprocess",
            expected=f"must keep the batch's shape {batch.shape}",
            received=f"{ready.shape}",
        )
    if not np.isfinite(ready).all():
        raise InvalidInputError(
            argument="preprocess", expected="must give finite values", received="NaN or inf"
        )
    return np.moveaxis(ready, -1, spec.channel_axis + 1)[spec.cut].astype(spec.dtype)
