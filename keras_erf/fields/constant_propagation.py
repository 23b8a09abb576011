"""What is known of a call's outputs beforehand, given what is known of its inputs.

Scores with -1e9 added to them, products with a mask of zeros, and the zeros that a softmax makes
of such scores: a few operations preserve what is known. They run on random numbers, with the known
ones in their places.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from keras_erf.dependence.call import Call
from keras_erf.graph import LOW, Argument, has_zeros, is_operand
from keras_erf.layers.softmax import silent, softmax_axes
from keras_erf.layers.table import TABLE

__all__ = ["known_after"]

# Draws of what is not known.
DRAWS = 3
# Their outputs see only the shape of their input.
SHAPED = ("ops.FullLike", "ops.OnesLike", "ops.ZerosLike")


def known_after(call: Call, kind: type | str) -> tuple[np.ndarray | None, ...]:
    """What is known of each output: numbers, NaN elsewhere; `None` if nothing is.

    Args:
        call: The call.
        kind: The layer's class, or `"ops.Name"`.
    """
    nothing = (None,) * len(call.outputs)
    if not call.by_value:
        return nothing
    axes = softmax_axes(call)
    if axes is not None:
        present = silent(call, axes)
        return nothing if present is None else (np.where(present, math.nan, 0.0),)
    settled = bool(call.known) and all(
        values is not None and not np.isnan(values).any() for values in call.known
    )
    whole = kind in SHAPED or (settled and isinstance(kind, str))
    entry = TABLE.get(kind)
    keeps = entry is not None and entry.keeps_known
    if not whole and not (keeps and _is_of_use(call, kind)):
        return nothing
    rng = np.random.default_rng(4)
    draws = [outputs for outputs in (_run(call, rng) for _ in range(DRAWS)) if outputs is not None]
    if len(draws) < DRAWS:
        return nothing
    return tuple(map(_common, zip(*draws, strict=True)))


def _is_of_use(call: Call, kind: type | str) -> bool:
    """Whether anything is known of an operand that the output may have from it."""
    operands = [value for value in tree.flatten(call.arguments) if is_operand(value)]
    pairs = zip(call.dtypes, call.known, strict=False)
    if any(
        dtype == "bool" and (values is None or np.isnan(values).any()) for dtype, values in pairs
    ):
        # Two values agree too easily.
        return False
    known = [call.fixed(operand) for operand in operands]
    own = kind in ("ops.Tril", "ops.Triu")
    return own or any(values is not None for values in call.known) or any(map(_holds, known))


def _holds(value: np.ndarray | None) -> bool:
    return has_zeros(value) or (value is not None and not value.any())


def _run(call: Call, rng: np.random.Generator) -> list[np.ndarray] | None:
    """One run on random samples, with what is known in its place; `None` if that fails."""
    batch = call.batch or 2

    def drawn(shape: tuple[int, ...], known: np.ndarray | None, dtype: Any) -> Any:
        values: Any = rng.normal(size=shape)
        if "int" in str(dtype):
            values = rng.integers(1000, size=shape)
        elif str(dtype) == "bool":
            values = rng.random(shape) < 0.5
        if known is not None:
            values = np.where(np.isnan(known), values, known)
        return keras.ops.cast(values, dtype)

    def fill(argument: Any) -> Any:
        if isinstance(argument, Argument):
            place = argument.place
            shape, known = (batch, *call.inputs[place]), call.fixed(argument)
            return drawn(shape, known, call.dtypes[place])
        if isinstance(argument, keras.Variable) or id(argument) in call.drawn:
            return drawn(tuple(argument.shape), call.fixed(argument), argument.dtype)
        return argument

    try:
        args, kwargs = tree.map_structure(fill, call.arguments)
        if isinstance(call.layer, layers.Layer):
            values = [fill(Argument(place)) for place in range(len(call.inputs))]
            outputs = call.run(values)
        else:
            outputs = tree.flatten(call.layer.call(*args, **kwargs))
        arrays = [np.asarray(output).astype(float) for output in outputs]
    except Exception:  # It branches on values, or does not run on random ones.
        return None
    shapes = [(batch, *shape) for shape in call.outputs]
    return arrays if [array.shape for array in arrays] == shapes else None


def _common(draws: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """What all samples of all draws agree on; `None` if that is nothing."""
    values = np.concatenate(draws)
    same, low = (values == values[0]).all(axis=0), (values <= LOW).all(axis=0)
    known = np.where(same | low, values.max(axis=0), math.nan)
    return None if np.isnan(known).all() else known
