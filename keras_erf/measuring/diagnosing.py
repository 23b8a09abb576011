"""Why a unit has no usable gradient: finds the layer that is to blame."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_erf.cone import Cone
from keras_erf.definitions import Definition
from keras_erf.errors import GradientError
from keras_erf.fields.theoretical import Target, target_of
from keras_erf.graph import Node
from keras_erf.measuring.gradients import seed_value
from keras_erf.types import State

__all__ = ["explain_gradient", "failing_layer", "padding_alone"]


def explain_gradient(
    target: Target,
    cone: Cone,
    values: Mapping[int, Any],
    definition: Definition,
    *,
    training: bool = False,
    state: State = (),
) -> GradientError:
    """The error that names the layer where a gradient is lost, why, and what to do."""
    nodes = _leading(cone, target.tensor)
    tensors = [target.input, *(tensor for node in nodes for tensor in node.outputs)]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values[target.input])
        known = cone.run(values, training=training, state=state)
        seeded = seed_value(known[target.tensor], target, definition, cone)
    # All in one pass; integer tensors have none.
    smooth = {tensor for tensor in tensors if known[tensor].dtype.is_floating}
    smooth_gradients = tape.gradient(seeded, [known[tensor] for tensor in smooth])
    gradients = dict.fromkeys(tensors) | dict(zip(smooth, smooth_gradients, strict=True))
    where = f"unit {target.receptive_field.unit} of layer {target.receptive_field.layer!r}"
    for node in nodes:
        if not all(_is_finite(known[tensor]) for tensor in node.outputs):
            return GradientError(
                expected=(
                    f"The gradient of {where} is not finite: layer {node.name!r} gives "
                    "values that are not (overflow, or a weight that is NaN)"
                ),
                remedy=(
                    "Check its weights and the inputs' scale, or run the model in float32 "
                    "or float64"
                ),
            )
    # Backwards, to where it stops being finite first.
    for node in reversed(nodes):
        if not all(_is_finite(gradients.get(tensor)) for tensor in node.inputs):
            return GradientError(
                expected=(
                    f"The gradient of {where} is not finite: it overflows behind layer "
                    f"{node.name!r}"
                ),
                remedy="Check its weights and the inputs' scale, or run the model in float64",
            )
    if not target.receptive_field.support().any():
        return _zero(where, *padding_alone(target))
    # Forwards, to where the last of it is lost: a branch may have lost its share before.
    for node in nodes:
        entering = [tensor for tensor in node.outputs if _reaches(gradients[tensor])]
        leaving = [gradients.get(tensor) for tensor in node.inputs]
        if entering and not any(map(_reaches, leaving)):
            pairs = [(known[tensor], gradients[tensor]) for tensor in entering]
            missing = all(gradient is None for gradient in leaving)
            return _zero(where, *_loss_in(node, pairs, missing))
    # Behind whole numbers the tape follows nothing, and there is no trace of a gradient.
    for node in nodes:
        if gradients[target.tensor] is None and not smooth.issuperset(node.outputs):
            return _zero(where, *_loss_in(node, [], True))
    if _reaches(gradients[target.input]):
        return GradientError(
            expected=(
                f"The map of {where} is zero or not finite, though its gradient is neither:"
                f" see what definition {definition.name!r} makes of it (measure "
                f"{definition.measure!r}, after {definition.after!r})"
            ),
            remedy="Choose another definition",
        )
    if definition.seed == "relu":
        return GradientError(
            expected=(
                f"The gradient of {where} is zero: definition {definition.name!r} seeds the"
                " ReLU of the unit, which is negative in all channels"
            ),
            remedy="Choose another definition or unit",
        )
    return GradientError(
        expected=f"The gradient of {where} is zero for every sample",
        remedy="Probe an earlier layer, other inputs or another unit",
    )


def _zero(where: str, reason: str, remedy: str) -> GradientError:
    return GradientError(expected=f"The gradient of {where} is zero: {reason}", remedy=remedy)


def failing_layer(cone: Cone, values: Mapping[int, Any], *, training: bool) -> str | None:
    """Name of the first layer of a cone that cannot be called, if there is one."""

    def fails(count: int) -> bool:
        call = functools.partial(cone.run, values, training=training, steps=count)
        try:
            tf.function(call, autograph=False).get_concrete_function()
        except Exception:
            return True
        return False

    counts = range(1, len(cone.steps) + 1)
    first = bisect.bisect_left(counts, True, key=fails)
    return cone.steps[first].node.name if first < len(cone.steps) else None


def _leading(cone: Cone, tensor: int) -> list[Node]:
    """The calls of a cone that lead to a tensor, in the order they run."""
    needed, nodes = {tensor}, list[Node]()
    for step in reversed(cone.steps):
        if needed.intersection(step.node.outputs):
            needed.update(step.node.inputs)
            nodes.append(step.node)
    return nodes[::-1]


def padding_alone(target: Target) -> tuple[str, str]:
    """Why no pixel leads to a unit, and what to do."""
    field = target.receptive_field
    reason = "it sees nothing but padding, and no pixel of the input"
    center = target_of(target.tracing, target.tensor).receptive_field
    if center.support().any():
        return reason, f"Choose a unit farther inside, such as {center.unit}, the centre's"
    return reason, f"Choose another layer than {field.layer!r}"


def _loss_in(node: Node, entering: Sequence[tuple[Any, Any]], missing: bool) -> tuple[str, str]:
    """What happened to a gradient that enters a layer and does not leave it, and what to do."""
    if missing:
        return f"layer {node.name!r} cannot be differentiated", "Choose a layer before it"
    activation = getattr(node.operation, "activation", None)
    rectifies = "relu" in f"{type(node.operation).__name__} {activation}".lower()
    if rectifies and not any(_is_positive(*pair) for pair in entering):
        return (
            f"it ends in layer {node.name!r}, whose ReLU is negative wherever the unit looks "
            "(dead ReLU)",
            "Probe a layer before it, other inputs, or another unit",
        )
    return (
        f"it ends in layer {node.name!r}, whose weights or factors are zero, whose activation is "
        "saturated, or whose gradient is below the smallest number of its dtype (underflow)",
        "Check its weights, or run the model in float64",
    )


def _is_positive(value: Any, gradient: Any) -> bool:
    """Whether `value` is positive anywhere that a gradient reaches."""
    return bool(tf.reduce_any((value > 0) & (gradient != 0)))


def _is_finite(tensor: Any) -> bool:
    return tensor is None or bool(np.isfinite(np.asarray(tensor, dtype=np.float64)).all())


def _reaches(gradient: Any) -> bool:
    """Whether a gradient is there and not zero everywhere."""
    return gradient is not None and bool(np.any(np.asarray(gradient, dtype=np.float64) != 0))
