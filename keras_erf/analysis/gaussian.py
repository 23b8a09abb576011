"""Least-squares fit of one Gaussian, of any direction, to a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from keras_erf.analysis._bell import bell, jacobian, open_grid, pack, residuals, unpack
from keras_erf.analysis._checks import box_slices, checked_map
from keras_erf.analysis.moments import moments
from keras_erf.analysis.regions import threshold_region
from keras_erf.errors import InvalidInputError

__all__ = ["GaussianFit", "fit_gaussian"]

# Spread of a box one pixel wide: no start is narrower, the grid would not show it.
PIXEL_SIGMA = 12**-0.5
# Spread, in extents of the box, beyond which the map is as good as flat.
WIDEST = 1000.0
# A first fit this good is not tried again from elsewhere.
GOOD_FIT = 0.99
# Starts are compared on block means, about this many a side, of blocks finer than the spread.
COARSE_SIDE = 64
TOLERANCE = 1e-8
# A fit that shows a spread takes a tenth of these; one the grid does not resolve converges slowly.
MAX_EVALUATIONS = 100


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """A Gaussian `amplitude * exp(-(x - center)' covariance^-1 (x - center) / 2)`.

    Args:
        amplitude: Its value at the centre, in the map's units.
        center: Its centre, shape `(d,)`, in pixels of the map.
        covariance: Shape `(d, d)`, in pixels squared.
        r_squared: Share of the map's variance over the fitted box that it
            explains: 1 for an exact Gaussian, below 0 for worse than the mean.
        converged: Whether the optimiser met its tolerance.
    """

    amplitude: float
    center: np.ndarray
    covariance: np.ndarray
    r_squared: float
    converged: bool

    @property
    def sigma(self) -> np.ndarray:
        """Spread of each axis's marginal, shape `(d,)`, in pixels."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def principal_sigma(self) -> np.ndarray:
        """Spreads along the principal directions, largest first, shape `(d,)`, in pixels."""
        return np.sqrt(np.linalg.eigvalsh(self.covariance)[::-1])

    @property
    def angle(self) -> float:
        """Direction of the largest spread of a 2-D fit, in degrees in (-90, 90].

        Counted from axis 1 (columns, to the right) towards axis 0 (rows, down):
        the `angle` of a matplotlib `Ellipse` in pixel coordinates whose width
        lies along the columns. Arbitrary where both spreads are equal.

        Raises:
            InvalidInputError: The fit is not 2-D.
        """
        if self.center.size != 2:
            raise InvalidInputError(
                argument="angle",
                expected="is defined for fits of two axes",
                remedy="use `covariance` for others",
                received=f"a fit of {self.center.size} axes",
            )
        row, column = np.linalg.eigh(self.covariance)[1][:, -1]
        degrees = float(np.degrees(np.arctan2(row, column)))
        return degrees - 180 * np.ceil((degrees - 90) / 180)

    def evaluate(self, shape: Sequence[int]) -> np.ndarray:
        """The Gaussian at every pixel of a map of `shape`, one size per axis."""
        if len(shape) != self.center.size:
            raise InvalidInputError(
                argument="shape",
                expected=f"must have one size for each of the fit's {self.center.size} axes",
                received=f"shape={tuple(shape)}",
            )
        factor = np.linalg.cholesky(np.linalg.inv(self.covariance))
        return self.amplitude * bell(open_grid(shape), self.center, factor)[0]


def fit_gaussian(map: ArrayLike, *, box: Sequence[tuple[int, int]] | None = None) -> GaussianFit:
    """Fits a Gaussian with a full covariance and no offset, by least squares.

    The precision is written as `L L'` with `L` lower triangular and a positive
    diagonal (its logarithm is fitted), so every step is a true Gaussian. The
    fit starts from the map's moments and, if that explains less than 99 % of
    the variance, once more from the pixels above half the peak, which a wide
    floor does not move; the better one is returned.

    `R^2 = 1 - SS_res / SS_tot` over the pixels of `box`, with `SS_tot` about
    their mean. It depends on the box: a wide margin of zeros raises it.

    A spread below about 0.3 px is not resolved by the grid: for a single pixel
    or a line the spread returned across it is only an upper bound (the Gaussian
    still passes through the pixels). An axis of one pixel takes no part in the
    fit and is given the spread of a pixel, 1 / sqrt(12). A map flat along some
    direction has a spread there far beyond the box. Such fits may be returned
    with `converged` false.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> fit = keras_erf.analysis.fit_gaussian(bell)
        >>> fit.sigma.round(2), round(fit.r_squared, 3)
        (array([3., 3.]), 1.0)

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        box: The pixels to fit, one `(start, stop)` pair per axis, stop excluded,
            such as the theoretical field; cut at the map's edge. The whole map
            if `None`. Positions stay those of the map.

    Returns:
        A `GaussianFit`.

    Raises:
        InvalidInputError: The map has a wrong rank or is not finite; or, in the
            box, it is all zero, constant (no Gaussian is more likely than
            another), or has fewer pixels than the Gaussian has parameters.
    """
    values = checked_map(map)
    cut = box_slices(box, values.shape)
    values = values[cut]
    # An axis of one pixel takes no part in the fit.
    wide = np.array([size > 1 for size in values.shape])
    ndim = int(wide.sum())
    unknowns = 1 + ndim + ndim * (ndim + 1) // 2
    if values.size < unknowns:
        raise InvalidInputError(
            argument="map",
            expected=(
                f"must have at least {unknowns} pixels in the box, as many as a Gaussian of "
                f"{ndim} axes has parameters"
            ),
            received=f"{values.size} pixels",
        )
    peak = values.max()
    if peak == values.min():
        raise InvalidInputError(
            argument="map",
            expected="must vary over the box for a Gaussian to be fitted",
            remedy="widen `box`",
            received=f"a map constant at {peak:g}",
        )
    best = _best_fit(values.squeeze() / peak)
    center = np.array([part.start for part in cut], dtype=np.float64)
    center[wide] += best.center
    covariance = np.eye(values.ndim) * PIXEL_SIGMA**2
    covariance[np.ix_(wide, wide)] = best.covariance
    return GaussianFit(
        amplitude=float(best.amplitude * peak),
        center=center,
        covariance=covariance,
        r_squared=best.r_squared,
        converged=best.converged,
    )


def _best_fit(values: np.ndarray) -> GaussianFit:
    """Tries both starts on a coarse map and follows the better one to the full map."""
    first, second = _start_from_moments(values), _start_from_half_height(values)
    narrower = np.minimum(np.diag(first[1]), np.diag(second[1]))
    coarse, grid = _block_means(values, np.sqrt(narrower))
    best = _fit_from(coarse, grid, *first)
    if best.r_squared < GOOD_FIT:
        second_fit = _fit_from(coarse, grid, *second)
        best = max(best, second_fit, key=lambda fit: fit.r_squared)
    if coarse.shape != values.shape:
        best = _fit_from(values, open_grid(values.shape), best.center, best.covariance)
    return best


def _start_from_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = moments(values)
    return start.centroid, start.covariance


def _start_from_half_height(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Above half its height a Gaussian is a filled ellipsoid of squared radius 2 ln 2, and a
    # filled ellipsoid of radius r has covariance r^2 / (d + 2).
    ndim = values.ndim
    inside = moments(threshold_region(values, fraction=0.5).mask)
    pixel = np.eye(ndim) * PIXEL_SIGMA**2
    return inside.centroid, (inside.covariance + pixel) * (ndim + 2) / (2 * math.log(2))


def _block_means(
    values: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """A map small enough to try starts on, and its open grid in pixels of `values`."""
    grid = []
    for axis, size in enumerate(values.shape):
        block = max(1, min(-(-size // COARSE_SIDE), int(spread[axis] / 2)))
        edges = np.arange(0, size, block)
        counts = np.diff(np.append(edges, size))
        line = (-1,) + (1,) * (values.ndim - axis - 1)
        values = np.add.reduceat(values, edges, axis=axis) / counts.reshape(line)
        grid.append(np.add.reduceat(np.arange(size), edges) / counts)
    return values, np.ix_(*grid)


def _fit_from(
    values: np.ndarray, grid: Sequence[np.ndarray], center: np.ndarray, covariance: np.ndarray
) -> GaussianFit:
    # A precision never quite 0 keeps flat directions finite; no spread a map can show changes.
    least = min((WIDEST * float(np.ptp(line) + 1)) ** -2 for line in grid)
    widths, directions = np.linalg.eigh(covariance)
    precision = (directions / np.maximum(widths, PIXEL_SIGMA**2)) @ directions.T
    solution = least_squares(
        residuals,
        pack(1.0, center, precision),
        jac=jacobian,
        method="lm",
        ftol=TOLERANCE,
        xtol=TOLERANCE,
        gtol=TOLERANCE,
        max_nfev=MAX_EVALUATIONS,
        args=(values, grid, least),
    )
    amplitude, mean, factor = unpack(solution.x, values.ndim)
    total = np.sum((values - values.mean()) ** 2)
    return GaussianFit(
        amplitude=amplitude,
        center=mean,
        covariance=np.linalg.inv(factor @ factor.T + least * np.eye(values.ndim)),
        r_squared=float(1 - np.sum(solution.fun[:-1] ** 2) / total),
        converged=bool(solution.status > 0),
    )
