"""From units to the input: the gradients of a batch, and the maps they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone
from keras_erf.definitions import Definition
from keras_erf.fields.theoretical import Target
from keras_erf.types import State

__all__ = [
    "MEASURES",
    "channels_and_gradients",
    "sample_maps",
    "seed_value",
    "unit_channels",
    "within",
]

# What a definition's `measure` makes of each entry of a gradient, in double precision.
MEASURES: dict[str, Callable[[Any], Any]] = {
    "abs": tf.abs,
    "square": tf.square,
    "relu": tf.nn.relu,
    "signed": tf.identity,
}


def unit_channels(output: Any, target: Target, definition: Definition, cone: Cone) -> Any:
    """What a definition seeds at a unit, one number per channel, shape `(samples, channels)`."""
    index: list[Any] = [slice(None)] * output.shape.rank
    part = cone.parts.get(target.tensor)
    for axis, position in zip(target.spatial_axes, target.position, strict=True):
        index[axis + 1] = position - (part[axis][0] if part else 0)
    channels = output[tuple(index)]
    return tf.nn.relu(channels) if definition.seed == "relu" else channels


def seed_value(output: Any, target: Target, definition: Definition, cone: Cone) -> Any:
    """The number that is differentiated, summed over the batch; arguments as `unit_channels`."""
    return seed_of(unit_channels(output, target, definition, cone), definition)


def seed_of(channels: Any, definition: Definition) -> Any:
    """The number that is differentiated, summed over the batch, of a unit's channels."""
    if definition.seed == "mean":
        return tf.reduce_sum(tf.reduce_mean(channels, axis=-1))
    return tf.reduce_sum(channels)


def channels_and_gradients(
    targets: Sequence[Target],
    cone: Cone,
    values: Mapping[int, Any],
    definition: Definition,
    *,
    training: bool = False,
    state: State = (),
) -> tuple[list[Any], list[Any]]:
    """What is seeded at some units, and its gradients by the input, from one pass forwards.

    Returns:
        For each unit its channels, as `unit_channels`; and a tensor of the shape of the input's
        part, one gradient per sample, or `None` where nothing differentiable leads to the unit.
    """
    watched = values[targets[0].input]
    # A layer's name may start with an underscore, which TensorFlow refuses as outermost scope.
    with (
        tf.name_scope("probe"),
        tf.GradientTape(persistent=len(targets) > 1, watch_accessed_variables=False) as tape,
    ):
        tape.watch(watched)
        known = cone.run(values, training=training, state=state)
        channels = [
            unit_channels(known[target.tensor], target, definition, cone) for target in targets
        ]
        seeded = [seed_of(values, definition) for values in channels]
    return channels, [tape.gradient(value, watched) for value in seeded]


def within(gradient: Any, target: Target, part: Box, held: Box | None) -> Any:
    """What of a gradient lies in a part of the input.

    Args:
        gradient: Over the part `held` of the input, with a batch axis.
        target: The unit it is of.
        part: Over the input's spatial axes.
        held: Over all of its axes, the batch not counted; `None` is everything.
    """
    slices = [slice(None)] * gradient.shape.rank
    for axis, (start, stop) in zip(target.tracing.input_axes, part, strict=True):
        first = held[axis][0] if held else 0
        slices[axis + 1] = slice(start - first, stop - first)
    return gradient[tuple(slices)]


def sample_maps(gradient: Any, target: Target, definition: Definition) -> Any:
    """Map of each sample, float64, shape `(samples, *spatial shape of the gradient)`."""
    reduce = tf.reduce_mean if definition.channels == "mean" else tf.reduce_sum
    # The channel axis is counted without the batch.
    axis = target.graph.channel_axes[target.input] + 1
    maps = reduce(MEASURES[definition.measure](tf.cast(gradient, tf.float64)), axis=axis)
    return tf.nn.relu(maps) if definition.after == "relu" else maps
