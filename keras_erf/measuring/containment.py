"""Checks that no map reaches beyond its theoretical field; one that does is an error."""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Box
from keras_erf.errors import InternalError, InvalidInputError, KerasERFError
from keras_erf.fields.theoretical import Target

__all__ = ["beyond_field", "check_enclosed", "spilled"]

# Kernels that transform images leave rounding outside of a field; no share of a peak as large.
SPILLED = 1e-3


def beyond_field(target: Target, held: Box | None) -> np.ndarray | None:
    """Where a part of the input lies outside the field of a unit.

    Returns:
        A mask of the part's shape, of length 1 along the channels; `None` if the field holds
        all of it.
    """
    shape = target.tracing.shape(target.input)
    held = held or tuple((0, size) for size in shape)
    mask = np.ones([1] * len(shape), dtype=bool)
    for axis, (start, stop) in zip(
        target.tracing.input_axes, target.receptive_field.box(), strict=True
    ):
        first, last = held[axis]
        places = np.arange(first, last)
        inside = (places >= start) & (places < stop)
        line = [1] * len(shape)
        line[axis] = -1
        mask = mask & inside.reshape(line)
    return None if mask.all() else ~mask


def check_enclosed(gradient: np.ndarray, target: Target, held: Box | None) -> None:
    """Raises if a gradient, over the part `held` with a batch axis, reaches beyond the field."""
    beyond = beyond_field(target, held)
    if beyond is None:
        return
    size = np.abs(np.asarray(gradient))
    if (size * beyond).max(initial=0) > SPILLED * size.max(initial=0):
        raise spilled(target, training=False)


def spilled(target: Target, *, training: bool) -> KerasERFError:
    """The error of a unit whose gradient reaches beyond its theoretical field."""
    field = target.receptive_field
    where = (
        f"the gradient of unit {field.unit} of layer {field.layer!r} reaches beyond its "
        f"theoretical field of {' x '.join(map(str, field.size))} px"
    )
    nodes = target.tracing.ancestors(target.tensor)
    ruled = [node for node in nodes if node.kind in target.tracing.rules]
    if ruled:
        kinds = dict.fromkeys(type(node.operation).__name__ for node in ruled)
        return InvalidInputError(
            argument="rules",
            expected=f"must cover all that a layer sees: {where}",
            remedy=f"Check the rule of {', '.join(kinds)} with keras_erf.check",
        )
    if training:
        return InvalidInputError(
            argument="training",
            expected=f"must be False: {where}. In training mode a layer sees more than at "
            "inference, whose field this is",
            received="training=True",
        )
    if field.status == "measured":
        return InvalidInputError(
            argument="rules",
            expected=f"must say what a layer sees that cannot be measured by itself: {where}, "
            "which was measured",
            remedy="See keras_erf.check for the layer, and give it a rule",
        )
    return InternalError(
        expected=f"A result must keep within its field: {where}, status {field.status!r}",
        remedy="This is a fault of keras-erf: please report it with the model",
    )
