"""Boxes and masks carried backwards over a graph, from a unit to an input.

One view per call is applied and what several paths see is united; that is right
for skip connections, misaligned branches, padding at the real resolution and
several inputs alike. The walker knows no layer: the rules do.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from keras_erf.errors import InvalidInputError, UnsupportedLayerError
from keras_erf.geometry import Box, View, union
from keras_erf.graph import Graph, Node
from keras_erf.rules import Call, views

__all__ = ["Tracing"]

Unit = tuple[int, ...]


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
        self._used: dict[tuple[Node, bool], list[tuple[int, View]]] = {}
        self._orders: dict[int, tuple[Node, ...]] = {}
        self._channels: dict[int, int] = dict(graph.channel_axes)
        start = {axis: (axis, Fraction(1)) for axis in self.input_axes}
        self._follows: dict[int, dict[int, tuple[int, Fraction]]] = {input: start}
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

    def follows(self, tensor: int) -> Mapping[int, tuple[int, Fraction]]:
        """For each spatial axis of the input: the tensor's axis that follows it, and the stride."""
        if tensor not in self._follows:
            found: dict[int, tuple[int, Fraction]] = {}
            for source, view in self._seen_by(self._makers[tensor], through_global=False):
                for axis, (own, ratio) in self.follows(source).items():
                    link = view.links[own]
                    if link.axis is not None:
                        found.setdefault(axis, (link.axis, ratio * link.relation.ratio))
            self._follows[tensor] = found
        return self._follows[tensor]

    def box(self, tensor: int, unit: Unit, *, through_global: bool) -> tuple[Box | None, bool]:
        """Unclipped spatial box of the input, and whether a global layer was passed.

        The box is `None` where the unit sees nothing.
        """
        full: Box = tuple((index, index + 1) for index in unit)
        channel = self._channel(tensor)
        full = (*full[:channel], (0, self.shape(tensor)[channel]), *full[channel:])
        seen: dict[int, tuple[Box, bool]] = {tensor: (full, False)}
        for node in self._backwards(tensor):
            if node.outputs[0] not in seen:
                continue
            output, opened = seen[node.outputs[0]]
            for source, view in self._seen_by(node, through_global=through_global):
                box = view.box(output, self.shape(source))
                if box is None:
                    continue
                known, known_opened = seen.get(source, (box, False))
                both = tuple(union(pair) for pair in zip(box, known, strict=True))
                flag = opened or known_opened or self._gathers_space(source, view)
                seen[source] = (both, flag)  # type: ignore[assignment]
        box, opened = seen.get(self.input, (None, False))
        return box and tuple(box[axis] for axis in self.input_axes), opened

    def mask(self, tensor: int, unit: Unit, *, through_global: bool) -> np.ndarray:
        """Boolean support over the input's spatial axes, exact."""
        start = np.zeros(self.spatial_shape(tensor), dtype=bool)
        start[unit] = True
        seen = {tensor: np.expand_dims(start, self._channel(tensor))}
        for node in self._backwards(tensor):
            if node.outputs[0] not in seen:
                continue
            output, shape = seen[node.outputs[0]], self.shape(node.outputs[0])
            for source, view in self._seen_by(node, through_global=through_global):
                mask = view.mask(output, shape, self.shape(source))
                seen[source] = mask | seen[source] if source in seen else mask
        shape = self.shape(self.input)
        mask = np.broadcast_to(seen.get(self.input, np.zeros(shape, dtype=bool)), shape)
        return mask.any(axis=self.graph.channel_axes[self.input])

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

    def _seen_by(self, node: Node, *, through_global: bool) -> list[tuple[int, View]]:
        """The tensors on the way to the input that a call sees, with their views."""
        key = (node, through_global)
        if key not in self._used:
            self._used[key] = [
                (node.inputs[view.input], view)
                for view in self._views_of(node)
                if self.reaches(node.inputs[view.input])
                and (through_global or not self._gathers_space(node.inputs[view.input], view))
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

    def _channel(self, tensor: int) -> int:
        """Channel axis: where the first input's channels went, else where the data format says."""
        if tensor not in self._channels:
            node = self._makers[tensor]
            source = node.inputs[0]
            before = self._channel(source)
            rank = len(self.shape(tensor))
            axis = self._views_of(node)[0].links[before].axis
            if axis is None and node.data_format is not None:
                axis = 0 if node.data_format == "channels_first" else rank - 1
            elif axis is None:
                axis = before if rank == len(self.shape(source)) else rank - 1
            self._channels[tensor] = axis
        return self._channels[tensor]
