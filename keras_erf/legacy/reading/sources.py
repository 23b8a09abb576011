"""Model files of every kind: their architecture, and their weights."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_erf.files.kinds import Kind, NotAModelError, architecture_text, kind_of
from keras_erf.files.vetting import WEIGHTS, opened, vetted_model
from keras_erf.legacy.reading.checkpoints import checkpoint_weights
from keras_erf.legacy.reading.hdf5_weights import hdf5_weights
from keras_erf.legacy.reading.saved_models import saved_model_config, saved_model_weights
from keras_erf.legacy.weights.stored import StoredLayer, StoredTree

__all__ = ["Source", "StoredWeights", "Weights", "read_source", "read_weights", "read_weights_file"]

Weights = Sequence[StoredLayer] | StoredTree


@dataclass(frozen=True)
class StoredWeights:
    """The weights of a file, with the version of Keras and the backend that it states."""

    weights: Weights
    version: str
    backend: str


@dataclass(frozen=True)
class Source:
    """A model file.

    Args:
        kind: What it is.
        config: The model's configuration; `None` if the file holds weights alone.
        version: The version of Keras that wrote it; "" where the file does not state it.
        backend: The backend it was written with; "" where the file does not state it.
        stored: The number of numbers in it; `None` where they are in another file.
        old: Whether Keras 1 or 2 wrote it.
        weights: Reads its weights; `None` if it has none.
    """

    kind: Kind
    config: dict[str, Any] | None
    version: str
    backend: str
    stored: int | None
    old: bool
    weights: Callable[[], Weights | None] | None

    def stored_weights(self) -> StoredWeights:
        """Reads the weights.

        Raises:
            ValueError: The file has none that Keras wrote.
        """
        held = self.weights() if self.weights is not None else None
        if held is None:
            raise ValueError("it holds no weights")
        return StoredWeights(held, self.version, self.backend)


def read_source(path: Path, kind: Kind) -> Source:
    """Reads a model file.

    Raises:
        NotAModelError: There is no model in it.
        ValueError: It is damaged, or claims more than it holds.
    """
    if kind is Kind.JSON:
        return _json_source(path)
    if kind is Kind.SAVED_MODEL:
        config = saved_model_config(path)
        return Source(kind, config, "", "tensorflow", None, True, lambda: saved_model_weights(path))
    vetted = vetted_model(path, kind, unsafe=True)
    return Source(
        kind,
        vetted.config,
        vetted.version,
        vetted.backend,
        vetted.stored,
        vetted.old,
        lambda: read_weights(path, kind),
    )


def _json_source(path: Path) -> Source:
    config = architecture_text(path)
    version, backend = (str(config.get(key) or "") for key in ("keras_version", "backend"))
    # Keras 3 writes no version, and the module of every class.
    old = not version.startswith("3") and not (not version and "module" in config)
    return Source(Kind.JSON, config, version, backend, None, old, None)


def read_weights(path: Path, kind: Kind) -> Weights | None:
    """The weights of an HDF5 file or archive that was vetted; `None` if it has none."""
    if kind is Kind.ARCHIVE:
        import h5py

        with zipfile.ZipFile(path) as archive:
            content = archive.read(WEIGHTS)
        with h5py.File(io.BytesIO(content), "r") as file:
            return hdf5_weights(file)
    with opened(path) as (file, _):
        return hdf5_weights(file)


def read_weights_file(path: Path) -> StoredWeights:
    """The weights of a file that was given as such, with its version and backend.

    Raises:
        NotAModelError: It holds none.
        ValueError: It is damaged, or claims more than it holds.
    """
    if path.name.endswith(".index") or Path(f"{path}.index").is_file():
        prefix = path.with_name(path.name.removesuffix(".index"))
        return StoredWeights(checkpoint_weights(prefix), "", "tensorflow")
    kind = kind_of(path)
    if kind is Kind.SAVED_MODEL:
        return StoredWeights(saved_model_weights(path), "", "tensorflow")
    if kind is Kind.JSON:
        raise NotAModelError("an architecture without weights", "give the file of the weights")
    vetted = vetted_model(path, kind, unsafe=True)
    weights = read_weights(path, kind)
    if weights is None:
        raise NotAModelError(
            "an HDF5 file that Keras did not write", "give a weights file of Keras"
        )
    return StoredWeights(weights, vetted.version, vetted.backend)
