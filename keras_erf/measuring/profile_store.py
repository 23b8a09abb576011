"""The store of a profile: what its results depend on, and the file of each unit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.analysis._checks import refuse_masked
from keras_erf.fields.theoretical import Target
from keras_erf.files.naming import file_name
from keras_erf.graph import Graph, architecture
from keras_erf.inputs.images import ImageFolder, folder_digest
from keras_erf.inputs.sources import NOISE
from keras_erf.measuring.settings import Settings
from keras_erf.result_folders import Store, check_sum
from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["file_of", "read_kept", "store_of"]


def store_of(path: str | os.PathLike[str], graph: Graph, weights: str, settings: Settings) -> Store:
    """The store of a profile; raises if `path` holds another one."""
    return Store(Path(path), "profile.json", "a profile", _about(graph, weights, settings))


def file_of(target: Target) -> str:
    """The name of the file of a unit's result."""
    field = target.receptive_field
    unit = "-".join(map(str, field.unit))
    name = file_name(field.layer, field.input, str(field.output_size))
    size = "x".join(map(str, field.input_size))
    return f"{name}-unit-{unit}-of-{size}.npz"


def read_kept(store: Store, target: Target) -> EffectiveReceptiveField | None:
    """The result of a unit, if it is there."""
    result = store.load(file_of(target))
    # The file knows its own unit; the model knows all of them, and the exact support.
    return None if result is None else replace(result, receptive_field=target.receptive_field)


def _about(graph: Graph, weights: str, settings: Settings) -> dict[str, Any]:
    """What results depend on."""
    return {
        "model": check_sum(repr(architecture(graph)).encode(), 8),
        "weights": weights,
        "inputs": _inputs(settings.inputs),
        "samples": settings.samples,
        "tolerance": settings.tolerance,
        "seed": settings.seed,
        "definition": asdict(settings.definition),
        "training": settings.training,
        "calibrate": settings.calibrate,
    }


def _inputs(inputs: Any) -> str:
    """What samples are of; of a `tf.data.Dataset` only that it is one."""
    if isinstance(inputs, ImageFolder):
        return f"{_inputs(inputs.path)}, {_name(inputs.preprocess)}"
    if isinstance(inputs, str) and inputs in NOISE:
        return inputs
    if isinstance(inputs, (str, os.PathLike)):
        folder = Path(inputs)
        return f"images {folder_digest(folder)}" if folder.is_dir() else str(inputs)
    if isinstance(inputs, Mapping):
        return "; ".join(f"{name}: {_inputs(value)}" for name, value in inputs.items())
    if hasattr(inputs, "element_spec"):
        return type(inputs).__name__
    if isinstance(inputs, (list, tuple)):
        return "; ".join(map(_inputs, inputs))
    refuse_masked(inputs, "inputs")
    array = np.asarray(inputs)
    shape = "x".join(map(str, array.shape))
    return f"array {shape} {array.dtype} {check_sum(np.ascontiguousarray(array).data, 8)}"


def _name(function: Any) -> str:
    """A function by its place in the code, or by what it holds: never by its place in memory."""
    if function is None or is_dataclass(function):
        return repr(function)
    named = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{named}"
