"""Addresses inside of layers: `encoder/block_3/mlp` where `encoder` is one layer of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, UnknownLayerError
from keras_erf.fields.input_size import Rules, sized
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, Node, layers_inside

__all__ = ["address", "check_inside", "enclosing", "find_inside", "found", "holds", "unfolded"]


def check_inside(inside: Any) -> None:
    """Raises unless the argument is `True` or `False`."""
    if not isinstance(inside, bool):
        raise InvalidInputError(
            argument="inside", expected="must be True or False", received=f"inside={inside!r}"
        )


def found(graph: Graph, layer: Any) -> int | None:
    """Number of the tensor that `layer` stands for; `None` if it may be inside of a layer.

    Raises:
        UnknownLayerError: It is neither; the nearest names are listed.
    """
    try:
        return graph.find(layer)
    except UnknownLayerError:
        if enclosing(graph, layer) is None:
            raise
        return None


def address(
    graph: Graph, layer: Any, *, input: str | None, input_shape: Any, rules: Rules | None
) -> int | str:
    """What stands for a layer in copies of a graph: a tensor's number, or a path inside a layer.

    Raises:
        UnknownLayerError: It is not in the model.
    """
    number = found(graph, layer)
    if number is not None or isinstance(layer, str):
        return layer if number is None else number
    around = enclosing(graph, layer)
    assert around is not None
    place = graph.input_number(input)
    tracing = sized(graph, around.outputs[0], place, input_shape, True, rules)
    inner, number = find_inside(tracing, layer, runnable=True)
    maker = inner.maker(number)
    assert maker is not None
    return maker.name


def enclosing(graph: Graph, layer: Any) -> Node | None:
    """The call of a layer that `layer` is inside of, by its path or as an object."""
    return next((node for node in graph.nodes if holds(layer)(node)), None)


def holds(*layers: Any) -> Callable[[Node], bool]:
    """Whether a call is of a layer that one of some others is inside of."""

    def check(node: Node) -> bool:
        return any(_holds(node, layer) for layer in layers)

    return check


def _holds(node: Node, layer: Any) -> bool:
    operation = node.operation
    if not isinstance(operation, keras.Layer):
        return False
    if isinstance(layer, str):
        return layer.startswith(f"{node.name}/")
    return isinstance(layer, keras.Layer) and any(
        inner is layer for inner in layers_inside(operation)[1:]
    )


def unfolded(tracing: Tracing, *layers: Any, runnable: bool = False) -> Tracing:
    """The tracing with all layers unfolded that some others are inside of."""
    return tracing.unfolded(holds(*layers), runnable=runnable)


def find_inside(tracing: Tracing, layer: Any, *, runnable: bool = False) -> tuple[Tracing, int]:
    """Unfolds what a layer is inside of, and finds it there.

    Raises:
        UnknownLayerError: It is not there; the nearest names are listed.
    """
    inner = unfolded(tracing, layer, runnable=runnable)
    try:
        return inner, inner.graph.find(layer)
    except UnknownLayerError as error:
        closed = next(_closed(inner, layer), None)
        if closed is None:
            raise
        raise UnknownLayerError(
            argument="layer",
            expected=f"is inside of {closed!r}, whose calls cannot be followed",
            remedy="Name that layer",
            received=f"layer={getattr(layer, 'name', layer)!r} for model {tracing.graph.name!r}",
        ) from error


def _closed(tracing: Tracing, layer: Any) -> Iterator[str]:
    """Layers around another one that stayed closed."""
    return (node.name for node in tracing.graph.nodes if holds(layer)(node))
