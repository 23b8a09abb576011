"""How much the smooth metrics of a mean map scatter, all of a kind in one jackknife.

Everywhere `sums` are the sums of the samples of each block, shape `(B, ...)`, and `counts`
their numbers, shape `(B,)`, none 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from keras_erf.analysis._checks import checked_map
from keras_erf.analysis.concentration import Discs, evenness, lengths
from keras_erf.analysis.counting import replicate_spreads
from keras_erf.analysis.estimates import Spread
from keras_erf.analysis.gaussian import GaussianFit
from keras_erf.analysis.jackknife import combined, means_without_each
from keras_erf.analysis.moments import Moments, moments
from keras_erf.analysis.refits import refit_gaussian
from keras_erf.errors import InvalidInputError

__all__ = ["bell_spreads", "concentration_spreads", "moment_spreads"]


def moment_spreads(
    sums: np.ndarray, counts: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Spread]:
    """Spreads of `moments`: mass, centroid, covariance and kurtosis."""
    ndim = sums.ndim - 1
    shapes = {"mass": (), "centroid": (ndim,), "covariance": (ndim, ndim), "kurtosis": (ndim,)}
    value = _moment_metrics(moments(scaled(sums.sum(axis=0) / counts.sum())))
    without = (_moment_metrics(moments(scaled(mean))) for mean in means_without_each(sums, counts))
    return _spreads(value, without, counts, shapes=shapes)


def bell_spreads(fit: GaussianFit, sums: np.ndarray, counts: np.ndarray) -> dict[str, Spread]:
    """Spreads of the fitted Gaussian's sigma and R²; NaN if `fit` did not converge."""
    mean = sums.sum(axis=0) / counts.sum()
    fits: Iterable[GaussianFit] = ()
    if fit.converged:
        fits = refit_gaussian(fit, mean, means_without_each(sums, counts))
    shapes = {"sigma": (mean.ndim,), "r_squared": ()}
    return _spreads(_bell_metrics(fit), map(_bell_metrics, fits), counts, shapes=shapes)


def concentration_spreads(sums: np.ndarray, counts: np.ndarray, discs: Discs) -> dict[str, Spread]:
    """Spreads of radii of given mass and half widths, of entropy and inequality."""
    mean = checked_map(sums.sum(axis=0) / counts.sum())
    spreads, first = {}, 0
    values, errors = replicate_spreads(
        sums, counts, lambda values: _in_a_row(lengths(values, discs))
    )
    for name, length in lengths(mean, discs).items():
        last = first + length.size
        parts = (row[first:last].reshape(length.shape) for row in (values, values, errors))
        spreads[name], first = Spread(*parts), last
    even = evenness(mean)
    without = (_in_a_row(evenness(checked_map(mean))) for mean in means_without_each(sums, counts))
    shapes = {name: value.shape for name, value in even.items()}
    return {**spreads, **_spreads(_in_a_row(even), without, counts, shapes=shapes)}


def _in_a_row(metrics: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.atleast_1d(values) for values in metrics.values()])


def _moment_metrics(moments: Moments) -> np.ndarray:
    return np.concatenate(
        [[moments.mass], moments.centroid, moments.covariance.ravel(), moments.kurtosis]
    )


def _bell_metrics(fit: GaussianFit) -> np.ndarray:
    return np.append(fit.sigma, fit.r_squared)


def _spreads(
    value: np.ndarray,
    without: Iterable[np.ndarray],
    counts: np.ndarray,
    *,
    shapes: dict[str, tuple[int, ...]],
) -> dict[str, Spread]:
    """Splits a row of metrics again, each with its centre and error."""
    left_out: list[np.ndarray] | None = None
    if counts.size > 1:
        try:
            left_out = list(without) or None
        except InvalidInputError:  # The samples of one block alone carried the metric.
            left_out = None
    centre, error = combined(value, left_out, counts)
    spreads, first = {}, 0
    for name, shape in shapes.items():
        last = first + int(np.prod(shape))
        parts = (row[first:last].reshape(shape) for row in (value, centre, error))
        spreads[name] = Spread(*parts)
        first = last
    return spreads
