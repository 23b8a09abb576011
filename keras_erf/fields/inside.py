"""Addresses inside of layers: `encoder/block_3/mlp` where `encoder` is one layer of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, UnknownLayerError
from keras_erf.fields.choosing import by_place, is_place
from keras_erf.fields.input_size import Rules, sized
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import LINEAR, Graph, Node, layers_inside, split_activation
from keras_erf.layers.activation import Activated
from keras_erf.layers.table import find_rule

__all__ = [
    "address",
    "check_inside",
    "enclosing",
    "ends_in_activation",
    "find_inside",
    "found",
    "holds",
    "unfolded",
]


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
    place = graph.input_number(input)
    if is_place(layer):
        return by_place(layer, lambda: sized(graph, None, place, input_shape, True, rules))
    number = found(graph, layer)
    if number is not None or isinstance(layer, str):
        return layer if number is None else number
    around = enclosing(graph, layer)
    assert around is not None
    tracing = sized(graph, around.outputs[0], place, input_shape, True, rules)
    inner, number = find_inside(tracing, layer, runnable=True)
    maker = inner.maker(number)
    assert maker is not None
    return maker.name


def enclosing(graph: Graph, layer: Any) -> Node | None:
    """The call of a layer that `layer` is inside of, by its path or as an object."""
    if isinstance(layer, str) and layer.endswith(LINEAR):
        layer = layer.removesuffix(LINEAR)
        numbers = graph.layers.get(layer, ())
        if len(numbers) == 1:
            return next((node for node in graph.nodes if numbers[0] in node.outputs), None)
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
    wanted = layer.removesuffix(LINEAR) if isinstance(layer, str) else layer
    inner = tracing
    if wanted not in tracing.graph.layers:
        inner = unfolded(tracing, wanted, runnable=runnable)
    try:
        number = inner.graph.find(wanted)
    except UnknownLayerError as error:
        closed = next(_closed(inner, wanted), None)
        if closed is None:
            raise
        raise UnknownLayerError(
            argument="layer",
            expected=f"is inside of {closed!r}, whose calls cannot be followed",
            remedy="Name that layer",
            received=f"layer={getattr(layer, 'name', layer)!r} for model {tracing.graph.name!r}",
        ) from error
    return (inner, number) if wanted is layer or wanted == layer else _linear(inner, number, layer)


def ends_in_activation(node: Node) -> bool:
    """Whether what a call gives is what its layer's activation makes of one tensor."""
    rule = find_rule(node.kind)
    return (
        isinstance(rule, Activated)
        and len(node.outputs) == 1
        and not isinstance(node.operation, keras.layers.Activation)
    )


def _linear(tracing: Tracing, number: int, address: str) -> tuple[Tracing, int]:
    """The value before the activation of a layer."""
    node = tracing.maker(number)
    if node is None or not ends_in_activation(node):
        raise UnknownLayerError(
            argument="layer",
            expected="names the value before an activation, and the layer does not end in one",
            remedy="Name the layer",
            received=f"layer={address!r} for model {tracing.graph.name!r}",
        )
    if node.operation.activation in (None, keras.activations.linear):
        return tracing, number
    between = tracing.between(node, f"{node.name}{LINEAR}")
    nodes = [
        part
        for one in tracing.graph.nodes
        for part in (split_activation(node, between) if one is node else (one,))
    ]
    return tracing.rewritten(nodes, {**tracing.graph.layers, address: (between,)}), between


def _closed(tracing: Tracing, layer: Any) -> Iterator[str]:
    """Layers around another one that stayed closed."""
    return (node.name for node in tracing.graph.nodes if holds(layer)(node))
