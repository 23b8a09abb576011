"""The arrays of one layer, turned into those of its counterpart in Keras 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_erf.legacy.weights.layouts import modern_arrays
from keras_erf.legacy.weights.targets import Target

__all__ = ["Pairs", "WeightsError", "fitted", "has_weights", "own_variables", "quoted", "variables"]

# Variables with the arrays to set them to.
Pairs = list[tuple[Any, np.ndarray]]


class WeightsError(ValueError):
    """The arrays of a file are not those of the model."""


def variables(layer: Any) -> list[Any]:
    """The weights of a layer: all that may be trained, then the others, frozen or not."""
    return [
        *own_variables(layer, "_trainable_variables"),
        *own_variables(layer, "_non_trainable_variables"),
    ]


def own_variables(layer: Any, kind: str) -> list[Any]:
    """The variables in an attribute of a layer and of the layers inside it, each once."""
    if layer is None:
        return []
    held = [*getattr(layer, kind)]
    for inner in layer._layers:
        held += own_variables(inner, kind)
    # A wrapper may also hold those of its layer.
    return list({id(variable): variable for variable in held}.values())


def has_weights(target: Target) -> bool:
    """Whether a layer, or one inside it, has weights."""
    return any(map(has_weights, target.inner)) if target.inner else bool(variables(target.layer))


def fitted(target: Target, arrays: Sequence[np.ndarray], backend: str) -> Pairs:
    """The weights of one layer with their arrays.

    Raises:
        WeightsError: They do not fit.
    """
    weights = variables(target.layer) if target.arrange is None else list(target.layer.weights)
    try:
        if target.arrange is not None:
            modern = target.arrange(arrays)
        else:
            modern = modern_arrays(target.class_name, target.config, arrays, backend)
    except (ValueError, IndexError, StopIteration) as error:
        raise WeightsError(
            f"the arrays of {target.name[:60]!r} are not those of a {target.class_name[:60]}"
        ) from error
    needed = [tuple(variable.shape) for variable in weights]
    shapes = [array.shape for array in modern]
    if needed != shapes and sorted(map(np.prod, needed)) == sorted(map(np.prod, shapes)):
        modern = [
            array.reshape(shape) if array.size == np.prod(shape) else array
            for array, shape in zip(modern, needed, strict=True)
        ]
        shapes = [array.shape for array in modern]
    if needed != shapes:
        raise WeightsError(
            f"the weights of {target.name[:60]!r} must have the shapes {needed}, "
            f"and are stored with {shapes}"[:400]
        )
    return list(zip(weights, modern, strict=True))


def quoted(names: Sequence[str]) -> str:
    """Names of layers in quotes, the first of them if they are many."""
    shown = ", ".join(repr(name[:60]) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
