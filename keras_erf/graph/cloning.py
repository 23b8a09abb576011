"""Copies of models: layers and operations of their own, the same calls and weights.

Keras's own `clone_model` leaves weights behind, keeps the dtypes of inputs and
compiles the copy. Here a copy may also compute in other dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, reason_of
from keras_erf.graph.building import build_graph, called_on
from keras_erf.graph.copying import Copier, RefusedError, surroundings
from keras_erf.graph.graph import Graph
from keras_erf.graph.running import enter
from keras_erf.graph.unrolling import functional
from keras_erf.types import Model

__all__ = ["cloned", "computing_layers", "copied"]


def computing_layers(model: keras.Layer) -> list[keras.Layer]:
    """The layers of a model or layer that compute something, those inside models included."""
    layers = model._flatten_layers()
    return [
        layer
        for layer in layers
        if functional(layer) is None and not isinstance(layer, keras.layers.InputLayer)
    ]


def cloned(model: Model, *, remedy: str, dtypes: Mapping[str, str] | None = None) -> keras.Model:
    """A copy of a Functional or Sequential model; the model itself stays as it is.

    The copy's graph has the same calls and tensors under the same numbers. It
    is not compiled.

    Args:
        model: The model.
        remedy: What to do where it cannot be copied, a sentence for the error.
        dtypes: What to compute in instead, by dtype; others are kept.

    Raises:
        InvalidInputError: `model` has no graph, or a layer cannot be made again.
    """
    graph = build_graph(model)
    copier = Copier(dtypes or {})
    try:
        with surroundings(computing_layers(model), copier.dtypes):
            copy = copier.copy(model)
            called_on(model, copy)
            copier.finish()
        copied_graph = build_graph(copy)
        if _names(graph) != _names(copied_graph):
            raise RefusedError("its copy makes other calls")
    except Exception as error:  # Layers are the user's, and raise what they like.
        reason = str(error) if isinstance(error, RefusedError) else reason_of(error)
        raise InvalidInputError(
            argument="model",
            expected=f"must be one that can be copied: {reason}",
            remedy=remedy,
            received=f"model={model.name!r}",
        ) from error
    return copy


def copied(graph: Graph, *tensors: int, dtypes: Mapping[str, str]) -> Graph:
    """The calls that some tensors depend on, made by copies of their layers.

    Tensors have the same numbers; there is no model of it.

    Args:
        graph: A graph whose tensors have definite shapes.
        *tensors: Numbers of the tensors.
        dtypes: As in `cloned`.

    Raises:
        InvalidInputError: A layer cannot be made again, or not in these dtypes.
    """
    nodes = graph.ancestors(*tensors)
    layers = [node.operation for node in nodes if isinstance(node.operation, keras.Layer)]
    inner_layers = [inner for layer in layers for inner in layer._flatten_layers()]
    copier, copies = Copier(dtypes), list[Any]()
    known = {
        number: keras.KerasTensor(
            (graph.batch, *tensor.shape), dtype=dtypes.get(tensor.dtype, tensor.dtype)
        )
        for number in graph.inputs
        for tensor in [graph.tensors[number]]
    }

    def make() -> None:
        for node in nodes:
            # Layers are built by being called.
            copies.append(copier.copy(node.operation))
            known.update(zip(node.outputs, node.call(known, copies[-1]), strict=True))

    try:
        if any("call" in vars(layer) for layer in inner_layers):
            raise RefusedError("a layer has a `call` that is not its class's")
        with surroundings(inner_layers, dtypes):
            enter(make)
            copier.finish()
    except Exception as error:  # Layers are the user's, and raise what they like.
        expected = f"cannot be copied: {reason_of(error)}"
        raise InvalidInputError(argument="model", expected=expected) from error
    return replace(
        graph,
        nodes=tuple(
            replace(node, operation=copy) for node, copy in zip(nodes, copies, strict=True)
        ),
        tensors=tuple(
            replace(tensor, dtype=dtypes.get(tensor.dtype, tensor.dtype))
            for tensor in graph.tensors
        ),
    )


def _names(graph: Graph) -> list[list[str]]:
    return [[node.name for node in graph.nodes], [tensor.name for tensor in graph.tensors]]
