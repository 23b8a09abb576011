"""What the functions for TensorFlow's operations share: how they read arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.sizes import is_static, sizes

__all__ = [
    "Function",
    "as_tensor",
    "axes_of",
    "binary",
    "first_tensor",
    "keras_data_format",
    "unary",
]

# It takes the arguments of TensorFlow's function, by their names there.
Function = Callable[..., Any]


def as_tensor(value: Any, like: Any = None) -> Any:
    """A constant as an array, of the type of a tensor it meets; variables stay what they are."""
    if isinstance(value, keras.KerasTensor | keras.Variable) or ops.is_tensor(value):
        return value
    if isinstance(value, list | tuple) and not is_static(value):
        return ops.stack([as_tensor(item, like) for item in value])
    dtype = getattr(like, "dtype", None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return np.asarray(value, dtype=dtype or _narrow(value))


def _narrow(value: Any) -> Any:
    kind = np.asarray(value).dtype
    return {"f": "float32", "i": "int32", "O": "int32"}.get(kind.kind, kind)


def first_tensor(values: Any) -> Any:
    """The first tensor of the graph among values, whose type constants take; `None` if all are."""
    return next((value for value in values if isinstance(value, keras.KerasTensor)), None)


def axes_of(axis: Any) -> Any:
    """An axis as an integer, or several as a tuple; `None` stays."""
    if axis is None or isinstance(axis, int):
        return axis
    values = sizes(axis)
    return values[0] if np.ndim(axis) == 0 else tuple(values)


def unary(function: Function) -> Function:
    """A function of one tensor."""

    def apply(x: Any) -> Any:
        return function(as_tensor(x))

    return apply


def binary(function: Function) -> Function:
    """A function of two tensors, either of which may be a constant."""

    def apply(x: Any, y: Any = None) -> Any:
        if y is None:
            # tf.keras loses the operand of `==` and `!=` when it saves a model.
            raise ValueError("the file does not hold its second operand")
        return function(as_tensor(x, y), as_tensor(y, x))

    return apply


def keras_data_format(data_format: Any) -> str:
    """TensorFlow's `"NHWC"` or `"NCHW"` as Keras calls it."""
    first = str(data_format or "NHWC").startswith("NC")
    return "channels_first" if first or data_format == "channels_first" else "channels_last"
