"""How concentrated a map is: radii of given mass, half width, entropy, inequality.

None of these depends on a threshold or on one pixel alone, so they stay comparable on
heavy-tailed maps, where sizes by threshold and by mass differ several times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import checked_map, checked_point, checked_share, plain
from keras_erf.analysis.constants import MASS
from keras_erf.analysis.moments import marginals, moments
from keras_erf.errors import InvalidInputError

__all__ = [
    "SHARES",
    "Discs",
    "effective_pixels",
    "entropy",
    "evenness",
    "fwhm",
    "gini",
    "half_mass_radius",
    "lengths",
    "mass_radius",
    "mass_within",
]

SHARES = (0.5, 0.9, MASS)
"""Shares of the map whose radii a result reports: 50 %, 90 % and 95.45 %."""

# Squared distances closer than this, in pixels squared, are one ring.
SAME_RING = 1e-6


class Discs:
    """Mass of maps of one shape within growing discs (segments, balls) about one centre.

    Pixels at one distance make a ring. Half of a ring's mass counts as inside its own
    distance, as half of each pixel's extent is; between rings the mass is interpolated.

    Args:
        shape: Of the maps.
        center: One coordinate per axis, in pixels.
    """

    def __init__(self, shape: Sequence[int], center: np.ndarray) -> None:
        lines = [(np.arange(size) - at) ** 2 for size, at in zip(shape, center, strict=True)]
        squares = np.asarray(sum(np.ix_(*lines))).ravel()
        rounded, self.ring = np.unique(np.rint(squares / SAME_RING), return_inverse=True)
        self.radii = np.sqrt(rounded * SAME_RING)

    def radii_of(self, values: np.ndarray, shares: ArrayLike) -> np.ndarray:
        """Radii that hold `shares` of `values`, which are not negative and not all zero."""
        radii, held = self._held(values)
        return np.asarray(np.interp(np.asarray(shares), held, radii))

    def shares_of(self, values: np.ndarray, radii: ArrayLike) -> np.ndarray:
        """Shares of `values` within `radii`."""
        at, held = self._held(values)
        # Beyond the outermost pixel the map is zero.
        return np.asarray(np.interp(np.asarray(radii), at, held, left=0.0, right=1.0))

    def _held(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances of the rings that are not empty, and the share of the mass within each."""
        masses = np.bincount(self.ring.ravel(), weights=(values / values.max()).ravel())
        filled = masses > 0
        radii, masses = self.radii[filled], masses[filled] / masses.sum()
        return radii, np.cumsum(masses) - masses / 2


def mass_radius(
    map: ArrayLike, share: ArrayLike = 0.5, *, center: ArrayLike | None = None
) -> float | np.ndarray:
    """Finds the radius of the disc (segment, ball) that holds a share of a map.

    A pixel counts half at its own distance, as half of its extent lies within, and the
    mass is interpolated between the distances of pixels. On a wide Gaussian of
    spread sigma in 2-D the radius is `sqrt(-2 ln(1 - share)) sigma`.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> keras_erf.analysis.mass_radius(bell, [0.5, 0.9]).round(2)
        array([3.51, 6.38])

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        share: Share of the map's sum, or several, above 0 and at most 1.
        center: Centre of the disc, one coordinate per axis, in pixels: of the unit's
            own field, for example. The map's centroid if `None`.

    Returns:
        A radius in pixels, or an array of them; 0 for a map of one pixel at `center`.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero; a
            share is out of range; or `center` is not a point.
    """
    values = checked_map(map)
    shares = np.asarray(share, dtype=np.float64)
    for share in shares.ravel().tolist():
        checked_share(share, "share")
    return plain(_discs(values, center).radii_of(values, shares))


def half_mass_radius(map: ArrayLike, *, center: ArrayLike | None = None) -> float:
    """Finds the radius that holds half of a map: `mass_radius` of a share of 0.5.

    Of a Gaussian of spread sigma it is 1.1774 sigma in 2-D, 0.6745 sigma in 1-D and
    1.5382 sigma in 3-D.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> round(keras_erf.analysis.half_mass_radius(bell), 2)
        3.51

    Args:
        map: As in `mass_radius`.
        center: As in `mass_radius`.

    Returns:
        The radius in pixels.

    Raises:
        InvalidInputError: As `mass_radius`.
    """
    return float(mass_radius(map, 0.5, center=center))


def mass_within(
    map: ArrayLike, radius: ArrayLike, *, center: ArrayLike | None = None
) -> float | np.ndarray:
    """Computes the share of a map that lies within a radius: the inverse of `mass_radius`.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> round(keras_erf.analysis.mass_within(bell, 6.0), 2)  # two sigma
        0.86

    Args:
        map: As in `mass_radius`.
        radius: Radius in pixels, or several, none negative.
        center: As in `mass_radius`.

    Returns:
        A share between 0 and 1, or an array of them.

    Raises:
        InvalidInputError: As `mass_radius`; or a radius is negative or no number.
    """
    values = checked_map(map)
    radii = np.asarray(radius, dtype=np.float64)
    if not (radii >= 0).all():
        raise InvalidInputError(
            argument="radius",
            expected="must be 0 or more, in pixels",
            received=f"radius={radius!r}",
        )
    return plain(_discs(values, center).shares_of(values, radii))


def fwhm(map: ArrayLike) -> np.ndarray:
    """Measures the full width at half maximum of a map's marginal along each axis.

    The marginal is the sum over all other axes, which averages the noise of single
    pixels. Its width is the distance between the outermost points at half of its
    largest value, interpolated between pixels, so gaps inside (a comb) are part of it.
    Of a Gaussian it is `2 sqrt(2 ln 2) = 2.3548` of the axis's sigma, rotated or
    not; of a map `(g^2 + r^2)^(-3/2)` in 2-D and of a Cauchy curve it is `2 g`.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> keras_erf.analysis.fwhm(bell).round(2)
        array([7.09, 7.09])

    Args:
        map: Array of one to three spatial axes; its absolute value is used.

    Returns:
        One width per axis, in pixels; 1 for a single pixel.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero.
    """
    return np.array([_half_width(line) for line in marginals(map)])


def entropy(map: ArrayLike) -> float:
    """Computes Shannon's entropy of a map, read as a distribution over its pixels, in nats.

    `-sum p ln p` with `p` the map over its sum: 0 for one pixel, `ln n` for n equal ones,
    `ln(2 pi e sigma^2)` for a wide Gaussian of spread sigma in 2-D.

    Examples:
        >>> print(f"{keras_erf.analysis.entropy(np.ones((3, 3))):.4f}, log(9) = {np.log(9):.4f}")
        2.1972, log(9) = 2.1972

    Args:
        map: Array of one to three spatial axes; its absolute value is used.

    Returns:
        The entropy; its exponential is `effective_pixels`.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero.

    Reference:
        Shannon, "A mathematical theory of communication", Bell System Technical
        Journal 27 (1948), 379, section 6.
    """
    values = checked_map(map)
    shares = values / values.max()
    # Shares that underflow do not count.
    shares = shares[shares > 0]
    total = shares.sum()
    # ln(total) - mean of ln(share): no logarithm of a share that underflows. Never below 0.
    return float(max(np.log(total) - (shares @ np.log(shares)) / total, 0.0))


def effective_pixels(map: ArrayLike) -> float:
    """Counts the pixels a map is spread over: the exponential of its `entropy`.

    As many equal pixels have the same entropy. A wide Gaussian of spread sigma in d
    dimensions has `(2 pi e)^(d / 2) sigma^d`: 17.08 sigma squared in 2-D.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> round(keras_erf.analysis.effective_pixels(bell) / 3.0**2, 2)
        17.08

    Args:
        map: As in `entropy`.

    Returns:
        A number from 1 to the number of pixels.

    Raises:
        InvalidInputError: As `entropy`.

    Reference:
        Hill, "Diversity and evenness", Ecology 54 (1973), 427: the number of order 1.
    """
    return math.exp(entropy(map))


def gini(map: ArrayLike) -> float:
    """Computes the Gini coefficient of a map's pixels, zeros included.

    0 where all pixels are equal, `1 - 1 / n` where one of n has everything; half the
    mean difference of two pixels over their mean. It depends on how many pixels
    without impact are part of the map: pass the pixels of the theoretical field, as a
    result does. `100 (1 - gini)` is the diffusion index of attribution maps.

    Examples:
        >>> keras_erf.analysis.gini([1.0, 1.0, 1.0, 1.0]), keras_erf.analysis.gini([0, 0, 0, 1.0])
        (0.0, 0.75)

    Args:
        map: Array of one to three spatial axes; its absolute value is used.

    Returns:
        A number from 0 up to but not including 1.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero.

    Reference:
        Gini, "Measurement of inequality of incomes", Economic Journal 31 (1921), 124;
        diffusion index: Gu and Dong, "Interpreting super-resolution networks with
        local attribution maps", CVPR 2021, section 4.
    """
    values = np.sort(checked_map(map), axis=None)
    values /= values[-1]
    ranks = 2 * np.arange(1, values.size + 1) - values.size - 1
    # Rounding must not make equal pixels unequal.
    return float(max(ranks @ values / (values.size * values.sum()), 0.0))


def lengths(values: np.ndarray, discs: Discs) -> dict[str, np.ndarray]:
    """Radii and widths of a checked map, by name; `discs` are of its shape."""
    radii = discs.radii_of(values, SHARES)
    return {"half_mass_radius": radii[0], "mass_radii": radii, "fwhm": fwhm(values)}


def evenness(values: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of a checked map that do not ask where pixels are, by name."""
    nats = entropy(values)
    return {
        "entropy": np.asarray(nats),
        "effective_pixels": np.exp(nats),
        "gini": np.asarray(gini(values)),
    }


def _discs(values: np.ndarray, center: ArrayLike | None) -> Discs:
    if center is None:
        return Discs(values.shape, moments(values).centroid)
    return Discs(values.shape, checked_point(center, values.ndim, "center"))


def _half_width(line: np.ndarray) -> float:
    """Distance between the outermost crossings of half of the largest value."""
    half = line.max() / 2
    # Beyond the ends the line is zero.
    padded = np.concatenate([[0.0], line, [0.0]])
    above = np.flatnonzero(padded >= half)
    first, last = above[0], above[-1]
    before = (padded[first] - half) / (padded[first] - padded[first - 1])
    after = (padded[last] - half) / (padded[last] - padded[last + 1])
    return float(last - first + before + after)
