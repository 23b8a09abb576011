"""The table of layers: one line per class of `keras.layers`."""

from __future__ import annotations

from keras import layers

from keras_erf.rules import everything, pointwise, rearranging, sliding
from keras_erf.rules.call import Rule

__all__ = ["LAYERS"]

LAYERS: dict[type | str, Rule] = {
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
    layers.Flatten: rearranging.reshape,
    layers.Identity: pointwise.elementwise,
    layers.Permute: rearranging.permute,
    layers.Reshape: rearranging.reshape,
}
