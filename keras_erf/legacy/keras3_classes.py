"""Classes in files of Keras 3 that are not Keras's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["unknown_of"]

# Modules of operations.
MODULES = ("core", "image", "linalg", "math", "nn", "numpy")


def unknown_of(config: Any, custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the first layer of each class that neither Keras nor the user has, by class.

    Args:
        config: A model's configuration, of Keras 3.
        custom_objects: Classes by name.
    """
    import keras

    registered = keras.saving.get_custom_objects()
    unknown: dict[str, Any] = {}
    for layer in _layers(config):
        names = [str(layer.get(key)) for key in ("registered_name", "class_name")]
        names += [name.rpartition(">")[2] for name in names]
        if any(name in custom_objects or name in registered for name in names):
            continue
        module = layer.get("module")
        own = str(module).partition(".")[0] == "keras" if module else _of_keras(keras, names[1])
        if not own or ">" in names[0]:
            unknown.setdefault(names[1], layer.get("config"))
    return unknown


def _of_keras(keras: Any, name: str) -> bool:
    if name in ("Functional", "Model", "Sequential"):
        return True
    # HDF5 files name no modules; operations are classes of these.
    operations = (getattr(keras.src.ops, module, None) for module in MODULES)
    return any(hasattr(module, name) for module in (keras.layers, *operations))


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """A model and every layer in it, with those of nested models and wrappers."""
    if not isinstance(config, dict) or "class_name" not in config:
        return
    yield config
    inner = config.get("config")
    held = list(inner.get("layers") or ()) if isinstance(inner, dict) else []
    for key in ("layer", "backward_layer", "cell"):
        held.append(inner.get(key) if isinstance(inner, dict) else None)
    for layer in held:
        yield from _layers(layer)
