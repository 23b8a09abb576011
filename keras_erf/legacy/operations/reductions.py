"""Sums, means, extremes, norms and cumulative sums."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.legacy.operations.arguments import Function, as_tensor, axes_of
from keras_erf.legacy.operations.sizes import number

__all__ = ["FUNCTIONS"]


def _reducer(function: Function) -> Function:
    def apply(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Any:
        over = axis if axis is not None else reduction_indices
        return function(
            as_tensor(input_tensor), axis=axes_of(over), keepdims=bool(keepdims or keep_dims)
        )

    return apply


def _length(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))


def _scan(function: Function) -> Function:
    def apply(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
        axis = number(axis)
        if exclusive:
            raise NotImplementedError("an exclusive cumulative sum")
        result = function(ops.flip(x, axis) if reverse else x, axis=axis)
        return ops.flip(result, axis) if reverse else result

    return apply


def _argument(function: Function) -> Function:
    def apply(input: Any, axis: Any = None, output_type: Any = None, dimension: Any = None) -> Any:
        over = axis if dimension is None else dimension
        return function(input, axis=0 if over is None else number(over))

    return apply


def _count_nonzero(input: Any, axis: Any = None, **_: Any) -> Any:
    return ops.count_nonzero(input, axis=axes_of(axis))


def _norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    keep_dims: Any = None,
) -> Any:
    over, keep = axes_of(axis), bool(keepdims or keep_dims)
    if ord in ("euclidean", 2, 2.0):
        return _length(tensor, over, keep)
    if ord in (1, 1.0):
        return ops.sum(ops.abs(tensor), axis=over, keepdims=keep)
    raise NotImplementedError(f"a norm of order {ord!r}")


FUNCTIONS: dict[str, Function] = {
    "math.reduce_mean": _reducer(ops.mean), "math.reduce_sum": _reducer(ops.sum),
    "math.reduce_max": _reducer(ops.max), "math.reduce_min": _reducer(ops.min),
    "math.reduce_prod": _reducer(ops.prod), "math.reduce_any": _reducer(ops.any),
    "math.reduce_all": _reducer(ops.all), "math.reduce_std": _reducer(ops.std),
    "math.reduce_variance": _reducer(ops.var), "math.reduce_logsumexp": _reducer(ops.logsumexp),
    "math.reduce_euclidean_norm": _reducer(_length),
    "math.cumsum": _scan(ops.cumsum), "math.cumprod": _scan(ops.cumprod),
    "math.argmax": _argument(ops.argmax), "math.argmin": _argument(ops.argmin),
    "math.count_nonzero": _count_nonzero,
    "norm": _norm,
}  # fmt: skip
