"""Max and average pools, over windows, over all of space, and adaptive ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from keras import backend, layers, ops

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box, Interval, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import channel_axis, spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.dependence.simple import refused
from keras_erf.layers.conditions import in_one_tensor, without_mask
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.interpolation import bins, per_axis
from keras_erf.layers.operation_parts import of_pool
from keras_erf.layers.parts import Pads, PartSite, Restricted, padded
from keras_erf.layers.recipes import (
    DTYPE,
    LAST,
    Recipe,
    SquareSite,
    in_double,
    keras_class,
    matrices_along,
    space_of,
)
from keras_erf.layers.windows import as_layer, as_tuple, on_windows, window_views, windows_along
from keras_erf.signals.profiles import passed
from keras_erf.signals.signal_moments import averaged, largest_of
from keras_erf.types import Array, Layer

__all__ = ["ENTRIES"]


def pooling(call: Call) -> tuple[View, ...]:
    """Max and average pooling."""
    return window_views(call, _windows(call), Link(channel_axis(call.layer, len(call.output))))


def pooling_operation(call: Call) -> tuple[AnyView, ...]:
    """Max and average pooling; the stride is the window's size if not given."""
    layer, rank = call.layer, len(call.output) - 1
    size = as_tuple(layer.pool_size, rank)
    strides = size if layer.strides is None else as_tuple(layer.strides, rank)
    return pooling(as_layer(call, pool_size=size, strides=strides))


def max_pooling_on_part(site: PartSite) -> Restricted | None:
    """Maxima; padding is never one of them."""
    layer = site.layer

    def operate(value: Array, pads: Pads) -> Array:
        dtype = backend.standardize_dtype(value.dtype)
        lowest = -np.inf if backend.is_float_dtype(dtype) else np.iinfo(dtype).min
        return ops.max_pool(
            padded(value, pads, lowest),
            layer.pool_size,
            strides=layer.strides,
            padding="valid",
            data_format=layer.data_format,
        )

    return on_windows(site, operate)


def average_pooling_on_part(site: PartSite) -> Restricted | None:
    """Means over those pixels of a window that lie inside the input, as TensorFlow takes them."""
    layer = site.layer
    # The operation divides by all pixels of a window, those of the padding too.
    pairs = zip(_counts(site.call, site.wanted), layer.pool_size, strict=True)
    factors = [size / np.maximum(counts, 1) for counts, size in pairs if (counts < size).any()]

    def operate(value: Array, pads: Pads) -> Array:
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

    return on_windows(site, operate)


def _windows(call: Call) -> list[Window]:
    """The windows of a pool, one for each axis of space."""
    layer = call.layer
    return windows_along(call, layer.pool_size, layer.strides, (1,) * len(layer.pool_size))


def _counts(call: Call, part: Box) -> list[np.ndarray]:
    """For each axis of space the pixels of a window that count, stretched over a part."""
    counts = []
    for axis in spatial_axes(call.layer, len(part)):
        number = _pixels(call, axis, part[axis])[1].sum(axis=1)
        counts.append(
            np.expand_dims(number, [other for other in range(len(part)) if other != axis])
        )
    return counts


def _pixels(call: Call, axis: int, positions: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the windows along an axis, and whether each of them lies inside the input."""
    window = _windows(call)[spatial_axes(call.layer, len(call.output)).index(axis)]
    taps, _ = window.taps(np.arange(*positions))
    return taps, (taps >= 0) & (taps < call.inputs[0][axis])


def average_pooling_squares(site: SquareSite) -> Recipe:
    """Average pools: of `n` entries in a window each weighs `1 / n`, squared `1 / n^2`.

    What lies in the padding is not counted, so `n` is smaller at borders.
    """
    size = math.prod(site.layer.pool_size)
    layer = _averages(site.layer)
    profile, _ = passed(layer, site.signal.profile, space_of(site))
    made = replace(averaged(site.signal, size), profile=profile)
    counts = np.asarray(math.prod(_counts(site.call, entire(site.call.output))))
    shares = 1 / counts if np.ptp(counts) else 1 / float(counts.flat[0])
    along = matrices_along(site, _means)
    return Recipe(layer, (made,), after=shares, common=shares, along=along, mean=True)


def max_pooling_squares(site: SquareSite) -> Recipe:
    """Max pools: the gradient goes to one entry of a window, to each as often.

    So it is an average pool of squares. The largest entry behind a ReLU is one that
    the ReLU lets pass, which more of its squares show. Windows that overlap may share their
    largest entry. It leaves out that neighbours are alike.
    """
    size = math.prod(site.layer.pool_size)
    made, share = largest_of(site.signal, size)
    layer = _averages(site.layer)
    profile, _ = passed(layer, site.signal.profile, space_of(site))
    made = replace(made, profile=profile)
    # Of two channels the largest entries are as often in one place as in another.
    common = share**2 / size
    steps = tuple(map(float, site.layer.strides))
    return Recipe(
        layer,
        (made,),
        after=share,
        common=common,
        apart=common,
        steps=steps,
        largest=(site.layer.pool_size, site.layer.strides),
        certainty="approximate",
    )


def _means(site: SquareSite, axis: int) -> np.ndarray:
    """The matrix of an average pool along one axis: what lies in the padding is not counted."""
    pixels, inside = _pixels(site.call, axis, (0, site.call.output[axis]))
    held = (pixels[..., None] == np.arange(site.call.inputs[0][axis])).any(axis=1)
    return held / inside.sum(axis=1, keepdims=True)


def _averages(layer: Layer) -> Layer:
    """The average pool over a pool's windows."""
    name = keras_class(layer).__name__.replace("Max", "Average")
    geometry = {key: getattr(layer, key) for key in ("pool_size", "strides", "padding")}
    # In three dimensions TensorFlow pools in single precision only.
    dtype = "float32" if name.endswith("3D") else DTYPE
    return getattr(layers, name)(**geometry, data_format=LAST, dtype=dtype, name="squared")


def adaptive_pooling(call: Call) -> tuple[View]:
    """Adaptive pools: bins of about equal size that cover the axis, overlapping where they must.

    Formula: He et al. 2014, "Spatial Pyramid Pooling", section 2.3 (floor and ceiling of bins).
    """
    return (per_axis(call, bins),)


# Keras 3.15 gives adaptive pools of channels-last maps an axis too many.
WRONG_SHAPE = refused("Keras states a shape for its output that it does not have; use the layer")


def adaptive_pooling_operation(call: Call) -> tuple[AnyView, ...]:
    """Adaptive pools, as the layer."""
    if len(call.output) != len(call.inputs[0]):
        return WRONG_SHAPE(call)
    return adaptive_pooling(as_layer(call))


def global_pooling(call: Call) -> tuple[View]:
    """Every position of each channel; the channel axis stays, alone or among axes of length 1."""
    rank = len(call.inputs[0])
    axis = channel_axis(call.layer, rank)
    kept = Link(axis if len(call.output) == rank else 0)
    links = tuple(kept if one == axis else Link(None) for one in range(rank))
    return (View(links),)


def global_average_squares(site: SquareSite) -> Recipe:
    """Means over all of space."""
    size = _places(site)
    made = averaged(site.signal, size)
    return Recipe(in_double(site.layer), (made,), after=1 / size, common=1 / size)


def global_maximum_squares(site: SquareSite) -> Recipe:
    """Maxima over all of space, each place as often."""
    own = keras_class(site.layer)
    kind = getattr(layers, own.__name__.replace("Max", "Average"))
    made, share = largest_of(site.signal, _places(site))
    config = {**own.get_config(site.layer), "dtype": DTYPE, "name": "squared"}
    layer = kind.from_config({**config, "data_format": LAST})
    common = share**2 / _places(site)
    return Recipe(layer, (made,), after=share, common=common, certainty="approximate")


def _places(site: SquareSite) -> int:
    return math.prod(space_of(site))


ENTRIES = (
    Entry(
        layers=ranks("AveragePooling{}D"),
        dependence=pooling,
        part=average_pooling_on_part,
        squares=average_pooling_squares,
        affine=in_one_tensor,
    ),
    Entry(
        layers=ranks("MaxPooling{}D"),
        dependence=pooling,
        part=max_pooling_on_part,
        squares=max_pooling_squares,
    ),
    Entry(
        operations="AveragePool",
        dependence=pooling_operation,
        part=of_pool(average_pooling_on_part),
        affine=in_one_tensor,
    ),
    Entry(operations="MaxPool", dependence=pooling_operation, part=of_pool(max_pooling_on_part)),
    Entry(
        layers=ranks("AdaptiveAveragePooling{}D"), dependence=adaptive_pooling, affine=in_one_tensor
    ),
    Entry(layers=ranks("AdaptiveMaxPooling{}D"), dependence=adaptive_pooling),
    Entry(
        operations="AdaptiveAveragePool",
        dependence=adaptive_pooling_operation,
        affine=in_one_tensor,
    ),
    Entry(operations="AdaptiveMaxPool", dependence=adaptive_pooling_operation),
    Entry(
        layers="GlobalAveragePooling1D",
        dependence=global_pooling,
        squares=global_average_squares,
        affine=without_mask,
        over_space=True,
    ),
    Entry(
        layers="GlobalAveragePooling2D GlobalAveragePooling3D",
        dependence=global_pooling,
        squares=global_average_squares,
        affine=in_one_tensor,
        over_space=True,
    ),
    Entry(
        layers=ranks("GlobalMaxPooling{}D"),
        dependence=global_pooling,
        squares=global_maximum_squares,
    ),
)
