"""Folders that keep results safely: files written whole, a manifest with check sums, locks.

A process that is killed loses at most the file it was writing. The manifest of a study is a
database, for it may list a hundred thousand results; all others are JSON.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from filelock import FileLock, Timeout

from keras_erf.errors import InvalidInputError
from keras_erf.files.archives import plain_json
from keras_erf.files.writing import write_json
from keras_erf.results.effective import EffectiveReceptiveField, load

__all__ = ["CHECK_SUMS", "Store", "check_sum", "intact", "locked", "read_json", "reading"]

CHECK_SUMS, LOCK = "check_sums", ".lock"
# Seconds to wait for another process that writes to a manifest.
PATIENCE = 60.0


def check_sum(content: Any, size: int = 16) -> str:
    """A digest of bytes, `size` bytes long."""
    return hashlib.blake2b(content, digest_size=size).hexdigest()


def intact(file: Path, expected: str | None) -> bool:
    """Whether a file is there and has the check sum; `None` where older versions noted none."""
    return file.is_file() and expected in (None, check_sum(file.read_bytes()))


@contextlib.contextmanager
def reading(file: Path, kind: str) -> Iterator[None]:
    """Errors inside are of a damaged file; `kind` describes its folder, such as `"a profile"`."""
    try:
        yield
    except (OSError, LookupError, ValueError, TypeError, csv.Error) as error:
        raise InvalidInputError(
            argument="path",
            expected=f"must be the folder of {kind}: {file.name} cannot be read ({error})",
            received=f"path={str(file.parent)!r}",
        ) from error


def read_json(file: Path, kind: str, empty: Any) -> Any:
    """What a JSON file holds, which is of the type of `empty`; `empty` if there is no file."""
    with reading(file, kind):
        content = plain_json(file.read_text(encoding="utf-8")) if file.exists() else empty
        if not isinstance(content, type(empty)):
            raise TypeError(f"it is no {type(empty).__name__}")
    return content


@contextlib.contextmanager
def locked(file: Path, patience: float = 0.0) -> Iterator[bool]:
    """Whether this process holds a lock, for which it waits at most `patience` seconds."""
    lock = FileLock(file, timeout=patience)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        raise InvalidInputError(
            argument="path",
            expected=(
                "must be a folder that can be written and locked: "
                f"{getattr(error, 'strerror', None) or error}"
            ),
            received=repr(str(file.parent)),
        ) from error
    try:
        yield True
    finally:
        # The folder is left as tidy as it was.
        with contextlib.suppress(OSError):
            os.unlink(file)
        lock.release()


class Store:
    """Results in a folder, which is made when there is something to keep.

    Args:
        folder: Its path.
        manifest: Name of its manifest, which states what results depend on and their check sums.
        kind: As in `reading`.
        about: What results depend on, as JSON has it. What a manifest of an older version does not
            state is none or false.

    Raises:
        InvalidInputError: `folder` is a file, or its manifest cannot be read or is of results that
            depend on something else.
    """

    def __init__(
        self, folder: Path, manifest: str, kind: str, about: Mapping[str, Any] | None = None
    ) -> None:
        self.folder, self.manifest = folder, folder / manifest
        self.kind, self.about = kind, about or {}
        if folder.exists() and not folder.is_dir():
            raise InvalidInputError(
                argument="path",
                expected="must be a folder; a file of that name is there",
                received=f"path={str(folder)!r}",
            )
        self._check_sums()

    def load(self, name: str) -> EffectiveReceptiveField | None:
        """The result in a file; `None` if it is not there, or no manifest states its origin."""
        file = self.folder / name
        if not file.exists() or (self.about and not self.manifest.exists()):
            return None
        if not intact(file, self._check_sums().get(name)):
            raise InvalidInputError(
                argument="path",
                expected="holds a file that is not what was written: delete it and call again",
                received=repr(str(file)),
            )
        return load(file)

    def save(self, results: Mapping[str, EffectiveReceptiveField]) -> None:
        """Keeps results by the names of their files."""
        with contextlib.ExitStack() as stack:
            # Results are kept even on a file system without locks.
            with contextlib.suppress(InvalidInputError):
                stack.enter_context(locked(self.folder / LOCK, PATIENCE))
            sums = {name: old for name, old in self._check_sums().items() if name not in results}
            # First without them: a process that is killed must not leave a file with an old sum.
            write_json(self.manifest, {**self.about, CHECK_SUMS: sums})
            for name, result in results.items():
                result.save(self.folder / name)
                sums[name] = check_sum((self.folder / name).read_bytes())
            write_json(self.manifest, {**self.about, CHECK_SUMS: sums})

    def _check_sums(self) -> dict[str, str]:
        """Those of the manifest; it is read each time, for other processes write it too."""
        if not self.manifest.exists():
            return {}
        stored = read_json(self.manifest, self.kind, {})
        differ = [
            name
            for name, value in self.about.items()
            if stored.get(name) != value and (value or name in stored)
        ]
        if differ:
            new, old = (
                shorten(repr(content.get(differ[0])), 60) for content in (self.about, stored)
            )
            raise InvalidInputError(
                argument="path",
                expected=(
                    f"holds {self.kind} with other {', '.join(differ)}: give another "
                    "folder, or empty it"
                ),
                received=f"path={str(self.folder)!r}, {differ[0]}={new} instead of {old}",
            )
        with reading(self.manifest, self.kind):
            return dict(stored.get(CHECK_SUMS, {}))
