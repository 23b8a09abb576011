"""Slices and gathers: parts of tensors, by place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function
from keras_erf.tensorflow_operations.sizes import Unknown, each, number, sizes

__all__ = ["FUNCTIONS", "as_slice"]


def _getitem(tensor: Any, slice_spec: Any = None, var: Any = None) -> Any:
    spec = slice_spec if isinstance(slice_spec, list | tuple) else [slice_spec]
    return tensor[tuple(map(as_slice, spec))]


def as_slice(spec: Any) -> Any:
    """One entry of an index, as tf.keras stores it: a number, a slice, an ellipsis, a new axis.

    Raises:
        NotImplementedError: Its place is computed of the input.
    """
    if isinstance(spec, Mapping):
        if spec.get("class_name") == "__ellipsis__":
            return Ellipsis
        if spec.get("class_name") == "__slice__":
            spec = spec.get("config", spec)
        ends = [spec.get(key) for key in ("start", "stop", "step")]
        values = [None if end is None or isinstance(end, Unknown) else number(end) for end in ends]
        return slice(*values)
    if spec is None or spec is Ellipsis:
        return spec
    if isinstance(spec, str):
        return Ellipsis
    if isinstance(spec, keras.KerasTensor):
        raise NotImplementedError("a slice whose place is computed of the input")
    return number(spec)


def _slice_from(input_: Any, begin: Any, size: Any) -> Any:
    slices = []
    for start, length in zip(sizes(begin), sizes(size), strict=True):
        slices.append(slice(start, None if length == -1 else start + length))
    return input_[tuple(slices)]


def _strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0,
    ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None,
) -> Any:  # fmt: skip
    starts, ends = sizes(begin), sizes(end)
    steps = (1,) * len(starts) if strides is None else sizes(strides)
    parts: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(starts, ends, steps, strict=True)):
        bit = 1 << place
        if ellipsis_mask & bit:
            parts.append(Ellipsis)
        elif new_axis_mask & bit:
            parts.append(None)
        elif shrink_axis_mask & bit:
            parts.append(start)
        else:
            unknown = isinstance(each(end)[place], Unknown)
            parts.append(
                slice(
                    None if begin_mask & bit else start,
                    None if end_mask & bit or unknown else stop,
                    step,
                )
            )
    if isinstance(input_, np.ndarray):
        picked = input_[tuple(parts)]
        return picked.item() if isinstance(picked, np.ndarray) and not picked.ndim else picked
    return input_[tuple(parts)]


def _gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0
) -> Any:
    if batch_dims:
        raise NotImplementedError("a gather with batch dimensions")
    if not isinstance(indices, keras.KerasTensor):
        indices = np.asarray(indices, dtype="int32")
    return ops.take(params, indices, axis=0 if axis is None else number(axis))


def _one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
) -> Any:
    return ops.one_hot(indices, number(depth), axis=-1 if axis is None else number(axis))


FUNCTIONS: dict[str, Function] = {
    "__operators__.getitem": _getitem,
    "slice": _slice_from,
    "strided_slice": _strided_slice,
    "gather": _gather,
    "one_hot": _one_hot,
}
