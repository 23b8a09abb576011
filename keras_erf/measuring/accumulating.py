"""Running sums of the maps of some units, and the compiled function that adds a batch to them.

The sums stay on the device, one for each block of samples, over the part of the
input a unit can see: memory grows neither with the number of samples nor with
the image.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone
from keras_erf.definitions import Definition
from keras_erf.errors import GradientError, reason_of
from keras_erf.fields.theoretical import Target
from keras_erf.measuring.containment import SPILLED, beyond_field, spilled
from keras_erf.measuring.diagnosing import explain_gradient, failing_layer
from keras_erf.measuring.gradients import channels_and_gradients, sample_maps, within
from keras_erf.results.effective import BLOCKS
from keras_erf.types import Variable

__all__ = ["Accumulator", "Sums"]

# Gradients whose peak is this much above the smallest normal number of their dtype are kept:
# below, what is left of their tails is rounded to zero.
HEADROOM = 2.0**20
# A gradient that explains less than this share of how the unit's channels vary is a suspect; so
# is that of channels that vary by less than this share of their size. Of squares, both.
EXPLAINED, CONSTANT = 1e-4, 1e-9


class Sums:
    """Running sums of one unit.

    Args:
        target: The unit.
        part: The part of the input it can see, over the input's spatial axes.
    """

    def __init__(self, target: Target, part: Box) -> None:
        self.target, self.part = target, part
        shape = (BLOCKS, *(stop - start for start, stop in part))
        self.maps = tf.Variable(tf.zeros(shape, tf.float64), trainable=False)
        self.dead = tf.Variable(0, dtype=tf.int64, trainable=False)

    def clear(self) -> None:
        """Sets everything to zero."""
        self.maps.assign(tf.zeros_like(self.maps))
        self.dead.assign(0)

    def add(self, maps: Any, dead: Any, blocks: Any) -> None:
        """Adds maps to blocks; a block of -1 is none."""
        self.maps.assign_add(tf.math.unsorted_segment_sum(maps, blocks, BLOCKS))
        self.dead.assign_add(tf.math.count_nonzero(dead & (blocks >= 0)))


class Accumulator:
    """Adds batches to the sums of some units, all from one pass forwards.

    Args:
        targets: The units, all of one graph and one input.
        parts: The part of the input each can see, over the input's spatial axes.
        cone: What computes them.
        definition: What is measured.
        training: Whether layers run in training mode.
        seed: Seed of random layers.
        variables: Variables whose values are given with each batch.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        parts: Sequence[Box],
        cone: Cone,
        definition: Definition,
        *,
        training: bool = False,
        seed: int = 0,
        variables: Sequence[Variable] = (),
    ) -> None:
        self.targets, self.cone, self.definition = tuple(targets), cone, definition
        self.training, self.variables = training, tuple(variables)
        self.sums = [Sums(target, part) for target, part in zip(targets, parts, strict=True)]
        self.done = 0
        # Units whose gradient in the first batch may be rounding.
        self.suspects: list[Target] = []
        self.counts = np.zeros(BLOCKS, dtype=np.int64)
        self.beyond = [
            beyond_field(target, cone.parts.get(target.input)) for target in self.targets
        ]
        # Dropout and similar layers draw from states that stay the user's: others replace them.
        self.states = targets[0].graph.random_states() if training else []
        # Another stream than those of noise.
        self.seed = seed
        self.random = np.random.default_rng((seed, 1))
        # TensorFlow warns of retracing by code object; a partial makes each one of its own.
        add = functools.partial(self._add)
        self.add = tf.function(add, autograph=False, reduce_retracing=True)

    def clear(self) -> None:
        """Starts again, with the same random draws as the first time."""
        for sums in self.sums:
            sums.clear()
        self.done = 0
        self.counts[:] = 0
        self.random = np.random.default_rng((self.seed, 1))

    def feed(
        self,
        batch: Mapping[int, Any],
        valid: int,
        *,
        blocks: np.ndarray | None = None,
        weights: Sequence[Any] = (),
    ) -> None:
        """Adds the first `valid` samples of a batch, whose other ones only fill it up.

        Args:
            batch: Parts of the model's inputs, by tensor number.
            valid: How many of its samples count.
            blocks: The block of each sample; `None` deals them in turn.
            weights: Values of the `variables`.

        Raises:
            GradientError: A gradient is not finite, or too small for its dtype; or
                the model cannot be run. The layer that is to blame is named.
            InvalidInputError: A gradient reaches beyond its field, by a rule of the user's say.
            InternalError: It does so by a fault of this library.
        """
        count = len(batch[self.targets[0].input])
        if blocks is None:
            blocks = (self.done + np.arange(count)) % BLOCKS
        blocks = np.where(np.arange(count) < valid, blocks, -1)
        seeds = [tf.constant(self.random.integers(2**31, size=2), tf.uint32) for _ in self.states]
        try:
            sound = self.add(batch, tf.constant(blocks), seeds, list(weights)).numpy()
        except tf.errors.OpError as error:
            raise _failure(error, self.targets[-1], count) from error
        except Exception as error:  # A layer's own code may raise anything.
            name = failing_layer(self.cone, batch, training=self.training)
            if name is None:  # None of the layers' faults.
                raise
            raise GradientError(
                expected=f"The model cannot be run: layer {name!r} fails: {reason_of(error)}",
                remedy="Fix it, or choose a layer before it",
            ) from error
        if not self.done:
            self.suspects = [
                target
                for target, (*_, explains) in zip(self.targets, sound, strict=True)
                if not explains
            ]
        self.counts += np.bincount(blocks[:valid], minlength=BLOCKS)
        self.done += valid
        for target, (finite, strong, enclosed, _) in zip(self.targets, sound, strict=True):
            if not finite:
                raise self._lost(target, batch, weights)
            if not strong:
                raise _underflow(target)
            if not enclosed:
                raise spilled(target, training=self.training)

    def finish(self, batch: Mapping[int, Any]) -> None:
        """Checks that something was measured of each unit; `batch` is any of those fed.

        Raises:
            GradientError: A gradient was zero for every sample.
        """
        for sums in self.sums:
            maps = sums.maps.numpy()
            if not (maps.any() and np.isfinite(maps).all()):
                raise self._lost(sums.target, batch)

    def _lost(
        self, target: Target, batch: Mapping[int, Any], weights: Sequence[Any] = ()
    ) -> GradientError:
        return explain_gradient(
            target,
            self.cone,
            batch,
            self.definition,
            training=self.training,
            state=list(zip(self.variables, weights, strict=False)),
        )

    def _add(
        self, batch: Mapping[int, Any], blocks: Any, seeds: Sequence[Any], weights: Sequence[Any]
    ) -> Any:
        """Adds a batch; returns four verdicts on the gradient of each unit.

        Whether it is finite, above underflow, within the field, and explains how the unit varies.
        """
        state = [*zip(self.states, seeds, strict=True), *zip(self.variables, weights, strict=True)]
        first = self.targets[0]
        unit_values, gradients = channels_and_gradients(
            self.targets, self.cone, batch, self.definition, training=self.training, state=state
        )
        whole = self.cone.parts.get(first.input)
        sound = []
        units = zip(self.sums, self.beyond, unit_values, gradients, strict=True)
        for sums, beyond, channels, gradient in units:
            if gradient is None:
                gradient = tf.zeros_like(batch[first.input])
            gradient = tf.convert_to_tensor(gradient)
            axes = list(range(1, gradient.shape.rank))
            peak = tf.reduce_max(tf.abs(gradient), axis=axes)
            sums.add(
                sample_maps(
                    within(gradient, sums.target, sums.part, whole), sums.target, self.definition
                ),
                peak == 0,
                blocks,
            )
            faint = (peak > 0) & (peak < HEADROOM * _tiny(gradient))
            # Not of the maps: there a ReLU turns minus infinity into an innocent zero.
            finite = tf.reduce_all(tf.math.is_finite(gradient))
            strong = ~tf.reduce_any(faint & (blocks >= 0))
            if self.definition.seed == "mean":
                channels /= channels.shape[-1]
            explains = _explains(gradient, batch[first.input], channels)
            enclosed = True
            if beyond is not None:
                outside = tf.reduce_max(tf.abs(tf.where(beyond, gradient, 0)))
                enclosed = outside <= SPILLED * tf.reduce_max(peak)
            sound.append(tf.stack([finite, strong, enclosed, explains]))
        return tf.stack(sound)


def _explains(gradient: Any, values: Any, channels: Any) -> Any:
    """Whether gradients of a sum of channels are of the size that the channels' variance asks for.

    Over the samples of a batch, to first order, a sum varies by its gradient times what the
    inputs vary by. That is far less than its terms do only where they cancel.
    """
    gradient, values, channels = (
        tf.cast(value, tf.float64) for value in (gradient, values, channels)
    )
    spread = tf.math.reduce_variance(values, axis=0)
    by_gradient = tf.reduce_sum(tf.reduce_mean(tf.square(gradient), axis=0) * spread)
    by_channels = tf.reduce_sum(tf.math.reduce_variance(channels, axis=0))
    size = tf.reduce_sum(tf.reduce_mean(tf.square(channels), axis=0))
    return (by_gradient > EXPLAINED * by_channels) & (by_channels > CONSTANT * size)


def _tiny(tensor: Any) -> float:
    """Smallest normal number of a tensor's dtype."""
    return float(np.finfo(tensor.dtype.as_numpy_dtype).tiny)


def _underflow(target: Target) -> GradientError:
    """The error of gradients that fade away."""
    field = target.receptive_field
    return GradientError(
        expected=f"The gradient of unit {field.unit} of layer {field.layer!r} underflows: it is "
        "so small that its tails are rounded to zero",
        remedy="Run the model in float64, check its weights' scale, or probe an earlier layer",
    )


def _failure(error: tf.errors.OpError, target: Target, count: int) -> GradientError:
    """The error about what TensorFlow could not do."""
    where = f"layer {target.receptive_field.layer!r}"
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return GradientError(
            expected=f"The gradient of {where} does not fit into memory: set `batch_size` lower",
            received=f"batches of {count}",
        )
    # The last line that is not the graph's own bookkeeping says what is wrong.
    lines = [line.strip() for line in error.message.splitlines()]
    reasons = [line for line in lines if line and not line.startswith("[[")]
    return GradientError(
        expected=f"TensorFlow cannot run the model as far as {where} on this device: "
        f"{reasons[-1] if reasons else type(error).__name__}"
    )
