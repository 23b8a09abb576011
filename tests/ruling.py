"""One layer's rule against brute force, element by element.

The views a rule gives for one call are compared with which output elements
change when one input element does: backwards (`mask`), forwards (`follow`) and
the other way round (`spread`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.algebra.intervals import Line, table, united
from keras_erf.algebra.views import AnyView
from keras_erf.errors import InvalidInputError
from keras_erf.graph import Graph, Node, build_graph
from keras_erf.rules import Call, views
from tests import jacobian, perturbation
from tests.cases import Case, model_of

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Solved:
    """A call, by the library and by brute force.

    Args:
        call: What the rule takes.
        sources: Number of each input tensor of the call; one may stand there twice.
        views: What the rule says.
        changed: Boolean array `(*output shape, *input shape)` by source and output.
        status: As in `Case`.
        sloped: As `changed`, by gradient, where the case asks for it.
    """

    call: Call
    sources: tuple[int, ...]
    views: tuple[AnyView, ...]
    changed: dict[tuple[int, int], np.ndarray]
    status: str
    sloped: dict[tuple[int, int], np.ndarray]


def call_of(graph: Graph, node: Node) -> Call:
    """What a rule takes: what is known about a call."""
    tensors = graph.tensors
    return Call(
        node.name,
        node.operation,
        inputs=tuple(tensors[one].shape for one in node.inputs),  # type: ignore[misc]
        outputs=tuple(tensors[one].shape for one in node.outputs),  # type: ignore[misc]
        dtypes=tuple(tensors[one].dtype for one in node.inputs),
        batch=graph.batch,
        filled=node.filled_arguments,
        run=graph.runner(node),
    )


def solve(case: Case) -> Solved:
    """The case by the library and by brute force, with random weights."""
    with jacobian.precision(case.dtype):
        model = model_of(case)
        rng = np.random.default_rng(3)
        for variable in model.trainable_variables:
            variable.assign(rng.normal(scale=0.5, size=variable.shape))
        graph = build_graph(model)
        (node,) = graph.nodes
        dtypes = [tensor.dtype for tensor in model.inputs]

        def run(values: Sequence[np.ndarray]) -> list[Any]:
            cast = [tf.cast(one, dtype) for one, dtype in zip(values, dtypes, strict=True)]
            if case.alone and len(cast[0]) > 1:
                single = [run([one[at : at + 1] for one in values]) for at in range(len(cast[0]))]
                return [np.concatenate(made) for made in zip(*single, strict=True)]
            if case.eager:
                return keras.tree.flatten(case.build(*cast))
            # By tensor, as one may stand in the call twice.
            known = dict(zip(graph.inputs, cast, strict=True))
            return graph.runner(node)([known[one] for one in node.inputs])

        changed, sloped = {}, {}
        for number in set(node.inputs):
            place = graph.inputs.index(number)
            options = {"draws": case.draws, "draw": case.draw, "tolerance": case.tolerance}
            every = perturbation.dependence(run, case.shapes, input=place, **options)
            changed.update({(number, output): one for output, one in enumerate(every)})
            if case.gradient:
                every = gradients(run, case, place)
                sloped.update({(number, output): one for output, one in enumerate(every)})
        call = call_of(graph, node)
        return Solved(call, node.inputs, views(call, node.kind), changed, case.status, sloped)


def gradients(run: Callable[..., list[Any]], case: Case, place: int) -> list[np.ndarray]:
    """The same as `perturbation.dependence`, by gradients: one sample per element of an output."""
    rng = np.random.default_rng(1)
    kinds = [case.draw] * len(case.shapes) if callable(case.draw) else list(case.draw)
    drawn = [
        one(rng, (case.draws, 1, *shape)) for one, shape in zip(kinds, case.shapes, strict=True)
    ]
    found = []
    for number, output in enumerate(run([one[0] for one in drawn])):
        shape = tuple(output.shape[1:])
        size = math.prod(shape)
        values = [
            tf.constant(np.repeat(one, size, axis=1).reshape(-1, *one.shape[2:])) for one in drawn
        ]
        seed = np.tile(np.eye(size), (case.draws, 1)).reshape(-1, *shape)
        with tf.GradientTape() as tape:
            tape.watch(values[place])
            score = tf.reduce_sum(run(values)[number] * seed)
        slope = tape.gradient(score, values[place], unconnected_gradients="zero")
        seen = np.abs(slope.numpy()) > case.tolerance
        found.append(seen.reshape(case.draws, *shape, *case.shapes[place]).any(axis=0))
    return found


def used_of(one: Solved, source: int, output: int) -> list[AnyView]:
    """The views of one input tensor by one output."""
    pairs = ((one.sources[view.input], view.output) for view in one.views)
    return [v for v, pair in zip(one.views, pairs, strict=True) if pair == (source, output)]


def shapes_of(one: Solved, source: int, output: int) -> tuple[Shape, Shape]:
    """Shapes of the output and the input."""
    return one.call.outputs[output], one.call.inputs[one.sources.index(source)]


def masks(one: Solved, source: int, output: int) -> np.ndarray:
    """What each element of an output sees of an input, by the views, backwards."""
    made, shape = shapes_of(one, source, output)
    result = np.zeros((*made, *shape), dtype=bool)
    for unit in np.ndindex(*made):
        seen = np.zeros(made, dtype=bool)
        seen[unit] = True
        for view in used_of(one, source, output):
            result[unit] |= view.mask(seen, made, shape)
    return result


def spreads(one: Solved, source: int, output: int) -> np.ndarray:
    """The same, from what each element of the input is seen by."""
    made, shape = shapes_of(one, source, output)
    result = np.zeros((*made, *shape), dtype=bool)
    for place in np.ndindex(*shape):
        marked = np.zeros(shape, dtype=bool)
        marked[place] = True
        for view in used_of(one, source, output):
            result[(..., *place)] |= view.spread(marked, made, shape)
    return result


def hulls(one: Solved, source: int, output: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Starts and stops of what each element of an output sees, by the views, forwards."""
    made, shape = shapes_of(one, source, output)
    lines = [Line(axis, (0,), (1,), 1) for axis in range(len(shape))]
    paths = [
        [view.follow(line, made, shape) for line in lines] for view in used_of(one, source, output)
    ]
    if not paths:
        return None
    tables = (table(reach, made) for reach in united(paths, made, shape))
    return [(np.broadcast_to(t.starts, made), np.broadcast_to(t.stops, made)) for t in tables]


def check_masks(one: Solved) -> None:
    """What is seen is what changes the output."""
    for (source, output), expected in one.changed.items():
        found = masks(one, source, output)
        if one.status == "exact":
            np.testing.assert_array_equal(found, expected, err_msg=f"{source} -> {output}")
        else:
            assert (found | ~expected).all()


def check_spreads(one: Solved) -> None:
    """The other way round it is the same."""
    for source, output in one.changed:
        np.testing.assert_array_equal(spreads(one, source, output), masks(one, source, output))


def compare_hulls(
    found: list[Any],
    expected: np.ndarray,
    made: tuple[int, ...],
    shape: tuple[int, ...],
    exact: bool,
    where: tuple[int, int],
) -> None:
    """Hulls hold what is seen; an exact one, inside of the input, has nothing to spare.

    Args:
        found: Starts and stops along each axis of the input, of each unit.
        expected: What each unit sees, of shape `(*made, *shape)`.
        made: Shape of the output.
        shape: Shape of the input.
        exact: Whether hulls are as tight as they can be.
        where: Source and output, for the message.
    """
    # What sees nothing along one axis sees nothing at all.
    nothing = np.any([starts >= stops for starts, stops in found], axis=0)
    assert not expected.any(axis=tuple(range(len(made), expected.ndim)))[nothing].any()
    ends = zip(found, shape, strict=True)
    contained = ~nothing & np.all([(a >= 0) & (b <= n) for (a, b), n in ends], axis=0)
    for axis, (starts, stops) in enumerate(found):
        others = tuple(len(made) + a for a in range(len(shape)) if a != axis)
        seen = expected.any(axis=others)
        first = np.where(seen.any(-1), seen.argmax(-1), 2**40)
        last = np.where(seen.any(-1), shape[axis] - seen[..., ::-1].argmax(-1), -(2**40))
        assert (starts <= first)[~nothing].all(), (*where, axis)
        assert (stops >= last)[~nothing].all(), (*where, axis)
        if exact:
            np.testing.assert_array_equal(starts[contained], first[contained])
            np.testing.assert_array_equal(stops[contained], last[contained])


def check_hulls(one: Solved) -> None:
    """Forwards the same: a hull inside of the input has nothing to spare.

    A unit of a layer is one position with all its channels: fields do not tell them apart.
    """
    for (source, output), expected in one.changed.items():
        made, shape = shapes_of(one, source, output)
        if not shape or 0 in shape:
            continue
        found = hulls(one, source, output)
        if found is None:
            assert not expected.any()
            continue
        if isinstance(one.call.layer, keras.layers.Layer):
            first = getattr(one.call.layer, "data_format", "") == "channels_first"
            channel = 0 if first else len(made) - 1
            expected = expected.any(axis=channel, keepdims=True)
            made = expected.shape[: len(made)]
            found = [
                (starts.min(axis=channel, keepdims=True), stops.max(axis=channel, keepdims=True))
                for starts, stops in found
            ]
        compare_hulls(found, expected, made, shape, one.status == "exact", (source, output))


def check_gradient(one: Solved) -> None:
    """Where the gradient is asked for, both sources agree."""
    for pair, expected in one.sloped.items():
        np.testing.assert_array_equal(one.changed[pair], expected)


def check_status(one: Solved) -> None:
    """A view says when it may be more than what is seen."""
    order = ("exact", "measured", "bound")
    assert one.status == max((view.status for view in one.views), key=order.index, default="exact")


CHECKS = (check_masks, check_spreads, check_hulls, check_gradient, check_status)


def box_of(field: ReceptiveField, unit: tuple[int, ...]) -> Box | None:
    """The unit's box; `None` for a unit that has none."""
    try:
        return field.box(unit)
    except InvalidInputError:
        return None
