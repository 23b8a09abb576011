"""What a graph computes, weights left out, in a form that can be compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import keras

from keras_erf.graph.calls import Node
from keras_erf.graph.graph import Graph
from keras_erf.types import Operation

__all__ = ["architecture"]


def architecture(graph: Graph) -> list[tuple[Any, ...]]:
    """Class, connections, configuration and plain arguments of each call, in order.

    Names, seeds, initialisers and dtypes are left out: they do not say what is computed.
    """
    return [
        (
            type(node.operation).__name__,
            node.inputs,
            node.outputs,
            repr(_relevant(_config(node.operation))),
            repr(_constants(node)),
        )
        for node in graph.nodes
    ]


def _config(operation: Operation) -> Any:
    if isinstance(operation, keras.Layer):
        # A custom layer need not have a configuration.
        with contextlib.suppress(NotImplementedError):
            return operation.get_config()
    return {}


def _relevant(config: Any) -> Any:
    """A configuration, those of layers inside of it too, without what says nothing."""
    if isinstance(config, Mapping):
        return {
            key: _relevant(value)
            for key, value in config.items()
            if key not in ("name", "seed", "dtype") and not str(key).endswith("_initializer")
        }
    return [_relevant(value) for value in config] if isinstance(config, (list, tuple)) else config


def _constants(node: Node) -> list[Any]:
    """Numbers and words among a call's arguments."""
    args, kwargs = node.filled_arguments()
    return [
        value
        for value in keras.tree.flatten((args, kwargs))
        if isinstance(value, (bool, int, float, str))
    ]
