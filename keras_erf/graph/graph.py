"""A model's calls in the order they run, at any input size."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_erf.errors import InvalidInputError, UnknownLayerError
from keras_erf.graph.calls import Node, Shape, Tensor
from keras_erf.graph.running import called, inferred, stateless
from keras_erf.graph.traces import PAIR, opened
from keras_erf.legacy.in_memory import modern_layer
from keras_erf.types import Array, KerasTensor, Layer, State

__all__ = ["PAIR", "Graph"]


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
        again: Of a model that was followed, what follows it at other shapes of its inputs.
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
    again: Callable[[Sequence[Shape]], Graph | None] | None = field(default=None, repr=False)

    def find(self, layer: str | Layer | KerasTensor) -> int:
        """Number of the tensor that `layer` (a name, path, `Layer` or `KerasTensor`) stands for.

        Raises:
            UnknownLayerError: No such layer; the nearest names are listed.
        """
        layer = modern_layer(layer)
        numbers = self.layers.get(layer if isinstance(layer, str) else id(layer), ())
        if len(numbers) == 1:
            return numbers[0]
        wanted = layer if isinstance(layer, str) else str(getattr(layer, "name", repr(layer)))
        names = [name for name in self.layers if isinstance(name, str)]
        calls = self._choices(wanted, numbers) or [
            name for name in names if ":" in name and _without_calls(name) == wanted
        ]
        if calls:
            starts = tuple(node.name for node in self.nodes)
            repeated = all(
                any(f"{start}/".startswith(f"{one}/") for start in starts) for one in calls
            )
            why = f"is called {len(calls)} times" if repeated else f"has {len(calls)} outputs"
            raise UnknownLayerError(
                argument="layer",
                expected=f"{wanted!r} {why}: name one of {', '.join(calls)}",
                received=f"layer={wanted!r} for model {self.name!r}",
            )
        near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.4)
        hint = f"Nearest names: {', '.join(near)}" if near else f"The last: {', '.join(names[-5:])}"
        raise UnknownLayerError(
            argument="layer",
            expected="must be a layer of the model: a name, a path such as "
            "'backbone/conv1', a layer or a symbolic tensor",
            remedy=hint,
            received=f"layer={wanted!r} for model {self.name!r}",
        )

    def _choices(self, wanted: str, numbers: Sequence[int]) -> list[str]:
        """A name for each of some tensors that one name stands for."""
        own = [
            name
            for name in self.layers
            if isinstance(name, str)
            and name.startswith(f"{wanted}:")
            and name.count("/") == wanted.count("/")
        ]
        return [
            next(
                (name for name in own if self.layers[name] == (number,)), self.tensors[number].name
            )
            for number in numbers
        ]

    def input_number(self, name: str | None) -> int:
        """Number of the input called `name`; `None` stands for the first one with spatial axes.

        Raises:
            InvalidInputError: The model has no such input.
        """
        if name is None:
            return next((one for one in self.inputs if self.spatial_axes(one)), self.inputs[0])
        names = [self.tensors[number].name for number in self.inputs]
        if name not in names:
            raise InvalidInputError(
                argument="input",
                expected=f"must name an input of the model: {', '.join(names)}",
                received=f"input={name!r}",
            )
        return self.inputs[names.index(name)]

    def ancestors(self, *targets: int) -> tuple[Node, ...]:
        """The calls that any of some tensors depends on, in the order they run."""
        needed = set(targets)
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                nodes.append(node)
        return tuple(reversed(nodes))

    def spatial_axes(self, number: int) -> tuple[int, ...]:
        """Spatial axes of an input tensor, the batch not counted."""
        rank = len(self.tensors[number].shape)
        return tuple(axis for axis in range(rank) if axis != self.channel_axes[number])

    def resized(self, sizes: Mapping[int, Sequence[int]]) -> Graph:
        """The graph with the input tensors of `sizes` given those spatial shapes.

        Shapes are inferred call by call with Keras's own `compute_output_spec`;
        a call that cannot take its input (such as a `Reshape` of fixed size)
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
        if self.again is not None:
            followed = self.again([tuple(specs[number].shape[1:]) for number in self.inputs])
            if followed is not None:
                return followed
        specs, failures = inferred(self.nodes, specs)
        tensors = tuple(
            Tensor(tensor.name, tuple(specs[number].shape[1:]), tensor.dtype)
            if number in specs
            else tensor
            for number, tensor in enumerate(self.tensors)
        )
        return replace(self, tensors=tensors, failures=failures)

    def random_states(self) -> list[Any]:
        """The variables that layers' random draws start from (dropout and similar layers)."""
        layers = {id(node.operation): node.operation for node in self.nodes}.values()
        inner_layers = [
            inner
            for layer in layers
            if isinstance(layer, keras.Layer)
            for inner in layer._flatten_layers()
        ]
        return [generator.state for layer in inner_layers for generator in layer._seed_generators]

    def opened(
        self,
        node: Node,
        shapes: Sequence[Shape],
        dtypes: Sequence[str],
        output_shapes: Sequence[Shape],
        first: int,
        *,
        assigned: bool = True,
    ) -> tuple[list[Node], list[Tensor]] | None:
        """The calls inside a layer, as its own `call` makes them on symbolic tensors.

        Nothing is left behind in the layers that it calls. The last calls make
        the outputs of `node`, for a batch of `PAIR` samples unless the model has
        a size of its own.

        Args:
            node: A call of a layer.
            shapes: Definite shapes of its inputs, the batch not counted.
            dtypes: Names of their dtypes.
            output_shapes: Shapes of its outputs.
            first: Number of the first new tensor.
            assigned: Whether zeros among the weights count.

        Returns:
            The calls and the new tensors; `None` where `call` does not run on
            symbolic tensors, or makes other outputs than these.
        """
        return opened(
            node, shapes, dtypes, output_shapes, first, batch=self.batch, assigned=assigned
        )

    def runner(self, node: Node) -> Callable[..., list[Array]]:
        """A function that runs one call by itself.

        It takes the values of the call's inputs, with a batch axis, and `state`,
        pairs of a variable and the value to read in its place; it gives the
        values of the outputs. Constants that a layer computed from its weights are
        drawn at random, as far as they are not known, where a `state` is given.
        """
        rng = np.random.default_rng(5)

        def constant(argument: Any) -> Any:
            known = node.known.get(id(argument))
            if known is None or isinstance(argument, keras.Variable):
                return argument
            drawn = np.where(np.isnan(known), rng.standard_normal(known.shape), known)
            return keras.ops.cast(drawn, argument.dtype)

        def run(values: Sequence[Array], *, state: State | None = None) -> list[Array]:
            known = dict(zip(node.inputs, values, strict=True))
            outputs: list[Any] = []
            own = (lambda argument: argument) if state is None else constant

            def action() -> None:
                outputs.extend(called(node, known, training=False, constant=own))

            stateless(action, state or ())
            return outputs

        return run


def _without_calls(path: str) -> str:
    """The path with the call numbers of shared layers left out."""
    return "/".join(part.partition(":")[0] for part in path.split("/"))
