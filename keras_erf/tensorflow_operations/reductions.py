"""Sums, means, extremes, norms and cumulative sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, as_tensor, axes_of
from keras_erf.tensorflow_operations.sizes import number

__all__ = ["FUNCTIONS"]


def _reducer(function: Function) -> Function:
    def apply(input_tensor: Any, axis: Any = None, keepdims: Any = None) -> Any:
        return function(as_tensor(input_tensor), axis=axes_of(axis), keepdims=bool(keepdims))

    return apply


def _length(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))


def _count_nonzero(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.sum(ops.cast(ops.not_equal(x, 0), "int32"), axis=axis, keepdims=keepdims)


def _scan(function: Function, first: float) -> Function:
    """A cumulative function; with `exclusive`, it starts with `first` and leaves out the last."""

    def apply(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
        axis = number(axis)
        x = ops.flip(x, axis) if reverse else x
        result = function(x, axis=axis)
        if exclusive:
            start = ops.full_like(ops.take(x, [0], axis=axis), first)
            rest = ops.take(result, np.arange(x.shape[axis] - 1), axis=axis)
            result = ops.concatenate([start, rest], axis=axis)
        return ops.flip(result, axis) if reverse else result

    return apply


def _argument(function: Function) -> Function:
    def apply(input: Any, axis: Any = None, output_type: Any = None) -> Any:
        return function(input, axis=0 if axis is None else number(axis))

    return apply


def _norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None) -> Any:
    over, keep = axes_of(axis), bool(keepdims)
    if ord in ("euclidean", 2, 2.0):
        return _length(tensor, over, keep)
    if ord in (1, 1.0):
        return ops.sum(ops.abs(tensor), axis=over, keepdims=keep)
    if ord == np.inf:
        return ops.max(ops.abs(tensor), axis=over, keepdims=keep)
    raise NotImplementedError(f"a norm of order {ord!r}")


def _top(input: Any, k: Any = 1, sorted: bool = True) -> Any:
    return list(ops.top_k(input, number(k), sorted=bool(sorted)))


FUNCTIONS: dict[str, Function] = {
    "math.reduce_mean": _reducer(ops.mean), "math.reduce_sum": _reducer(ops.sum),
    "math.reduce_max": _reducer(ops.max), "math.reduce_min": _reducer(ops.min),
    "math.reduce_prod": _reducer(ops.prod), "math.reduce_any": _reducer(ops.any),
    "math.reduce_all": _reducer(ops.all), "math.reduce_std": _reducer(ops.std),
    "math.reduce_variance": _reducer(ops.var), "math.reduce_logsumexp": _reducer(ops.logsumexp),
    "math.reduce_euclidean_norm": _reducer(_length),
    "math.cumsum": _scan(ops.cumsum, 0.0), "math.cumprod": _scan(ops.cumprod, 1.0),
    "math.argmax": _argument(ops.argmax), "math.argmin": _argument(ops.argmin),
    "math.count_nonzero": _reducer(_count_nonzero),
    "math.top_k": _top, "norm": _norm,
}  # fmt: skip
