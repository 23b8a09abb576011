"""Values of a graph: its tensors, and the calls that make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np

from keras_erf.tensorflow_operations.stand_ins import StandIn
from keras_erf.types import Array, Operation

__all__ = ["LINEAR", "Argument", "Given", "Node", "Shape", "Tensor", "kind_of", "plain_call"]

Shape = tuple[int | None, ...]

# What an address ends in that names the value before a layer's activation.
LINEAR = ":linear"
_CONVOLUTIONAL_LSTMS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)


@dataclass(frozen=True)
class Tensor:
    """One tensor of the graph.

    Args:
        name: Name of the layer call that makes it, or of the input.
        shape: Its shape without the batch axis; `None` where undefined.
        dtype: Name of its dtype.
    """

    name: str
    shape: Shape
    dtype: str


class Traced(Protocol):
    """What followed a layer's `call`, and can do so for batches of other sizes."""

    def at(self, node: Node, batch: int, training: bool) -> Node:
        """A call inside the layer, as it is made for batches of that size."""
        ...


@dataclass(frozen=True)
class Argument:
    """Stands for a tensor among a call's arguments.

    Args:
        place: Its place among the call's inputs.
    """

    place: int


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a layer or operation.

    Args:
        name: Path of the layer, `backbone/conv1` in nested models; a layer
            called several times has `:0`, `:1`, ... appended.
        operation: The Keras layer or operation.
        inputs: Numbers of the tensors it takes, in argument order.
        outputs: Numbers of the tensors it makes.
        arguments: The symbolic arguments of the call (Keras's own record).
        numbers: Number of each symbolic argument, by `id`.
        lead: How many first axes of its tensors the call is repeated over, the
            batch not counted: those of the time-distributed layers it is in.
        known: Of a call inside a layer, what is known of its constants and of
            the weights that were assigned before it, by `id`; see `settling`.
        reassigned: Whether the layer it is in assigns weights as it runs.
        trace: What followed the layer it is in, if it is in one; see `Traced`.
    """

    name: str
    operation: Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: Any = field(repr=False)
    numbers: Mapping[int, int] = field(repr=False)
    lead: int = 0
    known: Mapping[int, np.ndarray] = field(default_factory=dict, repr=False)
    reassigned: bool = False
    trace: Traced | None = field(default=None, repr=False)

    @property
    def kind(self) -> type | str:
        """See `kind_of`."""
        return kind_of(self.operation)

    @property
    def is_bound(self) -> bool:
        """Whether the size of the batch may be written into it: an operation in a layer."""
        return self.trace is not None and isinstance(self.kind, str)

    def at(self, batch: int | None, *, training: bool = False) -> Node:
        """The same call for batches of another size, or in training."""
        return self if self.trace is None or batch is None else self.trace.at(self, batch, training)

    def call(
        self,
        values: Mapping[int, Any],
        run: Callable[..., Any],
        constant: Callable[[Any], Any] = lambda argument: argument,
    ) -> list[Array]:
        """Outputs of `run(*args, **kwargs)` with the call's tensors taken from `values`.

        `constant` gives what stands in for each of its other arguments.
        """

        def fill(argument: Any) -> Any:
            if isinstance(argument, keras.KerasTensor):
                return values[self.numbers[id(argument)]]
            return constant(argument)

        args, kwargs = self.arguments.convert(fill)
        made = keras.tree.flatten(run(*args, **kwargs))
        return [output for output in made if output is not None]

    def filled_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments, each tensor replaced by its number."""
        places = {number: Argument(place) for place, number in enumerate(self.inputs)}
        filled: list[Any] = []
        self.call(places, lambda *args, **kwargs: filled.extend((args, kwargs)))
        return tuple(filled[0]), filled[1]

    def channel_axis(self, rank: int) -> int | None:
        """Channel axis on tensors of `rank` axes, or `None` for a layer that has no say."""
        data_format = getattr(self.operation, "data_format", None)
        if data_format is None:
            return None
        if data_format != "channels_first":
            return rank - 1
        # Steps in time come before the channels.
        recurrent = isinstance(self.operation, _CONVOLUTIONAL_LSTMS)
        return rank - 1 - self.operation.cell.rank if recurrent else self.lead


@dataclass(frozen=True)
class _Tensors:
    """Arguments of a call that takes tensors and nothing else: one, or a list of several."""

    symbols: tuple[keras.KerasTensor, ...]

    def convert(self, fill: Callable[[Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As Keras's own record does it."""
        filled = [fill(symbol) for symbol in self.symbols]
        return (filled[0] if len(filled) == 1 else filled,), {}


@dataclass(frozen=True)
class Given:
    """Arguments of a call, with a symbolic tensor for each tensor.

    Args:
        args: Positional ones, which may be nested.
        kwargs: Those by name.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbols(self) -> list[keras.KerasTensor]:
        """The symbolic tensors, in order."""
        leaves = keras.tree.flatten((self.args, dict(self.kwargs)))
        return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]

    def convert(self, fill: Callable[[Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As Keras's own record does it."""
        args, kwargs = keras.tree.map_structure(fill, (self.args, dict(self.kwargs)))
        return args, kwargs


def kind_of(operation: Operation) -> type | str:
    """What descriptions are looked up by: a layer's class, or `"ops.Add"` for an operation.

    Operations are Keras's own, wherever it defines them: some functions of `keras.activations`
    have theirs next to them.
    """
    if isinstance(operation, StandIn):
        return operation.stands_for
    kind = type(operation)
    own = kind.__module__.partition(".")[0] == "keras" and not isinstance(operation, keras.Layer)
    return f"ops.{kind.__name__}" if own else kind


def plain_call(name: str, operation: Operation, inputs: tuple[int, ...], output: int) -> Node:
    """A call that is in no model, of a layer on tensors and nothing else.

    Args:
        name: Its name.
        operation: The layer; several tensors are given to it as a list.
        inputs: Numbers of the tensors it takes.
        output: Number of the one it makes.
    """
    symbols = tuple(keras.KerasTensor((None,)) for _ in inputs)
    numbers = {id(symbol): number for symbol, number in zip(symbols, inputs, strict=True)}
    return Node(name, operation, inputs, (output,), _Tensors(symbols), numbers)
