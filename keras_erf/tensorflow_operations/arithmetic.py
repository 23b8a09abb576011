"""Arithmetic, comparisons and logic, of two tensors or more."""

from __future__ import annotations

from functools import reduce
from typing import Any

from keras import ops

from keras_erf.tensorflow_operations.arguments import (
    Function,
    as_tensor,
    binary,
    keras_data_format,
    unary,
)

__all__ = ["FUNCTIONS"]


def _add_n(inputs: Any) -> Any:
    return reduce(ops.add, inputs)


def _bias_add(value: Any, bias: Any, data_format: Any = None) -> Any:
    bias = as_tensor(bias, value)
    if keras_data_format(data_format) == "channels_first":
        bias = ops.reshape(bias, (1, -1) + (1,) * (len(value.shape) - 2))
    return ops.add(value, bias)


def _squared_difference(x: Any, y: Any) -> Any:
    return ops.square(ops.subtract(x, y))


def _multiply_no_nan(x: Any, y: Any) -> Any:
    """`x * y`, and 0 where `y` is 0, whatever `x` is."""
    zero = ops.equal(y, 0)
    # Infinity times 0 would be the gradient too.
    return ops.where(zero, 0.0, ops.multiply(ops.where(zero, 0.0, x), y))


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    return ops.where(condition, as_tensor(x, y), as_tensor(y, x))


def _xlogy(x: Any, y: Any) -> Any:
    return ops.where(ops.equal(x, 0), 0, ops.multiply(x, ops.log(y)))


def _xdivy(x: Any, y: Any) -> Any:
    return ops.where(ops.equal(x, 0), 0, ops.true_divide(x, y))


FUNCTIONS: dict[str, Function] = {
    "math.add": binary(ops.add),
    "math.subtract": binary(ops.subtract),
    "math.multiply": binary(ops.multiply),
    "math.divide": binary(ops.true_divide),
    "math.divide_no_nan": binary(ops.divide_no_nan),
    "math.multiply_no_nan": binary(_multiply_no_nan),
    "math.floordiv": binary(ops.floor_divide),
    "math.floormod": binary(ops.mod),
    "math.pow": binary(ops.power),
    "math.maximum": binary(ops.maximum),
    "math.minimum": binary(ops.minimum),
    "math.squared_difference": binary(_squared_difference),
    "math.fmod": binary(ops.fmod),
    "math.xlogy": binary(_xlogy),
    "math.xdivy": binary(_xdivy),
    "math.atan2": lambda y, x: binary(ops.arctan2)(y, x),
    "math.add_n": _add_n,
    "math.accumulate_n": lambda inputs, shape=None, tensor_dtype=None: _add_n(inputs),
    "math.scalar_mul": lambda scalar, x: binary(ops.multiply)(scalar, x),
    "nn.bias_add": _bias_add,
    "math.greater": binary(ops.greater),
    "math.greater_equal": binary(ops.greater_equal),
    "math.less": binary(ops.less),
    "math.less_equal": binary(ops.less_equal),
    "math.equal": binary(ops.equal),
    "math.not_equal": binary(ops.not_equal),
    "math.logical_and": binary(ops.logical_and),
    "math.logical_or": binary(ops.logical_or),
    "math.logical_xor": binary(ops.logical_xor),
    "math.logical_not": unary(ops.logical_not),
    "where": _where,
}
