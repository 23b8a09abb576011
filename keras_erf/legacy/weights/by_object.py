"""Weights that a file keeps in a tree of objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_erf.legacy.weights.fitting import Pairs, WeightsError, fitted, has_weights, variables
from keras_erf.legacy.weights.stored import StoredTree
from keras_erf.legacy.weights.targets import Target

__all__ = ["tree_pairs"]

# Where the archives of tf.keras and Keras 3 keep the layers of a model.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "_self_tracked_trackables")


def _snake(name: str) -> str:
    """A class's name as archives write it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def tree_pairs(
    targets: Sequence[Target], tree: StoredTree, backend: str, visited: set[int]
) -> Pairs:
    """The weights of a model's layers from the archive's tree.

    Layers are named there by class and number; a layer without weights counts in some versions and
    not in others, so that only the order of those with weights is certain.
    """
    groups: dict[str, list[StoredTree]] = {}
    for container in CONTAINERS:
        if container in tree.children:
            for name, held in _groups(tree.children[container]).items():
                groups.setdefault(name, []).extend(held)
    pairs: Pairs = []
    for target in targets:
        if target.layer is None or id(target.layer) in visited or not has_weights(target):
            continue
        visited.add(id(target.layer))
        waiting = _group_of(target, groups)
        if not waiting:
            raise WeightsError(f"it holds no weights of {target.name[:60]!r}")
        child = waiting.pop(0)
        if target.inner and target.class_name == "TimeDistributed":
            child = child.children.get("layer", child)
        if target.inner:
            pairs += tree_pairs(target.inner, child, backend, visited)
        else:
            pairs += _object_pairs(target, child, backend)
    return pairs


def _number_of(item: tuple[str, Any]) -> tuple[str, int]:
    name, _, number = item[0].rpartition("_")
    return (name, int(number)) if number.isdigit() and name else (item[0], 0)


def _group_of(target: Target, groups: dict[str, list[StoredTree]]) -> list[StoredTree]:
    class_name = target.class_name.rpartition(">")[2]
    names = [_snake(class_name), re.sub(r"_\d+$", "", _snake(class_name))]
    if target.inner:
        names += ["functional", "sequential", "model"]
    for name in names:
        if groups.get(name):
            return groups[name]
    return []


def _object_pairs(target: Target, tree: StoredTree, backend: str) -> Pairs:
    try:
        found = _attributes(target.layer, tree)
    except (KeyError, IndexError):
        found = None
    weights = variables(target.layer)
    if found is not None and {id(variable) for variable, _ in found} == set(map(id, weights)):
        return found
    return fitted(target, [*_arrays(tree)], backend)


def _attributes(layer: Any, tree: StoredTree) -> Pairs | None:
    """Weights and arrays by the attributes that hold them; `None` if there are others."""
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    if [tuple(variable.shape) for variable in own] != [array.shape for array in tree.arrays]:
        return None
    pairs: Pairs = list(zip(own, tree.arrays, strict=True))
    for name, child in tree.children.items():
        if child.empty():
            continue
        inner = getattr(layer, name, getattr(layer, f"_{name}", None))
        groups = _groups(child) if isinstance(inner, list | tuple) else {}
        for one in inner if isinstance(inner, list | tuple) else [inner]:
            below = groups[_snake(type(one).__name__)].pop(0) if groups else child
            more = _attributes(one, below) if hasattr(one, "_layers") else None
            if more is None:
                return None
            pairs += more
    return pairs


def _groups(tree: StoredTree) -> dict[str, list[StoredTree]]:
    """What a container holds that has arrays, by class and in order."""
    groups: dict[str, list[StoredTree]] = {}
    for name, child in sorted(tree.children.items(), key=_number_of):
        if not child.empty():
            groups.setdefault(re.sub(r"_\d+$", "", name), []).append(child)
    return groups


def _arrays(tree: StoredTree) -> Iterator[np.ndarray]:
    yield from tree.arrays
    for _, child in sorted(tree.children.items()):
        yield from _arrays(child)
