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

from keras_erf.squaring.strengths import Profile, blended, multiplied

__all__ = ["Signal", "activated", "averaged", "drawn", "largest_of", "mixed", "product", "summed"]

# Channels of random networks, in pairs of opposite sign, and inputs, of the examples.
CHANNELS, INPUTS = 512, 128


@dataclass(frozen=True, eq=False)
class Signal:
    """Examples of the entries of a tensor, over random weights and inputs.

    Args:
        values: Shape `(channels, inputs)`: rows are different networks' channels.
        slopes: If the entries come from an activation, its squared slope at each.
        profile: How their strength varies over space.
    """

    values: np.ndarray = field(repr=False)
    slopes: np.ndarray | None = field(default=None, repr=False)
    profile: Profile = field(default=None, repr=False)

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
        values = (self.values - means) * np.sqrt(scales)
        return Signal(values, profile=self.profile), float(scales.mean())

    def normalised(self, epsilon: float) -> tuple[Signal, float]:
        """The signal with one mean and spread taken off for all channels, and its squared scale."""
        centre = self.values - self.values.mean()
        scale = 1 / (np.square(centre).mean() + epsilon)
        return Signal(centre * math.sqrt(scale), profile=self.profile), float(scale)

    def scaled(self, factor: float) -> Signal:
        """The signal multiplied by a number whose square is `factor`."""
        return replace(self, values=self.values * math.sqrt(factor))

    def changed(self, second: float, shared: float, profile: Profile) -> Signal:
        """The signal with other strengths: factors of its mean square and of what is shared."""
        means = self.values.mean(axis=1, keepdims=True)
        common = self.shared * shared
        left = max(self.second * second - common, 0.0)
        spread = self.second - self.shared
        values = math.sqrt(shared) * means
        if spread > 0:
            values = values + math.sqrt(left / spread) * (self.values - means)
        return Signal(values, profile=profile)

    def at(self, channels: int) -> Any:
        """Its mean square at each position, a number if that is the same everywhere."""
        if self.profile is None:
            return self.second
        return self.second * np.expand_dims(self.profile, channels)


def drawn(second: float, shared: float, key: int, profile: Profile = None) -> Signal:
    """The signal of sums of many random terms: Gaussian, with what inputs share apart.

    Args:
        second: Its mean square.
        shared: What of that does not depend on the input.
        key: Different ones give independent examples.
        profile: How its strength varies over space.

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
    # A sum's kernel scales its spread and its slope alike: normalised, every channel is one.
    each /= np.sqrt(np.square(each).mean(axis=1, keepdims=True))
    shared = min(max(shared, 0.0), second)
    values = math.sqrt(shared) * common + math.sqrt(second - shared) * each
    # With each example its opposite: half of all are above zero, exactly.
    pairs = np.stack([values, -values], axis=1).reshape(CHANNELS, INPUTS)
    return Signal(pairs, profile=profile)


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
    values = np.asarray(made, np.float64)
    return Signal(values, squared, before.profile), float(squared.mean())


def summed(signals: Sequence[Signal]) -> Signal:
    """The sum of tensors, entry by entry."""
    values = np.sum([one.values for one in signals], axis=0)
    return Signal(values, profile=_blended(signals, [1.0] * len(signals)))


def product(one: Signal, other: Signal) -> Signal:
    """The product of two tensors, entry by entry."""
    profile, mean = multiplied([one.profile, other.profile])
    return Signal(one.values * other.values * math.sqrt(mean), profile=profile)


def mixed(signals: Sequence[Signal], shares: Sequence[float]) -> Signal:
    """Entries of several kinds, each a share of all channels."""
    ends = np.round(np.cumsum([0.0, *shares]) / sum(shares) * CHANNELS).astype(int)
    rows = [
        one.values[start:stop] for one, start, stop in zip(signals, ends, ends[1:], strict=False)
    ]
    return Signal(np.concatenate(rows), profile=_blended(signals, shares))


def averaged(signal: Signal, size: float) -> Signal:
    """The mean of so many entries that have in common what all inputs share."""
    means = signal.values.mean(axis=1, keepdims=True)
    return Signal(means + (signal.values - means) / math.sqrt(size))


def _blended(signals: Sequence[Signal], shares: Sequence[float]) -> Profile:
    weights = [share * one.second for share, one in zip(shares, signals, strict=True)]
    return blended([one.profile for one in signals], weights)


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
