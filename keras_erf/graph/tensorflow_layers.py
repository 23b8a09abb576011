"""Layers whose own `call` uses TensorFlow: their calls as `keras.ops`, and whether these agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_erf.graph.calls import Node
from keras_erf.graph.running import followed, layers_inside, stateless
from keras_erf.graph.tensorflow_calls import replayed

__all__ = ["check_replay", "followed_in_tensorflow"]

# Along an axis that is longer, agreement is tried on a shorter input.
LONG, SHORT = 64, 48
# Of the largest number; of half precision what its rounding allows.
TOLERANCE, COARSE = 1e-4, 3e-2


def followed_in_tensorflow(node: Node, specs: Mapping[int, Any]) -> list[Any]:
    """Symbolic outputs of a layer's own `call`, at inference, which uses TensorFlow.

    Raises:
        Exception: It does not run in a graph, or uses what `keras.ops` cannot do.
    """
    if keras.config.backend() != "tensorflow":
        raise NotImplementedError("TensorFlow is not the backend")
    layer = node.operation
    inner = [one for one in layers_inside(layer) if one is not layer]

    def call(*tensors: Any) -> list[Any]:
        return followed(node, dict(zip(specs, tensors, strict=True)))

    return replayed(call, list(specs.values()), inner, layer.variables)


def check_replay(node: Node, function: keras.Function) -> None:
    """Raises if the calls that stand for a layer's own return something else.

    Args:
        node: A call of the layer.
        function: The graph of the calls, as `followed_in_tensorflow` made it.
    """
    symbols = function.inputs
    short = [_shortened(one) for one in symbols]
    if any(one is not symbol for one, symbol in zip(short, symbols, strict=True)):
        specs = dict(zip(node.inputs, short, strict=True))
        try:
            smaller = keras.Function(short, followed_in_tensorflow(node, specs))
        except Exception:  # It runs at its own size alone.
            smaller = None
        if smaller is not None and _kinds(smaller) == _kinds(function):
            function = smaller
    rng = np.random.default_rng(4)
    values = [_drawn(one, rng) for one in function.inputs]
    results: list[list[Any]] = []

    def run() -> None:
        results.append(followed(node, dict(zip(node.inputs, values, strict=True))))
        results.append(keras.tree.flatten(function(values)))

    stateless(run)
    own, other = ([np.asarray(one) for one in result] for result in results)
    if len(own) != len(other) or not all(map(_agree, own, other)):
        raise ValueError("the calls do not return what the layer does")


def _shortened(symbol: Any) -> Any:
    """The symbolic tensor of a smaller input, or itself if it is small."""
    sizes = [SHORT if size is not None and size > LONG else size for size in symbol.shape[1:-1]]
    shape = (symbol.shape[0], *sizes, *symbol.shape[-1:])
    small = shape == tuple(symbol.shape) or len(shape) < 3
    return symbol if small else keras.KerasTensor(shape, dtype=symbol.dtype)


def _kinds(function: keras.Function) -> list[type]:
    return [type(one) for one in function._operations]


def _drawn(symbol: Any, rng: np.random.Generator) -> Any:
    """Random values for an input: numbers, or zeros and ones."""
    shape = [2 if size is None else size for size in symbol.shape]
    smooth = keras.backend.is_float_dtype(symbol.dtype)
    values: np.ndarray = rng.standard_normal(shape) if smooth else rng.integers(0, 2, shape)
    return keras.ops.cast(values, symbol.dtype)


def _agree(own: np.ndarray, other: np.ndarray) -> bool:
    if own.shape != other.shape or own.dtype != other.dtype:
        return False
    tolerance = COARSE if own.dtype.itemsize < 4 else TOLERANCE
    own, other = own.astype(complex), other.astype(complex)
    scale = np.abs(own[np.isfinite(own)]).max(initial=0)
    return np.allclose(own, other, rtol=0, atol=tolerance * scale + 1e-30, equal_nan=True)
