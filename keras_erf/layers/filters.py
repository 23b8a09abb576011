"""Filters of images: colours, blurs, edges."""

from __future__ import annotations

import math

import numpy as np

from keras_erf.algebra.geometry import Marks
from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import channel_axis, spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import ChainedView
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.convolution import depthwise_convolution
from keras_erf.layers.entry import Entry
from keras_erf.layers.windows import as_layer, as_tuple, layer_like

__all__ = ["ENTRIES"]


def over_channels(call: Call) -> tuple[AnyView, ...]:
    """Colours: all channels of the position."""
    rank = len(call.inputs[0])
    if rank < 3:
        return ACROSS_BATCH(call)
    channel = channel_axis(call.layer, rank)
    return (View(tuple(Link(None if axis == channel else axis) for axis in range(rank))),)


def blurring(call: Call) -> tuple[AnyView, ...]:
    """A Gaussian filter of the size of the input, each channel by itself."""
    size = as_tuple(call.layer.kernel_size, 2)
    ones = (1, 1)
    return depthwise_convolution(
        as_layer(
            call,
            kernel_size=size,
            strides=ones,
            dilation_rate=ones,
            padding="same",
            depth_multiplier=1,
        )
    )


def edges(call: Call) -> tuple[AnyView, ...]:
    """Sobel's filters: each difference is over two rows or columns, and smoothed along the other.

    Output 0 of the last axis differentiates along the rows, output 1 along the
    columns. The edges are mirrored: there a pixel's two neighbours are one, and
    the difference is zero.
    """
    shape, rank = call.inputs[0], len(call.inputs[0])
    axes = spatial_axes(layer_like(call), rank)
    chosen = np.arange(math.prod(shape)).reshape(*shape, 1)
    views = []
    for direction, along in enumerate(axes):
        links = [Link(axis) for axis in range(rank)]
        for axis in axes:
            o, i = np.ogrid[: shape[axis], : shape[axis]]
            near = abs(o - i) <= 1
            if axis == along:
                near = (abs(o - i) == 1) & (o > 0) & (o < shape[axis] - 1)
            links[axis] = Link(axis, Marks(near))
        placed = IndexedView(np.where(np.arange(2) == direction, chosen, -1), shape)
        views.append(ChainedView((View(tuple(links)), placed), (shape,)))
    return tuple(views)


ENTRIES = (
    Entry(operations="RGBToGrayscale", dependence=over_channels, affine=in_one_tensor),
    Entry(operations="HSVToRGB RGBToHSV", dependence=over_channels),
    Entry(operations="GaussianBlur", dependence=blurring, affine=in_one_tensor),
    Entry(operations="SobelEdges", dependence=edges, affine=in_one_tensor),
)
