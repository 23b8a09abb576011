"""Layers without a rule that were opened: the calls inside take their place."""

from __future__ import annotations

from collections.abc import Mapping

from keras_erf.dependence.call import Rule
from keras_erf.fields.shapes import Shapes
from keras_erf.graph import Graph, Node
from keras_erf.layers.table import is_unknown

__all__ = ["OpenedLayers"]


class OpenedLayers:
    """The calls inside layers of a graph, as far as these could be traced.

    Args:
        graph: The graph.
        shapes: Shapes of its tensors; those inside of opened layers are added.
        rules: The user's own rules, by layer class: these layers stay closed.
        assigned: Whether zeros among the weights count.
    """

    def __init__(
        self, graph: Graph, shapes: Shapes, rules: Mapping[type, Rule], *, assigned: bool
    ) -> None:
        self._graph = graph
        self._shapes = shapes
        self._rules = rules
        self._assigned = assigned
        self._calls: dict[Node, list[Node]] = {}
        self._inner: set[Node] = set()

    def calls_of(self, node: Node) -> list[Node] | None:
        """The calls that a layer without a rule makes; `None` if they cannot be traced."""
        if not is_unknown(node.operation, self._rules):
            return None
        shapes = [self._shapes.of(tensor) for tensor in node.inputs]
        dtypes = [self._shapes.tensors[tensor].dtype for tensor in node.inputs]
        output_shapes = [self._shapes.of(tensor) for tensor in node.outputs]
        count = len(self._shapes.tensors)
        opened = self._graph.opened(
            node, shapes, dtypes, output_shapes, count, assigned=self._assigned
        )
        if opened is None:
            return None
        calls, tensors = opened
        self._shapes.tensors.extend(tensors)
        self._inner.update(calls)
        return calls

    def replace(self, node: Node, calls: list[Node]) -> None:
        """Puts calls in place of the layer that makes them."""
        self._calls[node] = calls

    def inside(self, node: Node) -> list[Node]:
        """The calls inside a layer that was opened, in the order they run; else itself."""
        if node not in self._calls:
            return [node]
        return [call for inner in self._calls[node] for call in self.inside(inner)]

    def made(self, node: Node) -> list[Node]:
        """The calls that a layer makes, if it was opened; none of them is opened in turn."""
        return self._calls.get(node, [])

    def is_bound(self, node: Node) -> bool:
        """Whether the size of the batch may be written into a call: an operation in a layer."""
        return node.is_bound or (node in self._inner and isinstance(node.kind, str))
