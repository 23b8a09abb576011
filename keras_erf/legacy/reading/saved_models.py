"""SavedModel folders of tf.keras: the configuration of the model, and its variables.

No graph of TensorFlow's is loaded, so that nothing in the folder is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_erf.files.archives import plain_json
from keras_erf.files.kinds import NotAModelError
from keras_erf.legacy.reading.checkpoints import checkpoint_weights
from keras_erf.legacy.reading.protocol_buffers import fields
from keras_erf.legacy.weights.stored import StoredLayer

__all__ = ["saved_model_config", "saved_model_weights"]

METADATA, GRAPH = "keras_metadata.pb", "saved_model.pb"

# Metadata of the largest networks of keras.applications has 4 MB.
MOST_METADATA = 128 << 20

MARKED = ("__tuple__", "TensorShape")


def saved_model_config(folder: Path) -> dict[str, Any]:
    """The configuration of the model.

    Raises:
        NotAModelError: The folder holds no model of tf.keras, or one without a list of layers.
        ValueError: It is damaged.
    """
    texts = dict(_metadata(folder))
    if "root" not in texts:
        raise NotAModelError(
            "a SavedModel that Keras did not write, which has no layers",
            "use the Keras model that it was exported from",
        )
    about = plain_json(texts["root"])
    config = about.get("config") if isinstance(about, dict) else None
    if not isinstance(config, dict) or "layers" not in config:
        name = str(about.get("class_name"))[:60] if isinstance(about, dict) else ""
        raise NotAModelError(
            f"a model of a class of its own, {name}, whose file does not state how it is computed",
            "build the network in Python, as keras.Model(inputs, outputs)",
        )
    return {"class_name": about.get("class_name"), "config": _plain(config)}


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
        for number, node in fields(_bytes(file)):
            if number == 1 and isinstance(node, bytes):
                held = {key: value for key, value in fields(node) if isinstance(value, bytes)}
                yield held.get(3, b"").decode(), held.get(5, b"").decode()
        return
    # Until 2.4 it was in the graph: meta_graphs.object_graph_def.nodes.user_object.metadata.
    for number, meta in fields(_bytes(folder / GRAPH)):
        for inner, objects in fields(meta) if number == 2 else ():
            for kind, node in fields(objects) if inner == 7 else ():
                for form, user in fields(node) if kind == 1 else ():
                    if form == 4:
                        held = {k: v for k, v in fields(user) if isinstance(v, bytes)}
                        if held.get(1, b"").startswith(b"_tf_keras") and 3 in held:
                            # The first node is the root.
                            yield "root", held[3].decode()
                            return


def _bytes(file: Path) -> bytes:
    if file.stat().st_size > MOST_METADATA:
        raise ValueError(f"its {file.name} is larger than {MOST_METADATA >> 20} MiB")
    return file.read_bytes()
