"""What a rule is told about a call, and what stands for the call in the squared network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_erf.graph import Node
from keras_erf.rules import Call
from keras_erf.squaring.initial import Weights
from keras_erf.squaring.signals import Signal

__all__ = ["DTYPE", "Certainty", "Recipe", "Rule", "Site", "in_double", "made_again"]

# Squares of small gradients leave the range of single precision.
DTYPE = "float64"

# Whether a rule holds exactly, by an approximation of its own, or by drawing.
Certainty = Literal["exact", "approximate", "measured"]


@dataclass(frozen=True)
class Site:
    """One call of a layer or operation.

    Args:
        node: The call.
        call: Its shapes and arguments.
        signals: How strong each of its inputs is.
        reached: Places of the inputs that the analysed input leads to.
        channels: Channel axis of its output, the batch not counted.
        narrow: Whether one channel shall stand for all of a tensor's.
        weights: Which weights are squared.
        training: Whether dropout is active.
        key: Number of the call, of which random examples are drawn.
    """

    node: Node
    call: Call
    signals: tuple[Signal, ...]
    reached: tuple[int, ...]
    channels: int
    narrow: bool
    weights: Weights
    training: bool
    key: int

    @property
    def layer(self) -> Any:
        """The layer or operation."""
        return self.call.layer

    @property
    def signal(self) -> Signal:
        """That of its first input."""
        return self.signals[0]

    def along_channels(self, values: np.ndarray) -> Any:
        """One number per channel in the shape that is stretched over the output; if narrow, one."""
        if self.narrow or np.ptp(values) == 0:
            return float(values.mean())
        shape = [1] * len(self.call.output)
        shape[self.channels] = -1
        return values.reshape(shape)


@dataclass(frozen=True)
class Recipe:
    """What stands for a call in the squared network.

    Args:
        layer: A linear layer; `None` hands on the input, or the sum of them.
        signals: How strong each output of the call itself is.
        before: What each input is multiplied by first.
        after: What the output is multiplied by: a number, or an array that is
            stretched over it.
        as_called: Whether the layer takes the arguments of the call as they
            are; if not it takes the tensors that are reached alone.
        certainty: How good the rule is.
    """

    layer: Any
    signals: tuple[Signal, ...]
    before: tuple[Any, ...] = ()
    after: Any = 1.0
    as_called: bool = False
    certainty: Certainty = "exact"


# `None` where the call has to be measured.
Rule = Callable[[Site], Recipe | None]


def made_again(
    layer: Any,
    *,
    shape: Sequence[int] = (),
    weights: Sequence[np.ndarray] = (),
    **changes: Any,
) -> Any:
    """A layer of the same class and settings, in double precision, with weights of its own.

    Args:
        layer: The layer; it stays as it is.
        shape: Shape of its input without the batch, for a layer that has weights.
        weights: Their values.
        **changes: Settings that differ.
    """
    copy = type(layer).from_config({**layer.get_config(), "dtype": DTYPE, **changes})
    if weights:
        copy.build((None, *shape))
        copy.set_weights(list(weights))
    return copy


def in_double(operation: Any) -> Any:
    """A layer without weights, or an operation, that keeps double precision."""
    return made_again(operation) if isinstance(operation, keras.Layer) else operation
