"""How strong a signal is on its way through a random network, and what an activation does to it.

Two numbers per tensor are enough: the mean square of its entries, and what of it all
inputs share. Of what comes before an activation, sums of many random terms, the
distribution is then known: a Gaussian, and two inputs are a correlated pair of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["NOISE", "Signal", "activated", "mixed"]

# Points of the Gaussian quadrature. Even, so that none lies on the kink of a ReLU.
POINTS, PAIR_POINTS = 256, 64


@dataclass(frozen=True)
class Signal:
    """Mean squares of the entries of a tensor, over random weights and inputs.

    Args:
        second: `E[x^2]`.
        shared: `E[E[x | weights]^2]`: of that, what does not depend on the input.
    """

    second: float
    shared: float = 0.0

    def scaled(self, factor: float) -> Signal:
        """The signal of what is multiplied by numbers whose mean square is `factor`."""
        return Signal(self.second * factor, self.shared * factor)

    @property
    def variance(self) -> float:
        """What of `second` depends on the input: the variance that a batch shows."""
        return self.second - self.shared


NOISE = Signal(1.0)


def mixed(signals: list[Signal], shares: list[float]) -> Signal:
    """The signal of entries of several kinds, each of some share of them."""
    return Signal(
        sum(one.second * share for one, share in zip(signals, shares, strict=True)),
        sum(one.shared * share for one, share in zip(signals, shares, strict=True)),
    )


def activated(before: Signal, function: Callable[[Any], Any]) -> tuple[Signal, float]:
    """What an activation of single elements makes of a Gaussian signal.

    With `z ~ N(0, second)` and two inputs' values `z, z'` of covariance `shared`:

        second -> E[f(z)^2]    shared -> E[f(z) f(z')]    gradients' squares -> E[f'(z)^2]

    A ReLU lets half of the squares pass, `E[f'(z)^2] = 1/2`, whatever the signal.

    Returns:
        The signal behind it, and the mean square of its slope.

    Reference:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli, "Exponential expressivity in deep
        neural networks through transient chaos", NIPS 2016, arXiv:1606.05340, equations
        3 and 5; Schoenholz et al., "Deep information propagation", ICLR 2017,
        arXiv:1611.01232, section 4 (the slope).
    """
    values, weights = _points(POINTS)
    spread = math.sqrt(max(before.second, 0.0))
    made, slopes = _curve(function, spread * values)
    second, gate = float(weights @ made**2), float(weights @ slopes**2)
    rest = max(before.variance, 0.0)
    values, weights = _points(PAIR_POINTS)
    common = math.sqrt(max(before.shared, 0.0)) * values
    each, _ = _curve(function, (common[:, None] + math.sqrt(rest) * values).ravel())
    means = each.reshape(len(values), -1) @ weights
    shared = float(weights @ means**2)
    return Signal(second, min(shared, second)), gate


def _curve(function: Callable[[Any], Any], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes of a function of single elements."""
    points = tf.constant(at, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        made = tf.convert_to_tensor(function(points))
    slopes = tape.gradient(made, points)
    if slopes is None:
        return np.asarray(made, np.float64), np.zeros_like(at)
    return np.asarray(made, np.float64), np.asarray(slopes, np.float64)


@cache
def _points(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a mean over a standard Gaussian."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    # In so many points the outermost weights vanish, some as NaN.
    weights = np.nan_to_num(weights)
    return points, weights / weights.sum()
