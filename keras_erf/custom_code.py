"""Layers and functions of the user's own, from Python files, for models that need them."""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_erf.errors import InvalidInputError
from keras_erf.quiet import import_quietly

__all__ = ["NO_OPTIONS", "FileOptions", "read_opening"]


@dataclass(frozen=True)
class FileOptions:
    """How a model file is opened; see `keras_erf.load_model`."""

    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    stand_ins: Mapping[str, Any] = field(default_factory=dict)
    unsafe: bool = False


NO_OPTIONS = FileOptions()


def read_opening(
    custom: Iterable[str | os.PathLike[str]] | None,
    stand_ins: Iterable[str] | None,
    unsafe: bool,
) -> FileOptions:
    """How a model file is opened, from texts.

    Args:
        custom: Python files with the model's own classes and functions; they are run.
        stand_ins: `NAME=pointwise` or `NAME=FUNCTION` for `Lambda` layers.
        unsafe: Whether code in the model file may be run.

    Raises:
        InvalidInputError: A file is missing or fails, or a text is of another form.
    """
    objects: dict[str, Any] = {}
    for file in custom or ():
        objects |= _objects_of(Path(file))
    return FileOptions(objects, _stand_ins(stand_ins or (), objects), unsafe)


def _objects_of(file: Path) -> dict[str, Any]:
    """The classes and functions that a Python file defines or imports, and registers with Keras."""
    if not file.is_file():
        raise InvalidInputError(
            argument="custom_objects",
            expected="must be an existing Python file",
            received=repr(str(file)),
        )
    module = _run(file)
    import keras

    registered = {
        name: value
        for name, value in keras.saving.get_custom_objects().items()
        if getattr(value, "__module__", None) == module.__name__
    }
    named = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isroutine(value))
    }
    return {**named, **registered}


def _run(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"custom_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InvalidInputError(
            argument="custom_objects",
            expected="must be a Python file, .py",
            received=repr(str(file)),
        )
    module = importlib.util.module_from_spec(spec)
    # The file imports Keras, whose notes at the start would come before the result.
    import_quietly()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # It is the user's own code.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInputError(
            argument="custom_objects",
            expected=f"must be a Python file that runs: {type(error).__name__}: {reason[:200]}",
            remedy="run it with python to see where it fails",
            received=repr(str(file)),
        ) from error
    return module


def _stand_ins(texts: Iterable[str], objects: dict[str, Any]) -> dict[str, Any]:
    stand_ins = {}
    for text in texts:
        name, _, what = text.partition("=")
        if not name or not (what == "pointwise" or callable(objects.get(what))):
            raise InvalidInputError(
                argument="stand_ins",
                expected="must be NAME=pointwise, or NAME=FUNCTION of a custom file",
                received=repr(text),
            )
        stand_ins[name] = what if what == "pointwise" else objects[what]
    return stand_ins
