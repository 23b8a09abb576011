"""Chains of linear layers along one axis: their impact, field and cumulants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.theory.coefficients import checked_count, checked_weights

__all__ = [
    "Step",
    "cumulants",
    "excess_kurtosis",
    "field_size",
    "impact",
    "impact_map",
    "mean",
    "sigma",
    "structure",
    "variance",
]


@dataclass(frozen=True)
class Step:
    """One linear layer along one axis.

    Args:
        weights: Taps of its kernel, of either sign.
        stride: Its stride.
        dilation: Its dilation.

    Raises:
        InvalidInputError: One of them is out of range.
    """

    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    stride: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(map(float, checked_weights(self.weights))))
        checked_count("stride", self.stride)
        checked_count("dilation", self.dilation)

    @classmethod
    def uniform(cls, kernel_size: int, *, stride: int = 1, dilation: int = 1) -> Step:
        """A layer of equal taps."""
        taps = (1.0,) * checked_count("kernel_size", kernel_size)
        return cls(taps, stride, dilation)


Chain = Sequence[Step]


def structure(
    depth: int = 15,
    *,
    kernel_size: int = 3,
    strided: Iterable[int] = (),
    dilated: Iterable[tuple[int, int]] = (),
) -> tuple[Step, ...]:
    """The poster's structures: a stack of equal kernels, some strided by 2 or dilated.

    Examples:
        >>> chain = keras_erf.theory.structure(15, dilated=[(5, 2), (10, 4), (15, 8)])
        >>> keras_erf.theory.field_size(chain), round(keras_erf.theory.sigma(chain), 3)
        (53, 8.0)

    Args:
        depth: Number of layers.
        kernel_size: Taps of each.
        strided: Numbers of the layers of stride 2, counted from 1.
        dilated: Pairs of a layer's number and its dilation.

    Returns:
        The chain, first layer first.

    Raises:
        InvalidInputError: There is no such layer.

    Reference:
        The poster, "Influence of different structures"; it does not state the positions.
    """
    checked_count("depth", depth)
    try:
        halving, pairs = set(strided), list(dilated)
        rates = dict(pairs)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            argument="strided",
            expected="must be numbers of layers, and `dilated` pairs of a layer and its dilation",
            received=f"strided={strided!r}, dilated={dilated!r}",
        ) from error
    for name, numbers in (("strided", halving), ("dilated", set(rates))):
        wrong = [number for number in numbers if number not in range(1, depth + 1)]
        if wrong:
            raise InvalidInputError(
                argument=name,
                expected=f"must name layers from 1 to {depth}",
                received=repr(wrong[0]),
            )
    if len(rates) < len(pairs):
        raise InvalidInputError(
            argument="dilated", expected="must name each layer once", received=f"dilated={pairs!r}"
        )
    return tuple(
        Step.uniform(kernel_size, stride=2 if layer in halving else 1, dilation=rates.get(layer, 1))
        for layer in range(1, depth + 1)
    )


def impact(chain: Chain) -> np.ndarray:
    """Impact of each input pixel on one unit of a chain, by direct convolution.

    The kernels are spread out by the strides before them and by their dilations, and
    convolved: `sum` over all paths of the products of weights. Sums of non-negative weights
    are exact to rounding in every entry, tails included.

    Examples:
        >>> keras_erf.theory.impact([keras_erf.theory.Step()] * 2)
        array([1., 2., 3., 2., 1.])

    Args:
        chain: Layers, first one first.

    Returns:
        Float64, of shape `(field_size(chain),)`; pixel 0 is the field's first.

    Raises:
        InvalidInputError: `chain` holds something else than `Step`s, or the impact leaves
            the floats, as that of 647 layers of three ones does.

    Reference:
        The poster, "Effective receptive field", the form with weights; strides and
        dilations as in Luo et al. 2016, sections 2.3 and 2.4.
    """
    weights = np.ones(1)
    for step, gap in _gaps(chain):
        spread = np.zeros((len(step.weights) - 1) * gap + 1)
        spread[::gap] = step.weights
        # Of the two the shorter, as direct sums: a transform would lose the tails.
        with np.errstate(over="ignore", invalid="ignore"):
            weights = np.convolve(weights, spread)
    return _finite(weights)


def impact_map(chain: Chain, ndim: int = 2) -> np.ndarray:
    """The same over `ndim` axes, for kernels that are products of those of the axes.

    Examples:
        >>> keras_erf.theory.impact_map([keras_erf.theory.Step()] * 2).shape
        (5, 5)

    Raises:
        InvalidInputError: An argument is out of range.
    """
    line, rank = impact(chain), checked_count("ndim", ndim)
    with np.errstate(over="ignore"):
        return _finite(reduce(np.multiply.outer, [line] * rank))


def field_size(chain: Chain) -> int:
    """Size of the theoretical field, in pixels: `1 + sum_l (k_l - 1) d_l J_l`.

    `J_l` is the product of the strides before layer `l`.

    Examples:
        >>> step = keras_erf.theory.Step
        >>> keras_erf.theory.field_size([step(stride=2), step(dilation=2)])
        11

    Reference:
        Araujo, Norris and Sim, "Computing receptive fields of convolutional neural
        networks", Distill 2019, equation 2.
    """
    return 1 + sum((len(step.weights) - 1) * gap for step, gap in _gaps(chain))


def cumulants(chain: Chain, order: int = 4) -> np.ndarray:
    """Cumulants of the impact of a chain, read as a distribution over pixels.

    Positions of independent steps add, and so do their cumulants:
    `kappa_r = sum_l (J_l d_l)^r kappa_r(w_l)`. For signed weights these are formal
    moments of a signed measure.

    Examples:
        >>> keras_erf.theory.cumulants([keras_erf.theory.Step()] * 3).round(3)
        array([ 3.,  2.,  0., -2.])

    Args:
        chain: Layers whose weights do not sum to zero.
        order: Of the last one, from 1 to 4.

    Returns:
        `kappa_1` (mean, counted from the field's first pixel) to `kappa_order`.

    Raises:
        InvalidInputError: An argument is out of range.

    Reference:
        The poster, central limit theorem: `S_n = sum X_i` with `p(X_i = m) = w(m)`.
    """
    if checked_count("order", order) > 4:
        raise InvalidInputError(
            argument="order", expected="must be from 1 to 4", received=f"order={order!r}"
        )
    total = np.zeros(order)
    for step, gap in _gaps(chain):
        powers = float(gap) ** np.arange(1, order + 1)
        total += powers * _own_cumulants(np.array(step.weights))[:order]
    return total


def mean(chain: Chain) -> float:
    """Mean position of the impact, in pixels from the field's first.

    Examples:
        >>> round(keras_erf.theory.mean([keras_erf.theory.Step()] * 20), 3)
        20.0
    """
    return float(cumulants(chain, 1)[0])


def variance(chain: Chain) -> float:
    """Variance of the impact, in pixels squared: `sum (J d)^2 (k^2 - 1) / 12` if uniform.

    Examples:
        >>> round(keras_erf.theory.variance([keras_erf.theory.Step()] * 20), 3)
        13.333
    """
    return float(cumulants(chain, 2)[1])


def sigma(chain: Chain) -> float:
    """Standard deviation of the impact, in pixels.

    Examples:
        >>> round(keras_erf.theory.sigma([keras_erf.theory.Step()] * 20), 3)
        3.651

    Raises:
        InvalidInputError: As `cumulants`, or signed weights have a negative variance.
    """
    squared = variance(chain)
    if squared < 0:
        raise InvalidInputError(
            argument="chain",
            expected="must have a variance that is not negative",
            remedy="square its signed weights for the mean squared gradient",
            received=f"a variance of {squared:g}",
        )
    return math.sqrt(squared)


def excess_kurtosis(chain: Chain) -> float:
    """Excess kurtosis of the impact: `-6 (k^2 + 1) / (5 n (k^2 - 1))` for `n` uniform layers.

    0 for a Gaussian, -1.2 for a wide box.

    Examples:
        >>> round(keras_erf.theory.excess_kurtosis([keras_erf.theory.Step()] * 10), 3)
        -0.15

    Raises:
        InvalidInputError: The impact is one pixel wide.
    """
    chain = checked_chain(chain)
    _, second, _, fourth = cumulants(chain, 4)
    if second == 0:
        raise InvalidInputError(
            argument="chain",
            expected="must spread the impact over more than one pixel to have a kurtosis",
            received=f"a field of {field_size(chain)} px",
        )
    return float(fourth / second**2)


def _gaps(chain: Chain) -> Iterator[tuple[Step, int]]:
    """Each layer with the distance of its taps in input pixels."""
    jump = 1
    for step in checked_chain(chain):
        yield step, jump * step.dilation
        jump *= step.stride


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise InvalidInputError(
            argument="chain",
            expected="must have an impact below 1.8e308",
            remedy="divide its weights by their sums",
            received="an impact that is infinite",
        )
    return values


def checked_chain(chain: Any) -> tuple[Step, ...]:
    """The layers of a chain.

    Raises:
        InvalidInputError: Something in it is no `Step`.
    """
    steps = tuple(chain) if isinstance(chain, Iterable) else (chain,)
    for step in steps:
        if not isinstance(step, Step):
            raise InvalidInputError(
                argument="chain",
                expected="must hold `theory.Step`s, first layer first",
                received=repr(step),
            )
    return steps


def _own_cumulants(weights: np.ndarray) -> np.ndarray:
    """The first four cumulants of the positions of a kernel's taps."""
    total = weights.sum()
    if total == 0:
        raise InvalidInputError(
            argument="chain",
            expected="must have kernels whose weights do not sum to zero to have cumulants",
            received=f"weights={tuple(map(float, weights))}",
        )
    at = np.arange(weights.size)
    first = float(weights @ at / total)
    central = [float(weights @ (at - first) ** power / total) for power in (2, 3, 4)]
    return np.array([first, central[0], central[1], central[2] - 3 * central[0] ** 2])
