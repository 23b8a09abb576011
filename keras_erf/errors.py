"""Errors raised by keras-erf.

Every error names the argument, what was expected, what was received and the
remedy. `InvalidInputError` and its kin are the caller's to mend; anything else
that escapes is a defect of this library.
"""

__all__ = [
    "BackendError",
    "GradientError",
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


class UnknownLayerError(InvalidInputError):
    """No layer of the model has the name, path or object that was given."""


class UnsupportedLayerError(KerasERFError, NotImplementedError):
    """No rule tells the receptive field of a layer or operation."""


class GradientError(KerasERFError, ArithmeticError):
    """The gradient of the unit is zero, missing or not finite."""


class ModelLoadError(KerasERFError, ValueError):
    """A model could not be read, or reading it would have run code."""


class BackendError(KerasERFError, RuntimeError):
    """Keras runs on a backend this library cannot differentiate."""
