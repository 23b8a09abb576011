"""A folder that keeps results as they come, so that a long run can be taken up again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.definitions import get_definition
from keras_erf.effective import EffectiveReceptiveField, load
from keras_erf.errors import InvalidInputError
from keras_erf.settings import Settings
from keras_erf.theoretical import Target
from keras_erf.writing import written_whole

__all__ = ["Store"]

MANIFEST = "profile.json"


class Store:
    """A folder with a file per layer, and one that tells what they are results of."""

    def __init__(self, folder: Path, weights: str, settings: Settings) -> None:
        self.folder = folder
        about = _about(weights, settings)
        manifest = folder / MANIFEST
        if folder.exists() and not folder.is_dir():
            raise InvalidInputError(f"`path` must be a folder. Received: {str(folder)!r}")
        if manifest.exists():
            before = _read_json(manifest)
            differ = [name for name in about if before.get(name) != about[name]]
            if differ:
                raise InvalidInputError(
                    f"`path` holds a profile of another {', '.join(differ)}: give another folder, "
                    f"or empty it. Received: path={str(folder)!r}"
                )
        else:
            with written_whole(manifest) as temporary:
                temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")

    def file(self, target: Target) -> Path:
        """Where a unit's result is kept."""
        field = target.receptive_field
        unit = "-".join(map(str, field.unit))
        # Letters that differ must not lead to one name.
        tag = hashlib.blake2b(field.layer.encode(), digest_size=3).hexdigest()
        plain = re.sub(r"[^\w.-]+", "_", field.layer)
        size = "x".join(map(str, field.input_size))
        return self.folder / f"{plain}-{tag}-unit-{unit}-of-{size}.npz"

    def read(self, target: Target) -> EffectiveReceptiveField | None:
        """The result of a unit, if it is there."""
        file = self.file(target)
        if not file.exists():
            return None
        result = load(file)
        # The file knows its own unit; the model knows all of them, and the exact support.
        return replace(result, receptive_field=target.receptive_field)

    def write(self, target: Target, result: EffectiveReceptiveField) -> None:
        """Keeps the result of a unit."""
        result.save(self.file(target))


def _about(weights: str, settings: Settings) -> dict[str, Any]:
    """What results depend on."""
    inputs = settings.inputs
    data = hashlib.blake2b(digest_size=8)
    for array in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if isinstance(array, np.ndarray):
            data.update(np.ascontiguousarray(array).data)
    named = inputs if isinstance(inputs, str) else type(inputs).__name__
    return {
        "weights": weights,
        "inputs": f"{named} {data.hexdigest()}",
        "samples": settings.samples,
        "tolerance": settings.tolerance,
        "seed": settings.seed,
        "definition": asdict(get_definition(settings.definition)),
        "training": settings.training,
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"`path` must be a folder of `profile`: {path.name} cannot be read ({error}). "
            f"Received: path={str(path.parent)!r}"
        ) from error
