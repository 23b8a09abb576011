"""Counts the weights of a model before they are made."""

from __future__ import annotations

import copy
import math
import random
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

__all__ = ["built_from", "count_made", "count_weights"]


def count_weights(config: dict[str, Any], *, legacy: bool) -> int | None:
    """The number of weights and states a configuration asks for; none of them is made.

    Args:
        config: What a file of Keras 3 says of its model.
        legacy: Whether the file is one of HDF5.

    Returns:
        The number; `None` if the model cannot be built, or not without its weights.
    """
    return count_made(lambda: built_from(copy.deepcopy(config), legacy=legacy))


def count_made(build: Callable[[], Any]) -> int | None:
    """The number of weights and states of a model that is built; none of them is made.

    Keras puts off making weights while it is in a stateless scope. It notes with the thread what is
    to be made later, and this thread ends here.

    Args:
        build: Builds the model.

    Returns:
        The number; `None` if the model cannot be built, or not without its weights.
    """
    counts: list[int] = []
    random_state = random.getstate()

    def count() -> None:
        try:
            with warnings.catch_warnings(), keras.StatelessScope(initialize_variables=False):
                # Keras repeats its warnings when the model is really built.
                warnings.simplefilter("ignore")
                model = build()
            counts.append(sum(math.prod(variable.shape) for variable in model.variables))
        except Exception:  # Keras fails in many ways on a bad file, and reports it later.
            return

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    random.setstate(random_state)
    return counts[0] if counts else None


def built_from(
    config: dict[str, Any],
    *,
    legacy: bool,
    custom_objects: Mapping[str, Any] | None = None,
    unsafe: bool = False,
) -> Any:
    """Builds a model of Keras 3 from its configuration, without its weights.

    Args:
        config: What a file says of its model.
        legacy: Whether the file is one of HDF5.
        custom_objects: Classes and functions by name.
        unsafe: Whether the Python code in it may be run.
    """
    custom = dict(custom_objects or {})
    if not legacy:
        return keras.saving.deserialize_keras_object(
            {**config, "compile_config": None}, custom_objects=custom, safe_mode=not unsafe
        )
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(not unsafe),
    ):
        return saving_utils.model_from_config(config, custom_objects=custom)
