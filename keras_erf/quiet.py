"""Keras and TensorFlow without the remarks that users cannot act on."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["import_quietly", "quietly"]


def import_quietly() -> None:
    """Imports TensorFlow without its notes on missing GPUs, which no setting silences."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except ImportError:
            pass  # Loading the model says why, in one line.
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def quietly() -> Iterator[None]:
    """Silences the warnings of Keras and TensorFlow about what an old file holds.

    Python's warnings and the loggers of TensorFlow are as before at the end.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
