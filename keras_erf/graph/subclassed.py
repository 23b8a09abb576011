"""Models that are their own code: followed through one symbolic call, as a graph.

What they are called on is read off the model: what it was built with, or was called on. Calls that
do not run on symbolic tensors are one call of the graph, the model itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, reason_of
from keras_erf.graph.calls import Given, Node, Shape
from keras_erf.graph.graph import Graph
from keras_erf.graph.running import stateless
from keras_erf.graph.traces import PAIR, Followed, Trace, definite_tensors
from keras_erf.graph.unrolling import Builder
from keras_erf.types import KerasTensor, Model

__all__ = ["followed_graph", "signature_of"]

# What undefined sizes are while a model is followed for the names of its calls.
TRIALS = (256, 64, 224)
# Arguments of `call` that are not the model's inputs.
OTHER_ARGUMENTS = ("training", "mask")


# --- What a model is called on -------------------------------------------------------------------


def signature_of(model: Model) -> Given | None:
    """The arguments a model was built with or called on, as symbolic tensors; `None` if unknown."""
    if isinstance(model, keras.Function):
        return Given((keras.tree.map_structure(_fresh, model._inputs_struct),))
    for node in model._inbound_nodes[:1]:
        kwargs = {
            name: value
            for name, value in node.arguments.kwargs.items()
            if name not in OTHER_ARGUMENTS
        }
        args, kwargs = keras.tree.map_structure(_fresh, (node.arguments.args, kwargs))
        return Given(args, kwargs)
    shapes = (model.get_build_config() or {}) if model.built else {}
    if shapes:
        return from_shapes(model, shapes)
    spec = model.input_spec
    if isinstance(spec, keras.InputSpec) and spec.shape is not None:
        return from_shapes(model, {"input_shape": spec.shape})
    return None


def from_shapes(model: Model, shapes: Mapping[str, Any]) -> Given:
    """The arguments of `call` from their shapes, batch included.

    Args:
        model: The model.
        shapes: By the argument's name and `_shape`, as Keras notes them; that of one alone may be
            called `input_shape`. They may be nested.
    """
    names = [
        name for name in inspect.signature(model.call).parameters if name not in OTHER_ARGUMENTS
    ]
    if len(shapes) == 1:
        (shape,) = shapes.values()
        return Given((_symbols(shape, names[0] if names else "inputs"),))
    by_name = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    return Given((), {name: _symbols(shape, name) for name, shape in by_name.items()})


def _symbols(shape: Any, name: str) -> Any:
    """Symbolic tensors of some shapes, nested as these are."""
    if isinstance(shape, Mapping):
        return {key: _symbols(one, str(key)) for key, one in shape.items()}
    if all(isinstance(size, (int, type(None))) for size in shape):
        return keras.KerasTensor((None, *shape[1:]), dtype=keras.config.floatx(), name=name)
    return type(shape)(_symbols(one, f"{name}_{place}") for place, one in enumerate(shape))


def _fresh(leaf: Any) -> Any:
    if not isinstance(leaf, keras.KerasTensor):
        return leaf
    return keras.KerasTensor((None, *leaf.shape[1:]), dtype=leaf.dtype, name=leaf.name)


# --- Its graph -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Root:
    """A model as the one call of a graph."""

    model: Model
    given: Given
    assigned: bool

    @property
    def symbols(self) -> list[KerasTensor]:
        return self.given.symbols

    def node(self, outputs: int) -> Node:
        numbers = {id(symbol): number for number, symbol in enumerate(self.symbols)}
        inputs = tuple(range(len(numbers)))
        made = tuple(range(len(inputs), len(inputs) + outputs))
        return Node(self.model.name, self.model, inputs, made, self.given, numbers)

    def graph(self, builder: Builder, outputs: Sequence[int]) -> Graph:
        """The graph of some calls on the model's inputs."""
        inputs = Builder()
        numbers = [inputs.add_tensor(symbol.name, symbol) for symbol in self.symbols]
        every = Builder()
        every.tensors, every.nodes = [*inputs.tensors, *builder.tensors], builder.nodes
        every.layers = dict(builder.layers)
        for number, symbol in zip(numbers, self.symbols, strict=True):
            every.add_key(symbol.name, number)
        if len(outputs) == 1:
            for key in (self.model.name, id(self.model)):
                if key not in every.layers:
                    every.add_key(key, outputs[0])
        return Graph(
            name=self.model.name,
            inputs=tuple(numbers),
            outputs=tuple(outputs),
            nodes=tuple(every.nodes),
            tensors=tuple(every.tensors),
            layers=every.layers,
            channel_axes={number: every.channel_axis(number) for number in numbers},
        )

    def closed(self) -> Graph:
        """The graph of the model as one call."""
        ends: list[Any] = []
        symbols = dict(enumerate(self.symbols))
        try:
            spec = self.model.compute_output_spec
            stateless(lambda: ends.extend(self.node(0).call(symbols, spec)))
        except Exception as error:  # The model is not ours: it raises what it likes.
            shapes = ", ".join(str(tuple(symbol.shape)) for symbol in self.symbols)
            raise InvalidInputError(
                argument="model",
                expected=f"must run on what it was built with: {reason_of(error)}",
                received=f"model={self.model.name!r} for inputs of shape {shapes}",
            ) from error
        builder, node = Builder(len(self.symbols)), self.node(len(ends))
        for end in ends:
            number = builder.add_tensor(self.model.name, end)
            builder.add_key(self.model.name, number)
            builder.add_key(id(self.model), number)
        builder.nodes.append(node)
        return self.graph(builder, node.outputs)

    def trace(self, shapes: Sequence[Shape], *, partly: bool = False) -> Trace:
        dtypes = [keras.backend.standardize_dtype(symbol.dtype) for symbol in self.symbols]
        return Trace(self.node(0), shapes, dtypes, len(dtypes), "", PAIR, partly=partly)

    def opened(self, size: int) -> Graph | None:
        """The graph of the calls inside; `None` if they cannot be followed or run by themselves."""
        shapes = [tuple(one or size for one in symbol.shape[1:]) for symbol in self.symbols]
        trace = self.trace(shapes)
        try:
            made = trace.follow()
            known, reassigned = trace.known(made, assigned=self.assigned)
            if reassigned or (not self.assigned and trace.holds_weights(made)):
                return None
        except Exception:  # The model is not ours: it branches on values, or needs real tensors.
            return None
        base = self.graph(_completed(made, trace, known), made.outputs)
        return replace(base, again=lambda shapes: self.again(base, shapes))

    def again(self, base: Graph, shapes: Sequence[Shape]) -> Graph | None:
        """The graph at other sizes, with the numbers of `base`; `None` if nothing is followed."""
        trace = self.trace(shapes, partly=True)
        try:
            made = trace.follow()
            known, _ = trace.known(made, assigned=self.assigned)
        except Exception:  # It fails before it has called a layer.
            return None
        found = self.graph(_completed(made, trace, known), made.outputs)
        places = {node.name: node for node in base.nodes}
        numbers = {number: number for number in base.inputs}
        for node in found.nodes:
            like = places.get(node.name)
            if like is None or len(like.outputs) != len(node.outputs):
                raise InvalidInputError(
                    argument="input_shape",
                    expected=f"changes what the model calls: {node.name!r} is new",
                    remedy="Build the model at this size first",
                    received=f"inputs of shape {', '.join(map(str, shapes))}",
                )
            numbers.update(zip(node.outputs, like.outputs, strict=True))
        tensors, left = list(base.tensors), {node.name for node in found.nodes}
        for number, own in numbers.items():
            tensors[own] = found.tensors[number]
        for number, shape in zip(base.inputs, shapes, strict=True):
            tensors[number] = replace(tensors[number], shape=shape)
        reason = "" if made.reason is None else reason_of(made.reason)
        return replace(
            base,
            nodes=tuple(
                replace(
                    node,
                    inputs=tuple(numbers[one] for one in node.inputs),
                    outputs=tuple(numbers[one] for one in node.outputs),
                    numbers={key: numbers[one] for key, one in node.numbers.items()},
                )
                for node in found.nodes
            )
            + tuple(node for node in base.nodes if node.name not in left),
            tensors=tuple(tensors),
            failures={
                number: reason
                for node in base.nodes
                if node.name not in left
                for number in node.outputs
            },
        )


def followed_graph(model: Model, given: Given, *, assigned: bool = True) -> Graph:
    """The graph of a model that is its own code; the model itself stays as it is.

    Args:
        model: The model, built.
        given: What it is called on.
        assigned: Whether zeros among the weights count, and the weights stay.

    Raises:
        InvalidInputError: It cannot be called on that.
    """
    root = _Root(model, given, assigned)
    free = any(None in symbol.shape[1:] for symbol in root.symbols)
    for size in TRIALS[: None if free else 1]:
        graph = root.opened(size)
        if graph is not None:
            return graph
    return root.closed()


def _completed(made: Followed, trace: Trace, known: Mapping[int, Any]) -> Builder:
    """The calls that were followed, with definite shapes and where they are from."""
    builder = made.builder
    builder.tensors = definite_tensors(builder, trace.specs)
    builder.nodes = [replace(node, known=known, trace=trace) for node in builder.nodes]
    return builder
