"""Layers with a window, on a part: what the window needs is cut out, and padded where it ends.

Output `o` of a window reads inputs `o s - p + j d`, `j < k` (see `rules.sliding`), so
outputs `[a, b)` need inputs `[a s - p, (b - 1) s - p + (k - 1) d + 1)`; what of it
lies outside of the tensor is put around the part by hand, and the layer's own
operation runs on it without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import backend, ops

from keras_erf.algebra.geometry import Interval, Window
from keras_erf.cone.blocks import in_blocks, is_better_in_blocks
from keras_erf.cone.finishing import finished, is_finished_by_position
from keras_erf.cone.parts import Pads, entire, padded, widened
from keras_erf.cone.restricted import PartSite, Restricted
from keras_erf.rules.call import spatial_axes

__all__ = [
    "average_pooling",
    "convolution",
    "depthwise_convolution",
    "max_pooling",
    "separable_convolution",
    "shifting",
]


def reads(window: Window, wanted: Interval) -> Interval:
    """The inputs, in the padding too, that a window reads for the outputs `wanted`."""
    first = wanted[0] * window.stride - window.padding
    last = (wanted[1] - 1) * window.stride - window.padding
    return first, last + (window.size - 1) * window.dilation + 1


def _windowed(
    site: PartSite, operate: Callable[[Any, Pads], Any], *, finish: bool = False
) -> Restricted | None:
    """A layer of one window per spatial axis.

    Args:
        site: The call.
        operate: The layer's operation without padding, given the part and the
            padding to put around it, for each axis, the batch included.
        finish: Whether the layer's bias and activation come behind it.
    """
    shape, rank = site.call.inputs[0], len(site.call.output)
    axes = spatial_axes(site.layer, rank)
    windows = site.windows(axes)
    if windows is None or (finish and not is_finished_by_position(site.layer)):
        return None
    needed = list(entire(shape))
    made = list(entire(site.call.output))
    pads: Pads = [(0, 0)] * (rank + 1)
    for axis, window in zip(axes, windows, strict=True):
        made[axis] = site.wanted[axis]
        found = widened(reads(window, site.wanted[axis]), shape[axis])
        if found is None:
            return None
        needed[axis], pads[axis + 1] = found

    def run(values: Sequence[Any], _: Any) -> list[Any]:
        value = operate(site.converted(values[0]), pads)
        return [finished(site.layer, value) if finish else value]

    return Restricted((tuple(needed),), tuple(made), run)


def convolution(site: PartSite) -> Restricted | None:
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

    return _windowed(site, operate, finish=True)


def depthwise_convolution(site: PartSite) -> Restricted | None:
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

    return _windowed(site, operate, finish=True)


def separable_convolution(site: PartSite) -> Restricted | None:
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

    return _windowed(site, operate, finish=True)


def max_pooling(site: PartSite) -> Restricted | None:
    """Maxima; padding is never one of them."""
    layer = site.layer

    def operate(value: Any, pads: Pads) -> Any:
        dtype = backend.standardize_dtype(value.dtype)
        lowest = -np.inf if backend.is_float_dtype(dtype) else np.iinfo(dtype).min
        return ops.max_pool(
            padded(value, pads, lowest),
            layer.pool_size,
            strides=layer.strides,
            padding="valid",
            data_format=layer.data_format,
        )

    return _windowed(site, operate)


def average_pooling(site: PartSite) -> Restricted | None:
    """Means over those pixels of a window that lie inside the input, as TensorFlow takes them."""
    layer = site.layer
    factors = _shares(site)

    def operate(value: Any, pads: Pads) -> Any:
        value = ops.average_pool(
            padded(value, pads),
            layer.pool_size,
            strides=layer.strides,
            padding="valid",
            data_format=layer.data_format,
        )
        for factor in factors:
            value = value * ops.cast(factor, value.dtype)
        return value

    return _windowed(site, operate)


def _shares(site: PartSite) -> list[np.ndarray]:
    """For each axis, pixels of a window over those that count, of the outputs' rank."""
    rank = len(site.call.output)
    axes = spatial_axes(site.layer, rank)
    factors = []
    for axis, window in zip(axes, site.windows(axes) or (), strict=False):
        taps, _ = window.taps(np.arange(*site.wanted[axis]))
        inside = ((taps >= 0) & (taps < site.call.inputs[0][axis])).sum(axis=1)
        if (inside < window.size).any():
            shape = [1] * (rank + 1)
            shape[axis + 1] = -1
            factors.append((window.size / np.maximum(inside, 1)).reshape(shape))
    return factors


def shifting(site: PartSite) -> Restricted | None:
    """Zero padding and cropping."""
    return _windowed(site, padded)
