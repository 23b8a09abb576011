"""The graph of a model."""

from __future__ import annotations

import keras

from keras_erf.errors import InvalidInputError
from keras_erf.graph.graph import Graph
from keras_erf.graph.unrolling import Builder, functional
from keras_erf.legacy.in_memory import modern_model
from keras_erf.types import Model

__all__ = ["build_graph"]


def build_graph(model: Model | Graph) -> Graph:
    """The flat graph of a Functional or Sequential Keras model; a graph is returned unchanged.

    A model of the package `tf_keras` (Keras 2) is translated first.

    Raises:
        InvalidInputError: `model` is no such model; the remedy is named.
    """
    if isinstance(model, Graph):
        return model
    model = modern_model(model)
    function = functional(model)
    if function is None:
        if isinstance(model, keras.Sequential):
            raise InvalidInputError(
                argument="model",
                expected="must be built: call `model.build(input_shape)` or start it with "
                "`keras.Input`",
                received=f"model={model.name!r}, a Sequential model not yet built",
            )
        if isinstance(model, keras.Model):
            raise InvalidInputError(
                argument="model",
                expected="must be a Functional or Sequential Keras model; a subclassed model "
                "has no graph to read",
                remedy="Wrap it: keras.Model(x, model(x)) with x = keras.Input(...)",
                received=f"model={model.name!r} of type {type(model).__name__}",
            )
        raise InvalidInputError(
            argument="model",
            expected="must be a Keras 3 model",
            received=f"model of type {type(model).__module__}.{type(model).__name__}",
        )
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
