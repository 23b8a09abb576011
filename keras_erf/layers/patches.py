"""Patches of images: cut out, unfolded, folded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import channel_axis, spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import ChainedView
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.convolution import convolution
from keras_erf.layers.entry import Entry
from keras_erf.layers.windows import as_layer, as_tuple, layer_like
from keras_erf.types import Layer

__all__ = ["ENTRIES"]


def patches(call: Call) -> tuple[AnyView, ...]:
    """Patches side by side along the channels: rows, columns, channels in this order."""
    layer = layer_like(call)
    shape, rank = call.inputs[0], len(call.inputs[0])
    axes, channel = spatial_axes(layer, rank), channel_axis(layer, rank)
    size = as_tuple(layer.size, len(axes))
    strides = size if layer.strides is None else as_tuple(layer.strides, len(axes))
    dilation = as_tuple(layer.dilation_rate, len(axes))
    moved = convolution(
        as_layer(call, kernel_size=size, strides=strides, dilation_rate=dilation, groups=1)
    )[0]
    padded, before = list(shape), [0] * rank
    for axis, k, s, d in zip(axes, size, strides, dilation, strict=True):
        relation = moved.links[axis].relation
        assert isinstance(relation, Window)
        before[axis] = relation.padding
        padded[axis] = max((call.output[axis] - 1) * s + (k - 1) * d + 1, 1)
    windows = _window_indices(padded, axes, size, strides, dilation)
    # Behind the places come the taps; the channels go behind those, or in front of the places.
    made = np.moveaxis(windows, channel, -1)
    count = len(axes)
    if channel == 0:
        made = np.moveaxis(made, range(count), range(-count, 0))
    return _padded(call, before, padded, made.reshape(call.output))


def unfolding(call: Call) -> tuple[AnyView, ...]:
    """Patches of a map of shape (C, H, W), as (C kh kw) channels, one column a position."""
    layer, shape = call.layer, call.inputs[0]
    kernel, dilation, padding, stride = _pairs(layer)
    padded = [shape[0], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))]
    windows = _window_indices(padded, (1, 2), kernel, stride, dilation)
    made = np.moveaxis(windows, (1, 2), (-2, -1)).reshape(call.output)
    return _padded(call, [0, *padding], padded, made)


def folding(call: Call) -> tuple[AnyView, ...]:
    """Patches put back in their places and added: for each tap a copy of one row of each."""
    layer, (channels, *sizes) = call.layer, call.output
    kernel, dilation, padding, stride = _pairs(layer)
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(sizes, kernel, dilation, padding, stride, strict=True)
    ]
    views = []
    for taps in itertools.product(*map(range, kernel)):
        places, inside = [], []
        for size, tap, d, p, s, count in zip(
            sizes, taps, dilation, padding, stride, counts, strict=True
        ):
            place, rest = np.divmod(np.arange(size) + p - tap * d, s)
            places.append(place)
            inside.append((rest == 0) & (place >= 0) & (place < count))
        place = places[0][:, None] * counts[1] + places[1]
        row = np.arange(channels) * math.prod(kernel) + taps[0] * kernel[1] + taps[1]
        indices = row[:, None, None] * call.inputs[0][1] + place
        present = inside[0][:, None] & inside[1]
        views.append(IndexedView(np.where(present, indices, -1), call.inputs[0]))
    return tuple(views)


def _window_indices(
    shape: Sequence[int],
    axes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Flat indices of a tensor's elements: its axes, with places for pixels, and then the taps."""
    ids = np.arange(math.prod(shape)).reshape(shape)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(ids, reach, axis=tuple(axes))
    chosen = [slice(None)] * len(shape)
    for axis, stride in zip(axes, strides, strict=True):
        chosen[axis] = slice(None, None, stride)
    return windows[(*chosen, *(slice(None, None, d) for d in dilation))]


def _padded(
    call: Call, before: Sequence[int], padded: Sequence[int], indices: np.ndarray
) -> tuple[AnyView, ...]:
    """Padding, and then a copy of the elements at `indices`."""
    shifts = View(tuple(Link(axis, Window(padding=n)) for axis, n in enumerate(before)))
    copied = IndexedView(indices, tuple(padded))
    return (ChainedView((shifts, copied), (tuple(padded),)),)


def _pairs(layer: Layer) -> tuple[tuple[int, ...], ...]:
    """Kernel, dilation, padding and stride of a fold or its inverse."""
    given = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return tuple(as_tuple(one, 2) for one in given)


ENTRIES = (
    Entry(operations="ExtractPatches", dependence=patches, affine=in_one_tensor),
    Entry(operations="Unfold", dependence=unfolding, affine=in_one_tensor),
    Entry(operations="Fold", dependence=folding, affine=in_one_tensor),
)
