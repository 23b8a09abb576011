"""The layers in a model's old configuration: which there are, and what each is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation.keras1 import MERGE_MODES

__all__ = [
    "INNER",
    "NESTED",
    "OPERATIONS",
    "allowed_name",
    "bare",
    "each_layer",
    "function_name",
    "is_functional",
    "is_lambda",
    "is_sequential",
    "layers_in",
    "name_of",
    "takes_several",
    "with_class",
]

# Packages whose classes are known without the user's help.
PACKAGES = ("Addons", "keras_contrib", "keras_erf", "TFOpLambda", "SlicingOpLambda")
NESTED = ("Model", "Functional", "Network", "Container", "Graph")
# A layer's arguments that are layers themselves.
INNER = ("layer", "backward_layer", "cell", "cells", "layers")
# Classes that stand for an operation of TensorFlow.
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def bare(class_name: str) -> str:
    """A class without the name of a package that is known here."""
    package, mark, name = class_name.rpartition(">")
    return name if mark and package in PACKAGES else class_name


def is_functional(layer: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a graph of layers, whatever its class is called."""
    config = layer.get("config")
    return isinstance(config, Mapping) and "output_layers" in config and "layers" in config


def is_sequential(layer: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a chain of layers."""
    return layer.get("class_name") == "Sequential" or (
        isinstance(layer.get("config"), list) and "class_name" in layer
    )


def is_lambda(layer: Mapping[str, Any]) -> bool:
    """Whether a layer is a function of the user's, which the file names or holds as bytecode."""
    if layer["class_name"] == "Lambda":
        return True
    mode = (layer.get("config") or {}).get("mode", "sum") if layer["class_name"] == "Merge" else ""
    return bool(mode) and mode not in MERGE_MODES


def takes_several(layer: Mapping[str, Any]) -> bool:
    """Whether a layer in a graph is called with several tensors, in files of any Keras."""
    nodes = layer.get("inbound_nodes") or ()
    for node in nodes:
        # Keras 3 writes the arguments of a call, earlier versions a list of references.
        first = (node.get("args") or [None])[0] if isinstance(node, Mapping) else node
        if isinstance(first, list) and len(first) > 1 and not isinstance(first[0], str):
            return True
    return layer.get("class_name") == "Merge"


def allowed_name(name: str) -> str:
    """A name of a layer without the slashes that Keras 3 refuses."""
    return name.replace("/", "_") or "layer"


def name_of(layer: Mapping[str, Any]) -> str:
    """A layer's name in the file."""
    config = layer.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return str(layer.get("name") or inner or layer.get("class_name"))


def function_name(layer: Mapping[str, Any]) -> str | None:
    """The name of a Lambda's function, if the file has one rather than bytecode."""
    function = layer["config"].get("function", layer["config"].get("mode"))
    if isinstance(function, Mapping):
        function = function.get("config") if function.get("class_name") == "function" else None
    # Keras 1.0 stored bytecode as a text.
    return function if isinstance(function, str) and function.isidentifier() else None


def with_class(layer: Mapping[str, Any]) -> Config:
    """A model's configuration with its class and arguments apart, which Keras 0.3 mixes."""
    if "config" not in layer and isinstance(layer.get("layers"), list):
        return {
            "class_name": layer.get("class_name", layer.get("name", "Sequential")),
            "config": [_flat(inner) for inner in layer["layers"]],
        }
    return dict(layer)


def _flat(layer: Mapping[str, Any]) -> Config:
    """A layer of Keras 0.3, whose class and arguments are in one dictionary."""
    config = {key: value for key, value in layer.items() if key not in ("name", "custom_name")}
    if "custom_name" in layer:
        config["name"] = layer["custom_name"]
    if isinstance(config.get("layers"), list):
        config["layers"] = [_flat(inner) for inner in config["layers"]]
    if isinstance(config.get("layer"), dict):
        config["layer"] = _flat(config["layer"])
    return {"class_name": layer["name"], "config": config}


def layers_in(layer: Mapping[str, Any]) -> list[Any]:
    """The layers that a model's configuration holds."""
    config = layer.get("config")
    return list(config if isinstance(config, list) else (config or {}).get("layers", ()))


def each_layer(config: Mapping[str, Any]) -> Iterator[Config]:
    """Every layer of a model, those of nested models and wrappers after what holds them."""
    for layer in layers_in(with_class(config)):
        yield from _with_inner(layer)


def _with_inner(layer: Config) -> Iterator[Config]:
    yield layer
    if is_functional(layer) or is_sequential(layer):
        yield from each_layer(layer)
        return
    config = layer.get("config")
    if not isinstance(config, Mapping):
        return
    for key in INNER:
        inner = config.get(key)
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, Mapping) and "class_name" in item:
                yield from _with_inner(dict(item))
