"""A unit computed twice: by its cone, and by the whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone, cone_of
from keras_erf.fields.theoretical import Target
from keras_erf.fields.tracing import Tracing

Unit = tuple[int, ...]


class Scale(layers.Layer):
    """Multiplies by weights: `shape` tells which axes have weights of their own."""

    def __init__(self, *shape: int, **options: Any) -> None:
        super().__init__(**options)
        self.shape = shape

    def build(self, _: Any) -> None:
        self.scale = self.add_weight(shape=self.shape, initializer="random_normal")

    def call(self, x: Any) -> Any:
        return x * self.scale

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Block(layers.Layer):
    """Layers inside a layer, one of them called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = layers.Conv2D(4, 3, padding="same", activation="tanh")
        self.norm = layers.BatchNormalization()

    def call(self, x: Any) -> Any:
        return x + self.norm(self.conv(self.conv(x)))


@dataclass(frozen=True, eq=False)
class Computed:
    """A unit of a tensor.

    Args:
        value: Its channels, of shape `(batch, channels)`.
        gradient: Gradient of their weighted sum by the analysed input, at the size of that.
    """

    value: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True, eq=False)
class ByCone(Computed):
    """A unit computed by its cone.

    Args:
        cone: The cone.
        values: The parts of all tensors, by number.
    """

    cone: Cone
    values: dict[int, Any]


def part_of_unit(tracing: Tracing, tensor: int, position: Unit) -> Box:
    """The part of a tensor that is one unit, with all of its channels."""
    part = list(entire(tracing.shape(tensor)))
    for axis, index in zip(tracing.spatial_axes(tensor), position, strict=True):
        part[axis] = (index, index + 1)
    return tuple(part)


def by_cone(
    tracing: Tracing,
    tensor: int,
    position: Unit,
    values: Sequence[Any],
    *,
    inside: bool = True,
    compiled: bool = False,
    **options: Any,
) -> ByCone:
    """A unit by its cone, from whole inputs.

    Args:
        tracing: Fields of the graph.
        tensor: The unit's tensor.
        position: Its place there.
        values: Of the model's inputs.
        inside: As in `cone_of`.
        compiled: Whether to run by XLA, for what TensorFlow has no kernel on a CPU.
        options: As in `Cone.run`.
    """
    cone = cone_of(tracing, {tensor: part_of_unit(tracing, tensor, position)}, inside=inside)
    inputs = dict(zip(tracing.graph.inputs, values, strict=True))
    known = {
        number: value[_slices(cone.parts[number])]
        for number, value in inputs.items()
        if number in cone.parts
    }
    here: list[Any] = [slice(None)] * len(cone.parts[tensor])
    for axis, index in zip(tracing.spatial_axes(tensor), position, strict=True):
        here[axis] = index - cone.parts[tensor][axis][0]

    def compute() -> tuple[dict[int, Any], Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(known.values()))
            made = cone.run(known, **options)
            value = made[tensor][(slice(None), *here)]
            score = _weighed(value)
        return made, value, tape.gradient(score, known.get(tracing.input, []))

    made, value, found = _run(compute, compiled=compiled)
    gradient = np.zeros(inputs[tracing.input].shape)
    if tracing.input in known and found is not None:
        gradient[_slices(cone.parts[tracing.input])] = tf.convert_to_tensor(found)
    return ByCone(np.asarray(value), gradient, cone, made)


def by_model(
    model: keras.Model,
    targets: Sequence[Target],
    values: Sequence[Any],
    number: int = 0,
    *,
    compiled: bool = False,
) -> list[Computed]:
    """Units of a model's output by the model itself, and gradients by its input `number`."""
    watched = values[number]

    def compute() -> tuple[list[Any], list[Any]]:
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(watched)
            made = model(values if len(values) > 1 else values[0], training=False)
            units = [made[_index(target)] for target in targets]
            scores = [_weighed(unit) for unit in units]
        return units, [tape.gradient(score, watched) for score in scores]

    computed = []
    for value, found in zip(*_run(compute, compiled=compiled), strict=True):
        gradient = np.zeros(watched.shape) if found is None else tf.convert_to_tensor(found)
        computed.append(Computed(np.asarray(value), np.asarray(gradient)))
    return computed


def _run(compute: Callable[[], Any], *, compiled: bool) -> Any:
    return tf.function(compute, autograph=False, jit_compile=True)() if compiled else compute()


def _slices(part: Box) -> tuple[slice, ...]:
    return (slice(None), *(slice(*one) for one in part))


def _index(target: Target) -> tuple[Any, ...]:
    """Where a unit is in its tensor, the batch counted."""
    places = dict(zip(target.spatial_axes, target.position, strict=True))
    rank = len(target.tracing.shape(target.tensor))
    return (slice(None), *(places.get(axis, slice(None)) for axis in range(rank)))


def _weighed(value: Any) -> Any:
    """A sum over channels that weigh differently: that of a softmax's would be constant."""
    weights = np.linspace(0.5, 1.5, value.shape[-1]) if value.shape.rank > 1 else 1.0
    return tf.reduce_sum(value * tf.constant(weights, value.dtype))
