"""How strong a signal is in a random network, and what an activation does to it.

A signal is a set of examples: entries of a tensor for some networks' channels and some
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
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_erf.signals.profiles import Profile, blended, multiplied, normalised

__all__ = [
    "Key",
    "Signal",
    "Slope",
    "activated",
    "averaged",
    "drawn",
    "largest_of",
    "mixed",
    "product",
    "summed",
]

# Channels of random networks, in pairs of opposite sign, and inputs, of the examples.
CHANNELS, INPUTS = 512, 128
# What examples are drawn by.
Key = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Signal:
    """Examples of the entries of a tensor, over random weights and inputs.

    Args:
        values: Shape `(channels, inputs)`: rows are different networks' channels.
        slopes: If the entries come from an activation, its slope at each.
        before: What the activation was applied to.
        profile: How their strength varies over space.
        sizes: Numbers of channels of tensors put one behind the other: of each so large a
            share are the rows; empty where all channels are alike.
        means: How a channel's mean at a position goes with its mean over space: `E[m(x) m]`
            relative to `E[m^2]`. Without it as the roots of the strengths.
    """

    values: np.ndarray = field(repr=False)
    slopes: np.ndarray | None = field(default=None, repr=False)
    before: np.ndarray | None = field(default=None, repr=False)
    profile: Profile = field(default=None, repr=False)
    sizes: tuple[int, ...] = ()
    means: Profile = field(default=None, repr=False)

    @cached_property
    def second(self) -> float:
        """`E[x^2]`."""
        return float(np.square(self.values).mean())

    @cached_property
    def shared(self) -> float:
        """`E[E[x | weights]^2]`: what of `second` does not depend on the input."""
        return float(np.square(self.values.mean(axis=1)).mean())

    def standardised(self, epsilon: float) -> tuple[Signal, np.ndarray]:
        """The signal with each channel's mean and spread taken off, and the squared scales.

        The scales are in the mean over channels that are alike; one for each of `sizes`.
        """
        means = self.values.mean(axis=1, keepdims=True)
        variances = self.values.var(axis=1, keepdims=True)
        scales = 1 / (variances + epsilon)
        values = (self.values - means) * np.sqrt(scales)
        starts = _ends(self.sizes or (1,))[:-1]
        counts = np.diff(_ends(self.sizes or (1,)))
        found = np.add.reduceat(scales[:, 0], starts) / counts
        return Signal(values, profile=self._centred(), sizes=self.sizes), found

    @property
    def ends(self) -> np.ndarray:
        """Rows at which the examples of each of `sizes` end, those of the first begin at zero."""
        return _ends(self.sizes or (1,))

    def _centred(self) -> Profile:
        """The profile when each channel's mean is taken off."""
        if self.profile is None:
            return None
        means = self._means()
        left = self.second * self.profile - self.shared * (2 * means - 1)
        return normalised(np.maximum(left, 0.0))[0]

    def _means(self) -> np.ndarray:
        if self.means is not None or self.profile is None:
            return np.ones(()) if self.means is None else self.means
        roots = np.sqrt(self.profile)
        return roots / roots.mean()

    def normalised(self, epsilon: float, channels: int, *, inputs: bool) -> tuple[Signal, float]:
        """The signal with the mean and spread of groups of channels taken off.

        Args:
            epsilon: Added to a variance.
            channels: How many are in a group.
            inputs: Whether the mean is over inputs, which stand for places, as well.

        Returns:
            The signal, and the mean squared scale.
        """
        # Pairs of opposite sign are not to meet in one group more than by chance.
        order = np.random.default_rng(0).permutation(len(self.values))
        size = min(channels, len(order))
        count = len(order) // size
        groups = self.values[order[: count * size]].reshape(count, size, -1)
        axes = (1, 2) if inputs else (1,)
        centre = groups - groups.mean(axis=axes, keepdims=True)
        scales = 1 / (np.square(centre).mean(axis=axes, keepdims=True) + epsilon)
        values = np.resize((centre * np.sqrt(scales)).reshape(count * size, -1), self.values.shape)
        back = np.empty_like(values)
        back[order] = values
        return Signal(back, profile=self.profile), float(scales.mean())

    def scaled(self, factor: float) -> Signal:
        """The signal multiplied by a number whose square is `factor`."""
        return replace(self, values=self.values * math.sqrt(factor))

    def negated(self) -> Signal:
        """The signal with the other sign."""
        return replace(self, values=-self.values)

    def changed(self, second: float, shared: float, profile: Profile) -> Signal:
        """The signal with other strengths: factors of its mean square and of what is shared."""
        means = self.values.mean(axis=1, keepdims=True)
        common = self.shared * shared
        left = max(self.second * second - common, 0.0)
        spread = self.second - self.shared
        scale = math.sqrt(left / spread) if spread > 0 else 0.0
        values = math.sqrt(shared) * means + scale * (self.values - means)
        return Signal(values, profile=profile)

    def at(self, channels: int) -> Any:
        """Its mean square at each position, a number if that is the same everywhere."""
        if self.profile is None:
            return self.second
        return self.second * np.expand_dims(self.profile, channels)


class Slope(NamedTuple):
    """An activation's slope: its mean square, and means of products.

    Args:
        square: `E[s^2]`.
        common: `E[s s']` of two channels.
        apart: `E[s s']` of two positions of a channel, which have what inputs share.
    """

    square: float
    common: float
    apart: float


def drawn(
    second: float, shared: float, key: Key, profile: Profile = None, means: Profile = None
) -> Signal:
    """The signal of sums of many random terms: Gaussian, with what inputs share apart.

    Args:
        second: Its mean square.
        shared: What of that does not depend on the input.
        key: Different ones give independent examples.
        profile: How its strength varies over space.
        means: How what is shared does.

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
    return Signal(pairs, profile=profile, means=means)


def activated(before: Signal, function: Callable[[Any], Any]) -> tuple[Signal, Slope]:
    """What an activation of single entries makes of a signal, and its slope.

    The mean square of a ReLU's is 1/2 for a signal about zero, whatever its strength.

    Reference:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, "Deep information propagation",
        ICLR 2017, arXiv:1611.01232, section 4.
    """
    points = tf.constant(before.values, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        made = tf.convert_to_tensor(function(points))
    slopes = np.asarray(tape.gradient(made, points, unconnected_gradients="zero"), np.float64)
    signal = Signal(
        np.asarray(made, np.float64), slopes, before.values, before.profile, before.sizes
    )
    apart = float(np.square(slopes.mean(axis=1)).mean())
    return signal, Slope(float(np.square(slopes).mean()), float(slopes.mean()) ** 2, apart)


def summed(signals: Sequence[Signal]) -> Signal:
    """The sum of tensors, entry by entry."""
    values = np.sum([one.values for one in signals], axis=0)
    profile = _blended(signals, [1.0] * len(signals))
    if profile is None:
        return Signal(values)
    means = blended([one._means() for one in signals], [one.shared for one in signals])
    return Signal(values, profile=profile, means=means)


def product(one: Signal, other: Signal) -> Signal:
    """The product of two tensors, entry by entry."""
    profile, mean = multiplied([one.profile, other.profile])
    return Signal(one.values * other.values * math.sqrt(mean), profile=profile)


def mixed(signals: Sequence[Signal], sizes: Sequence[int]) -> Signal:
    """Channels of several tensors, one behind the other.

    Args:
        signals: Of the tensors.
        sizes: Their numbers of channels.
    """
    parts = [
        (rows, count)
        for one, size in zip(signals, sizes, strict=True)
        for rows, count in zip(
            np.split(one.values, _ends(one.sizes or (size,))[1:-1]),
            one.sizes or (size,),
            strict=True,
        )
    ]
    flat = tuple(count for _, count in parts)
    wanted = np.diff(_ends(flat))
    # There are fewer examples than before, because they stand for a smaller share.
    values = [_fewer(rows, count) for (rows, _), count in zip(parts, wanted, strict=True)]
    profile = _blended(signals, [size / sum(sizes) for size in sizes])
    sizes = flat if wanted.all() else ()
    return Signal(np.concatenate(values), profile=profile, sizes=sizes)


def _fewer(rows: np.ndarray, count: int) -> np.ndarray:
    """Some of the examples, with the strength of all."""
    found = rows[np.arange(count) % len(rows)]
    strength = np.square(found).mean() if found.any() else 1.0
    return found * math.sqrt(np.square(rows).mean() / strength)


def _ends(sizes: Sequence[int]) -> np.ndarray:
    """Rows at which the examples of tensors end, those of the first begin at zero."""
    return np.round(np.cumsum([0.0, *sizes]) / sum(sizes) * CHANNELS).astype(int)


def averaged(signal: Signal, size: float) -> Signal:
    """The mean of N entries that have in common what all inputs share."""
    means = signal.values.mean(axis=1, keepdims=True)
    return Signal(means + (signal.values - means) / math.sqrt(size))


def _blended(signals: Sequence[Signal], shares: Sequence[float]) -> Profile:
    weights = [share * one.second for share, one in zip(shares, signals, strict=True)]
    return blended([one.profile for one in signals], weights)


def largest_of(signal: Signal, size: int) -> tuple[Signal, float]:
    """The largest of N entries of a channel.

    Returns:
        Its signal; and how much more often the squared slope of the activation that
        made it is there than of any entry, 1 without one.
    """
    count = signal.values.shape[1]
    # Each example next to others of its channel; of more than there are, all.
    places = (np.arange(count) + np.arange(min(size, count))[:, None]) % count
    best = places[np.argmax(signal.values[:, places], axis=1), np.arange(count)]
    values = np.take_along_axis(signal.values, best, axis=1)
    if signal.slopes is None or not signal.slopes.any():
        return Signal(values), 1.0
    squares = np.square(signal.slopes)
    found = np.take_along_axis(squares, best, axis=1)
    return Signal(values), float(found.mean() / squares.mean())
