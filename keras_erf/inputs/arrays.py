"""Samples from arrays and from `tf.data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_erf.analysis._checks import refuse_masked
from keras_erf.errors import InvalidInputError
from keras_erf.inputs.sources import NOISE, Batches, InputSpec, Source

__all__ = ["arrays", "check_names", "dataset"]


def check_names(inputs: Mapping[str, Any], specs: Sequence[InputSpec]) -> None:
    """Refuses a dict that leaves one of the model's inputs out."""
    names = [spec.name for spec in specs]
    if not set(names) <= set(inputs):
        raise InvalidInputError(
            argument="inputs",
            expected=f"must have an array for each input of the model: {', '.join(names)}",
            received=f"keys {', '.join(map(str, inputs))}",
        )


def arrays(inputs: Any, specs: Sequence[InputSpec]) -> Source:
    """A source over an array for each input; only the parts of the samples used are read."""
    names = [spec.name for spec in specs]
    if isinstance(inputs, Mapping):
        check_names(inputs, specs)
        values = [inputs[name] for name in names]
    else:
        values = list(inputs) if len(specs) > 1 and isinstance(inputs, (list, tuple)) else [inputs]
    if len(values) != len(specs):
        raise InvalidInputError(
            argument="inputs",
            expected=f"must give {len(specs)} arrays, for {', '.join(names)}",
            received=f"{len(values)}",
        )
    ready = [_checked(value, spec) for value, spec in zip(values, specs, strict=True)]
    counts = {len(array) for array in ready}
    if len(counts) > 1:
        raise InvalidInputError(
            argument="inputs",
            expected="must have as many samples for each input of the model",
            received=f"{', '.join(str(len(array)) for array in ready)}",
        )

    def batches(size: int) -> Batches:
        for start in range(0, len(ready[0]), size):
            yield [
                _taken(array[start : start + size], spec)
                for array, spec in zip(ready, specs, strict=True)
            ]

    shapes = ", ".join(str(array.shape) for array in ready)
    return Source(f"array of shape {shapes}", counts.pop(), batches, [], entire=True)


def _checked(array: Any, spec: InputSpec) -> np.ndarray:
    """The array as NumPy's, without a copy where it is one already; its values are not read."""
    expected = (
        f"for {spec.name!r} must be one of {', '.join(map(repr, NOISE))}, an array of "
        f"shape (samples, {', '.join(map(str, spec.shape))}), a tf.data.Dataset, or an image folder"
    )
    refuse_masked(array, "inputs")
    try:
        values = np.asarray(array)
    except Exception as error:
        raise InvalidInputError(
            argument="inputs", expected=expected, received=f"{type(array).__name__}"
        ) from error
    if values.dtype.kind not in "fiub":
        raise InvalidInputError(
            argument="inputs",
            expected=expected,
            received=f"{type(array).__name__} of dtype {values.dtype}",
        )
    if values.shape[1:] != spec.shape or not len(values):
        raise InvalidInputError(
            argument="inputs",
            expected=expected,
            remedy="`input_shape` sets another spatial size",
            received=f"an array of shape {values.shape}",
        )
    return values


def _taken(batch: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The part of a batch, copied into the input's dtype."""
    part = batch[spec.cut]
    if not np.isfinite(part).all():
        raise InvalidInputError(
            argument="inputs", expected=f"for {spec.name!r} must be finite", received="NaN or inf"
        )
    return part.astype(spec.dtype)


def dataset(inputs: Any, specs: Sequence[InputSpec]) -> Source:
    """A source over a `tf.data.Dataset` of samples or batches, with or without labels."""
    names = [spec.name for spec in specs]

    def tensors(element: Any) -> list[Any]:
        # `(inputs, labels)` and `(inputs, labels, weights)`, as `fit` takes them.
        if isinstance(element, tuple) and not _is_all_inputs(element, len(specs)):
            element = element[0]
        if isinstance(element, Mapping):
            if not set(names) <= set(element):
                raise InvalidInputError(
                    argument="inputs",
                    expected=f"must be a dataset with the model's inputs: {', '.join(names)}",
                    received=f"elements with keys {', '.join(map(str, element))}",
                )
            element = [element[name] for name in names]
        return list(element) if isinstance(element, (list, tuple)) else [element]

    kinds = tensors(inputs.element_spec)
    if len(kinds) != len(specs):
        raise InvalidInputError(
            argument="inputs",
            expected=f"must be a dataset of {len(specs)} tensors for the model's inputs",
            received=f"elements of {inputs.element_spec}",
        )
    batched = kinds[0].shape.rank == len(specs[0].shape) + 1
    if not batched and kinds[0].shape.rank != len(specs[0].shape):
        raise InvalidInputError(
            argument="inputs",
            expected=f"must be a dataset of samples of shape {specs[0].shape}, or batches of them",
            received=f"elements of shape {kinds[0].shape}",
        )

    alike = all(kind.shape[int(batched) :].is_fully_defined() for kind in kinds)

    def elements(size: int) -> Iterator[list[np.ndarray]]:
        if alike:
            ready = inputs.rebatch(size) if batched else inputs.batch(size)
            for element in ready.prefetch(2):
                yield [np.asarray(tensor) for tensor in tensors(element)]
            return
        # Samples may be of several sizes, which TensorFlow cannot batch.
        sizes_before: list[tuple[int, ...]] = []
        for element in inputs.prefetch(2):
            values = [np.asarray(tensor) for tensor in tensors(element)]
            values = values if batched else [value[None] for value in values]
            for value, spec in zip(values, specs, strict=True):
                _check_size(value, spec, sizes_before)
            yield values

    def batches(size: int) -> Batches:
        parts = elements(size)
        for part in parts if alike else _rebatched(parts, size):
            # All shapes are checked before any value.
            values = [_checked(value, spec) for value, spec in zip(part, specs, strict=True)]
            yield [_taken(batch, spec) for batch, spec in zip(values, specs, strict=True)]

    return Source("tf.data dataset", None, batches, [])


def _check_size(batch: np.ndarray, spec: InputSpec, shapes: list[tuple[int, ...]]) -> None:
    """Refuses samples of another size; `seen` is of those before."""
    shape = batch.shape[1:]
    if shape == spec.shape and batch.dtype != object:
        shapes[:] = [shape]
        return
    ragged = batch.dtype == object
    received = "a ragged batch" if ragged else f"a sample of shape {shape}"
    before = f" after samples of shape {shapes[0]}" if shapes else ""
    raise InvalidInputError(
        argument="inputs",
        expected=f"for {spec.name!r} must be a dataset of samples of one shape, {spec.shape}",
        remedy="resize or crop them in the dataset: `dataset.map` with `tf.image.resize`, before "
        "`batch`",
        received=f"{received}{before}",
    )


def _rebatched(parts: Iterator[list[np.ndarray]], size: int) -> Iterator[list[np.ndarray]]:
    """Combines batches of any lengths into full ones; the last may have fewer samples."""
    waiting: list[list[np.ndarray]] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part[0])
        if count < size:
            continue
        whole = [np.concatenate(several) for several in zip(*waiting, strict=True)]
        full = count - count % size
        for start in range(0, full, size):
            yield [array[start : start + size] for array in whole]
        waiting, count = [[array[full:] for array in whole]], count - full
    if count:
        yield [np.concatenate(several) for several in zip(*waiting, strict=True)]


def _is_all_inputs(element: tuple[Any, ...], count: int) -> bool:
    """Whether a tuple holds a tensor for each of several inputs, rather than inputs and labels."""
    nested = any(isinstance(part, (Mapping, list, tuple)) for part in element)
    return count > 1 and len(element) == count and not nested
