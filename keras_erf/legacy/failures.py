"""Errors of layers that cannot be built, each in one place."""

from __future__ import annotations

from keras_erf.errors import ModelLoadError, reason_of

__all__ = ["NotBuiltError", "not_built"]

MOST_TEXT = 300


class NotBuiltError(ModelLoadError):
    """Keras 3 refuses a layer of an old file, or a call of it."""


def not_built(what: str, error: Exception) -> NotBuiltError:
    """The error of a layer that Keras 3 refuses.

    Args:
        what: The layer, as `"The Dense layer 'top'"`.
        error: What Keras raised.
    """
    return NotBuiltError(
        expected=f"{what} of the file cannot be built in Keras 3",
        received=reason_of(error)[:MOST_TEXT],
    )
