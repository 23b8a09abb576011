"""Convolutions: plain and grouped, depthwise, separable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_erf.algebra.geometry import Blocks, Box
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.layers.activation import Activated
from keras_erf.layers.conditions import in_first_operand, in_one_tensor, without_activation
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.kernels import kernel_at_outputs, kernel_recipe, kernel_squares, positions
from keras_erf.layers.operation_parts import of_kernel
from keras_erf.layers.parts import Pads, PartRule, PartSite, Restricted, padded
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
from keras_erf.types import Array, Layer

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


def _on_part(operation: Callable[..., Any], *names: str) -> PartRule:
    """An operation on a part, with the layer's kernels of these names."""

    def on_part(site: PartSite) -> Restricted | None:
        layer, blocked = site.layer, operation is ops.conv and is_better_in_blocks(site)

        def operate(value: Array, pads: Pads) -> Array:
            value = padded(value, pads)
            kernels = [ops.cast(getattr(layer, name), layer.compute_dtype) for name in names]
            if blocked:
                return in_blocks(value, kernels[0], layer.strides)
            return operation(
                value,
                *kernels,
                strides=layer.strides,
                padding="valid",
                dilation_rate=layer.dilation_rate,
                data_format=layer.data_format,
            )

        return on_windows(site, operate, finish=True)

    return on_part


def convolution_squares(site: SquareSite) -> Recipe | None:
    """Plain and grouped convolutions."""
    kernel = kernel_squares(site, "kernel")
    taps = kernel.sum(axis=-2).mean(axis=-1)
    return kernel_recipe(site, [kernel], taps, share=site.layer.groups, filters=1, groups=1)


def depthwise_squares(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions."""
    kernel = kernel_squares(site, "kernel", of="depthwise")
    return kernel_recipe(site, [kernel], kernel.mean(axis=(-2, -1)), depth_multiplier=1)


def separable_squares(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions followed by a 1x1 convolution."""
    first = kernel_squares(site, "depthwise_kernel", of="depthwise")
    second = kernel_squares(site, "pointwise_kernel", of="pointwise")
    taps = first.mean(axis=(-2, -1)) * second.sum() / second.shape[-1]
    return kernel_recipe(site, [first, second], taps, filters=1, depth_multiplier=1)


def separable_multiply_adds(layer: Layer, taken: Box, given: Box) -> int:
    """Both kernels at each position of the output."""
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return positions(layer, given) * sum(math.prod(one.shape) for one in kernels)


ENTRIES = (
    Entry(
        layers=ranks("Conv{}D"),
        dependence=Activated(convolution),
        part=_on_part(ops.conv, "kernel"),
        squares=convolution_squares,
        affine=without_activation,
        multiply_adds=kernel_at_outputs,
    ),
    Entry(
        layers=ranks("DepthwiseConv{}D", 2),
        dependence=Activated(depthwise_convolution),
        part=_on_part(ops.depthwise_conv, "kernel"),
        squares=depthwise_squares,
        affine=without_activation,
        multiply_adds=kernel_at_outputs,
    ),
    Entry(
        layers=ranks("SeparableConv{}D", 2),
        dependence=Activated(separable_convolution),
        part=_on_part(ops.separable_conv, "depthwise_kernel", "pointwise_kernel"),
        squares=separable_squares,
        affine=without_activation,
        multiply_adds=separable_multiply_adds,
    ),
    Entry(
        operations="Conv",
        dependence=kernel_of(convolution),
        part=of_kernel(_on_part(ops.conv, "kernel")),
        affine=in_one_tensor,
    ),
    Entry(
        operations="DepthwiseConv",
        dependence=kernel_of(depthwise_convolution),
        part=of_kernel(_on_part(ops.depthwise_conv, "kernel")),
        affine=in_one_tensor,
    ),
    Entry(
        operations="SeparableConv",
        dependence=kernel_of(separable_convolution, "depthwise_kernel"),
        affine=in_first_operand,
    ),
)
