"""Shapes: reshaping, joining, splitting, padding and repeating tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, as_tensor, axes_of, first_tensor
from keras_erf.tensorflow_operations.sizes import Unknown, each, number, sizes, static_shape

__all__ = ["FUNCTIONS"]


def _reshape(tensor: Any, shape: Any) -> Any:
    target = list(sizes(shape))
    known = list(static_shape(tensor))
    batch = [place for place, size in enumerate(each(shape)) if isinstance(size, Unknown)]
    rest = known[1:]
    if target.count(-1) > 1 and batch == [0] and not any(isinstance(s, Unknown) for s in rest):
        free = [place for place, size in enumerate(target) if size == -1 and place]
        if len(free) == 1:
            settled = math.prod(size for size in target[1:] if size >= 0)
            target[free[0]] = math.prod(rest) // settled
    if target.count(-1) > 1:
        raise NotImplementedError("a reshape with two sizes that are not known")
    return ops.reshape(tensor, tuple(target))


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    return ops.transpose(a, None if perm is None else sizes(perm))


def _matrix_transpose(a: Any, conjugate: bool = False) -> Any:
    return ops.swapaxes(a, -1, -2)


def _squeeze(input: Any, axis: Any = None) -> Any:
    if axis is None or axis == []:
        axis = tuple(place for place, size in enumerate(input.shape) if size == 1)
    return ops.squeeze(input, axis=axes_of(axis))


def _concat(values: Any, axis: Any = -1) -> Any:
    # A layer's operand may be a constant.
    first = first_tensor(values)
    return ops.concatenate([as_tensor(value, first) for value in values], axis=number(axis))


def _stack(values: Any, axis: Any = 0) -> Any:
    first = first_tensor(values)
    return ops.stack([as_tensor(value, first) for value in values], axis=number(axis))


def _unstack(value: Any, num: Any = None, axis: Any = 0) -> Any:
    return list(ops.unstack(value, num=None if num is None else number(num), axis=number(axis)))


def _split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None) -> Any:
    axis = number(axis)
    if np.ndim(num_or_size_splits) == 0:
        return list(ops.split(value, number(num_or_size_splits), axis=axis))
    parts = list(sizes(num_or_size_splits))
    if -1 in parts:
        rest = value.shape[axis] - sum(size for size in parts if size >= 0)
        parts[parts.index(-1)] = rest
    return list(ops.split(value, np.cumsum(parts[:-1]).tolist(), axis=axis))


def _tile(input: Any, multiples: Any) -> Any:
    return ops.tile(input, [1 if times == -1 else times for times in sizes(multiples)])


def _repeat(input: Any, repeats: Any, axis: Any = None) -> Any:
    return ops.repeat(input, number(repeats), axis=axes_of(axis))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    widths = tuple(tuple(sizes(pair)) for pair in np.asarray(paddings, dtype=object))
    mode = str(mode).lower()
    if mode == "constant":
        return ops.pad(tensor, widths, mode="constant", constant_values=constant_values or 0)
    return ops.pad(tensor, widths, mode=mode)


def _broadcast_to(input: Any, shape: Any) -> Any:
    target = [
        size if wanted == -1 else wanted
        for wanted, size in zip(sizes(shape), input.shape, strict=False)
    ]
    if any(size is None for size in target):
        repeats = [
            1 if old is None or new is None else new // old
            for new, old in zip(target, input.shape, strict=True)
        ]
        return ops.tile(input, repeats)
    return ops.broadcast_to(input, tuple(target))


def _like(function: Function) -> Function:
    def apply(input: Any, dtype: Any = None, optimize: bool = True, layout: Any = None) -> Any:
        return function(input, dtype=dtype)

    return apply


FUNCTIONS: dict[str, Function] = {
    "shape": lambda input, out_type=None, optimize=True: static_shape(input),
    "rank": lambda input: len(static_shape(input)),
    "reshape": _reshape,
    "transpose": _transpose,
    "linalg.matrix_transpose": _matrix_transpose,
    "expand_dims": lambda input, axis=None: ops.expand_dims(input, axes_of(axis)),
    "squeeze": _squeeze,
    "concat": _concat,
    "stack": _stack,
    "unstack": _unstack,
    "split": _split,
    "tile": _tile,
    "repeat": _repeat,
    "pad": _pad,
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=axes_of(axis)),
    "roll": lambda input, shift, axis: ops.roll(input, axes_of(shift), axis=axes_of(axis)),
    "broadcast_to": _broadcast_to,
    "zeros_like": _like(ops.zeros_like),
    "ones_like": _like(ops.ones_like),
}
