"""The table of layers whose squares are known; all others are measured.

By class, as the rules of fields are; a subclass that computes something else has no entry.
"""

from __future__ import annotations

from keras_erf.rules.table import by_class, by_operation
from keras_erf.squaring import pointwise, spatial, weighted
from keras_erf.squaring.recipes import SquareRule

__all__ = ["ENTRIES", "NARROW", "SQUARES"]

# What they make of an entry depends on that entry alone.
ENTRIES: frozenset[SquareRule] = frozenset(
    {
        pointwise.activation,
        pointwise.elementwise,
        pointwise.rescaling,
        pointwise.negated,
        pointwise.unchanged,
        pointwise.added,
        pointwise.averaged,
        pointwise.largest,
        pointwise.multiplied,
        pointwise.divided,
    }
)

# One line per rule; of these one channel may stand for all of a tensor's.
ALIKE: tuple[tuple[SquareRule, str], ...] = (
    (weighted.convolution, "Conv1D Conv2D Conv3D"),
    (weighted.depthwise, "DepthwiseConv1D DepthwiseConv2D"),
    (weighted.separable, "SeparableConv1D SeparableConv2D"),
    (weighted.transposed, "Conv1DTranspose Conv2DTranspose Conv3DTranspose"),
    (weighted.dense, "Dense"),
    (spatial.average_pooling, "AveragePooling1D AveragePooling2D AveragePooling3D"),
    (spatial.max_pooling, "MaxPooling1D MaxPooling2D MaxPooling3D"),
    (
        spatial.global_average,
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D",
    ),
    (spatial.global_maximum, "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D"),
    (
        spatial.moved,
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D CenterCrop",
    ),
    (spatial.upsampling, "UpSampling1D UpSampling2D UpSampling3D Resizing"),
    (pointwise.activation, "Activation"),
    (pointwise.elementwise, "ELU LeakyReLU ReLU"),
    (pointwise.batch_normalization, "BatchNormalization"),
    (pointwise.normalization, "Normalization"),
    (pointwise.centred, "LayerNormalization GroupNormalization"),
    (pointwise.rescaling, "Rescaling"),
    (
        pointwise.dropout,
        "Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D",
    ),
    (pointwise.unchanged, "ActivityRegularization Identity"),
    (pointwise.added, "Add Subtract"),
    (pointwise.averaged, "Average"),
    (pointwise.largest, "Maximum Minimum"),
    (pointwise.multiplied, "Multiply"),
    (pointwise.concatenated, "Concatenate"),
)
ALIKE_OPERATIONS: tuple[tuple[SquareRule, str], ...] = (
    (
        pointwise.elementwise,
        "Abs Absolute Celu Clip Elu Gelu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu "
        "LogSigmoid Relu Relu6 Selu Sigmoid Silu Sin SoftShrink Softplus Softsign Tanh TanhShrink",
    ),
    (pointwise.unchanged, "Copy"),
    (pointwise.negated, "Negative"),
    (pointwise.added, "Add Subtract"),
    (pointwise.largest, "Maximum Minimum"),
    (pointwise.multiplied, "Multiply"),
    (pointwise.divided, "Divide TrueDivide"),
    (pointwise.concatenated, "Concatenate"),
)
# Where entries only change their places, channels may become space, and all have to be there.
REARRANGING: tuple[tuple[SquareRule, str], ...] = (
    (spatial.moved, "Flatten Permute Reshape RepeatVector"),
)
REARRANGING_OPERATIONS: tuple[tuple[SquareRule, str], ...] = (
    (
        spatial.moved,
        "DepthToSpace ExpandDims Flip GetItem Moveaxis Pad Repeat Reshape Roll SpaceToDepth Split "
        "Squeeze Stack Swapaxes Transpose Unstack",
    ),
)


NARROW: dict[type | str, SquareRule] = by_class(ALIKE) | by_operation(ALIKE_OPERATIONS)
SQUARES: dict[type | str, SquareRule] = (
    NARROW | by_class(REARRANGING) | by_operation(REARRANGING_OPERATIONS)
)
