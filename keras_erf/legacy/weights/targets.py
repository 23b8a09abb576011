"""The layers that weights of a file go to: as the file names them, with those of Keras 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_erf.legacy.architecture import Arrange, Config, PlacedLayer

__all__ = ["Target", "targets_of_model", "targets_of_order"]


@dataclass(frozen=True)
class Target:
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
    config: Config
    layer: Any
    inner: tuple[Target, ...] = ()
    arrange: Arrange | None = None


def targets_of_order(order: Sequence[PlacedLayer]) -> tuple[Target, ...]:
    """The layers of a translated model.

    Args:
        order: The old layers, those inside of one after it.
    """
    depth = min((len(entry.path) for entry in order), default=0)
    starts = [place for place, entry in enumerate(order) if len(entry.path) == depth]
    ends = [*starts[1:], len(order)]
    return tuple(
        _target(order[start], order[start + 1 : end])
        for start, end in zip(starts, ends, strict=True)
    )


def _target(entry: PlacedLayer, below: Sequence[PlacedLayer]) -> Target:
    inner = targets_of_order(below) if below else ()
    if entry.class_name == "TimeDistributed" and len(inner) == 1:
        # A wrapped model's layers; a wrapped layer's arrays are those of the wrapper.
        inner = inner[0].inner
    elif not _is_model(entry):
        inner = ()
    config = entry.config if isinstance(entry.config, dict) else {}
    return Target(entry.name, entry.class_name, config, entry.layer, inner, entry.arrange)


def _is_model(entry: PlacedLayer) -> bool:
    return not isinstance(entry.config, dict) or isinstance(entry.config.get("layers"), list)


def targets_of_model(model: Any) -> tuple[Target, ...]:
    """The layers of a model of Keras 3."""
    return tuple(
        Target(
            layer.name,
            type(layer).__name__,
            {"trainable": layer.trainable},
            layer,
            targets_of_model(layer) if hasattr(layer, "layers") else (),
        )
        for layer in model.layers
    )
