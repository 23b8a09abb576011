"""Pools, padding, resizing: layers without weights that move along space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_erf.rules.call import spatial_axes
from keras_erf.squaring.recipes import (
    DTYPE,
    LAST,
    Matrices,
    Recipe,
    SquareSite,
    in_double,
    keras_class,
)
from keras_erf.squaring.signals import averaged, largest_of
from keras_erf.squaring.strengths import passed

__all__ = [
    "Resampled",
    "average_pooling",
    "global_average",
    "global_maximum",
    "max_pooling",
    "moved",
    "upsampling",
]

# They put zeros around an image, or cut it.
FRAMING = (
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D,
    layers.Cropping1D, layers.Cropping2D, layers.Cropping3D, layers.CenterCrop,
)  # fmt: skip
AVERAGES = {
    layers.MaxPooling1D: layers.AveragePooling1D,
    layers.MaxPooling2D: layers.AveragePooling2D,
    layers.MaxPooling3D: layers.AveragePooling3D,
}


def moved(site: SquareSite) -> Recipe | None:
    """Copies of entries, zeros and nothing else: padding, cropping, rearranging."""
    layer, made = in_double(site.layer), replace(site.signal, profile=None, sizes=())
    if isinstance(layer, FRAMING):
        profile, gain = passed(layer, site.signal.profile, _space(site))
        # A channel's mean over space falls with its entries.
        made = site.signal.changed(gain, gain**2, profile)
        steps = (1.0,) * len(_space(site))
        return Recipe(layer, (made,), common=1.0, steps=steps, as_called=True)
    return Recipe(layer, (made,), common=1.0, as_called=True)


def average_pooling(site: SquareSite) -> Recipe:
    """Average pools: of `n` entries in a window each weighs `1 / n`, squared `1 / n^2`.

    What lies in the padding is not counted, so `n` is smaller at borders.
    """
    size = math.prod(site.layer.pool_size)
    layer = _averages(site.layer)
    profile, _ = passed(layer, site.signal.profile, _space(site))
    made = replace(averaged(site.signal, size), profile=profile)
    shares = _shares(site)
    along = _matrices(site, _means)
    return Recipe(layer, (made,), after=shares, common=shares, along=along)


def max_pooling(site: SquareSite) -> Recipe:
    """Max pools: the gradient goes to one entry of a window, to each as often.

    So it is an average pool of squares. The largest entry behind a ReLU is one that
    the ReLU lets pass, which more of its squares show. It leaves out that neighbours
    are alike, and that neighbouring windows share their largest entry.
    """
    size = math.prod(site.layer.pool_size)
    made, share = largest_of(site.signal, size)
    layer = _averages(site.layer)
    profile, _ = passed(layer, site.signal.profile, _space(site))
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
        certainty="approximate",
    )


def global_average(site: SquareSite) -> Recipe:
    """Means over all of space."""
    size = _places(site)
    made = averaged(site.signal, size)
    return Recipe(in_double(site.layer), (made,), after=1 / size, common=1 / size)


def global_maximum(site: SquareSite) -> Recipe:
    """Maxima over all of space, each place as often."""
    own = keras_class(site.layer)
    kind = getattr(layers, own.__name__.replace("Max", "Average"))
    made, share = largest_of(site.signal, _places(site))
    config = {**own.get_config(site.layer), "dtype": DTYPE, "name": "squared"}
    layer = kind.from_config({**config, "data_format": LAST})
    common = share**2 / _places(site)
    return Recipe(layer, (made,), after=share, common=common, certainty="approximate")


def upsampling(site: SquareSite) -> Recipe:
    """Enlarged maps: copies as they are; of interpolation the weights along each axis, squared."""
    if getattr(site.layer, "interpolation", "nearest") == "nearest":
        layer = in_double(site.layer)
        profile, _ = passed(layer, site.signal.profile, _space(site))
        made = replace(site.signal, profile=profile)
        return Recipe(layer, (made,), common=1.0, along=_matrices(site, _along))
    axes = spatial_axes(site.layer, len(site.call.output))
    weights = [_along(site, axis) for axis in axes]
    matrices = [np.square(one) for one in weights]
    power = math.prod(float(one.sum(axis=1).mean()) for one in matrices)
    profile, _ = passed(in_double(site.layer), site.signal.profile, _space(site))
    made = replace(averaged(site.signal, 1 / power), profile=profile)
    layer = Resampled(dict(zip(axes, matrices, strict=True)), dtype=DTYPE, name="squared")
    return Recipe(layer, (made,), common=1.0, along=(tuple(weights),))


class Resampled(keras.Layer):
    """A linear map along each of some axes.

    Args:
        matrices: For each axis, the batch not counted, the matrix of shape
            `(outputs, inputs)`.
    """

    def __init__(self, matrices: dict[int, np.ndarray], **options: Any) -> None:
        super().__init__(**options)
        self.matrices = {axis: np.asarray(one) for axis, one in matrices.items()}

    def call(self, inputs: Any) -> Any:
        """The product along every axis."""
        for axis, matrix in self.matrices.items():
            made = ops.tensordot(inputs, ops.cast(matrix, inputs.dtype), [[axis + 1], [1]])
            inputs = ops.moveaxis(made, -1, axis + 1)
        return inputs

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[Any, ...]:
        """The shape with the new sizes."""
        shape = list(input_shape)
        for axis, matrix in self.matrices.items():
            shape[axis + 1] = len(matrix)
        return tuple(shape)


def _along(site: SquareSite, axis: int) -> np.ndarray:
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


def _matrices(site: SquareSite, along: Callable[[SquareSite, int], Any]) -> tuple[Matrices, ...]:
    """The one path through a layer, of the matrix along each axis."""
    return (tuple(along(site, axis) for axis in spatial_axes(site.layer, len(site.call.output))),)


def _means(site: SquareSite, axis: int) -> np.ndarray:
    """The matrix of an average pool along one axis: what lies in the padding is not counted."""
    layer, places = site.layer, spatial_axes(site.layer, len(site.call.output))
    place = places.index(axis)
    size, stride = layer.pool_size[place], layer.strides[place]
    inputs, outputs = site.call.inputs[0][axis], site.call.output[axis]
    before = 0 if layer.padding == "valid" else max((outputs - 1) * stride + size - inputs, 0) // 2
    starts = np.arange(outputs)[:, None] * stride - before
    seen = (np.arange(inputs) >= starts) & (np.arange(inputs) < starts + size)
    return seen / seen.sum(axis=1, keepdims=True)


def _averages(layer: Any) -> Any:
    """The average pool over a pool's windows."""
    own = keras_class(layer)
    kind = AVERAGES.get(own, own)
    # In three dimensions TensorFlow pools in single precision only.
    flat = not isinstance(layer, (layers.MaxPooling3D, layers.AveragePooling3D))
    names = ("pool_size", "strides", "padding")
    return kind(
        **{name: getattr(layer, name) for name in names},
        data_format=LAST,
        dtype=DTYPE if flat else "float32",
        name="squared",
    )


def _shares(site: SquareSite) -> Any:
    """Of each window `1 / n`: one number, or an array over the output's space."""
    layer, shape = site.layer, site.call.output
    if layer.padding == "valid":
        return 1 / math.prod(layer.pool_size)
    axes = spatial_axes(layer, len(shape))
    counts = np.ones([1] * len(shape))
    for axis, size, stride in zip(axes, layer.pool_size, layer.strides, strict=True):
        inputs, outputs = site.call.inputs[0][axis], shape[axis]
        before = max((outputs - 1) * stride + size - inputs, 0) // 2
        starts = np.arange(outputs) * stride - before
        inside = np.minimum(starts + size, inputs) - np.maximum(starts, 0)
        along = [1] * len(shape)
        along[axis] = outputs
        counts = counts * inside.reshape(along)
    return 1 / counts if np.ptp(counts) else 1 / float(counts.flat[0])


def _space(site: SquareSite) -> list[int]:
    shape = site.call.inputs[0]
    return [shape[axis] for axis in spatial_axes(site.layer, len(shape))]


def _places(site: SquareSite) -> int:
    return math.prod(_space(site))
