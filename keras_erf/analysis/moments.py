"""Centroid, spread and tail weight of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import checked_map, checked_point

__all__ = ["Moments", "marginals", "moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of a map of `d` axes, read as a distribution over its pixels.

    Args:
        mass: Sum of the map.
        centroid: Mean position, shape `(d,)`, in pixels.
        covariance: Second moments about `about`, shape `(d, d)`, in pixels squared.
        kurtosis: Excess kurtosis of each axis's marginal, about its mean, shape
            `(d,)`: 0 for a Gaussian, -1.2 for a wide box; NaN on an axis where
            all the mass lies on one pixel.
        about: Point the covariance is about, shape `(d,)`: the centroid unless
            another was asked for.
    """

    mass: float
    centroid: np.ndarray
    covariance: np.ndarray
    kurtosis: np.ndarray
    about: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Root of the covariance's diagonal: spread of each axis, shape `(d,)`, in pixels."""
        return np.sqrt(np.diag(self.covariance))


def marginals(map: ArrayLike) -> tuple[np.ndarray, ...]:
    """Sums a map over all axes but one, for each axis in turn.

    Examples:
        >>> keras_erf.analysis.marginals([[1, 2], [3, 4]])
        (array([3., 7.]), array([4., 6.]))

    Args:
        map: Array of one to three spatial axes; its absolute value is used.

    Returns:
        One 1-D array per axis, as long as that axis; each sums to the map's mass.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero.
    """
    return _marginals(checked_map(map))


def moments(map: ArrayLike, *, about: ArrayLike | None = None) -> Moments:
    """Computes a map's mass, centroid, covariance and excess kurtosis.

    For a chain of linear layers with non-negative weights these are sums over
    the layers (cumulants of independent variables add), which makes them the
    sharpest check of a measured map.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> found = keras_erf.analysis.moments(bell)
        >>> found.centroid.round(2), found.sigma.round(2)
        (array([20., 20.]), array([3., 3.]))

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        about: Point the covariance is taken about, one coordinate per axis, in
            pixels: such as the centre of the unit's own field. The centroid if `None`.

    Returns:
        A `Moments`.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all zero,
            or `about` is not a point of its space.
    """
    values = checked_map(map)
    peak = values.max()
    # Relative to the peak, so that neither tiny nor huge gradients leave the range of floats.
    values = values / peak
    total = values.sum()

    lines = [line / total for line in _marginals(values)]
    # Offsets from each marginal's peak: a map of one pixel then has a spread of exactly 0.
    origins = np.array([np.argmax(line) for line in lines], dtype=np.float64)
    offsets = [np.arange(line.size) - origin for line, origin in zip(lines, origins, strict=True)]
    means = np.array([line @ offset for line, offset in zip(lines, offsets, strict=True)])
    centered = [offset - mean for offset, mean in zip(offsets, means, strict=True)]

    ndim = values.ndim
    covariance = np.empty((ndim, ndim))
    for first in range(ndim):
        covariance[first, first] = lines[first] @ centered[first] ** 2
        for second in range(first + 1, ndim):
            others = tuple(axis for axis in range(ndim) if axis not in (first, second))
            pair = values.sum(axis=others) / total
            covariance[first, second] = centered[first] @ pair @ centered[second]
            covariance[second, first] = covariance[first, second]
    kurtosis = np.full(ndim, np.nan)
    for axis, variance in enumerate(np.diag(covariance)):
        if variance > 0:
            kurtosis[axis] = lines[axis] @ centered[axis] ** 4 / variance**2 - 3

    centroid = origins + means
    point = centroid if about is None else checked_point(about, ndim, "about")
    shift = centroid - point
    return Moments(
        mass=float(total * peak),
        centroid=centroid,
        covariance=covariance + np.outer(shift, shift),
        kurtosis=kurtosis,
        about=point,
    )


def _marginals(values: np.ndarray) -> tuple[np.ndarray, ...]:
    axes = range(values.ndim)
    return tuple(values.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes)
