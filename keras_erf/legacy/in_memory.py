"""Models of Keras 2 in memory: those of the package `tf_keras`, translated to Keras 3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.legacy.architecture import Architecture
from keras_erf.legacy.missing_code import MissingCodeError
from keras_erf.legacy.translation.configurations import allowed_name
from keras_erf.legacy.weights.assigning import WeightsError, assign_weights
from keras_erf.legacy.weights.stored import StoredLayer
from keras_erf.legacy.weights.targets import targets_of_order

__all__ = ["modern_layer", "modern_model"]

PACKAGE = "tf_keras"


def modern_model(model: Any) -> Any:
    """A model that Keras 3 knows: a translated copy of one of `tf_keras`, any other unchanged.

    `tf_keras` is not imported: the module of a model's class names its package.

    Raises:
        InvalidInputError: The model of `tf_keras` is subclassed, or has no weights yet.
    """
    if not _of_tf_keras(model) or not hasattr(model, "to_json"):
        return model
    from keras_erf.legacy.building import build

    config = _config_of(model)
    if not model.built:
        raise InvalidInputError(
            argument="model",
            expected="must be built",
            remedy="call `model.build(input_shape)`",
            received=f"model={model.name!r}, a Sequential model without weights",
        )
    functions = {
        layer.name: layer.function for layer in _layers(model) if type(layer).__name__ == "Lambda"
    }
    architecture = Architecture(config, str(config.get("keras_version", "2")), "")
    try:
        built = build(architecture, stand_ins=functions)
    except MissingCodeError as error:
        raise InvalidInputError(
            argument="model",
            expected=f"of tf_keras cannot be translated: {error.expected}",
            remedy="Register classes of Keras 3 under these names, with "
            "keras.saving.register_keras_serializable",
            received=f"model={model.name!r}: {error.received}",
        ) from error
    try:
        assign_weights(targets_of_order(built.order), _stored(model), "")
    except WeightsError as error:
        raise InvalidInputError(
            argument="model",
            expected=f"of tf_keras cannot be translated: {error}",
            remedy="Save it, and open the file with keras_erf.load_model",
            received=f"model={model.name!r}",
        ) from error
    return built.model


def modern_layer(layer: Any) -> Any:
    """A layer as the translated model knows it: by its name if `tf_keras` made it.

    Any other layer, a name or a tensor is returned unchanged.
    """
    return allowed_name(layer.name) if _of_tf_keras(layer) else layer


def _config_of(model: Any) -> dict[str, Any]:
    """The configuration of a model of `tf_keras` that is made of layers.

    Raises:
        InvalidInputError: It is subclassed.
    """
    try:
        config: dict[str, Any] = json.loads(model.to_json())
    except NotImplementedError:
        config = {}
    if "layers" not in (config.get("config") or {}):
        raise InvalidInputError(
            argument="model",
            expected="must be a Functional or Sequential model: a subclassed model of tf_keras "
            "cannot be translated",
            remedy="Build the network with keras.Model(inputs, outputs)",
            received=f"model={model.name!r} of type {type(model).__name__}",
        )
    return config


def _of_tf_keras(instance: Any) -> bool:
    return any(base.__module__.partition(".")[0] == PACKAGE for base in type(instance).__mro__)


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _stored(model: Any) -> tuple[StoredLayer, ...]:
    return tuple(
        StoredLayer(layer.name, (), (), _stored(layer))
        if hasattr(layer, "layers")
        else StoredLayer(
            layer.name,
            tuple(np.asarray(value) for value in layer.get_weights()),
            tuple(weight.name for weight in layer.weights),
        )
        for layer in model.layers
    )
