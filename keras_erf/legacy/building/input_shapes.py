"""The shape and type of a chain's input, as far as its file states them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation.configurations import (
    bare,
    is_functional,
    is_sequential,
    layers_in,
    name_of,
)
from keras_erf.legacy.translation.values import dtype, plain

__all__ = ["chain_input", "layer_input"]

# Layers of Keras 1 whose `input_dim` is all of the shape of one sample.
FLAT = ("Dense", "MaxoutDense", "Highway", "Activation")
# With the batch, and the type; `None` for what is not stated.
Stated = tuple[tuple[Any, ...] | None, str | None]


def chain_input(model: Config) -> Stated:
    """The input of a Sequential model."""
    layers = layers_in(model)
    shape, kind = layer_input(dict(layers[0])) if layers else (None, None)
    if shape is not None:
        return shape, kind
    config = model["config"]
    for place in (config, model) if isinstance(config, Mapping) else (model,):
        built = plain(place.get("build_config") or {})
        for stated in (plain(place.get("build_input_shape")), built.get("input_shape")):
            if (
                isinstance(stated, list | tuple)
                and stated
                and not isinstance(stated[0], list | tuple)
            ):
                return tuple(stated), None
    return None, None


def layer_input(layer: Config) -> Stated:
    """The input of a chain's first layer."""
    if is_functional(layer):
        return _graph_input(layer)
    if is_sequential(layer):
        return chain_input(layer)
    config, class_name = plain(layer["config"]), bare(layer["class_name"])
    kind = dtype(config.get("input_dtype") or config.get("dtype"))
    kind = kind if isinstance(kind, str) and "mixed" not in kind else None
    for key in ("batch_input_shape", "batch_shape"):
        if config.get(key) is not None:
            return tuple(config[key]), kind
    if config.get("input_shape") is not None:
        return (None, *config["input_shape"]), kind
    if class_name == "Embedding":
        return ((None, config["input_length"]), kind) if "input_length" in config else (None, None)
    width = config.get("input_dim")
    if width is None:
        return None, None
    return (
        (None, width) if class_name in FLAT else (None, config.get("input_length"), width)
    ), kind


def _graph_input(model: Config) -> Stated:
    """The first input of a Functional model."""
    first = model["config"]["input_layers"]
    while isinstance(first, list | tuple) and first and not isinstance(first[0], str):
        first = first[0]
    for layer in model["config"]["layers"]:
        if name_of(layer) == first[0]:
            return layer_input(layer)
    return None, None
