"""Windows of layers that slide one, and operations in the words of such layers.

Positions follow the layers' own arithmetic. With kernel k, stride s, dilation d and padding p
before the axis, output o of a convolution reads inputs o s - p + j d for j < k (Dumoulin and
Visin 2016, "A guide to convolution arithmetic for deep learning", relations 1 to 7; dilation
section 5.1). TensorFlow's SAME puts the smaller half of its padding before the axis. Taps whose
weights are all zero, as behind a mask, are not seen.

On a part, what the window needs is cut out, and padded where it ends: outputs `[a, b)` need inputs
`[a s - p, (b - 1) s - p + (k - 1) d + 1)`; what of it is outside of the tensor is put around the
part by hand, and the layer's own operation runs on it without padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from keras_erf.algebra.boxes import entire, widened
from keras_erf.algebra.decomposition import products, runs
from keras_erf.algebra.geometry import Interval, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import Call, Rule, bound_arguments
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import Argument, differentiable
from keras_erf.layers.activation import finished, is_finished_by_position
from keras_erf.layers.parts import Pads, PartSite, Restricted
from keras_erf.types import Array

__all__ = [
    "EVERY",
    "as_layer",
    "as_tuple",
    "counted_taps",
    "kernel_of",
    "layer_like",
    "on_windows",
    "padding_before",
    "window_views",
    "windows_along",
    "windows_of",
]

EVERY = Link(None)


def padding_before(mode: str, size: int, kernel: int, stride: int, dilation: int) -> int:
    """Padding before an axis of `size` pixels, as TensorFlow and Keras place it."""
    reach = (kernel - 1) * dilation
    if mode == "valid":
        return 0
    if mode == "causal":
        return reach
    outputs = -(-size // stride)
    return max((outputs - 1) * stride + reach + 1 - size, 0) // 2


def window_views(
    call: Call, windows: Sequence[Window], channels: Link, kernel: np.ndarray | None = None
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


def _boxes(windows: Sequence[Window], kernel: np.ndarray | None) -> Iterator[Sequence[Window]]:
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


def _part(window: Window, first: int, step: int, count: int) -> Window:
    """The window of some of another one's taps: `count` of them, `step` apart, from `first`."""
    dilation = window.dilation * step if count > 1 else 1
    padding = window.padding - first * window.dilation
    return replace(window, size=count, dilation=dilation, padding=padding)


def counted_taps(call: Call, name: str = "kernel") -> np.ndarray | None:
    """Which taps of a kernel have a weight that is not zero; `None` if all of them do."""
    zeros = call.zeros(getattr(call.layer, name, None))
    if zeros is None:
        return None
    taps = np.asarray(~zeros.all(axis=(-2, -1)))
    return None if taps.all() else taps


def windows_of(call: Call) -> list[Window]:
    """The windows of a layer with a kernel, one for each spatial axis."""
    return windows_along(call, call.layer.kernel_size, call.layer.strides, call.layer.dilation_rate)


def windows_along(call: Call, kernel: tuple, stride: tuple, dilation: tuple) -> list[Window]:
    """A window for each spatial axis."""
    layer, shape = call.layer, call.inputs[0]
    axes = spatial_axes(layer, len(shape))
    return [
        Window(k, s, d, padding_before(layer.padding, shape[axis], k, s, d))
        for axis, k, s, d in zip(axes, kernel, stride, dilation, strict=True)
    ]


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
            as_layer(
                call,
                kernel_size=kernel[:-2],
                strides=as_tuple(call.layer.strides, rank),
                dilation_rate=as_tuple(call.layer.dilation_rate, rank),
                groups=1,
                depth_multiplier=kernel[-1],
                **{name: given[name]},
            )
        )

    return adapted


def as_layer(call: Call, **options: Any) -> Call:
    """The call of a layer with `options`, and with what else the operation has of its own."""
    return replace(call, layer=SimpleNamespace(**{**vars(layer_like(call)), **options}))


def layer_like(call: Call) -> Any:
    """The operation's attributes, with Keras's data format where it has none of its own."""
    own = vars(call.layer)
    return SimpleNamespace(
        **{**own, "data_format": own.get("data_format") or keras.config.image_data_format()}
    )


def as_tuple(value: Any, rank: int) -> tuple[int, ...]:
    """A number for each axis, from one number for all or from several."""
    return (int(value),) * rank if np.ndim(value) == 0 else tuple(map(int, value))


def reads(window: Window, wanted: Interval) -> Interval:
    """The inputs, in the padding too, that a window reads for the outputs `wanted`."""
    first = wanted[0] * window.stride - window.padding
    last = (wanted[1] - 1) * window.stride - window.padding
    return first, last + (window.size - 1) * window.dilation + 1


def on_windows(
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

    def run(values: Sequence[Array], _: Any) -> list[Array]:
        operation = differentiable(lambda value: operate(value, pads), site.layer)
        value = operation(site.converted(values[0]))
        return [finished(site.layer, value) if finish else value]

    return Restricted((tuple(needed),), tuple(made), run)
