"""The Gaussian limit of the impact, how far from it a chain is, and bounds for that."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from keras_erf.errors import InvalidInputError
from keras_erf.theory.chains import Chain, checked_chain, cumulants, field_size, impact
from keras_erf.theory.coefficients import checked_count

__all__ = [
    "berry_esseen_bound",
    "edgeworth_distribution",
    "gaussian_distance",
    "gaussian_limit",
    "impact_distribution",
]

# Shevtsova, "On the absolute constants in the Berry-Esseen type inequalities for identically
# distributed summands" (2011), arXiv:1111.6554: 0.4748; the same author for summands that are
# not alike, "An improvement of convergence rate estimates in the Lyapunov theorem" (2010): 0.5600.
IDENTICAL, DIFFERENT = 0.4748, 0.5600


def gaussian_limit(chain: Chain) -> np.ndarray:
    """The Gaussian of the impact's mean, variance and mass, at the pixels of the field.

    Examples:
        >>> keras_erf.theory.gaussian_limit([keras_erf.theory.Step()] * 3).round(3)
        array([0.803, 2.802, 5.932, 7.617, 5.932, 2.802, 0.803])

    Returns:
        Float64, of shape `(field_size(chain),)`.

    Raises:
        InvalidInputError: The impact is one pixel wide, or its variance is not positive.

    Reference:
        The poster, central limit theorem: `S_n ~ N(n E[X], n Var[X])`.
    """
    chain = checked_chain(chain)
    centre, spread = _moments(chain)
    at = (np.arange(field_size(chain)) - centre) / spread
    return impact(chain).sum() * np.exp(-np.square(at) / 2) / (spread * math.sqrt(2 * math.pi))


def impact_distribution(chain: Chain) -> np.ndarray:
    """Share of the impact up to each pixel: `P(S_n <= t)`, shape `(field_size(chain),)`.

    Examples:
        >>> keras_erf.theory.impact_distribution([keras_erf.theory.Step()] * 2).round(3)
        array([0.111, 0.333, 0.667, 0.889, 1.   ])
    """
    values = impact(chain)
    if not values.sum():
        raise InvalidInputError(
            argument="chain",
            expected="must have an impact whose sum is not zero to be a distribution",
            received=repr(chain),
        )
    return np.cumsum(values) / values.sum()


def gaussian_distance(chain: Chain) -> float:
    """Largest distance between the distributions of the impact and of its Gaussian.

    `sup_t |P(S_n <= t) - Phi((t - E) / sigma)|` over all real `t`, so both sides of every
    step count: it is at least half of the peak's share, however deep the chain.

    Examples:
        >>> round(keras_erf.theory.gaussian_distance([keras_erf.theory.Step()] * 20), 3)
        0.054

    Raises:
        InvalidInputError: As `gaussian_limit`.
    """
    chain = checked_chain(chain)
    centre, spread = _moments(chain)
    share = impact_distribution(chain)
    bell = ndtr((np.arange(share.size) - centre) / spread)
    before = np.concatenate([[0.0], share[:-1]])
    return float(max(np.abs(share - bell).max(), np.abs(before - bell).max()))


def berry_esseen_bound(chain: Chain) -> float:
    """A bound for `gaussian_distance`: `C sum_l E|X_l - E X_l|^3 / sigma^3`.

    `C = 0.4748` where all layers are alike, which gives `0.4748 rho / (s^3 sqrt n)`, and
    0.56 where they are not. It falls as `1 / sqrt n`.

    Examples:
        >>> chain = [keras_erf.theory.Step()] * 20
        >>> round(keras_erf.theory.berry_esseen_bound(chain), 3)
        0.13
        >>> round(keras_erf.theory.gaussian_distance(chain), 3)
        0.054

    Args:
        chain: Layers of non-negative weights.

    Raises:
        InvalidInputError: Weights are negative, or the impact is one pixel wide.

    Reference:
        Shevtsova 2011, arXiv:1111.6554 (layers alike); Shevtsova, Doklady Mathematics 82
        (2010), 862-864 (layers that differ).
    """
    chain = checked_chain(chain)
    _, spread = _moments(chain)
    third, kinds, jump = 0.0, set(), 1
    for step in chain:
        gap = jump * step.dilation
        jump *= step.stride
        share = np.array(step.weights)
        if (share < 0).any():
            raise InvalidInputError(
                argument="chain",
                expected="must have non-negative weights: the bound is for probabilities",
                received=f"weights={step.weights}",
            )
        share = share / share.sum()
        at = np.arange(share.size)
        third += gap**3 * float(share @ np.abs(at - share @ at) ** 3)
        # A layer of one tap moves nothing, and does not make the others unlike.
        if np.count_nonzero(share) > 1:
            kinds.add((tuple(share), gap))
    return (IDENTICAL if len(kinds) == 1 else DIFFERENT) * third / spread**3


def edgeworth_distribution(n: int, kernel_size: int = 3) -> np.ndarray:
    """`P(S_n <= t)` of `n` uniform layers to the next order after the Gaussian.

    `Phi(z) - phi(z) (g2 / 24 He3(z) - z / (24 s^2))` with `z = (t - E + 1/2) / s`,
    `He3(z) = z^3 - 3 z` and excess kurtosis `g2`: the second term corrects for steps of
    one pixel. Its error is 3.7e-5 at `k = 3, n = 20`, against 0.05 of the plain limit.

    Examples:
        >>> exact = keras_erf.theory.impact_distribution([keras_erf.theory.Step()] * 20)
        >>> close = keras_erf.theory.edgeworth_distribution(20)
        >>> print(f"{abs(close - exact).max():.1e}")
        3.7e-05

    Returns:
        Shape `(n (k - 1) + 1,)`.

    Raises:
        InvalidInputError: An argument is out of range, or kernels have one tap.

    Reference:
        Kolassa and McCullagh, "Edgeworth series for lattice distributions", Ann. Statist.
        18 (1990), 981-985.
    """
    n, k = checked_count("n", n), checked_count("kernel_size", kernel_size, least=2)
    squared = n * (k**2 - 1) / 12
    kurtosis = -6 * (k**2 + 1) / (5 * n * (k**2 - 1))
    at = np.arange(n * (k - 1) + 1) - n * (k - 1) / 2
    z = (at + 0.5) / math.sqrt(squared)
    bell = np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
    return ndtr(z) - bell * (kurtosis / 24 * (z**3 - 3 * z) - z / (24 * squared))


def _moments(chain: Chain) -> tuple[float, float]:
    """Mean and standard deviation of the impact."""
    centre, squared = cumulants(chain, 2)
    if not squared > 0:
        raise InvalidInputError(
            argument="chain",
            expected="must have an impact of positive variance to be compared with a Gaussian",
            received=f"a variance of {squared:g}",
        )
    return float(centre), math.sqrt(squared)
