"""Boxes and masks carried backwards over a graph, from a unit to an input.

One view per call is applied and what several paths see is united; that is right
for skip connections, misaligned branches, padding at the real resolution and
several inputs alike. The walker knows no layer: the rules do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from keras_erf.errors import InvalidInputError, UnsupportedLayerError
from keras_erf.geometry import Box, Link, View
from keras_erf.graph import Graph, Node
from keras_erf.rules import Call, views

__all__ = ["Course", "Seen", "Tracing"]

Unit = tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """How fields move along one axis of the input as the unit moves.

    Args:
        axis: The axis of the unit's tensor that moves them.
        stride: Pixels per unit, on average.
        period: Units after which they have moved by whole pixels on every
            path; in between, up-sampling moves them in jumps.
        steady: Whether all local paths move them so.
    """

    axis: int
    stride: Fraction = Fraction(1)
    period: int = 1
    steady: bool = True

    def after(self, link: Link) -> Course:
        """The course of the output of a layer whose input, on this course, it sees by `link`."""
        assert link.axis is not None
        ratio, period = link.relation.ratio, link.relation.period
        return Course(
            link.axis,
            self.stride * ratio,
            period * (self.period // math.gcd(int(ratio * period), self.period)),
            # Of an axis put together from pieces, one piece alone is followed.
            self.steady and not link.clip,
        )

    def beside(self, other: Course) -> Course:
        """This course where a second path takes another one."""
        together = (self.axis, self.stride) == (other.axis, other.stride)
        return replace(
            self,
            period=math.lcm(self.period, other.period),
            steady=self.steady and other.steady and together,
        )


@dataclass(frozen=True)
class Seen:
    """What a unit sees of a tensor.

    Args:
        box: Unclipped box.
        gathered: Spatial axes of the model's input that some layer on the way
            takes in whole.
    """

    box: Box
    gathered: frozenset[int]


class Tracing:
    """What units of a graph's tensors see of one of its inputs.

    Args:
        graph: A graph whose tensors have definite shapes.
        input: Number of the input tensor.
    """

    def __init__(self, graph: Graph, input: int) -> None:
        self.graph = graph
        self.input = input
        self.input_axes = graph.spatial_axes(input)
        self._makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
        self._views: dict[Node, tuple[View, ...]] = {}
        self._used: dict[tuple[Node, bool], list[tuple[int, View, frozenset[int]]]] = {}
        self._orders: dict[int, tuple[Node, ...]] = {}
        self._channels: dict[int, int] = dict(graph.channel_axes)
        start = {axis: Course(axis) for axis in self.input_axes}
        self._follows: dict[int, dict[int, Course]] = {input: start}
        self._reached = {input}
        for node in graph.nodes:
            if self._reached.intersection(node.inputs):
                self._reached.update(node.outputs)

    def reaches(self, tensor: int) -> bool:
        """Whether the input leads to the tensor."""
        return tensor in self._reached

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Definite shape of a tensor, the batch not counted.

        Raises:
            InvalidInputError: It has none at the input size in force.
        """
        shape = self.graph.tensors[tensor].shape
        if tensor in self.graph.failures or None in shape:
            name = self.graph.tensors[tensor].name
            reason = self.graph.failures.get(tensor, f"{name} has the shape {shape}")
            raise InvalidInputError(
                f"`input_shape` does not fit the model: {reason}. Give another size or choose an "
                f"earlier layer. Received: layer={name!r}"
            )
        return shape  # type: ignore[return-value]

    def spatial_axes(self, tensor: int) -> tuple[int, ...]:
        """Spatial axes of a tensor, the batch not counted."""
        channel = self._channel(tensor)
        return tuple(axis for axis in range(len(self.shape(tensor))) if axis != channel)

    def spatial_shape(self, tensor: int) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        shape = self.shape(tensor)
        return tuple(shape[axis] for axis in self.spatial_axes(tensor))

    def follows(self, tensor: int) -> Mapping[int, Course]:
        """How fields move, for each axis of the input that follows an axis of the tensor."""
        missing = []
        needed = {tensor} - self._follows.keys()
        for node in self._backwards(tensor) if needed else ():
            if needed.intersection(node.outputs):
                used = self._seen_by(node, through_global=False)
                needed |= {source for source, *_ in used} - self._follows.keys()
                missing.append(node)
        for node in reversed(missing):
            found: dict[int, Course] = {}
            for source, view, _ in self._seen_by(node, through_global=False):
                for axis, course in self._follows[source].items():
                    link = view.links[course.axis]
                    if link.axis is not None:
                        course = course.after(link)
                        found[axis] = found[axis].beside(course) if axis in found else course
            self._follows[node.outputs[0]] = found
        return self._follows.get(tensor, {})

    def see(self, tensor: int, unit: Unit, *, through_global: bool) -> Seen | None:
        """What a unit sees of the input's spatial axes; `None` where it sees nothing."""
        full: Box = tuple((index, index + 1) for index in unit)
        channel = self._channel(tensor)
        full = (*full[:channel], (0, self.shape(tensor)[channel]), *full[channel:])
        seen = {tensor: Seen(full, frozenset())}
        for node in self._backwards(tensor):
            if seen.keys().isdisjoint(node.outputs):
                continue
            used = self._seen_by(node, through_global=through_global)
            output = seen[node.outputs[0]]
            for source, view, gathered in used:
                box = view.box(output.box, self.shape(source))
                if box is None:
                    continue
                gathered |= output.gathered
                if source in seen:
                    pairs = zip(box, seen[source].box, strict=True)
                    box = tuple((min(a, c), max(b, d)) for (a, b), (c, d) in pairs)
                    gathered |= seen[source].gathered
                seen[source] = Seen(box, gathered)
        if self.input not in seen:
            return None
        found = seen[self.input]
        return Seen(tuple(found.box[axis] for axis in self.input_axes), found.gathered)

    def mask(self, tensor: int, unit: Unit, *, through_global: bool) -> np.ndarray:
        """Boolean support over the input's spatial axes, exact."""
        start = np.zeros(self.spatial_shape(tensor), dtype=bool)
        start[unit] = True
        seen = {tensor: np.expand_dims(start, self._channel(tensor))}
        for node in self._backwards(tensor):
            if seen.keys().isdisjoint(node.outputs):
                continue
            used = self._seen_by(node, through_global=through_global)
            output, shape = seen[node.outputs[0]], self.shape(node.outputs[0])
            for source, view, _ in used:
                mask = view.mask(output, shape, self.shape(source))
                seen[source] = mask | seen[source] if source in seen else mask
        shape = self.shape(self.input)
        mask = np.broadcast_to(seen.get(self.input, np.zeros(shape, dtype=bool)), shape)
        return np.any(mask, axis=self.graph.channel_axes[self.input])

    def _views_of(self, node: Node) -> tuple[View, ...]:
        if node not in self._views:
            if len(node.outputs) != 1:
                raise UnsupportedLayerError(
                    f"No rule tells the receptive field of layer {node.name!r}: it has "
                    f"{len(node.outputs)} outputs. Choose a layer before it"
                )
            inputs = tuple(self.shape(tensor) for tensor in node.inputs)
            call = Call(node.name, node.operation, inputs, self.shape(node.outputs[0]))
            self._views[node] = views(call, node.kind)
        return self._views[node]

    def _seen_by(
        self, node: Node, *, through_global: bool
    ) -> list[tuple[int, View, frozenset[int]]]:
        """The tensors on the way to the input that a call sees: how, and what axes it gathers."""
        key = (node, through_global)
        if key not in self._used:
            self._used[key] = [
                (source, view, self._gathered(source, view) if through_global else frozenset())
                for view in self._views_of(node)
                if self.reaches(source := node.inputs[view.input])
                and (through_global or not self._gathers_space(source, view))
            ]
        return self._used[key]

    def _backwards(self, tensor: int) -> tuple[Node, ...]:
        """The calls a tensor depends on, last first."""
        if tensor not in self._orders:
            self._orders[tensor] = self.graph.ancestors(tensor)[::-1]
        return self._orders[tensor]

    def _gathers_space(self, tensor: int, view: View) -> bool:
        """Whether the view uses all of a spatial axis of more than one position."""
        shape = self.shape(tensor)
        axes = self.spatial_axes(tensor)
        return any(view.links[axis].axis is None and shape[axis] > 1 for axis in axes)

    def _gathered(self, tensor: int, view: View) -> frozenset[int]:
        """The model input's axes that follow an axis the view uses all of."""
        shape = self.shape(tensor)
        return frozenset(
            axis
            for axis, course in self.follows(tensor).items()
            if view.links[course.axis].axis is None and shape[course.axis] > 1
        )

    def _channel(self, tensor: int) -> int:
        """Channel axis: what the layer says, else where the channels it is given went."""
        chain: list[tuple[int, int]] = []
        while tensor not in self._channels:
            node = self._makers[tensor]
            # A path from the chosen input, if there is one: the others need no rule.
            place = next((p for p, one in enumerate(node.inputs) if self.reaches(one)), 0)
            chain.append((tensor, place))
            tensor = node.inputs[place]
        for made, place in reversed(chain):
            self._channels[made] = self._channel_after(made, place)
            tensor = made
        return self._channels[tensor]

    def _channel_after(self, tensor: int, place: int) -> int:
        """Channel axis of a tensor, given that of its maker's input at `place`."""
        node = self._makers[tensor]
        view = next(view for view in self._views_of(node) if view.input == place)
        rank = len(self.shape(tensor))
        if node.data_format is not None:
            return 0 if node.data_format == "channels_first" else rank - 1
        before = self._channels[node.inputs[place]]
        followed = view.links[before].axis
        if followed is not None:
            return followed
        return before if rank == len(view.links) else rank - 1
