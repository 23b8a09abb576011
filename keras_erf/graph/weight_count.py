"""Counts the weights of a model before they are made."""

from __future__ import annotations

import copy
import math
import random
import threading
import warnings
from typing import Any

import keras

__all__ = ["count_weights"]


def count_weights(config: dict[str, Any], *, legacy: bool) -> int | None:
    """The number of weights and states a configuration asks for; none of them is made.

    Keras puts off making weights while it is in a stateless scope. It notes with the thread what is
    to be made later, and this thread ends here.

    Args:
        config: What a file says of its model.
        legacy: Whether the file is one of HDF5.

    Returns:
        The number; `None` if the model cannot be built, or not without its weights.
    """
    counts: list[int] = []
    random_state = random.getstate()

    def build() -> None:
        try:
            with warnings.catch_warnings(), keras.StatelessScope(initialize_variables=False):
                # Keras repeats its warnings when the model is really built.
                warnings.simplefilter("ignore")
                model = _built(copy.deepcopy(config), legacy)
            counts.append(sum(math.prod(variable.shape) for variable in model.variables))
        except Exception:  # Keras fails in many ways on a bad file, and reports it later.
            return

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    random.setstate(random_state)
    return counts[0] if counts else None


def _built(config: dict[str, Any], legacy: bool) -> Any:
    if not legacy:
        return keras.saving.deserialize_keras_object({**config, "compile_config": None})
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(True),
    ):
        return saving_utils.model_from_config(config)
