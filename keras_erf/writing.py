"""Writing files whole or not at all."""

from __future__ import annotations

import os
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

    Raises:
        InvalidInputError: The folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
        )
        os.close(handle)
    except OSError as error:
        raise InvalidInputError(
            f"`path` must lie in a folder that can be written: {error.strerror}. "
            f"Received: {str(target)!r}"
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give what a plain open() would.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidInputError(
            f"`path` cannot be written: {error.strerror}. Received: {str(target)!r}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
