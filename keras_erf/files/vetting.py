"""Model files made by others, checked before Keras reads them."""

from __future__ import annotations

import io
import mmap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_erf.files.archives import checked_members, plain_json
from keras_erf.files.hdf5 import count_stored
from keras_erf.files.kinds import Kind

if TYPE_CHECKING:
    import h5py

__all__ = [
    "WEIGHTS",
    "CarriesCodeError",
    "Vetted",
    "check_config",
    "opened",
    "vetted_model",
    "vetted_weights",
]

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The largest of keras.applications has 2 MB; vocabularies are here too.
MOST_CONFIG = 32 << 20
# They run Python code or a graph of TensorFlow's that comes with the file or from another one.
CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"}
# The translator of old files names these, and never reads their code.
LAMBDAS = {"Lambda", "__lambda__"}
# What models are made of; the rest of Keras also reads, writes and downloads files.
PARTS = {
    "activations", "applications", "backend", "constraints", "dtype_policies", "initializers",
    "layers", "losses", "metrics", "models", "ops", "optimizers", "quantizers", "random",
    "regularizers", "trainers",
}  # fmt: skip


class CarriesCodeError(ValueError):
    """A file would have code run, or other files read."""


@dataclass(frozen=True)
class Vetted:
    """A model file that was checked.

    Args:
        config: The model's configuration; `None` if the file holds weights alone.
        stored: The number of values in its arrays.
        version: The version of Keras that wrote it, as the file states it; "" where it does not.
        backend: The backend it was written with; "" where it does not.
    """

    config: dict[str, Any] | None
    stored: int
    version: str = ""
    backend: str = ""

    @property
    def old(self) -> bool:
        """Whether the file is of Keras 1 or 2."""
        return not self.version.startswith("3")


def vetted_model(path: Path, kind: Kind, *, unsafe: bool = False) -> Vetted:
    """Checks an HDF5 file or an archive, and reads its configuration.

    Args:
        path: The file.
        kind: What it is.
        unsafe: Whether building its model may run code and read other files; to be checked later.

    Raises:
        CarriesCodeError: Building its model would run code, or read other files.
        ValueError: It is no model, claims more than it holds, or refers to other files.
    """
    vetted = _hdf5_model(path) if kind is Kind.HDF5 else _keras_model(path)
    if vetted.config is not None and not unsafe:
        check_config(vetted.config, old=vetted.old)
    return vetted


def check_config(config: dict[str, Any], *, old: bool) -> None:
    """Raises if building a model would run code or read files.

    Args:
        config: The model's configuration.
        old: Whether it is one of Keras 1 or 2, whose code is never read.

    Raises:
        CarriesCodeError: It would.
    """
    for part in _objects(config):
        _check_object(part, old)


def vetted_weights(path: Path) -> None:
    """Raises unless a file of weights may be given to Keras.

    Raises:
        ValueError: It claims more than it holds, or refers to other files.
    """
    if zipfile.is_zipfile(path):
        _keras_model(path)
        return
    with opened(path) as (file, content):
        count_stored(file, content)


@contextmanager
def opened(path: Path) -> Iterator[tuple[h5py.File, mmap.mmap]]:
    """An HDF5 file and its bytes."""
    import h5py

    with (
        h5py.File(path, "r") as file,
        open(path, "rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield file, content


def _keras_model(path: Path) -> Vetted:
    import h5py

    with zipfile.ZipFile(path) as archive:
        members = checked_members(archive)
        known = {CONFIG, METADATA, WEIGHTS}
        if missing := {CONFIG, WEIGHTS} - set(members):
            raise ValueError(f"it has no {min(missing)}")
        for name in members:
            if name not in known and not name.startswith("assets/"):
                raise ValueError(f"it holds {name[:80]!r}, which is no part of a model")
        if members[CONFIG].file_size > MOST_CONFIG:
            raise ValueError(f"its {CONFIG} is larger than {MOST_CONFIG >> 20} MiB")
        config, weights = archive.read(CONFIG), archive.read(WEIGHTS)
        metadata = archive.read(METADATA)[:MOST_CONFIG] if METADATA in members else b"{}"
    about = plain_json(metadata)
    version = about.get("keras_version") if isinstance(about, dict) else None
    with h5py.File(io.BytesIO(weights), "r") as file:
        stored = count_stored(file, weights)
    # Without a version, Keras 3 reads it.
    return Vetted(_config(config), stored, str(version or "3"))


def _hdf5_model(path: Path) -> Vetted:
    with opened(path) as (file, content):
        stored = count_stored(file, content)
        held = [file, file["model_weights"]] if "model_weights" in file else [file]
        version, backend = (_text(held, name) for name in ("keras_version", "backend"))
        config = file.attrs.get("model_config")
    if config is None:
        return Vetted(None, stored, version, backend)
    if not isinstance(config, str | bytes):
        raise ValueError("its model_config is no text")
    if len(config) > MOST_CONFIG:
        raise ValueError(f"its model_config is larger than {MOST_CONFIG >> 20} MiB")
    return Vetted(_config(config), stored, version, backend)


def _text(items: list[Any], attribute: str) -> str:
    """The first of these attributes, as text; "" where there is none."""
    for item in items:
        value = item.attrs.get(attribute)
        if isinstance(value, str | bytes):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return ""


def _config(text: str | bytes) -> dict[str, Any]:
    config = plain_json(text)
    if isinstance(config, str):
        config = plain_json(config)
    if not isinstance(config, dict):
        raise ValueError("its configuration is no JSON object")
    return config


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object, of a text that is not too deep."""
    if isinstance(config, dict):
        yield config
    for part in config.values() if isinstance(config, dict) else config:
        if isinstance(part, dict | list):
            yield from _objects(part)


def _check_object(part: dict[str, Any], old: bool) -> None:
    named = part.get("class_name")
    if named == "function" and "module" in part:
        named = part.get("config")
    place = f"{part.get('module') or ''}.{named}".split(".")
    if place[-1] in CODE and not (old and place[-1] in LAMBDAS):
        raise CarriesCodeError(f"it has a {place[-1]}")
    if place[0] == "keras" and not old:
        inner = [name for name in place[1:] if name not in ("src", "_tf_keras", "api", "legacy")]
        # A class of models makes one; a function there reads or writes one.
        if (len(inner) > 1 and inner[0] not in PARTS) or (
            inner[0] == "models" and not inner[-1][:1].isupper()
        ):
            raise CarriesCodeError(f"it calls {'.'.join(place)[:80]}")
    for key in ("vocabulary", "idf_weights"):
        if isinstance(part.get(key), str):
            raise CarriesCodeError(f"its {key} is another file")
