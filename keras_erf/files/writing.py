"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_erf.errors import InvalidInputError

__all__ = ["check_file", "write_json", "write_table", "write_text", "written_whole"]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file; raises as `written_whole`."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file; raises as `written_whole`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def write_table(path: str | os.PathLike[str], frame: Any, **options: Any) -> None:
    """Writes a `pandas.DataFrame` as its suffix says, `.csv` or `.parquet`, with their options."""
    with written_whole(path) as temporary:
        write = frame.to_parquet if temporary.suffix.lower() == ".parquet" else frame.to_csv
        write(temporary, index=False, **options)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path next to `path`, moved onto it when the block ends well.

    An error or an interruption inside the block leaves what was there before.
    As with a plain `open()`, links are followed and a file keeps its permissions.

    Raises:
        InvalidInputError: The folder cannot be written, or `path` is no plain file.
    """
    target = Path(os.path.realpath(path))
    # A folder, or a device, which a rename would replace.
    if target.exists() and not target.is_file():
        raise InvalidInputError(
            argument="path",
            expected="must be a file, which may exist already",
            received=repr(str(target)),
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        # `mkstemp` would make a file that no other user may read.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise _closed(target, error) from error
    try:
        yield temporary
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidInputError(
            argument="path",
            expected=f"cannot be written: {error.strerror or error}",
            received=repr(str(target)),
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_file(path: str | os.PathLike[str]) -> Path:
    """The path as one, where a file can be written in a folder that is there already.

    For the time before long work; nothing is made yet.

    Raises:
        InvalidInputError: Its folder is not there or closed, or it is a folder itself.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InvalidInputError(
            argument="path", expected="must be the path of a file", received=f"path={path!r}"
        )
    target = Path(path)
    if target.is_dir():
        raise InvalidInputError(
            argument="path",
            expected="must be a file, not a folder: name one in it",
            received=repr(str(target)),
        )
    folder = target.absolute().parent
    if not folder.is_dir():
        raise InvalidInputError(
            argument="path",
            expected=f"must lie in a folder that exists: make {str(folder)!r} first",
            received=repr(str(target)),
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _closed(target, error) from error
    return target


def _closed(target: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        argument="path",
        expected=f"must lie in a folder that can be written: {error.strerror or error}",
        received=repr(str(target)),
    )
