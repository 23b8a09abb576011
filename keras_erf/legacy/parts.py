"""The layers of a model as its file names them, with those of Keras 3 that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_erf.legacy.weights import Part

if TYPE_CHECKING:
    from keras_erf.legacy.architecture import PlacedLayer

__all__ = ["parts_of_model", "parts_of_order"]


def parts_of_order(order: Sequence[PlacedLayer]) -> tuple[Part, ...]:
    """The layers of a translated model.

    Args:
        order: The old layers, those inside of one after it.
    """
    depth = min((len(entry.path) for entry in order), default=0)
    starts = [place for place, entry in enumerate(order) if len(entry.path) == depth]
    ends = [*starts[1:], len(order)]
    return tuple(
        _part(order[start], order[start + 1 : end]) for start, end in zip(starts, ends, strict=True)
    )


def _part(entry: PlacedLayer, below: Sequence[PlacedLayer]) -> Part:
    inner = parts_of_order(below) if below else ()
    if entry.class_name == "TimeDistributed" and len(inner) == 1:
        # A wrapped model's layers; a wrapped layer's arrays are those of the wrapper.
        inner = inner[0].inner
    elif not _is_model(entry):
        inner = ()
    config = entry.config if isinstance(entry.config, dict) else {}
    return Part(entry.name, entry.class_name, config, entry.layer, inner, entry.arrange)


def _is_model(entry: PlacedLayer) -> bool:
    return not isinstance(entry.config, dict) or isinstance(entry.config.get("layers"), list)


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
