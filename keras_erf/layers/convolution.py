"""Convolutions: plain and grouped, depthwise, separable."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_erf.algebra.geometry import Blocks, Box
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.layers.activation import Activated
from keras_erf.layers.conditions import in_first_operand, in_one_tensor, without_activation
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.kernels import (
    kernel_at_outputs,
    kernel_recipe,
    kernel_squares,
    narrowed,
    positions,
    sums,
)
from keras_erf.layers.parts import Pads, PartSite, Restricted, padded
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.layers.space_to_depth import in_blocks, is_better_in_blocks
from keras_erf.layers.windows import (
    EVERY,
    counted_taps,
    kernel_of,
    on_windows,
    window_views,
    windows_of,
)

__all__ = ["ENTRIES", "convolution", "depthwise_convolution"]


def convolution(call: Call) -> tuple[View, ...]:
    """Plain and grouped convolutions."""
    layer, rank = call.layer, len(call.output)
    windows = windows_of(call)
    axis = channel_axis(layer, rank)
    groups = layer.groups
    blocks = Blocks(call.output[axis] // groups, call.inputs[0][axis] // groups)
    return window_views(
        call, windows, EVERY if groups == 1 else Link(axis, blocks), counted_taps(call)
    )


def separable_convolution(call: Call) -> tuple[View, ...]:
    """Depthwise convolution followed by a 1x1 convolution over all channels."""
    return window_views(call, windows_of(call), EVERY, counted_taps(call, "depthwise_kernel"))


def depthwise_convolution(call: Call) -> tuple[View, ...]:
    """Depthwise convolutions: each channel by itself, `depth_multiplier` times."""
    layer = call.layer
    windows = windows_of(call)
    channels = Link(channel_axis(layer, len(call.output)), Blocks(layer.depth_multiplier, 1))
    return window_views(call, windows, channels, counted_taps(call))


def convolution_on_part(site: PartSite) -> Restricted | None:
    """Plain and grouped convolutions."""
    layer = site.layer
    blocked = is_better_in_blocks(site)

    def operate(value: Any, pads: Pads) -> Any:
        kernel = ops.cast(layer.kernel, layer.compute_dtype)
        if blocked:
            return in_blocks(padded(value, pads), kernel, layer.strides)
        return ops.conv(
            padded(value, pads),
            kernel,
            strides=list(layer.strides),
            padding="valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    return on_windows(site, operate, finish=True)


def depthwise_on_part(site: PartSite) -> Restricted | None:
    """Depthwise convolutions."""
    layer = site.layer

    def operate(value: Any, pads: Pads) -> Any:
        return ops.depthwise_conv(
            padded(value, pads),
            ops.cast(layer.kernel, layer.compute_dtype),
            strides=layer.strides,
            padding="valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    return on_windows(site, operate, finish=True)


def separable_on_part(site: PartSite) -> Restricted | None:
    """Depthwise convolutions followed by a 1x1 convolution."""
    layer = site.layer

    def operate(value: Any, pads: Pads) -> Any:
        return ops.separable_conv(
            padded(value, pads),
            ops.cast(layer.depthwise_kernel, layer.compute_dtype),
            ops.cast(layer.pointwise_kernel, layer.compute_dtype),
            strides=layer.strides,
            padding="valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    return on_windows(site, operate, finish=True)


def convolution_squares(site: SquareSite) -> Recipe | None:
    """Plain and grouped convolutions."""
    kernel = kernel_squares(site, "kernel")
    made = sums(site, kernel.sum(axis=-2).mean(axis=-1), filters=1, groups=1)
    groups = site.layer.groups
    changes: dict[str, Any] = {}
    if site.narrow:
        kernel = narrowed(kernel, out=-1) / groups
        changes = {"filters": 1, "groups": 1}
    return kernel_recipe(site, [kernel], made, **changes)


def depthwise_squares(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions."""
    kernel = kernel_squares(site, "kernel", of="depthwise")
    made = sums(site, kernel.mean(axis=(-2, -1)), depth_multiplier=1)
    multiplier = site.layer.depth_multiplier
    if site.narrow:
        kernel, multiplier = narrowed(kernel, out=-1), 1
    return kernel_recipe(site, [kernel], made, depth_multiplier=multiplier)


def separable_squares(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions followed by a 1x1 convolution."""
    layer = site.layer
    first = kernel_squares(site, "depthwise_kernel", of="depthwise")
    second = kernel_squares(site, "pointwise_kernel", of="pointwise")
    taps = first.mean(axis=(-2, -1)) * second.sum() / second.shape[-1]
    made = sums(site, taps, filters=1, depth_multiplier=1)
    changes = {"filters": layer.filters, "depth_multiplier": layer.depth_multiplier}
    if site.narrow:
        first, second = narrowed(first, out=-1), narrowed(second, out=-1)
        changes = dict.fromkeys(changes, 1)
    return kernel_recipe(site, [first, second], made, **changes)


def separable_multiply_adds(layer: Any, taken: Box, given: Box) -> int:
    """Both kernels at each position of the output."""
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return positions(layer, given) * sum(math.prod(one.shape) for one in kernels)


ENTRIES = (
    Entry(
        layers=ranks("Conv{}D"),
        dependence=Activated(convolution),
        part=convolution_on_part,
        squares=convolution_squares,
        affine=without_activation,
        multiply_adds=kernel_at_outputs,
    ),
    Entry(
        layers=ranks("DepthwiseConv{}D", 2),
        dependence=Activated(depthwise_convolution),
        part=depthwise_on_part,
        squares=depthwise_squares,
        affine=without_activation,
        multiply_adds=kernel_at_outputs,
    ),
    Entry(
        layers=ranks("SeparableConv{}D", 2),
        dependence=Activated(separable_convolution),
        part=separable_on_part,
        squares=separable_squares,
        affine=without_activation,
        multiply_adds=separable_multiply_adds,
    ),
    Entry(operations="Conv", dependence=kernel_of(convolution), affine=in_one_tensor),
    Entry(
        operations="DepthwiseConv",
        dependence=kernel_of(depthwise_convolution),
        affine=in_one_tensor,
    ),
    Entry(
        operations="SeparableConv",
        dependence=kernel_of(separable_convolution, "depthwise_kernel"),
        affine=in_first_operand,
    ),
)
