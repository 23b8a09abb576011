"""How each call of a graph sees its inputs: by its rule, without what is known to be zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.views import AnyView
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.measured import measured
from keras_erf.errors import UnsupportedLayerError
from keras_erf.fields.constant_propagation import known_after
from keras_erf.fields.opened_layers import OpenedLayers
from keras_erf.fields.shapes import Shapes
from keras_erf.graph import PAIR, Graph, Node
from keras_erf.layers.table import find_rule, views
from keras_erf.layers.wrappers import lifted

__all__ = ["Dependences"]


class Dependences:
    """Views of the inputs of calls, found once for each call.

    Args:
        graph: The graph.
        shapes: Shapes of its tensors.
        opened: The layers that were opened.
        rules: The user's own rules, by layer class; they come first.
        assigned: Whether zeros among the weights count.
    """

    def __init__(
        self,
        graph: Graph,
        shapes: Shapes,
        opened: OpenedLayers,
        rules: Mapping[type, Rule],
        *,
        assigned: bool,
    ) -> None:
        self._graph = graph
        self._shapes = shapes
        self._opened = opened
        self._rules = rules
        self._assigned = assigned
        self._views: dict[Node, tuple[AnyView, ...]] = {}
        # What is known of tensors' values beforehand.
        self.values: dict[int, np.ndarray] = {}

    def of(self, node: Node) -> tuple[AnyView, ...]:
        """How a call sees all of its inputs, those too that the analysed one does not lead to.

        Raises:
            UnsupportedLayerError: No rule knows, and it cannot be measured.
            InvalidInputError: A tensor has no shape at the current input size.
        """
        if node not in self._views:
            call = self.call(node)
            relations = views(call, node.kind, self._rules)
            if not node.lead and node.kind not in self._rules:
                relations = self._without_zeros(node, call, relations)
            for steps in reversed(self._shapes.of(node.inputs[0])[: node.lead]):
                relations = tuple(_over_time(node, view, steps) for view in relations)
            self._views[node] = relations
        return self._views[node]

    def call(self, node: Node) -> Call:
        """What a rule takes: facts about a call; of one repeated over time, about one step."""
        batch = PAIR if self._opened.is_bound(node) else None
        return Call(
            node.name,
            node.operation,
            inputs=tuple(self._shapes.of(tensor)[node.lead :] for tensor in node.inputs),
            outputs=tuple(self._shapes.of(tensor)[node.lead :] for tensor in node.outputs),
            dtypes=tuple(self._shapes.tensors[tensor].dtype for tensor in node.inputs),
            batch=self._graph.batch or batch,
            filled=node.filled_arguments,
            run=self._graph.runner(node),
            known=() if node.lead else tuple(map(self.values.get, node.inputs)),
            drawn=node.known,
            assigned=self._assigned,
        )

    def is_unknown(self, node: Node) -> bool:
        """Whether keras-erf has no rule for a call: the user's applies, or it was measured."""
        return node.kind in self._rules or find_rule(node.kind) in (None, measured)

    def _without_zeros(
        self, node: Node, call: Call, relations: tuple[AnyView, ...]
    ) -> tuple[AnyView, ...]:
        """The views of a call without the outputs that are zero for every input."""
        known = known_after(call, node.kind)
        pairs = zip(node.outputs, known, strict=True)
        self.values.update((output, values) for output, values in pairs if values is not None)
        seeing: list[AnyView] = []
        for view in relations:
            values = known[view.output]
            zeros = None if values is None else (values == 0) | np.isinf(values)
            if zeros is None or not zeros.any():
                seeing.append(view)
            elif not zeros.all():
                holes = MaskedView(~zeros, output=view.output)
                seeing += chained([view], call.outputs[view.output], [holes])
        return tuple(seeing)


def _over_time(node: Node, view: AnyView, steps: int) -> AnyView:
    over_time = lifted(view, steps)
    if over_time is None:
        raise UnsupportedLayerError(
            expected=f"No rule states what layer {node.name!r} sees step by step"
        )
    return over_time
