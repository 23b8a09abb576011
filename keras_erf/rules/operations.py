"""The table of operations of `keras.ops`, as they stand in a graph after `x + y` or `ops.relu(x)`.

An operation's key is the name of its class, which is that of the function in
camel case (`ops.expand_dims` is `ExpandDims`); operators have theirs
(`x[1:]` is `GetItem`, `x / y` is `TrueDivide`). Each family is one rule and the names
that have it.
"""

from __future__ import annotations

import numpy as np

from keras_erf.rules import (
    elements,
    everything,
    operands,
    products,
    rearranging,
    reductions,
    sliding,
    sliding_operations,
    spectra,
)
from keras_erf.rules.call import Rule
from keras_erf.rules.measured import measured
from keras_erf.rules.refused import ACROSS_BATCH, refused

__all__ = ["OPERATIONS"]

# One entry per rule; a name stands in the family of what its output sees.
FAMILIES: tuple[tuple[Rule, str], ...] = (
    # Element by element: arithmetic
    (
        elements.elementwise,
        "Abs Absolute Add Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cbrt Ceil "
        "Clip Conj Conjugate Cos Cosh Deg2rad Divide DivideNoNan Erf Erfc Erfinv Exp Exp2 Expm1 "
        "Fabs Floor FloorDivide Fmax Fmin Fmod Gcd Heaviside Hypot I0 Imag Lcm Ldexp Log Log10 "
        "Log1p Log2 Logaddexp Logaddexp2 Maximum Minimum Mod Multiply NanToNum Negative Nextafter "
        "Polar Power Rad2deg Real Reciprocal Round Rsqrt Sign Signbit Sin Sinc Sinh Sqrt Square "
        "Subtract Tan Tanh TrueDivide Trunc UnravelIndex",
    ),
    # Element by element: logic and bits
    (
        elements.elementwise,
        "BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift "
        "BitwiseXor Equal Greater GreaterEqual Isclose Isfinite Isinf Isnan Isneginf Isposinf "
        "Isreal LeftShift Less LessEqual LogicalAnd LogicalNot LogicalOr LogicalXor NotEqual "
        "RightShift",
    ),
    # Element by element: activations, scaling by constants, copies
    (
        elements.elementwise,
        "Array BatchNorm Cast Celu ConvertToTensor Copy Elu Gelu HardShrink HardSigmoid HardSilu "
        "HardTanh LeakyRelu LogSigmoid Relu Relu6 SaturateCast Selu Sigmoid Silu SoftShrink "
        "Softplus Softsign SparsePlus SparseSigmoid Squareplus StopGradient TanhShrink Threshold",
    ),
    # Choices among elements, and new or merged axes
    (elements.where, "Where"),
    (elements.select, "Select"),
    (elements.lookup("x"), "Digitize"),
    (elements.lookup("x1"), "IsIn"),
    (elements.lookup("values"), "SearchSorted"),
    (elements.take, "Take"),
    (elements.take_along_axis, "TakeAlongAxis"),
    (elements.one_hot, "OneHot Vander ViewAsReal"),
    (elements.multi_hot, "MultiHot"),
    (elements.glued, "ViewAsComplex"),
    (elements.reinterpreted, "View"),
    (elements.over_channels, "HSVToRGB RGBToGrayscale RGBToHSV"),
    # Only the shape counts
    (operands.constant, "EmptyLike FullLike Ndim OnesLike Size ZerosLike"),
    # Copies of elements from elsewhere
    (rearranging.reshape, "ExpandDims Reshape Squeeze"),
    (rearranging.joined, "Concatenate"),
    (rearranging.permuted(lambda op, x: np.transpose(x, op.axes)), "Transpose"),
    (rearranging.permuted(lambda op, x: np.swapaxes(x, op.axis1, op.axis2)), "Swapaxes"),
    (rearranging.permuted(lambda op, x: np.moveaxis(x, op.source, op.destination)), "Moveaxis"),
    (rearranging.sliced, "GetItem"),
    (
        rearranging.traced,
        "Append ArraySplit BroadcastTo CropImages DepthToSpace Diagonal Dsplit Dstack "
        "ExtractSequences Flip Fliplr Flipud Hsplit Hstack Pad PadImages Ravel "
        "Rearrange Repeat Roll Rot90 Slice SliceUpdate SpaceToDepth Split Stack Tile "
        "Tril Triu Unstack Vsplit Vstack",
    ),
    # Whole axes
    (
        reductions.reduction,
        "All Amin Any Argmax Argmin Average CountNonzero Mean Median Min Nanargmax Nanargmin "
        "Nanmax Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar "
        "Norm Percentile Prod Ptp Quantile Std Sum Trapezoid Var",
    ),
    (reductions.largest, "Amax Logsumexp Max"),
    (reductions.reduction_over("axes"), "Moments"),
    (reductions.whole, "Argpartition Argsort Sort"),
    (reductions.normalization, "LayerNorm LogSoftmax Normalize RMSNorm Softmax Sparsemax"),
    (reductions.cumulative, "Cumprod Cumsum Nancumprod Nancumsum"),
    (reductions.difference, "Diff"),
    (reductions.gated, "Glu"),
    (reductions.top, "TopK"),
    (reductions.trace, "Trace"),
    (everything.whole, "InTopK SSIM"),
    # Matrices in the last two axes; factors have zeros where they are triangular
    (reductions.matrix(), "Det Eig Inv MatrixRank Pinv SVD Slogdet"),
    (reductions.matrix("bound"), "Cholesky CholeskyInverse Eigh Logdet LuFactor Qr"),
    # Products
    (products.einsum, "Einsum"),
    (products.matmul, "Matmul"),
    (products.dot, "Dot"),
    (products.inner, "Inner"),
    (products.tensordot, "Tensordot"),
    (products.cross, "Cross"),
    (products.pairs, "CDist"),
    (products.solve(), "Lstsq Solve"),
    (products.solve("bound"), "SolveTriangular"),
    (products.attention, "DotProductAttention"),
    # Windows
    (sliding_operations.pooling, "AveragePool MaxPool"),
    (sliding_operations.adaptive_pooling, "AdaptiveAveragePool AdaptiveMaxPool"),
    (sliding_operations.kernel_of(sliding.convolution), "Conv"),
    (sliding_operations.kernel_of(sliding.transposed_convolution), "ConvTranspose"),
    (sliding_operations.kernel_of(sliding.depthwise_convolution), "DepthwiseConv"),
    (
        sliding_operations.kernel_of(sliding.separable_convolution, "depthwise_kernel"),
        "SeparableConv",
    ),
    (sliding_operations.resize, "Resize"),
    (sliding_operations.blurring, "GaussianBlur"),
    (sliding_operations.edges, "SobelEdges"),
    (sliding_operations.patches, "ExtractPatches"),
    (sliding_operations.unfolding, "Unfold"),
    (sliding_operations.folding, "Fold"),
    # Spectra
    (spectra.fourier, "FFT RFFT"),
    (spectra.inverse_real_fourier, "IRFFT"),
    (spectra.plane_fourier, "FFT2 IFFT2"),
    (spectra.short_time_fourier, "STFT"),
    # No closed form, or too rare for one
    (
        measured,
        "AffineTransform AssociativeScan ForiLoop Geomspace ISTFT Linspace Logspace Map "
        "PerspectiveTransform ScaleAndTranslate Switch VectorizedMap WhileLoop",
    ),
    # Deliberately none
    (
        ACROSS_BATCH,
        "AllClose Bincount Corrcoef Correlate Diag Diagflat Histogram Kron MapCoordinates Meshgrid "
        "Outer PSNR Scan Scatter ScatterUpdate SegmentMax SegmentMin SegmentProd "
        "SegmentReduction SegmentSum Vdot",
    ),
    (refused("the shape of its output depends on the values"), "Nonzero Unique"),
    (
        refused("it is a loss"),
        "BinaryCrossentropy CTCLoss CategoricalCrossentropy SparseCategoricalCrossentropy",
    ),
    (refused("it searches over whole sequences"), "CTCDecode"),
    (refused("it draws at random where it looks"), "ElasticTransform"),
    (refused("what it runs is not in the graph"), "Cond JVP"),
    (refused("its operands are single numbers"), "Arange Full"),
)

OPERATIONS: dict[type | str, Rule] = {
    f"ops.{name}": rule for rule, names in FAMILIES for name in names.split()
}
