"""Gives the layers of a translated model the weights of its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from keras_erf.legacy.weights.by_layer import layer_pairs
from keras_erf.legacy.weights.by_object import tree_pairs
from keras_erf.legacy.weights.fitting import WeightsError, quoted, variables
from keras_erf.legacy.weights.stored import StoredLayer, StoredTree
from keras_erf.legacy.weights.targets import Target

__all__ = ["WeightsError", "assign_weights"]


def assign_weights(
    targets: Sequence[Target], stored: Sequence[StoredLayer] | StoredTree, backend: str
) -> None:
    """Sets the weights of a model.

    Args:
        targets: The model's layers in the file's order.
        stored: The weights of the file.
        backend: The backend that the file states.

    Raises:
        WeightsError: A layer has no weights in the file, or those of other shapes.
    """
    if isinstance(stored, StoredTree):
        pairs = tree_pairs(targets, stored, backend, set())
    else:
        pairs = layer_pairs(targets, stored, backend)
    missing = _unset(targets, {id(variable) for variable, _ in pairs})
    if missing:
        raise WeightsError(f"it holds no weights of {quoted(missing)}")
    for variable, array in pairs:
        variable.assign(array.astype(variable.dtype))
    for layer in _layers(targets):
        if type(layer).__name__ == "Normalization" and layer.variables:
            layer.finalize_state()


def _layers(targets: Sequence[Target]) -> Iterator[Any]:
    for target in targets:
        if target.layer is not None:
            yield target.layer
        yield from _layers(target.inner)


def _unset(targets: Sequence[Target], done: set[int]) -> list[str]:
    """Names of the layers with a weight that was not set."""
    return [
        name
        for target in targets
        for name in (
            _unset(target.inner, done)
            if target.inner
            else [target.name][
                : any(id(variable) not in done for variable in variables(target.layer))
            ]
        )
    ]
