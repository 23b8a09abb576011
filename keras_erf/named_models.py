"""Models by name: a file, a `keras.applications` network, or one of the zoo."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_erf import zoo
from keras_erf.custom_code import NO_OPTIONS, FileOptions
from keras_erf.errors import InvalidInputError, KerasERFError, ModelLoadError
from keras_erf.files.errors import first_sentence
from keras_erf.files.kinds import Kind, NotAModelError, kind_of
from keras_erf.files.vetting import vetted_weights
from keras_erf.loading import keras_itself, load_model
from keras_erf.model_names import spelled
from keras_erf.quiet import import_quietly

__all__ = ["LoadedModel", "find_model", "load_quietly"]

# What the arguments of `keras_erf.load_model` are called here.
NAMES = {"path": "MODEL"}


@dataclass(frozen=True)
class LoadedModel:
    """A model with the name it was asked for by.

    Args:
        name: Short name, fit for a file name.
        model: The Keras model.
        preprocess: What its family does to a batch of images with values 0 to
            255 before the model sees them; `None` if nothing is known.
    """

    name: str
    model: Any
    preprocess: Callable[[Any], Any] | None


def find_model(
    name: str,
    *,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    opening: FileOptions = NO_OPTIONS,
    need_weights: bool = True,
) -> LoadedModel:
    """Loads a model file, or builds a network of `keras.applications` or of the zoo.

    Args:
        name: A model file of any age, the name of a `keras.applications` network, or a name
            of the zoo; names in any case.
        weights: For a network of `keras.applications`: `"imagenet"` (default),
            `"none"` or a weights file. For the zoo: `"trained"` (default where
            shipped), `"initial"` or `"none"`. For a file: `"none"` or a weights file.
        options: Keyword arguments of the zoo's builder.
        opening: How a model file is opened.
        need_weights: `False` where any weights do, so that nothing is downloaded.

    Raises:
        ModelLoadError: The file is no model or would run code, or the weights
            cannot be had.
        InvalidInputError: There is no model of that name.
        BackendError: Keras's backend cannot be imported.
    """
    name = spelled(name)
    keras, path = keras_itself(), Path(name)
    in_zoo = name in zoo.available()
    in_keras = name[:1].isupper() and hasattr(keras.applications, name)
    # A folder may be called like a model: the one an earlier call left its pictures in.
    if path.is_file() or not (in_zoo or in_keras):
        _refuse(f"a model file ({path.name})", options=options)
        if weights is None and not need_weights and _without_weights(path):
            weights = "none"
        try:
            model = load_model(
                path,
                weights=weights,
                custom_objects=opening.custom_objects,
                stand_ins=opening.stand_ins,
                unsafe=opening.unsafe,
            )
        except KerasERFError as error:
            raise error.renamed(NAMES) from error
        return LoadedModel(path.stem, model, None)
    if in_zoo:
        return _from_zoo(name, weights, dict(options or {}))
    _refuse(f"a keras.applications network ({name})", options=options)
    return _from_applications(keras, name, weights or ("imagenet" if need_weights else "none"))


def _without_weights(path: Path) -> bool:
    """Whether a file holds an architecture alone."""
    try:
        return kind_of(path) is Kind.JSON
    except (NotAModelError, OSError):
        return False


def load_quietly(
    name: str,
    weights: str | None,
    options: Mapping[str, Any],
    opening: FileOptions,
    *,
    need_weights: bool = True,
) -> LoadedModel:
    """As `find_model`, for commands: standard output is the result's alone."""
    # A mistyped name is refused before TensorFlow is imported.
    name = spelled(name)
    import_quietly()
    # Keras reports downloads on standard output.
    with redirect_stdout(sys.stderr):
        return find_model(
            name, weights=weights, options=options, opening=opening, need_weights=need_weights
        )


def _refuse(what: str, **arguments: Any) -> None:
    for option, value in arguments.items():
        if value:
            raise InvalidInputError(
                argument=option,
                expected=f"is not for {what}",
                remedy="leave it out",
                received=f"{option}={value!r}",
            )


class _Downloads(io.TextIOBase):
    """Keras's report of downloads, without the line that announces them, on standard error."""

    def write(self, text: str) -> int:
        if not text.startswith("Downloading data from"):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _from_zoo(name: str, weights: str | None, options: dict[str, Any]) -> LoadedModel:
    shipped = zoo.weights(name)
    if weights not in (None, "none", *shipped):
        raise InvalidInputError(
            argument="weights",
            expected=f"of {name!r} must be {' or '.join(map(repr, ('none', *shipped)))}",
            received=f"weights={weights!r}",
        )
    if weights == "none" or (weights is None and not shipped):
        model = zoo.build(name, **options)
    else:
        model = zoo.load(name, weights=weights or "trained", **options)
    return LoadedModel(name, model, zoo.preprocess_input(name))


@contextmanager
def _drawn_alike() -> Iterator[None]:
    """Weights that Keras draws inside are the same each time: it seeds them by Python's `random`.

    So measurements of an untrained network can be resumed and repeated.
    """
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


def _from_applications(keras: Any, name: str, weights: str) -> LoadedModel:
    build = getattr(keras.applications, name)
    source = None if weights == "none" else weights
    try:
        if source is not None and Path(source).is_file():
            vetted_weights(Path(source))
        # Announced, a download that fails would take two lines of the user's.
        with redirect_stdout(_Downloads()), _drawn_alike():
            model = build(weights=source)
    except Exception as error:
        if source is None:
            raise
        received = f"weights={source!r}: {first_sentence(error)[:200]}"
        if source == "imagenet":
            raise ModelLoadError(
                expected=f"The ImageNet weights of {name} cannot be downloaded",
                remedy="build it untrained with --weights none, or give a model or weights file",
                received=received,
            ) from error
        raise ModelLoadError(
            argument="weights",
            expected=f"must be 'imagenet', 'none' or a weights file of {name}",
            received=received,
        ) from error
    return LoadedModel(
        name, model, getattr(sys.modules[build.__module__], "preprocess_input", None)
    )
