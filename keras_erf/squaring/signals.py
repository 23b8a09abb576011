"""How strong a signal is on its way through a random network, and what an activation does to it.

A signal is told by examples: entries of a tensor for some networks' channels and some
inputs. Sums of many random terms are Gaussians, of which the mean square and what all
inputs share are enough; examples of these are drawn. Everything that acts on single
entries then acts on the examples: activations, sums of a branch and its shortcut, gates,
normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Signal", "activated", "averaged", "drawn", "largest_of", "mixed", "product", "summed"]

# Channels of random networks, in pairs of opposite sign, and inputs, of the examples.
CHANNELS, INPUTS = 512, 128


@dataclass(frozen=True, eq=False)
class Signal:
    """Examples of the entries of a tensor, over random weights and inputs.

    Args:
        values: Shape `(channels, inputs)`: rows are different networks' channels.
        slopes: If the entries come from an activation, its squared slope at each.
    """

    values: np.ndarray = field(repr=False)
    slopes: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def second(self) -> float:
        """`E[x^2]`."""
        return float(np.square(self.values).mean())

    @cached_property
    def shared(self) -> float:
        """`E[E[x | weights]^2]`: what of `second` does not depend on the input."""
        return float(np.square(self.values.mean(axis=1)).mean())

    def standardised(self, epsilon: float) -> tuple[Signal, float]:
        """The signal with each channel's mean and spread taken off, and the mean squared scale."""
        means = self.values.mean(axis=1, keepdims=True)
        variances = self.values.var(axis=1, keepdims=True)
        scales = 1 / (variances + epsilon)
        # The mean of reciprocals of variances of `n` Gaussians is too large by n / (n - 3).
        scale = scales.mean() * (1 - 3 / self.values.shape[1])
        return Signal((self.values - means) * np.sqrt(scales)), float(scale)

    def normalised(self, epsilon: float) -> tuple[Signal, float]:
        """The signal with one mean and spread taken off for all channels, and its squared scale."""
        centre = self.values - self.values.mean()
        scale = 1 / (np.square(centre).mean() + epsilon)
        return Signal(centre * math.sqrt(scale)), float(scale)

    def scaled(self, factor: float) -> Signal:
        """The signal multiplied by a number whose square is `factor`."""
        return replace(self, values=self.values * math.sqrt(factor))


def drawn(second: float, shared: float, key: int) -> Signal:
    """The signal of sums of many random terms: Gaussian, with what inputs share apart.

    Args:
        second: Its mean square.
        shared: What of that does not depend on the input.
        key: Different ones give independent examples.

    Reference:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli, "Exponential expressivity in deep
        neural networks through transient chaos", NIPS 2016, arXiv:1606.05340, equations
        3 and 5.
    """
    random = np.random.default_rng(key)
    common = random.standard_normal((CHANNELS // 2, 1))
    each = random.standard_normal((CHANNELS // 2, INPUTS))
    common /= math.sqrt(np.square(common).mean())
    each -= each.mean(axis=1, keepdims=True)
    each /= math.sqrt(np.square(each).mean())
    shared = min(max(shared, 0.0), second)
    values = math.sqrt(shared) * common + math.sqrt(second - shared) * each
    # With each example its opposite: half of all are above zero, exactly.
    return Signal(np.stack([values, -values], axis=1).reshape(CHANNELS, INPUTS))


def activated(before: Signal, function: Callable[[Any], Any]) -> tuple[Signal, float]:
    """What an activation of single entries makes of a signal.

    Returns:
        The signal behind it, and the mean square of its slope: 1/2 for a ReLU of a
        signal about zero, whatever its strength.

    Reference:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, "Deep information propagation",
        ICLR 2017, arXiv:1611.01232, section 4.
    """
    points = tf.constant(before.values, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        made = tf.convert_to_tensor(function(points))
    slopes = tape.gradient(made, points, unconnected_gradients="zero")
    squared = np.square(np.asarray(slopes, np.float64))
    return Signal(np.asarray(made, np.float64), squared), float(squared.mean())


def summed(signals: Sequence[Signal]) -> Signal:
    """The sum of tensors, entry by entry."""
    return Signal(np.sum([one.values for one in signals], axis=0))


def product(one: Signal, other: Signal) -> Signal:
    """The product of two tensors, entry by entry."""
    return Signal(one.values * other.values)


def mixed(signals: Sequence[Signal], shares: Sequence[float]) -> Signal:
    """Entries of several kinds, each a share of all."""
    ends = np.round(np.cumsum([0.0, *shares]) / sum(shares) * CHANNELS).astype(int)
    rows = [
        one.values[start:stop] for one, start, stop in zip(signals, ends, ends[1:], strict=False)
    ]
    return Signal(np.concatenate(rows))


def averaged(signal: Signal, size: float) -> Signal:
    """The mean of so many entries that have in common what all inputs share."""
    means = signal.values.mean(axis=1, keepdims=True)
    return Signal(means + (signal.values - means) / math.sqrt(size))


def largest_of(signal: Signal, size: int) -> tuple[Signal, float]:
    """The largest of so many entries of a channel.

    Returns:
        Its signal; and how much more often the squared slope of the activation that
        made it is there than of any entry, 1 without one.
    """
    count = signal.values.shape[1]
    # Each example beside others of its channel; of more than there are, all.
    places = (np.arange(count) + np.arange(min(size, count))[:, None]) % count
    best = places[np.argmax(signal.values[:, places], axis=1), np.arange(count)]
    values = np.take_along_axis(signal.values, best, axis=1)
    if signal.slopes is None or not signal.slopes.any():
        return Signal(values), 1.0
    slopes = np.take_along_axis(signal.slopes, best, axis=1)
    return Signal(values), float(slopes.mean() / signal.slopes.mean())
