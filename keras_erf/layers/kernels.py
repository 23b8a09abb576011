"""Kernels in the second-moment network: their entries are squared, their biases left out.

Gradients by an input are sums over the kernel's entries; squared, and averaged over
entries of random signs, all mixed terms vanish and `sum w^2 g^2` is left. Narrow, one
channel stands for all that are alike: an input channel then sees the sum over the
output channels, in the mean over the input channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import activations

from keras_erf.algebra.boxes import elements
from keras_erf.algebra.geometry import Box
from keras_erf.dependence.axes import channel_axis, spatial_axes
from keras_erf.layers.activation import ON_SINGLE_ELEMENTS
from keras_erf.layers.recipes import Recipe, SquareSite, kernel_layer
from keras_erf.layers.single_elements import on_single_elements, runs_in_double
from keras_erf.signals.initializers import squares
from keras_erf.signals.profiles import blended, spread
from keras_erf.signals.signal_moments import Signal, Slope, activated, drawn
from keras_erf.types import Array, Layer

__all__ = ["kernel_at_inputs", "kernel_at_outputs", "kernel_recipe", "kernel_squares", "positions"]


def kernel_squares(site: SquareSite, name: str, *, of: str = "kernel") -> np.ndarray:
    """`squares` of a weight, zero where the weight is known to be."""
    found = squares(site.layer, name, site.weights, of=of)
    zeros = site.call.zeros(getattr(site.layer, name))
    return found if zeros is None else np.where(zeros, 0, found)


def _sums(site: SquareSite, taps: Array, **changes: Any) -> Signal:
    """The signal of sums over a kernel's taps, and of their bias.

    Args:
        site: The call.
        taps: Mean square of what an output takes from each tap, all input channels together.
        **changes: Geometry of the layer with one channel.
    """
    signal, layer = site.signal, site.layer
    gain = shared = float(np.sum(taps))
    profile, means = signal.profile, None
    steady = profile is None and getattr(layer, "padding", "valid") == "valid"
    if np.ndim(taps) and not (steady and changes.keys() != {"filters"}):
        shape = site.call.inputs[0]
        space = [shape[axis] for axis in spatial_axes(layer, len(shape))]
        kernels = [np.asarray(taps)[..., None, None]]
        if "depth_multiplier" in changes and "filters" in changes:
            kernels.append(np.ones((*[1] * len(space), 1, 1)))
        alone = kernel_layer(layer, kernels, _one_channel(layer, shape), **changes)
        profile, means, gain, shared = spread(alone, profile, space)
    second, shared = signal.second * gain, signal.shared * shared
    if layer.use_bias and site.weights == "given":
        bias = float(np.square(np.asarray(layer.bias, np.float64)).mean())
        profile = blended([profile, None], [second, bias])
        second, shared = second + bias, shared + bias
    return drawn(second, shared, site.key, profile, means)


def _one_channel(layer: Layer, shape: Sequence[int]) -> tuple[int, ...]:
    channels = channel_axis(layer, len(shape))
    return (*shape[:channels], 1, *shape[channels + 1 :])


def kernel_recipe(
    site: SquareSite,
    kernels: Sequence[np.ndarray],
    taps: Array,
    *,
    out: int = -1,
    share: int = 1,
    **narrow: int,
) -> Recipe | None:
    """The squares of a layer with a kernel, and of its activation.

    Args:
        site: The call.
        kernels: Mean squares of its weights.
        taps: As in `_sums`.
        out: Axis of the output channels.
        share: How many groups the channels are in.
        **narrow: Geometry of the layer with one channel.
    """
    layer, shape, slope = site.layer, site.call.inputs[0], Slope(1.0, 1.0, 1.0)
    made, function = _sums(site, taps, **narrow), layer.activation
    if function not in (None, activations.linear):
        if type(function) in ON_SINGLE_ELEMENTS:
            function = function.call
        elif not on_single_elements(function) or not runs_in_double(function):
            return None
        made, slope = activated(made, function)
    if site.narrow:
        # The sum over the output channels, in the mean over the input channels.
        kernels = [
            kernel.sum(axis=out, keepdims=True).mean(axis=(-3 - out,), keepdims=True) / share
            for kernel in kernels
        ]
        squared = kernel_layer(layer, kernels, _one_channel(layer, shape), **narrow)
    else:
        squared = kernel_layer(layer, kernels, shape)
    steps = tuple(map(float, getattr(layer, "strides", (1,) * (len(shape) - 1))))
    if "Transpose" in type(squared).__name__:
        steps = tuple(1 / one for one in steps)
    return Recipe(
        squared, (made,), after=slope.square, apart=slope.apart, steps=steps, weighted=True
    )


def positions(layer: Layer, part: Box) -> int:
    """Places of a part, channels not counted."""
    channel = channel_axis(layer, len(part))
    return elements(tuple(one for axis, one in enumerate(part) if axis != channel))


def kernel_at_outputs(layer: Layer, taken: Box, given: Box) -> int:
    """The whole kernel at each position of the output."""
    return positions(layer, given) * math.prod(layer.kernel.shape)


def kernel_at_inputs(layer: Layer, taken: Box, given: Box) -> int:
    """The whole kernel at each position of the input."""
    return positions(layer, taken) * math.prod(layer.kernel.shape)
