"""Layers that slide a window: convolutions, pools, padding, cropping, up-sampling.

Positions follow the layers' own arithmetic. With kernel k, stride s, dilation d
and padding p before the axis, output o of a convolution reads inputs
o s - p + j d for j < k (Dumoulin and Visin 2016, "A guide to convolution
arithmetic for deep learning", relations 1 to 7; dilation section 5.1). A
transposed convolution is the same relation read backwards (their section 4).
TensorFlow's SAME puts the smaller half of its padding before the axis.
Taps whose weights are all zero, as behind a mask, are not seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from keras_erf.algebra.factoring import products, runs
from keras_erf.algebra.geometry import Blocks, Relation, Window
from keras_erf.algebra.views import Link, View
from keras_erf.rules.call import Call, channel_axis, spatial_axes
from keras_erf.rules.resizing import smooth_upsampling

__all__ = [
    "convolution",
    "cropping",
    "depthwise_convolution",
    "pooling",
    "separable_convolution",
    "transposed_convolution",
    "upsampling",
    "windows_of",
    "zero_padding",
]

EVERY = Link(None)


def _padding_before(mode: str, size: int, kernel: int, stride: int, dilation: int) -> int:
    """Padding before an axis of `size` pixels, as TensorFlow and Keras place it."""
    reach = (kernel - 1) * dilation
    if mode == "valid":
        return 0
    if mode == "causal":
        return reach
    outputs = -(-size // stride)
    return max((outputs - 1) * stride + reach + 1 - size, 0) // 2


def _views(
    call: Call, windows: list[Relation], channels: Link, kernel: np.ndarray | None = None
) -> tuple[View, ...]:
    """Views with `windows` on the spatial axes and `channels` on the channel axis.

    One if all taps of the kernel count; else one for each box of those that do.

    Args:
        call: The call.
        windows: A window for each spatial axis.
        channels: How the channels are followed.
        kernel: Which taps count, in the windows' order; `None` for all.
    """
    rank = len(call.output)
    axes = spatial_axes(call.layer, rank)
    views = []
    for chosen in _boxes(windows, kernel):
        links = [channels] * rank
        for axis, window in zip(axes, chosen, strict=True):
            links[axis] = Link(axis, window)
        views.append(View(tuple(links)))
    return tuple(views)


def _boxes(windows: list[Relation], kernel: np.ndarray | None) -> Iterator[Sequence[Relation]]:
    """Windows of the taps that count, box by box."""
    if kernel is None:
        yield windows
        return
    for lines in products(kernel):
        parts = [
            [_part(window, *run) for run in runs(line)]
            for window, line in zip(windows, lines, strict=True)
        ]
        yield from itertools.product(*parts)


def _part(window: Relation, first: int, step: int, count: int) -> Window:
    """The window of some of another one's taps: `count` of them, `step` apart, from `first`."""
    assert isinstance(window, Window)
    dilation = window.dilation * step if count > 1 else 1
    padding = window.padding - first * window.dilation
    return replace(window, size=count, dilation=dilation, padding=padding)


def _taps(call: Call, name: str = "kernel") -> np.ndarray | None:
    """Which taps of a kernel have a weight that is not zero; `None` if all of them do."""
    zeros = call.zeros(getattr(call.layer, name, None))
    if zeros is None:
        return None
    taps = np.asarray(~zeros.all(axis=(-2, -1)))
    return None if taps.all() else taps


def windows_of(call: Call) -> list[Relation]:
    """The windows of a layer with a kernel, one for each spatial axis."""
    return _windows(call, call.layer.kernel_size, call.layer.strides, call.layer.dilation_rate)


def _windows(call: Call, kernel: tuple, stride: tuple, dilation: tuple) -> list[Relation]:
    layer, shape = call.layer, call.inputs[0]
    axes = spatial_axes(layer, len(shape))
    return [
        Window(k, s, d, _padding_before(layer.padding, shape[axis], k, s, d))
        for axis, k, s, d in zip(axes, kernel, stride, dilation, strict=True)
    ]


def convolution(call: Call) -> tuple[View, ...]:
    """Plain and grouped convolutions."""
    layer, rank = call.layer, len(call.output)
    windows = windows_of(call)
    axis = channel_axis(layer, rank)
    groups = layer.groups
    blocks = Blocks(call.output[axis] // groups, call.inputs[0][axis] // groups)
    return _views(call, windows, EVERY if groups == 1 else Link(axis, blocks), _taps(call))


def separable_convolution(call: Call) -> tuple[View, ...]:
    """Depthwise convolution followed by a 1x1 convolution over all channels."""
    return _views(call, windows_of(call), EVERY, _taps(call, "depthwise_kernel"))


def depthwise_convolution(call: Call) -> tuple[View, ...]:
    """Depthwise convolutions: each channel by itself, `depth_multiplier` times."""
    layer = call.layer
    windows = windows_of(call)
    channels = Link(channel_axis(layer, len(call.output)), Blocks(layer.depth_multiplier, 1))
    return _views(call, windows, channels, _taps(call))


def transposed_convolution(call: Call) -> tuple[View, ...]:
    """Transposed convolutions: the gradient of a convolution of the output's size.

    Output o gets tap j of input i where i s - p + j d = o, with p the padding
    the forward convolution would put before an axis of the output's size.
    """
    layer = call.layer
    windows: list[Relation] = []
    axes = spatial_axes(layer, len(call.output))
    for axis, k, s, d in zip(
        axes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        before = _padding_before(layer.padding, call.output[axis], k, s, d)
        windows.append(Window(k, 1, d, padding=(k - 1) * d - before, up=s))
    taps = _taps(call)
    # Read backwards, the last tap comes first.
    return _views(call, windows, EVERY, None if taps is None else np.flip(taps))


def pooling(call: Call) -> tuple[View, ...]:
    """Max and average pooling."""
    layer = call.layer
    ones = (1,) * len(layer.pool_size)
    windows = _windows(call, layer.pool_size, layer.strides, ones)
    return _views(call, windows, Link(channel_axis(layer, len(call.output))))


def _shifting(attribute: str, sign: int) -> Callable[[Call], tuple[View, ...]]:
    """A rule that shifts each spatial axis by what stands before it."""

    def rule(call: Call) -> tuple[View, ...]:
        amounts = getattr(call.layer, attribute)
        rank = len(call.output)
        pairs = (amounts,) if rank == 2 else amounts
        windows: list[Relation] = [Window(padding=sign * before) for before, _ in pairs]
        # One-dimensional padding and cropping know no data format: steps come first.
        if rank == 2 and getattr(call.layer, "data_format", None) is None:
            return (View((Link(0, windows[0]), Link(1))),)
        return _views(call, windows, Link(channel_axis(call.layer, rank)))

    return rule


zero_padding = _shifting("padding", 1)
cropping = _shifting("cropping", -1)


def upsampling(call: Call) -> tuple[View, ...]:
    """Up-sampling by whole factors, nearest and bilinear; others as `resizing` says.

    Nearest: output o copies input floor(o / f). Bilinear with half-pixel
    centres: output o weighs the two inputs around (o + 1/2) / f - 1/2, a
    triangle of 2 f - (f mod 2) taps centred on that point.
    """
    layer, rank = call.layer, len(call.output)
    if rank == 2:
        return (
            View((Link(0, Window(layer.size, padding=layer.size - 1, up=layer.size)), Link(1))),
        )
    interpolation = getattr(layer, "interpolation", "nearest")
    if interpolation not in ("nearest", "bilinear"):
        return smooth_upsampling(call)
    windows: list[Relation] = []
    for factor in layer.size:
        if interpolation == "nearest" or factor == 1:
            windows.append(Window(factor, padding=factor - 1, up=factor))
        else:
            taps = 2 * factor - factor % 2
            windows.append(Window(taps, padding=(taps - 1) // 2 + factor // 2, up=factor))
    return _views(call, windows, Link(channel_axis(layer, rank)))
