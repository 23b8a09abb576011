"""Errors of layers that cannot be built, each in one place."""

from __future__ import annotations

from keras_erf.errors import ModelLoadError, reason_of

__all__ = ["not_built"]

MOST_TEXT = 300


def not_built(what: str, error: Exception) -> ModelLoadError:
    """The error of a layer that Keras 3 refuses.

    Args:
        what: The layer, as `"The Dense layer 'top'"`.
        error: What Keras raised.
    """
    return ModelLoadError(
        expected=f"{what} of the file cannot be built in Keras 3",
        received=reason_of(error)[:MOST_TEXT],
    )
