"""Checks of what the user gives, before a file is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_erf.errors import BackendError, InvalidInputError, ModelLoadError
from keras_erf.legacy.keras3_lambdas import POINTWISE

__all__ = ["check_custom_objects", "check_stand_ins", "checked_path", "keras_itself"]


def checked_path(path: Any, argument: str) -> Path:
    """The path of something that exists.

    Raises:
        InvalidInputError: It is no path.
        ModelLoadError: There is nothing there.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError(
            argument=argument,
            expected="must be the path of a file",
            received=f"{argument}={path!r}"[:200],
        )
    file = Path(path)
    # A checkpoint of TensorFlow is named without its suffixes.
    if not file.exists() and not (argument == "weights" and Path(f"{file}.index").is_file()):
        raise ModelLoadError(
            argument=argument, expected="must be an existing file", received=repr(str(file))
        )
    return file


def check_stand_ins(stand_ins: Any) -> None:
    """Raises `InvalidInputError` unless Lambda layers have functions, or `"pointwise"`."""
    held = stand_ins or {}
    if not isinstance(held, Mapping) or not all(
        isinstance(name, str) and (value == POINTWISE or callable(value))
        for name, value in held.items()
    ):
        raise InvalidInputError(
            argument="stand_ins",
            expected=f"must give for each Lambda layer's name {POINTWISE!r} or a function",
            received=f"stand_ins={stand_ins!r}"[:200],
        )


def check_custom_objects(custom_objects: Any) -> None:
    """Raises `InvalidInputError` unless classes and functions are given by name."""
    objects = custom_objects or {}
    if not isinstance(objects, Mapping) or not all(
        isinstance(name, str) and callable(value) for name, value in objects.items()
    ):
        raise InvalidInputError(
            argument="custom_objects",
            expected="must give classes and functions by name",
            received=f"custom_objects={custom_objects!r}"[:200],
        )


def keras_itself() -> Any:
    """Keras.

    Raises:
        BackendError: Its backend cannot be imported.
    """
    try:
        import keras
    except ImportError as error:
        raise BackendError(
            expected="Keras cannot start its backend",
            remedy="Set the environment variable KERAS_BACKEND=tensorflow",
            received=str(error),
        ) from error
    return keras
