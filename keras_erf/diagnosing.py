"""Why a unit has no usable gradient: finds the layer that is to blame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_erf.definitions import Definition
from keras_erf.gradients import seed_value
from keras_erf.graph import Node
from keras_erf.theoretical import Target

__all__ = ["explain_gradient"]


def explain_gradient(
    target: Target, values: Mapping[int, Any], definition: Definition, *, training: bool = False
) -> str:
    """One line that names the layer where a gradient is lost, why, and what to do.

    Args:
        target: The unit.
        values: A batch of the model's inputs whose gradient is zero or not
            finite, by tensor number.
        definition: What is seeded.
        training: Whether layers run in training mode.
    """
    graph = target.graph
    nodes = graph.ancestors(target.tensor)
    tensors = [target.input, *(tensor for node in nodes for tensor in node.outputs)]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(values[target.input])
        known = {**values, **graph.run(values, tensors, training=training)}
        seeded = seed_value(known[target.tensor], target, definition)
    gradients = {tensor: tape.gradient(seeded, known[tensor]) for tensor in tensors}
    where = f"unit {target.receptive_field.unit} of layer {graph.tensors[target.tensor].name!r}"
    for node in nodes:
        if not all(_is_finite(known[tensor]) for tensor in node.outputs):
            return (
                f"The gradient of {where} is not finite: layer {node.name!r} gives values that are "
                "not (overflow, or a weight that is NaN). Check its weights and the inputs' scale, "
                "or run the model in float32 or float64"
            )
    for node in reversed(nodes):
        if any(_reaches(gradients[tensor]) for tensor in node.outputs):
            found = [gradients[tensor] for tensor in node.inputs if tensor in gradients]
            if any(gradient is not None and not _is_finite(gradient) for gradient in found):
                return (
                    f"The gradient of {where} is not finite: it overflows behind layer "
                    f"{node.name!r}. Check its weights and the inputs' scale, or run the model in "
                    "float64"
                )
            if not any(_reaches(gradient) for gradient in found):
                return f"The gradient of {where} is zero: {_loss_in(node, found)}"
    if definition.seed == "relu":
        return (
            f"The gradient of {where} is zero: definition {definition.name!r} seeds the ReLU of "
            "the unit, which is negative in all channels. Choose another definition or unit"
        )
    return (
        f"The gradient of {where} is zero for every sample. Probe an earlier layer, other inputs "
        "or another unit"
    )


def _loss_in(node: Node, found: list[Any]) -> str:
    """What happened to a gradient that enters a layer and does not leave it."""
    if found and all(gradient is None for gradient in found):
        return (
            f"layer {node.name!r} cannot be differentiated. Choose a layer before it"
        )
    activation = getattr(node.operation, "activation", None)
    rectifies = "relu" in f"{type(node.operation).__name__} {activation}".lower()
    if rectifies:
        return (
            f"it ends in layer {node.name!r}, whose ReLU is negative wherever the unit looks "
            "(dead ReLU). Probe a layer before it, other inputs, or another unit"
        )
    return (
        f"it ends in layer {node.name!r}, whose weights are zero, whose activation is saturated, "
        "or whose gradient is below the smallest number of its dtype (underflow). Check its "
        "weights, or run the model in float64"
    )


def _is_finite(tensor: Any) -> bool:
    return bool(np.isfinite(np.asarray(tensor, dtype=np.float64)).all())


def _reaches(gradient: Any) -> bool:
    """Whether a gradient is there and not zero everywhere."""
    return gradient is not None and bool(np.any(np.asarray(gradient, dtype=np.float64) != 0))
