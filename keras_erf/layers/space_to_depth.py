"""Strided convolutions of few channels, as a network starts with, as ones over blocks of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import ops

from keras_erf.layers.parts import PartSite, padded
from keras_erf.types import Array

__all__ = ["in_blocks", "is_better_in_blocks"]

# Channels of images; processors like more.
FEW_CHANNELS = 4


def is_better_in_blocks(site: PartSite) -> bool:
    """Whether a convolution strides over so few channels that its gradient is slow."""
    layer = site.layer
    plain = layer.groups == 1 and layer.data_format == "channels_last"
    few = site.call.inputs[0][-1] <= FEW_CHANNELS
    return plain and few and max(layer.strides) > 1 and max(layer.dilation_rate) == 1


def in_blocks(value: Array, kernel: Array, strides: Sequence[int]) -> Array:
    """A strided convolution, channels last and without padding, as one of stride 1 over blocks.

    Blocks of as many pixels as the stride become channels, and the kernel, filled up
    with zeros to whole blocks, goes along. The sums are the same; processors like
    many channels, and the gradient of a network's first layer takes half the time.
    """
    spans, taps = [], []
    for size, length, stride in zip(value.shape[1:-1], kernel.shape, strides, strict=False):
        outputs = (size - length) // stride + 1
        blocks = -(-length // stride)
        spans.append((size, (outputs - 1 + blocks) * stride))
        taps.append((length, blocks * stride))
    value = value[(slice(None), *(slice(0, wanted) for _, wanted in spans))]
    value = padded(value, [(0, 0), *((0, max(wanted - size, 0)) for size, wanted in spans), (0, 0)])
    kernel = padded(kernel, [*((0, wanted - size) for size, wanted in taps), (0, 0), (0, 0)])
    rank, (channels, filters) = len(strides), kernel.shape[-2:]
    pairs = [
        one
        for size, stride in zip(value.shape[1:-1], strides, strict=True)
        for one in (size // stride, stride)
    ]
    # All places of blocks first, then the places within.
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    value = ops.reshape(value, (-1, *pairs, channels))
    value = ops.transpose(value, (0, *(1 + axis for axis in order), 2 * rank + 1))
    value = ops.reshape(value, (-1, *pairs[::2], math.prod(strides) * channels))
    pairs = [
        one
        for (_, size), stride in zip(taps, strides, strict=True)
        for one in (size // stride, stride)
    ]
    kernel = ops.reshape(kernel, (*pairs, channels, filters))
    kernel = ops.transpose(kernel, (*order, 2 * rank, 2 * rank + 1))
    kernel = ops.reshape(kernel, (*pairs[::2], math.prod(strides) * channels, filters))
    return ops.conv(value, kernel, strides=1, padding="valid", data_format="channels_last")
