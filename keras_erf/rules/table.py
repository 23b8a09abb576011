"""The table of rules: one line per Keras layer or operation.

Layers are looked up by class; a subclass inherits its parent's rule only as
long as it does not override what is computed. Operations of `keras.ops` are looked up by
name.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from keras_erf.errors import UnsupportedLayerError
from keras_erf.geometry import View
from keras_erf.rules import everything, pointwise, rearranging, sliding
from keras_erf.rules.call import Call, Rule

__all__ = ["RULES", "views"]

RULES: dict[type | str, Rule] = {
    # Convolutions
    layers.Conv1D: sliding.convolution,
    layers.Conv2D: sliding.convolution,
    layers.Conv3D: sliding.convolution,
    layers.DepthwiseConv1D: sliding.depthwise_convolution,
    layers.DepthwiseConv2D: sliding.depthwise_convolution,
    layers.SeparableConv1D: sliding.separable_convolution,
    layers.SeparableConv2D: sliding.separable_convolution,
    layers.Conv1DTranspose: sliding.transposed_convolution,
    layers.Conv2DTranspose: sliding.transposed_convolution,
    layers.Conv3DTranspose: sliding.transposed_convolution,
    # Pooling
    layers.MaxPooling1D: sliding.pooling,
    layers.MaxPooling2D: sliding.pooling,
    layers.MaxPooling3D: sliding.pooling,
    layers.AveragePooling1D: sliding.pooling,
    layers.AveragePooling2D: sliding.pooling,
    layers.AveragePooling3D: sliding.pooling,
    layers.GlobalAveragePooling1D: everything.global_pooling,
    layers.GlobalAveragePooling2D: everything.global_pooling,
    layers.GlobalAveragePooling3D: everything.global_pooling,
    layers.GlobalMaxPooling1D: everything.global_pooling,
    layers.GlobalMaxPooling2D: everything.global_pooling,
    layers.GlobalMaxPooling3D: everything.global_pooling,
    # Padding, cropping, up-sampling
    layers.ZeroPadding1D: sliding.zero_padding,
    layers.ZeroPadding2D: sliding.zero_padding,
    layers.ZeroPadding3D: sliding.zero_padding,
    layers.Cropping1D: sliding.cropping,
    layers.Cropping2D: sliding.cropping,
    layers.Cropping3D: sliding.cropping,
    layers.UpSampling1D: sliding.upsampling,
    layers.UpSampling2D: sliding.upsampling,
    layers.UpSampling3D: sliding.upsampling,
    # Merges
    layers.Add: pointwise.elementwise,
    layers.Average: pointwise.elementwise,
    layers.Maximum: pointwise.elementwise,
    layers.Minimum: pointwise.elementwise,
    layers.Multiply: pointwise.elementwise,
    layers.Subtract: pointwise.elementwise,
    layers.Concatenate: rearranging.concatenation,
    # Activations
    layers.Activation: pointwise.activation,
    layers.ELU: pointwise.elementwise,
    layers.LeakyReLU: pointwise.elementwise,
    layers.PReLU: pointwise.elementwise,
    layers.ReLU: pointwise.elementwise,
    layers.Softmax: pointwise.normalization,
    # Normalisation
    layers.BatchNormalization: pointwise.elementwise,
    layers.Normalization: pointwise.elementwise,
    layers.Rescaling: pointwise.elementwise,
    layers.GroupNormalization: pointwise.group_normalization,
    layers.LayerNormalization: pointwise.normalization,
    layers.RMSNormalization: pointwise.normalization,
    layers.UnitNormalization: pointwise.normalization,
    # Noise and regularisation
    layers.ActivityRegularization: pointwise.elementwise,
    layers.AlphaDropout: pointwise.elementwise,
    layers.Dropout: pointwise.elementwise,
    layers.GaussianDropout: pointwise.elementwise,
    layers.GaussianNoise: pointwise.elementwise,
    layers.SpatialDropout1D: pointwise.elementwise,
    layers.SpatialDropout2D: pointwise.elementwise,
    layers.SpatialDropout3D: pointwise.elementwise,
    # Dense, reshaping and the rest
    layers.Dense: pointwise.dense,
    layers.Flatten: rearranging.flatten,
    layers.Identity: pointwise.elementwise,
    layers.Permute: rearranging.permute,
    layers.Reshape: rearranging.reshape,
    # Operations, as they stand in a graph after `x + y`, `keras.ops.relu(x)`, ...
    "ops.Absolute": pointwise.elementwise,
    "ops.Add": pointwise.elementwise,
    "ops.Cast": pointwise.elementwise,
    "ops.Clip": pointwise.elementwise,
    "ops.Divide": pointwise.elementwise,
    "ops.Elu": pointwise.elementwise,
    "ops.Exp": pointwise.elementwise,
    "ops.Gelu": pointwise.elementwise,
    "ops.HardSigmoid": pointwise.elementwise,
    "ops.HardSilu": pointwise.elementwise,
    "ops.LeakyRelu": pointwise.elementwise,
    "ops.Log": pointwise.elementwise,
    "ops.Maximum": pointwise.elementwise,
    "ops.Minimum": pointwise.elementwise,
    "ops.Multiply": pointwise.elementwise,
    "ops.Negative": pointwise.elementwise,
    "ops.Power": pointwise.elementwise,
    "ops.Relu": pointwise.elementwise,
    "ops.Relu6": pointwise.elementwise,
    "ops.Selu": pointwise.elementwise,
    "ops.Sigmoid": pointwise.elementwise,
    "ops.Silu": pointwise.elementwise,
    "ops.Softplus": pointwise.elementwise,
    "ops.Sqrt": pointwise.elementwise,
    "ops.Square": pointwise.elementwise,
    "ops.Subtract": pointwise.elementwise,
    "ops.Tanh": pointwise.elementwise,
    "ops.TrueDivide": pointwise.elementwise,
}

# What a layer computes; Keras lets subclasses of its convolutions override the last one.
_CALLED = ("__call__", "call", "convolution_op")


def find_rule(kind: type | str) -> Rule | None:
    """Rule of a layer class or operation name; a subclass that computes otherwise has none."""
    if isinstance(kind, str):
        return RULES.get(kind)
    for parent in kind.__mro__:
        if parent in RULES:
            same = all(getattr(kind, name, None) is getattr(parent, name, None) for name in _CALLED)
            return RULES[parent] if same else None
    return None


def views(call: Call, kind: type | str) -> tuple[View, ...]:
    """The views of a call's inputs, by the rule of its `kind`.

    Raises:
        UnsupportedLayerError: No rule knows the layer.
    """
    rule = find_rule(kind)
    found = rule(call) if rule and _knows_activation(call.layer) else ()
    if pointwise.mixes(call.layer) and rule is not pointwise.activation:
        # What a softmax inside another layer mixes, the layer must take in whole already.
        found = found if all(view.links[-1].axis is None for view in found) else ()
    if not found:
        name = kind if isinstance(kind, str) else kind.__name__
        what = "its activation function" if rule else f"its class {name}"
        raise UnsupportedLayerError(
            f"No rule tells the receptive field of layer {call.name!r}: {what} is not in the "
            f"table. Choose a layer before it. Received: {name} from {call.inputs} to {call.output}"
        )
    return found


def _knows_activation(layer: Any) -> bool:
    """Whether a layer's activation is one of Keras's own, on single positions or the last axis."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        return True
    if isinstance(activation, layers.Layer):
        return find_rule(type(activation)) is pointwise.elementwise
    module = getattr(activation, "__module__", type(activation).__module__)
    # A gated linear unit halves the axis.
    return module.startswith("keras.") and activation.__name__ != "glu"
