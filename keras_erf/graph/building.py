"""The graph of a model, built for it if need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_erf.errors import InvalidInputError, reason_of
from keras_erf.graph.calls import Given
from keras_erf.graph.copying import Copier, RefusedError, surroundings
from keras_erf.graph.graph import Graph
from keras_erf.graph.running import enter
from keras_erf.graph.subclassed import followed_graph, from_shapes, signature_of
from keras_erf.graph.unrolling import Builder, functional
from keras_erf.legacy.in_memory import modern_model
from keras_erf.types import Layer, Model

__all__ = ["Start", "build_graph", "build_in_place", "called_on", "started"]


@dataclass(frozen=True, eq=False)
class Start:
    """A model with its graph.

    Args:
        model: The model given, or a copy that was translated or built.
        graph: Its graph.
        input_shape: Spatial shape that is still to be given to the inputs.
    """

    model: Model
    graph: Graph
    input_shape: Any

    def named(self, layer: Any, model: Model) -> Any:
        """What stands for a layer of `model`, the one that was given: of a copy, its name."""
        foreign = self.model is not model and isinstance(layer, keras.Layer)
        return layer.name if foreign and not isinstance(model, Graph) else layer


def started(
    model: Model | Graph, *, input_shape: Any = None, inputs: Any = None, assigned: bool = True
) -> Start:
    """A model and its graph; the model itself stays as it is.

    A model of the package `tf_keras` (Keras 2) is translated. One that is its own code is followed
    through a symbolic call, on what it was built with. One that is not built is copied, and the
    copy is built for the shape that is given.

    Args:
        model: The model; a graph is returned unchanged.
        input_shape: What the user gives: of a model that is not built the whole shape without
            the batch, of others the spatial one.
        inputs: What the user measures with; arrays say what a model that is not built is called on.
        assigned: Whether zeros among the weights count, and the weights stay as they are.

    Raises:
        InvalidInputError: `model` is no model, or not built and nothing says for which shape.
    """
    if isinstance(model, Graph):
        return Start(model, model, input_shape)
    model = modern_model(model)
    function = functional(model)
    if function is not None:
        return Start(model, _unrolled(model, function), input_shape)
    _check_model(model)
    given = signature_of(model)
    if given is None:
        given, input_shape = _given(model, input_shape, inputs), None
    if not model.built:
        model = _built(model, given)
    function = functional(model)
    if function is not None:
        return Start(model, _unrolled(model, function), input_shape)
    return Start(model, followed_graph(model, given, assigned=assigned), input_shape)


def build_in_place(model: Model, *, input_shape: Any, inputs: Any) -> None:
    """Builds a model that is about to be trained; arguments and errors as `started`."""
    _check_model(model)
    if not model.built and signature_of(model) is None:
        given = _given(model, input_shape, inputs)
        enter(lambda: model(*given.args, **given.kwargs))
        model._inbound_nodes.clear()


def build_graph(model: Model | Graph) -> Graph:
    """The flat graph of a Keras model; see `started`."""
    return started(model).graph


def called_on(model: Model, copy: Model) -> None:
    """Builds a copy of a model that is its own code, by a call on symbolic tensors."""
    given = signature_of(model)
    if functional(copy) is None and not copy.built and given is not None:
        enter(lambda: copy(*given.args, **given.kwargs))


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise InvalidInputError(
            argument="model",
            expected="must be a Keras 3 model",
            received=f"model of type {type(model).__module__}.{type(model).__name__}",
        )


def _unrolled(model: Model, function: Any) -> Graph:
    """The graph behind a Functional or Sequential model."""
    builder = Builder()
    inputs = []
    for tensor in function.inputs:
        number = builder.add_tensor(tensor.name, tensor)
        for key in (tensor.name, id(tensor), id(tensor._keras_history.operation)):
            builder.add_key(key, number)
        inputs.append(number)
    outputs = builder.unroll(function, inputs, prefix="")
    batches = {tensor.shape[0] for tensor in function.inputs} - {None}
    return Graph(
        name=model.name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=tuple(builder.nodes),
        tensors=tuple(builder.tensors),
        layers=builder.layers,
        channel_axes={number: builder.channel_axis(number) for number in inputs},
        batch=min(batches) if batches else None,
    )


def _given(model: Model, input_shape: Any, inputs: Any) -> Given:
    """What a model is called on that nothing is known of, by what the user gives."""
    if input_shape is not None:
        sizes = input_shape if isinstance(input_shape, (Sequence, np.ndarray)) else (input_shape,)
        return from_shapes(model, {"input_shape": (None, *(one and int(one) for one in sizes))})
    shapes = _shapes_of(inputs)
    if shapes is not None:
        return from_shapes(model, {"input_shape": shapes})
    raise InvalidInputError(
        argument="model",
        expected="must be built, so that the shape of its input is known",
        remedy="Call it once on data, or give the sizes and channels: `input_shape=(224, 224, 3)`",
        received=f"model={model.name!r} of type {type(model).__name__}, not built",
    )


def _shapes_of(inputs: Any) -> Any:
    """Shapes of arrays, nested as they are; `None` if they are none."""
    if isinstance(inputs, Mapping):
        shapes: Any = {key: _shapes_of(one) for key, one in inputs.items()}
        return None if None in shapes.values() else shapes
    if isinstance(inputs, (list, tuple)):
        shapes = [_shapes_of(one) for one in inputs]
        return None if None in shapes else shapes
    shape = getattr(inputs, "shape", None)
    return None if shape is None else tuple(map(int, shape))


def _built(model: Model, given: Given) -> Model:
    """A copy of a model, built for what it is called on."""
    copier = Copier({})
    layers: list[Layer] = list(model._flatten_layers())
    try:
        with surroundings(layers, {}):
            copy = copier.unbuilt(model)
            # What a constructor makes is counted on; layers are named by what the user sees.
            others = list(copy._flatten_layers())
            if [type(layer) for layer in layers] == [type(other) for other in others]:
                for layer, other in zip(layers, others, strict=True):
                    other.name = layer.name
            enter(lambda: copy(*given.args, **given.kwargs))
            copier.finish()
    except Exception as error:  # Layers are the user's, and raise what they like.
        reason = str(error) if isinstance(error, RefusedError) else reason_of(error)
        shapes = ", ".join(str(tuple(symbol.shape[1:])) for symbol in given.symbols)
        raise InvalidInputError(
            argument="model",
            expected=f"is not built, and a copy of it cannot be built for {shapes}: {reason}",
            remedy="Call it once on data",
            received=f"model={model.name!r} of type {type(model).__name__}",
        ) from error
    return copy
