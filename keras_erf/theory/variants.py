"""What shortcuts, gates, dropout and weaker centres make of the field, in closed form."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.theory.coefficients import checked_count, polynomial_coefficients

__all__ = [
    "corner_gain",
    "dropout_factor",
    "relu_factor",
    "skip_map",
    "skip_variance",
    "soft_centre_variance",
]


def skip_map(
    blocks: int, energy: float, *, kernel_size: int = 3, layers: int = 1, ndim: int = 2
) -> np.ndarray:
    """Mean squared gradient of `y = x + F(x)` repeated: a mixture over the paths' lengths.

    A path takes the branch of `b` of the blocks with the weight `C(n, b) v^b / (1 + v)^n`,
    and has the map of `b * layers` uniform kernels. The sum is no product of its
    marginals: in two dimensions it is not separable.

    Examples:
        >>> found = keras_erf.theory.skip_map(10, 1.0)
        >>> found.shape, round(float(found.sum()), 6)
        ((21, 21), 1.0)

    Args:
        blocks: Number of blocks `n`.
        energy: Energy `v` of a branch: the sum of its squared kernels, where the shortcut's
            is 1.
        kernel_size: Taps of the branch's kernels along each axis.
        layers: Convolutions of a branch.
        ndim: Number of spatial axes.

    Returns:
        Float64 of sum 1, `n layers (k - 1) + 1` pixels along each axis.

    Raises:
        InvalidInputError: An argument is out of range, or a branch sees an even number of
            pixels: the shortcut then meets no centre of it.

    Reference:
        Veit, Wilber and Belongie, "Residual networks behave like ensembles of relatively
        shallow networks", NIPS 2016, arXiv:1605.06431, section 4.2 (binomial path lengths).
    """
    n, per = checked_count("blocks", blocks), checked_count("layers", layers)
    k, rank = checked_count("kernel_size", kernel_size), checked_count("ndim", ndim)
    probability = _taken(energy, k, per)
    side = n * per * (k - 1) + 1
    total = np.zeros((side,) * rank)
    branch = np.array([value / k**per for value in polynomial_coefficients(per, k)])
    line, chance = np.ones(1), Fraction(probability)
    for count in range(n + 1):
        around = (side - line.size) // 2
        share = float(math.comb(n, count) * chance**count * (1 - chance) ** (n - count))
        total += share * np.pad(reduce(np.multiply.outer, [line] * rank), around)
        line = np.convolve(line, branch)
    return total


def skip_variance(blocks: int, energy: float, *, kernel_size: int = 3, layers: int = 1) -> float:
    """Variance of that map along an axis: `n q layers (k^2 - 1) / 12`, `q = v / (1 + v)`.

    Without the shortcuts it is that of `q = 1`: they make the effective field smaller by
    `sqrt q`, while the theoretical one stays.

    Examples:
        >>> round(keras_erf.theory.skip_variance(10, 1.0), 3)  # half of that of ten layers in a row
        3.333

    Raises:
        InvalidInputError: An argument is out of range.
    """
    n, per = checked_count("blocks", blocks), checked_count("layers", layers)
    k = checked_count("kernel_size", kernel_size)
    return n * _taken(energy, k, per) * per * (k**2 - 1) / 12


def relu_factor(layers: int) -> float:
    """What is left of the mean squared gradient behind `n` ReLUs of signals about zero: `2^-n`.

    The shape of the map stays. Both are exact at any width for weights of a symmetric
    distribution without biases, for a unit in front of its own ReLU: a kernel and its
    negative are as likely, and one of the two opens the gate.

    Examples:
        >>> keras_erf.theory.relu_factor(3)
        0.125

    Raises:
        InvalidInputError: `layers` is negative.

    Reference:
        He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015, arXiv:1502.01852,
        section 2.2 (backward propagation).
    """
    return 0.5 ** checked_count("layers", layers, least=0)


def dropout_factor(rate: float, layers: int = 1) -> float:
    """Growth of the mean squared gradient by dropout that keeps the mean: `1 / (1 - p)` a layer.

    The shape of the map stays.

    Examples:
        >>> keras_erf.theory.dropout_factor(0.5, layers=3)
        8.0

    Raises:
        InvalidInputError: `rate` does not lie in [0, 1), or `layers` is negative.

    Reference:
        Luo et al. 2016, section 2.5.
    """
    if not (isinstance(rate, int | float | np.number) and 0 <= rate < 1):
        raise InvalidInputError(
            argument="rate", expected="must lie from 0 to below 1", received=f"rate={rate!r}"
        )
    return (1 / (1 - rate)) ** checked_count("layers", layers, least=0)


def corner_gain(kernel_size: int) -> float:
    """How much wider the field is with all weight in the kernels' corners: `sqrt(3 (k-1) / (k+1))`.

    Along an axis half of the weight is at each end: variance `(k - 1)^2 / 4` against
    `(k^2 - 1) / 12`. No kernel of this size has more.

    Examples:
        >>> round(keras_erf.theory.corner_gain(3), 4)
        1.2247

    Raises:
        InvalidInputError: `kernel_size` is not above 1.

    Reference:
        Luo et al. 2016, section 4, "New initialization": less weight in the centre.
    """
    k = checked_count("kernel_size", kernel_size, least=2)
    return math.sqrt(3 * (k - 1) / (k + 1))


def soft_centre_variance(factor: float) -> float:
    """Variance along an axis of a 3x3 kernel whose centre weighs less: `6 / (8 + a)`.

    2/3 for `a = 1`, the uniform kernel, and 3/4 without a centre.

    Examples:
        >>> [round(keras_erf.theory.soft_centre_variance(factor), 3) for factor in (1.0, 0.5, 0.0)]
        [0.667, 0.706, 0.75]

    Args:
        factor: Squared weight of the centre over that of each neighbour.

    Raises:
        InvalidInputError: `factor` is negative.
    """
    if not (isinstance(factor, int | float | np.number) and 0 <= factor < math.inf):
        raise InvalidInputError(
            argument="factor",
            expected="must be a number of at least 0",
            received=f"factor={factor!r}",
        )
    return 6 / (8 + factor)


def _taken(energy: Any, kernel_size: int, layers: int) -> float:
    """The share of the energy that goes through a branch, `v / (1 + v)`."""
    if layers * (kernel_size - 1) % 2:
        raise InvalidInputError(
            argument="kernel_size",
            expected=(
                "and `layers` must make a branch that sees an odd number of pixels, for the"
                " shortcut to meet its centre"
            ),
            received=f"kernel_size={kernel_size}, layers={layers}",
        )
    if not (isinstance(energy, int | float | np.number) and 0 <= energy < math.inf):
        raise InvalidInputError(
            argument="energy",
            expected="must be a number of at least 0",
            received=f"energy={energy!r}",
        )
    return float(energy / (1 + energy))
