"""Activations of old Keras and its addons that Keras 3 computes differently, or not at all."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["FUNCTIONS", "gelu_by_tanh", "hard_sigmoid_of_keras_2", "hard_tanh", "lisht"]

register = keras.saving.register_keras_serializable("keras_erf")


@register
def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """`0.2 * x + 0.5`, from 0 to 1; that of Keras 3 has a slope of 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@register
def gelu_by_tanh(x: Any) -> Any:
    """The approximation of GELU by a hyperbolic tangent."""
    return ops.gelu(x, approximate=True)


@register
def hard_tanh(x: Any) -> Any:
    """The identity from -1 to 1, and constant outside of it."""
    return ops.clip(x, -1.0, 1.0)


@register
def lisht(x: Any) -> Any:
    """`x * tanh(x)`."""
    return x * ops.tanh(x)


FUNCTIONS = {
    f"keras_erf>{function.__name__}": function
    for function in (hard_sigmoid_of_keras_2, gelu_by_tanh, hard_tanh, lisht)
}
