"""Operations of `keras.ops` on parts of their tensors, in the words of the layers like them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.algebra.boxes import entire, widened
from keras_erf.algebra.geometry import Interval, Window
from keras_erf.algebra.views import View
from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import bound_arguments
from keras_erf.graph import Argument
from keras_erf.layers.parts import PartRule, PartSite, Restricted, as_called, padded
from keras_erf.layers.windows import as_layer, as_tuple, reads
from keras_erf.types import Array

__all__ = ["moved_on_part", "multiplied_on_part", "of_kernel", "of_pool", "resampled_on_part"]


def of_kernel(part: PartRule) -> PartRule:
    """The rule of a convolutional layer, for the operation whose kernel is an operand."""

    def on_part(site: PartSite) -> Restricted | None:
        kernel = bound_arguments(site.call)["kernel"]
        rank = len(kernel.shape) - 2
        call = as_layer(
            site.call,
            kernel=kernel,
            kernel_size=tuple(kernel.shape[:-2]),
            strides=as_tuple(site.layer.strides, rank),
            dilation_rate=as_tuple(site.layer.dilation_rate, rank),
            groups=1,
            use_bias=False,
            activation=None,
            compute_dtype=keras.backend.standardize_dtype(kernel.dtype),
        )
        return part(replace(site, call=call))

    return on_part


def of_pool(part: PartRule) -> PartRule:
    """The rule of a pool, for the operation."""

    def on_part(site: PartSite) -> Restricted | None:
        layer, rank = site.layer, len(site.call.output) - 1
        size = as_tuple(layer.pool_size, rank)
        strides = size if layer.strides is None else as_tuple(layer.strides, rank)
        return part(replace(site, call=as_layer(site.call, pool_size=size, strides=strides)))

    return on_part


def moved_on_part(site: PartSite) -> Restricted | None:
    """Slices with steps, and constants put around: axes stay, and what is seen moves along them."""
    found = _moves(site)
    if found is None:
        return None
    shape, windows = site.call.inputs[0], found
    needed: list[Interval] = []
    pads = [(0, 0)]
    for wanted, window, size in zip(site.wanted, windows, shape, strict=True):
        held = widened(reads(window, wanted), size)
        if held is None:
            return None
        needed.append(held[0])
        pads.append(held[1])
    constant = 0.0
    if any(map(any, pads)):
        if getattr(site.layer, "mode", None) != "constant":
            return None
        value = bound_arguments(site.call).get("constant_values")
        constant = 0.0 if value is None else float(np.asarray(value))
    steps = (slice(None), *(slice(None, None, window.stride) for window in windows))

    def run(values: Sequence[Array], _: Callable[..., Any]) -> list[Array]:
        return [padded(values[0], pads, constant)[steps]]

    return Restricted((tuple(needed),), site.wanted, run)


def _moves(site: PartSite) -> list[Window] | None:
    """For each axis the window of one tap that moves along it; `None` if it is another call."""
    (view, *others) = site.views or (None,)
    shape, output = site.call.inputs[0], site.call.output
    if others or not isinstance(view, View) or len(shape) != len(output):
        return None
    windows = [link.relation for axis, link in enumerate(view.links) if link.axis == axis]
    plain = [one for one in windows if isinstance(one, Window) and one.size == 1 and one.up == 1]
    return plain if len(plain) == len(shape) else None


def multiplied_on_part(site: PartSite) -> Restricted | None:
    """The product of the last axis with a constant matrix, position by position."""
    first, second = bound_arguments(site.call).values()
    if not isinstance(first, Argument) or isinstance(second, Argument) or len(second.shape) != 2:
        return None
    if len(site.call.output) < 2:
        return None
    made = (*site.wanted[:-1], entire(site.call.output)[-1])
    return Restricted(((*made[:-1], entire(site.call.inputs[0])[-1]),), made, as_called)


def resampled_on_part(site: PartSite) -> Restricted | None:
    """Resized images: the weights of each axis, of the pixels that the part needs."""
    call = site.call
    rank = len(call.output)
    if rank != 3 or call.inputs[0] == call.output or _is_framed(site.layer):
        return None
    axes = spatial_axes(as_layer(call).layer, rank)
    needed, made = list(entire(call.inputs[0])), list(entire(call.output))
    weights: dict[int, np.ndarray] = {}
    for axis in axes:
        made[axis] = site.wanted[axis]
        if call.inputs[0][axis] == call.output[axis]:
            needed[axis] = made[axis]
            continue
        matrix = _weights(site.layer, call.inputs[0][axis], call.output[axis])[slice(*made[axis])]
        used = np.flatnonzero(matrix.any(axis=0))
        needed[axis] = (int(used[0]), int(used[-1]) + 1)
        weights[axis] = matrix[:, slice(*needed[axis])]

    def run(values: Sequence[Array], _: Callable[..., Any]) -> list[Array]:
        value = site.converted(values[0])
        for axis, matrix in weights.items():
            made = ops.tensordot(value, ops.cast(matrix, value.dtype), [[axis + 1], [1]])
            value = ops.moveaxis(made, -1, axis + 1)
        return [value]

    return Restricted((tuple(needed),), tuple(made), run)


def _is_framed(layer: Any) -> bool:
    """Whether a part of the image is resized, or a border is put around it."""
    return any(getattr(layer, f"{how}_to_aspect_ratio", False) for how in ("crop", "pad"))


def _weights(layer: Any, size: int, count: int) -> np.ndarray:
    """The weights of the pixels of an axis, of shape `(count, size)`, by resizing unit vectors."""
    made = ops.image.resize(
        np.eye(size, dtype="float32").reshape(1, size, 1, size),
        (count, 1),
        interpolation=getattr(layer, "interpolation", "bilinear"),
        antialias=getattr(layer, "antialias", False),
        data_format="channels_last",
    )
    return np.asarray(made)[0, :, 0]
