"""Units whose channels sum to a constant: the gradient of their sum is zero, or rounding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_erf.definitions import Definition
from keras_erf.errors import GradientError
from keras_erf.fields.theoretical import Target
from keras_erf.graph import Node

__all__ = ["check_sum"]

SOFTMAX = (layers.Softmax, "ops.Softmax")
# Their activation is the last that is done; of subclasses and of layers with states it need not be.
ACTIVATED = (
    layers.Activation, layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D,
    layers.Conv3D, layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose,
    layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D,
    layers.SeparableConv2D,
)  # fmt: skip
# They do the same to every channel: a sum that was constant stays so.
ALIKE = (
    layers.Identity, layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D,
    layers.SpatialDropout3D, layers.AveragePooling1D, layers.AveragePooling2D,
    layers.AveragePooling3D, layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
    layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
)  # fmt: skip


def check_sum(target: Target, definition: Definition) -> None:
    """Raises if what a definition seeds at a unit is the same for every input.

    The channels of a softmax sum to 1, those of a layer normalisation to that of its offsets if
    its factors are all alike.

    Raises:
        GradientError: It is; the layer to blame is named, and one to take in its place.
    """
    tracing, number = target.tracing, target.tensor
    node = tracing.maker(number)
    while node is not None and node.kind in ALIKE:
        number = node.inputs[0]
        node = tracing.maker(number)
    if node is None:
        return
    rank = len(tracing.shape(number)) + 1
    softmax = _softmax_axes(node)
    constant = softmax or (() if definition.seed == "relu" else _normalised_axes(node))
    # Of those that a unit has all of; the batch is the first.
    channels = set(range(1, rank)) - {one + 1 for one in tracing.spatial_axes(number)}
    if not constant or not channels.issuperset(one % rank for one in constant):
        return
    before = target.graph.tensors[node.inputs[0]].name
    remedy = f"Choose the layer before it, {before!r}"
    if softmax and node.kind not in SOFTMAX:
        remedy += ", or give the softmax a layer of its own and choose the one before that"
    raise GradientError(
        f"The gradient of unit {target.receptive_field.unit} of layer "
        f"{target.receptive_field.layer!r} is zero for every input: the channels of "
        f"{node.name!r} sum to a constant, and definition {definition.name!r} takes the "
        f"gradient of their sum. {remedy}"
    )


def _softmax_axes(node: Node) -> tuple[int, ...]:
    """Axes over which the call of a layer or operation is a softmax."""
    operation: Any = node.operation
    if node.kind in SOFTMAX:
        return _axes(operation)
    last = node.kind in ACTIVATED and operation.activation is keras.activations.softmax
    return (-1,) if last else ()


def _normalised_axes(node: Node) -> tuple[int, ...]:
    """Axes over which the mean of a call of a layer is the same for every input."""
    layer: Any = node.operation
    if node.kind is not layers.LayerNormalization or getattr(layer, "rms_scaling", False):
        return ()
    factors = None if layer.gamma is None else np.ptp(np.asarray(layer.gamma))
    return () if factors else _axes(layer)


def _axes(operation: Any) -> tuple[int, ...]:
    axis = operation.axis
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
