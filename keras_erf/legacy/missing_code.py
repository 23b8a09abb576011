"""Errors of models that need code from the user: functions of Lambdas, classes of layers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from keras_erf.errors import ModelLoadError

__all__ = ["MissingCodeError", "lambdas_without_function", "unknown_layers"]

# Of names and of arguments, in letters; of names in a list.
MOST_NAME, MOST_TEXT, MOST_NAMES = 80, 300, 12
# Arguments of every layer, which do not help to recognise a class.
EVERYWHERE = (
    "name", "trainable", "dtype", "batch_input_shape", "batch_shape",
    # tf.keras writes it of classes without `get_config`.
    "layer was saved without config",
)  # fmt: skip


class MissingCodeError(ModelLoadError):
    """A model needs code that the user did not give."""


def lambdas_without_function(
    lambdas: Mapping[str, bool], function: str | None = None
) -> MissingCodeError:
    """The error of `Lambda` layers whose Python code is not run and that have no stand-in.

    Args:
        lambdas: Names of the layers, and whether each has several inputs.
        function: The name that the file has for the first one's function, if any.
    """
    shown = ", ".join(name[:MOST_NAME] for name in list(lambdas)[:MOST_NAMES])
    single = [name for name, several in lambdas.items() if not several]
    first = next(iter(lambdas))[:MOST_NAME]
    named = first if function is None else f"{first} or {function[:MOST_NAME]}"
    pointwise = "For one that works pixel by pixel write `--lambda {}=pointwise`, or give"
    start = pointwise.format(single[0][:MOST_NAME]) if single else "Give"
    return MissingCodeError(
        expected=f"The model has Lambda layers, whose Python code is not run: {shown}",
        remedy=f"{start} its function in a Python file with `--custom FILE.py`, named {named} or "
        f"by `--lambda {first}=FUNCTION` (in Python, by `stand_ins=`), or, if you trust the file, "
        "let it run its code with `--unsafe`",
        received=shown,
    )


def unknown_layers(classes: Mapping[str, Any], functions: Collection[str] = ()) -> MissingCodeError:
    """The error of layers and functions that are not Keras's own: all of them at once.

    Args:
        classes: Arguments in the file of the first layer of each class, by class.
        functions: Names of functions, such as activations.
    """
    listed = [f"{name[:MOST_NAME]}({_arguments(config)})" for name, config in classes.items()]
    listed += [name[:MOST_NAME] for name in functions]
    kinds = [kind for kind, held in (("layers", classes), ("functions", functions)) if held]
    return MissingCodeError(
        expected=f"The model has {' and '.join(kinds)} that are not Keras's own: "
        f"{'; '.join(listed)}",
        remedy="Give them in a Python file with `--custom FILE.py`, or in Python by "
        "`custom_objects=`",
        received=", ".join(name[:MOST_NAME] for name in (*classes, *functions)),
    )


def _arguments(config: Any) -> str:
    held = config if isinstance(config, Mapping) else {}
    text = ", ".join(
        f"{key}={json.dumps(value, default=str)}"
        for key, value in held.items()
        if key not in EVERYWHERE
    )
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
