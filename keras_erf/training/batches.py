"""Batches that depend only on seed, epoch and number, so that a resumed run gets the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_erf.training.datasets import IGNORED, Examples, Scenes

__all__ = ["ExampleBatches", "SceneBatches"]

Preprocess = Callable[[np.ndarray], Any]
# Maximum shift of images, in pixels, along each axis.
SHIFT = 4


class _Batches(keras.utils.PyDataset):
    """One epoch of batches, in random order."""

    def __init__(self, count: int, size: int, *, seed: int, epoch: int) -> None:
        super().__init__()
        self.size, self.seed, self.epoch = size, seed, epoch
        self.order = np.random.default_rng((seed, epoch)).permutation(count)

    def __len__(self) -> int:
        return max(len(self.order) // self.size, 1)

    def _chosen(self, number: int) -> tuple[np.ndarray, np.random.Generator]:
        """The indices of a batch's examples, and its random generator."""
        start = number * self.size
        return (
            self.order[start : start + self.size],
            np.random.default_rng((self.seed, self.epoch, number)),
        )


class ExampleBatches(_Batches):
    """Images moved by up to 4 pixels and mirrored at random, with their labels.

    Args:
        data: The images.
        size: Images per batch; an incomplete last batch is dropped.
        seed: Seed of order and augmentation.
        epoch: Number of the epoch.
        preprocess: Turns images into the network's input.
    """

    def __init__(
        self, data: Examples, size: int, *, seed: int, epoch: int, preprocess: Preprocess
    ) -> None:
        super().__init__(len(data.images), size, seed=seed, epoch=epoch)
        self.data, self.preprocess = data, preprocess

    def __getitem__(self, number: int) -> tuple[Any, np.ndarray]:
        chosen, random = self._chosen(number)
        images = self.preprocess(self.data.images[chosen])
        around = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
        padded = np.pad(images, around)
        augmented = np.empty_like(images)
        height, width = images.shape[1:3]
        for place, (down, right) in enumerate(random.integers(0, 2 * SHIFT + 1, (len(chosen), 2))):
            augmented[place] = padded[place, down : down + height, right : right + width]
        mirrored = random.random(len(chosen)) < 0.5
        augmented[mirrored] = augmented[mirrored, :, ::-1]
        return augmented, self.data.labels[chosen]


class SceneBatches(_Batches):
    """Random crops of scenes, mirrored at random, with labels and weights for a coarser map.

    Labels are those of the centre pixels of the units of a map with stride `stride`; weights are
    zero where a pixel has no label.

    Args:
        data: The scenes.
        size: Crops per batch.
        seed: Seed of order and augmentation.
        epoch: Number of the epoch.
        preprocess: Turns images into the network's input.
        crop: Height and width of a crop.
        stride: Stride of the map.
        first: Centre pixel of the first unit, along each axis.
    """

    def __init__(
        self,
        data: Scenes,
        size: int,
        *,
        seed: int,
        epoch: int,
        preprocess: Preprocess,
        crop: tuple[int, int],
        stride: int,
        first: int,
    ) -> None:
        super().__init__(len(data.images), size, seed=seed, epoch=epoch)
        self.data, self.preprocess = data, preprocess
        self.crop, self.stride, self.first = crop, stride, first

    def __getitem__(self, number: int) -> tuple[Any, np.ndarray, np.ndarray]:
        chosen, random = self._chosen(number)
        height, width = self.crop
        tall, wide = self.data.images.shape[1:3]
        images = np.empty((len(chosen), height, width, 3), np.uint8)
        labels = np.empty((len(chosen), height, width), np.uint8)
        for place, index in enumerate(chosen):
            down = int(random.integers(0, tall - height + 1))
            right = int(random.integers(0, wide - width + 1))
            part = np.s_[down : down + height, right : right + width]
            step = -1 if random.random() < 0.5 else 1
            images[place] = self.data.images[index][part][:, ::step]
            labels[place] = self.data.labels[index][part][:, ::step]
        seen = labels[:, self.first :: self.stride, self.first :: self.stride]
        weights = (seen != IGNORED).astype(np.float32)
        return self.preprocess(images), np.where(seen == IGNORED, 0, seen).astype(np.int64), weights
