"""The metrics of a mean map that is kept over a part of its input, and their errors.

All work is done on the part: cost and memory follow the unit's field, not the
image. Every metric and every spread is computed when first asked for, once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_erf import analysis
from keras_erf.algebra.geometry import Box
from keras_erf.analysis.concentration import Discs, evenness, lengths
from keras_erf.analysis.counting import mass_size_rounded, mass_size_spreads, size_spread
from keras_erf.analysis.estimates import Estimate, Spread, estimate
from keras_erf.analysis.jackknife import checked_blocks
from keras_erf.analysis.spreads import bell_spreads, concentration_spreads, moment_spreads
from keras_erf.errors import InvalidInputError
from keras_erf.results.framing import reframed

__all__ = ["METRICS", "Metrics"]

# Shares of the peak that gradients in single precision may differ by.
ROUNDING = 1e-6


class Metric(NamedTuple):
    """Where a metric and its spread are found, and the values it can have."""

    value: Callable[[Metrics], Any]
    spread: Callable[[Metrics], Spread]
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True, eq=False)
class Metrics:
    """Block sums over a part of the input, and all that follows from them.

    Args:
        block_sums: Sum of the samples' maps in each block, shape `(blocks, *part's shape)`.
        block_counts: Number of samples in each block.
        part: `(start, stop)` per axis, in pixels of the input.
        frame: The pixels a Gaussian is fitted to, in the same form; inside of the input.
        center: Centre of the theoretical field, one coordinate per axis.
        trf_size: Size of the theoretical field, in pixels.
        normalized: Whether the map is divided by its sum.
        linear: Whether one sample's map is that of every sample.
    """

    block_sums: np.ndarray
    block_counts: np.ndarray
    part: Box
    frame: Box
    center: tuple[float, ...]
    trf_size: float
    normalized: bool
    linear: bool

    @cached_property
    def map(self) -> np.ndarray:
        """Mean map over the part."""
        return self._scaled(self.block_sums.sum(axis=0) / self.block_counts.sum())

    @cached_property
    def standard_error(self) -> np.ndarray:
        """Standard error of each pixel of `map`; NaN for a single sample, 0 for a linear unit."""
        if self.linear:
            return np.zeros_like(self.map)
        return np.asarray(analysis.jackknife(self.block_sums, self.block_counts, self._scaled)[1])

    @cached_property
    def constant(self) -> bool:
        """Whether all samples gave one map, but for rounding."""
        if self.linear:
            return True
        error, peak = self.standard_error, np.abs(self.map).max()
        return bool(np.isfinite(error).all() and error.max() <= ROUNDING * peak)

    @cached_property
    def moments(self) -> analysis.Moments:
        """Moments of the map, in coordinates of the input."""
        moments = analysis.moments(self.map)
        centroid = moments.centroid + _start(self.part)
        return replace(moments, centroid=centroid, about=centroid)

    @cached_property
    def fit(self) -> analysis.GaussianFit | None:
        """Gaussian over the frame, in coordinates of the input; `None` if none can be fitted."""
        try:
            return self.fitted()
        except InvalidInputError:
            return None

    def fitted(self) -> analysis.GaussianFit:
        """As `fit`, but raises where there is none."""
        fit = analysis.fit_gaussian(reframed(self.map, self.part, self.frame))
        return replace(fit, center=fit.center + _start(self.frame))

    def spread(self, metric: str) -> Spread:
        """A metric of `METRICS` with the centre of its interval and its standard error."""
        if self.constant:
            value = np.asarray(METRICS[metric].value(self), dtype=np.float64)
            return Spread(value, value, np.where(np.isnan(value), np.nan, 0.0))
        return METRICS[metric].spread(self)

    def error(self, metric: str) -> Any:
        """Standard error of a metric; NaN for a single sample, 0 for a constant map."""
        error = np.asarray(self.spread(metric).error, dtype=np.float64)
        return error if error.ndim else float(error)

    def estimate(self, metric: str, level: float) -> Estimate:
        """A metric with its error and the interval that covers at `level`."""
        return estimate(
            self.spread(metric),
            degrees=len(self._held[1]) - 1,
            level=level,
            least=METRICS[metric].least,
            most=METRICS[metric].most,
            **self._behind(metric),
        )

    def _behind(self, metric: str) -> dict[str, Any]:
        """Of a count the smooth number behind it, which its interval is made of."""
        if metric != "mass_size" or self.constant:
            return {}
        ndim = self.map.ndim
        rounded = functools.partial(mass_size_rounded, ndim=ndim)
        return {"smooth": self.mass_size_spreads[1], "rounded": rounded}

    @cached_property
    def size(self) -> float:
        """Size by the paper's rule."""
        return analysis.erf_size(self.map)

    @cached_property
    def mass_size(self) -> float:
        """Size of the region that holds 95.45 % of the map."""
        return analysis.mass_region(self.map).size

    @cached_property
    def sigma(self) -> np.ndarray:
        """Spread of the fitted Gaussian along each axis; NaN if there is none."""
        return np.full(self.map.ndim, np.nan) if self.fit is None else self.fit.sigma

    @property
    def r_squared(self) -> float:
        """Share of the map's variance that the Gaussian explains; NaN if there is none."""
        return math.nan if self.fit is None else self.fit.r_squared

    @cached_property
    def concentration(self) -> Mapping[str, np.ndarray]:
        """Radii of given mass about the field's centre, half widths, entropy, inequality.

        Over the pixels of the theoretical field that are in the input, all of them.
        """
        values = np.abs(reframed(self.map, self.part, self.frame))
        return {**lengths(values, self._discs), **evenness(values)}

    @cached_property
    def size_spread(self) -> Spread:
        """Spread of `size`."""
        return size_spread(*self._held)

    @cached_property
    def ratio_spread(self) -> Spread:
        """Spread of `size` over the theoretical one."""
        return Spread(*(np.asarray(value) / self.trf_size for value in self.size_spread))

    @cached_property
    def mass_size_spreads(self) -> tuple[Spread, Spread]:
        """Spread of `mass_size`, and of the smooth size behind it."""
        return mass_size_spreads(*self._held)

    @cached_property
    def bell_spreads(self) -> Mapping[str, Spread]:
        """Spreads of `sigma` and `r_squared`."""
        if self.fit is None:
            return {"sigma": Spread(*[self.sigma] * 3), "r_squared": Spread(*[math.nan] * 3)}
        sums, counts = self._held
        # Sums are neither normalized nor placed.
        scale = np.abs(sums.sum(axis=0)).max() / counts.sum() / np.abs(self.map).max()
        local = replace(
            self.fit,
            amplitude=float(self.fit.amplitude * scale),
            center=self.fit.center - _start(self.frame),
        )
        return bell_spreads(local, reframed(sums, self.part, self.frame), counts)

    @cached_property
    def concentration_spreads(self) -> Mapping[str, Spread]:
        """Spreads of what `concentration` has."""
        sums, counts = self._held
        return concentration_spreads(reframed(sums, self.part, self.frame), counts, self._discs)

    @cached_property
    def _discs(self) -> Discs:
        shape = [stop - start for start, stop in self.frame]
        return Discs(shape, np.array(self.center) - _start(self.frame))

    @cached_property
    def moment_spreads(self) -> Mapping[str, Spread]:
        """Spreads of what `moments` has, and of the centroid's offset from the field's centre."""
        spreads = moment_spreads(*self._held, self._scaled)
        local = spreads["centroid"]
        offset = _start(self.part) - np.array(self.center)
        return {
            **spreads,
            "centroid": _moved(local, _start(self.part)),
            "offset": _moved(local, offset),
        }

    @cached_property
    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        return checked_blocks(self.block_sums, self.block_counts)

    def _scaled(self, mean: np.ndarray) -> np.ndarray:
        if not self.normalized:
            return mean
        if not mean.any():
            # The jackknife may leave out the only block that saw anything.
            raise InvalidInputError(
                argument="map", expected="must not be zero to be normalized", received="zeros"
            )
        return mean / mean.sum()


def _concentration(name: str, least: float, most: float = math.inf) -> Metric:
    return Metric(
        lambda of: of.concentration[name], lambda of: of.concentration_spreads[name], least, most
    )


METRICS: Mapping[str, Metric] = {
    "size": Metric(lambda of: of.size, lambda of: of.size_spread, least=0),
    "ratio": Metric(lambda of: of.size / of.trf_size, lambda of: of.ratio_spread, least=0),
    "mass_size": Metric(lambda of: of.mass_size, lambda of: of.mass_size_spreads[0], least=0),
    "sigma": Metric(lambda of: of.sigma, lambda of: of.bell_spreads["sigma"], least=0),
    "r_squared": Metric(lambda of: of.r_squared, lambda of: of.bell_spreads["r_squared"], most=1),
    "centroid": Metric(lambda of: of.moments.centroid, lambda of: of.moment_spreads["centroid"]),
    "offset": Metric(
        lambda of: of.moments.centroid - of.center, lambda of: of.moment_spreads["offset"]
    ),
    "mass": Metric(lambda of: of.moments.mass, lambda of: of.moment_spreads["mass"], least=0),
    "covariance": Metric(
        lambda of: of.moments.covariance, lambda of: of.moment_spreads["covariance"]
    ),
    "kurtosis": Metric(lambda of: of.moments.kurtosis, lambda of: of.moment_spreads["kurtosis"]),
    "half_mass_radius": _concentration("half_mass_radius", least=0),
    "mass_radii": _concentration("mass_radii", least=0),
    "fwhm": _concentration("fwhm", least=0),
    "entropy": _concentration("entropy", least=0),
    "effective_pixels": _concentration("effective_pixels", least=1),
    "gini": _concentration("gini", least=0, most=1),
}


def _moved(spread: Spread, by: np.ndarray) -> Spread:
    return Spread(np.add(spread.value, by), np.add(spread.centre, by), spread.error)


def _start(box: Box) -> np.ndarray:
    return np.array([start for start, _ in box])
