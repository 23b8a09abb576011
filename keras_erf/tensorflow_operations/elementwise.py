"""Functions of single elements: roots, logarithms, activations, casts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, unary
from keras_erf.tensorflow_operations.sizes import is_static, number

__all__ = ["FUNCTIONS"]


def _leaky_relu(features: Any, alpha: Any = 0.2) -> Any:
    return ops.leaky_relu(features, negative_slope=float(alpha))


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=bool(approximate))


def _softmax(function: Function) -> Function:
    def apply(logits: Any, axis: Any = None) -> Any:
        return function(logits, axis=-1 if axis is None else number(axis))

    return apply


def _crelu(features: Any, axis: Any = -1) -> Any:
    both = [ops.relu(features), ops.relu(ops.negative(features))]
    return ops.concatenate(both, axis=number(axis))


def _silu(features: Any, beta: Any = 1.0) -> Any:
    if beta == 1.0:
        return ops.silu(features)
    return ops.multiply(features, ops.sigmoid(ops.multiply(features, beta)))


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    low, high = clip_value_min, clip_value_max
    if is_static([low, high]):
        return ops.clip(t, np.asarray(low).item(), np.asarray(high).item())
    return ops.minimum(ops.maximum(t, low), high)


def _cast(x: Any, dtype: Any) -> Any:
    if isinstance(dtype, Mapping):
        dtype = dtype.get("config") or dtype.get("value") or dtype.get("name")
    if is_static(x):
        return x
    return ops.cast(x, str(dtype).removeprefix("<dtype: '").removesuffix("'>"))


def _converted(value: Any, dtype: Any) -> Any:
    return value if dtype is None else _cast(value, dtype)


def _dropout(x: Any, rate: Any = None, noise_shape: Any = None, seed: Any = None) -> Any:
    return x


FUNCTIONS: dict[str, Function] = {
    "math.abs": unary(ops.abs), "math.negative": unary(ops.negative),
    "math.sqrt": unary(ops.sqrt), "math.square": unary(ops.square),
    "math.rsqrt": unary(ops.rsqrt), "math.exp": unary(ops.exp), "math.log": unary(ops.log),
    "math.log1p": unary(ops.log1p), "math.expm1": unary(ops.expm1),
    "math.sin": unary(ops.sin), "math.cos": unary(ops.cos), "math.tan": unary(ops.tan),
    "math.asin": unary(ops.arcsin), "math.acos": unary(ops.arccos),
    "math.atan": unary(ops.arctan), "math.sinh": unary(ops.sinh), "math.cosh": unary(ops.cosh),
    "math.asinh": unary(ops.arcsinh), "math.acosh": unary(ops.arccosh),
    "math.atanh": unary(ops.arctanh), "math.tanh": unary(ops.tanh),
    "math.sigmoid": unary(ops.sigmoid), "math.log_sigmoid": unary(ops.log_sigmoid),
    "math.softplus": unary(ops.softplus), "nn.softsign": unary(ops.softsign),
    "math.erf": unary(ops.erf), "math.erfc": unary(ops.erfc), "math.erfinv": unary(ops.erfinv),
    "math.sign": unary(ops.sign), "math.floor": unary(ops.floor), "math.ceil": unary(ops.ceil),
    "math.round": unary(ops.round), "math.rint": unary(ops.round),
    "math.reciprocal": unary(ops.reciprocal),
    "math.is_nan": unary(ops.isnan), "math.is_finite": unary(ops.isfinite),
    "math.is_inf": unary(ops.isinf),
    "math.real": unary(ops.real), "math.imag": unary(ops.imag),
    "clip_by_value": _clip, "cast": _cast,
    "dtypes.saturate_cast": lambda value, dtype: _cast(value, dtype),
    "identity_n": lambda input: list(input),
    "identity": lambda input: input, "stop_gradient": unary(ops.stop_gradient),
    "grad_pass_through": lambda input: input, "ensure_shape": lambda x, shape: x,
    "debugging.check_numerics": lambda tensor, message=None: tensor,
    "convert_to_tensor": lambda value, dtype=None, dtype_hint=None: _converted(value, dtype),
    "nn.relu": unary(ops.relu), "nn.relu6": unary(ops.relu6), "nn.elu": unary(ops.elu),
    "nn.selu": unary(ops.selu), "nn.crelu": _crelu,
    "nn.leaky_relu": _leaky_relu, "nn.gelu": _gelu, "nn.silu": _silu,
    "nn.softmax": _softmax(ops.softmax), "nn.log_softmax": _softmax(ops.log_softmax),
    # It does nothing outside of training.
    "nn.dropout": _dropout,
}  # fmt: skip
