"""SavedModel folders of tf.keras: what they say of the model, and its variables.

No graph of TensorFlow's is loaded, so that nothing in the folder is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.files.archives import plain_json
from keras_erf.legacy.stored import StoredLayer

__all__ = ["checkpoint_weights", "saved_model_config", "saved_model_weights"]

METADATA, GRAPH = "keras_metadata.pb", "saved_model.pb"
# Metadata of the largest networks of keras.applications has 4 MB.
MOST_METADATA = 128 << 20
LAYERS = "layer-"
MARKED = ("__tuple__", "TensorShape")


class NoKerasError(ValueError):
    """A SavedModel that was not written by Keras."""


def saved_model_config(folder: Path) -> tuple[dict[str, Any], str]:
    """The configuration of the model, and the version of TensorFlow that wrote it.

    Raises:
        NoKerasError: The folder holds no model of tf.keras.
        ValueError: It is damaged.
    """
    texts = dict(_metadata(folder))
    if "root" not in texts:
        raise NoKerasError("it has no metadata of Keras")
    about = plain_json(texts["root"])
    config = about.get("config") if isinstance(about, dict) else None
    if not isinstance(config, dict) or "layers" not in config:
        name = str(about.get("class_name"))[:60] if isinstance(about, dict) else ""
        raise NoKerasError(f"its model is a class of its own, {name}, without a list of layers")
    return {"class_name": about.get("class_name"), "config": _plain(config)}, ""


def _plain(value: Any) -> Any:
    """A configuration with lists where the metadata marks tuples and shapes."""
    if isinstance(value, dict):
        if value.get("class_name") in MARKED and isinstance(value.get("items"), list):
            return [_plain(item) for item in value["items"]]
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def saved_model_weights(folder: Path) -> tuple[StoredLayer, ...]:
    """The variables of a SavedModel, by layer."""
    return checkpoint_weights(folder / "variables" / "variables")


def _metadata(folder: Path) -> Iterator[tuple[str, str]]:
    """Texts by the path of the object, from either place that tf.keras keeps them in."""
    file = folder / METADATA
    if file.is_file():
        for number, node in _fields(_bytes(file)):
            if number == 1 and isinstance(node, bytes):
                held = {key: value for key, value in _fields(node) if isinstance(value, bytes)}
                yield held.get(3, b"").decode(), held.get(5, b"").decode()
        return
    # Until 2.4 it was in the graph: meta_graphs.object_graph_def.nodes.user_object.metadata.
    for number, meta in _fields(_bytes(folder / GRAPH)):
        for inner, objects in _fields(meta) if number == 2 else ():
            for kind, node in _fields(objects) if inner == 7 else ():
                for form, user in _fields(node) if kind == 1 else ():
                    if form == 4:
                        held = {k: v for k, v in _fields(user) if isinstance(v, bytes)}
                        if held.get(1, b"").startswith(b"_tf_keras") and 3 in held:
                            # The first node is the root.
                            yield "root", held[3].decode()
                            return


def _bytes(file: Path) -> bytes:
    if file.stat().st_size > MOST_METADATA:
        raise ValueError(f"its {file.name} is larger than {MOST_METADATA >> 20} MiB")
    return file.read_bytes()


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: numbers, and bytes for all that has a length."""
    if not isinstance(message, bytes):
        raise ValueError("its protocol buffer is damaged")
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        form = key & 7
        if form == 0:
            value: Any
            value, place = _varint(message, place)
        elif form in (1, 5):
            width = 8 if form == 1 else 4
            value, place = None, place + width
        elif form == 2:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        else:
            raise ValueError("its protocol buffer is damaged")
        if place > len(message):
            raise ValueError("its protocol buffer is cut off")
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for step in range(10):
        if place >= len(message):
            raise ValueError("its protocol buffer is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 127) << (7 * step)
        if byte < 128:
            return value, place
    raise ValueError("its protocol buffer is damaged")


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
