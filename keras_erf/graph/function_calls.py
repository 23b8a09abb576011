"""A function of one tensor, such as an activation, as the calls it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_erf.graph.calls import Node, Tensor
from keras_erf.graph.running import stateless
from keras_erf.graph.unrolling import Builder

__all__ = ["FunctionCalls", "calls_of_function"]


@dataclass(frozen=True)
class FunctionCalls:
    """The calls that a function makes of its input, which is tensor 0.

    Args:
        nodes: The calls, each after those it depends on.
        tensors: All tensors; a tensor's number is its place here.
        output: Number of the tensor that the function returns.
    """

    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    output: int


def calls_of_function(function: Callable[..., Any], shape: Sequence[int]) -> FunctionCalls | None:
    """The calls that a function makes on a tensor.

    Nothing is left behind in layers that it calls.

    Args:
        function: Takes one tensor and returns one.
        shape: Definite shape of that tensor, the batch not counted.

    Returns:
        The calls; `None` where the function does not run on symbolic tensors, or returns
        something else than a tensor that depends on its input.
    """
    symbol = keras.KerasTensor((None, *shape), dtype="float32", name="input")
    for follow in (_called, _replayed):
        ends: list[Any] = []
        try:
            stateless(lambda: ends.append(follow(function, symbol)))  # noqa: B023
            graph = keras.Function([symbol], ends)
        except Exception:  # The function is the user's, and raises what it likes.
            continue
        return _calls(graph)
    return None


def _called(function: Callable[..., Any], symbol: keras.KerasTensor) -> Any:
    return function(symbol)


def _replayed(function: Callable[..., Any], symbol: keras.KerasTensor) -> Any:
    """The symbolic output of a function that uses TensorFlow."""
    if keras.config.backend() != "tensorflow":
        raise NotImplementedError("TensorFlow is not the backend")
    # Few functions need its table.
    from keras_erf.graph.tensorflow_calls import replayed

    (end,) = replayed(lambda x: [function(x)], [symbol])
    value = np.random.default_rng(4).standard_normal((2, *symbol.shape[1:])).astype("float32")
    own, other = np.asarray(function(value)), np.asarray(keras.Function(symbol, end)(value))
    if own.shape != other.shape or not np.allclose(own, other, atol=1e-4, equal_nan=True):
        raise ValueError("the calls do not return what the function does")
    return end


def _calls(graph: keras.Function) -> FunctionCalls:
    builder = Builder()
    start = builder.add_tensor("input", graph.inputs[0])
    try:
        (output,) = builder.unroll(graph, [start], prefix="")
    finally:
        _forget(graph)
    return FunctionCalls(tuple(builder.nodes), tuple(builder.tensors), output)


def _forget(graph: keras.Function) -> None:
    """Takes the calls of a graph from the records of the layers that were called."""
    for node in [node for nodes in graph._nodes_by_depth.values() for node in nodes]:
        if node in node.operation._inbound_nodes:
            node.operation._inbound_nodes.remove(node)
        for parent in node.parent_nodes:
            if node in parent.operation._outbound_nodes:
                parent.operation._outbound_nodes.remove(node)
