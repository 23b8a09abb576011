"""A function of one tensor, such as an activation, as the calls it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

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
    ends: list[Any] = []
    try:
        stateless(lambda: ends.append(function(symbol)))
        graph = keras.Function([symbol], ends)
    except Exception:  # The function is the user's, and raises what it likes.
        return None
    builder = Builder()
    start = builder.add_tensor("input", symbol)
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
