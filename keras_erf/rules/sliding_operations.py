"""Operations that slide a window: the layers' rules for them, and patches, folds, edges.

An operation of `keras.ops` has its kernel as an operand and numbers where the
layer has tuples; put into a layer's words, the layer's rule applies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from keras_erf.algebra.gathering import Gather
from keras_erf.algebra.geometry import Marks, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.graph import Argument
from keras_erf.rules import resizing, sliding
from keras_erf.rules.call import Call, Rule, bound_arguments, channel_axis, spatial_axes
from keras_erf.rules.chain import Chain
from keras_erf.rules.refused import ACROSS_BATCH, refused

__all__ = [
    "adaptive_pooling",
    "blurring",
    "edges",
    "folding",
    "kernel_of",
    "patches",
    "pooling",
    "resize",
    "unfolding",
]

# Keras 3.15 gives adaptive pools of channels-last maps an axis too many.
WRONG_SHAPE = refused("Keras states a shape for its output that it does not have; use the layer")


def pooling(call: Call) -> tuple[AnyView, ...]:
    """Max and average pooling; the stride is the window's size if not given."""
    layer, rank = call.layer, len(call.output) - 1
    size = _tuple(layer.pool_size, rank)
    strides = size if layer.strides is None else _tuple(layer.strides, rank)
    return sliding.pooling(_as_layer(call, pool_size=size, strides=strides))


def kernel_of(rule: Rule, name: str = "kernel") -> Rule:
    """The rule of a convolutional layer, for the operation whose kernel is operand `name`.

    Args:
        rule: The layer's rule.
        name: The operand that has the window's size; it must be constant.
    """

    def adapted(call: Call) -> tuple[AnyView, ...]:
        given = bound_arguments(call)
        if len(call.inputs) > 1 or not isinstance(given["inputs"], Argument):
            # A kernel that is a tensor has the batch for one of its axes.
            return ACROSS_BATCH(call)
        kernel = tuple(given[name].shape)
        rank = len(kernel) - 2
        return rule(
            _as_layer(
                call,
                kernel_size=kernel[:-2],
                strides=_tuple(call.layer.strides, rank),
                dilation_rate=_tuple(call.layer.dilation_rate, rank),
                groups=1,
                depth_multiplier=kernel[-1],
                **{name: given[name]},
            )
        )

    return adapted


def adaptive_pooling(call: Call) -> tuple[AnyView, ...]:
    """Adaptive pools, as the layer."""
    if len(call.output) != len(call.inputs[0]):
        return WRONG_SHAPE(call)
    return resizing.adaptive_pooling(_as_layer(call))


def resize(call: Call) -> tuple[AnyView, ...]:
    """Resizing of images, as the layer."""
    height, width = call.layer.size
    return resizing.resizing(_as_layer(call, height=height, width=width))


def blurring(call: Call) -> tuple[AnyView, ...]:
    """A Gaussian filter of the size of the input, each channel by itself."""
    size = _tuple(call.layer.kernel_size, 2)
    ones = (1, 1)
    return sliding.depthwise_convolution(
        _as_layer(
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
    axes = spatial_axes(_layer(call), rank)
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
        placed = Gather(np.where(np.arange(2) == direction, chosen, -1), shape)
        views.append(Chain((View(tuple(links)), placed), (shape,)))
    return tuple(views)


def patches(call: Call) -> tuple[AnyView, ...]:
    """Patches side by side along the channels: rows, columns, channels in this order."""
    layer = _layer(call)
    shape, rank = call.inputs[0], len(call.inputs[0])
    axes, channel = spatial_axes(layer, rank), channel_axis(layer, rank)
    size = _tuple(layer.size, len(axes))
    strides = size if layer.strides is None else _tuple(layer.strides, len(axes))
    dilation = _tuple(layer.dilation_rate, len(axes))
    moved = sliding.convolution(
        _as_layer(call, kernel_size=size, strides=strides, dilation_rate=dilation, groups=1)
    )[0]
    padded, before = list(shape), [0] * rank
    for axis, k, s, d in zip(axes, size, strides, dilation, strict=True):
        relation = moved.links[axis].relation
        assert isinstance(relation, Window)
        before[axis] = relation.padding
        padded[axis] = max((call.output[axis] - 1) * s + (k - 1) * d + 1, 1)
    windows = _windows(padded, axes, size, strides, dilation)
    # Behind the places come the taps; the channels go behind those, or in front of the places.
    made = np.moveaxis(windows, channel, -1)
    count = len(axes)
    if channel == 0:
        made = np.moveaxis(made, range(count), range(-count, 0))
    return _padded(call, before, padded, made.reshape(call.output))


def unfolding(call: Call) -> tuple[AnyView, ...]:
    """Patches of a map of shape (C, H, W), as (C kh kw) channels of so many places."""
    layer, shape = call.layer, call.inputs[0]
    kernel, dilation, padding, stride = _pairs(layer)
    padded = [shape[0], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))]
    windows = _windows(padded, (1, 2), kernel, stride, dilation)
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
        views.append(Gather(np.where(present, indices, -1), call.inputs[0]))
    return tuple(views)


def _windows(
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
    copied = Gather(indices, tuple(padded))
    return (Chain((shifts, copied), (tuple(padded),)),)


def _as_layer(call: Call, **options: Any) -> Call:
    """The call of a layer with `options`, and with what else the operation has of its own."""
    return replace(call, layer=SimpleNamespace(**{**vars(_layer(call)), **options}))


def _layer(call: Call) -> Any:
    """The operation's attributes, with Keras's data format where it has none of its own."""
    own = vars(call.layer)
    return SimpleNamespace(
        **{**own, "data_format": own.get("data_format") or keras.config.image_data_format()}
    )


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if np.ndim(value) == 0 else tuple(map(int, value))


def _pairs(layer: Any) -> tuple[tuple[int, ...], ...]:
    """Kernel, dilation, padding and stride of a fold or its inverse."""
    given = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return tuple(_tuple(one, 2) for one in given)
