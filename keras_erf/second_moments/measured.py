"""Layers without a rule: their squared gradients are measured by random signs.

With signs `e` that are independent, `E[(J^T (e sqrt(v)))^2] = (J^2)^T v`, entry by entry:
products of a layer's transposed Jacobian with random vectors give the squared kernel
of any layer (Hutchinson's trick; Bekas, Kokiopoulou and Saad 2007 estimate diagonals by it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.layers.recipes import DTYPE, Recipe, SquareSite
from keras_erf.signals.signal_moments import Signal, drawn
from keras_erf.types import Array

__all__ = ["MeasuredSquares", "measured"]

# Draws of inputs and signs; each entry is off by sqrt(2 / DRAWS) of itself, less in sums.
DRAWS = 64


def measured(site: SquareSite) -> Recipe:
    """Any layer that runs by itself, with the weights it holds."""
    layer = MeasuredSquares(site)
    return Recipe(layer, layer.signals, certainty="measured")


class MeasuredSquares(keras.Layer):
    """Stands for a layer in the squared network: its output is none, its gradient is measured.

    Args:
        site: The call it stands for.
    """

    def __init__(self, site: SquareSite) -> None:
        super().__init__(dtype=DTYPE, name="squared")
        self.site = site
        self.shapes = [tuple(shape) for shape in site.call.outputs]
        self.signals = self._signals()

    def call(self, *inputs: Array) -> Array:
        """Zeros of the output's shape, whose gradient is the squared one."""
        flat = [tf.convert_to_tensor(one) for one in keras.tree.flatten(inputs)]

        @tf.custom_gradient
        def run(*values: Array) -> Array:
            made = [tf.zeros((len(values[0]), *shape), DTYPE) for shape in self.shapes]

            def backwards(*upstream: Array) -> Any:
                return self._squared(values, upstream)

            return made, backwards

        made = run(*flat)
        return made[0] if len(self.shapes) == 1 else made

    def compute_output_spec(self, *inputs: Array) -> Any:
        """The shapes of the layer it stands for."""
        made = [keras.KerasTensor((None, *shape), dtype=DTYPE) for shape in self.shapes]
        return made[0] if len(made) == 1 else made

    def _squared(self, values: Sequence[Array], upstream: Sequence[Array]) -> list[Array]:
        """Products of the squared Jacobian's transpose, averaged over the draws."""
        peak = tf.reduce_max([tf.reduce_max(one) for one in upstream])
        scale = tf.where(peak > 0, peak, tf.ones_like(peak))
        roots = [tf.sqrt(tf.maximum(one, 0) / scale) for one in upstream]
        sums = [tf.zeros_like(one) for one in values]
        for draw in range(DRAWS):
            inputs = [tf.constant(one) for one in self._drawn(draw)]
            signs = np.random.default_rng((1, draw))
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([one for one in inputs if one.dtype.is_floating])
                made = self.site.call.run(inputs)
                seeded = tf.zeros((), DTYPE)
                for one, root in zip(made, roots, strict=True):
                    signed = root * _signs(signs, root.shape)
                    # Truths and whole numbers have no gradient.
                    if one.dtype.is_floating:
                        seeded += tf.cast(tf.reduce_sum(one * tf.cast(signed, one.dtype)), DTYPE)
            sought = [inputs[place] for place in self.site.reached]
            gradients = [
                tape.gradient(seeded, one, unconnected_gradients="zero")
                if one.dtype.is_floating
                else tf.zeros(one.shape, DTYPE)
                for one in sought
            ]
            sums = [
                total + tf.square(tf.cast(one[: len(total)], total.dtype))
                for total, one in zip(sums, gradients, strict=True)
            ]
        return [scale * total / DRAWS for total in sums]

    def _drawn(self, draw: int) -> list[np.ndarray]:
        """One draw of the layer's inputs: Gaussians of their signals' strength."""
        each, common = np.random.default_rng((0, draw)), np.random.default_rng(2)
        batch = self.site.call.batch or 1
        drawn = []
        for shape, signal, dtype in zip(
            self.site.call.inputs, self.site.signals, self.site.call.dtypes, strict=True
        ):
            if dtype == "bool":
                # Of truths the mean square is how often they hold.
                drawn.append(each.random((batch, *shape)) < signal.second)
                continue
            # What all inputs share is a number for each channel.
            values = np.sqrt(signal.shared) * common.standard_normal((1, *shape[-1:]))
            spread = np.sqrt(signal.second - signal.shared)
            values = values + spread * each.standard_normal((batch, *shape))
            drawn.append(values.astype(dtype))
        return drawn

    def _signals(self) -> tuple[Signal, ...]:
        """How strong the layer's outputs are, as the draws show it."""
        made = [
            self.site.call.run([tf.constant(one) for one in self._drawn(draw)])
            for draw in range(DRAWS)
        ]
        found = []
        for place in range(len(self.shapes)):
            values = np.stack([np.asarray(one[place], np.float64) for one in made])
            second = float(np.square(values).mean())
            # In the mean over draws a share is left of what differs between them.
            mixed = float(np.square(values.mean(axis=0)).mean())
            shared = (mixed * DRAWS - second) / (DRAWS - 1)
            found.append(drawn(second, shared, (*self.site.key, place)))
        return tuple(found)


def _signs(random: np.random.Generator, shape: Sequence[int]) -> Any:
    return tf.constant(random.choice((-1.0, 1.0), size=tuple(shape)), DTYPE)
