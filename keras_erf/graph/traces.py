"""Following a layer's own `call` on symbolic tensors: the calls it makes, as nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_erf.graph.calls import LINEAR, Node, Shape, Tensor
from keras_erf.graph.constants import agreed, has_zeros, operands, random_weights, settled
from keras_erf.graph.running import eagerly, followed, inferred, learned_weights, stateless
from keras_erf.graph.unrolling import Builder, Calls
from keras_erf.types import Array, State

__all__ = ["PAIR", "Followed", "Trace", "definite_tensors", "opened"]

# Samples of a batch on which layers are traced: enough to show whether one sees another.
PAIR = 2
# Draws of weights, at most, until the zeros of what is computed from them are settled.
MOST_DRAWS = 64


@dataclass(frozen=True)
class Followed:
    """The calls inside a layer.

    Args:
        builder: Holds them and their tensors.
        outputs: Numbers of the layer's outputs.
        scope: Has the values that weights were given during the call.
        reason: Why the call ended early; `None` if it did not.
    """

    builder: Builder
    outputs: list[int]
    scope: keras.StatelessScope
    reason: Exception | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """Follows one call of a layer.

    Args:
        node: The call.
        shapes: Definite shapes of its inputs, the batch not counted.
        dtypes: Names of their dtypes.
        first: Number of the first new tensor.
        prefix: What names of the calls inside start with.
        batch: Size of the batch; `None` leaves it open.
        training: Whether the layer is called as in training.
        partly: Whether a call that fails gives what it made up to there.
        in_tensorflow: Whether it is followed in TensorFlow, and replayed by `keras.ops`.
    """

    node: Node
    shapes: Sequence[Shape]
    dtypes: Sequence[str]
    first: int
    prefix: str
    batch: int | None
    training: bool = False
    partly: bool = False
    in_tensorflow: bool = False
    _others: dict[tuple[int | None, bool], dict[str, Node]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def lead(self) -> int:
        """How many first axes of its tensors the calls inside are repeated over."""
        return self.node.lead + isinstance(self.node.operation, keras.layers.TimeDistributed)

    @property
    def specs(self) -> dict[int, Any]:
        """Symbolic inputs, by number."""
        return {
            number: keras.KerasTensor((self.batch, *shape[self.lead :]), dtype=dtype)
            for number, shape, dtype in zip(self.node.inputs, self.shapes, self.dtypes, strict=True)
        }

    def follow(self, state: State = ()) -> Followed:
        """The calls that the layer makes; nothing is left behind in the layers that it calls.

        Args:
            state: Pairs of a variable and the value to read in its place.

        Raises:
            Exception: Anything; the layer's code does not run on symbolic tensors.
        """
        specs = self.specs
        layer, ends, reason = self.node.operation, list[Any](), None
        inner = layer._flatten_layers()
        before = [
            (part, len(part._inbound_nodes), len(part._outbound_nodes))
            for part in (*inner, *(one for own in inner for one in getattr(own, "_operations", ())))
        ]

        def call() -> None:
            nonlocal reason
            try:
                ends.extend(self._ends(specs, checked=not state))
            except Exception as error:  # The layer is not ours: it raises what it likes.
                if not self.partly:
                    raise
                reason = error
                made = [new for part, count, _ in before for new in part._inbound_nodes[count:]]
                ends.extend(tensor for new in made for tensor in new.outputs)

        try:
            scope = stateless(call, state)
            builder = Builder(self.first)
            numbers = builder.unroll(
                Calls(list(specs.values()), ends), self.node.inputs, self.prefix, own=inner
            )
        finally:
            for part, inbound, outbound in before:
                del part._inbound_nodes[inbound:], part._outbound_nodes[outbound:]
        return Followed(builder, [] if reason else numbers, scope, reason)

    def _ends(self, specs: Mapping[int, Any], *, checked: bool) -> list[Any]:
        """Symbolic outputs of the layer's `call`."""
        if not self.in_tensorflow:
            return followed(self.node, specs, training=self.training)
        # Few layers need its table.
        from keras_erf.graph.tensorflow_layers import check_replay, followed_in_tensorflow

        ends = followed_in_tensorflow(self.node, specs)
        if checked:
            check_replay(self.node, keras.Function(list(specs.values()), ends))
        return ends

    def at(self, node: Node, batch: int, training: bool) -> Node:
        """A call inside the layer, as it is made for batches of that size."""
        if self.batch in (None, batch) and training == self.training:
            return node
        if (batch, training) not in self._others:
            outer = self.node.at(batch, training=training)
            other = replace(self, node=outer, batch=batch, training=training)
            builder = eagerly(lambda: other.follow().builder)
            self._others[batch, training] = {one.name: one for one in builder.nodes}
        found = self._others[batch, training][node.name.removesuffix(LINEAR)]
        return replace(
            node,
            operation=_of_batch(node.operation, found.operation),
            arguments=found.arguments,
            numbers=_renumbered(found, node),
            trace=None,
        )

    def known(self, made: Followed, *, assigned: bool) -> tuple[dict[int, np.ndarray], bool]:
        """Known constants and assigned weights by `id`, and whether weights are assigned."""
        weights = learned_weights(self.node.operation)
        constants = [operand for node in made.builder.nodes for operand in operands(node)]
        computed = [value for value in constants if not isinstance(value, keras.Variable)]
        changed = [one for one in weights if made.scope.get_current_value(one) is not None]
        if not changed and not any(
            has_zeros(settled(value)) or not _any(value) for value in computed
        ):
            return {}, False
        rng = np.random.default_rng(3)
        draws: list[list[Any]] = []
        previous: list[np.ndarray] = []
        while len(draws) < MOST_DRAWS:
            for _ in range(max(2, len(draws))):
                other = self.follow(random_weights(weights, rng, assigned=assigned))
                drawn = _computed(other)
                if [np.shape(value) for value in drawn] != [np.shape(value) for value in computed]:
                    raise ValueError("the layer's calls depend on its weights")
                draws.append([*drawn, *map(other.scope.get_current_value, changed)])
            common = [agreed(values) for values in zip(*draws, strict=True)]
            if previous and all(
                np.array_equal(np.isnan(values), np.isnan(before))
                for values, before in zip(common, previous, strict=True)
            ):
                break
            # Zeros that all of the first draws have in common are no chance.
            if not previous and all(_alike(values) for values in zip(*draws, strict=True)):
                break
            previous = common
        return dict(zip(map(id, [*computed, *changed]), common, strict=True)), bool(changed)

    def holds_weights(self, made: Followed) -> bool:
        """Whether constants of the calls were computed from weights, so that they go stale."""
        computed = _computed(made)
        if not computed:
            return False
        weights = learned_weights(self.node.operation)
        state = random_weights(weights, np.random.default_rng(4), assigned=False)
        drawn = _computed(self.follow(state))
        return len(drawn) != len(computed) or any(
            not np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
            for one, other in zip(computed, drawn, strict=True)
        )


def opened(
    node: Node,
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    output_shapes: Sequence[Shape],
    first: int,
    *,
    batch: int | None,
    assigned: bool = True,
) -> tuple[list[Node], list[Tensor]] | None:
    """The calls inside a layer; see `Graph.opened`, which gives the batch of the model."""
    found = _traced(node, shapes, dtypes, first, batch, assigned)
    if found is None:
        return None
    trace, made, known, reassigned = found
    lead = trace.lead
    steps = tuple(shapes[0][:lead])
    builder = made.builder
    tensors = definite_tensors(builder, trace.specs)
    if [steps + tensors[number - first].shape for number in made.outputs] != list(output_shapes):
        return None
    names = dict(zip(made.outputs, node.outputs, strict=True))
    nodes = [
        replace(
            call,
            inputs=tuple(names.get(number, number) for number in call.inputs),
            outputs=tuple(names.get(number, number) for number in call.outputs),
            numbers={key: names.get(number, number) for key, number in call.numbers.items()},
            lead=lead,
            known=known,
            reassigned=reassigned,
            trace=trace,
        )
        for call in builder.nodes
    ]
    return nodes, [replace(tensor, shape=(*steps, *tensor.shape)) for tensor in tensors]


def _traced(
    node: Node,
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    first: int,
    batch: int | None,
    assigned: bool,
) -> tuple[Trace, Followed, dict[int, np.ndarray], bool] | None:
    """The first way to follow a layer that succeeds, with what it found; `None` if none does."""
    fixed = batch or PAIR
    ways: list[tuple[int | None, bool]] = [(fixed, False), (fixed, True)]
    if batch is None:
        ways.insert(1, (None, True))
    for size, in_tensorflow in ways:
        trace = Trace(
            node, shapes, dtypes, first, f"{node.name}/", size, in_tensorflow=in_tensorflow
        )
        try:
            made = trace.follow()
            return (trace, made, *trace.known(made, assigned=assigned))
        except Exception:  # The layer is not ours: it branches on values, or needs real tensors.
            continue
    return None


def definite_tensors(builder: Builder, specs: Mapping[int, Any]) -> list[Tensor]:
    """The tensors of some calls, of definite shape: models inside know those they were built with.

    Args:
        builder: The calls.
        specs: The symbolic tensors they are made on, by number.
    """
    tensors = builder.tensors
    if not any(None in tensor.shape for tensor in tensors):
        return tensors
    shaped, _ = inferred(builder.nodes, specs)
    return [
        replace(tensor, shape=tuple(shaped[number].shape[1:])) if number in shaped else tensor
        for number, tensor in enumerate(tensors, start=builder.first)
    ]


def _computed(made: Followed) -> list[Any]:
    """Constants among the arguments of calls, weights left out."""
    constants = [operand for node in made.builder.nodes for operand in operands(node)]
    return [value for value in constants if not isinstance(value, keras.Variable)]


def _renumbered(call: Node, like: Node) -> dict[int, int]:
    """Numbers of a call's symbolic arguments, where those of the same call elsewhere are."""
    # Both calls take the same tensors in the same order.
    numbers = dict(zip(call.inputs, like.inputs, strict=True))
    return {key: numbers[number] for key, number in call.numbers.items()}


def _of_batch(operation: Any, other: Any) -> Any:
    """An operation with the settings that another one of its kind has for a batch."""
    if isinstance(operation, keras.Layer) or getattr(operation, "dtype", 0) == getattr(
        other, "dtype", 0
    ):
        return operation if isinstance(operation, keras.Layer) else other
    # A copy that computes in another dtype.
    copy = object.__new__(type(other))
    vars(copy).update(vars(other), dtype=operation.dtype, _inbound_nodes=[], _outbound_nodes=[])
    return copy


def _any(value: Array) -> bool:
    return bool(np.any(np.asarray(value)))


def _alike(draws: Sequence[Any]) -> bool:
    """Whether draws are zero at the same places."""
    zeros = [np.asarray(values) == 0 for values in draws]
    return all(np.array_equal(zeros[0], mask) for mask in zeros[1:])
