"""Layers of Keras 3, made of translated configurations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import keras

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.failures import not_built
from keras_erf.legacy.layers.activations import FUNCTIONS
from keras_erf.legacy.layers.shaped import SHAPED
from keras_erf.legacy.translation.keras2 import HARMLESS
from keras_erf.legacy.translation.layers import Translated

__all__ = ["is_activation", "is_built_in", "made", "resolved_activation"]


def is_built_in(name: str) -> bool:
    """Whether Keras 3, or this package, has a layer of that class."""
    return name in SHAPED or (
        name[:1].isupper() and inspect.isclass(getattr(keras.layers, name, None))
    )


def is_activation(name: str) -> bool:
    """Whether Keras 3, or this package, has an activation of that name."""
    if name in FUNCTIONS or inspect.isclass(getattr(keras.layers, name, None)):
        return True
    try:
        return keras.activations.get(name) is not None
    except (ValueError, TypeError):
        return False


def resolved_activation(value: Any, custom: Mapping[str, Any]) -> Any:
    """An activation as Keras's layers take it: a name, a function or a layer."""
    if isinstance(value, Mapping) and value.get("layer"):
        kind = getattr(keras.layers, value["class_name"], None)
        return kind(**value["config"]) if kind else value["class_name"]
    if isinstance(value, str):
        return FUNCTIONS.get(value, custom.get(value, custom.get(value.rpartition(">")[2], value)))
    return value


def made(translated: Translated, name: str) -> keras.Layer:
    """Makes a layer of Keras's own.

    Args:
        translated: Its class and arguments.
        name: Its name in the file.

    Raises:
        ModelLoadError: An argument has no counterpart in Keras 3, or Keras refuses it.
    """
    kind = getattr(keras.layers, translated.class_name)
    known = _accepted(kind)
    arguments = dict(translated.config)
    # Some classes take no arguments of every layer, though every layer can be frozen.
    trainable = True if "trainable" in known else arguments.pop("trainable", True)
    for key in [*arguments]:
        if key in known:
            continue
        value = arguments.pop(key)
        if value is not None and value not in HARMLESS.get(key, ()):
            raise ModelLoadError(
                expected=f"The {translated.class_name} layer {name!r} of the file has an argument "
                "that Keras 3 lacks",
                received=f"{key}={value!r:.200}",
            )
    try:
        layer: keras.Layer = kind(**arguments)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise not_built(f"The {translated.class_name} layer {name!r}", error) from error
    if not trainable:
        layer.trainable = False
    return layer


@cache
def _accepted(kind: type) -> frozenset[str]:
    """Arguments that a class takes, with those it hands to its parents."""
    names: set[str] = set()
    for parent in kind.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = inspect.signature(vars(parent)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if parent is keras.Layer or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return frozenset(names - {"self"})
