"""Operations on shapes and other constants, computed in NumPy while the model is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from keras_erf.tensorflow_operations.arguments import Function
from keras_erf.tensorflow_operations.sizes import Unknown, number, sizes
from keras_erf.tensorflow_operations.slices import as_slice

__all__ = ["FUNCTIONS"]


def _stack(values: Any, axis: Any = 0) -> Any:
    return np.stack([np.asarray(value, dtype=object) for value in values], axis=number(axis))


def _concat(values: Any, axis: Any = 0) -> Any:
    parts = [np.atleast_1d(np.asarray(value, dtype=object)) for value in values]
    return np.concatenate(parts, axis=number(axis))


def _getitem(tensor: Any, slice_spec: Any = None, var: Any = None) -> Any:
    array = np.asarray(tensor, dtype=object)
    spec = slice_spec if isinstance(slice_spec, list | tuple) else [slice_spec]
    return array[tuple(map(as_slice, spec))]


def _binary(function: Function) -> Function:
    def apply(x: Any, y: Any) -> Any:
        return function(_array(x), _array(y))

    return apply


def _array(value: Any) -> Any:
    """A constant for arithmetic: a number, or an array of objects if a batch may be in it."""
    return np.asarray(value, dtype=object) if isinstance(value, list | tuple) else value


def _reduce(function: Callable[[Any, Any], Any]) -> Function:
    def apply(input_tensor: Any, axis: Any = None, keepdims: Any = None) -> Any:
        array = np.asarray(input_tensor, dtype=object)
        if array.ndim > 1:
            raise NotImplementedError("a reduction of a table of sizes")
        result = reduce(function, list(np.ravel(array)))
        return np.asarray([result], dtype=object) if keepdims else result

    return apply


def _gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: Any = 0, batch_dims: int = 0
) -> Any:
    array = np.asarray(params, dtype=object)
    return np.take(array, np.asarray(indices, dtype=int), axis=number(axis or 0))


def _split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None) -> Any:
    parts = number(num_or_size_splits) if np.ndim(num_or_size_splits) == 0 else None
    places = parts or np.cumsum(sizes(num_or_size_splits))[:-1].tolist()
    return np.split(np.asarray(value, dtype=object), places, axis=number(axis))


def _unchanged(value: Any, dtype: Any = None, dtype_hint: Any = None) -> Any:
    return value


def _cast(x: Any, dtype: Any = None) -> Any:
    if isinstance(x, Unknown):
        return x
    array = np.asarray(x)
    if array.dtype == object:
        return x
    return array.astype("int32" if "int" in str(dtype) else "float32") if array.ndim else x


def _range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Any:
    first, last = (0, start) if limit is None else (start, limit)
    return np.arange(number(first), number(last), number(delta))


def _fill(dims: Any, value: Any = 0) -> Any:
    if -1 in sizes(dims):
        raise NotImplementedError("a tensor that is as long as the batch and holds constants")
    return np.full(sizes(dims), value, dtype="float32")


FUNCTIONS: dict[str, Function] = {
    "math.add": _binary(lambda x, y: x + y),
    "math.subtract": _binary(lambda x, y: x - y),
    "math.multiply": _binary(lambda x, y: x * y),
    "math.floordiv": _binary(lambda x, y: x // y),
    "math.divide": _binary(lambda x, y: x / y),
    "math.floormod": _binary(lambda x, y: x % y),
    "math.maximum": _binary(max),
    "math.minimum": _binary(min),
    "cast": _cast,
    "identity": _unchanged,
    "stack": _stack,
    "concat": _concat,
    "__operators__.getitem": _getitem,
    "math.reduce_prod": _reduce(lambda x, y: x * y),
    "math.reduce_sum": _reduce(lambda x, y: x + y),
    "squeeze": lambda input, axis=None: np.squeeze(np.asarray(input, dtype=object)),
    "expand_dims": lambda input, axis=0: np.expand_dims(
        np.asarray(input, dtype=object), number(axis)
    ),
    "reshape": lambda tensor, shape: np.reshape(np.asarray(tensor, dtype=object), sizes(shape)),
    "gather": _gather,
    "unstack": lambda value, num=None, axis=0: list(np.asarray(value, dtype=object)),
    "split": _split,
    "range": _range,
    "zeros": lambda shape, dtype=None: _fill(shape, 0),
    "ones": lambda shape, dtype=None: _fill(shape, 1),
    "fill": _fill,
    "constant": lambda value, dtype=None, shape=None: np.asarray(value),
    "convert_to_tensor": _unchanged,
}
