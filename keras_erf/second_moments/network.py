"""The squared network of some units: a graph parallel to the model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import keras

from keras_erf.dependence.simple import whole
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Node
from keras_erf.layers.copying import concatenated_squares, copied_squares
from keras_erf.layers.entry import Entry
from keras_erf.layers.recipes import NotAlike, Recipe, Resampled, SquareSite
from keras_erf.layers.table import described, is_patched
from keras_erf.second_moments.building import SquareBuilder
from keras_erf.second_moments.coherence import Coherence, Coherent
from keras_erf.second_moments.composites import Composites
from keras_erf.second_moments.correlation import SquareStep, mixing
from keras_erf.second_moments.measured import MeasuredSquares, measured
from keras_erf.second_moments.neighbour_layers import Apart, Overlap, Padded, Spread
from keras_erf.second_moments.neighbours import merged, radii
from keras_erf.signals.initializers import Weights
from keras_erf.signals.signal_moments import Key, drawn

__all__ = ["SquaredNetwork", "squared"]

# Layers of ours that stand for others run on whole tensors.
# Mixed terms of this share, or less, are left out.
LARGE = 1.25
OWN = {
    MeasuredSquares: whole,
    Resampled: whole,
    Spread: whole,
    Apart: whole,
    Overlap: whole,
    Padded: whole,
}


@dataclass(frozen=True, eq=False)
class SquaredNetwork:
    """A linear network whose gradients are the mean squares of another's.

    Args:
        tracing: Fields of its graph. Tensors have the numbers of those they stand for.
        seeded: For each tensor that was asked for, the one whose channels' sum has the mean
            squared gradient: where channels have something in common, another one.
        modes: Of the tensors whose gradients have a mean along the signal, what follows from it.
        narrow: Whether one channel stands for all of a tensor's.
        bounds: Names of the calls that put gradients together that are not independent, where
            mixed terms may be large.
        approximate: Names of the layers whose squares are approximations.
        measured: Names of the layers whose squares are measured by drawing.
    """

    tracing: Tracing = field(repr=False)
    seeded: Mapping[int, int]
    modes: Mapping[int, Coherent]
    narrow: bool
    bounds: tuple[str, ...]
    approximate: tuple[str, ...]
    measured: tuple[str, ...]


def squared(
    tracing: Tracing,
    tensors: Sequence[int],
    *,
    weights: Weights,
    training: bool,
    bounded: bool = False,
) -> SquaredNetwork:
    """Builds the squared network that leads to some tensors.

    Args:
        tracing: Fields of the model's graph.
        tensors: Their numbers.
        weights: Which weights are squared; see `squares`.
        training: Whether dropout is active.
        bounded: Whether mixed terms that are left out are put in, at their largest.

    Raises:
        InvalidInputError: The mean of some random weights is not zero.
        UnsupportedLayerError: As `receptive_field`.
    """
    for tensor in tensors:
        # Unknown layers are opened up to this one.
        tracing.channel_axis(tensor)
    found = tracing.graph.ancestors(*tensors)
    # Examples are drawn by a call's place in the model, whatever else is asked for.
    calls = [
        (one, (node.outputs[0], place))
        for node in found
        for place, one in enumerate(_calls(tracing, node))
    ]
    # Given weights differ from channel to channel.
    narrow = weights == "random" and all(_is_alike(tracing, node) for node, _ in calls)
    if narrow:
        try:
            return _built(tracing, calls, tensors, weights, training, narrow=True, bounded=bounded)
        except NotAlike:
            pass
    return _built(tracing, calls, tensors, weights, training, narrow=False, bounded=bounded)


def _calls(tracing: Tracing, node: Node) -> list[Node]:
    """A call, or those inside a layer that was opened if the squares of all of them are known."""
    inside = tracing.inside(node)
    known = all(_described(one) is not None and not _holds_tensors(one) for one in inside)
    return inside if known else [node]


def _holds_tensors(node: Node) -> bool:
    """Whether a call takes tensors that no call makes, such as weights, next to those it is given.

    They are of the batch, and the dtype, that the layer around it was opened with.
    """
    entry = _described(node)
    if entry is None or entry.squares not in (concatenated_squares, copied_squares):
        return False
    args, kwargs = node.filled_arguments()
    return any(getattr(one, "shape", ()) for one in keras.tree.flatten((args, kwargs)))


def _is_alike(tracing: Tracing, node: Node) -> bool:
    entry = _described(node)
    return not any(map(tracing.is_reached, node.inputs)) or (entry is not None and entry.alike)


def _described(node: Node) -> Entry | None:
    """The entry of a call whose squares are known."""
    if node.lead or is_patched(node.operation):
        return None
    entry = described(node.kind)
    return None if entry is None or entry.squares is None else entry


def _built(
    tracing: Tracing,
    calls: Sequence[tuple[Node, Key]],
    tensors: Sequence[int],
    weights: Weights,
    training: bool,
    *,
    narrow: bool,
    bounded: bool = False,
) -> SquaredNetwork:
    graph = tracing.graph
    signals = {number: drawn(1.0, 0.0, (number,)) for number in graph.inputs}
    steps, composites = list[SquareStep](), Composites()
    for node, key in calls:
        places = tuple(p for p, one in enumerate(node.inputs) if tracing.is_reached(one))
        site = SquareSite(
            node=node,
            call=tracing.call(node),
            signals=tuple(signals[number] for number in node.inputs),
            reached=places,
            channels=tracing.channel_axis(node.outputs[0]) if places else -1,
            narrow=narrow and bool(places),
            weights=weights,
            training=training,
            key=key,
        )
        entry = _described(node)
        if entry is not None and entry.entrywise:
            composites.follow(site, entry.operands)
        found = composites.recipe(site, signals) if len(places) > 1 else None
        if found is not None:
            root, recipe = found
            node, places = replace(node, inputs=(root,)), (0,)
        else:
            recipe = _recipe(site)
        made = recipe.signals * (len(node.outputs) if len(recipe.signals) == 1 else 1)
        signals.update(zip(node.outputs, made, strict=True))
        if places:
            shape = site.call.output
            first = site.channels == 0 and len(shape) > 1
            steps.append(SquareStep(node, recipe, places, shape, first))
    steps = merged(steps)
    far, lost = radii(steps, tensors)
    mixed = mixing(steps, lost)
    builder = SquareBuilder(tracing, far)
    coherence = Coherence(builder, signals, narrow=narrow, random=weights == "random")
    for step, bound in zip(steps, mixed, strict=True):
        builder.add(_enlarged(step, bound) if bounded and bound > LARGE else step)
        coherence.follow(step)
    seeded = {number: builder.summed(number) for number in tensors}
    modes = {number: coherence.unit(number) for number in dict.fromkeys(tensors)}
    return SquaredNetwork(
        Tracing(builder.graph(tracing, narrow), tracing.input, OWN),
        seeded,
        {number: found for number, found in modes.items() if found is not None},
        narrow,
        tuple(one.node.name for one, bound in zip(steps, mixed, strict=True) if bound > LARGE),
        tuple(
            one.node.name
            for one, bound in zip(steps, mixed, strict=True)
            if one.recipe.certainty == "approximate" or bound > 1
        ),
        tuple(one.node.name for one in steps if one.recipe.certainty == "measured"),
    )


def _enlarged(step: SquareStep, bound: float) -> SquareStep:
    """A call with the largest squares that mixed terms can make."""
    before = step.recipe.before or (1.0,) * len(step.node.inputs)
    bounds = step.recipe.stretched or (bound,) * len(before)
    enlarged = tuple(one * factor for one, factor in zip(bounds, before, strict=True))
    return replace(step, recipe=replace(step.recipe, before=enlarged))


def _recipe(site: SquareSite) -> Recipe:
    """By the rule of the table, or else measured."""
    node = site.node
    entry = _described(node)
    recipe = None if entry is None or entry.squares is None else entry.squares(site)
    partly = 0 < len(site.reached) < len(node.inputs)
    if recipe is None or (recipe.as_called and partly):
        if site.narrow:
            raise NotAlike
        return measured(site)
    return recipe
