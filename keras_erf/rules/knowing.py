"""What is known of a call's outputs beforehand, given what is known of its inputs.

Scores with -1e9 added to them, products with a mask of zeros, and the zeros that
a softmax makes of such scores: a few operations hand on what is known. They are
run on random numbers, with the known ones in their places.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from keras_erf.graph import LOW, Argument, has_zeros, is_operand
from keras_erf.rules.call import Call

__all__ = ["known_after", "silent", "softmax_axes"]

# The operation, which Keras does not export.
SOFTMAX = "keras.src.ops.nnSoftmax"
# Draws of what is not known.
DRAWS = 3
# Copies of elements, and operations on single elements that keep zeros or what is low.
OPERATIONS = (
    "Add Append BroadcastTo Cast Concatenate ConvertToTensor Copy Divide Exp ExpandDims Flip "
    "GetItem Minimum Moveaxis Multiply Pad Ravel Repeat Reshape Roll Slice Squeeze Stack "
    "StopGradient Subtract Swapaxes Tile Transpose Tril Triu TrueDivide Where"
)
LAYERS = (
    layers.Add, layers.Concatenate, layers.Dropout, layers.Flatten, layers.Identity,
    layers.Multiply, layers.Permute, layers.Reshape, layers.Subtract,
)  # fmt: skip
PASSING: set[type | str] = {*LAYERS, *(f"ops.{name}" for name in OPERATIONS.split())}
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
        one is not None and not np.isnan(one).any() for one in call.known
    )
    whole = kind in SHAPED or (settled and isinstance(kind, str))
    if not whole and not (kind in PASSING and _is_of_use(call, kind)):
        return nothing
    rng = np.random.default_rng(4)
    draws = [made for made in (_run(call, rng) for _ in range(DRAWS)) if made is not None]
    if len(draws) < DRAWS:
        return nothing
    return tuple(map(_common, zip(*draws, strict=True)))


def softmax_axes(call: Call) -> tuple[int, ...] | None:
    """Axes a softmax sums over, the batch not counted; `None` for other calls."""
    kind = type(call.layer)
    softmax = kind is layers.Softmax or kind.__module__ + kind.__name__ == SOFTMAX
    if kind is layers.Activation:
        softmax = call.layer.activation is keras.activations.softmax
    axis = getattr(call.layer, "axis", -1) if softmax else None
    if axis is None or len(call.inputs) != 1:
        return None
    rank = len(call.output) + 1
    axes = tuple(one % rank - 1 for one in np.atleast_1d(axis).tolist())
    return None if -1 in axes else axes


def silent(call: Call, axes: tuple[int, ...]) -> np.ndarray | None:
    """Which scores a softmax over `axes` sees, where some are too low; `None` if it sees all.

    In a row of nothing else those that are low count, too.
    """
    values = call.fixed(Argument(0))
    low = np.zeros((1,) * len(call.output), bool) if values is None else values <= LOW
    mask = call.arguments[1].get("mask") if call.arguments[1] else None
    args = call.arguments[0]
    mask = args[1] if mask is None and len(args) > 1 else mask
    known = call.fixed(mask) if mask is not None else None
    if known is not None and isinstance(call.layer, layers.Softmax):
        closed = known <= 0.5
        if not isinstance(mask, Argument) and closed.ndim == len(call.output) + 1:
            closed = np.asarray(closed.all(axis=0))
        low = low | closed.reshape((1,) * (len(call.output) - closed.ndim) + closed.shape)
    if not low.any():
        return None
    present = ~np.broadcast_to(low, call.output)
    return np.asarray(present | ~present.any(axis=axes, keepdims=True))


def _is_of_use(call: Call, kind: type | str) -> bool:
    """Whether anything is known of an operand that the output may have from it."""
    given = [one for one in tree.flatten(call.arguments) if is_operand(one)]
    pairs = zip(call.dtypes, call.known, strict=False)
    if any(dtype == "bool" and (one is None or np.isnan(one).any()) for dtype, one in pairs):
        # Two values agree too easily.
        return False
    known = [call.fixed(one) for one in given]
    own = kind in ("ops.Tril", "ops.Triu")
    return own or any(one is not None for one in call.known) or any(map(_holds, known))


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
        made = [np.asarray(one).astype(float) for one in outputs]
    except Exception:  # It branches on values, or does not run on random ones.
        return None
    shapes = [(batch, *shape) for shape in call.outputs]
    return made if [one.shape for one in made] == shapes else None


def _common(draws: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """What all samples of all draws agree on; `None` if that is nothing."""
    values = np.concatenate(draws)
    same, low = (values == values[0]).all(axis=0), (values <= LOW).all(axis=0)
    known = np.where(same | low, values.max(axis=0), math.nan)
    return None if np.isnan(known).all() else known
