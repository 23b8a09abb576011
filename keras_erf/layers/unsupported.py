"""Layers and operations without a closed form, or without a field."""

from __future__ import annotations

from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import ACROSS_BATCH, nothing, refused, whole
from keras_erf.layers.entry import Entry

__all__ = ["ENTRIES"]

ENTRIES = (
    # The code of others
    Entry(layers="FlaxLayer JaxLayer Lambda TFSMLayer TorchModuleWrapper", dependence=measured),
    # No closed form, or too rare for one
    Entry(
        operations="AffineTransform AssociativeScan ForiLoop Geomspace ISTFT Linspace Logspace Map "
        "PerspectiveTransform ScaleAndTranslate Switch VectorizedMap WhileLoop",
        dependence=measured,
    ),
    # All of every input
    Entry(operations="InTopK SSIM", dependence=whole),
    # Only the shape counts
    Entry(operations="EmptyLike FullLike Ndim OnesLike Size ZerosLike", dependence=nothing),
    # No field
    Entry(
        layers="InputLayer Layer Wrapper",
        dependence=refused("it is a base class and computes nothing"),
    ),
    Entry(
        layers="StringLookup TextVectorization",
        dependence=refused("its inputs are words, which have no pixels"),
    ),
    Entry(
        operations="AllClose Bincount Corrcoef Correlate Diag Diagflat Histogram Kron "
        "MapCoordinates Meshgrid Outer PSNR Scan Scatter ScatterUpdate SegmentMax SegmentMin "
        "SegmentProd SegmentReduction SegmentSum Vdot",
        dependence=ACROSS_BATCH,
    ),
    Entry(
        operations="Nonzero Unique",
        dependence=refused("the shape of its output depends on the values"),
    ),
    Entry(
        operations="BinaryCrossentropy CTCLoss CategoricalCrossentropy "
        "SparseCategoricalCrossentropy",
        dependence=refused("it is a loss"),
    ),
    Entry(operations="CTCDecode", dependence=refused("it searches over whole sequences")),
    Entry(operations="ElasticTransform", dependence=refused("it draws at random where it looks")),
    Entry(operations="Cond JVP", dependence=refused("what it runs is not in the graph")),
    Entry(operations="Arange Full", dependence=refused("its operands are single numbers")),
)
