"""The squared network of some units: a graph that stands beside the model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, Node, Tensor, plain_call
from keras_erf.rules.everything import whole
from keras_erf.rules.table import is_patched, look_up
from keras_erf.squaring import pointwise, spatial
from keras_erf.squaring.initial import Weights
from keras_erf.squaring.measured import MeasuredSquares, measured
from keras_erf.squaring.mixing import SquareStep, mixing
from keras_erf.squaring.recipes import DTYPE, FIRST, LAST, Recipe, SquareRule, SquareSite
from keras_erf.squaring.signals import Signal, drawn
from keras_erf.squaring.spatial import Resampled
from keras_erf.squaring.table import NARROW, SQUARES

__all__ = ["SquaredNetwork", "squared"]

# Layers of ours that stand for others run on whole tensors.
OWN = {MeasuredSquares: whole, Resampled: whole}


@dataclass(frozen=True, eq=False)
class SquaredNetwork:
    """A linear network whose gradients are the mean squares of another's.

    Args:
        tracing: Fields of its graph. Tensors have the numbers of those they stand for.
        narrow: Whether one channel stands for all of a tensor's.
        approximate: Names of the layers whose squares are approximations.
        measured: Names of the layers whose squares are measured by drawing.
    """

    tracing: Tracing = field(repr=False)
    narrow: bool
    approximate: tuple[str, ...]
    measured: tuple[str, ...]


def squared(
    tracing: Tracing, tensors: Sequence[int], *, weights: Weights, training: bool
) -> SquaredNetwork:
    """Builds the squared network that leads to some tensors.

    Args:
        tracing: Fields of the model's graph.
        tensors: Their numbers.
        weights: Which weights are squared; see `squares`.
        training: Whether dropout is active.

    Raises:
        InvalidInputError: The mean of some random weights is not zero.
        UnsupportedLayerError: As `receptive_field`.
    """
    for tensor in tensors:
        # Layers nobody knows are opened as far as this.
        tracing.channel_axis(tensor)
    found = tracing.graph.ancestors(*tensors)
    nodes = [one for node in found for one in _calls(tracing, node)]
    # Given weights differ from channel to channel.
    narrow = weights == "random" and all(_is_alike(tracing, node) for node in nodes)
    if narrow:
        try:
            return _built(tracing, nodes, weights, training, narrow=True)
        except _NotAlike:
            pass
    return _built(tracing, nodes, weights, training, narrow=False)


def _calls(tracing: Tracing, node: Node) -> list[Node]:
    """A call, or those inside a layer that was opened if the squares of all of them are known."""
    inside = tracing.inside(node)
    known = all(_rule(one, SQUARES) is not None and not _holds_tensors(one) for one in inside)
    return inside if known else [node]


def _holds_tensors(node: Node) -> bool:
    """Whether a call puts tensors that no call makes, weights say, beside those it is given.

    They are of the batch, and the dtype, that the layer around it was opened with.
    """
    if _rule(node, SQUARES) not in (pointwise.concatenated, spatial.moved):
        return False
    args, kwargs = node.filled_arguments()
    return any(getattr(one, "shape", ()) for one in keras.tree.flatten((args, kwargs)))


class _NotAlike(Exception):
    """The channels of some tensor are not alike."""


def _is_alike(tracing: Tracing, node: Node) -> bool:
    return not any(map(tracing.reaches, node.inputs)) or _rule(node, NARROW) is not None


def _rule(node: Node, table: Mapping[type | str, SquareRule]) -> SquareRule | None:
    if node.lead or is_patched(node.operation):
        return None
    return look_up(node.kind, table)


def _built(
    tracing: Tracing, nodes: Sequence[Node], weights: Weights, training: bool, *, narrow: bool
) -> SquaredNetwork:
    graph = tracing.graph
    signals = {number: drawn(1.0, 0.0, number) for number in graph.inputs}
    steps = list[SquareStep]()
    for node in nodes:
        places = tuple(p for p, one in enumerate(node.inputs) if tracing.reaches(one))
        site = SquareSite(
            node=node,
            call=tracing.call(node),
            signals=tuple(signals[number] for number in node.inputs),
            reached=places,
            channels=tracing.channel_axis(node.outputs[0]) if places else -1,
            narrow=narrow and bool(places),
            weights=weights,
            training=training,
            key=node.outputs[0],
        )
        recipe = _recipe(site)
        made = recipe.signals * (len(node.outputs) if len(recipe.signals) == 1 else 1)
        signals.update(zip(node.outputs, made, strict=True))
        if places:
            steps.append(SquareStep(node, recipe, places))
    builder = _Builder(tracing)
    users: dict[int, list[Node]] = {}
    for step in steps:
        for number in step.node.inputs:
            users.setdefault(number, []).append(step.node)
    for step in steps:
        builder.add(_aligned(step, users, signals))
    return SquaredNetwork(
        Tracing(builder.graph(tracing, narrow), tracing.input, OWN),
        narrow,
        tuple(
            one.node.name
            for one, mixes in zip(steps, mixing(steps), strict=True)
            if one.recipe.certainty == "approximate" or mixes
        ),
        tuple(one.node.name for one in steps if one.recipe.certainty == "measured"),
    )


def _recipe(site: SquareSite) -> Recipe:
    """By the rule of the table, or else measured."""
    node = site.node
    rule = _rule(node, SQUARES)
    recipe = None if rule is None else rule(site)
    partly = 0 < len(site.reached) < len(node.inputs)
    if recipe is None or (recipe.as_called and partly):
        if site.narrow:
            raise _NotAlike
        return measured(site)
    return recipe


def _aligned(
    step: SquareStep, users: Mapping[int, Sequence[Node]], signals: Mapping[int, Signal]
) -> SquareStep:
    """A sum whose gates before and behind it open together, as along a shortcut.

    Behind `relu(x + F(x))` with `x` from a ReLU, what that let pass is let pass again more
    often than by chance. The shortcut's squares weigh `E[s s'] / (E[s] E[s'])` more, with
    the squared slopes `s` and `s'` of the activations before and behind the sum.
    """
    node, recipe = step.node, step.recipe
    behind = users.get(node.outputs[0], ())
    if recipe.layer is not None or len(node.inputs) < 2 or len(behind) != 1:
        return step
    after = signals[behind[0].outputs[0]].slopes
    if after is None or len(behind[0].inputs) > 1 or not after.any():
        return step
    factors = list(recipe.before or (1.0,) * len(node.inputs))
    for place, number in enumerate(node.inputs):
        slopes = signals[number].slopes
        if slopes is not None and slopes.any() and slopes.shape == after.shape:
            factors[place] *= float((slopes * after).mean() / (slopes.mean() * after.mean()))
    return replace(step, recipe=replace(recipe, before=tuple(factors)))


class _Builder:
    """Puts the calls of the squared network in a row."""

    def __init__(self, tracing: Tracing) -> None:
        self.tensors = list(tracing.tensors)
        self.name = tracing.graph.name
        self.nodes: list[Node] = []

    def add(self, step: SquareStep) -> None:
        """Adds what stands for a call: factors before it, its layer, a factor behind it."""
        node, recipe = step.node, step.recipe
        before = recipe.before or (1.0,) * len(node.inputs)
        inputs = tuple(self._scaled(node, node.inputs[one], before[one]) for one in step.places)
        layer, name = recipe.layer, node.name
        first = getattr(node.operation, "data_format", None) == FIRST
        turned = first and getattr(layer, "data_format", None) == LAST
        if turned:
            inputs = tuple(
                self._turned(name, one, self.tensors[number].shape, last=True)
                for one, number in zip(inputs, node.inputs, strict=True)
            )
        steps = (turned and self._rank(node.outputs[0]) > 1, not _is_one(recipe.after))
        made = output = self._new(name) if any(steps) else node.outputs[0]
        if recipe.as_called:
            numbers = dict(zip(node.inputs, inputs, strict=True))
            self.nodes.append(
                replace(
                    node,
                    operation=layer,
                    inputs=inputs,
                    outputs=(output, *node.outputs[1:]),
                    numbers={key: numbers[number] for key, number in node.numbers.items()},
                )
            )
        else:
            if layer is None:
                layer = keras.layers.Add if len(inputs) > 1 else keras.layers.Identity
                layer = layer(dtype=DTYPE, name="squared")
            call = plain_call(name, layer, inputs, output)
            self.nodes.append(replace(call, outputs=(output, *node.outputs[1:])))
        if steps[0]:
            shape = self.tensors[node.outputs[0]].shape
            made = self._turned(
                name, output, shape, last=False, made=None if steps[1] else node.outputs[0]
            )
        if steps[1]:
            self._scale(name, recipe.after, made, node.outputs[0])

    def _rank(self, number: int) -> int:
        return len(self.tensors[number].shape)

    def _turned(
        self,
        name: str,
        number: int,
        shape: Sequence[int | None],
        *,
        last: bool,
        made: int | None = None,
    ) -> int:
        """Number of a tensor with its channels moved to the end, or from there to the front."""
        rank = len(shape)
        order = (*range(2, rank + 1), 1) if last else (rank, *range(1, rank))
        made = self._new(name) if made is None else made
        layer = keras.layers.Permute(order, dtype=DTYPE, name="squared")
        self.nodes.append(plain_call(name, layer, (number,), made))
        return made

    def _scaled(self, node: Node, number: int, factor: Any) -> int:
        """Number of a tensor multiplied by a factor."""
        if _is_one(factor):
            return number
        made = self._new(node.name)
        self._scale(node.name, factor, number, made)
        return made

    def _scale(self, name: str, factor: Any, source: int, made: int) -> None:
        layer = keras.layers.Rescaling(np.asarray(factor, DTYPE), dtype=DTYPE, name="squared")
        self.nodes.append(plain_call(name, layer, (source,), made))

    def _new(self, name: str) -> int:
        self.tensors.append(Tensor(name, (), DTYPE))
        return len(self.tensors) - 1

    def graph(self, tracing: Tracing, narrow: bool) -> Graph:
        """The calls with all tensors' shapes."""
        number, axis = tracing.input, tracing.graph.channel_axes[tracing.input]
        shape = list(tracing.shape(number))
        sizes = [size for place, size in enumerate(shape) if place != axis]
        if narrow:
            shape[axis] = 1
        self.tensors[number] = Tensor(self.tensors[number].name, tuple(shape), DTYPE)
        graph = Graph(
            name=self.name,
            inputs=(number,),
            outputs=(),
            nodes=tuple(self.nodes),
            tensors=tuple(self.tensors),
            layers={},
            channel_axes={number: axis},
        )
        return graph.resized({number: sizes})


def _is_one(factor: Any) -> bool:
    return isinstance(factor, float) and factor == 1.0
