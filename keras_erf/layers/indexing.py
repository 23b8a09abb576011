"""Choices among elements, and indices of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from keras import tree

from keras_erf.algebra.geometry import Blocks, Window
from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import own_axes, rank_of
from keras_erf.dependence.call import Call, Rule, bound_arguments
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.labelled_axes import labelled
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import Argument
from keras_erf.layers.conditions import AffineSite, in_first_operand, is_computed
from keras_erf.layers.copying import copies, traced
from keras_erf.layers.elementwise import elementwise
from keras_erf.layers.entry import Entry
from keras_erf.layers.operation_parts import moved_on_part
from keras_erf.layers.parts import called_on_part

__all__ = ["ENTRIES"]


def lookup(name: str) -> Rule:
    """A rule for operations that look up each element of operand `name` in constants."""

    def rule(call: Call) -> tuple[AnyView, ...]:
        if len(call.inputs) > 1 or not isinstance(bound_arguments(call)[name], Argument):
            return ACROSS_BATCH(call)
        return elementwise(call)

    return rule


def where(call: Call) -> tuple[AnyView, ...]:
    """Element-wise; a constant condition is a choice made beforehand."""
    given = bound_arguments(call)
    if given["x1"] is None:
        return ACROSS_BATCH(call)
    if not isinstance(given["condition"], Argument):
        return traced(call)
    chosen = call.fixed(given["condition"])
    if chosen is None or np.isnan(chosen).any():
        return elementwise(call)
    views: list[AnyView] = []
    for name, used in (("x1", chosen != 0), ("x2", chosen == 0)):
        own = [one for one in elementwise(call) if given[name] == Argument(one.input)]
        views += chained(own, call.output, [MaskedView(used)]) if used.any() else ()
    return tuple(views)


def select(call: Call) -> tuple[AnyView, ...]:
    """As `where`, with a list of conditions."""
    conditions = tree.flatten(bound_arguments(call)["condlist"])
    if any(isinstance(one, Argument) for one in conditions):
        return elementwise(call)
    return traced(call)


def take(call: Call) -> tuple[AnyView, ...]:
    """Elements by constant indices are traced; indices into a constant count by themselves."""
    given = bound_arguments(call)
    if not isinstance(given["indices"], Argument):
        return traced(call)
    if isinstance(given["x"], Argument):
        return ACROSS_BATCH(call)
    rank, axis = rank_of(call, given["x"]), call.layer.axis
    # The axes of the indices, the batch with them, stand in place of the table's axis.
    if axis is not None and axis % rank != 0:
        return ACROSS_BATCH(call)
    indices = [("index", axis) for axis in range(rank_of(call, given["indices"]))]
    rest = [] if axis is None else list(range(rank - 1))
    return labelled(call, [(given["indices"], indices)], [*indices, *rest])


def take_along_axis(call: Call) -> tuple[AnyView, ...]:
    """An output sees its own index, and by it any element along the axis."""
    given = bound_arguments(call)
    x, indices = given["x"], given["indices"]
    if not isinstance(indices, Argument):
        return traced(call)
    rank = len(call.output)
    (axis,) = own_axes(call, call.layer.axis, rank)
    labels = list(range(rank + 1))
    entries = [("any" if one == axis + 1 else one) for one in labels]
    if rank_of(call, indices) != rank + 1 or rank_of(call, x) != rank + 1:
        return ACROSS_BATCH(call)
    return labelled(call, [(x, entries), (indices, labels)], labels)


def one_hot(call: Call) -> tuple[AnyView, ...]:
    """A new axis: the last one, or `axis` of operations that have it."""
    rank = len(call.output) + 1
    axis = getattr(call.layer, "axis", -1) % rank
    labels = [one for one in range(rank) if one != axis]
    return labelled(call, [(Argument(0), labels)], range(rank))


def multi_hot(call: Call) -> tuple[AnyView, ...]:
    """One-hot vectors, and their maximum over axis 1."""
    rank = len(call.inputs[0]) + 2
    axis = call.layer.axis % rank
    labels = [one for one in range(rank) if one != axis]
    if rank == 2:
        return ACROSS_BATCH(call)
    return labelled(call, [(Argument(0), labels)], [one for one in range(rank) if one != 1])


def glued(call: Call) -> tuple[AnyView, ...]:
    """Two numbers of the last axis become one."""
    labels = list(range(len(call.inputs[0]) + 1))
    return labelled(call, [(Argument(0), labels)], labels[:-1])


def reinterpreted(call: Call) -> tuple[AnyView, ...]:
    """Bytes read as another dtype; they stay together along the last axis."""
    if call.inputs[0] == call.output:
        return elementwise(call)
    before, after = call.inputs[0][-1], call.output[-1]
    narrow = min(before, after)
    *links, _ = (Link(axis) for axis in range(len(call.output)))
    blocks = Blocks(after // narrow, before // narrow)
    return (View((*links, Link(len(call.output) - 1, blocks))),)


def sliced(call: Call) -> tuple[AnyView, ...]:
    """A slice: traced, but a single position that is left does not show the step to the next."""
    key = bound_arguments(call)["key"]
    steps = _steps(key if isinstance(key, tuple) else (key,), len(call.inputs[0]) + 1)
    return tuple(_spaced(view, steps, call.output) for view in traced(call))


def _steps(key: tuple[Any, ...], rank: int) -> dict[int, tuple[int, int]]:
    """For each axis of the input that is sliced in steps, its axis of the output and the step."""
    indexed = sum(one is not None and one is not Ellipsis for one in key)
    steps: dict[int, tuple[int, int]] = {}
    # The batch counts in a key.
    place = axis = -1
    for one in key:
        if isinstance(one, slice) and (one.step or 1) > 1:
            steps[place] = axis, one.step
        place += rank - indexed if one is Ellipsis else one is not None
        axis += rank - indexed if one is Ellipsis else one is None or isinstance(one, slice)
    return steps


def _spaced(
    view: AnyView, steps: Mapping[int, tuple[int, int]], output: tuple[int, ...]
) -> AnyView:
    """The view of a slice, with the steps along the axes that have one position left."""
    if not isinstance(view, View):
        return view
    links = list(view.links)
    for place, (axis, step) in steps.items():
        link = links[place]
        if link.axis == axis and output[axis] == 1 and isinstance(link.relation, Window):
            links[place] = replace(link, relation=replace(link.relation, stride=step))
    return replace(view, links=tuple(links))


def with_given_condition(site: AffineSite) -> bool:
    """Affine where the graph holds the choice."""
    condition = site.named["condition"]
    return not (isinstance(condition, Argument) or (site.inside and is_computed(condition)))


ENTRIES = (
    copies(operations="GetItem", dependence=sliced, part=moved_on_part, affine=in_first_operand),
    Entry(
        operations="Where",
        dependence=where,
        part=called_on_part,
        affine=with_given_condition,
        keeps_known=True,
    ),
    Entry(operations="Select", dependence=select),
    Entry(operations="Digitize", dependence=lookup("x")),
    Entry(operations="IsIn", dependence=lookup("x1")),
    Entry(operations="SearchSorted", dependence=lookup("values")),
    Entry(operations="Take", dependence=take, affine=in_first_operand),
    Entry(operations="TakeAlongAxis", dependence=take_along_axis),
    Entry(operations="OneHot Vander ViewAsReal", dependence=one_hot),
    Entry(operations="MultiHot", dependence=multi_hot),
    Entry(operations="ViewAsComplex", dependence=glued),
    Entry(operations="View", dependence=reinterpreted),
)
