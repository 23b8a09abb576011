"""Layers with a kernel: its entries are squared, its bias left out.

Gradients by an input are sums over the kernel's entries; squared, and averaged over
entries of random signs, all mixed terms vanish and `sum w^2 g^2` is left. Narrow, one
channel stands for all that are alike: an input channel then sees the sum over the
output channels, in the mean over the input channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import activations

from keras_erf.rules.activations import ON_SINGLE_ELEMENTS, on_single_elements
from keras_erf.rules.call import channel_axis, spatial_axes
from keras_erf.squaring.initial import squares
from keras_erf.squaring.recipes import Recipe, SquareSite, kernel_layer
from keras_erf.squaring.signals import Signal, Slope, activated, drawn
from keras_erf.squaring.strengths import blended, spread

__all__ = ["convolution", "dense", "depthwise", "separable", "transposed"]


def convolution(site: SquareSite) -> Recipe | None:
    """Plain and grouped convolutions."""
    kernel = _squares(site, "kernel")
    made = _sums(site, kernel.sum(axis=-2).mean(axis=-1), filters=1, groups=1)
    groups = site.layer.groups
    changes: dict[str, Any] = {}
    if site.narrow:
        kernel = _narrowed(kernel, out=-1) / groups
        changes = {"filters": 1, "groups": 1}
    return _recipe(site, [kernel], made, **changes)


def depthwise(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions."""
    kernel = _squares(site, "kernel", of="depthwise")
    made = _sums(site, kernel.mean(axis=(-2, -1)), depth_multiplier=1)
    multiplier = site.layer.depth_multiplier
    if site.narrow:
        kernel, multiplier = _narrowed(kernel, out=-1), 1
    return _recipe(site, [kernel], made, depth_multiplier=multiplier)


def separable(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions followed by a 1x1 convolution."""
    layer = site.layer
    first = _squares(site, "depthwise_kernel", of="depthwise")
    second = _squares(site, "pointwise_kernel", of="pointwise")
    taps = first.mean(axis=(-2, -1)) * second.sum() / second.shape[-1]
    made = _sums(site, taps, filters=1, depth_multiplier=1)
    changes = {"filters": layer.filters, "depth_multiplier": layer.depth_multiplier}
    if site.narrow:
        first, second = _narrowed(first, out=-1), _narrowed(second, out=-1)
        changes = dict.fromkeys(changes, 1)
    return _recipe(site, [first, second], made, **changes)


def transposed(site: SquareSite) -> Recipe | None:
    """Transposed convolutions, whose kernels have their output channels first."""
    kernel = _squares(site, "kernel")
    made = _sums(site, kernel.sum(axis=-1).mean(axis=-1), filters=1)
    filters = site.layer.filters
    if site.narrow:
        kernel, filters = _narrowed(kernel, out=-2), 1
    return _recipe(site, [kernel], made, filters=filters)


def dense(site: SquareSite) -> Recipe | None:
    """Dense layers."""
    kernel = _squares(site, "kernel")
    made = _sums(site, kernel.sum(axis=0).mean())
    units = site.layer.units
    if site.narrow:
        kernel, units = _narrowed(kernel, out=-1), 1
    return _recipe(site, [kernel], made, units=units)


def _squares(site: SquareSite, name: str, *, of: str = "kernel") -> np.ndarray:
    """`squares` of a weight, zero where the weight is known to be."""
    found = squares(site.layer, name, site.weights, of=of)
    zeros = site.call.zeros(getattr(site.layer, name))
    return found if zeros is None else np.where(zeros, 0, found)


def _sums(site: SquareSite, taps: Any, **changes: Any) -> Signal:
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


def _one_channel(layer: Any, shape: Sequence[int]) -> tuple[int, ...]:
    channels = channel_axis(layer, len(shape))
    return (*shape[:channels], 1, *shape[channels + 1 :])


def _recipe(
    site: SquareSite, kernels: Sequence[np.ndarray], made: Signal, **changes: Any
) -> Recipe | None:
    layer, slope = site.layer, Slope(1.0, 1.0, 1.0)
    function = layer.activation
    if function not in (None, activations.linear):
        if type(function) in ON_SINGLE_ELEMENTS:
            function = function.call
        elif not on_single_elements(function):
            return None
        made, slope = activated(made, function)
    shape = site.call.inputs[0]
    if site.narrow:
        shape = _one_channel(layer, shape)
    squared = kernel_layer(layer, kernels, shape, **changes)
    steps = tuple(map(float, getattr(layer, "strides", (1,) * (len(shape) - 1))))
    if "Transpose" in type(squared).__name__:
        steps = tuple(1 / one for one in steps)
    return Recipe(
        squared, (made,), after=slope.square, apart=slope.apart, steps=steps, weighted=True
    )


def _narrowed(kernel: np.ndarray, *, out: int) -> np.ndarray:
    """Of a kernel the sum over its output channels, in the mean over its input channels."""
    return kernel.sum(axis=out, keepdims=True).mean(axis=(-3 - out,), keepdims=True)
