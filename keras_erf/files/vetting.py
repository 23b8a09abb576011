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

if TYPE_CHECKING:
    import h5py

__all__ = ["CarriesCodeError", "Vetted", "vetted_model", "vetted_weights"]

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The largest of keras.applications has 2 MB; vocabularies are here too.
MOST_CONFIG = 32 << 20
# They run Python code or a graph of TensorFlow's that comes with the file or from another one.
CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"}
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
    """What a file says of its model.

    Args:
        config: Of which layers it is.
        legacy: Whether the file is one of HDF5.
        stored: The number of numbers that are in the file.
    """

    config: dict[str, Any]
    legacy: bool
    stored: int


def vetted_model(path: Path) -> Vetted:
    """What a model file says, if it may be given to Keras.

    Raises:
        CarriesCodeError: It would have code run, or other files read.
        ValueError: It is no model, or claims more than it holds.
    """
    legacy = path.suffix.lower() != ".keras"
    text, stored = _hdf5_model(path) if legacy else _keras_model(path)
    config = plain_json(text)
    if not isinstance(config, dict):
        raise ValueError("its configuration is no JSON object")
    for part in _objects(config):
        _check_object(part)
    return Vetted(config, legacy, stored)


def vetted_weights(path: Path) -> None:
    """Raises unless a file of weights may be given to Keras.

    Raises:
        ValueError: It claims more than it holds, or refers to other files.
    """
    if path.suffix.lower() == ".keras":
        _keras_model(path)
        return
    with _opened(path) as (file, content):
        count_stored(file, content)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, mmap.mmap]]:
    """An HDF5 file and its bytes."""
    import h5py

    with (
        h5py.File(path, "r") as file,
        open(path, "rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield file, content


def _keras_model(path: Path) -> tuple[bytes, int]:
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
    with h5py.File(io.BytesIO(weights), "r") as file:
        return config, count_stored(file, weights)


def _hdf5_model(path: Path) -> tuple[str | bytes, int]:
    with _opened(path) as (file, content):
        stored = count_stored(file, content)
        config = file.attrs.get("model_config")
    if not isinstance(config, str | bytes):
        raise ValueError("it has no model_config; are these weights alone?")
    if len(config) > MOST_CONFIG:
        raise ValueError(f"its model_config is larger than {MOST_CONFIG >> 20} MiB")
    return config, stored


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object, of a text that is not too deep."""
    if isinstance(config, dict):
        yield config
    for part in config.values() if isinstance(config, dict) else config:
        if isinstance(part, dict | list):
            yield from _objects(part)


def _check_object(part: dict[str, Any]) -> None:
    named = part.get("class_name")
    if named == "function" and "module" in part:
        named = part.get("config")
    place = f"{part.get('module') or ''}.{named}".split(".")
    if place[-1] in CODE:
        raise CarriesCodeError(f"it has a {place[-1]}")
    if place[0] == "keras":
        inner = [name for name in place[1:] if name not in ("src", "_tf_keras", "api", "legacy")]
        # A class of models makes one; a function there reads or writes one.
        if (len(inner) > 1 and inner[0] not in PARTS) or (
            inner[0] == "models" and not inner[-1][:1].isupper()
        ):
            raise CarriesCodeError(f"it calls {'.'.join(place)[:80]}")
    for key in ("vocabulary", "idf_weights"):
        if isinstance(part.get(key), str):
            raise CarriesCodeError(f"its {key} is another file")
