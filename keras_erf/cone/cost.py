"""What a cone costs: the multiply-adds of its convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Collection

from keras_erf.algebra.boxes import entire
from keras_erf.cone.planning import Cone, ConeStep
from keras_erf.fields.tracing import Tracing
from keras_erf.layers.table import described

__all__ = ["multiply_adds"]


def multiply_adds(
    cone: Cone, tracing: Tracing, *, leading_to: Collection[int] | None = None
) -> int:
    """Multiply-adds of one forward pass of one sample; a gradient by the input costs as many again.

    Counted are layers with a kernel: the rest moves memory and multiplies little.

    Args:
        cone: The calls.
        tracing: Fields of their graph, which know the tensors' shapes.
        leading_to: Count only the calls that any of these tensors depend on.
    """
    needed = None if leading_to is None else set(leading_to)
    total = 0
    for step in reversed(cone.steps):
        if needed is not None:
            if needed.isdisjoint(step.node.outputs):
                continue
            needed.update(step.node.inputs)
        total += _of_step(step, cone, tracing)
    return total


def _of_step(step: ConeStep, cone: Cone, tracing: Tracing) -> int:
    entry = described(step.node.kind)
    if entry is None or entry.multiply_adds is None:
        return 0
    source, made = step.node.inputs[0], step.node.outputs[0]
    taken = step.inputs[0] or entire(tracing.shape(source))
    given = cone.parts.get(made) or entire(tracing.shape(made))
    return entry.multiply_adds(step.node.operation, taken, given)
