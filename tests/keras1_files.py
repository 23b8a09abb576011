"""Files as Keras 0.3, 1 and 2.0 wrote them, composed from the documented layout.

Reference: `get_config`, `save_weights_to_hdf5_group` and `save_model` of Keras 0.3.3, 1.2.2 and
2.0.8. Nothing that can be installed writes them any more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass(frozen=True)
class OldLayer:
    """A layer of a file.

    Args:
        class_name: Its class.
        config: Its arguments, without its name.
        arrays: Its arrays by the end of their names, in the file's order.
        name: Its name.
        inbound: The nodes of a graph: names of the layers that it was called on, call by call.
    """

    class_name: str
    config: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    name: str = ""
    inbound: Sequence[Sequence[str]] = ()

    @property
    def named(self) -> str:
        """The name, or one like those that Keras makes."""
        return self.name or f"{self.class_name.lower()}_1"


def entry(layer: OldLayer) -> dict[str, Any]:
    """A layer as the configuration of a chain has it."""
    return {"class_name": layer.class_name, "config": {"name": layer.named, **layer.config}}


def chain(layers: Sequence[OldLayer]) -> dict[str, Any]:
    """A Sequential model, whose configuration was a list until 2.2.3."""
    return {"class_name": "Sequential", "config": [entry(layer) for layer in layers]}


def graph(
    layers: Sequence[OldLayer], inputs: Sequence[str], outputs: Sequence[str], name: str = "model_1"
) -> dict[str, Any]:
    """A functional model; nodes had three entries for each tensor in Keras 1."""
    entries = [
        {
            **entry(layer), "name": layer.named,
            "inbound_nodes": [[_reference(tensor) for tensor in call] for call in layer.inbound],
        }
        for layer in layers
    ]  # fmt: skip
    config = {
        "name": name, "layers": entries,
        "input_layers": [_reference(tensor) for tensor in inputs],
        "output_layers": [_reference(tensor) for tensor in outputs],
    }  # fmt: skip
    return {"class_name": "Model", "config": config}


def _reference(tensor: str) -> list[Any]:
    """`name` or `name:node` as the file has it."""
    name, _, node = tensor.partition(":")
    return [name, int(node or 0), 0]


def save(
    path: Path,
    config: dict[str, Any],
    layers: Sequence[OldLayer],
    *,
    version: str = "1.2.2",
    backend: str = "tensorflow",
) -> Path:
    """Writes a whole model, with the attributes that `save_model` wrote."""
    with h5py.File(path, "w") as file:
        # The version has been written since 1.0, the backend since 1.2.
        if version:
            file.attrs["keras_version"] = version.encode()
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["training_config"] = json.dumps({"loss": "mse", "optimizer_config": {}}).encode()
        _write_weights(file.create_group("model_weights"), layers, version, backend)
    return path


def save_weights(
    path: Path, layers: Sequence[OldLayer], *, version: str = "1.2.2", backend: str = "tensorflow"
) -> Path:
    """Writes weights alone."""
    with h5py.File(path, "w") as file:
        _write_weights(file, layers, version, backend)
    return path


def _write_weights(group: Any, layers: Sequence[OldLayer], version: str, backend: str) -> None:
    group.attrs["layer_names"] = [layer.named.encode() for layer in layers]
    if backend:
        group.attrs["backend"] = backend.encode()
    if version:
        group.attrs["keras_version"] = version.encode()
    for layer in layers:
        inner = group.create_group(layer.named)
        names = [f"{layer.named}_{end}" for end in layer.arrays]
        inner.attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, layer.arrays.values(), strict=True):
            inner[name] = np.asarray(array, "float32")


def save_keras0(folder: Path, layers: Sequence[OldLayer]) -> tuple[Path, Path]:
    """An architecture and its weights as Keras 0.3 wrote them, class and arguments together."""
    flat = [{**layer.config, "custom_name": layer.named, "name": layer.class_name}
            for layer in layers]  # fmt: skip
    config = {"name": "Sequential", "layers": flat, "class_mode": "categorical", "loss": "mse",
              "optimizer": {"name": "SGD", "lr": 0.01}}  # fmt: skip
    (folder / "model.json").write_text(json.dumps(config), encoding="utf-8")
    with h5py.File(folder / "weights.h5", "w") as file:
        file.attrs["nb_layers"] = len(layers)
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = len(layer.arrays)
            for place, array in enumerate(layer.arrays.values()):
                group[f"param_{place}"] = np.asarray(array, "float32")
    return folder / "model.json", folder / "weights.h5"
