"""The layers of a model as its file names them, with those of Keras 3 that stand for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from keras_erf.legacy.weights import Part

__all__ = ["parts_of_model", "parts_of_order"]


def parts_of_order(order: Iterable[tuple[str, str, Any, Any]]) -> tuple[Part, ...]:
    """The layers of a translated model.

    Args:
        order: The old layers, nested ones after the model that holds them: name, class,
            configuration and the layer of Keras 3, or `None`.
    """
    waiting = iter(order)
    parts = []
    while (part := _next(waiting)) is not None:
        parts.append(part)
    return tuple(parts)


def _next(waiting: Iterator[tuple[str, str, Any, Any]]) -> Part | None:
    entry = next(waiting, None)
    if entry is None:
        return None
    name, class_name, config, layer = entry
    inner = [_next(waiting) for _ in range(_layer_count(config))]
    own = config if isinstance(config, dict) else {}
    return Part(name, class_name, own, layer, tuple(part for part in inner if part is not None))


def _layer_count(config: Any) -> int:
    """How many layers a layer's configuration lists: those of a nested model."""
    layers = config.get("layers") if isinstance(config, dict) else config
    return len(layers) if isinstance(layers, list) else 0


def parts_of_model(model: Any) -> tuple[Part, ...]:
    """The layers of a model of Keras 3."""
    return tuple(
        Part(
            layer.name,
            type(layer).__name__,
            {"trainable": layer.trainable},
            layer,
            parts_of_model(layer) if hasattr(layer, "layers") else (),
        )
        for layer in model.layers
    )
