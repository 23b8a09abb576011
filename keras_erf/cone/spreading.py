"""Layers that make larger maps, on a part: transposed convolutions and up-sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_erf.algebra.geometry import Interval, Window
from keras_erf.cone.finishing import finished, is_finished_by_position
from keras_erf.cone.parts import cut, entire
from keras_erf.cone.restricted import PartSite, Restricted, as_called
from keras_erf.rules.call import spatial_axes

__all__ = ["transposed_convolution", "upsampling"]


def sources(window: Window, wanted: Interval, size: int) -> Interval | None:
    """The inputs, inside an axis of `size`, that some output of `wanted` has a tap on.

    Input `i` is seen by output `o` if `up i = o - p + j d` for a tap `j < k`.
    """
    first = -(-(wanted[0] - window.padding) // window.up)
    reach = (window.size - 1) * window.dilation
    last = (wanted[1] - 1 - window.padding + reach) // window.up
    start, stop = max(first, 0), min(last + 1, size)
    return (start, stop) if start < stop else None


def _needed(site: PartSite) -> tuple[tuple[int, ...], list[Window], list[Interval]] | None:
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


def transposed_convolution(site: PartSite) -> Restricted | None:
    """The layer's operation without padding on the inputs needed, cut or filled to what is wanted.

    Input `i` reaches outputs `i s - b` to `i s - b + (k - 1) d`, with `b` the
    padding of the convolution it is the transpose of.
    """
    layer, found = site.layer, _needed(site)
    if found is None or not is_finished_by_position(layer):
        return None
    axes, windows, needed = found
    inputs, made = list(entire(site.call.inputs[0])), list(entire(site.call.output))
    starts = {}
    for axis, window, interval in zip(axes, windows, needed, strict=True):
        inputs[axis], made[axis] = interval, site.wanted[axis]
        before = (window.size - 1) * window.dilation - window.padding
        starts[axis] = interval[0] * window.up - before

    def run(values: Sequence[Any], _: Callable[..., Any]) -> list[Any]:
        value = ops.conv_transpose(
            site.converted(values[0]),
            ops.cast(layer.kernel, layer.compute_dtype),
            strides=list(layer.strides),
            padding="valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )
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


def upsampling(site: PartSite) -> Restricted | None:
    """Up-sampling by whole factors, nearest or bilinear: more than is wanted is made, and cut.

    Other interpolations weigh pixels beyond any window, and run whole.
    """
    found = _needed(site)
    if found is None:
        return None
    inputs = list(entire(site.call.inputs[0]))
    wanted, made = list(entire(site.call.output)), list(entire(site.call.output))
    for axis, window, interval in zip(*found, strict=True):
        inputs[axis], wanted[axis] = interval, site.wanted[axis]
        made[axis] = (interval[0] * window.up, interval[1] * window.up)

    def run(values: Sequence[Any], call: Callable[..., Any]) -> list[Any]:
        # At the part's own ends, where a bilinear layer repeats the last pixel, nothing is wanted.
        return [cut(one, tuple(made), tuple(wanted)) for one in as_called(values, call)]

    return Restricted((tuple(inputs),), tuple(wanted), run)
