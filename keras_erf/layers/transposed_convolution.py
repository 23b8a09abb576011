"""Transposed convolutions: the relation of a convolution read backwards.

Reference: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning",
section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Interval, Window
from keras_erf.algebra.views import View
from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.graph import differentiable
from keras_erf.layers.activation import Activated, finished, is_finished_by_position
from keras_erf.layers.conditions import in_one_tensor, without_activation
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.kernels import kernel_at_inputs, kernel_recipe, kernel_squares
from keras_erf.layers.operation_parts import of_kernel
from keras_erf.layers.parts import PartSite, Restricted
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.layers.windows import EVERY, counted_taps, kernel_of, padding_before, window_views
from keras_erf.types import Array

__all__ = ["ENTRIES", "needed_sources"]


def transposed_convolution(call: Call) -> tuple[View, ...]:
    """Transposed convolutions: the gradient of a convolution of the output's size.

    Output o gets tap j of input i where i s - p + j d = o, with p the padding
    the forward convolution would put before an axis of the output's size.
    """
    layer = call.layer
    windows = []
    axes = spatial_axes(layer, len(call.output))
    for axis, k, s, d in zip(
        axes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        before = padding_before(layer.padding, call.output[axis], k, s, d)
        windows.append(Window(k, 1, d, padding=(k - 1) * d - before, up=s))
    taps = counted_taps(call)
    # Read backwards, the last tap comes first.
    return window_views(call, windows, EVERY, None if taps is None else np.flip(taps))


def sources(window: Window, wanted: Interval, size: int) -> Interval | None:
    """The inputs, inside an axis of `size`, that some output of `wanted` has a tap on.

    Input `i` is seen by output `o` if `up i = o - p + j d` for a tap `j < k`.
    """
    first = -(-(wanted[0] - window.padding) // window.up)
    reach = (window.size - 1) * window.dilation
    last = (wanted[1] - 1 - window.padding + reach) // window.up
    start, stop = max(first, 0), min(last + 1, size)
    return (start, stop) if start < stop else None


def needed_sources(site: PartSite) -> tuple[tuple[int, ...], list[Window], list[Interval]] | None:
    """Spatial axes, their windows, and the inputs needed along them."""
    axes = spatial_axes(site.layer, len(site.call.output))
    windows = site.windows(axes)
    if windows is None:
        return None
    found = [
        sources(window, site.wanted[axis], site.call.inputs[0][axis])
        for axis, window in zip(axes, windows, strict=True)
    ]
    known = [one for one in found if one is not None]
    return (axes, windows, known) if len(known) == len(found) else None


def transposed_on_part(site: PartSite) -> Restricted | None:
    """The layer's operation without padding on the inputs needed, cut or filled to what is wanted.

    Input `i` reaches outputs `i s - b` to `i s - b + (k - 1) d`, with `b` the
    padding of the convolution it is the transpose of.
    """
    layer, found = site.layer, needed_sources(site)
    if found is None or not is_finished_by_position(layer):
        return None
    axes, windows, needed = found
    inputs, made = list(entire(site.call.inputs[0])), list(entire(site.call.output))
    starts = {}
    for axis, window, interval in zip(axes, windows, needed, strict=True):
        inputs[axis], made[axis] = interval, site.wanted[axis]
        before = (window.size - 1) * window.dilation - window.padding
        starts[axis] = interval[0] * window.up - before

    def convolved(value: Array) -> Array:
        return ops.conv_transpose(
            value,
            ops.cast(layer.kernel, layer.compute_dtype),
            strides=list(layer.strides),
            padding="valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    def run(values: Sequence[Array], _: Callable[..., Any]) -> list[Array]:
        value = differentiable(convolved, layer)(site.converted(values[0]))
        pads, slices = [(0, 0)] * len(value.shape), [slice(None)] * len(value.shape)
        for axis, start in starts.items():
            stop = start + value.shape[axis + 1]
            first, last = made[axis]
            slices[axis + 1] = slice(max(first - start, 0), min(last, stop) - start)
            # Beyond the last tap there is nothing but the bias.
            pads[axis + 1] = (max(start - first, 0), max(last - stop, 0))
        value = value[tuple(slices)]
        return [finished(layer, ops.pad(value, pads) if any(map(any, pads)) else value)]

    return Restricted((tuple(inputs),), tuple(made), run)


def transposed_squares(site: SquareSite) -> Recipe | None:
    """Transposed convolutions, whose kernels have their output channels first."""
    kernel = kernel_squares(site, "kernel")
    return kernel_recipe(site, [kernel], kernel.sum(axis=-1).mean(axis=-1), out=-2, filters=1)


ENTRIES = (
    Entry(
        layers=ranks("Conv{}DTranspose"),
        dependence=Activated(transposed_convolution),
        part=transposed_on_part,
        squares=transposed_squares,
        affine=without_activation,
        multiply_adds=kernel_at_inputs,
    ),
    Entry(
        operations="ConvTranspose",
        dependence=kernel_of(transposed_convolution),
        part=of_kernel(transposed_on_part),
        affine=in_one_tensor,
    ),
)
