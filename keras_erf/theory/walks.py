"""The multinomial view: the impact of non-negative weights as a random walk, borders included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.errors import InvalidInputError
from keras_erf.theory.coefficients import checked_count, checked_weights

__all__ = ["Move", "expected_position", "position_variance", "walk"]


def expected_position(weights: ArrayLike, n: int) -> float:
    """`E[S_n] = n sum_m m w(m)` of a walk of `n` steps, `w` scaled to sum 1.

    Examples:
        >>> round(keras_erf.theory.expected_position([1, 1, 2], 4), 3)
        5.0

    Args:
        weights: Non-negative taps of a kernel, shape `(k,)`.
        n: Number of layers.

    Returns:
        Mean position, in pixels from the field's first.

    Raises:
        InvalidInputError: `weights` are no probabilities, or `n` is out of range.

    Reference:
        The poster, central limit theorem.
    """
    share = _probabilities(weights)
    return checked_count("n", n, least=0) * float(share @ np.arange(share.size))


def position_variance(weights: ArrayLike, n: int) -> float:
    """`Var[S_n] = n (sum_m m^2 w(m) - (sum_m m w(m))^2)`, in pixels squared.

    The poster prints it without the outer parenthesis, `n sum m^2 w(m) - (sum m w(m))^2`:
    that is not the variance unless `n = 1`.

    Examples:
        >>> round(keras_erf.theory.position_variance([1, 1, 1], 20), 3)
        13.333

    Args:
        weights: As in `expected_position`.
        n: Number of layers.

    Raises:
        InvalidInputError: As `expected_position`.

    Reference:
        The poster, central limit theorem, corrected.
    """
    share = _probabilities(weights)
    at = np.arange(share.size)
    once = float(share @ at**2 - (share @ at) ** 2)
    return checked_count("n", n, least=0) * once


@dataclass(frozen=True)
class Move:
    """One layer as a step of a walk from the output to the input, along one axis.

    A unit at `x` sees its input at `stride x + dilation a - padding`, where tap `a` has the
    share `w(a)`; nearest up-sampling by `factor` comes behind the layer's kernel, so
    `x` is first divided by it, rounded down.

    Args:
        size: Number of inputs along the axis; who steps outside is in the padding, and lost.
        weights: Non-negative taps.
        stride: Stride of the kernel.
        dilation: Its dilation.
        padding: Zeros before the axis.
        factor: Nearest up-sampling behind the kernel.
    """

    size: int
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    factor: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "stride", "dilation", "factor"):
            checked_count(name, getattr(self, name))
        checked_count("padding", self.padding, least=0)
        taps = checked_weights(self.weights)
        if (taps < 0).any():
            raise InvalidInputError(
                argument="weights",
                expected="must be non-negative: a walk has no negative probabilities",
                received=f"weights={self.weights!r}",
            )
        object.__setattr__(self, "weights", tuple(map(float, taps)))


def walk(moves: Sequence[Move], unit: int) -> np.ndarray:
    """Impact of each input pixel on a unit, borders included.

    `X_{l-1} = s floor(X_l / u) + d A - p` with `A ~ w`, weighted by the weights' own sum.
    With zero padding a walk that leaves the axis is lost, so impact near a border is less.

    Examples:
        >>> move = keras_erf.theory.Move(size=5, padding=1)
        >>> keras_erf.theory.walk([move, move], unit=0)  # at the border some is lost
        array([2., 2., 1., 0., 0.])

    Args:
        moves: Layers, first one first.
        unit: Index of the unit in the last layer's output.

    Returns:
        Float64, of shape `(moves[0].size,)`.

    Raises:
        InvalidInputError: There are no moves, something else than `Move`s, or a unit that
            sees no pixel.

    Reference:
        The poster, central limit theorem: `o(t) = p(S_n = t)`.
    """
    if not moves:
        raise InvalidInputError(
            argument="moves", expected="must hold at least one layer", received="none"
        )
    for move in moves:
        if not isinstance(move, Move):
            raise InvalidInputError(
                argument="moves",
                expected="must hold `theory.Move`s, first layer first",
                received=repr(move),
            )
    at = {checked_count("unit", unit, least=0): 1.0}
    for move in reversed(moves):
        before: dict[int, float] = {}
        for place, mass in at.items():
            start = move.stride * (place // move.factor) - move.padding
            for tap, weight in enumerate(move.weights):
                source = start + move.dilation * tap
                if 0 <= source < move.size and weight:
                    before[source] = before.get(source, 0.0) + mass * weight
        at = before
    if not at:
        raise InvalidInputError(
            argument="unit",
            expected="must see a pixel of the input",
            remedy="name one inside of the last layer's output",
            received=f"unit={unit!r}",
        )
    total = np.zeros(moves[0].size)
    for place, mass in at.items():
        total[place] = mass
    return total


def _probabilities(weights: ArrayLike) -> np.ndarray:
    taps = checked_weights(weights)
    if (taps < 0).any():
        raise InvalidInputError(
            argument="weights",
            expected="must be non-negative: they are probabilities of a walk",
            received=f"weights={weights!r}",
        )
    return taps / taps.sum()
