"""How sizes follow from depth: the laws of growth and shrinkage, and what pixels make of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Literal, get_args

import numpy as np

from keras_erf.analysis import THRESHOLD, erf_size
from keras_erf.errors import InvalidInputError
from keras_erf.theory.coefficients import checked_count, polynomial_coefficients

__all__ = [
    "GAUSSIAN_SIZE",
    "Measure",
    "gaussian_size",
    "growth_exponents",
    "size_ratio",
    "uniform_map",
    "uniform_size",
]

# Size of a 2-D Gaussian by the paper's rule, in sigmas: sqrt(2 pi ln(1 / 0.0455)) = 4.406.
GAUSSIAN_SIZE = math.sqrt(2 * math.pi * math.log(1 / THRESHOLD))

Measure = Literal["square", "abs"]


def gaussian_size(n: int, kernel_size: int = 3, *, measure: Measure = "square") -> float:
    """ERF size of `n` layers in the Gaussian limit: `4.406 sqrt(n (k^2 - 1) / 12)`.

    This is the poster's `O(sqrt n)`. The map of |g| of random weights is the root of that of
    `g^2`, a Gaussian of twice the variance.

    Examples:
        >>> [round(keras_erf.theory.gaussian_size(20, measure=one), 1) for one in ("square", "abs")]
        [16.1, 22.8]

    Args:
        n: Number of layers.
        kernel_size: Taps of each.
        measure: `"square"`: of `g^2`, which is that of uniform kernels; `"abs"`: of |g|.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        The poster, "Growth vs shrinkage"; the threshold is that of Luo et al. 2016, section 3.1.
    """
    n, k = checked_count("n", n), checked_count("kernel_size", kernel_size)
    wider = 2 if _checked(measure) == "abs" else 1
    return GAUSSIAN_SIZE * math.sqrt(wider * n * (k**2 - 1) / 12)


def uniform_map(
    n: int, kernel_size: int = 3, *, measure: Measure = "square", ndim: int = 2
) -> np.ndarray:
    """Map of `n` layers of uniform kernels, of peak 1: `E[g^2]` of random ones; or its root.

    Examples:
        >>> keras_erf.theory.uniform_map(5).shape
        (11, 11)

    Args:
        n: Number of layers.
        kernel_size: Taps of each.
        measure: As in `gaussian_size`.
        ndim: Number of spatial axes.

    Returns:
        Float64, `n (k - 1) + 1` pixels along each axis.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        Luo et al. 2016, section 2.2: random weights have the variance of uniform kernels.
    """
    row = polynomial_coefficients(checked_count("n", n), kernel_size)
    peak = max(row)
    # Python divides large integers with one rounding.
    line = np.array([value / peak for value in row])
    if _checked(measure) == "abs":
        line = np.sqrt(line)
    return reduce(np.multiply.outer, [line] * checked_count("ndim", ndim))


def uniform_size(
    n: int, kernel_size: int = 3, *, measure: Measure = "square", ndim: int = 2
) -> float:
    """ERF size of that map by the paper's rule, exact: the number of pixels, its `ndim`-th root.

    At small depths it is above the law for |g| is cut by the theoretical field, and steps in
    whole pixels.

    Examples:
        >>> round(keras_erf.theory.uniform_size(20) ** 2)  # pixels above 4.55 % of the peak
        261

    Raises:
        InvalidInputError: An argument is out of range.
    """
    return erf_size(uniform_map(n, kernel_size, measure=measure, ndim=ndim))


def size_ratio(n: int, kernel_size: int = 3, *, measure: Measure = "square") -> float:
    """That size in two dimensions over the theoretical field's `n (k - 1) + 1`: `O(1 / sqrt n)`.

    Examples:
        >>> [round(keras_erf.theory.size_ratio(depth), 2) for depth in (5, 10, 20, 40)]
        [0.76, 0.56, 0.39, 0.28]
    """
    return uniform_size(n, kernel_size, measure=measure) / (n * (kernel_size - 1) + 1)


def growth_exponents(
    depths: Iterable[int], kernel_size: int = 3, *, measure: Measure = "square"
) -> tuple[float, float]:
    """Slopes of size and ratio against depth on logarithmic axes, by least squares.

    The laws say 1/2 and -1/2. Over `n = 5, 10 ... 40` they are 0.481 and -0.481 for `g^2`, and
    0.536 and -0.426 for |g|; the poster's figure has 0.56 and -0.43. Which depths are taken
    matters: over every `n` from 5 to 40 they are 0.489 and -0.477, 0.523 and -0.444.

    Examples:
        >>> size, ratio = keras_erf.theory.growth_exponents(range(5, 41, 5), measure="abs")
        >>> round(size, 3), round(ratio, 3)
        (0.536, -0.426)

    Args:
        depths: At least two different numbers of layers.
        kernel_size: Taps of each.
        measure: As in `gaussian_size`.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        The poster, "Change of ERF".
    """
    if not isinstance(depths, Iterable):
        raise InvalidInputError(
            argument="depths", expected="must be a list", received=f"depths={depths!r}"
        )
    counts = [checked_count("depths", depth) for depth in depths]
    if len(set(counts)) < 2:
        raise InvalidInputError(
            argument="depths",
            expected="must hold two different depths at least",
            received=f"depths={counts}",
        )
    at = np.log(counts)
    sizes = np.log([uniform_size(count, kernel_size, measure=measure) for count in counts])
    ratios = np.log([size_ratio(count, kernel_size, measure=measure) for count in counts])
    return float(np.polyfit(at, sizes, 1)[0]), float(np.polyfit(at, ratios, 1)[0])


def _checked(measure: str) -> str:
    if measure not in get_args(Measure):
        raise InvalidInputError(
            argument="measure",
            expected="must be 'square' or 'abs'",
            received=f"measure={measure!r}",
        )
    return measure
