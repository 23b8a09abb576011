"""The table of layers that can be run on a part of their tensors; all others run whole.

By class, as the rules are; a subclass that computes something else has no entry.
"""

from __future__ import annotations

from keras_erf.cone import pointwise, sliding, spreading
from keras_erf.cone.restricted import Restricter
from keras_erf.rules.elements import elementwise
from keras_erf.rules.operations import OPERATIONS
from keras_erf.rules.table import by_class

__all__ = ["FAMILIES", "RESTRICTERS"]

FAMILIES: tuple[tuple[Restricter, str], ...] = (
    (sliding.convolution, "Conv1D Conv2D Conv3D"),
    (sliding.depthwise_convolution, "DepthwiseConv1D DepthwiseConv2D"),
    (sliding.separable_convolution, "SeparableConv1D SeparableConv2D"),
    (spreading.transposed_convolution, "Conv1DTranspose Conv2DTranspose Conv3DTranspose"),
    (sliding.max_pooling, "MaxPooling1D MaxPooling2D MaxPooling3D"),
    (sliding.average_pooling, "AveragePooling1D AveragePooling2D AveragePooling3D"),
    (
        sliding.shifting,
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D",
    ),
    (spreading.upsampling, "UpSampling1D UpSampling2D UpSampling3D"),
    (
        pointwise.as_it_stands,
        "Maximum Minimum Multiply Subtract Concatenate ELU LeakyReLU ReLU Softmax "
        "LayerNormalization UnitNormalization ActivityRegularization GaussianDropout GaussianNoise "
        "Embedding Identity Permute",
    ),
    (pointwise.added, "Add Average"),
    (pointwise.activated, "Activation Dense"),
    (
        pointwise.dropout,
        "AlphaDropout Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D",
    ),
    (pointwise.batch_normalization, "BatchNormalization"),
    (pointwise.stretched, "Normalization PReLU Rescaling RMSNormalization"),
)

# Operations that work element by element, whatever else they take.
_ELEMENTWISE = {
    name: pointwise.as_it_stands
    for name, rule in OPERATIONS.items()
    if rule is elementwise and name != "ops.BatchNorm"
}

# By class, or by name for operations.
RESTRICTERS: dict[type | str, Restricter] = {
    **by_class(FAMILIES),
    **_ELEMENTWISE,
    "ops.Add": pointwise.added,
}
