"""What the user has to give before an old model can be built: functions and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Config
from keras_erf.legacy.layers.making import is_activation, is_built_in
from keras_erf.legacy.layers.of_applications import APPLICATION_LAYERS, known_lambda
from keras_erf.legacy.missing_code import lambdas_without_function, unknown_layers
from keras_erf.legacy.translation.configurations import (
    NESTED,
    OPERATIONS,
    bare,
    each_layer,
    function_name,
    is_functional,
    is_lambda,
    is_sequential,
    name_of,
    takes_several,
)
from keras_erf.legacy.translation.layers import translate
from keras_erf.legacy.translation.values import activation, plain
from keras_erf.tensorflow_operations.performing import is_known
from keras_erf.tensorflow_operations.raw_nodes import NODES, node_of

__all__ = ["check", "custom_object", "stand_in"]

# Classes that the builder knows besides those of `keras.layers`.
BUILT = (*NESTED, "InputLayer", "WeightNormalization", "Merge")


def check(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any],
    stand_ins: Mapping[str, Any],
    unsafe: bool,
) -> None:
    """Raises unless the user gave every class and function of their own.

    Args:
        config: The model's configuration.
        custom_objects: Classes and functions by name.
        stand_ins: What stands for Lambda layers, by name.
        unsafe: Whether the bytecode of a Lambda without a stand-in may run.

    Raises:
        ModelLoadError: A Lambda has no stand-in, or a class or operation is not known.
    """
    unknown = _unknown_classes(config, custom_objects)
    functions = _unknown_activations(config, custom_objects)
    if unknown or functions:
        raise unknown_layers(unknown, functions)
    waiting = [
        layer
        for layer in each_layer(config)
        if is_lambda(layer) and not unsafe and stand_in(layer, custom_objects, stand_ins) is None
    ]
    if waiting:
        named = {name_of(layer): takes_several(layer) for layer in waiting}
        raise lambdas_without_function(named, function_name(waiting[0]))
    operations = _unknown_operations(config)
    if operations:
        raise ModelLoadError(
            expected="The model has operations of TensorFlow that are not translated to Keras 3",
            received=", ".join(operations),
        )


def custom_object(name: str, custom_objects: Mapping[str, Any]) -> Any:
    """The class or function of a name that `keras.layers` lacks; `None` if there is none.

    What the user gave comes first, then what was registered with Keras, then the layers of
    `keras.applications`.
    """
    short = name.rpartition(">")[2]
    for key in (name, short):
        if key in custom_objects:
            return custom_objects[key]
    for key, value in keras.saving.get_custom_objects().items():
        if key == name or (key.rpartition(">")[2] == short and not key.startswith("keras_erf>")):
            return value
    return APPLICATION_LAYERS.get(short)


def stand_in(
    layer: Mapping[str, Any], custom_objects: Mapping[str, Any], stand_ins: Mapping[str, Any]
) -> Any:
    """What stands for a Lambda: what the user gave, or a layer if it is one that is known.

    Returns:
        A function, a layer or its class, or `"pointwise"`; `None` if nothing does.
    """
    name = name_of(layer)
    if name in stand_ins:
        return stand_ins[name]
    for key in (name, function_name(layer)):
        if key and key in custom_objects:
            return custom_objects[key]
    return known_lambda(layer)


def _unknown_classes(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any]
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
            or bare(name) in BUILT
            or custom_object(name, custom_objects) is not None
        ):
            continue
        if not is_built_in(translate(name, layer["config"]).class_name):
            unknown.setdefault(name, layer["config"])
    return unknown


def _unknown_activations(config: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> list[str]:
    """Names of activations that neither Keras nor the user has."""

    def known(name: str) -> bool:
        return custom_object(name, custom_objects) is not None

    names = {
        name: None
        for layer in each_layer(config)
        if isinstance(layer.get("config"), Mapping) and not known(layer["class_name"])
        for key, value in layer["config"].items()
        if key.endswith("activation")
        for name in [activation(plain(value), known)]
        if isinstance(name, str) and not known(name) and not is_activation(name)
    }
    return list(names)


def _unknown_operations(config: Mapping[str, Any]) -> list[str]:
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
