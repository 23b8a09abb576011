"""The cone of some units: the part of each tensor they need, and the calls that make it.

Parts are found backwards, from the units to the inputs: each call states which
part of its inputs it needs for the part of its output that is wanted, and a
tensor's part is the hull of what the calls behind it need. So the cone gets
narrower at every layer, is cut at every tensor's own edge, and holds exactly
what the whole network would have there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from keras import ops

from keras_erf.algebra.boxes import cut, entire, hull
from keras_erf.algebra.geometry import Box
from keras_erf.errors import KerasERFError
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, Node, called, stateless
from keras_erf.layers.parts import PartSite, Run, as_called, shortened
from keras_erf.layers.table import described, is_patched
from keras_erf.layers.table import views as found_views
from keras_erf.types import Array, State

__all__ = ["Cone", "ConeStep", "cone_of", "whole_cone"]


@dataclass(frozen=True, eq=False)
class ConeStep:
    """One call of a cone.

    Args:
        node: The call.
        inputs: The part of each input it takes; `None` takes what is there.
        run: Makes the outputs of those parts.
    """

    node: Node
    inputs: tuple[Box | None, ...]
    run: Run = as_called


@dataclass(frozen=True, eq=False)
class Cone:
    """Calls that compute some units of a model from no more than they need.

    Args:
        steps: The calls, in the order they run.
        parts: The part of each tensor that is there, the batch not counted; of
            tensors that are not named all of it.
    """

    steps: tuple[ConeStep, ...] = field(repr=False)
    parts: Mapping[int, Box] = field(repr=False)

    def run(
        self,
        values: Mapping[int, Any],
        *,
        training: bool = False,
        state: State = (),
        steps: int | None = None,
        keep: Collection[int] | None = None,
    ) -> dict[int, Any]:
        """Values of the parts of all tensors, or of some.

        Args:
            values: Those of the model's inputs: tensors with a batch axis, by number.
            training: Whether layers run in training mode.
            state: Pairs of a variable and the value to read in its place.
            steps: How many of the calls to run; `None` for all.
            keep: Numbers of the tensors to give; others are let go after their last
                use. `None` keeps all.
        """
        known = dict(values)
        last = {number: step for step in self.steps for number in step.node.inputs}
        # Of a compiled function it may be unknown, and is then that of any batch.
        batch = next((value.shape[0] for value in values.values()), None)

        def compute() -> None:
            for step in self.steps[:steps]:
                self._advance(step, known, training, batch)
                if keep is not None:
                    for number in (*step.node.inputs, *step.node.outputs):
                        if last.get(number, step) is step and number not in keep:
                            known.pop(number, None)

        stateless(compute, state)
        return known

    def _advance(
        self, step: ConeStep, known: dict[int, Any], training: bool, batch: int | None
    ) -> None:
        node = step.node

        def call(parts: Sequence[Any]) -> list[Array]:
            values = dict(zip(node.inputs, parts, strict=True))
            # Inside of time-distributed layers each step is a sample.
            samples = parts[0].shape[0] if node.lead else batch
            return called(node, values, training=training, batch=samples)

        taken = []
        for number, part in zip(node.inputs, step.inputs, strict=True):
            held = self.parts.get(number)
            whole = part is None or held is None
            taken.append(known[number] if whole else cut(known[number], held, part))  # type: ignore[arg-type]
        known.update(zip(node.outputs, step.run(taken, call), strict=True))


def whole_cone(graph: Graph, tensors: Iterable[int]) -> Cone:
    """All calls some tensors depend on, on whole tensors."""
    nodes = graph.ancestors(*tensors)
    return Cone(tuple(ConeStep(node, (None,) * len(node.inputs)) for node in nodes), {})


def cone_of(tracing: Tracing, wanted: Mapping[int, Box], *, inside: bool = True) -> Cone:
    """The cone of the `wanted` parts of some tensors.

    Args:
        tracing: Fields of the graph, which know how each call sees its inputs.
        wanted: Parts by the tensors' numbers, the batch not counted.
        inside: Whether the calls inside a layer that was opened may be run in its
            stead. They are those of inference, and of the current weights.
    """
    needs, parts, steps = dict(wanted), dict[int, Box](), list[ConeStep]()
    for node in reversed(tracing.graph.ancestors(*wanted)):
        found = None
        if any(needs.get(one, whole) != whole for one, whole in _outputs(tracing, node).items()):
            opened = _restricted_inside(tracing, node, needs) if inside else None
            alone = _restricted(tracing, node, needs) if opened is None else None
            found = opened or ([alone] if alone else None)
        for made in found or [_whole(tracing, node)]:
            _add(made, needs)
            parts.update(made.outputs)
            steps.append(made.step)
    inputs = {number: needs[number] for number in tracing.graph.inputs if number in needs}
    return Cone(tuple(reversed(steps)), {**parts, **inputs})


@dataclass(frozen=True, eq=False)
class _Made:
    """A step, the parts it takes, and those it makes, by the tensors' numbers."""

    step: ConeStep
    inputs: Sequence[tuple[int, Box]]
    outputs: Mapping[int, Box]


def _add(made: _Made, needs: dict[int, Box]) -> None:
    """Widens the parts that are needed by what one step takes."""
    for number, part in made.inputs:
        needs[number] = hull(needs.get(number), part)


def _outputs(tracing: Tracing, node: Node) -> dict[int, Box]:
    """All of a call's outputs."""
    return {number: entire(tracing.shape(number)) for number in node.outputs}


def _whole(tracing: Tracing, node: Node) -> _Made:
    """A call on whole tensors."""
    inputs = [(number, entire(tracing.shape(number))) for number in node.inputs]
    run = _over_time(node) if node.lead else as_called
    step = ConeStep(node, tuple(part for _, part in inputs), run)
    return _Made(step, inputs, _outputs(tracing, node))


def _over_time(node: Node) -> Run:
    """Runs a call inside of a time-distributed layer, where each step is a sample."""

    def run(values: Sequence[Any], call: Callable[[Sequence[Any]], list[Array]]) -> list[Array]:
        lead = 1 + node.lead
        sizes = tuple(values[0].shape[:lead])
        flat = [ops.reshape(value, (-1, *value.shape[lead:])) for value in values]
        return [ops.reshape(made, (*sizes, *made.shape[1:])) for made in call(flat)]

    return run


def _restricted(tracing: Tracing, node: Node, needs: Mapping[int, Box]) -> _Made | None:
    """A call on parts; `None` if it has to run on whole tensors."""
    if node.lead or len(node.outputs) != 1 or node.kind in tracing.rules:
        return None
    if is_patched(node.operation):
        return None
    entry = described(node.kind)
    if entry is None or entry.part is None:
        return None
    try:
        # Parts are cut for the whole kernel, whatever of it is zero.
        views = found_views(replace(tracing.call(node), by_value=False), node.kind)
    except KerasERFError:  # It is unknown how it sees an input that is not the analysed one.
        return None
    (output,) = node.outputs
    call = tracing.call(node)
    views = tuple(shortened(view, call) for view in views)
    found = entry.part(PartSite(call, views, needs[output]))
    if found is None:
        return None
    inputs = list(zip(node.inputs, found.inputs, strict=True))
    if len(set(inputs)) > len(set(node.inputs)):
        # One tensor twice, in different parts: a call has one value for it.
        return None
    return _Made(ConeStep(node, found.inputs, found.run), inputs, {output: found.output})


def _restricted_inside(
    tracing: Tracing, node: Node, needs: Mapping[int, Box]
) -> list[_Made] | None:
    """The calls inside an opened layer on parts, last one first.

    All of them or none: what has to run whole may depend on the size of the
    batch on which the layer was opened.
    """
    nodes = tracing.inside(node)
    layer = node.operation
    if nodes == [node] or layer.compute_dtype != layer.variable_dtype:
        # In mixed precision a layer converts what it is given and its weights by itself.
        return None
    if any(one.reassigned for one in nodes):
        # It runs with other weights than those it has.
        return None
    needed, found = dict(needs), list[_Made]()
    for one in reversed(nodes):
        if needed.keys().isdisjoint(one.outputs):
            continue
        made = _restricted(tracing, one, needed)
        if made is None:
            return None
        _add(made, needed)
        found.append(made)
    return found
