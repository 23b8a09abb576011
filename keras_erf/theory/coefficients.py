"""Uniform kernels: extended binomial coefficients, exact, and by the Fourier form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import refuse_masked
from keras_erf.errors import InvalidInputError

__all__ = [
    "checked_count",
    "checked_weights",
    "fourier_impact",
    "polynomial_coefficient",
    "polynomial_coefficients",
]


def polynomial_coefficient(n: int, t: int, kernel_size: int) -> int:
    """Coefficient of `x^t` in `(1 + x + ... + x^(k-1))^n`: an extended binomial coefficient.

    It is the number of paths from an output unit to the input pixel `t` places from the
    field's edge, through `n` layers of `k` taps: `sum_i (-1)^i C(n, i) C(n + t - 1 - k i, n - 1)`
    over `i <= t / k`, by inclusion and exclusion. `k = 2` gives `C(n, t)`.

    Examples:
        >>> keras_erf.theory.polynomial_coefficient(20, 20, 3)
        377379369

    Args:
        n: Number of layers, at least 1.
        t: Position in the field, from 0 to `n (k - 1)`; elsewhere it is 0.
        kernel_size: Taps `k` of each layer, at least 1.

    Returns:
        An exact integer.

    Raises:
        InvalidInputError: `n` or `kernel_size` is no positive integer.

    Reference:
        The poster, "Convolution by Fourier transform", case k > 2; Eger, "Stirling's
        approximation for central extended binomial coefficients", Amer. Math. Monthly
        121 (2014), for the name.
    """
    n, k = checked_count("n", n), checked_count("kernel_size", kernel_size)
    if not isinstance(t, Integral):
        raise InvalidInputError(
            argument="t", expected="must be a whole number", received=f"t={t!r}"
        )
    if not 0 <= t <= n * (k - 1):
        return 0
    return sum(
        (-1) ** i * math.comb(n, i) * math.comb(n + int(t) - 1 - k * i, n - 1)
        for i in range(int(t) // k + 1)
    )


def polynomial_coefficients(n: int, kernel_size: int) -> tuple[int, ...]:
    """All coefficients of `(1 + x + ... + x^(k-1))^n`, exact integers.

    Examples:
        >>> keras_erf.theory.polynomial_coefficients(3, 3)
        (1, 3, 6, 7, 6, 3, 1)

    Args:
        n: Number of layers, 0 or more.
        kernel_size: Taps of each layer.

    Returns:
        `n (k - 1) + 1` integers; their sum is `k^n`.

    Raises:
        InvalidInputError: An argument is out of range.
    """
    n, k = checked_count("n", n, least=0), checked_count("kernel_size", kernel_size)
    row = [1]
    # By running sums: each row from the one before in one pass.
    for _ in range(n):
        total, longer = 0, []
        for position in range(len(row) + k - 1):
            total += row[position] if position < len(row) else 0
            total -= row[position - k] if position >= k else 0
            longer.append(total)
        row = longer
    return tuple(row)


def fourier_impact(weights: ArrayLike, n: int) -> np.ndarray:
    """Impact of `n` layers of one kernel by equation 1: the `n`-th power of its transform.

    `o = F^-1[V^n]` with `V(w) = sum_m w(m) exp(-i w m)`, on as many frequencies as the
    field has pixels, which makes it exact but for rounding.

    Rounding is relative to the norm, not to each value: for uniform kernels errors stay
    below `3e-16 (n + 4)` of the peak, and values smaller than that, the tails of deep
    stacks, are lost in them and may come out negative. Use `impact` where they matter.

    Examples:
        >>> keras_erf.theory.fourier_impact([1, 1, 1], 2).round(6)
        array([1., 2., 3., 2., 1.])

    Args:
        weights: Taps of the kernel, shape `(k,)`.
        n: Number of layers, 0 or more.

    Returns:
        Shape `(n (k - 1) + 1,)`, float64.

    Raises:
        InvalidInputError: `weights` is no kernel, `n` is out of range, or the impact leaves
            the floats.

    Reference:
        The poster, equation 1 and its form with weights; Luo et al. 2016, section 2.1.
    """
    taps = checked_weights(weights)
    size = checked_count("n", n, least=0) * (taps.size - 1) + 1
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.fft.rfft(taps, size) ** n
    if not np.isfinite(power).all():
        raise InvalidInputError(
            argument="weights",
            expected="must keep the impact below 1.8e308",
            remedy="divide them by their sum",
            received=f"weights={weights!r} with n={n}",
        )
    return np.fft.irfft(power, size)


def checked_count(name: str, value: Any, *, least: int = 1) -> int:
    """The value of an argument that counts something.

    Raises:
        InvalidInputError: It is no integer, or too small.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise InvalidInputError(
            argument=name,
            expected=f"must be a whole number of at least {least}",
            received=f"{name}={value!r}",
        )
    return int(value)


def checked_weights(weights: ArrayLike | Sequence[float], name: str = "weights") -> np.ndarray:
    """A kernel's taps as an array.

    Raises:
        InvalidInputError: They are not finite numbers in a row, or all zero.
    """
    refuse_masked(weights, name)
    try:
        taps = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        taps = np.zeros(0)
    if taps.ndim != 1 or not taps.size or not np.isfinite(taps).all() or not taps.any():
        raise InvalidInputError(
            argument=name,
            expected="must be the taps of a kernel: finite numbers in a row, not all zero",
            received=f"{name}={weights!r}",
        )
    return taps
