"""Maps enlarged by whole factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_erf.algebra.boxes import cut, entire
from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import channel_axis, spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.interpolation import per_axis, resampled
from keras_erf.layers.parts import PartSite, Restricted, as_called
from keras_erf.layers.recipes import (
    DTYPE,
    Recipe,
    Resampled,
    SquareSite,
    in_double,
    matrices_along,
    space_of,
)
from keras_erf.layers.transposed_convolution import needed_sources
from keras_erf.layers.windows import window_views
from keras_erf.signals.profiles import passed
from keras_erf.signals.signal_moments import averaged
from keras_erf.types import Array

__all__ = ["ENTRIES", "upsampling_squares"]


def upsampling(call: Call) -> tuple[View, ...]:
    """Up-sampling by whole factors: nearest copies input floor(o / f), others interpolate."""
    layer = call.layer
    how = getattr(layer, "interpolation", "nearest")
    if how != "nearest":
        return (per_axis(call, lambda size, count: resampled(size, count, how)),)
    windows = [Window(one, padding=one - 1, up=one) for one in np.atleast_1d(layer.size).tolist()]
    return window_views(call, windows, Link(channel_axis(layer, len(call.output))))


def upsampling_on_part(site: PartSite) -> Restricted | None:
    """Up-sampling by whole factors, nearest or bilinear: more than is wanted is made, and cut.

    Other interpolations weigh pixels beyond any window, and run whole.
    """
    found = needed_sources(site)
    if found is None:
        return None
    inputs = list(entire(site.call.inputs[0]))
    wanted, made = list(entire(site.call.output)), list(entire(site.call.output))
    for axis, window, interval in zip(*found, strict=True):
        inputs[axis], wanted[axis] = interval, site.wanted[axis]
        made[axis] = (interval[0] * window.up, interval[1] * window.up)

    def run(values: Sequence[Array], call: Callable[..., Any]) -> list[Array]:
        # At the part's own ends, where a bilinear layer repeats the last pixel, nothing is wanted.
        return [cut(one, tuple(made), tuple(wanted)) for one in as_called(values, call)]

    return Restricted((tuple(inputs),), tuple(wanted), run)


def upsampling_squares(site: SquareSite) -> Recipe:
    """Enlarged maps: copies as they are; of interpolation the weights along each axis, squared."""
    if getattr(site.layer, "interpolation", "nearest") == "nearest":
        layer = in_double(site.layer)
        profile, _ = passed(layer, site.signal.profile, space_of(site))
        made = replace(site.signal, profile=profile)
        return Recipe(layer, (made,), common=1.0, along=matrices_along(site, _interpolation_along))
    axes = spatial_axes(site.layer, len(site.call.output))
    weights = [_interpolation_along(site, axis) for axis in axes]
    matrices = [np.square(one) for one in weights]
    power = math.prod(float(one.sum(axis=1).mean()) for one in matrices)
    profile, _ = passed(in_double(site.layer), site.signal.profile, space_of(site))
    made = replace(averaged(site.signal, 1 / power), profile=profile)
    layer = Resampled(dict(zip(axes, matrices, strict=True)), dtype=DTYPE, name="squared")
    return Recipe(layer, (made,), common=1.0, along=(tuple(weights),))


def _interpolation_along(site: SquareSite, axis: int) -> np.ndarray:
    """The matrix of an interpolation along one axis, by the layer's own run on unit vectors.

    Along the other axes the vectors do not change, and the weights there sum to one.
    """
    before, after = site.call.inputs[0], site.call.output
    size = before[axis]
    shape = [size, *before]
    shape[site.channels + 1] = 1
    units = np.zeros(shape, np.float32)
    index: list[Any] = [slice(None)] * len(shape)
    index[0], index[axis + 1] = np.arange(size), np.arange(size)
    units[tuple(index)] = 1
    (made,) = site.call.run([ops.convert_to_tensor(units)])
    middle: list[Any] = [one // 2 for one in (0, *after)]
    middle[0], middle[axis + 1], middle[site.channels + 1] = slice(None), slice(None), 0
    return np.asarray(made, np.float64)[tuple(middle)].T


ENTRIES = (
    Entry(
        layers=ranks("UpSampling{}D"),
        dependence=upsampling,
        part=upsampling_on_part,
        squares=upsampling_squares,
        affine=in_one_tensor,
    ),
)
