"""One layer's old configuration, turned into the class and arguments that Keras 3 takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_erf.legacy import addons, keras1, keras2, values
from keras_erf.legacy.architecture import Config

__all__ = ["NESTED", "Translated", "bare", "is_functional", "is_sequential", "translate"]

# Packages whose classes are known without the user's help.
PACKAGES = ("Addons", "keras_contrib", "keras_erf", "TFOpLambda", "SlicingOpLambda")
NESTED = ("Model", "Functional", "Network", "Container", "Graph")
# A layer's arguments that are layers themselves.
INNER = ("layer", "backward_layer", "cell", "cells", "layers")
CALL = "call:"


@dataclass(frozen=True)
class Translated:
    """A layer as Keras 3 makes it.

    Args:
        class_name: Class in `keras.layers`, or one that the package makes itself.
        config: Its arguments; inner layers are still as in the file.
        call: Arguments of its calls.
    """

    class_name: str
    config: Config
    call: Config = field(default_factory=dict)


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


def translate(
    class_name: str, config: Config, known: Callable[[str], bool] = lambda name: False
) -> Translated:
    """Translates one layer.

    Args:
        class_name: Class in the file.
        config: The layer's arguments in the file; unchanged.
        known: Whether the user gives a function or class of that name.
    """
    # Inner layers keep their shape: they are translated when they are made.
    inner = {key: config[key] for key in INNER if key in config}
    old = {key: values.plain(value) for key, value in config.items() if key not in inner}
    name, arguments = bare(class_name), {**old, **inner}
    name, arguments = keras1.modernized(name, arguments)
    name, arguments = addons.replaced(name, arguments)
    name, arguments = keras2.current(name, arguments)
    call = {
        key.removeprefix(CALL): value for key, value in arguments.items() if key.startswith(CALL)
    }
    return Translated(
        name,
        {
            key: _part(key, value, known)
            for key, value in arguments.items()
            if not key.startswith(CALL)
        },
        call,
    )


def _part(key: str, value: Any, known: Callable[[str], bool]) -> Any:
    if key in INNER:
        return value
    if key.endswith("_initializer"):
        return values.initializer(value)
    if key.endswith("_regularizer"):
        return values.regularizer(value)
    if key.endswith("_constraint"):
        return values.constraint(value)
    if key.endswith("activation"):
        return values.activation(value, known)
    if key == "dtype":
        return values.dtype(value)
    return values.tuples(value) if isinstance(value, list) else value
