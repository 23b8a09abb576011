"""Writing files whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_erf.errors import InvalidInputError

__all__ = ["written_whole"]


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well.

    An error or an interruption inside the block leaves what was there before.
    As with a plain `open()`, links are followed and a file keeps its permissions.

    Raises:
        InvalidInputError: The folder cannot be written, or `path` is no plain file.
    """
    target = Path(os.path.realpath(path))
    # A folder, or a device, which a rename would do away with.
    if target.exists() and not target.is_file():
        raise InvalidInputError(
            f"`path` must be a file, which may exist already. Received: {str(target)!r}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
        )
        os.close(handle)
    except OSError as error:
        raise InvalidInputError(
            f"`path` must lie in a folder that can be written: {error.strerror or error}. "
            f"Received: {str(target)!r}"
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(target))
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidInputError(
            f"`path` cannot be written: {error.strerror or error}. Received: {str(target)!r}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    """What a plain `open()` would give the file; `mkstemp` makes files private."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
