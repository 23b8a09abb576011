"""What a file is, by its content: names say little, and many `.keras` files are HDF5."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from keras_erf.files.archives import plain_json

__all__ = ["Kind", "NotAModelError", "architecture_text", "kind_of"]

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
# What is read of a file to recognise it.
HEAD = 4096
# The largest of keras.applications has 2 MB; vocabularies are here too.
MOST_JSON = 32 << 20
TAIL_OF_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"

SAVE_AS = "save it as .keras, .h5 or JSON with weights where it was made"
FETCH = "download the file itself: {}"


class Kind(Enum):
    """What can be opened."""

    HDF5 = "an HDF5 file"
    ARCHIVE = "an archive of Keras"
    JSON = "an architecture as JSON"
    SAVED_MODEL = "a SavedModel folder"


class NotAModelError(ValueError):
    """A file of a kind that cannot be opened.

    Args:
        what: What it is, with its article.
        remedy: What to do: a clause.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy = what, remedy


@dataclass(frozen=True)
class _Sign:
    """How a file of a kind begins, what it is and what to do with it."""

    pattern: bytes
    what: str
    remedy: str


PYTORCH = "export it to ONNX and convert that to Keras, or build the network in Keras"
UNPACK = "unpack it, and name the model in it"
# The order matters: the first pattern that matches the head counts.
SIGNS = tuple(
    _Sign(*row)
    for row in (
        (
            rb"version https://git-lfs", "a Git LFS pointer, not the file",
            "get the file with `git lfs pull`, or download it from the repository's page",
        ),
        (
            rb"(?i)(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)",
            "a web page (HTML) that was saved in place of the file",
            "download the file itself, from its `raw` or `download` link",
        ),
        (rb"(?i)\s*<\?xml", "an XML file", "name the model's own file"),
        (
            rb".{4}TFL3", "a TFLite model, which has no layers and no gradients",
            "use the Keras model that it was converted from",
        ),
        (
            rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P", "a PyTorch file (of before PyTorch 1.6)",
            PYTORCH,
        ),
        (
            rb"\x80[\x02-\x05]", "a Python pickle, which would run code when it is read",
            f"load it where it was made, and {SAVE_AS}",
        ),
        (rb"\x1f\x8b", "a file packed with gzip", UNPACK),
        (rb"BZh[1-9]", "a file packed with bzip2", UNPACK),
        (rb"\xfd7zXZ\0", "a file packed with xz", UNPACK),
        (rb"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", UNPACK),
        (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
        (rb"(?s).{257}ustar", "a tar archive", UNPACK),
        (rb"\xff\xd8\xff", "a JPEG picture", "name a model file"),
        (rb"\x89PNG\r\n", "a PNG picture", "name a model file"),
        (rb"GIF8", "a GIF picture", "name a model file"),
        (rb"%PDF-", "a PDF document", "name a model file"),
        (
            rb"\x93NUMPY", "a NumPy array",
            "name the model; weights are opened from HDF5 files",
        ),
        (rb"MATLAB 5\.0", "a MATLAB file", "name a model file of Keras"),
        (
            rb"(?s).{8}\{\"", "a safetensors file, which holds weights alone",
            "name a model file of Keras; such weights are not read",
        ),
        (
            rb"(model_checkpoint_path|all_model_checkpoint_paths):",
            "the list of checkpoints in a folder of TensorFlow's",
            "give the architecture as JSON, with the checkpoint's .index file as weights",
        ),
        (
            rb"\s*(backend|class_name|config):\s", "an architecture as YAML",
            "convert it to JSON first, with yaml.safe_load and json.dumps",
        ),
        (
            rb"(?s)\x08\x01\x12.{1,9}\n", "the graph of a SavedModel",
            "name the folder that it is in",
        ),
        (
            rb"(?s)\n.{1,9}\x10?.{0,4}\x12\x04root", "the metadata of a SavedModel",
            "name the folder that it is in",
        ),
        (
            rb"(?s)\x08[\x01-\x14](\x12|:|B|\"|\x1a)", "an ONNX model",
            "convert it to Keras, for example with onnx2tf or onnx2keras",
        ),
        (
            rb"(?s)\n.{1,4}\n.{1,2}[\w./-]+\x12.[A-Z]\w+",
            "a frozen graph of TensorFlow, which has no layers",
            "use the Keras model that it was made from",
        ),
    )
)  # fmt: skip


def kind_of(path: Path) -> Kind:
    """Recognises what can be opened.

    Raises:
        NotAModelError: It is something else.
        OSError: It cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise NotAModelError("no plain file", "name a model file")
    with open(path, "rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read()
    if head.startswith(HDF5):
        return Kind.HDF5
    if head.startswith((ZIP, b"PK\x05\x06")):
        return _zip(path)
    if re.match(rb"(\xef\xbb\xbf)?\s*[{\[\"]", head):
        return _json(path)
    if not head.strip():
        raise NotAModelError("an empty file", FETCH.format("its copy failed"))
    for sign in SIGNS:
        if re.match(sign.pattern, head):
            raise NotAModelError(sign.what, sign.remedy)
    if tail == TAIL_OF_TABLE:
        raise NotAModelError(
            "the index of a TensorFlow checkpoint, which holds weights alone",
            "give it as the weights, with the architecture as JSON",
        )
    raise _text(head, path)


def _text(head: bytes, path: Path) -> NotAModelError:
    """The error of a file that begins with none of the signs."""
    try:
        text = head.decode().strip()
    except UnicodeDecodeError:
        return NotAModelError("no file of a kind that is known", "name a model file of Keras")
    if "\n" not in text and re.search(r"\.(h5|hdf5|keras|json)$|/", text):
        return NotAModelError(
            f"the text of a link to {text[:80]!r}", "name the file that it points to"
        )
    return NotAModelError("a text file", "name a model file of Keras")


def _zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise NotAModelError(
            "a damaged zip archive, perhaps one whose download was cut off",
            FETCH.format("again and whole"),
        ) from error
    if {"config.json", "model.weights.h5"} & set(names):
        return Kind.ARCHIVE
    if any(name.endswith("data.pkl") for name in names):
        raise NotAModelError("a PyTorch file", PYTORCH)
    if names and all(name.endswith(".npy") for name in names):
        raise NotAModelError("a file of NumPy arrays", "name a model file of Keras")
    inner = [
        name
        for name in names
        if name.endswith((".h5", ".hdf5", ".keras", "saved_model.pb", "/config.json"))
    ]
    if inner:
        raise NotAModelError(f"a zip archive that holds {inner[0][:80]!r}", UNPACK)
    raise NotAModelError("a zip archive without a model", "name a model file of Keras")


def _folder(path: Path) -> Kind:
    if (path / "saved_model.pb").is_file():
        _check_pointers(path)
        return Kind.SAVED_MODEL
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        raise NotAModelError(
            "an unpacked archive of Keras",
            "zip its files (not the folder) into one file, and name that",
        )
    inner = sorted(
        found.relative_to(path)
        for found in [*path.glob("*"), *path.glob("*/saved_model.pb")]
        if found.name == "saved_model.pb" or found.suffix in (".keras", ".h5", ".hdf5")
    )
    if inner:
        name = inner[0].parent if inner[0].name == "saved_model.pb" else inner[0]
        raise NotAModelError("a folder", f"name the model in it, such as {str(path / name)!r}")
    if (path / "checkpoint").is_file() or list(path.glob("*.index")):
        raise NotAModelError(
            "a folder of TensorFlow checkpoints, which hold weights alone",
            "give the architecture as JSON, with a checkpoint's .index file as weights",
        )
    raise NotAModelError("a folder without a model", "name a model file of Keras")


def _check_pointers(folder: Path) -> None:
    """Raises if files of a SavedModel are pointers of Git LFS."""
    pointer = SIGNS[0]
    for file in [*folder.glob("*.pb"), *folder.glob("variables/variables.*")]:
        with open(file, "rb") as opened:
            if re.match(pointer.pattern, opened.read(HEAD)):
                name = file.relative_to(folder).as_posix()
                raise NotAModelError(
                    f"a SavedModel folder whose {name} is {pointer.what}", pointer.remedy
                )


def _json(path: Path) -> Kind:
    value = architecture_text(path)
    if isinstance(value, dict):
        if "modelTopology" in value or str(value.get("format", "")).endswith("-model"):
            raise NotAModelError(
                "a model of TensorFlow.js", "convert it back with tensorflowjs_converter"
            )
        if "nbformat" in value:
            raise NotAModelError("a notebook", "name the model file that it writes")
        if isinstance(value.get("class_name") or value.get("name"), str) and (
            "config" in value or "layers" in value
        ):
            return Kind.JSON
    raise NotAModelError("JSON, but no architecture of Keras", "write one with model.to_json()")


def architecture_text(path: Path) -> Any:
    """The value of a JSON file; one that is packed in a JSON string is unpacked.

    Raises:
        NotAModelError: It is no JSON.
    """
    if path.stat().st_size > MOST_JSON:
        raise NotAModelError(
            f"a JSON file larger than {MOST_JSON >> 20} MiB", "name a model file of Keras"
        )
    try:
        value = plain_json(path.read_bytes().decode("utf-8-sig"))
        return plain_json(value) if isinstance(value, str) else value
    except (ValueError, json.JSONDecodeError) as error:
        raise NotAModelError("a text file that is no valid JSON", SAVE_AS) from error
