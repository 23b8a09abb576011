"""Mean squares of weights: of the given ones, or of those an initialiser draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from keras import initializers

from keras_erf.errors import InvalidInputError
from keras_erf.types import Initializer, Layer

__all__ = ["TellsSecondMoment", "Weights", "second_moment", "squares"]

Weights = Literal["random", "given"]
# Variance of a standard Gaussian cut at two standard deviations:
# 1 - 2 * 2 phi(2) / (2 Phi(2) - 1), Johnson, Kotz and Balakrishnan (1994), section 13.10.1.
CUT_VARIANCE = 0.7737413035
# How often an initialiser that no table knows is asked, and how many standard errors its mean
# may be away from zero.
DRAWS, SURE = 64, 6.0


@runtime_checkable
class TellsSecondMoment(Protocol):
    """An initialiser of zero mean that states the mean squares of what it draws."""

    def second_moment(self, shape: Sequence[int]) -> np.ndarray:
        """`E[w^2]` of each entry of a weight of that shape."""


def squares(layer: Layer, name: str, weights: Weights, *, of: str = "kernel") -> np.ndarray:
    """Mean square of each entry of a layer's weight, float64, of the weight's shape.

    Args:
        layer: The layer.
        name: Of the weight, such as `"kernel"`.
        weights: `"given"` takes the weight's own values, whose signs are then
            taken as random; `"random"` the distribution its initialiser draws from.
        of: What the initialiser is named by, such as `"depthwise"`.

    Raises:
        InvalidInputError: What the initialiser draws has a mean other than zero.
    """
    variable = getattr(layer, name)
    if weights == "given":
        return np.square(np.asarray(variable, np.float64))
    initializer = getattr(layer, f"{of}_initializer")
    shape = tuple(variable.shape)
    found = second_moment(initializer, shape)
    if found is None:
        raise InvalidInputError(
            argument="weights",
            expected="must be 'given' where weights are not drawn about zero: layer "
            f"{layer.name!r} has its {name} from {type(initializer).__name__}",
            received="weights='random'",
        )
    return np.broadcast_to(np.asarray(found, np.float64), shape)


def second_moment(initializer: Initializer, shape: Sequence[int]) -> Any:
    """`E[w^2]` of what an initialiser draws, one number or one per entry; `None` for a mean.

    Of an initialiser that is not known it is the mean over 64 draws and over the
    channels, the last two axes.
    """
    if isinstance(initializer, TellsSecondMoment):
        return initializer.second_moment(shape)
    if isinstance(initializer, initializers.Zeros):
        return 0.0
    if isinstance(initializer, initializers.Ones):
        return None
    if isinstance(initializer, initializers.Constant) and np.ndim(initializer.value) == 0:
        return None if initializer.value else 0.0
    if isinstance(initializer, initializers.VarianceScaling):
        receptive = math.prod(shape[:-2])
        into = receptive * (shape[-2] if len(shape) > 1 else shape[-1])
        out = receptive * shape[-1]
        fans = {"fan_in": into, "fan_out": out, "fan_avg": (into + out) / 2}
        return initializer.scale / max(1.0, fans[initializer.mode])
    if isinstance(initializer, initializers.RandomNormal):
        return None if initializer.mean else initializer.stddev**2
    if isinstance(initializer, initializers.TruncatedNormal):
        return None if initializer.mean else CUT_VARIANCE * initializer.stddev**2
    if isinstance(initializer, initializers.RandomUniform):
        low, high = initializer.minval, initializer.maxval
        return None if low != -high else high**2 / 3
    if isinstance(initializer, initializers.Orthogonal):
        # Its entries have random signs, by row and by column, and rows or columns of length 1.
        return initializer.gain**2 / max(math.prod(shape[:-1]), shape[-1])
    return _drawn(initializer, shape)


def _drawn(initializer: Initializer, shape: Sequence[int]) -> Any:
    """As `second_moment`, by asking the initialiser for weights."""
    values = np.stack(
        [np.asarray(one(tuple(shape), dtype="float32"), np.float64) for one in _copies(initializer)]
    )
    if not values.any():
        return 0.0
    channels = tuple(range(max(values.ndim - 2, 1), values.ndim))
    means, found = values.mean(axis=(0, *channels)), np.square(values).mean(axis=(0, *channels))
    count = DRAWS * math.prod(values.shape[axis] for axis in channels)
    if (np.abs(means) > SURE * np.sqrt(found / count)).any():
        return None
    return found.reshape(*np.shape(found), *(1 for _ in channels))


def _copies(initializer: Initializer) -> list[Any]:
    """The initialiser as often as it is asked; with other seeds, or all draws would agree."""
    config = initializer.get_config() if isinstance(initializer, initializers.Initializer) else {}
    if "seed" not in config:
        return [initializer] * DRAWS
    kind = type(initializer)
    return [kind.from_config({**config, "seed": seed}) for seed in range(DRAWS)]
