"""Gives the layers of a translated model the weights of its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_erf.legacy.layouts import array_count, modern_arrays
from keras_erf.legacy.stored import StoredLayer, StoredTree

__all__ = ["Part", "WeightsError", "assign_weights"]

# Where the archives of tf.keras and Keras 3 keep the layers of a model.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "_self_tracked_trackables")


class WeightsError(ValueError):
    """The arrays of a file are not those of the model."""


@dataclass(frozen=True)
class Part:
    """A layer as its file names it, with the layer of Keras 3 that stands for it.

    Args:
        name: The layer's name in the file.
        class_name: Its class in the file.
        config: Its configuration in the file.
        layer: The layer of Keras 3; `None` where none is needed.
        inner: The layers of a nested model, in the file's order.
        arrange: What turns the arrays of the file into those of `layer.weights`; `None` if they are
            those of a layer of that class.
    """

    name: str
    class_name: str
    config: dict[str, Any]
    layer: Any
    inner: tuple[Part, ...] = ()
    arrange: Callable[[Sequence[np.ndarray]], list[np.ndarray]] | None = None


Pairs = list[tuple[Any, np.ndarray]]


def assign_weights(
    parts: Sequence[Part], stored: Sequence[StoredLayer] | StoredTree, backend: str
) -> None:
    """Sets the weights of a model.

    Args:
        parts: The model's layers in the file's order.
        stored: The weights of the file.
        backend: The backend that the file states.

    Raises:
        WeightsError: A layer has no weights in the file, or those of other shapes.
    """
    if isinstance(stored, StoredTree):
        pairs = _tree_pairs(parts, stored, backend, set())
    else:
        pairs = [
            pair
            for part, arrays in _matched(parts, stored)
            for pair in _pairs(part, arrays, backend)
        ]
    missing = _unset(parts, {id(variable) for variable, _ in pairs})
    if missing:
        raise WeightsError(f"it holds no weights of {_listed(missing)}")
    for variable, array in pairs:
        variable.assign(array.astype(variable.dtype))
    for layer in _layers(parts):
        if type(layer).__name__ == "Normalization" and layer.variables:
            layer.finalize_state()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _layers(parts: Sequence[Part]) -> Iterator[Any]:
    for part in parts:
        if part.layer is not None:
            yield part.layer
        yield from _layers(part.inner)


def _unset(parts: Sequence[Part], done: set[int]) -> list[str]:
    """Names of the layers with a weight that was not set."""
    return [
        name
        for part in parts
        for name in (
            _unset(part.inner, done)
            if part.inner
            else [part.name][: any(id(variable) not in done for variable in variables(part.layer))]
        )
    ]


def variables(layer: Any) -> list[Any]:
    """The weights of a layer: all that may be trained, then the others, frozen or not."""
    return [*_own(layer, "_trainable_variables"), *_own(layer, "_non_trainable_variables")]


def _own(layer: Any, kind: str) -> list[Any]:
    if layer is None:
        return []
    return [
        *getattr(layer, kind),
        *(variable for inner in layer._layers for variable in _own(inner, kind)),
    ]


# --- By layer ------------------------------------------------------------------------------------


def _matched(
    parts: Sequence[Part], stored: Sequence[StoredLayer]
) -> list[tuple[Part, StoredLayer]]:
    """Layers with the arrays that are theirs, by name or, where names differ, by order."""
    weighted = [part for part in parts if _weighs(part)]
    held = [layer for layer in stored if layer.arrays or any(_held(layer.inner))]
    named = {part.name: part for part in weighted}
    if all(layer.name in named for layer in held) and len(named) == len(weighted):
        return [(named[layer.name], layer) for layer in held]
    if len(weighted) == len(held):
        return list(zip(weighted, held, strict=True))
    lacking = [part.name for part in weighted if part.name not in {one.name for one in held}]
    unknown = [layer.name for layer in held if layer.name not in named]
    raise WeightsError(
        f"the architecture has {len(weighted)} layers with weights and the file {len(held)}"
        + (f"; it holds no weights of {_listed(lacking)}" if lacking else "")
        + (f"; the architecture has no layer {_listed(unknown)}" if any(unknown) else "")
    )


def _held(layers: Sequence[StoredLayer]) -> Iterator[bool]:
    for layer in layers:
        yield bool(layer.arrays)
        yield from _held(layer.inner)


def _weighs(part: Part) -> bool:
    return any(map(_weighs, part.inner)) if part.inner else bool(variables(part.layer))


def _pairs(part: Part, stored: StoredLayer, backend: str) -> Pairs:
    if not part.inner:
        return _fitted(part, stored.arrays, backend)
    if stored.inner:
        return [
            pair
            for inner, arrays in _matched(part.inner, stored.inner)
            for pair in _pairs(inner, arrays, backend)
        ]
    return _nested(part, stored, backend)


def _fitted(part: Part, arrays: Sequence[np.ndarray], backend: str) -> Pairs:
    """The weights of one layer with their arrays.

    Raises:
        WeightsError: They do not fit.
    """
    targets = variables(part.layer) if part.arrange is None else list(part.layer.weights)
    try:
        if part.arrange is not None:
            modern = part.arrange(arrays)
        else:
            modern = modern_arrays(part.class_name, part.config, arrays, backend)
    except (ValueError, IndexError, StopIteration) as error:
        raise WeightsError(
            f"the arrays of {part.name[:60]!r} are not those of a {part.class_name[:60]}"
        ) from error
    needed = [tuple(variable.shape) for variable in targets]
    shapes = [array.shape for array in modern]
    if needed != shapes and sorted(map(np.prod, needed)) == sorted(map(np.prod, shapes)):
        modern = [
            array.reshape(shape) if array.size == np.prod(shape) else array
            for array, shape in zip(modern, needed, strict=True)
        ]
        shapes = [array.shape for array in modern]
    if needed != shapes:
        raise WeightsError(
            f"the weights of {part.name[:60]!r} must have the shapes {needed}, "
            f"and are stored with {shapes}"[:400]
        )
    return list(zip(targets, modern, strict=True))


@dataclass(frozen=True)
class _Run:
    """Arrays that follow each other in a nested model: of one layer, trained or not."""

    part: Part
    trained: bool
    count: int


def _nested(part: Part, stored: StoredLayer, backend: str) -> Pairs:
    """The weights of a nested model, whose arrays the file keeps in one list.

    Keras lists all weights that are trained, then the others. Which are frozen is not always in the
    file, so the order that fits best is taken: by shape, then by name.
    """
    best: Pairs | None = None
    most, reason = -1, None
    for order in _orders(part):
        try:
            pairs, named = _in_order(order, stored, backend)
        except WeightsError as error:
            reason = reason or error
            continue
        if named > most:
            best, most = pairs, named
    if best is None:
        raise reason or WeightsError(f"the weights of {part.name[:60]!r} do not fit")
    return best


def _orders(part: Part) -> Iterator[list[_Run]]:
    for obey in (True, False):
        trained, others = _runs(part, obey)
        yield [*trained, *others]
    yield [run for leaf in _leaves(part) for run in (*_leaf_runs(leaf),)]


def _leaves(part: Part) -> Iterator[Part]:
    for inner in part.inner:
        yield from _leaves(inner) if inner.inner else (inner,)


def _leaf_runs(part: Part) -> tuple[_Run, _Run]:
    if part.class_name.endswith("WeightNormalization"):
        # The lengths of the kernels, and whether they were set from data.
        return _Run(part, True, len(variables(part.layer)) + 1), _Run(part, False, 1)
    trained = len(_own(part.layer, "_trainable_variables"))
    others = len(_own(part.layer, "_non_trainable_variables"))
    total = array_count(part.class_name, part.config, trained + others)
    if others == 0:
        return _Run(part, True, total), _Run(part, False, 0)
    return _Run(part, True, trained), _Run(part, False, total - trained)


def _runs(part: Part, obey: bool) -> tuple[list[_Run], list[_Run]]:
    """Runs of the trained weights and of the others; frozen ones are others, if `obey`."""
    if part.inner:
        both = [_runs(inner, obey) for inner in part.inner]
        trained = [run for first, _ in both for run in first]
        others = [run for _, second in both for run in second]
    else:
        first, second = _leaf_runs(part)
        trained, others = [first], [second]
    if obey and part.config.get("trainable") is False:
        return [], [*trained, *others]
    return trained, others


def _in_order(order: list[_Run], stored: StoredLayer, backend: str) -> tuple[Pairs, int]:
    """The weights in that order, and how many have the name of their layer in the file."""
    if sum(run.count for run in order) != len(stored.arrays):
        raise WeightsError(
            f"{stored.name[:60]!r} has {sum(run.count for run in order)} weights, "
            f"and the file holds {len(stored.arrays)}"
        )
    place, named = 0, 0
    shares: dict[int, tuple[Part, dict[bool, list[np.ndarray]]]] = {}
    for run in order:
        part, share = shares.setdefault(id(run.part), (run.part, {True: [], False: []}))
        for name, array in zip(
            stored.names[place : place + run.count],
            stored.arrays[place : place + run.count],
            strict=True,
        ):
            named += bool(re.search(rf"(^|/){re.escape(part.name)}[/_]", name))
            share[run.trained].append(array)
        place += run.count
    pairs = [
        pair
        for part, share in shares.values()
        for pair in _fitted(part, [*share[True], *share[False]], backend)
    ]
    return pairs, named


# --- By object -----------------------------------------------------------------------------------


def _snake(name: str) -> str:
    """A class's name as archives write it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _tree_pairs(parts: Sequence[Part], tree: StoredTree, backend: str, visited: set[int]) -> Pairs:
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
    for part in parts:
        if part.layer is None or id(part.layer) in visited or not _weighs(part):
            continue
        visited.add(id(part.layer))
        waiting = _group_of(part, groups)
        if not waiting:
            raise WeightsError(f"it holds no weights of {part.name[:60]!r}")
        child = waiting.pop(0)
        if part.inner and part.class_name == "TimeDistributed":
            child = child.children.get("layer", child)
        if part.inner:
            pairs += _tree_pairs(part.inner, child, backend, visited)
        else:
            pairs += _object_pairs(part, child, backend)
    return pairs


def _number_of(item: tuple[str, Any]) -> tuple[str, int]:
    name, _, number = item[0].rpartition("_")
    return (name, int(number)) if number.isdigit() and name else (item[0], 0)


def _group_of(part: Part, groups: dict[str, list[StoredTree]]) -> list[StoredTree]:
    class_name = part.class_name.rpartition(">")[2]
    names = [_snake(class_name), re.sub(r"_\d+$", "", _snake(class_name))]
    if part.inner:
        names += ["functional", "sequential", "model"]
    for name in names:
        if groups.get(name):
            return groups[name]
    return []


def _object_pairs(part: Part, tree: StoredTree, backend: str) -> Pairs:
    try:
        found = _attributes(part.layer, tree)
    except (KeyError, IndexError):
        found = None
    targets = variables(part.layer)
    if found is not None and {id(variable) for variable, _ in found} == set(map(id, targets)):
        return found
    return _fitted(part, [*_arrays(tree)], backend)


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
