"""A chain of layers: a `Sequential` model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_erf.legacy.architecture import Config, PlacedLayer
from keras_erf.legacy.building.calls import call_layer
from keras_erf.legacy.building.context import Context, Placed
from keras_erf.legacy.building.input_shapes import chain_input, layer_input
from keras_erf.legacy.building.layers import place_layer
from keras_erf.legacy.building.names import Names
from keras_erf.legacy.building.structures import (
    Shape,
    has_several,
    shapes_of,
    unpacked,
)
from keras_erf.legacy.failures import not_built
from keras_erf.legacy.layers.shaped import SHAPED
from keras_erf.legacy.translation.configurations import (
    allowed_name,
    bare,
    is_functional,
    is_lambda,
    is_sequential,
    layers_in,
    name_of,
)

__all__ = ["place_chain"]


def place_chain(model: Config, name: str | None, shape: Shape, context: Context) -> Placed:
    """Builds a Sequential model.

    Args:
        model: Its configuration in the file.
        name: Its name in Keras 3; `None` for the one in the file.
        shape: The shape of its input where the model is called; `None` if not known.
        context: What the user gave.

    Raises:
        ModelLoadError: A layer cannot be built.
    """
    config = model["config"]
    layers = [dict(layer) for layer in layers_in(model)]
    stated = config.get("name") if isinstance(config, Mapping) else model.get("name")
    name = name or allowed_name(str(stated or "sequential"))
    if layers and layers[0]["class_name"] == "Merge":
        return _merged(layers, name, context)
    names = Names([name_of(layer) for layer in layers])
    x = _input(model, layers, names, shape)
    chain = [] if x is None else [x._keras_history.operation]
    order: list[PlacedLayer] = []
    # Shapes along the chain are computed only where a layer needs them.
    needs_shapes = any(map(_needs_shape, layers))
    for layer, new_name in zip(layers, names.in_order, strict=True):
        if layer["class_name"] == "InputLayer":
            if layer is layers[0]:
                order.append(context.entry(layer, chain[0] if chain else None))
            continue
        placed = place_layer(layer, new_name, None if x is None else tuple(x.shape), context)
        order += placed.order
        chain.append(placed.layer)
        x = call_layer(layer, placed, x, {}) if needs_shapes and x is not None else None
    try:
        return Placed(keras.Sequential(chain, name=name), order)
    except Exception as error:  # Layers check their inputs in many ways.
        raise not_built(f"The chain {name!r}", error) from error


def _input(model: Config, layers: list[Config], names: Names, shape: Shape) -> Any:
    """The input of a chain; `None` if its shape is not known."""
    stated, kind = chain_input(model)
    if stated is None and shape is not None and not has_several(shape):
        stated = tuple(shape)
    if stated is None or not layers:
        return None
    first = name_of(layers[0])
    own = layers[0]["class_name"] == "InputLayer"
    return keras.Input(
        batch_shape=stated,
        dtype=kind or "float32",
        name=names.in_order[0] if own else names.free(f"{allowed_name(first)}_input"),
    )


def _needs_shape(layer: Config) -> bool:
    """Whether a layer in a chain is made for inputs of one shape."""
    if is_functional(layer):
        return False
    if is_sequential(layer):
        return any(map(_needs_shape, layers_in(layer)))
    if is_lambda(layer) or bare(layer["class_name"]) in SHAPED:
        return True
    inner = layer["config"].get("layer")
    return isinstance(inner, Mapping) and _needs_shape(dict(inner))


def _merged(layers: list[Config], name: str, context: Context) -> Placed:
    """A chain of Keras 1 that starts where other chains meet, as a Functional model."""
    config = dict(layers[0]["config"])
    branches = [dict(branch) for branch in config.pop("layers", ())]
    names = Names([name_of(layer) for layer in (*branches, *layers)])
    order: list[PlacedLayer] = []
    inputs, ends = [], []
    for branch in branches:
        branch_name = names.by_old[name_of(branch)]
        placed = place_layer(branch, branch_name, None, context)
        order += placed.order
        if isinstance(placed.layer, keras.Model):
            inputs += placed.layer.inputs
            ends.append(placed.layer.outputs[0])
        else:
            shape, kind = layer_input(branch)
            tensor = keras.Input(
                batch_shape=shape, dtype=kind or "float32", name=f"{branch_name}_input"
            )
            inputs.append(tensor)
            ends.append(call_layer(branch, placed, tensor, {}))
    x: Any = ends
    for layer in ({**layers[0], "config": config}, *layers[1:]):
        placed = place_layer(layer, names.by_old[name_of(layer)], shapes_of(x), context)
        order += placed.order
        x = call_layer(layer, placed, x, {})
    return Placed(keras.Model(inputs=unpacked(inputs), outputs=x, name=name), order)
