"""Layers with a kernel: its entries are squared, its bias left out.

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

from keras_erf.rules.activations import ON_SINGLE_ELEMENTS, on_single_elements
from keras_erf.rules.call import channel_axis
from keras_erf.squaring.initial import squares
from keras_erf.squaring.recipes import Recipe, SquareSite, kernel_layer
from keras_erf.squaring.signals import Signal, activated, drawn

__all__ = ["convolution", "dense", "depthwise", "separable", "transposed"]


def convolution(site: SquareSite) -> Recipe | None:
    """Plain and grouped convolutions."""
    kernel = _squares(site, "kernel")
    made = _sums(site, kernel.sum() / kernel.shape[-1])
    groups = site.layer.groups
    changes: dict[str, Any] = {}
    if site.narrow:
        kernel = _narrowed(kernel, out=-1) / groups
        changes = {"filters": 1, "groups": 1}
    return _recipe(site, [kernel], made, **changes)


def depthwise(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions."""
    kernel = _squares(site, "kernel", of="depthwise")
    made = _sums(site, kernel.sum() / math.prod(kernel.shape[-2:]))
    multiplier = site.layer.depth_multiplier
    if site.narrow:
        kernel, multiplier = _narrowed(kernel, out=-1), 1
    return _recipe(site, [kernel], made, depth_multiplier=multiplier)


def separable(site: SquareSite) -> Recipe | None:
    """Depthwise convolutions followed by a 1x1 convolution."""
    layer = site.layer
    first = _squares(site, "depthwise_kernel", of="depthwise")
    second = _squares(site, "pointwise_kernel", of="pointwise")
    between = first.sum() / math.prod(first.shape[-2:])
    made = _sums(site, between * second.sum() / second.shape[-1])
    changes = {"filters": layer.filters, "depth_multiplier": layer.depth_multiplier}
    if site.narrow:
        first, second = _narrowed(first, out=-1), _narrowed(second, out=-1)
        changes = dict.fromkeys(changes, 1)
    return _recipe(site, [first, second], made, **changes)


def transposed(site: SquareSite) -> Recipe | None:
    """Transposed convolutions, whose kernels have their output channels first."""
    kernel = _squares(site, "kernel")
    # An output is reached by one in so many of the kernel's positions as the stride is long.
    taps = kernel.sum() / kernel.shape[-2] / math.prod(site.layer.strides)
    filters = site.layer.filters
    if site.narrow:
        kernel, filters = _narrowed(kernel, out=-2), 1
    return _recipe(site, [kernel], _sums(site, taps), filters=filters)


def dense(site: SquareSite) -> Recipe | None:
    """Dense layers."""
    kernel = _squares(site, "kernel")
    made = _sums(site, kernel.sum() / kernel.shape[-1])
    units = site.layer.units
    if site.narrow:
        kernel, units = _narrowed(kernel, out=-1), 1
    return _recipe(site, [kernel], made, units=units)


def _squares(site: SquareSite, name: str, *, of: str = "kernel") -> np.ndarray:
    """`squares` of a weight, zero where the weight is known to be."""
    found = squares(site.layer, name, site.weights, of=of)
    zeros = site.call.zeros(getattr(site.layer, name))
    return found if zeros is None else np.where(zeros, 0, found)


def _sums(site: SquareSite, energy: float) -> Signal:
    """The signal of sums whose weights' squares add up to `energy`, and of their bias."""
    second, shared = (energy * one for one in (site.signal.second, site.signal.shared))
    if site.layer.use_bias and site.weights == "given":
        bias = np.square(np.asarray(site.layer.bias, np.float64)).mean()
        second, shared = second + float(bias), shared + float(bias)
    return drawn(second, shared, site.key)


def _recipe(
    site: SquareSite, kernels: Sequence[np.ndarray], made: Signal, **changes: Any
) -> Recipe | None:
    layer, slope = site.layer, 1.0
    function = layer.activation
    if function not in (None, activations.linear):
        if type(function) in ON_SINGLE_ELEMENTS:
            function = function.call
        elif not on_single_elements(function):
            return None
        made, slope = activated(made, function)
    shape = list(site.call.inputs[0])
    if site.narrow:
        shape[channel_axis(layer, len(shape))] = 1
    squared = kernel_layer(layer, kernels, shape, **changes)
    return Recipe(squared, (made,), after=slope)


def _narrowed(kernel: np.ndarray, *, out: int) -> np.ndarray:
    """Of a kernel the sum over its output channels, in the mean over its input channels."""
    return kernel.sum(axis=out, keepdims=True).mean(axis=(-3 - out,), keepdims=True)
