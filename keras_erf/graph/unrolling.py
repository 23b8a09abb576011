"""Keras's own record of calls, nested models unrolled, as nodes with numbered tensors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from keras_erf.graph.calls import Node, Tensor
from keras_erf.types import KerasTensor, Model

__all__ = ["Builder", "Calls", "functional"]

# What Keras appends to the names of operations and layers that have none of their own.
_NUMBER = re.compile(r"(?:_(\d+))?$")
# Where a `call` that merely runs the graph is defined; any other `call` runs other code.
_GRAPH_MODULES = ("keras.src.models.functional", "keras.src.ops.function")


class Calls:
    """The calls behind some symbolic tensors, as a graph of Keras has them.

    Keras's own refuses two layers of one name, and inputs that are not used.

    Args:
        inputs: Symbolic tensors to stop at.
        outputs: Those to start from.
    """

    def __init__(self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> None:
        self.inputs, self.outputs = list(inputs), list(outputs)
        stop, done, ordered = set(map(id, inputs)), set[int](), list[Any]()
        pending = [(tensor, False) for tensor in reversed(self.outputs)]
        while pending:
            tensor, seen = pending.pop()
            if id(tensor) in stop:
                continue
            operation, place, _ = tensor._keras_history
            node = operation._inbound_nodes[place]
            if id(node) in done:
                continue
            if seen:
                done.add(id(node))
                ordered.append(node)
                continue
            pending.append((tensor, True))
            pending += [(source, False) for source in reversed(node.input_tensors)]
        self._nodes_by_depth = {0: ordered}


class Builder:
    """Collects nodes and tensors while nested models are unrolled.

    Args:
        first: Number of the first tensor added.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.layers: dict[str | int, tuple[int, ...]] = {}

    def add_tensor(self, name: str, tensor: KerasTensor) -> int:
        """Adds a symbolic tensor; returns its number."""
        shape = tuple(tensor.shape[1:])
        self.tensors.append(Tensor(name, shape, keras.backend.standardize_dtype(tensor.dtype)))
        return self.first + len(self.tensors) - 1

    def unroll(
        self,
        function: Any,
        inputs: Sequence[int],
        prefix: str,
        *,
        own: Collection[keras.Layer] | None = None,
    ) -> list[int]:
        """Adds the calls inside `function`, whose inputs are `inputs`; returns its outputs.

        Args:
            function: The graph.
            inputs: Numbers of the tensors it is called on.
            prefix: What its names start with.
            own: Of a layer that was followed, the layers inside it: what else it calls is new
                each time, and numbered again.
        """
        numbers = {
            id(tensor): number for tensor, number in zip(function.inputs, inputs, strict=True)
        }
        by_depth = function._nodes_by_depth
        ordered = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        calls = [node for node in ordered if not node.is_input and node.operation is not None]
        total: dict[int, int] = {}
        for node in calls:
            total[id(node.operation)] = total.get(id(node.operation), 0) + 1
        names = {id(node.operation): node.operation.name for node in calls}
        if own is not None:
            names = _numbered([node.operation for node in calls], own)
        counted: dict[int, int] = {}
        for node in calls:
            operation = node.operation
            name = prefix + names[id(operation)]
            if total[id(operation)] > 1:
                counted[id(operation)] = counted.get(id(operation), -1) + 1
                name = f"{name}:{counted[id(operation)]}"
            outputs = self._add_call(node, name, numbers)
            numbers.update((id(t), n) for t, n in zip(node.outputs, outputs, strict=True))
            # A layer of several outputs stands for all of them: each has a name of its own.
            for output, label in zip(outputs, labels(node, len(outputs)), strict=True):
                self.add_key(name, output)
                self.add_key(id(operation), output)
                if label is not None:
                    self.add_key(f"{name}:{label}", output)
                    if functional(operation) is None:
                        self.name_tensor(output, f"{name}:{label}")
            for place, output in enumerate(outputs if len(outputs) > 1 else ()):
                if f"{name}:{place}" not in self.layers:
                    self.add_key(f"{name}:{place}", output)
            for tensor, number in zip(node.outputs, outputs, strict=True):
                self.add_key(id(tensor), number)
        return [numbers[id(tensor)] for tensor in function.outputs]

    def name_tensor(self, number: int, name: str) -> None:
        """Gives a tensor another name."""
        place = number - self.first
        self.tensors[place] = replace(self.tensors[place], name=name)

    def add_key(self, key: str | int, number: int) -> None:
        """Lets `key` stand for a tensor, besides those it stands for already."""
        self.layers[key] = (*self.layers.get(key, ()), number)

    def _add_call(self, node: Any, name: str, numbers: Mapping[int, int]) -> list[int]:
        used = [numbers[id(tensor)] for tensor in node.input_tensors]
        nested = functional(node.operation)
        if nested is not None:
            argument = node.arguments.args[0] if node.arguments.args else None
            model = isinstance(nested, keras.Model)
            if isinstance(argument, dict) and model and not isinstance(nested.input, dict):
                # Keras matches by name here, not by position.
                used = [numbers[id(argument[tensor.name])] for tensor in nested.inputs]
            # Behind the inputs Keras notes their masks, which go along with the tensors.
            return self.unroll(nested, used[: len(nested.inputs)], prefix=f"{name}/")
        outputs = [self.add_tensor(name, tensor) for tensor in node.outputs]
        own = {id(tensor): numbers[id(tensor)] for tensor in node.input_tensors}
        self.nodes.append(
            Node(name, node.operation, tuple(used), tuple(outputs), node.arguments, own)
        )
        return outputs

    def channel_axis(self, number: int) -> int:
        """Channel axis of an input: what the first layer that has a data format says."""
        rank = len(self.tensors[number].shape)
        # Place of the input's axes in each tensor that still has them all.
        axes = {number: tuple(range(rank))}
        for node in self.nodes:
            source = next((axes[source] for source in node.inputs if source in axes), None)
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


def labels(node: Any, count: int) -> list[str | None]:
    """Names that tell the outputs of a call apart: their keys in a dict, or places.

    Of one output that is nothing.
    """
    if count == 1:
        return [None]
    places: list[str | None] = [str(place) for place in range(count)]
    function = functional(node.operation)
    try:
        if function is not None:
            made = function._outputs_struct
        elif isinstance(node.operation, keras.Layer):
            arguments = node.arguments
            made = node.operation.compute_output_spec(*arguments.args, **arguments.kwargs)
        else:
            return places
        found: list[str | None] = list(_paths(made))
    except Exception:  # The layer is the user's; its outputs have places in any case.
        return places
    return found if len(found) == count == len(set(found)) else places


def _paths(made: Any, path: str = "") -> Iterator[str]:
    """The path of each leaf of some outputs, in Keras's order."""
    if isinstance(made, Mapping):
        for key in sorted(made):
            yield from _paths(made[key], f"{path}.{key}" if path else str(key))
    elif isinstance(made, (list, tuple)):
        for place, one in enumerate(made):
            yield from _paths(one, f"{path}.{place}" if path else str(place))
    elif made is not None:
        yield path


def _numbered(operations: Sequence[Any], own: Collection[keras.Layer]) -> dict[int, str]:
    """A name for each operation, by `id`: that of a layer of `own`, others counted from the first.

    Keras counts operations through all models, so that each trace would have other names.
    """
    kept = set(map(id, own))
    unique = {id(operation): operation for operation in operations}
    names, taken = dict[int, str](), set[str]()
    layers = [operation for operation in unique.values() if id(operation) in kept]
    others = [operation for operation in unique.values() if id(operation) not in kept]
    # By the number that Keras gave them, they are in the order in which they were made.
    others.sort(key=lambda operation: int(_NUMBER.search(operation.name)[1] or 0))  # type: ignore[index]
    for operation in (*layers, *others):
        name = operation.name
        if id(operation) not in kept:
            name = _NUMBER.sub("", name, count=1) or name
        free = (name if not n else f"{name}_{n}" for n in itertools.count())
        names[id(operation)] = next(one for one in free if one not in taken)
        taken.add(names[id(operation)])
    return names


def functional(model: Model) -> Any:
    """The graph of calls behind a model, or `None` if it has none (or runs other code)."""
    if isinstance(model, keras.Sequential):
        return model._functional if type(model).call is keras.Sequential.call else None
    if isinstance(model, keras.Function) and type(model).call.__module__ in _GRAPH_MODULES:
        return model
    return None
