"""Errors raised by keras-erf.

Every error carries the argument, what was expected, the remedy and what was
received, and its text is one line made of them. `InvalidInputError` and similar
errors are the caller's to fix; an `InternalError`, and anything else that
escapes, is a defect of this library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = [
    "BackendError",
    "GradientError",
    "InternalError",
    "InvalidInputError",
    "KerasERFError",
    "ModelLoadError",
    "UnknownLayerError",
    "UnsupportedLayerError",
]


Error = TypeVar("Error", bound="KerasERFError")

RECEIVED = "Received: "
# The last sentence, or the last clause, of what precedes `RECEIVED`.
REMEDY = re.compile(r"(?s)(.*)(?:\. (?=[A-Z])|; )(.+)")


class KerasERFError(Exception):
    """Base class of every error this library raises on purpose.

    Its text is "`argument` expected. Remedy. Received: received".

    Args:
        line: The whole text; the fields are then those parts of it. Leave it out to give them.
        argument: Name of the argument that is wrong; `None` if the error is not about one.
        expected: What the argument must be, as the sentence after its name.
        remedy: What to do: a sentence, or a clause that starts in lower case.
        received: What the argument was, such as `unit=(9, 9)`.
    """

    def __init__(
        self,
        line: str | None = None,
        *,
        argument: str | None = None,
        expected: str = "",
        remedy: str | None = None,
        received: str | None = None,
    ) -> None:
        if line is not None:
            argument, expected, remedy, received = _fields(line)
        else:
            line = _line(argument, expected, remedy, received)
        super().__init__(line)
        self.argument = argument
        self.expected = expected
        self.remedy = remedy
        self.received = received

    def renamed(
        self: Error, arguments: Mapping[str, str], remedies: Mapping[str, str] | None = None
    ) -> Error:
        """Returns the error as a caller meets it who knows the arguments by other names.

        Args:
            arguments: Those names, such as options of the command line, by argument.
            remedies: Beginnings of remedies, by those that they replace.
        """
        remedy, received = self.remedy, self.received
        for start, other in (remedies or {}).items():
            if remedy is not None and remedy.startswith(start):
                remedy = other + remedy[len(start) :]
        name, equals, value = (received or "").partition("=")
        if equals and name in arguments:
            received = f"{arguments[name]} {value}"
        return type(self)(
            argument=None if self.argument is None else arguments.get(self.argument, self.argument),
            expected=_with_names(self.expected, arguments),
            remedy=None if remedy is None else _with_names(remedy, arguments),
            received=received,
        )


class InvalidInputError(KerasERFError, ValueError):
    """An argument is not what the function can work with."""


class UnknownLayerError(InvalidInputError, LookupError):
    """No layer of the model has the name, path or object that was given."""


class UnsupportedLayerError(KerasERFError, NotImplementedError):
    """No rule states the receptive field of a layer or operation."""


class GradientError(KerasERFError, ArithmeticError):
    """The gradient of the unit is zero, missing or not finite."""


class InternalError(KerasERFError, AssertionError):
    """A result contradicts itself: a defect of this library, which is better reported than used."""


class ModelLoadError(KerasERFError, ValueError):
    """A model could not be read, or reading it would have run code."""


class BackendError(KerasERFError, RuntimeError):
    """Keras runs on a backend this library cannot differentiate."""


def _line(argument: str | None, expected: str, remedy: str | None, received: str | None) -> str:
    """The text of an error with these fields."""
    line = expected if argument is None else f"`{argument}` {expected}"
    if remedy is not None:
        line += f"{'. ' if remedy[:1].isupper() else '; '}{remedy}"
    if received is None:
        return line
    return f"{line}{'' if line.endswith('?') else '.'} {RECEIVED}{received}"


def _fields(line: str) -> tuple[str | None, str, str | None, str | None]:
    """The fields of an error with this text."""
    expected, found, received = line.partition(f" {RECEIVED}")
    if found:
        expected = expected.removesuffix(".")
    named = re.match(r"`([\w-]+)` ", expected)
    if named:
        expected = expected[named.end() :]
    parts = REMEDY.fullmatch(expected)
    if parts and _line(None, parts[1], parts[2], None) == expected:
        expected, remedy = parts.groups()
    else:
        remedy = None
    return named and named[1], expected, remedy, received if found else None


def _with_names(text: str, arguments: Mapping[str, str]) -> str:
    """A text with other names for the arguments it has in backticks."""
    return re.sub(r"`(\w+)`", lambda match: f"`{arguments.get(match[1], match[1])}`", text)


def reason_of(error: Exception) -> str:
    """Returns the line of an error's text that states what went wrong.

    Keras puts that line, in bold, between one that names the layer and the
    arguments of the call.
    """
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines()]
    reasons = [line for line in lines if line and not line.startswith("Exception encountered")]
    return (reasons or [type(error).__name__])[0].rstrip(".")
