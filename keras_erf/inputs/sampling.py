"""Inputs for probing: noise, arrays, `tf.data` and image folders, as batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from keras_erf.inputs.arrays import arrays, check_names, dataset
from keras_erf.inputs.images import ImageFolder, images
from keras_erf.inputs.noise import noise
from keras_erf.inputs.sources import NOISE, Batches, InputSpec, Source

__all__ = ["make_source"]


def make_source(inputs: Any, specs: Sequence[InputSpec], *, seed: int) -> Source:
    """A source of batches for a model's inputs.

    Args:
        inputs: `"normal"` (standard normal noise), `"uniform"` (in [0, 1)) or
            `"zeros"`; an array `(samples, *input shape)`, or a list or dict of
            them for several inputs; a `tf.data.Dataset` of samples or batches,
            with or without labels; an `ImageFolder`, or the path of one; a dict
            of any of these, one for each input, which is as long as the shortest.
        specs: The model's inputs, in order, and how much is wanted of each.
        seed: Seed of noise and of the order of files.

    Returns:
        A `Source`.

    Raises:
        InvalidInputError: `inputs` is none of these, or does not fit `specs`.
    """
    if isinstance(inputs, str) and inputs in NOISE:
        return noise(inputs, specs, seed)
    if isinstance(inputs, (str, os.PathLike)):
        inputs = ImageFolder(inputs)
    if isinstance(inputs, ImageFolder):
        return images(inputs, specs, seed)
    if hasattr(inputs, "element_spec") and hasattr(inputs, "rebatch"):
        return dataset(inputs, specs)
    if isinstance(inputs, Mapping) and any(map(_is_source, inputs.values())):
        return _mixed(inputs, specs, seed)
    return arrays(inputs, specs)


def _is_source(inputs: Any) -> bool:
    """Whether one input's samples come from something else than an array."""
    return isinstance(inputs, (str, os.PathLike, ImageFolder)) or hasattr(inputs, "element_spec")


def _mixed(inputs: Mapping[str, Any], specs: Sequence[InputSpec], seed: int) -> Source:
    """Samples of each input from a source of its own."""
    check_names(inputs, specs)
    parts = []
    for number, spec in enumerate(specs):
        value = inputs[spec.name]
        # Noise is that of the input's number; files keep the order they have alone.
        if isinstance(value, str) and value in NOISE:
            parts.append(noise(value, [spec], seed, first=number))
        else:
            parts.append(make_source(value, [spec], seed=seed))
    skipped: list[str] = []

    def batches(size: int) -> Batches:
        # All batches but the last are full.
        for ready in zip(*(part.batches(size) for part in parts), strict=False):
            count = min(len(array) for (array,) in ready)
            skipped[:] = [name for part in parts for name in part.skipped]
            yield [array[:count] for (array,) in ready]
        skipped[:] = [name for part in parts for name in part.skipped]

    counts = [part.count for part in parts if part.count is not None]
    descriptions = (
        f"{spec.name}: {part.description}" for spec, part in zip(specs, parts, strict=True)
    )
    entire = any(part.entire for part in parts)
    return Source("; ".join(descriptions), min(counts, default=None), batches, skipped, entire)
