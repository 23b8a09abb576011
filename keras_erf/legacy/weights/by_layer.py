"""Weights that a file keeps layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keras_erf.legacy.weights.fitting import Pairs, WeightsError, fitted, has_weights, quoted
from keras_erf.legacy.weights.nested import nested_pairs
from keras_erf.legacy.weights.stored import StoredLayer
from keras_erf.legacy.weights.targets import Target

__all__ = ["layer_pairs"]


def layer_pairs(targets: Sequence[Target], stored: Sequence[StoredLayer], backend: str) -> Pairs:
    """The weights of a model's layers with their arrays.

    Args:
        targets: The model's layers in the file's order.
        stored: The layers of the file.
        backend: The backend that the file states.

    Raises:
        WeightsError: The layers or arrays of the file are not those of the model.
    """
    return [
        pair
        for target, layer in _matched(targets, stored)
        for pair in _target_pairs(target, layer, backend)
    ]


def _matched(
    targets: Sequence[Target], stored: Sequence[StoredLayer]
) -> list[tuple[Target, StoredLayer]]:
    """Layers with the arrays that are theirs, by name or, where names differ, by order."""
    weighted = [target for target in targets if has_weights(target)]
    held = [layer for layer in stored if layer.arrays or any(_held(layer.inner))]
    named = {target.name: target for target in weighted}
    if all(layer.name in named for layer in held) and len(named) == len(weighted):
        return [(named[layer.name], layer) for layer in held]
    if len(weighted) == len(held):
        return list(zip(weighted, held, strict=True))
    lacking = [target.name for target in weighted if target.name not in {one.name for one in held}]
    unknown = [layer.name for layer in held if layer.name not in named]
    raise WeightsError(
        f"the architecture has {len(weighted)} layers with weights and the file {len(held)}"
        + (f"; it holds no weights of {quoted(lacking)}" if lacking else "")
        + (f"; the architecture has no layer {quoted(unknown)}" if any(unknown) else "")
    )


def _held(layers: Sequence[StoredLayer]) -> Iterator[bool]:
    for layer in layers:
        yield bool(layer.arrays)
        yield from _held(layer.inner)


def _target_pairs(target: Target, stored: StoredLayer, backend: str) -> Pairs:
    if not target.inner:
        return fitted(target, stored.arrays, backend)
    if stored.inner:
        return layer_pairs(target.inner, stored.inner, backend)
    return nested_pairs(target, stored, backend)
