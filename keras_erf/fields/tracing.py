"""Fields carried forwards over a graph, for every unit at once.

Each tensor knows what its units see along each axis of the input (its reach): what several
paths see is united, so skip connections, misaligned branches, padding at the real resolution
and several inputs need no special case. This module knows no layers; the rules do.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from keras_erf.algebra.intervals import Line
from keras_erf.algebra.propagation import TensorField, ViewStep, carried, is_global
from keras_erf.algebra.views import AnyView
from keras_erf.dependence.call import Call, Rule
from keras_erf.errors import InvalidInputError, UnsupportedLayerError
from keras_erf.fields.channels import ChannelAxes
from keras_erf.fields.dependences import Dependences
from keras_erf.fields.opened_layers import OpenedLayers
from keras_erf.fields.shapes import Shapes
from keras_erf.graph import Graph, Node

__all__ = ["Tracing"]


class Tracing:
    """What units of a graph's tensors see of one of its inputs.

    Args:
        graph: A graph whose tensors have definite shapes.
        input: Number of the input tensor.
        rules: The user's own rules, by layer class; they come first.
        assigned: Whether zeros among the weights count: not if the weights will change.
    """

    def __init__(
        self,
        graph: Graph,
        input: int,
        rules: Mapping[type, Rule] | None = None,
        *,
        assigned: bool = True,
    ) -> None:
        self.input = input
        self.input_axes = graph.spatial_axes(input)
        self.rules = dict(rules or {})
        self._assigned = assigned
        self.shapes = Shapes(graph)
        self._channels = ChannelAxes(graph.channel_axes)
        # The tensor that stands for one inside a layer where the layer is closed.
        self._outer: dict[int, int] = {}
        self._read(graph)
        self._failed: dict[int, UnsupportedLayerError | InvalidInputError] = {}
        # Views that take in all of space where it is still spread out: the global paths.
        self._global: set[tuple[Node, AnyView]] = set()
        start = TensorField(tuple(Line(axis, (0,), (1,), 1) for axis in self.input_axes))
        self._local: dict[int, TensorField] = {input: start}
        self._entire: dict[int, TensorField] = {input: start}
        self._reached = {input}
        for node in graph.nodes:
            if self._reached.intersection(node.inputs):
                self._reached.update(node.outputs)

    def _read(self, graph: Graph) -> None:
        """Takes the calls of a graph."""
        self.graph = graph
        self._makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
        self._opened = OpenedLayers(graph, self.shapes, self.rules, assigned=self._assigned)
        self.dependences = Dependences(
            graph, self.shapes, self._opened, self.rules, assigned=self._assigned
        )

    def over(self, graph: Graph) -> Tracing:
        """The same fields over the same calls, made by other layers of the same kinds."""
        other = copy.copy(self)
        other._read(graph)
        other.dependences.values = self.dependences.values
        return other

    def unfolded(self, chosen: Callable[[Node], bool], *, runnable: bool = False) -> Tracing:
        """The same fields, over a graph in which calls inside of layers stand for these.

        Args:
            chosen: Which layers to unfold, of those that can be opened.
            runnable: Whether the calls will be run: a layer that assigns its weights stays closed.
        """
        nodes, layers = list[Node](), dict(self.graph.layers)
        pending = [(node, node) for node in reversed(self.graph.nodes)]
        while pending:
            node, outer = pending.pop()
            calls = self._opened_calls(node) if chosen(node) else []
            if not calls or (runnable and any(inner.reassigned for inner in calls)):
                nodes.append(node)
                continue
            for inner in calls:
                self._outer.update(dict.fromkeys(inner.outputs, outer.outputs[0]))
                for place, output in enumerate(inner.outputs):
                    keys: list[str | int] = [inner.name, id(inner.operation)]
                    if len(inner.outputs) > 1:
                        keys += {self.shapes.tensors[output].name, f"{inner.name}:{place}"}
                    for key in keys:
                        if key not in self.graph.layers:
                            layers[key] = (*layers.get(key, ()), output)
            pending += [(inner, outer) for inner in reversed(calls)]
        for node in self.graph.nodes:
            for output in node.outputs:
                self._outer.pop(output, None)
        return self.rewritten(nodes, layers)

    def rewritten(
        self, nodes: Sequence[Node], layers: Mapping[str | int, tuple[int, ...]]
    ) -> Tracing:
        """The same fields over other calls, which make the same tensors and perhaps more."""
        other = copy.copy(self)
        other.graph = replace(
            self.graph, nodes=tuple(nodes), tensors=tuple(self.shapes.tensors), layers=layers
        )
        other._makers = {tensor: node for node in nodes for tensor in node.outputs}
        return other

    def between(self, node: Node, name: str) -> int:
        """The number of a new tensor of that name, like the output of a call."""
        (output,) = node.outputs
        number = len(self.shapes.tensors)
        self.shapes.tensors.append(replace(self.shapes.tensors[output], name=name))
        self._outer[number] = self.outer(output)
        if self.is_reached(output):
            self._reached.add(number)
        return number

    def _opened_calls(self, node: Node) -> list[Node]:
        """The calls inside a layer on the way from the input, if it can be opened."""
        if not self._reached.intersection(node.inputs):
            return []
        with contextlib.suppress(UnsupportedLayerError, InvalidInputError):
            self._learn(node.outputs[0])
        return self._opened.made(node)

    def outer(self, tensor: int) -> int:
        """The tensor that stands for one inside a layer where the layer is closed."""
        return self._outer.get(tensor, tensor)

    def is_reached(self, tensor: int) -> bool:
        """Whether the input leads to the tensor."""
        return tensor in self._reached

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Definite shape of a tensor, the batch not counted; see `Shapes`."""
        return self.shapes.of(tensor)

    def channel_axis(self, tensor: int) -> int:
        """Channel axis of a tensor that the input leads to, the batch not counted."""
        self._learn(tensor)
        return self._channels.axes[tensor]

    def spatial_axes(self, tensor: int) -> tuple[int, ...]:
        """Spatial axes of a tensor that the input leads to, the batch not counted."""
        channel = self.channel_axis(tensor)
        return tuple([axis for axis in range(len(self.shape(tensor))) if axis != channel])

    def spatial_shape(self, tensor: int) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        shape = self.shape(tensor)
        return tuple([shape[axis] for axis in self.spatial_axes(tensor)])

    def known(self, tensor: int, *, through_global: bool) -> TensorField:
        """What the units of a tensor see.

        Args:
            tensor: Its number; the input leads to it.
            through_global: Whether paths through all of space count.
        """
        self._learn(tensor)
        return (self._entire if through_global else self._local)[tensor]

    def ancestors(self, tensor: int) -> list[Node]:
        """The calls `tensor` depends on, in the order they run; of opened layers those inside."""
        self._learn(tensor)
        return [inner for node in self.graph.ancestors(tensor) for inner in self.inside(node)]

    def inside(self, node: Node) -> list[Node]:
        """The calls inside a layer that was opened, in the order they run; else itself."""
        return self._opened.inside(node)

    def views(self, node: Node, *, through_global: bool) -> list[AnyView]:
        """How a call, carried over before, sees the tensors on the path to the input."""
        return [
            view
            for view in self.dependences.of(node)
            if self.is_reached(node.inputs[view.input])
            and (through_global or (node, view) not in self._global)
        ]

    def call(self, node: Node) -> Call:
        """What a rule takes; see `Dependences`."""
        return self.dependences.call(node)

    def maker(self, tensor: int) -> Node | None:
        """The call that makes a tensor; `None` for an input."""
        return self._makers.get(tensor)

    def _learn(self, tensor: int) -> None:
        """Carries reaches and channel axes as far as `tensor`."""
        pending = [] if tensor in self._local else [tensor]
        while pending:
            last = pending[-1]
            node = self._makers.get(last)
            if last in self._local or node is None:
                pending.pop()
                continue
            sources = [source for source in node.inputs if self.is_reached(source)]
            missing = [source for source in sources if source not in self._local]
            failed = [source for source in (last, *sources) if source in self._failed]
            if not failed and missing:
                pending.extend(missing)
                continue
            try:
                if failed:
                    raise self._failed[failed[0]]
                self._pass(node)
            except (UnsupportedLayerError, InvalidInputError) as error:
                self._failed.update(dict.fromkeys(node.outputs, error))
                if tensor in self._failed:
                    raise
            pending.pop()

    def _pass(self, node: Node) -> None:
        """Carries reaches and channel axes over one call, or over those inside it."""
        if not self._pass_inside(node):
            self._pass_over(node)

    def _pass_inside(self, node: Node) -> bool:
        """Carries everything over the calls inside a layer; whether that was possible."""
        calls = self._opened.calls_of(node)
        if calls is None:
            return False
        try:
            for inner in calls:
                if self._reached.intersection(inner.inputs):
                    self._reached.update(inner.outputs)
                    self._pass(inner)
        except (UnsupportedLayerError, InvalidInputError):
            # As a whole it can still be measured. What was learned of tensors inside is not asked
            # for again; of its outputs nothing may stay.
            for tensor in node.outputs:
                self._local.pop(tensor, None)
                self._entire.pop(tensor, None)
                self._channels.forget(tensor)
            return False
        for tensor in node.outputs:
            if tensor not in self._local:
                # Inside, the input does not lead there.
                self._local[tensor] = self._entire[tensor] = TensorField(None)
                self._channels.axes[tensor] = len(self.shape(tensor)) - 1
        self._opened.replace(node, calls)
        return True

    def _pass_over(self, node: Node) -> None:
        """Carries reaches and channel axes over one call."""
        views = self.views(node, through_global=True)
        sizes = [self.shape(self.input)[axis] for axis in self.input_axes]
        channels = self._channels
        for place, output in enumerate(node.outputs):
            used = [view for view in views if view.output == place]
            shape = self.shape(output)
            channel = channels.carry(node, output, len(shape), used)
            steps, entire = [], []
            for view in used:
                source = node.inputs[view.input]
                local, known = self._local[source], self._entire[source]
                places = self.shape(source), channels.axes[source], shape
                step = ViewStep(view, local, *places)
                if is_global(step):
                    self._global.add((node, view))
                else:
                    steps.append(step)
                entire.append(step if local is known else ViewStep(view, known, *places))
            self._local[output] = self._entire[output] = carried(steps, shape, channel, sizes)
            if entire != steps:
                self._entire[output] = carried(entire, shape, channel, sizes)
