"""Variables in the checkpoints of TensorFlow 2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.legacy.weights.stored import StoredLayer

__all__ = ["checkpoint_weights"]

LAYERS = "layer-"


def checkpoint_weights(prefix: Path) -> tuple[StoredLayer, ...]:
    """The variables of a checkpoint of TensorFlow 2, by layer.

    Args:
        prefix: The checkpoint's path without `.index`.

    Raises:
        ValueError: It is damaged, or holds less than it says.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    data = [*prefix.parent.glob(f"{prefix.name}.data-*")]
    if not data:
        raise ValueError(f"it has no {prefix.name}.data file, which holds the numbers")
    reader = tf.train.load_checkpoint(str(prefix))
    types = reader.get_variable_to_dtype_map()
    claimed = sum(
        math.prod(shape) * types[name].size
        for name, shape in reader.get_variable_to_shape_map().items()
        if types[name] != tf.string
    )
    if claimed > sum(file.stat().st_size for file in data):
        raise ValueError("its variables together are larger than its files")
    if not reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
        raise ValueError("its checkpoint is one of TensorFlow 1, without objects")
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    return _layers_of(graph, 0, reader, 0)


def _layers_of(graph: Any, number: int, reader: Any, depth: int) -> tuple[StoredLayer, ...]:
    children = {child.local_name: child.node_id for child in graph.nodes[number].children}
    names = [name for name in children if name.removeprefix(LAYERS).isdigit()]
    names.sort(key=lambda name: int(name.removeprefix(LAYERS)))
    return tuple(_layer_of(graph, children[name], reader, depth + 1) for name in names)


def _layer_of(graph: Any, number: int, reader: Any, depth: int) -> StoredLayer:
    if depth > 50:
        raise ValueError("its models are nested too deeply")
    inner = _layers_of(graph, number, reader, depth)
    if inner:
        return StoredLayer("", (), (), inner)
    children = {child.local_name: child.node_id for child in graph.nodes[number].children}
    if "variables" in children:
        found = [
            _variable(graph, child.node_id) for child in _children(graph, children["variables"])
        ]
    else:
        found = [*_reached(graph, number, set())]
    known = [pair for pair in found if pair is not None and "StateVar" not in pair[1]]
    return StoredLayer(
        "",
        tuple(np.asarray(reader.get_tensor(key)) for key, _ in known),
        tuple(name for _, name in known),
    )


def _children(graph: Any, number: int) -> list[Any]:
    held = [child for child in graph.nodes[number].children if child.local_name.isdigit()]
    return sorted(held, key=lambda child: int(child.local_name))


def _variable(graph: Any, number: int) -> tuple[str, str] | None:
    for attribute in graph.nodes[number].attributes:
        if attribute.name == "VARIABLE_VALUE":
            return attribute.checkpoint_key, attribute.full_name
    return None


def _reached(graph: Any, number: int, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Every variable that an object reaches, in the order of its attributes."""
    if number in seen:
        return
    seen.add(number)
    variable = _variable(graph, number)
    if variable is not None:
        yield variable
    for child in graph.nodes[number].children:
        yield from _reached(graph, child.node_id, seen)
