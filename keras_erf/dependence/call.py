"""One call of a layer: its shapes, its arguments, and what is known of its values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_erf.algebra.views import AnyView
from keras_erf.errors import UnsupportedLayerError
from keras_erf.graph import Argument, settled
from keras_erf.types import Array, Layer, Operation

__all__ = ["Call", "CallSite", "Rule", "bound_arguments", "part_of", "unsupported"]

Shape = tuple[int, ...]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Rule = Callable[["Call"], tuple[AnyView, ...]]


@dataclass(frozen=True)
class Call:
    """One call of a layer on tensors of known shape; the batch axis is not counted.

    Args:
        name: Path of the layer in the model, for messages.
        layer: The layer or operation, read for its configuration only.
        inputs: Shape of each input tensor.
        outputs: Shape of each output tensor.
        dtypes: Name of the dtype of each input tensor.
        batch: Batch size the layer insists on, or `None`.
        filled: Gives the positional and keyword arguments it is called with; an
            input tensor is its place in `inputs`, as an `Argument`.
        run: Calls the layer by itself, in a stateless scope: `run(values,
            state=())` takes the input tensors' values, with a batch axis, and
            pairs of a variable and the value to read in its place; it gives the
            outputs' values.
        rule_of: The rule of a layer inside this one, or `None` if it is unknown.
        known: What is known of each input tensor beforehand, or `None`; see `fixed`.
        drawn: What is known of constants and weights over draws of the weights, by `id`.
        assigned: Whether zeros among the weights count.
        by_value: Whether anything that is known counts.
    """

    name: str
    layer: Layer
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    dtypes: tuple[str, ...] = ()
    batch: int | None = None
    filled: Callable[[], Arguments] = field(default=lambda: ((), {}), repr=False, compare=False)
    run: Callable[..., list[Array]] = field(default=lambda *_, **__: [], repr=False, compare=False)
    rule_of: Callable[[Any], Rule | None] = field(default=lambda _: None, repr=False, compare=False)
    known: tuple[np.ndarray | None, ...] = field(default=(), repr=False, compare=False)
    drawn: Mapping[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    assigned: bool = True
    by_value: bool = True

    def fixed(self, operand: Any) -> np.ndarray | None:
        """What is known of an operand beforehand: numbers, NaN elsewhere; `None` if nothing is.

        Args:
            operand: A constant, a weight, or an input tensor as an `Argument`; the
                batch of the latter is not counted.
        """
        if not self.by_value or operand is None:
            return None
        if isinstance(operand, Argument):
            return self.known[operand.place] if self.known else None
        if id(operand) in self.drawn:
            return self.drawn[id(operand)]
        return settled(operand, assigned=self.assigned)

    def zeros(self, operand: Any) -> np.ndarray | None:
        """Where an operand is known to be zero; `None` if nowhere, or if it is zero throughout."""
        values = self.fixed(operand)
        if values is None:
            return None
        found = values == 0
        return found if found.any() and not found.all() else None

    @property
    def arguments(self) -> Arguments:
        """Positional and keyword arguments of the call."""
        return self.filled()

    @property
    def output(self) -> Shape:
        """Shape of the first output tensor."""
        return self.outputs[0]


def unsupported(call: Call, reason: str, received: str | None = None) -> UnsupportedLayerError:
    """The error of a layer whose field no rule states, with the reason."""
    kind = type(call.layer).__name__
    return UnsupportedLayerError(
        expected=f"No rule tells the receptive field of layer {call.name!r}: {reason}",
        remedy="Choose a layer before it, or pass a rule by `rules`",
        received=received or f"{kind} from {call.inputs} to {call.outputs}",
    )


def part_of(
    call: Call,
    layer: Layer,
    inputs: tuple[Shape, ...],
    outputs: tuple[Shape, ...],
    run: Callable[..., list[Array]] | None = None,
) -> Call:
    """The call of a layer inside the one that is called.

    Args:
        call: The call of the outer layer.
        layer: The inner one.
        inputs: Shape of each of its input tensors.
        outputs: Shape of each of its output tensors.
        run: As in `Call`; without it the inner layer cannot be measured.
    """

    def cannot_run(*_: Any, **__: Any) -> list[Array]:
        inner = type(layer).__name__
        raise unsupported(call, f"the {inner} inside it cannot be measured by itself")

    return replace(
        call,
        layer=layer,
        inputs=inputs,
        outputs=outputs,
        dtypes=call.dtypes[:1] * len(inputs),
        filled=lambda: (tuple(map(Argument, range(len(inputs)))), {}),
        run=run or cannot_run,
        known=(),
    )


def bound_arguments(call: Call) -> dict[str, Any]:
    """The arguments of the call by name, with the layer's own defaults."""
    args, kwargs = call.arguments
    bound = inspect.signature(call.layer.call).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


@dataclass(frozen=True)
class CallSite:
    """A call, as each of a layer's descriptions gets it.

    Args:
        call: The call.
    """

    call: Call

    @property
    def layer(self) -> Operation:
        """The layer or operation."""
        return self.call.layer
