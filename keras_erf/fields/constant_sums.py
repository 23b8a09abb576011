"""Layers whose channels sum to a constant, such as a softmax: the sum has no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_erf.fields.inside import ends_in_activation
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import LINEAR, Node

__all__ = ["before_constant_sum"]

# What passes on a constant sum of channels, by names of classes of layers and operations.
PASSING = (
    "Activation", "Cast", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "Identity",
    "ops.Identity", "ops.Reshape", "Permute", "Reshape", "SpatialDropout1D", "SpatialDropout2D",
    "SpatialDropout3D", "UpSampling1D", "UpSampling2D", "UpSampling3D",
)  # fmt: skip


def before_constant_sum(tracing: Tracing, tensor: int) -> int | str | None:
    """What stands before the softmax or the normalisation that makes the channels' sum constant.

    Args:
        tracing: Fields of the graph.
        tensor: Number of a tensor.

    Returns:
        The number of a tensor, or the address of a value before an activation; `None` if the sum
        of the tensor's channels is not known to be constant.
    """
    node = tracing.maker(tensor)
    while node is not None and len(node.outputs) == 1:
        channel = tracing.channel_axis(node.outputs[0])
        activation = getattr(node.operation, "activation", None)
        softmax = activation is keras.activations.softmax
        last = channel == len(tracing.shape(node.outputs[0])) - 1
        if softmax and last and ends_in_activation(node):
            return f"{node.name}{LINEAR}"
        if (softmax and last and _kind(node) == "Activation") or _sums_to_constant(
            node, (channel + 1, -1) if last else (channel + 1,)
        ):
            return node.inputs[0]
        if _kind(node) not in PASSING or activation not in (None, keras.activations.linear):
            return None
        node = tracing.maker(node.inputs[0])
    return None


def _kind(node: Node) -> str:
    return node.kind if isinstance(node.kind, str) else node.kind.__name__


def _sums_to_constant(node: Node, axes: Sequence[int]) -> bool:
    """Whether a call is a softmax over the channels, or normalises them and scales all alike."""
    layer, kind = node.operation, _kind(node)
    if kind in ("Softmax", "ops.Softmax"):
        return layer.axis in axes
    if kind == "LayerNormalization" and layer.axis in (*axes, *([axis] for axis in axes)):
        return layer.gamma is None or not np.ptp(np.asarray(layer.gamma))
    return False
