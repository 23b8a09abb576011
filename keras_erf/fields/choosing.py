"""Layers by their place in the table, by a pattern of their names, or by their kind."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_erf.errors import UnknownLayerError
from keras_erf.fields.input_size import maps
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph

__all__ = ["by_place", "is_place", "matching", "only_one"]

MOST_NAMED = 6
CONVOLUTIONS = "all convolutions"
# What a pattern has that a name need not have.
WILD = re.compile(r"[*?\[]")
CONVOLUTION = re.compile(r"(Depthwise|Separable)?Conv[123]D(Transpose)?$")


def is_place(layer: Any) -> bool:
    """Whether a layer is given by its place in the table of layers: -1 is the last."""
    return isinstance(layer, int) and not isinstance(layer, bool)


def by_place(place: int, trace: Callable[[], Tracing]) -> int:
    """Number of the tensor at a place in the table of layers with more than one position.

    Raises:
        UnknownLayerError: There are not as many.
    """
    tensors, _ = maps(trace())
    if not -len(tensors) <= place < len(tensors):
        raise UnknownLayerError(
            argument="layer",
            expected=f"must be a place among the {len(tensors)} layers with more than one position",
            received=f"layer={place}",
        )
    return tensors[place]


def only_one(graph: Graph, layer: Any) -> Any:
    """What a layer stands for that may be a pattern of one name.

    Raises:
        UnknownLayerError: The pattern fits no name, or several.
    """
    found = matching(graph, [layer])
    if len(found) == 1:
        return found[0]
    more = ", ..." if len(found) > MOST_NAMED else ""
    raise UnknownLayerError(
        argument="layer",
        expected=f"fits {len(found)} layers: name one of {', '.join(found[:MOST_NAMED])}{more}",
        received=f"layer={layer!r}",
    )


def matching(graph: Graph, layers: Sequence[Any]) -> list[Any]:
    """Layers, with the names that a pattern such as `"s*_out"` stands for in its place.

    Raises:
        UnknownLayerError: A pattern fits no name.
    """
    found: list[Any] = []
    for layer in layers:
        if not isinstance(layer, str) or layer in graph.layers:
            found.append(layer)
        elif re.fullmatch(r"-?\d+", layer):
            found.append(int(layer))
        elif layer == CONVOLUTIONS:
            found += _checked([node.name for node in graph.nodes if _is_convolution(node)], layer)
        elif WILD.search(layer):
            names = [graph.tensors[n].name for node in graph.nodes for n in node.outputs]
            found += _checked([one for one in names if fnmatch.fnmatchcase(one, layer)], layer)
        else:
            found.append(layer)
    return found


def _is_convolution(node: Any) -> bool:
    layer = isinstance(node.operation, keras.Layer)
    return layer and CONVOLUTION.match(type(node.operation).__name__) is not None


def _checked(names: list[str], layer: str) -> list[str]:
    if not names:
        raise UnknownLayerError(
            argument="layer",
            expected="must fit the name of a layer",
            remedy="`*` stands for any letters, `?` for one",
            received=f"layer={layer!r}",
        )
    return list(dict.fromkeys(names))
