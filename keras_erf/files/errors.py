"""Whatever fails on a file, as one error of this package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_erf.errors import KerasERFError, ModelLoadError
from keras_erf.files.kinds import NotAModelError
from keras_erf.files.vetting import CarriesCodeError

__all__ = ["file_errors", "first_sentence"]

# Letters of the text of another library's error.
MOST_TEXT = 300


@contextmanager
def file_errors(file: Path, argument: str = "path") -> Iterator[None]:
    """Raises what fails inside as an error about a file.

    Args:
        file: The file.
        argument: The argument that names it.

    Raises:
        KerasERFError: Any such error, with the file as the first part of what was received.
        ModelLoadError: Any other error.
    """
    received = repr(str(file))
    try:
        yield
    except KerasERFError as error:
        raise _of_file(error, received) from error
    except NotAModelError as error:
        raise ModelLoadError(
            argument=argument,
            expected=f"must be a model of Keras, and this is {error.what}",
            remedy=error.remedy,
            received=received,
        ) from error
    except CarriesCodeError as error:
        raise ModelLoadError(
            expected="Loading the model would run Python code or read files that it names: "
            f"{error}",
            remedy="If you trust its source, allow that with `--unsafe` (in Python, `unsafe=True`)",
            received=received,
        ) from error
    except Exception as error:  # h5py, Keras and TensorFlow fail in many ways on a bad file.
        raise ModelLoadError(
            argument=argument,
            expected="must be a whole model saved by Keras",
            remedy="compare its size with that where it comes from, and download it again",
            received=f"{received}: {_reason(error)}",
        ) from error


def _of_file(error: KerasERFError, received: str) -> KerasERFError:
    """An error of the translator, which knows the model and not the file, with the file."""
    held = error.received or ""
    if not held.startswith(received):
        held = f"{received}: {held}" if held else received
    return type(error)(
        argument=error.argument,
        expected=_printable(error.expected),
        remedy=None if error.remedy is None else _printable(error.remedy),
        received=_printable(held),
    )


def _printable(text: str) -> str:
    """A text without what a file may hide in names."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__:
        return "it needs more memory than there is"
    return _printable(first_sentence(error)[:MOST_TEXT])


def first_sentence(error: Exception) -> str:
    """The first sentence of an error of Keras or the operating system, in one line."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    text = " ".join(str(error).split()) or type(error).__name__
    # Keras puts `None --` and the number before what the operating system says.
    return re.sub(r"(None -- )?\[Errno -?\d+\] ", "", text).partition(". ")[0]
