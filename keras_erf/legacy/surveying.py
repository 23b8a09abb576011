"""What the user has to give before an old model can be built: Lambdas and unknown classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Config
from keras_erf.legacy.keras1 import MERGE_MODES, flat_layer
from keras_erf.legacy.making import is_built_in
from keras_erf.legacy.nodes import NODES, node_of
from keras_erf.legacy.operations import is_known
from keras_erf.legacy.translating import (
    INNER,
    NESTED,
    bare,
    is_functional,
    is_sequential,
    translate,
)

__all__ = [
    "OPERATIONS",
    "check",
    "custom_object",
    "each_layer",
    "function_name",
    "is_lambda",
    "lambdas_of",
    "layers_in",
    "modern",
    "unknown_classes",
    "unknown_operations",
]

OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
# Calls of a tensor's own methods and properties, which graphs hold for ragged tensors only.
MOST_TEXT = 300


def modern(layer: Mapping[str, Any]) -> Config:
    """A model's configuration with its class and arguments apart, which Keras 0.3 mixes."""
    if "config" not in layer and isinstance(layer.get("layers"), list):
        return {
            "class_name": layer.get("class_name", layer.get("name", "Sequential")),
            "config": [flat_layer(inner) for inner in layer["layers"]],
        }
    return dict(layer)


def layers_in(layer: Mapping[str, Any]) -> list[Any]:
    """The layers that a model's configuration holds."""
    config = layer.get("config")
    return list(config) if isinstance(config, list) else list((config or {}).get("layers", ()))


def each_layer(config: Mapping[str, Any]) -> Iterator[Config]:
    """Every layer of a model, those of nested models and wrappers after what holds them."""
    for layer in layers_in(modern(config)):
        yield from _with_inner(layer)


def _with_inner(layer: Config) -> Iterator[Config]:
    yield layer
    if is_functional(layer) or is_sequential(layer):
        yield from each_layer(layer)
        return
    config = layer.get("config")
    for key in INNER if isinstance(config, Mapping) else ():
        inner = config.get(key)
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, Mapping) and "class_name" in item:
                yield from _with_inner(dict(item))


def name_of(layer: Mapping[str, Any]) -> str:
    """A layer's name in the file."""
    config = layer.get("config")
    inner = config.get("name") if isinstance(config, Mapping) else None
    return str(layer.get("name") or inner or layer.get("class_name"))


def is_lambda(layer: Mapping[str, Any]) -> bool:
    """Whether a layer is a function of the user's, which the file names or holds as bytecode."""
    if layer["class_name"] == "Lambda":
        return True
    mode = (layer.get("config") or {}).get("mode", "sum") if layer["class_name"] == "Merge" else ""
    return bool(mode) and mode not in MERGE_MODES


def lambdas_of(config: Mapping[str, Any]) -> list[Config]:
    """The Lambda layers of a model, as the file has them."""
    return [layer for layer in each_layer(config) if is_lambda(layer)]


def function_name(layer: Mapping[str, Any]) -> str | None:
    """The name of a Lambda's function, if the file has one rather than bytecode."""
    function = layer["config"].get("function", layer["config"].get("mode"))
    if isinstance(function, Mapping):
        function = function.get("config") if function.get("class_name") == "function" else None
    return function if isinstance(function, str) else None


def custom_object(name: str, custom_objects: Mapping[str, Any] | None) -> Any:
    """What the user gave, or registered, under a name."""
    custom = custom_objects or {}
    short = name.rpartition(">")[2]
    for key in (name, short):
        if key in custom:
            return custom[key]
    registered = keras.saving.get_custom_objects()
    for key, value in registered.items():
        if key == name or (key.rpartition(">")[2] == short and not key.startswith("keras_erf>")):
            return value
    return None


def unknown_classes(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> dict[str, Config]:
    """Arguments of the first layer of each class that neither Keras nor the user has."""
    unknown: dict[str, Config] = {}
    for layer in each_layer(config):
        name = layer["class_name"]
        if (
            name in OPERATIONS
            or is_lambda(layer)
            or is_functional(layer)
            or is_sequential(layer)
            or bare(name) in (*NESTED, "InputLayer", "WeightNormalization", "Merge")
            or custom_object(name, custom_objects) is not None
        ):
            continue
        translated = translate(name, {k: v for k, v in layer["config"].items() if k not in INNER})
        if not is_built_in(translated.class_name):
            unknown.setdefault(name, layer["config"])
    return unknown


def unknown_operations(config: Mapping[str, Any]) -> list[str]:
    """Operations of TensorFlow that have no counterpart here."""
    names = set()
    for layer in each_layer(config):
        if layer["class_name"] == "TensorFlowOpLayer":
            name = node_of(layer["config"])["op"]
            if name not in NODES:
                names.add(name)
        elif layer["class_name"] in OPERATIONS:
            name = layer["config"].get("function", "__operators__.getitem")
            if not is_known(name):
                names.add(f"tf.{name}")
    return sorted(names)


def check(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None,
    stand_ins: Mapping[str, Any],
    unsafe: bool,
) -> None:
    """Raises unless all that is the user's own was given.

    Raises:
        ModelLoadError: A Lambda has no stand-in, or a class or operation is not known.
    """
    unknown = unknown_classes(config, custom_objects)
    if unknown:
        listed = "; ".join(f"{name}({_arguments(given)})" for name, given in unknown.items())
        raise ModelLoadError(
            f"The model has layers that are not Keras's own: {listed}. Give their classes in a "
            "Python file with `--custom FILE.py`, or in Python by `custom_objects=`. "
            f"Received: {', '.join(unknown)}"
        )
    open_lambdas = [
        layer
        for layer in lambdas_of(config)
        if stand_in(layer, custom_objects, stand_ins) is None and not unsafe
    ]
    if open_lambdas:
        names = [name_of(layer) for layer in open_lambdas]
        raise ModelLoadError(
            f"The model has Lambda layers, whose Python code is not run: {', '.join(names)}. "
            f"For one that works pixel by pixel write `--lambda {names[0]}=pointwise`; or give "
            f"a function named {_function_names(open_lambdas[0])} in a Python file with "
            "`--custom FILE.py` (in Python by `custom_objects=`); or, if you trust the file, let "
            f"it run its code with `--unsafe`. Received: {', '.join(names)}"
        )
    operations = unknown_operations(config)
    if operations:
        raise ModelLoadError(
            "The model has operations of TensorFlow that are not translated to Keras 3. "
            f"Received: {', '.join(operations)}"
        )


def stand_in(
    layer: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None,
    stand_ins: Mapping[str, Any],
) -> Any:
    """What the user gave for a Lambda: a function, `"pointwise"` or `None`."""
    name = name_of(layer)
    if name in stand_ins:
        return stand_ins[name]
    for key in (name, function_name(layer)):
        if key and key in (custom_objects or {}):
            return (custom_objects or {})[key]
    return None


def _function_names(layer: Config) -> str:
    function = function_name(layer)
    return f"{name_of(layer)} or {function}" if function else name_of(layer)


def _arguments(config: Mapping[str, Any]) -> str:
    plain = ("name", "trainable", "dtype", "batch_input_shape")
    kept = {key: value for key, value in config.items() if key not in plain}
    text = ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in kept.items())
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
