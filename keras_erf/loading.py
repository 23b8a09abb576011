"""Opens model files of every age as Keras 3 models."""

from __future__ import annotations

import copy
import importlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_erf.errors import BackendError, InvalidInputError, ModelLoadError
from keras_erf.files.errors import file_errors
from keras_erf.files.kinds import Kind, NotAModelError, kind_of
from keras_erf.files.vetting import check_config
from keras_erf.legacy.keras3_classes import unknown_of
from keras_erf.legacy.keras3_lambdas import (
    POINTWISE,
    lambda_names,
    with_stand_ins,
    without_lambdas,
)
from keras_erf.legacy.missing_code import lambdas_without_function, unknown_layers
from keras_erf.legacy.reading.sources import (
    Source,
    StoredWeights,
    read_source,
    read_weights_file,
)
from keras_erf.legacy.weights.assigning import WeightsError, assign_weights
from keras_erf.legacy.weights.targets import Target, targets_of_model, targets_of_order

__all__ = ["StandIn", "keras_itself", "load_model", "quietly"]

# Files need not hold the states of random generators and recurrent layers.
MOST_UNSTORED = 1 << 24

StandIn = str | Callable[..., Any]


def load_model(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, StandIn] | None = None,
    unsafe: bool = False,
) -> Any:
    """Opens a model file of any age as a Keras 3 model.

    What a file is follows from its content, never from its name: whole models in HDF5 of Keras 1,
    Keras 2, tf.keras and Keras 3; archives of tf.keras and Keras 3 (`.keras`); an architecture in
    JSON, with `weights`; SavedModel folders of tf.keras. Nothing in the file is run.

    Example:

    ```python
    model = keras_erf.load_model("old.h5")
    model = keras_erf.load_model("model.json", weights="weights.h5")
    model = keras_erf.load_model("car.h5", stand_ins={"lambda_1": "pointwise"})
    ```

    Args:
        path: The file, or the folder of a SavedModel.
        weights: The file of the weights, where `path` holds an architecture alone: HDF5 of any age,
            a whole model, or a TensorFlow checkpoint. With a whole model, they replace its own.
            `"none"` leaves the model untrained.
        custom_objects: Classes and functions by the name that the file has for them.
        stand_ins: What stands for each `Lambda` layer, by its name: a function of tensors, or
            `"pointwise"` for one that works on each value alone. Fields are then right, and the
            effective map is right up to a factor.
        unsafe: Whether the Python code in the file may be run.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ModelLoadError: The file holds no model that can be opened, would run code, or has layers
            that are not Keras's own.
        InvalidInputError: An argument is of the wrong type.
        BackendError: Keras's backend cannot be imported.
    """
    file = _checked_path(path, "path")
    from_file = None if weights in (None, "none") else _checked_path(weights, "weights")
    _check_stand_ins(stand_ins)
    keras_itself()
    # Keras finds the zoo's own initialiser once it is registered.
    importlib.import_module("keras_erf.models.weak_centre")
    own = None if from_file is None else _read_weights(from_file)
    with quietly(), file_errors(file):
        source = read_source(file, kind_of(file), unsafe=True)
        if source.config is None:
            raise _no_architecture(source)
        if own is None and source.weights is None and weights is None:
            raise NotAModelError(
                "an architecture without weights",
                'give the file of its weights as `weights`, or "none" to leave it untrained',
            )
        opened = _Opened(
            source, source.config, own, weights == "none", dict(custom_objects or {}),
            dict(stand_ins or {}), unsafe,
        )  # fmt: skip
        return _old_model(opened) if source.old else _keras3_model(opened, file)


@dataclass(frozen=True)
class _Opened:
    """A file that was read, and what the user asks for.

    Args:
        source: The file.
        config: The model's configuration in it.
        weights: Weights from another file; `None` to take those of the source.
        untrained: Whether the model keeps the weights that Keras draws.
        custom: Classes and functions by name.
        stand_ins: What stands for Lambda layers, by name.
        unsafe: Whether code in the file may run.
    """

    source: Source
    config: dict[str, Any]
    weights: StoredWeights | None
    untrained: bool
    custom: dict[str, Any]
    stand_ins: dict[str, StandIn]
    unsafe: bool


def _no_architecture(source: Source) -> NotAModelError:
    if source.weights is not None and source.weights() is not None:
        return NotAModelError(
            "weights alone, without the architecture",
            "give the architecture as JSON, with this file as `weights`",
        )
    return NotAModelError("an HDF5 file that Keras did not write", "name a model file of Keras")


def _old_model(opened: _Opened) -> Any:
    """The translated model of a file of Keras 1 or 2."""
    from keras_erf.graph import count_made
    from keras_erf.legacy.architecture import Architecture, Built
    from keras_erf.legacy.building import build

    source = opened.source
    if not opened.unsafe:
        check_config(opened.config, old=True)
    architecture = Architecture(opened.config, source.version, source.backend)
    custom = {**_application_layers(), **opened.custom}

    def translated() -> Built:
        return build(
            architecture, custom_objects=custom, stand_ins=opened.stand_ins, unsafe=opened.unsafe
        )

    if source.stored is not None and not opened.unsafe and opened.weights is None:
        _check_count(count_made(lambda: translated().model), source.stored)
    built = translated()
    if not opened.untrained:
        _assign(targets_of_order(built.order), opened)
    return built.model


def _assign(targets: Sequence[Target], opened: _Opened) -> None:
    """Sets the weights of a model that was built.

    Raises:
        ModelLoadError: Those of another file are not the model's.
        WeightsError: Those of its own file are not.
    """
    stored = opened.weights or opened.source.stored_weights()
    try:
        assign_weights(targets, stored.weights, stored.backend or opened.source.backend)
    except WeightsError as error:
        if opened.weights is None:
            raise
        raise ModelLoadError(
            argument="weights",
            expected="must be weights of this architecture",
            received=str(error),
        ) from error


def _application_layers() -> dict[str, Any]:
    """Layers that networks of `keras.applications` define for themselves, by class."""
    from keras.src.applications import convnext, inception_resnet_v2

    own = {name: getattr(convnext, name) for name in ("LayerScale", "StochasticDepth")}
    return {**own, "CustomScaleLayer": inception_resnet_v2.CustomScaleLayer}


def _keras3_model(opened: _Opened, file: Path) -> Any:
    """The model of a file of Keras 3."""
    import keras

    from keras_erf.graph import built_from, count_made

    hdf5 = opened.source.kind is Kind.HDF5
    config, custom, stand_ins = opened.config, dict(opened.custom), dict(opened.stand_ins)
    stand_ins |= {name: custom[name] for name in lambda_names(config) if name in custom}
    if stand_ins:
        config, functions = with_stand_ins(config, stand_ins)
        custom |= functions

    def built(unsafe: bool = False) -> Any:
        own = copy.deepcopy(config)
        return built_from(own, legacy=hdf5, custom_objects=custom, unsafe=unsafe)

    if not opened.unsafe:
        left = lambda_names(config, set(stand_ins))
        if left:
            raise lambdas_without_function(left)
        check_config(without_lambdas(config), old=False)
        unknown = unknown_of(config, custom)
        if unknown:
            raise unknown_layers(unknown)
        if opened.source.stored is not None:
            _check_count(count_made(built), opened.source.stored)
    whole = opened.source.kind is not Kind.JSON and opened.weights is None
    if whole and not stand_ins and not opened.untrained:
        how = {"custom_objects": custom} if custom else {}
        with _with_suffix(file, ".h5" if hdf5 else ".keras") as named:
            return keras.models.load_model(named, compile=False, safe_mode=not opened.unsafe, **how)
    model = built(opened.unsafe)
    if not opened.untrained:
        _assign(targets_of_model(model), opened)
    return model


@contextmanager
def _with_suffix(file: Path, suffix: str) -> Iterator[Path]:
    """The file under a name that Keras recognises."""
    if file.suffix == suffix:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        try:
            link.symlink_to(file.resolve())
        except OSError:  # Windows lets few users make links.
            shutil.copyfile(file, link)
        yield link


def _read_weights(file: Path) -> StoredWeights:
    with quietly(), file_errors(file, "weights"):
        return read_weights_file(file)


def _check_count(weights: int | None, stored: int) -> None:
    if weights is not None and weights > stored + MOST_UNSTORED:
        raise ValueError(f"it asks for {weights} weights, and holds {stored}")


def _checked_path(path: Any, argument: str) -> Path:
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


def _check_stand_ins(stand_ins: Any) -> None:
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


@contextmanager
def quietly() -> Iterator[None]:
    """Silences what Keras and TensorFlow warn of while an old file is read: users cannot act on it.

    Python's warnings and the loggers of TensorFlow are as before at the end.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
