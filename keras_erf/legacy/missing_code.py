"""Errors of models that need code of the user's: functions of Lambdas, classes of layers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from keras_erf.errors import ModelLoadError

__all__ = ["lambdas_without_function", "unknown_layers"]

# Of names and of arguments, in letters; of names in a list.
MOST_NAME, MOST_TEXT, MOST_NAMES = 80, 300, 12
# Arguments of every layer, which do not help to recognise a class.
EVERYWHERE = ("name", "trainable", "dtype", "batch_input_shape", "batch_shape")


def lambdas_without_function(names: Collection[str], function: str | None = None) -> ModelLoadError:
    """The error of `Lambda` layers whose Python code is not run and that have no stand-in.

    Args:
        names: Names of the layers.
        function: The name that the file has for the first one's function, if any.
    """
    shown = ", ".join(name[:MOST_NAME] for name in list(names)[:MOST_NAMES])
    first = next(iter(names))[:MOST_NAME]
    named = first if function is None else f"{first} or {function[:MOST_NAME]}"
    return ModelLoadError(
        expected=f"The model has Lambda layers, whose Python code is not run: {shown}",
        remedy=f"For one that works pixel by pixel write `--lambda {first}=pointwise`, or give "
        f"a function named {named} in a Python file with `--custom FILE.py` (in Python, by "
        "`custom_objects=`), or, if you trust the file, let it run its code with `--unsafe`",
        received=shown,
    )


def unknown_layers(unknown: Mapping[str, Any]) -> ModelLoadError:
    """The error of classes of layers that are not Keras's own: all of them at once.

    Args:
        unknown: Arguments in the file of the first layer of each class, by class.
    """
    listed = "; ".join(
        f"{name[:MOST_NAME]}({_arguments(config)})" for name, config in unknown.items()
    )
    return ModelLoadError(
        expected=f"The model has layers that are not Keras's own: {listed}",
        remedy="Give their classes in a Python file with `--custom FILE.py`, or in Python by "
        "`custom_objects=`",
        received=", ".join(name[:MOST_NAME] for name in unknown),
    )


def _arguments(config: Any) -> str:
    held = config if isinstance(config, Mapping) else {}
    text = ", ".join(
        f"{key}={json.dumps(value, default=str)}"
        for key, value in held.items()
        if key not in EVERYWHERE
    )
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
