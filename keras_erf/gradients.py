"""From one unit to the input: the gradient of a batch, and the maps it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_erf.definitions import Definition
from keras_erf.theoretical import Target

__all__ = ["sample_maps", "seed_value", "unit_gradient"]


def seed_value(output: Any, target: Target, definition: Definition) -> Any:
    """The number that is differentiated, summed over the batch.

    Args:
        output: The layer's tensor, with a batch axis.
        target: The unit.
        definition: Its `seed` says what becomes of the unit's channels.
    """
    index: list[Any] = [slice(None)] * output.shape.rank
    for axis, position in zip(target.spatial_axes, target.position, strict=True):
        index[axis + 1] = position
    channels = output[tuple(index)]
    if definition.seed == "relu":
        channels = tf.nn.relu(channels)
    if definition.seed == "mean":
        return tf.reduce_sum(tf.reduce_mean(channels, axis=-1))
    return tf.reduce_sum(channels)


def unit_gradient(
    target: Target,
    values: Mapping[int, Any],
    definition: Definition,
    *,
    training: bool = False,
    state: Sequence[tuple[Any, Any]] = (),
) -> Any:
    """Gradient of the seeded unit with respect to the input, one per sample.

    Args:
        target: The unit.
        values: The model's inputs, by tensor number.
        definition: What is seeded.
        training: Whether layers run in training mode.
        state: Values to read in place of random layers' states.

    Returns:
        A tensor of the input's shape, or `None` where nothing differentiable
        leads from the input to the unit.
    """
    watched = values[target.input]
    # A layer's name may start with an underscore, which TensorFlow refuses as outermost scope.
    with tf.name_scope("probe"), tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        outputs = target.graph.run(values, [target.tensor], training=training, state=state)
        seeded = seed_value(outputs[target.tensor], target, definition)
    return tape.gradient(seeded, watched)


def sample_maps(gradient: Any, target: Target, definition: Definition) -> Any:
    """Map of each sample, float64, shape `(samples, *spatial shape of the input)`."""
    measures = {"abs": tf.abs, "square": tf.square, "relu": tf.nn.relu, "signed": tf.identity}
    reduce = tf.reduce_mean if definition.channels == "mean" else tf.reduce_sum
    # The channel axis is counted without the batch.
    axis = target.graph.channel_axes[target.input] + 1
    maps = reduce(measures[definition.measure](tf.cast(gradient, tf.float64)), axis=axis)
    return tf.nn.relu(maps) if definition.after == "relu" else maps
