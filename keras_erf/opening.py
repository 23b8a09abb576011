"""Opens model files of every age as Keras 3 models."""

from __future__ import annotations

import copy
import importlib
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_erf.custom_code import NO_OPTIONS, FileOptions
from keras_erf.errors import BackendError, InvalidInputError, KerasERFError, ModelLoadError
from keras_erf.files.kinds import Kind, NotAModelError, kind_of
from keras_erf.files.vetting import CarriesCodeError, check_config
from keras_erf.files.writing import written_whole
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
from keras_erf.legacy.weights.assigning import assign_weights
from keras_erf.legacy.weights.targets import targets_of_model, targets_of_order

__all__ = ["convert_model", "keras_itself", "load_model", "quietly"]

# Files need not hold the states of random generators and recurrent layers.
MOST_UNSTORED = 1 << 24
# Of a converted file's predictions, as a share of their range.
MOST_DIFFERENCE = 1e-5
# What the check takes for a size that the model leaves open.
FREE_SIZE = 64

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
    file = checked_path(path, "path")
    from_file = None if weights in (None, "none") else checked_path(weights, "weights")
    _check_stand_ins(stand_ins)
    keras = keras_itself()
    # Keras finds the zoo's own initialiser once it is registered.
    importlib.import_module("keras_erf.models.weak_centre")
    custom, stand = dict(custom_objects or {}), dict(stand_ins or {})
    with quietly(), _one_line(file):
        source = read_source(file, kind_of(file), unsafe=True)
        if source.config is None:
            raise _no_architecture(source)
        own = None if from_file is None else _read_weights(from_file)
        if own is None and source.weights is None and weights is None:
            raise NotAModelError(
                "an architecture without weights",
                'give the file of its weights as `weights`, or "none" to leave it untrained',
            )
        if source.old:
            model = _old_model(source, own, weights == "none", custom, stand, unsafe)
        else:
            model = _model(keras, file, source, own, weights == "none", custom, stand, unsafe)
    return model


def _no_architecture(source: Source) -> NotAModelError:
    if source.weights is not None and source.weights() is not None:
        return NotAModelError(
            "weights alone, without the architecture",
            "give the architecture as JSON, with this file as `weights`",
        )
    return NotAModelError("an HDF5 file that Keras did not write", "name a model file of Keras")


def _old_model(
    source: Source,
    own: StoredWeights | None,
    untrained: bool,
    custom: dict[str, Any],
    stand_ins: dict[str, StandIn],
    unsafe: bool,
) -> Any:
    """The translated model of a file of Keras 1 or 2."""
    from keras_erf.graph import count_made
    from keras_erf.legacy.architecture import Architecture
    from keras_erf.legacy.building import build

    if not unsafe:
        check_config(source.config, old=True)
    architecture = Architecture(source.config, source.version, source.backend)
    custom = {**_application_layers(), **custom}

    def translated() -> Any:
        return build(architecture, custom_objects=custom, stand_ins=stand_ins, unsafe=unsafe)

    if source.stored is not None and not unsafe and own is None:
        _check_count(count_made(lambda: translated().model), source.stored)
    done = translated()
    if untrained:
        return done.model
    stored = own if own is not None else source.stored_weights()
    assign_weights(targets_of_order(done.order), stored.weights, stored.backend or source.backend)
    return done.model


def _application_layers() -> dict[str, Any]:
    """Layers that networks of `keras.applications` define for themselves, by class."""
    from keras.src.applications import convnext, inception_resnet_v2

    own = {name: getattr(convnext, name) for name in ("LayerScale", "StochasticDepth")}
    return {**own, "CustomScaleLayer": inception_resnet_v2.CustomScaleLayer}


def _model(
    keras: Any,
    file: Path,
    source: Source,
    own: StoredWeights | None,
    untrained: bool,
    custom: dict[str, Any],
    stand_ins: dict[str, StandIn],
    unsafe: bool,
) -> Any:
    """The model of a file of Keras 3."""
    from keras_erf.graph import built_from, count_made

    hdf5 = source.kind is Kind.HDF5
    config = source.config
    stand_ins |= {name: custom[name] for name in lambda_names(config) if name in custom}
    if stand_ins:
        config, functions = with_stand_ins(config, stand_ins)
        custom |= functions
    if not unsafe:
        left = lambda_names(config, set(stand_ins))
        if left:
            raise lambdas_without_function(left)
        check_config(without_lambdas(config), old=False)
        unknown = unknown_of(config, custom)
        if unknown:
            raise unknown_layers(unknown)
        if source.stored is not None:
            count = count_made(
                lambda: built_from(copy.deepcopy(config), legacy=hdf5, custom_objects=custom)
            )
            _check_count(count, source.stored)
    if source.kind is Kind.JSON or stand_ins or own is not None or untrained:
        model = built_from(copy.deepcopy(config), legacy=hdf5, custom_objects=custom, unsafe=unsafe)
        if not untrained:
            stored = own if own is not None else source.stored_weights()
            assign_weights(targets_of_model(model), stored.weights, stored.backend)
        return model
    how = {"custom_objects": custom} if custom else {}
    with _named(file, ".h5" if hdf5 else ".keras") as named:
        return keras.models.load_model(named, compile=False, safe_mode=not unsafe, **how)


# --- Arguments -----------------------------------------------------------------------------------


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
    """Keras; raises a clear error where it cannot be imported."""
    try:
        import keras
    except ImportError as error:
        raise BackendError(
            f"Keras cannot start its backend: {error}. Set the environment variable "
            "KERAS_BACKEND=tensorflow"
        ) from error
    return keras


def _read_weights(file: Path) -> StoredWeights:
    with _one_line(file, "weights"):
        return read_weights_file(file)


@contextmanager
def _named(file: Path, suffix: str) -> Iterator[Path]:
    """The file under a name that Keras recognises."""
    if file.suffix == suffix:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        try:
            link.symlink_to(file.resolve())
        except OSError:  # Windows allows it to few.
            import shutil

            shutil.copyfile(file, link)
        yield link


def _check_count(weights: int | None, stored: int) -> None:
    if weights is not None and weights > stored + MOST_UNSTORED:
        raise ValueError(f"it asks for {weights} weights, and holds {stored}")


# --- What is said --------------------------------------------------------------------------------


@contextmanager
def quietly() -> Iterator[None]:
    """What Keras and TensorFlow remark of an old file's arguments is not the user's to settle."""
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


@contextmanager
def _one_line(file: Path, argument: str = "path") -> Iterator[None]:
    """Turns whatever fails on a file into one line."""
    received = repr(str(file))
    try:
        yield
    except KerasERFError as error:
        text = str(error)
        if file.name in text:
            raise
        # The translator knows the model, not the file.
        head, _, held = text.partition("Received: ")
        raise type(error)(_printable(f"{head}Received: {received}: {held}")) from error
    except NotAModelError as error:
        raise ModelLoadError(
            argument=argument,
            expected=f"must be a model of Keras, and this is {error.what}",
            remedy=error.remedy,
            received=received,
        ) from error
    except CarriesCodeError as error:
        raise ModelLoadError(
            "Loading the model would run Python code or read files that it names: "
            f"{error}. If you trust its source, allow that with `--unsafe` (in Python, "
            f"`unsafe=True`). Received: {received}"
        ) from error
    except Exception as error:  # h5py, Keras and TensorFlow fail in many ways on a bad file.
        raise ModelLoadError(
            argument=argument,
            expected="must be a whole model saved by Keras",
            remedy="compare its size with that where it comes from, and download it again",
            received=f"{received}: {_reason(error)}",
        ) from error


def _printable(text: str) -> str:
    """A text without what a file may hide in names."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__:
        return "it needs more memory than there is"
    text = " ".join(str(error).split()) or type(error).__name__
    # Keras puts `None --` and the number before what the operating system says.
    plain = re.sub(r"(None -- )?\[Errno -?\d+\] ", "", text)
    return _printable(plain.partition(". ")[0][:300])


# --- Converting ----------------------------------------------------------------------------------


def convert_model(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    weights: str | None = None,
    opening: FileOptions = NO_OPTIONS,
) -> dict[str, Any]:
    """Writes a model file of any age as an archive of Keras 3, whole or not at all.

    The file is read again, and its predictions are compared with those of the translated model.

    Args:
        old: The file or folder.
        new: The file to write, `.keras`.
        weights: As for `load_model`.
        opening: How the file is opened.

    Returns:
        The names of both, the number of weights, the largest difference between predictions as a
        share of their range, and `notes` on what cannot be known.

    Raises:
        ModelLoadError: The old file cannot be opened, or the new one predicts something else.
        InvalidInputError: The new file cannot be written.
    """
    model = load_model(
        old,
        weights=weights,
        custom_objects=opening.custom_objects,
        stand_ins=opening.stand_ins,
        unsafe=opening.unsafe,
    )
    with written_whole(new) as temporary:
        with quietly():
            model.save(temporary)
        again = load_model(
            temporary,
            custom_objects={**opening.custom_objects, **_functions(opening.stand_ins)},
            unsafe=opening.unsafe,
        )
        difference = _difference(model, again)
        if difference is not None and difference > MOST_DIFFERENCE:
            raise ModelLoadError(
                argument="path",
                expected="is translated, but cannot be written so that Keras 3 reads it back: "
                f"predictions differ by {difference:.1g} of their range",
                remedy="use the old file directly",
                received=repr(str(old)),
            )
    return {
        "old": str(old),
        "new": str(new),
        "weights": int(model.count_params()),
        "difference": difference,
        "notes": [*_notes(difference, opening.stand_ins)],
    }


def _functions(stand_ins: Mapping[str, StandIn]) -> dict[str, Any]:
    return {name: value for name, value in stand_ins.items() if callable(value)}


def _difference(model: Any, again: Any) -> float | None:
    """The largest difference of predictions as a share of their range; `None` if neither runs."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    values = [
        random.integers(0, 2, shape) if "int" in tensor.dtype else random.normal(size=shape)
        for tensor in model.inputs
        for shape in [[size or FREE_SIZE for size in (1, *tensor.shape[1:])]]
    ]
    arrays = [
        value.astype(tensor.dtype) for value, tensor in zip(values, model.inputs, strict=True)
    ]
    call = arrays if len(arrays) > 1 else arrays[0]
    try:
        with quietly():
            both = [
                [np.asarray(one) for one in keras.tree.flatten(each(call, training=False))]
                for each in (model, again)
            ]
    except Exception:  # The size may not suit the layers, or the layers this machine.
        return None
    return max(
        float(np.max(np.abs(one - other), initial=0) / max(np.ptp(one), 1e-12))
        for one, other in zip(*both, strict=True)
    )


def _notes(difference: float | None, stand_ins: Mapping[str, StandIn]) -> Iterator[str]:
    if difference is None:
        yield "the model was not run: inputs of its own are needed"
    for name, value in stand_ins.items():
        if value == POINTWISE:
            yield f"{name} passes its input on unchanged; its own function is not in the new file"
    yield "the original was not run: compare with its predictions if there are any"
