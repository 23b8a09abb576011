"""What stands for a `Lambda` layer, whose function a file holds as bytecode or by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_erf.errors import ModelLoadError, reason_of
from keras_erf.legacy.architecture import Config
from keras_erf.legacy.building.context import Context
from keras_erf.legacy.building.structures import Shape, first_shape, has_several
from keras_erf.legacy.checking import stand_in
from keras_erf.legacy.translation.configurations import name_of
from keras_erf.legacy.translation.values import plain

__all__ = ["lambda_layer"]

GIVE = "give its function with `--custom FILE.py` (in Python, by `stand_ins=`)"


def lambda_layer(layer: Config, name: str, shape: Shape, context: Context) -> Any:
    """Makes the layer that stands for a Lambda.

    Args:
        layer: The Lambda's configuration.
        name: Its name in Keras 3.
        shape: The shape of its input, or of several; `None` if not known.
        context: What the user gave.

    Raises:
        ModelLoadError: What was given cannot stand for it, or its bytecode is of another Python.
    """
    given = stand_in(layer, context.custom, context.stand_ins)
    if given is None and context.unsafe:
        given = _function_of_bytecode(layer)
    if given == "pointwise":
        _check_pointwise(layer, shape)
        return keras.layers.Activation("linear", name=name)
    if isinstance(given, type) and issubclass(given, keras.Layer):
        return given(name=name)
    if isinstance(given, keras.Layer):
        return given
    if not callable(given):
        raise ModelLoadError(
            argument="stand_ins",
            expected=f"for the Lambda {name_of(layer)!r} must be 'pointwise' or a function",
            received=repr(given),
        )
    arguments = plain(layer["config"].get("arguments") or {})
    return keras.layers.Lambda(given, arguments=arguments, name=name)


def _check_pointwise(layer: Config, shape: Shape) -> None:
    """Raises if what the file states of a Lambda shows that it is not pointwise."""
    if layer["class_name"] == "Merge" or (shape is not None and has_several(shape)):
        raise ModelLoadError(
            argument="stand_ins",
            expected=f"cannot be 'pointwise' for the Lambda {name_of(layer)!r}, which has several "
            "inputs",
            remedy=GIVE,
            received=f"{name_of(layer)}='pointwise'",
        )
    after = layer["config"].get("output_shape")
    before = None if shape is None else tuple(first_shape(shape))[1:]
    if not isinstance(after, list) or before is None:
        return
    # Some versions store the size of the batch with it.
    if before not in (tuple(after), tuple(after[1:])):
        raise ModelLoadError(
            argument="stand_ins",
            expected=f"cannot be 'pointwise' for the Lambda {name_of(layer)!r}, which changes the "
            f"shape of its input from {before} to {tuple(after)}",
            remedy=GIVE,
            received=f"{name_of(layer)}='pointwise'",
        )


def _function_of_bytecode(layer: Config) -> Callable[..., Any]:
    """The function in a Lambda's bytecode, which is run only if the user allows it."""
    from keras.src.utils import python_utils

    config = layer["config"]
    stored = config.get("function", config.get("mode"))
    if isinstance(stored, dict):
        inner = stored.get("config", {})
        stored = [inner.get(key) for key in ("code", "defaults", "closure")]
    try:
        function: Callable[..., Any] = python_utils.func_load(*stored)
    except Exception as error:
        raise ModelLoadError(
            expected=f"The bytecode of the Lambda {name_of(layer)!r} is not that of this Python",
            remedy=GIVE,
            received=reason_of(error),
        ) from error
    return function
