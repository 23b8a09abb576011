"""Independent references: closed forms, brute force and printed numbers.

Nothing here imports the library. Layers of a chain are `Layer`s, first layer
first; maps are float arrays over spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

# Central coefficients of (1 + x + x^2)^n (OEIS A002426).
CENTRAL_TRINOMIALS = {5: 51, 10: 8953, 20: 377379369, 40: 934837217271732457}

# Pixels above 4.55 % of the peak in the map of n stacked 3x3 all-ones convolutions, and in its
# square root (the map of |g| of wide random networks, where the former is the map of g^2).
PIXELS_OF_UNIFORM = {5: 69, 10: 137, 15: 193, 20: 261, 30: 385, 40: 517, 80: 1041}
PIXELS_OF_ROOT = {5: 109, 10: 241, 15: 373, 20: 517, 30: 769, 40: 1021}

# sqrt(2 pi ln(1 / 0.0455)): size of a 2-D Gaussian by the paper's rule, in sigmas.
GAUSSIAN_SIZE = 4.406281


def binomial_row(n: int, k: int) -> list[int]:
    """Coefficients of (1 + x + ... + x^(k-1))^n, by repeated convolution of exact integers."""
    row = [1]
    for _ in range(n):
        longer = [0] * (len(row) + k - 1)
        for position, value in enumerate(row):
            for tap in range(k):
                longer[position + tap] += value
        row = longer
    return row


def binomial_closed(n: int, k: int, t: int) -> int:
    """Coefficient of x^t in (1 + x + ... + x^(k-1))^n, by inclusion and exclusion."""
    return sum(
        (-1) ** i * math.comb(n, i) * math.comb(n + t - 1 - k * i, n - 1) for i in range(t // k + 1)
    )


def outer(lines: Sequence[np.ndarray]) -> np.ndarray:
    """Outer product of 1-D arrays, one per axis."""
    return reduce(np.multiply.outer, lines)


def uniform_map(n: int, k: int, ndim: int = 2) -> np.ndarray:
    """Map of `n` stacked all-ones convolutions of side `k`, with sum 1."""
    # Python divides big integers with one rounding.
    line = np.array([value / k**n for value in binomial_row(n, k)])
    return outer([line] * ndim)


def uniform_variance(n: int, k: int) -> float:
    """Variance of `n` uniform steps of `k` taps."""
    return n * (k**2 - 1) / 12


def uniform_kurtosis(n: int, k: int) -> float:
    """Excess kurtosis of `n` uniform steps of `k` taps."""
    return -6 * (k**2 + 1) / (5 * n * (k**2 - 1))


@dataclass(frozen=True)
class Layer:
    """One linear layer along one axis: taps, stride, dilation."""

    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    stride: int = 1
    dilation: int = 1


def chain_impact(layers: Sequence[Layer]) -> np.ndarray:
    """Impact of each input on one unit: kernels spread by the strides before them, convolved."""
    impact, jump = np.ones(1), 1
    for layer in layers:
        gap = jump * layer.dilation
        spread = np.zeros((len(layer.weights) - 1) * gap + 1)
        spread[::gap] = layer.weights
        impact = np.convolve(impact, spread)
        jump *= layer.stride
    return impact


def chain_cumulants(layers: Sequence[Layer]) -> tuple[float, float, int]:
    """Variance, excess kurtosis and support of a chain of uniform kernels (cumulants add)."""
    variance, fourth, support, jump = 0.0, 0.0, 1, 1
    for layer in layers:
        k, gap = len(layer.weights), jump * layer.dilation
        variance += gap**2 * (k**2 - 1) / 12
        fourth -= gap**4 * (k**4 - 1) / 120
        support += gap * (k - 1)
        jump *= layer.stride
    return variance, fourth / variance**2, support


def structure(
    depth: int = 15, *, strided: Sequence[int] = (), dilated: Sequence[tuple[int, int]] = ()
) -> list[Layer]:
    """The paper's structures: `depth` all-ones layers of 3 taps, counted from 1.

    `strided` lists the layers with stride 2, `dilated` pairs of layer and dilation.
    """
    rates = dict(dilated)
    return [
        Layer(stride=2 if layer in strided else 1, dilation=rates.get(layer, 1))
        for layer in range(1, depth + 1)
    ]


def gaussian_map(
    shape: Sequence[int], center: Sequence[float], covariance: np.ndarray, amplitude: float = 1.0
) -> np.ndarray:
    """A Gaussian of any direction, sampled at the pixels of a map of `shape`."""
    offsets = np.moveaxis(np.indices(shape), 0, -1) - np.asarray(center, dtype=float)
    form = np.einsum("...i,ij,...j->...", offsets, np.linalg.inv(covariance), offsets)
    return amplitude * np.exp(-form / 2)


def rotated_covariance(major: float, minor: float, degrees: float) -> np.ndarray:
    """Covariance of a 2-D Gaussian of spreads `major`, `minor`; angle from axis 1 to axis 0."""
    angle = math.radians(degrees)
    along = np.array([math.sin(angle), math.cos(angle)])
    across = np.array([math.cos(angle), -math.sin(angle)])
    return major**2 * np.outer(along, along) + minor**2 * np.outer(across, across)
