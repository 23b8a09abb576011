"""A metric with its standard error and its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from keras_erf.analysis._checks import checked_level, plain

__all__ = ["Estimate", "Spread", "estimate"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of a measured map, and how sure it is; floats, or arrays of one shape.

    Args:
        value: The metric of the mean map.
        error: Its standard error; NaN if it is unknown, as with a single sample.
        low: Lower end of the confidence interval of the long-run value, the
            metric of the mean map of infinitely many samples.
        high: Its upper end. `low <= value <= high` always.
    """

    value: float | np.ndarray
    error: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray


class Spread(NamedTuple):
    """A metric, the centre of its interval (the metric less its bias) and its standard error."""

    value: ArrayLike
    centre: ArrayLike
    error: ArrayLike


def estimate(
    spread: Spread,
    *,
    degrees: int,
    level: float,
    least: float = -math.inf,
    most: float = math.inf,
    smooth: Spread | None = None,
    rounded: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Estimate:
    """The interval `centre -+ t error`, with Student's quantile `t`.

    It is cut to the values the metric can have, and widened to its own value
    where the bias taken off is larger than the interval.

    Args:
        spread: The metric with its centre and error.
        degrees: Degrees of freedom: the number of blocks that hold samples, less one.
        level: Probability to cover the long-run value, between 0 and 1.
        least: Least value the metric can have.
        most: Largest one.
        smooth: Spread of a smooth number behind a metric that moves in steps, which
            the interval is made of.
        rounded: What makes the metric of that number; it must not fall.

    Raises:
        InvalidInputError: `level` does not lie between 0 and 1.
    """
    checked_level(level)
    value, _, error = (np.asarray(number, dtype=np.float64) for number in spread)
    _, centre, scatter = (np.asarray(number, dtype=np.float64) for number in smooth or spread)
    reach = np.zeros(value.shape)
    # Where there is no error there is nothing to multiply, whatever the degrees.
    wide = scatter != 0
    quantile = float(stdtrit(degrees, (1 + level) / 2)) if degrees > 0 else math.nan
    reach[wide] = quantile * scatter[wide]
    ends = np.maximum(centre - reach, least), np.minimum(centre + reach, most)
    if rounded is not None:
        ends = rounded(ends[0]), rounded(ends[1])
    low, high = np.minimum(ends[0], value), np.maximum(ends[1], value)
    return Estimate(plain(value), plain(error), plain(low), plain(high))
