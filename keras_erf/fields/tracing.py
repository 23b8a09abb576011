"""Fields carried over a graph: forwards for every unit at once, backwards as masks.

Forwards, each tensor knows what its units see along each axis of the input (its
reach): what several paths see is united, so skip connections, misaligned
branches, padding at the real resolution and several inputs need no special
case. Backwards, a mask of outputs becomes the exact mask of the inputs they see.
This module knows no layers; the rules do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from keras_erf.algebra.geometry import Box
from keras_erf.algebra.intervals import Line
from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.masks import BoxedMask, seen_by, together
from keras_erf.algebra.propagation import TensorField, ViewStep, carried, is_global
from keras_erf.algebra.views import AnyView
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.measured import measured
from keras_erf.errors import InvalidInputError, UnsupportedLayerError
from keras_erf.fields.constant_propagation import known_after
from keras_erf.graph import PAIR, Graph, Node, Tensor
from keras_erf.layers.table import find_rule, is_unknown, views
from keras_erf.layers.wrappers import lifted

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
        self.graph = graph
        self.input = input
        self.input_axes = graph.spatial_axes(input)
        self.rules = dict(rules or {})
        self.assigned = assigned
        self._tensors = list(graph.tensors)
        self._makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
        # The calls inside unknown layers, as far as these could be traced.
        self._inside: dict[Node, list[Node]] = {}
        self._inner: set[Node] = set()
        self._views: dict[Node, tuple[AnyView, ...]] = {}
        # What is known of tensors' values beforehand.
        self._values: dict[int, np.ndarray] = {}
        self._failed: dict[int, UnsupportedLayerError | InvalidInputError] = {}
        self._channels: dict[int, int] = dict(graph.channel_axes)
        # Tensors whose channels were summed away; their last axis is used in their place.
        self._flat: set[int] = set()
        self._spatial: dict[int, tuple[int, ...]] = {}
        # Views that take in all of space where it is still spread out: the global paths.
        self._global: set[tuple[Node, AnyView]] = set()
        start = TensorField(tuple(Line(axis, (0,), (1,), 1) for axis in self.input_axes))
        self._local: dict[int, TensorField] = {input: start}
        self._entire: dict[int, TensorField] = {input: start}
        self._reached = {input}
        for node in graph.nodes:
            if self._reached.intersection(node.inputs):
                self._reached.update(node.outputs)

    def over(self, graph: Graph) -> Tracing:
        """The same fields over the same calls, made by other layers of the same kinds."""
        other = copy.copy(self)
        other.graph = graph
        other._makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
        other._inside, other._inner, other._views = {}, set(), {}
        return other

    def is_reached(self, tensor: int) -> bool:
        """Whether the input leads to the tensor."""
        return tensor in self._reached

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Definite shape of a tensor, the batch not counted.

        Raises:
            InvalidInputError: It has none at the current input size.
        """
        name, shape = self._tensors[tensor].name, self._tensors[tensor].shape
        if tensor in self.graph.failures:
            raise InvalidInputError(
                f"`input_shape` does not fit the model: {self.graph.failures[tensor]}. Give "
                f"another size or choose an earlier layer. Received: layer={name!r}"
            )
        if self.is_open(tensor):
            raise InvalidInputError(
                f"`layer` {name!r} must have a definite shape at a definite input size; a layer "
                "before it, or itself, leaves it open. State it (`output_shape` of a Lambda, "
                f"`compute_output_shape`) or name an earlier layer. Received: layer={name!r} of "
                f"shape {shape} without the batch"
            )
        return shape  # type: ignore[return-value]

    def is_open(self, tensor: int) -> bool:
        """Whether a tensor has no definite shape although the layers before it fit."""
        return tensor not in self.graph.failures and None in self._tensors[tensor].shape

    def spatial_axes(self, tensor: int) -> tuple[int, ...]:
        """Spatial axes of a tensor that the input leads to, the batch not counted."""
        if tensor not in self._spatial:
            channel = self.channel_axis(tensor)
            rank = len(self.shape(tensor))
            self._spatial[tensor] = tuple(axis for axis in range(rank) if axis != channel)
        return self._spatial[tensor]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The graph's tensors, and behind them those inside of layers that were opened."""
        return tuple(self._tensors)

    def channel_axis(self, tensor: int) -> int:
        """Channel axis of a tensor that the input leads to, the batch not counted."""
        self._learn(tensor)
        return self._channels[tensor]

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

    def mask(self, tensor: int, position: Sequence[int], *, through_global: bool) -> np.ndarray:
        """Exact support, over the input's spatial axes, of the unit at a spatial position."""
        shape = self.spatial_shape(self.input)
        part = self._support(tensor, position, through_global=through_global)
        if part is None:
            return np.zeros(shape, dtype=bool)
        mask = part.full(shape)
        return mask if mask.shape == shape else np.array(np.broadcast_to(mask, shape))

    def visible(self, tensor: int, position: Sequence[int], *, through_global: bool) -> Box:
        """Tight box of the support of the unit at a spatial position."""
        shape = self.spatial_shape(self.input)
        part = self._support(tensor, position, through_global=through_global)
        return ((0, 0),) * len(shape) if part is None else part.box(shape)

    def _support(
        self, tensor: int, position: Sequence[int], *, through_global: bool
    ) -> BoxedMask | None:
        part = self._parts(tensor, position, through_global=through_global).get(self.input)
        return part and part.without(self.graph.channel_axes[self.input])

    def masks(
        self, tensor: int, position: Sequence[int], *, through_global: bool
    ) -> dict[int, np.ndarray]:
        """What the unit at a spatial position sees of each tensor on the path to the input.

        An axis of length 1 stands for a whole axis whose entries agree.
        """
        parts = self._parts(tensor, position, through_global=through_global)
        return {tensor: part.full(self.shape(tensor)) for tensor, part in parts.items()}

    def _parts(
        self, tensor: int, position: Sequence[int], *, through_global: bool
    ) -> dict[int, BoxedMask]:
        """The masks of `masks`, each over a box that holds what is marked."""
        self._learn(tensor)
        channel = self._channels[tensor]
        starts: list[int | None] = [int(place) for place in position]
        starts.insert(channel, None)
        parts = {tensor: BoxedMask(np.ones((1,) * len(starts), dtype=bool), tuple(starts))}
        for node in reversed(self.ancestors(tensor)):
            if parts.keys().isdisjoint(node.outputs):
                continue
            for view in self.views(node, through_global=through_global):
                output, source = node.outputs[view.output], node.inputs[view.input]
                if output in parts:
                    shape = self.shape(source)
                    part = seen_by(view, parts[output], self.shape(output), shape)
                    parts[source] = (
                        together(part, parts[source], shape) if source in parts else part
                    )
        return parts

    def spread(self, tensor: int, pixel: Sequence[int], *, through_global: bool) -> np.ndarray:
        """Mask over the spatial axes of `tensor` of the units that see a pixel of the input."""
        self._learn(tensor)
        start = np.zeros(self.spatial_shape(self.input), dtype=bool)
        start[tuple(pixel)] = True
        masks = {self.input: np.expand_dims(start, self._channels[self.input])}
        for node in self.ancestors(tensor):
            if masks.keys().isdisjoint(node.inputs):
                continue
            for view in self.views(node, through_global=through_global):
                output, source = node.outputs[view.output], node.inputs[view.input]
                if source in masks:
                    mask = view.spread(masks[source], self.shape(output), self.shape(source))
                    masks[output] = mask | masks[output] if output in masks else mask
        shape = self.shape(tensor)
        mask = np.broadcast_to(masks.get(tensor, np.zeros(shape, dtype=bool)), shape)
        return np.any(mask, axis=self._channels[tensor])

    def ancestors(self, tensor: int) -> list[Node]:
        """The calls `tensor` depends on, in the order they run; of opened layers those inside."""
        self._learn(tensor)
        return [inner for node in self.graph.ancestors(tensor) for inner in self.inside(node)]

    def inside(self, node: Node) -> list[Node]:
        """The calls inside a layer that was opened, in the order they run; else itself."""
        if node not in self._inside:
            return [node]
        return [call for inner in self._inside[node] for call in self.inside(inner)]

    def views(self, node: Node, *, through_global: bool) -> list[AnyView]:
        """How a call, carried over before, sees the tensors on the path to the input."""
        return [
            view
            for view in self.relations(node)
            if self.is_reached(node.inputs[view.input])
            and (through_global or (node, view) not in self._global)
        ]

    def relations(self, node: Node) -> tuple[AnyView, ...]:
        """How a call sees all of its inputs, those too that the analysed one does not lead to.

        Raises:
            UnsupportedLayerError: No rule knows, and it cannot be measured.
            InvalidInputError: A tensor has no shape at the current input size.
        """
        if node not in self._views:
            call = self.call(node)
            relations = views(call, node.kind, self.rules)
            if not node.lead and node.kind not in self.rules:
                relations = self._without_known(node, call, relations)
            for steps in reversed(self.shape(node.inputs[0])[: node.lead]):
                relations = tuple(self._over_time(node, view, steps) for view in relations)
            self._views[node] = relations
        return self._views[node]

    def call(self, node: Node) -> Call:
        """What a rule takes: facts about a call; of one repeated over time, about one step."""
        return Call(
            node.name,
            node.operation,
            inputs=tuple(self.shape(tensor)[node.lead :] for tensor in node.inputs),
            outputs=tuple(self.shape(tensor)[node.lead :] for tensor in node.outputs),
            dtypes=tuple(self._tensors[tensor].dtype for tensor in node.inputs),
            batch=self.graph.batch or (PAIR if self._is_bound(node) else None),
            filled=node.filled_arguments,
            run=self.graph.runner(node),
            known=() if node.lead else tuple(map(self._values.get, node.inputs)),
            drawn=node.known,
            assigned=self.assigned,
        )

    def _without_known(
        self, node: Node, call: Call, relations: tuple[AnyView, ...]
    ) -> tuple[AnyView, ...]:
        """The views of a call without the outputs that are zero whatever it is given."""
        known = known_after(call, node.kind)
        self._values.update(
            (output, values)
            for output, values in zip(node.outputs, known, strict=True)
            if values is not None
        )
        views: list[AnyView] = []
        for view in relations:
            values = known[view.output]
            zeros = None if values is None else (values == 0) | np.isinf(values)
            if zeros is None or not zeros.any():
                views.append(view)
            elif not zeros.all():
                holes = MaskedView(~zeros, output=view.output)
                views += chained([view], call.outputs[view.output], [holes])
        return tuple(views)

    def is_unknown(self, node: Node) -> bool:
        """Whether keras-erf has no rule for a call: the user's applies, or it was measured."""
        return node.kind in self.rules or find_rule(node.kind) in (None, measured)

    def is_layer_of_keras(self, node: Node) -> bool:
        """Whether a call is of one of Keras's own layers, with a rule of keras-erf."""
        return not isinstance(node.kind, str) and not self.is_unknown(node)

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
        if is_unknown(node.operation, self.rules) and self._open(node):
            return
        self._pass_over(node)

    def _open(self, node: Node) -> bool:
        """Carries everything over the calls inside a layer; whether that was possible."""
        shapes = [self.shape(tensor) for tensor in node.inputs]
        dtypes = [self._tensors[tensor].dtype for tensor in node.inputs]
        output_shapes = [self.shape(tensor) for tensor in node.outputs]
        opened = self.graph.opened(
            node, shapes, dtypes, output_shapes, len(self._tensors), assigned=self.assigned
        )
        if opened is None:
            return False
        nodes, tensors = opened
        self._tensors.extend(tensors)
        self._inner.update(nodes)
        try:
            for inner in nodes:
                if not self._reached.intersection(inner.inputs):
                    continue
                self._reached.update(inner.outputs)
                self._pass(inner)
        except (UnsupportedLayerError, InvalidInputError):
            # As a whole it can still be measured. What was learned of tensors inside is not asked
            # for again; of its outputs nothing may stay.
            for tensor in node.outputs:
                for known in (self._local, self._entire, self._channels):
                    known.pop(tensor, None)
                self._flat.discard(tensor)
            return False
        for tensor in node.outputs:
            if tensor not in self._local:
                # Inside, the input does not lead there.
                self._local[tensor] = self._entire[tensor] = TensorField(None)
                self._channels[tensor] = len(self.shape(tensor)) - 1
        self._inside[node] = nodes
        return True

    def _is_bound(self, node: Node) -> bool:
        """Whether the size of the batch may be written into a call: an operation in a layer."""
        return node in self._inner and isinstance(node.kind, str)

    def _pass_over(self, node: Node) -> None:
        """Carries reaches and channel axes over one call."""
        views = [view for view in self.relations(node) if self.is_reached(node.inputs[view.input])]
        sizes = [self.shape(self.input)[axis] for axis in self.input_axes]
        for place, output in enumerate(node.outputs):
            used = [view for view in views if view.output == place]
            shape, channel = self.shape(output), self._channel_after(node, output, used)
            self._channels[output] = channel
            steps, entire = [], []
            for view in used:
                source = node.inputs[view.input]
                local, known = self._local[source], self._entire[source]
                places = self.shape(source), self._channels[source], shape
                step = ViewStep(view, local, *places)
                if is_global(step):
                    self._global.add((node, view))
                else:
                    steps.append(step)
                entire.append(step if local is known else ViewStep(view, known, *places))
            self._local[output] = self._entire[output] = carried(steps, shape, channel, sizes)
            if entire != steps:
                self._entire[output] = carried(entire, shape, channel, sizes)

    @staticmethod
    def _over_time(node: Node, view: AnyView, steps: int) -> AnyView:
        over_time = lifted(view, steps)
        if over_time is None:
            raise UnsupportedLayerError(
                f"No rule states what layer {node.name!r} sees step by step"
            )
        return over_time

    def _channel_after(self, node: Node, output: int, used: Sequence[AnyView]) -> int:
        """Channel axis of a tensor: what the layer says, else where the channels went."""
        rank = len(self.shape(output))
        own = node.channel_axis(rank)
        if own is not None:
            return own
        for view in sorted(used, key=lambda view: node.inputs[view.input] in self._flat):
            source = node.inputs[view.input]
            before = self._channels[source]
            followed = view.follows[before]
            axes = [axis for axis in view.follows if axis is not None]
            if source in self._flat and len(axes) == len(view.follows):
                # The axis that is added to a map without channels is theirs.
                added = sorted(set(range(rank)) - set(axes))
                if added:
                    return added[-1]
                self._flat.add(output)
            elif followed is None and sorted(axes) == list(range(rank)):
                self._flat.add(output)
                return rank - 1
            if followed is not None:
                return followed
            if rank == len(view.follows):
                return before
        return rank - 1
