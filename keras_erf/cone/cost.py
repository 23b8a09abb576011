"""What a cone costs: the multiply-adds of its convolutions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from keras_erf.algebra.geometry import Box
from keras_erf.cone.parts import elements, entire
from keras_erf.cone.planning import Cone, ConeStep
from keras_erf.fields.tracing import Tracing
from keras_erf.rules.call import channel_axis
from keras_erf.rules.table import by_class, look_up

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
    count = look_up(step.node.kind, KERNELS)
    if count is None:
        return 0
    source, made = step.node.inputs[0], step.node.outputs[0]
    taken = step.inputs[0] or entire(tracing.shape(source))
    given = cone.parts.get(made) or entire(tracing.shape(made))
    return count(step.node.operation, taken, given)


def _positions(layer: Any, part: Box) -> int:
    """Places of a part, channels not counted."""
    channel = channel_axis(layer, len(part))
    return elements(tuple(one for axis, one in enumerate(part) if axis != channel))


def _at_outputs(layer: Any, taken: Box, given: Box) -> int:
    """The whole kernel at each position of the output."""
    return _positions(layer, given) * math.prod(layer.kernel.shape)


def _at_inputs(layer: Any, taken: Box, given: Box) -> int:
    """The whole kernel at each position of the input."""
    return _positions(layer, taken) * math.prod(layer.kernel.shape)


def _separable(layer: Any, taken: Box, given: Box) -> int:
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return _positions(layer, given) * sum(math.prod(one.shape) for one in kernels)


FAMILIES: tuple[tuple[Callable[[Any, Box, Box], int], str], ...] = (
    (_at_outputs, "Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D Dense"),
    (_separable, "SeparableConv1D SeparableConv2D"),
    (_at_inputs, "Conv1DTranspose Conv2DTranspose Conv3DTranspose"),
)

KERNELS = by_class(FAMILIES)
