"""A folder that keeps results as they come, so that a long run can be taken up again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.analysis._checks import refuse_masked
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.files.naming import file_name
from keras_erf.files.writing import written_whole
from keras_erf.graph import Graph, architecture
from keras_erf.measuring.settings import Settings
from keras_erf.results.effective import EffectiveReceptiveField, load
from keras_erf.samples.images import ImageFolder, folder_digest
from keras_erf.samples.sources import NOISE

__all__ = ["Store"]

MANIFEST = "profile.json"


class Store:
    """A folder with a file per layer, and one that tells what they are results of.

    It is made when there is something to put there.
    """

    def __init__(self, folder: Path, graph: Graph, weights: str, settings: Settings) -> None:
        self.folder, self.manifest = folder, folder / MANIFEST
        self.about = _about(graph, weights, settings)
        if folder.exists() and not folder.is_dir():
            raise InvalidInputError(
                f"`path` must be a folder; a file of that name is there. Received: {str(folder)!r}"
            )
        if self.manifest.exists():
            # Older versions could not calibrate.
            before = {"calibrate": False, **_read_json(self.manifest)}
            differ = [name for name in self.about if before.get(name) != self.about[name]]
            if differ:
                raise InvalidInputError(
                    f"`path` holds a profile with other {', '.join(differ)}: give another folder, "
                    f"or empty it. Received: path={str(folder)!r}"
                )

    def file(self, target: Target) -> Path:
        """Where a unit's result is kept."""
        field = target.receptive_field
        unit = "-".join(map(str, field.unit))
        name = file_name(field.layer, field.input, str(field.output_size))
        size = "x".join(map(str, field.input_size))
        return self.folder / f"{name}-unit-{unit}-of-{size}.npz"

    def read(self, target: Target) -> EffectiveReceptiveField | None:
        """The result of a unit, if it is there."""
        file = self.file(target)
        # A result that nothing tells the origin of is none of ours.
        if not (self.manifest.exists() and file.exists()):
            return None
        result = load(file)
        # The file knows its own unit; the model knows all of them, and the exact support.
        return replace(result, receptive_field=target.receptive_field)

    def write(self, target: Target, result: EffectiveReceptiveField) -> None:
        """Keeps the result of a unit."""
        if not self.manifest.exists():
            with written_whole(self.manifest) as temporary:
                temporary.write_text(json.dumps(self.about, indent=1), encoding="utf-8")
        result.save(self.file(target))


def _about(graph: Graph, weights: str, settings: Settings) -> dict[str, Any]:
    """What results depend on."""
    return {
        "model": _digest(repr(architecture(graph)).encode()),
        "weights": weights,
        "inputs": _told(settings.inputs),
        "samples": settings.samples,
        "tolerance": settings.tolerance,
        "seed": settings.seed,
        "definition": asdict(settings.definition),
        "training": settings.training,
        "calibrate": settings.calibrate,
    }


def _told(inputs: Any) -> str:
    """What samples are of; of a `tf.data.Dataset` no more than that it is one."""
    if isinstance(inputs, ImageFolder):
        return f"{_told(inputs.path)}, {_name(inputs.preprocess)}"
    if isinstance(inputs, str) and inputs in NOISE:
        return inputs
    if isinstance(inputs, (str, os.PathLike)):
        folder = Path(inputs)
        return f"images {folder_digest(folder)}" if folder.is_dir() else str(inputs)
    if isinstance(inputs, Mapping):
        return "; ".join(f"{name}: {_told(one)}" for name, one in inputs.items())
    if hasattr(inputs, "element_spec"):
        return type(inputs).__name__
    if isinstance(inputs, (list, tuple)):
        return "; ".join(map(_told, inputs))
    refuse_masked(inputs, "inputs")
    array = np.asarray(inputs)
    shape = "x".join(map(str, array.shape))
    return f"array {shape} {array.dtype} {_digest(np.ascontiguousarray(array).data)}"


def _name(function: Any) -> str:
    """A function by its place in the code, or by what it holds: never by its place in memory."""
    if function is None or is_dataclass(function):
        return repr(function)
    named = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{named}"


def _digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"`path` must be a folder of `profile`: {path.name} cannot be read ({error}). "
            f"Received: path={str(path.parent)!r}"
        ) from error
