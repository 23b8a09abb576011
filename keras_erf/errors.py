"""Errors raised by keras-erf.

Every error names the argument, what was expected, what was received and the
remedy. `InvalidInputError` and similar errors are the caller's to fix; an
`InternalError`, and anything else that escapes, is a defect of this library.
"""

import re

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


class KerasERFError(Exception):
    """Base class of every error this library raises on purpose."""


class InvalidInputError(KerasERFError, ValueError):
    """An argument is not what the function can work with."""


class UnknownLayerError(InvalidInputError, LookupError):
    """No layer of the model has the name, path or object that was given."""


class UnsupportedLayerError(KerasERFError, NotImplementedError):
    """No rule tells the receptive field of a layer or operation."""


class GradientError(KerasERFError, ArithmeticError):
    """The gradient of the unit is zero, missing or not finite."""


class InternalError(KerasERFError, AssertionError):
    """A result contradicts itself: a defect of this library, which is better reported than used."""


class ModelLoadError(KerasERFError, ValueError):
    """A model could not be read, or reading it would have run code."""


class BackendError(KerasERFError, RuntimeError):
    """Keras runs on a backend this library cannot differentiate."""


def reason_of(error: Exception) -> str:
    """The line of an error's text that says what went wrong.

    Keras puts that line, in bold, between one that names the layer and the
    arguments of the call.
    """
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception encountered")]
    return (told or [type(error).__name__])[0].rstrip(".")
