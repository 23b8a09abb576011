"""What is known of a value beforehand: zeros, and numbers so low that a softmax gives zero.

A kernel times a mask is zero where the mask is, whatever the weights are. So
calls whose operands a layer computes from its weights are compared by value:
constants as they are, random numbers in place of the weights. Zeros among the
weights themselves were put there, and count; a weight that is zero throughout
was not yet trained, and may become anything.

A known value is a float array, NaN where nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.graph.calls import Argument, Node
from keras_erf.types import Array

__all__ = ["LOW", "agreed", "has_zeros", "is_operand", "operands", "random_weights", "settled"]

# A score as low as this has no weight in a softmax: exp(-745) is zero in double precision.
LOW = -5e3
# How names of dtypes of real numbers begin.
NUMBERS = ("bool", "int", "uint", "float", "bfloat")


def settled(value: Array, *, assigned: bool = True) -> np.ndarray | None:
    """What is known of a constant or a weight.

    Args:
        value: An array, a tensor or a variable.
        assigned: Whether zeros among weights that training changes count.

    Returns:
        An array of its shape; `None` where nothing is known.
    """
    weight = isinstance(value, keras.Variable)
    if weight and value.trainable and not assigned:
        return None
    array = np.asarray(value)
    if weight and array.dtype.kind == "i":
        # Of a quantised weight zeros are rounded numbers.
        return None
    if array.dtype.kind not in "bif" and not keras.backend.is_float_dtype(str(array.dtype)):
        return None
    if not weight or array.dtype.kind in "bi":
        return np.asarray(array, dtype=float)
    if array.all() and not (array <= LOW).any():
        return None
    if not array.any():
        return None
    return np.where((array == 0) | (array <= LOW), array, math.nan).astype(float)


def has_zeros(value: np.ndarray | None) -> bool:
    """Whether some elements are known to be zero or too low, but not all of them zero."""
    return value is not None and bool(value.any()) and bool(((value == 0) | (value <= LOW)).any())


def agreed(draws: Sequence[Any]) -> np.ndarray:
    """What several draws of a value agree on: what never changes, and what is always too low."""
    stacked = np.stack([np.asarray(values, dtype=float) for values in draws])
    same = (stacked == stacked[0]).all(axis=0)
    low = (stacked <= LOW).all(axis=0)
    return np.where(same | low, stacked.max(axis=0), math.nan)


def operands(node: Node) -> list[Any]:
    """Constants among a call's arguments that have axes, weights included, in order."""
    return [
        argument for argument in keras.tree.flatten(node.filled_arguments()) if is_operand(argument)
    ]


def is_operand(argument: Any) -> bool:
    """Whether an argument is an array, a tensor or a variable of real numbers, with axes."""
    if isinstance(argument, (Argument, str)) or not len(getattr(argument, "shape", ())):
        return False
    dtype = argument.dtype
    return str(getattr(dtype, "name", dtype)).startswith(NUMBERS)


def random_weights(
    weights: Sequence[Any], rng: np.random.Generator, *, assigned: bool = True
) -> list[tuple[Any, Any]]:
    """Random values to stand in for weights; zeros that were put there stay zero.

    Args:
        weights: The variables.
        rng: Draws them.
        assigned: Whether zeros stay; those of a weight that is zero throughout never do.
    """
    state = []
    for weight in weights:
        shape = tuple(weight.shape)
        if len(shape) < 2:
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.standard_normal(shape) / math.sqrt(math.prod(shape[:-1]))
        if assigned and shape:
            known = np.asarray(weight)
            if known.any() and not known.all():
                value = np.where(known == 0, 0, value)
        state.append((weight, keras.ops.cast(value, weight.dtype)))
    return state
