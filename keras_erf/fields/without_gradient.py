"""Layers through which units depend on the input, but without a gradient."""

from __future__ import annotations

from keras_erf.algebra.views import View
from keras_erf.dependence.gradient_support import is_smooth
from keras_erf.dependence.measured import MeasuredView
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Node
from keras_erf.layers.table import described

__all__ = ["unseen"]


def unseen(tracing: Tracing, tensor: int) -> list[str]:
    """Names of the layers before a tensor that pass on what they see without a gradient.

    Comparisons, integers, rounding and stopped gradients do, and measured layers
    of which changes showed more than gradients.

    Args:
        tracing: Fields of the graph.
        tensor: Number of the tensor.
    """
    used = {tensor, *(source for node in tracing.ancestors(tensor) for source in node.inputs)}
    return [
        node.name
        for node in tracing.graph.ancestors(tensor)
        if any(_hides(tracing, inner, used) for inner in tracing.inside(node))
    ]


def _hides(tracing: Tracing, node: Node, used: set[int]) -> bool:
    """Whether a call has no gradient by one of its inputs on the path."""
    if not any(map(tracing.is_reached, node.inputs)):
        return False
    entry = described(node.kind)
    flat = entry is not None and entry.flat
    for view in tracing.views(node, through_global=True):
        if isinstance(view, (View, MeasuredView)) and view.hidden:
            return True
        source, output = (
            tracing.shapes.tensors[tensor]
            for tensor in (node.inputs[view.input], node.outputs[view.output])
        )
        stepped = _is_number(source.dtype) and not _is_number(output.dtype)
        if node.outputs[view.output] in used and (stepped or flat):
            return True
    return False


def _is_number(dtype: str) -> bool:
    """Whether a tensor of that dtype can have a gradient."""
    return is_smooth(dtype) or dtype.startswith("complex")
