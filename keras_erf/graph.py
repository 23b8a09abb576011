"""A Keras model as a flat, ordered list of calls on tensors.

Nested Functional and Sequential models are unrolled, shared layers appear once
per call, and every tensor has a number. This is the only module that reads
Keras's private structures (`_nodes_by_depth`, `_functional`, `_keras_history`
and the nodes' `arguments`); `tests/test_graph.py` fails loudly when they change.

Running the graph calls the user's own layers on plain tensors in a stateless
scope: no node is added to a layer, no variable is written, no loss recorded.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, UnknownLayerError

__all__ = ["PAIR", "Argument", "Graph", "Node", "Tensor", "build_graph", "learned_weights"]

Shape = tuple[int | None, ...]

# Where a `call` that merely runs the graph is defined; any other `call` runs other code.
_GRAPH_MODULES = ("keras.src.models.functional", "keras.src.ops.function")
_OPERATIONS = "keras.src.ops."
_CONVOLUTIONAL_LSTMS = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)
# Samples of a batch on which layers are looked into: enough to show whether one sees another.
PAIR = 2


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
    """

    name: str
    operation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: Any = field(repr=False)
    numbers: Mapping[int, int] = field(repr=False)

    @property
    def kind(self) -> type | str:
        """What the rules are looked up by: a layer's class, or `"ops.Add"` for an operation."""
        kind = type(self.operation)
        return f"ops.{kind.__name__}" if kind.__module__.startswith(_OPERATIONS) else kind

    def call(self, values: Mapping[int, Any], run: Callable[..., Any]) -> list[Any]:
        """Outputs of `run(*args, **kwargs)` with the call's tensors taken from `values`."""

        def fill(argument: Any) -> Any:
            if isinstance(argument, keras.KerasTensor):
                return values[self.numbers[id(argument)]]
            return argument

        args, kwargs = self.arguments.convert(fill)
        return keras.tree.flatten(run(*args, **kwargs))

    def filled_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments, each tensor replaced by its number."""
        places = {number: Argument(place) for place, number in enumerate(self.inputs)}
        found: list[Any] = []
        self.call(places, lambda *args, **kwargs: found.extend((args, kwargs)))
        return tuple(found[0]), found[1]

    def channel_axis(self, rank: int) -> int | None:
        """Channel axis on tensors of `rank` axes, or `None` for a layer that has no say."""
        data_format = getattr(self.operation, "data_format", None)
        if data_format is None:
            return None
        if data_format != "channels_first":
            return rank - 1
        # Steps in time come before the channels.
        recurrent = isinstance(self.operation, _CONVOLUTIONAL_LSTMS)
        return rank - 1 - self.operation.cell.rank if recurrent else 0


@dataclass(frozen=True, eq=False)
class Graph:
    """A model's calls in the order they run.

    Args:
        name: Name of the model.
        inputs: Numbers of the input tensors.
        outputs: Numbers of the output tensors.
        nodes: The calls, each after those it depends on.
        tensors: All tensors; a tensor's number is its place here.
        layers: Numbers of the tensors a layer name, layer or symbolic tensor
            stands for, by name or by `id`; one for each call.
        channel_axes: Channel axis of each input tensor, the batch not counted.
        batch: Fixed batch size of the model, or `None`.
        failures: Why a tensor has no shape at the asked input size, by number.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    layers: Mapping[str | int, tuple[int, ...]] = field(repr=False)
    channel_axes: Mapping[int, int] = field(repr=False)
    batch: int | None = None
    failures: Mapping[int, str] = field(default_factory=dict, repr=False)

    def find(self, layer: Any) -> int:
        """Number of the tensor that `layer` (a name, path, `Layer` or `KerasTensor`) stands for.

        Raises:
            UnknownLayerError: No such layer; the nearest names are listed.
        """
        found = self.layers.get(layer if isinstance(layer, str) else id(layer), ())
        if len(found) == 1:
            return found[0]
        given = layer if isinstance(layer, str) else str(getattr(layer, "name", type(layer)))
        names = [name for name in self.layers if isinstance(name, str)]
        calls = [self.tensors[number].name for number in found] or [
            name for name in names if ":" in name and _without_calls(name) == given
        ]
        if calls:
            raise UnknownLayerError(
                f"`layer` {given!r} is called {len(calls)} times: name one of "
                f"{', '.join(calls)}. Received: layer={given!r} for model {self.name!r}"
            )
        near = difflib.get_close_matches(given, names, n=5, cutoff=0.4) or names[-5:]
        raise UnknownLayerError(
            "`layer` must be a layer of the model: a name, a path such as 'backbone/conv1', a "
            f"layer or a symbolic tensor. Nearest names: {', '.join(near)}. "
            f"Received: layer={given!r} for model {self.name!r}"
        )

    def input_number(self, name: str | None) -> int:
        """Number of the input called `name`; `None` stands for the first one.

        Raises:
            InvalidInputError: The model has no such input.
        """
        if name is None:
            return self.inputs[0]
        names = [self.tensors[number].name for number in self.inputs]
        if name not in names:
            raise InvalidInputError(
                f"`input` must name an input of the model: {', '.join(names)}. "
                f"Received: input={name!r}"
            )
        return self.inputs[names.index(name)]

    def ancestors(self, target: int) -> tuple[Node, ...]:
        """The calls `target` depends on, in the order they run."""
        needed = {target}
        chosen = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                chosen.append(node)
        return tuple(reversed(chosen))

    def spatial_axes(self, number: int) -> tuple[int, ...]:
        """Spatial axes of an input tensor, the batch not counted."""
        rank = len(self.tensors[number].shape)
        return tuple(axis for axis in range(rank) if axis != self.channel_axes[number])

    def resized(self, sizes: Mapping[int, Sequence[int]]) -> Graph:
        """The graph with the input tensors of `sizes` given those spatial shapes.

        Shapes are inferred call by call with Keras's own `compute_output_spec`;
        a call that cannot take its input (a `Reshape` of fixed size, say)
        leaves its outputs without a shape and its reason in `failures`.
        """
        specs: dict[int, keras.KerasTensor] = {}
        for number in self.inputs:
            shape = list(self.tensors[number].shape)
            if number in sizes:
                for axis, size in zip(self.spatial_axes(number), sizes[number], strict=True):
                    shape[axis] = int(size)
            dtype = self.tensors[number].dtype
            specs[number] = keras.KerasTensor((self.batch, *shape), dtype=dtype, name="input")
        failures: dict[int, str] = {}

        def infer() -> None:
            for node in self.nodes:
                lost = [number for number in node.inputs if number in failures]
                try:
                    if lost:
                        raise ValueError(failures[lost[0]])
                    made = node.call(specs, _specifier(node.operation))
                except Exception as error:  # Keras raises what it likes; the reason is kept.
                    reason = failures[lost[0]] if lost else f"{node.name}: {_first_line(error)}"
                    failures.update(dict.fromkeys(node.outputs, reason))
                    continue
                specs.update(zip(node.outputs, made, strict=True))

        _enter(infer)
        tensors = tuple(
            replace(tensor, shape=tuple(specs[number].shape[1:])) if number in specs else tensor
            for number, tensor in enumerate(self.tensors)
        )
        return replace(self, tensors=tensors, failures=failures)

    def random_states(self) -> list[Any]:
        """The variables that layers' random draws start from (dropout and its kin)."""
        layers = {id(node.operation): node.operation for node in self.nodes}.values()
        every = [
            inner
            for layer in layers
            if isinstance(layer, keras.Layer)
            for inner in layer._flatten_layers()
        ]
        return [generator.state for one in every for generator in one._seed_generators]

    def opened(
        self, node: Node, shapes: Sequence[Shape], dtypes: Sequence[str], first: int
    ) -> tuple[list[Node], list[Tensor]] | None:
        """The calls inside a layer, as its own `call` makes them on symbolic tensors.

        Nothing is left behind in the layers that it calls. The last calls make
        the outputs of `node`, for a batch of `PAIR` samples unless the model has
        a size of its own.

        Args:
            node: A call of a layer.
            shapes: Definite shapes of its inputs, the batch not counted.
            dtypes: Names of their dtypes.
            first: Number of the first new tensor.

        Returns:
            The calls and the new tensors; `None` where `call` does not run on
            symbolic tensors.
        """
        layer, batch = node.operation, self.batch or PAIR
        specs = {
            number: keras.KerasTensor((batch, *shape), dtype=dtype)
            for number, shape, dtype in zip(node.inputs, shapes, dtypes, strict=True)
        }
        made: list[Any] = []
        inner = layer._flatten_layers()
        before = [(one, len(one._inbound_nodes), len(one._outbound_nodes)) for one in inner]
        try:
            with keras.StatelessScope():
                _enter(lambda: made.extend(_followed(node, specs)))
            function = keras.Function(list(specs.values()), made)
            builder = _Builder(first)
            ends = builder.unroll(function, node.inputs, prefix=f"{node.name}/")
        except Exception:  # The layer is not ours: it branches on values, or needs real tensors.
            return None
        finally:
            for one, inbound, outbound in before:
                del one._inbound_nodes[inbound:], one._outbound_nodes[outbound:]
        names = dict(zip(ends, node.outputs, strict=True))
        nodes = [
            replace(
                one,
                inputs=tuple(names.get(number, number) for number in one.inputs),
                outputs=tuple(names.get(number, number) for number in one.outputs),
                numbers={key: names.get(number, number) for key, number in one.numbers.items()},
            )
            for one in builder.nodes
        ]
        return nodes, builder.tensors

    def runner(self, node: Node) -> Callable[..., list[Any]]:
        """A function that runs one call by itself.

        It takes the values of the call's inputs, with a batch axis, and `state`
        as in `run`; it gives the values of the outputs.
        """

        def run(values: Sequence[Any], *, state: Sequence[tuple[Any, Any]] = ()) -> list[Any]:
            known = dict(zip(node.inputs, values, strict=True))
            made: list[Any] = []
            with keras.StatelessScope(state_mapping=list(state)):
                _enter(lambda: made.extend(_called(node, known, training=False)))
            return made

        return run

    def run(
        self,
        values: Mapping[int, Any],
        wanted: Iterable[int],
        *,
        training: bool = False,
        state: Sequence[tuple[Any, Any]] = (),
    ) -> dict[int, Any]:
        """Values of the `wanted` tensors, given the input tensors' `values`.

        Args:
            values: Backend tensors with a batch axis, by number.
            wanted: Numbers of the tensors to compute.
            training: Whether layers run in training mode.
            state: Pairs of a variable and the value to read in its place.

        Returns:
            The value of each wanted tensor, by number.
        """
        wanted = tuple(wanted)
        needed = {node for number in wanted for node in self.ancestors(number)}
        known = dict(values)

        def compute() -> None:
            for node in self.nodes:
                if node in needed:
                    made = _called(node, known, training=training)
                    known.update(zip(node.outputs, made, strict=True))

        with keras.StatelessScope(state_mapping=list(state)):
            _enter(compute)
        return {number: known[number] for number in wanted}


def build_graph(model: Any) -> Graph:
    """The flat graph of a Functional or Sequential Keras model.

    Raises:
        InvalidInputError: `model` is no such model; the remedy is named.
    """
    function = _functional(model)
    if function is None:
        if isinstance(model, keras.Sequential):
            raise InvalidInputError(
                "`model` must be built: call `model.build(input_shape)` or start it with "
                f"`keras.Input`. Received: model={model.name!r}, a Sequential model not yet built"
            )
        if isinstance(model, keras.Model):
            raise InvalidInputError(
                "`model` must be a Functional or Sequential Keras model; a subclassed model has "
                "no graph to read. Wrap its call: keras.Model(x, model.call(x)) with "
                f"x = keras.Input(...). Received: model={model.name!r} of type "
                f"{type(model).__name__}"
            )
        raise InvalidInputError(
            "`model` must be a Keras 3 model. "
            f"Received: model of type {type(model).__module__}.{type(model).__name__}"
        )
    builder = _Builder()
    inputs = []
    for tensor in function.inputs:
        number = builder.add_tensor(tensor.name, tensor)
        for key in (tensor.name, id(tensor), id(tensor._keras_history.operation)):
            builder.add_key(key, number)
        inputs.append(number)
    outputs = builder.unroll(function, inputs, prefix="")
    batches = {tensor.shape[0] for tensor in function.inputs} - {None}
    return Graph(
        name=model.name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=tuple(builder.nodes),
        tensors=tuple(builder.tensors),
        layers=builder.layers,
        channel_axes={number: builder.channel_axis(number) for number in inputs},
        batch=min(batches) if batches else None,
    )


def learned_weights(layer: keras.Layer) -> list[Any]:
    """The weights of a layer that training changes, frozen ones included."""
    return [weight for one in layer._flatten_layers() for weight in one._trainable_variables]


class _Builder:
    """Collects nodes and tensors while nested models are unrolled."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.layers: dict[str | int, tuple[int, ...]] = {}

    def add_tensor(self, name: str, tensor: Any) -> int:
        shape = tuple(tensor.shape[1:])
        self.tensors.append(Tensor(name, shape, keras.backend.standardize_dtype(tensor.dtype)))
        return self.first + len(self.tensors) - 1

    def unroll(self, function: Any, inputs: Sequence[int], prefix: str) -> list[int]:
        """Adds the calls inside `function`, whose inputs are `inputs`; returns its outputs."""
        numbers = {
            id(tensor): number for tensor, number in zip(function.inputs, inputs, strict=True)
        }
        by_depth = function._nodes_by_depth
        ordered = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        calls = [node for node in ordered if not node.is_input and node.operation is not None]
        total: dict[int, int] = {}
        for node in calls:
            total[id(node.operation)] = total.get(id(node.operation), 0) + 1
        seen: dict[int, int] = {}
        for node in calls:
            operation = node.operation
            name = prefix + operation.name
            if total[id(operation)] > 1:
                seen[id(operation)] = seen.get(id(operation), -1) + 1
                name = f"{name}:{seen[id(operation)]}"
            made = self._add_call(node, name, numbers)
            numbers.update((id(t), n) for t, n in zip(node.outputs, made, strict=True))
            # One name for one tensor: a layer of several outputs is addressed by its tensors.
            if len(made) == 1:
                self.add_key(name, made[0])
                self.add_key(id(operation), made[0])
            for tensor, number in zip(node.outputs, made, strict=True):
                self.add_key(id(tensor), number)
        return [numbers[id(tensor)] for tensor in function.outputs]

    def add_key(self, key: str | int, number: int) -> None:
        """Lets `key` stand for a tensor, besides those it stands for already."""
        self.layers[key] = (*self.layers.get(key, ()), number)

    def _add_call(self, node: Any, name: str, numbers: Mapping[int, int]) -> list[int]:
        used = [numbers[id(tensor)] for tensor in node.input_tensors]
        nested = _functional(node.operation)
        if nested is not None:
            given = node.arguments.args[0] if node.arguments.args else None
            model = isinstance(nested, keras.Model)
            if isinstance(given, dict) and model and not isinstance(nested.input, dict):
                # Keras goes by name here, and not by place.
                used = [numbers[id(given[tensor.name])] for tensor in nested.inputs]
            return self.unroll(nested, used, prefix=f"{name}/")
        made = [self.add_tensor(name, tensor) for tensor in node.outputs]
        own = {id(tensor): numbers[id(tensor)] for tensor in node.input_tensors}
        self.nodes.append(Node(name, node.operation, tuple(used), tuple(made), node.arguments, own))
        return made

    def channel_axis(self, number: int) -> int:
        """Channel axis of an input: what the first layer that has a data format says."""
        rank = len(self.tensors[number].shape)
        # Place of the input's axes in each tensor that still has them all.
        axes = {number: tuple(range(rank))}
        for node in self.nodes:
            source = next((axes[one] for one in node.inputs if one in axes), None)
            if source is None:
                continue
            own = node.channel_axis(rank)
            if own is not None:
                return source[own]
            if isinstance(node.operation, keras.layers.Permute):
                source = tuple(source[axis - 1] for axis in node.operation.dims)
            same_rank = [out for out in node.outputs if len(self.tensors[out].shape) == rank]
            axes.update(dict.fromkeys(same_rank, source))
        return rank - 1


class _Entry(keras.Layer):
    """Stands for the model whose layers are called.

    The outermost layer of a call drops the losses it recorded before; this one
    is outermost, so that the user's layers keep theirs.
    """

    def call(self, *, action: Callable[[], None]) -> None:
        """Runs `action` inside Keras's call context."""
        action()


def _enter(action: Callable[[], None]) -> None:
    # Of one plain precision: the layers bring their own.
    _Entry(name="graph", dtype="float32")(action=action)


def _followed(node: Node, specs: Mapping[int, Any]) -> list[Any]:
    """Symbolic outputs of a layer's own `call`, at inference."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if "training" in inspect.signature(node.operation.call).parameters:
            kwargs["training"] = False
        return node.operation.call(*args, **kwargs)

    made: list[Any] = []
    for tensor in node.call(specs, run):
        # What is handed on as it came, or twice, gets a call of its own that makes it.
        known = any(tensor is one for one in (*specs.values(), *made))
        made.append(keras.layers.Identity()(tensor) if known else tensor)
    return made


def _specifier(operation: Any) -> Callable[..., Any]:
    """What infers the outputs of a call; of a layer that only knows shapes, without detours."""
    plain = (
        isinstance(operation, keras.Layer)
        and type(operation).compute_output_spec is keras.Layer.compute_output_spec
        and not getattr(operation.compute_output_shape, "_is_default", False)
    )
    if not plain:
        return operation.compute_output_spec

    def infer(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or not isinstance(args[0], keras.KerasTensor):
            return operation.compute_output_spec(*args, **kwargs)
        shape = operation.compute_output_shape(args[0].shape)
        if not all(isinstance(size, (int, type(None))) for size in shape):
            return operation.compute_output_spec(*args)
        return keras.KerasTensor(shape, dtype=operation.compute_dtype, name="output")

    return infer


def _called(node: Node, values: Mapping[int, Any], *, training: bool) -> list[Any]:
    """The outputs of a call on plain values."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if "training" in getattr(node.operation, "_call_context_args", ()):
            kwargs["training"] = training
        return node.operation(*args, **kwargs)

    return node.call(values, run)


def _functional(model: Any) -> Any:
    """The graph of calls behind a model, or `None` if it has none (or runs other code)."""
    if isinstance(model, keras.Sequential):
        return model._functional if type(model).call is keras.Sequential.call else None
    if isinstance(model, keras.Function) and type(model).call.__module__ in _GRAPH_MODULES:
        return model
    return None


def _without_calls(path: str) -> str:
    """The path with the call numbers of shared layers left out."""
    return "/".join(part.partition(":")[0] for part in path.split("/"))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
