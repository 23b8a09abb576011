"""Gaussians of maps that differ little from one that has been fitted already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from keras_erf.analysis._bell import jacobian, open_grid, pack, residuals, unpack
from keras_erf.analysis.gaussian import GaussianFit, fit_gaussian
from keras_erf.errors import InvalidInputError

__all__ = ["refit_gaussian"]

# Step of the differences that give the curvature: between rounding and curvature's own change.
STEP = 1e-5


def refit_gaussian(
    fit: GaussianFit, map: np.ndarray, others: Iterable[np.ndarray]
) -> Iterator[GaussianFit]:
    """Fits maps near `map`, each by one Newton step from the fit of `map`.

    The parameters `p` of a least-squares fit of `f(p)` to `v` move by
    `H^-1 J' (w - v)` when `v` becomes `w`, to first order, with `J` the slopes
    of `f` and `H` the curvature of half the sum of squares. `J` and `H` are
    taken once, so that many maps cost as much as one fit. A step that does not
    lower a map's own residuals is replaced by a fit of its own.

    Args:
        fit: Of the whole of `map`, in its pixels; converged.
        map: Array of one to three axes.
        others: Arrays of the same shape, such as means without one block each.

    Yields:
        A `GaussianFit` for each of `others`.

    Raises:
        InvalidInputError: The fit is no strict minimum, so other maps cannot be refitted;
            or one of the others does not vary.

    Reference:
        One-step estimates: Pregibon, "Logistic regression diagnostics", Annals
        of Statistics 9 (1981), 705; for the jackknife: Shao and Tu, "The
        Jackknife and Bootstrap" (1995), section 5.3.
    """
    wide = np.array([size > 1 for size in map.shape])
    values = np.abs(map).squeeze()
    scale, ndim = values.max(), values.ndim
    values = values / scale
    grid = open_grid(values.shape)
    start = replace(fit, center=fit.center[wide], covariance=fit.covariance[np.ix_(wide, wide)])
    try:
        point = pack(start.amplitude / scale, start.center, np.linalg.inv(start.covariance))
        slopes = jacobian(point, values, grid, 0.0)[:-1]
        curvature = cho_factor(_curvature(point, values, grid))
    except (LinAlgError, ValueError) as error:
        raise InvalidInputError(
            argument="fit",
            expected="must be a strict minimum for fits nearby to follow from it",
            received=f"{type(error).__name__}: {error}",
        ) from error
    for other in others:
        moved = np.abs(other).squeeze() / scale
        refit = point + cho_solve(curvature, slopes.T @ (moved - values).ravel())
        before, after = (
            float(np.sum(residuals(at, moved, grid, 0.0)[:-1] ** 2)) for at in (point, refit)
        )
        total = float(np.sum((moved - moved.mean()) ** 2))
        # Maps that do not vary, as without the only block that sees anything, are refused there.
        if not after <= before or not total:
            yield fit_gaussian(other)
            continue
        amplitude, center, factor = unpack(refit, ndim)
        covariance = fit.covariance.copy()
        covariance[np.ix_(wide, wide)] = np.linalg.inv(factor @ factor.T)
        whole_center = fit.center.copy()
        whole_center[wide] = center
        yield GaussianFit(
            amplitude=amplitude * scale,
            center=whole_center,
            covariance=covariance,
            r_squared=1 - after / total,
            converged=fit.converged,
        )


def _curvature(point: np.ndarray, values: np.ndarray, grid: tuple[np.ndarray, ...]) -> np.ndarray:
    """Second derivatives of half the sum of squares, by differences of its slopes."""

    def slopes(at: np.ndarray) -> np.ndarray:
        return jacobian(at, values, grid, 0.0)[:-1].T @ residuals(at, values, grid, 0.0)[:-1]

    columns = [
        (slopes(point + step) - slopes(point - step)) / (2 * STEP)
        for step in STEP * np.eye(point.size)
    ]
    curvature = np.array(columns)
    return (curvature + curvature.T) / 2
