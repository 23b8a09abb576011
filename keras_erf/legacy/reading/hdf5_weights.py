"""Weights in HDF5 files: by layer, as Keras wrote them until 2023, and by object since."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.legacy.weights.stored import StoredLayer, StoredTree

if TYPE_CHECKING:
    import h5py

__all__ = ["hdf5_weights"]

# States of random generators, which no layer of Keras 3 reads from old files.
RANDOM_STATES = re.compile(r"(StateVar|seed_generator_state|seed_state)(:\d+)?$")


def hdf5_weights(file: h5py.File) -> tuple[StoredLayer, ...] | StoredTree | None:
    """The weights of a file, in the file's order.

    Args:
        file: A vetted file; a whole model or weights alone.

    Returns:
        Layers with their arrays, or a tree of objects; `None` if it is no file of Keras's.
    """
    group = file.get("model_weights", file)
    if "layer_names" in group.attrs or "layer_names0" in group.attrs:
        return tuple(_layer(group, name) for name in _names(group, "layer_names"))
    if "nb_layers" in group.attrs:
        return tuple(_numbered(group, int(group.attrs["nb_layers"])))
    roots = {"_layer_checkpoint_dependencies", "layers", "vars", "_self_tracked_trackables"}
    if any(part in roots for name in group for part in re.split(r"[\\/]", name)):
        return _tree(group)
    return None


def _text_of(value: Any) -> str:
    """An attribute that is text, of either type."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _names(item: Any, attribute: str) -> list[str]:
    """Names in an attribute, or in pieces of it: HDF5 keeps 64 KiB in one."""
    if attribute in item.attrs:
        return [_text_of(name) for name in np.ravel(item.attrs[attribute])]
    names: list[str] = []
    for piece in range(len(item.attrs)):
        if f"{attribute}{piece}" not in item.attrs:
            break
        names += [_text_of(name) for name in np.ravel(item.attrs[f"{attribute}{piece}"])]
    return names


def _layer(group: h5py.Group, name: str) -> StoredLayer:
    layer = group[name]
    names = [each for each in _names(layer, "weight_names") if not RANDOM_STATES.search(each)]
    return StoredLayer(name, tuple(layer[each][()] for each in names), tuple(names))


def _numbered(group: h5py.Group, count: int) -> Iterator[StoredLayer]:
    """The layers of Keras 0: groups and arrays are numbered."""
    for number in range(min(count, len(group))):
        layer = group[f"layer_{number}"]
        names = [f"param_{index}" for index in range(len(layer))]
        arrays = tuple(layer[name][()] for name in names if name in layer)
        yield StoredLayer("", arrays, ("",) * len(arrays))


def _tree(group: h5py.Group) -> StoredTree:
    arrays: tuple[np.ndarray, ...] = ()
    children: dict[str, Any] = {}
    for name in group:
        item = group[name]
        if name == "vars" and hasattr(item, "keys"):
            numbers = sorted((key for key in item if key.isdigit()), key=int)
            arrays = tuple(item[key][()] for key in numbers)
        elif hasattr(item, "keys") and not re.match(r"optimizer|compile_metrics|metrics", name):
            _put(children, re.split(r"[\\/]", name), _tree(item))
    return StoredTree(arrays, _frozen(children))


def _put(children: dict[str, Any], path: list[str], tree: StoredTree) -> None:
    """Puts a tree under a path; on Windows, names were joined by backslashes."""
    for part in path[:-1]:
        inner = children.get(part, {})
        if isinstance(inner, StoredTree):
            inner = {"": inner}
        children[part] = inner
        children = inner
    held = children.get(path[-1])
    if isinstance(held, dict):
        held[""] = tree
    else:
        children[path[-1]] = tree


def _frozen(children: dict[str, Any]) -> dict[str, StoredTree]:
    done = {}
    for name, child in children.items():
        if isinstance(child, dict):
            own = child.pop("", StoredTree((), {}))
            child = StoredTree(own.arrays, {**own.children, **_frozen(child)})
        done[name] = child
    return done
