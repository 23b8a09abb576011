"""Power laws: how a metric grows with depth, as a straight line on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from keras_erf.analysis._checks import checked_level, refuse_masked
from keras_erf.analysis.counting import size_spread
from keras_erf.analysis.estimates import Spread
from keras_erf.analysis.jackknife import checked_blocks
from keras_erf.analysis.regions import erf_size
from keras_erf.errors import InvalidInputError

__all__ = ["PowerLaw", "bootstrap_power_law", "fit_power_law"]


@dataclass(frozen=True)
class PowerLaw:
    """The law `y = prefactor x^exponent`, and how sure the exponent is.

    Args:
        exponent: Slope on logarithmic axes.
        error: Its standard error.
        low: Lower end of its confidence interval.
        high: Upper end.
        prefactor: Value at `x = 1`.
        r_squared: Share of the logarithms' variance that the line explains.
    """

    exponent: float
    error: float
    low: float
    high: float
    prefactor: float
    r_squared: float

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """The law's values."""
        return self.prefactor * np.asarray(x, np.float64) ** self.exponent


def fit_power_law(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> PowerLaw:
    """Fits a power law by least squares of logarithms.

    Error and interval are those of the residuals, by Student's quantile: they show how
    straight the points lie. `bootstrap_power_law` shows how much the points themselves scatter.

    Examples:
        >>> law = keras_erf.analysis.fit_power_law([5, 10, 20, 40], [8.3, 11.7, 16.2, 22.7])
        >>> round(law.exponent, 2)
        0.48

    Args:
        x: Positive numbers (depths), at least two different ones, shape `(m,)`.
        y: Positive numbers (sizes, ratios), shape `(m,)`.
        level: Probability of the interval to cover.

    Returns:
        A `PowerLaw`; its error is NaN for two points.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        The poster, "Change of ERF": slopes in the logarithmic domain.
    """
    at, values = _logarithms("x", x), _logarithms("y", y)
    checked_level(level)
    if at.shape != values.shape or np.ptp(at) == 0:
        raise InvalidInputError(
            argument="x",
            expected="must hold at least two different numbers, and `y` one for each",
            received=f"{at.size} and {values.size} numbers",
        )
    slope, start, centred = _line(at, values)
    residuals = values - start - slope * at
    degrees = at.size - 2
    error = math.nan
    if degrees > 0:
        error = math.sqrt(float(residuals @ residuals) / degrees / float(centred @ centred))
    reach = float(stdtrit(degrees, (1 + level) / 2)) * error if degrees > 0 else math.nan
    spread = float(np.square(values - values.mean()).sum())
    explained = 1 - float(residuals @ residuals) / spread if spread > 0 else math.nan
    return PowerLaw(slope, error, slope - reach, slope + reach, math.exp(start), explained)


def bootstrap_power_law(
    x: ArrayLike,
    blocks: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    figure: Callable[[np.ndarray], float] = erf_size,
    spread: Callable[[np.ndarray, np.ndarray], Spread] | None = None,
    scale: ArrayLike = 1.0,
    resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> PowerLaw:
    """Fits a power law to a metric of mean maps, with errors by resampling their runs.

    At each depth blocks of runs are drawn again, with replacement, the metric is computed
    on their mean, and the law is fitted again. The interval has the draws' quantiles about
    their mean, and for centre the exponent less its bias. It reaches to the exponent itself
    where that lies outside.

    Sizes are counts of pixels, which move in steps that resampling does not see, and noise
    makes their peak too high. Their `spread` knows both: its centres give the centre, and
    the interval is no narrower than their errors, carried to the slope, make it.

    Examples:
        >>> random = np.random.default_rng(0)
        >>> at = np.arange(31) - 15
        >>> blocks = []
        >>> for sigma in (1.0, 2.0, 4.0):
        ...     bell = np.exp(-(at**2) / (2 * sigma**2))
        ...     runs = random.exponential(size=(20, 1)) * bell  # one map for each run
        ...     blocks.append((runs, np.ones(20, int)))
        >>> law = keras_erf.analysis.bootstrap_power_law([1, 4, 16], blocks)
        >>> round(law.exponent, 1)
        0.5

    Args:
        x: Depths, shape `(m,)`.
        blocks: For each depth `(block_sums, block_counts)` as results keep them; with at
            most 16 runs each block is a run of its own.
        figure: Function from a mean map to the metric.
        spread: Of `(block_sums, block_counts)` the metric, the metric less its bias, and its
            standard error; `None` for one that has none. `erf_size` has its own.
        scale: What the metrics are divided by, one number or one for each depth.
        resamples: How often to draw.
        level: Probability of the interval to cover.
        seed: Of the draws.

    Returns:
        A `PowerLaw` whose error and interval are those of the draws.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 5.2.1.
    """
    checked_level(level)
    if not isinstance(resamples, int) or resamples < 2:
        raise InvalidInputError(
            argument="resamples",
            expected="must be a whole number of at least 2",
            received=f"resamples={resamples!r}",
        )
    if np.ndim(scale) and np.shape(scale) != (len(blocks),):
        raise InvalidInputError(
            argument="scale",
            expected=f"must be one number, or one for each of {len(blocks)} depths",
            received=f"scale of shape {np.shape(scale)}",
        )
    held = [checked_blocks(sums, counts) for sums, counts in blocks]
    divisor = np.broadcast_to(np.asarray(scale, np.float64), (len(held),))
    random = np.random.default_rng(seed)

    def fitted(weights_of: Callable[[int], Any]) -> PowerLaw:
        metrics = []
        for (sums, counts), unit in zip(held, divisor, strict=True):
            picked = weights_of(len(counts))
            mean = np.tensordot(picked, sums, axes=1) / (picked @ counts)
            metrics.append(figure(mean) / unit)
        return fit_power_law(x, metrics, level=level)

    law = fitted(np.ones)
    draws = np.array(
        [
            fitted(lambda n: random.multinomial(n, np.full(n, 1 / n)).astype(float)).exponent
            for _ in range(resamples)
        ]
    )
    if spread is None and figure is erf_size:
        spread = size_spread
    # Of n blocks drawn n times the variance is short by (n - 1) / n.
    blocks_each = float(np.mean([len(counts) for _, counts in held]))
    short = math.sqrt(blocks_each / max(blocks_each - 1, 1))
    low, high = np.quantile(draws - draws.mean(), [(1 - level) / 2, (1 + level) / 2]) * short
    centre, reach = 2 * law.exponent - float(draws.mean()), 0.0
    if spread is not None:
        spreads = [[float(np.asarray(part)) for part in spread(*group)] for group in held]
        _, centres, errors = np.array(spreads).T
        centre = fit_power_law(x, centres / divisor, level=level).exponent
        at = np.log(np.asarray(x, np.float64))
        levers = (at - at.mean()) / np.square(at - at.mean()).sum()
        reach = float(ndtri((1 + level) / 2) * np.hypot.reduce(levers * errors / centres))
    return replace(
        law,
        error=float(draws.std(ddof=1)) * short,
        low=min(centre - max(float(high), reach), law.exponent),
        high=max(centre + max(-float(low), reach), law.exponent),
    )


def _logarithms(name: str, values: ArrayLike) -> np.ndarray:
    refuse_masked(values, name)
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise InvalidInputError(
            argument=name,
            expected="must be positive numbers in a row",
            received=f"{name}={values!r}",
        )
    return np.log(numbers)


def _line(at: np.ndarray, values: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Slope and start of the least-squares line, and the positions about their mean."""
    centred = at - at.mean()
    slope = float(centred @ values / (centred @ centred))
    return slope, float(values.mean() - slope * at.mean()), centred
