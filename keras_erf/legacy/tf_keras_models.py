"""A model of `tf_keras` in memory, built again in Keras 3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.legacy.architecture import Architecture
from keras_erf.legacy.building import build
from keras_erf.legacy.missing_code import MissingCodeError
from keras_erf.legacy.weights.assigning import WeightsError, assign_weights
from keras_erf.legacy.weights.stored import StoredLayer
from keras_erf.legacy.weights.targets import targets_of_order

__all__ = ["translated_model"]


def translated_model(model: Any) -> Any:
    """A model of Keras 3 that computes what one of `tf_keras` does.

    Raises:
        InvalidInputError: The model is subclassed, has no weights yet or cannot be translated.
    """
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
