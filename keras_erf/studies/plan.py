"""The plan of a study: many models, layers, units, definitions and seeds."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_erf.algebra.geometry import as_index
from keras_erf.definitions import get_definition
from keras_erf.errors import InvalidInputError
from keras_erf.inputs.images import folder_digest
from keras_erf.inputs.sources import NOISE
from keras_erf.measuring.settings import Settings

__all__ = ["WEIGHTS", "ModelEntry", "Study", "Task", "content_of", "images_of", "read_study"]

Unit = tuple[int, ...] | Literal["center"]

# Names of weights, which take precedence over files; see `load_model`.
WEIGHTS = ("imagenet", "initial", "none", "trained")


@dataclass(frozen=True)
class ModelEntry:
    """A model of a study, by reference: never an object or code.

    Args:
        source: A `.keras` or `.h5` file, a network of `keras.applications`, or one of the zoo.
        weights: As in `keras-erf analyze --weights`; `None` is the source's default.
        options: Options of the zoo's builder.
        layers: Names of layers; if empty, the last layer with more than one position.
        input_shape: Spatial sizes of the input; `None` is the model's own.
        unsafe: Whether the file may run the Python code it carries.
        custom: Python files with layers of the model's own.
        stand_ins: What stands for `Lambda` layers, as in `keras-erf analyze --lambda`.
    """

    source: str
    weights: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    input_shape: tuple[int, ...] | None = None
    unsafe: bool = False
    custom: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, options = self.input_shape, _plain(self.options)
        wanted = {
            "source": ("a model's file or name", isinstance(self.source, str) and self.source),
            "weights": ("a text", self.weights is None or isinstance(self.weights, str)),
            "options": (
                "a table of texts, numbers, true or false, lists and tables",
                isinstance(options, dict),
            ),
            "layers": ("a list of names of layers", _is_texts(self.layers)),
            "input_shape": (
                "sizes such as [224, 224]",
                shape is None
                or (isinstance(shape, tuple) and all(_is_whole(size, 1) for size in shape)),
            ),
            "unsafe": ("true or false", isinstance(self.unsafe, bool)),
            "custom": ("a list of Python files", _is_texts(self.custom)),
            "stand_ins": ('texts such as "lambda_1=pointwise"', _is_texts(self.stand_ins)),
        }
        for name, (what, fits) in wanted.items():
            if not fits:
                raise InvalidInputError(
                    argument=name,
                    expected=f"of a model must be {what}",
                    received=repr(getattr(self, name)),
                )
        object.__setattr__(self, "options", options)
        if shape is not None:
            object.__setattr__(self, "input_shape", tuple(map(int, shape)))


@dataclass(frozen=True)
class Task:
    """One probe of a study, made of plain values, so that it can be sent to any process.

    Args:
        name: Name of the model in the study.
        model: Source of the model.
        content: Digest of the model's file; empty for models that are built.
        layer: Name of the layer; `None` is the last one with more than one position.
        unit: Index of the unit, or `"center"`.
        definition: Name of a definition.
        seed: Seed of the noise.
        inputs: A kind of noise, or a folder of images.
        samples: Number of samples; `None` is the default.
        tolerance: As in `probe`.
        weights_content: Digest of the file of weights; empty for weights by name.
        inputs_content: Digest of the folder of images; empty for noise.
        calibrate: As in `probe`.
    """

    name: str
    model: ModelEntry
    content: str
    layer: str | None
    unit: Unit
    definition: str
    seed: int
    inputs: str
    samples: int | None
    tolerance: float | None
    weights_content: str = ""
    inputs_content: str = ""
    calibrate: bool = False

    @cached_property
    def key(self) -> str:
        """Digest of all that the result depends on: the name is not among it."""
        about = asdict(self)
        model = about["model"]
        # A task has its own layer.
        del about["name"], model["layers"], model["unsafe"]
        # Keys of models that need none are those of versions without them.
        for name in ("custom", "stand_ins"):
            if not model[name]:
                del model[name]
        # A file is what it holds, wherever it lies.
        if self.content:
            del model["source"]
        if self.weights_content:
            del model["weights"]
        if self.inputs_content:
            del about["inputs"]
        # Keys of uncalibrated tasks are those of versions that could not calibrate.
        if not self.calibrate:
            del about["calibrate"]
        text = json.dumps(about, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Study:
    """The product of all choices: each layer of each model, for each unit, definition and seed.

    Examples:
        >>> models = {"small": keras_erf.studies.ModelEntry("cifar_resnet14")}
        >>> len(keras_erf.studies.Study(models, seeds=(0, 1, 2)).tasks())
        3

    Args:
        models: Models by name.
        units: Indices, or `"center"`.
        definitions: Names of definitions.
        seeds: Seeds of the noise.
        inputs: A kind of noise, or a folder of images.
        samples: Number of samples of each probe; `None` is the default.
        tolerance: As in `probe`.
        calibrate: As in `probe`.

    Raises:
        InvalidInputError: A value is invalid.
    """

    models: Mapping[str, ModelEntry]
    units: Sequence[Unit] = ("center",)
    definitions: Sequence[str] = ("luo2016",)
    seeds: Sequence[int] = (0,)
    inputs: str = "normal"
    samples: int | None = None
    tolerance: float | None = None
    calibrate: bool = False

    def __post_init__(self) -> None:
        models = self.models
        named = isinstance(models, Mapping) and models
        if not (named and all(isinstance(model, ModelEntry) for model in models.values())):
            raise InvalidInputError(
                argument="models",
                expected="must name at least one model, each a `ModelEntry`",
                received=f"models={models!r}",
            )
        for name in ("units", "definitions", "seeds"):
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise InvalidInputError(
                    argument=name,
                    expected="must be a list of at least one",
                    received=f"{name}={values!r}",
                )
        for definition, seed in itertools.product(self.definitions, self.seeds):
            # By name only: a custom definition could not be sent to other processes.
            Settings(
                definition=get_definition(str(definition)),
                seed=seed,
                samples=self.samples,
                tolerance=self.tolerance,
                calibrate=self.calibrate,
            )
        for unit in self.units:
            # A single number would be an index of a unit, not a unit.
            indices = as_index(unit) if isinstance(unit, (list, tuple, np.ndarray)) else ()
            whole = bool(indices) and all(_is_whole(index, 0) for index in indices)
            if not whole and not (isinstance(unit, str) and unit == "center"):
                raise InvalidInputError(
                    argument="units",
                    expected="must be 'center' or indices such as [7, 7]",
                    received=repr(unit),
                )
        text = isinstance(self.inputs, (str, os.PathLike))
        if not text or (self.inputs not in NOISE and not Path(self.inputs).is_dir()):
            raise InvalidInputError(
                argument="inputs",
                expected=f"must be one of {', '.join(NOISE)}, or a folder of images",
                received=f"inputs={self.inputs!r}",
            )
        # Plain values: the key of a task is made of JSON.
        plain = {
            "units": tuple(
                unit if isinstance(unit, str) else tuple(map(int, as_index(unit)))
                for unit in self.units
            ),
            "definitions": tuple(map(str, self.definitions)),
            "seeds": tuple(map(int, self.seeds)),
            "inputs": os.fspath(self.inputs),
            "samples": None if self.samples is None else int(self.samples),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def tasks(self) -> list[Task]:
        """Returns all probes, each once, grouped by model."""
        found: dict[str, Task] = {}
        images = images_of(self.inputs)
        for name, model in self.models.items():
            content, weights = content_of(model.source), content_of(model.weights, WEIGHTS)
            layers: tuple[str | None, ...] = model.layers or (None,)
            for layer, unit, definition, seed in itertools.product(
                layers, self.units, self.definitions, self.seeds
            ):
                task = Task(
                    name,
                    model,
                    content,
                    layer,
                    unit,
                    definition,
                    seed,
                    self.inputs,
                    self.samples,
                    self.tolerance,
                    weights,
                    images,
                    self.calibrate,
                )
                found.setdefault(task.key, task)
        return list(found.values())


def read_study(path: str | os.PathLike[str]) -> Study:
    """Reads a study from a TOML file.

    ```toml
    seeds = [0, 1]
    definitions = ["luo2016", "luo2016-squared"]
    samples = 64

    [models.small]
    source = "cifar_resnet14"
    layers = ["stage2_block2_out", "stage3_block2_out"]
    input_shape = [64, 64]

    [models.mine]
    source = "mine.keras"
    ```

    Paths are relative to the file. A file takes precedence over the name of a model, but the
    names of noise and weights take precedence over files.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("study.toml").write_text('models.small.source = "cifar_resnet14"')
        >>> keras_erf.studies.read_study("study.toml").seeds
        (0,)

    Raises:
        InvalidInputError: The file cannot be read, or has other contents.
    """
    file = Path(path)
    try:
        held = _parse(file.read_bytes().decode("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InvalidInputError(
            argument="path", expected=f"must be a study in TOML: {reason}", received=repr(str(path))
        ) from error
    tables = held.pop("models", None)
    if not isinstance(tables, dict) or not all(
        isinstance(table, dict) for table in tables.values()
    ):
        raise InvalidInputError(
            argument="path",
            expected="must have a table for each model, such as [models.small] with a `source`",
            received=repr(str(path)),
        )
    _check_names(held, Study, "the study")
    # Absolute: a folder `./normal` would be mistaken for the noise of that name.
    folder = file.parent.absolute()
    models = {}
    for name, table in tables.items():
        _check_names(table, ModelEntry, f"models.{name}")
        given = {"source": "", **table}
        for key in ("layers", "input_shape", "custom", "stand_ins"):
            if isinstance(given.get(key), list):
                given[key] = tuple(given[key])
        for key, known in (("source", ()), ("weights", WEIGHTS)):
            if isinstance(given.get(key), str) and given[key] not in known:
                given[key] = _placed(given[key], folder)
        try:
            models[name] = ModelEntry(**given)
        except InvalidInputError as error:
            raise InvalidInputError(expected=f"models.{name}: {error}") from error
    if isinstance(held.get("inputs"), str) and held["inputs"] not in NOISE:
        held["inputs"] = str(folder / held["inputs"])
    return Study(models, **held)


def _is_whole(number: Any, least: int) -> bool:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    return bool(whole and number >= least)


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _plain(value: Any) -> Any:
    """A value as JSON stores it, with NumPy values as Python ones; `None` if JSON cannot."""

    def as_list(item: Any) -> Any:
        if isinstance(item, (np.generic, np.ndarray)):
            return item.tolist()
        raise TypeError

    try:
        return json.loads(json.dumps(value, default=as_list))
    except (TypeError, ValueError):
        return None


def _parse(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    return tomllib.loads(text)


def _check_names(held: Mapping[str, Any], kind: type, where: str) -> None:
    known = [member.name for member in fields(kind)]
    for name in held:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise InvalidInputError(
                argument=name,
                expected=f"is no key of {where}; these are: {', '.join(known)}",
                remedy=f"Did you mean {near[0]!r}?" if near else None,
                received=f"{name} = {held[name]!r}",
            )


def _placed(source: str, folder: Path) -> str:
    """The path of a file relative to the study, or the name unchanged."""
    return str(folder / source) if (folder / source).is_file() else source


def content_of(path: str | None, names: Sequence[str] = ()) -> str:
    """Digest of a file; empty if it is not a file, or a name that takes precedence over files."""
    if path is None or path in names or not Path(path).is_file():
        return ""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def images_of(inputs: str) -> str:
    """Digest of a folder of images; empty for noise."""
    return "" if inputs in NOISE else folder_digest(Path(inputs))
