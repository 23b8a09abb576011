"""The squares of a call: what a layer gets for them, and what replaces the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import CallSite
from keras_erf.graph import Node
from keras_erf.signals.initializers import Weights
from keras_erf.signals.signal_moments import Key, Signal
from keras_erf.types import Array, Layer, Operation

__all__ = [
    "DTYPE",
    "FIRST",
    "LAST",
    "Matrices",
    "NotAlike",
    "Recipe",
    "Resampled",
    "SquareRule",
    "SquareSite",
    "in_double",
    "keras_class",
    "kernel_layer",
    "matrices_along",
    "space_of",
]

# Squares of small gradients leave the range of single precision.
DTYPE = "float64"
# Along each axis of space a matrix of shape `(outputs, inputs)`.
Matrices = tuple[np.ndarray, ...]
# Whether a rule holds exactly, by an approximation of its own, or by drawing.
Certainty = Literal["exact", "approximate", "measured"]


class NotAlike(Exception):
    """The channels of some tensor are not alike: one cannot stand for all."""


@dataclass(frozen=True)
class SquareSite(CallSite):
    """A call in a random network.

    Args:
        node: The call in its graph.
        signals: How strong each of its inputs is.
        reached: Places of the inputs that the analysed input leads to.
        channels: Channel axis of its output, the batch not counted.
        narrow: Whether one channel shall stand for all of a tensor's.
        weights: Which weights are squared.
        training: Whether dropout is active.
        key: Its place in the model, of which random examples are drawn.
    """

    node: Node
    signals: tuple[Signal, ...]
    reached: tuple[int, ...]
    channels: int
    narrow: bool
    weights: Weights
    training: bool
    key: Key

    @property
    def signal(self) -> Signal:
        """That of its first input."""
        return self.signals[0]

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """One number per index of an axis, in the shape that is stretched over the output."""
        shape = [1] * len(self.call.output)
        shape[axis] = -1
        return values.reshape(shape)

    def gains(self, values: np.ndarray) -> tuple[Any, Any]:
        """What gains do to squares, and to products of two channels.

        Args:
            values: What entries are multiplied by, stretched over the output.

        Returns:
            Numbers, or arrays that are stretched over the output; the second is, for each
            channel, in the mean over the others.
        """
        if np.ptp(values) == 0:
            gain = float(np.square(values).mean())
            return gain, gain
        values = values.reshape((1,) * (len(self.call.output) - values.ndim) + values.shape)
        mean = values.mean(axis=self.channels, keepdims=True)
        squares, products = np.square(values), values * mean
        if self.narrow:
            squares = squares.mean(axis=self.channels, keepdims=True)
            products = products.mean(axis=self.channels, keepdims=True)
        return _number(squares), _number(products)


@dataclass(frozen=True)
class Recipe:
    """What stands for a call in the squared network.

    Args:
        layer: A linear layer; `None` hands on the input, or the sum of them.
        signals: How strong each output of the call itself is.
        before: What each input is multiplied by first.
        after: What the output is multiplied by: a number, or an array that is
            stretched over it.
        common: As `after`, of the products of the gradients of two channels; `None` where
            random weights make them independent.
        common_before: As `before`, of these products; empty for the same.
        centred: Whether the layer takes off the mean over the channels.
        signs: Of each input of a sum, 1 or -1; empty where all are added.
        scales: Whether it multiplies by one positive number, `after`, everywhere in space.
        standardised: Whether it takes off each channel's mean over the inputs.
        joins: Whether it puts tensors one behind the other.
        mean: Whether it takes means over windows.
        apart: As `after`, of the products of the gradients at two positions; `None` for the same.
        along: Of a layer without weights, matrices along each axis of space, one set for each
            path through it: what stands for it where neighbours have something in common.
        steps: Of any other layer, by what an offset between positions of the output is
            multiplied before it, along each axis; `None` where offsets are lost.
        largest: Of a maximum over windows, their size and strides.
        stretched: Of each input how much more its squares may be if the channels that it is
            stretched over have gradients in common; empty where none is stretched.
        weighted: Whether it takes sums of its inputs with random weights.
        entrywise: Whether the signal's examples are those of the inputs, entry by entry.
        as_called: Whether the layer takes the arguments of the call as they
            are; if not it takes the tensors that are reached alone.
        certainty: How good the rule is.
    """

    layer: Layer
    signals: tuple[Signal, ...]
    before: tuple[Any, ...] = ()
    after: Any = 1.0
    common: Any = None
    common_before: tuple[Any, ...] = ()
    centred: bool = False
    signs: tuple[int, ...] = ()
    scales: bool = False
    standardised: bool = False
    joins: bool = False
    mean: bool = False
    apart: Any = None
    along: tuple[Matrices, ...] = ()
    steps: tuple[float, ...] | None = None
    largest: tuple[Sequence[int], Sequence[int]] | None = None
    stretched: tuple[float, ...] = ()
    weighted: bool = False
    entrywise: bool = False
    as_called: bool = False
    certainty: Certainty = "exact"


def _number(values: np.ndarray) -> Any:
    return values if np.ptp(values) else float(values.flat[0])


# `None` where the call has to be measured.
SquareRule = Callable[[SquareSite], Recipe | None]


def kernel_layer(
    layer: Layer, weights: Sequence[np.ndarray], shape: Sequence[int], **changes: Any
) -> Layer:
    """A linear layer with a kernel, in double precision, of the geometry of another and no more.

    Args:
        layer: The other layer; it stays as it is. Of a subclass it is Keras's own class.
        weights: Kernels.
        shape: Shape of its input without the batch.
        **changes: Geometry that differs.
    """
    kind = keras_class(layer)
    known = inspect.signature(kind).parameters
    geometry = {name: getattr(layer, name) for name in GEOMETRY if name in known}
    # No weights are drawn: they would be overwritten, and the global seed would move on.
    zeros = {name: "zeros" for name in known if name.endswith("_initializer")}
    if geometry.get("data_format") == FIRST:
        geometry["data_format"], shape = LAST, (*shape[1:], shape[0])
    copy = kind(**{**geometry, **zeros, **changes}, use_bias=False, dtype=DTYPE, name="squared")
    copy.build((None, *shape))
    copy.set_weights(list(weights))
    return copy


# In double precision TensorFlow has its channels last on a CPU.
FIRST, LAST = "channels_first", "channels_last"

GEOMETRY = (
    "filters", "units", "kernel_size", "strides", "padding", "output_padding", "data_format",
    "dilation_rate", "groups", "depth_multiplier",
)  # fmt: skip


def keras_class(layer: Layer) -> type[Layer]:
    """Keras's own class that a layer is one of."""
    return next(
        kind for kind in type(layer).__mro__ if kind.__module__.partition(".")[0] == "keras"
    )


def in_double(operation: Operation) -> Operation:
    """A layer without weights, or an operation, that keeps double precision."""
    if not isinstance(operation, keras.Layer):
        return operation
    kind = keras_class(operation)
    config = {**kind.get_config(operation), "dtype": DTYPE, "name": "squared"}
    if config.get("data_format") == FIRST:
        config["data_format"] = LAST
    return kind.from_config(config)


class Resampled(keras.Layer):
    """A linear map along each of some axes.

    Args:
        matrices: For each axis, the batch not counted, the matrix of shape
            `(outputs, inputs)`.
    """

    def __init__(self, matrices: dict[int, np.ndarray], **options: Any) -> None:
        super().__init__(**options)
        self.matrices = {axis: np.asarray(one) for axis, one in matrices.items()}

    def call(self, inputs: Array) -> Array:
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


def matrices_along(
    site: SquareSite, along: Callable[[SquareSite, int], Any]
) -> tuple[Matrices, ...]:
    """The one path through a layer, of the matrix along each axis."""
    return (tuple(along(site, axis) for axis in spatial_axes(site.layer, len(site.call.output))),)


def space_of(site: SquareSite) -> list[int]:
    """Spatial shape of a call's first input."""
    shape = site.call.inputs[0]
    return [shape[axis] for axis in spatial_axes(site.layer, len(shape))]
