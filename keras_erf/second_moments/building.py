"""The calls of the squared network, put in a row.

It runs forwards as the transpose of how squared gradients go back. Each tensor stands for the
squared gradient of each channel. Where a normalisation over the channels comes before, a
second tensor stands for what the gradients of two channels have in common, the mean of
their products: it is there from the normalisation to the next random weights, which
make channels independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, Tensor, plain_call
from keras_erf.layers.recipes import DTYPE, FIRST, LAST
from keras_erf.second_moments.correlation import SquareStep
from keras_erf.second_moments.neighbour_layers import Apart, Overlap, Padded, Spread

__all__ = ["SquareBuilder"]


# The largest number of parts that a tensor is followed in.
MOST_PARTS = 12


class Part(NamedTuple):
    """A tensor that is part of another one, and its weight at each example of the signal."""

    number: int
    weights: np.ndarray


class SquareBuilder:
    """Collects calls and tensors.

    Args:
        tracing: Fields of the model's graph. Tensors keep their numbers.
        radii: By tensor, how far apart its positions are carried; see `neighbours`.
    """

    def __init__(self, tracing: Tracing, radii: Mapping[int, tuple[int, ...]]) -> None:
        self.radii = radii
        self.tensors = list(tracing.shapes.tensors)
        self.name = tracing.graph.name
        self.nodes: list[Any] = []
        # For each tensor with channels that have something in common, the one that stands for it.
        self.common: dict[int, int] = {}
        # For each tensor whose positions are carried apart, its companion.
        self.apart: dict[int, int] = {}
        self.parts: dict[int, list[Part]] = {}
        self.slopes: dict[int, np.ndarray] = {}

    def add(self, step: SquareStep) -> None:
        """Adds what stands for a call."""
        node, recipe = step.node, step.recipe
        before = recipe.before or (1.0,) * len(node.inputs)
        inputs = [self._scaled(node.name, node.inputs[p], before[p]) for p in step.places]
        if recipe.centred:
            self._add_centred(step, inputs[0])
            self._add_apart(step)
            return
        outputs = self._add_squares(step, inputs)
        found = [self.common.get(node.inputs[place]) for place in step.places]
        if recipe.common is None or not any(one is not None for one in found):
            return
        before = recipe.common_before or before
        paired = [
            (place, own, one)
            for place, own, one in zip(step.places, inputs, found, strict=True)
            if one is not None or recipe.as_called
        ]
        # A layer that takes all of its inputs takes zeros where nothing is in common.
        sources = [
            self._scaled(node.name, own if one is None else one, 0.0 if one is None else before[p])
            for p, own, one in paired
        ]
        made = [self._new(node.name) for _ in outputs]
        chosen = replace(step, places=tuple(place for place, _, _ in paired))
        if recipe.along and recipe.layer is None:
            self._spread(chosen, sources[:1], made, ((), ()))
        else:
            self._run(chosen, sources, recipe.common, made)
        self.common.update(zip(outputs, made, strict=True))

    def summed(self, number: int) -> int:
        """The tensor whose channels' sum has all the squares of a tensor's channels' sum."""
        if number not in self.common:
            return number
        name = self.tensors[number].name
        return self._sum(name, [number, self.common[number]], self._new(name))

    def line(self, number: int, numbers: Sequence[int]) -> int:
        """A tensor parallel to another one: the sum of some lines."""
        name = self.tensors[number].name
        if len(numbers) > 1:
            return self._sum(name, numbers, self._new(name))
        made = self._new(name)
        # An identity would give the same tensor, not one to differentiate by.
        self._scale(name, 1.0, numbers[0], made)
        return made

    def scaled(self, number: int, line: int, factor: float) -> int:
        """A line parallel to a tensor, multiplied by a number."""
        return self._scaled(self.tensors[number].name, line, factor)

    def padded(self, number: int, line: int, first: bool, channels: tuple[int, int]) -> int:
        """A line of some channels of a tensor, with zeros for the channels around them."""
        name = self.tensors[number].name
        layer, made = Padded(channels, first, dtype=DTYPE, name="squared"), self._new(name)
        self.nodes.append(plain_call(name, layer, (line,), made))
        return made

    def repeated(self, step: SquareStep, line: int) -> int:
        """What a call's layer makes of a line."""
        made = self._new(step.node.name)
        self._run(step, [line], 1.0, [made])
        return made

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

    def _add_centred(self, step: SquareStep, source: int) -> None:
        """A mean over the channels is taken off: what all have in common is gone.

        Of a squared gradient `d`, and `o` in common, is left `d - o`, and in common
        `-(d - o) / (C - 1)` of `C` channels, whose sum is zero.
        """
        node, recipe = step.node, step.recipe
        (output,), number = node.outputs, node.inputs[step.places[0]]
        count = step.channels
        if number in self.common:
            before = recipe.before[step.places[0]] if recipe.before else 1.0
            other = self._scaled(node.name, self.common[number], before)
            other = self._scaled(node.name, other, -1 / max(count - 1, 1))
            source = self._sum(node.name, [source, other], self._new(node.name))
        self._scale(node.name, recipe.after, source, output)
        self.common[output] = self._scaled(node.name, source, -np.asarray(recipe.common))

    def _add_squares(self, step: SquareStep, inputs: list[int]) -> Sequence[int]:
        """Squares, and what positions have in common, through a call."""
        node, recipe = step.node, step.recipe
        number, output = node.inputs[step.places[0]], node.outputs[0]
        far = self.radii.get(number, ()), self.radii.get(output, ())
        if recipe.along and (recipe.layer is None or any(far)):
            outputs = [output]
            if far[1]:
                outputs.append(self._new(node.name))
                self.apart[output] = outputs[1]
            if number in self.apart:
                before = recipe.before[step.places[0]] if recipe.before else 1.0
                inputs = [*inputs, self._scaled(node.name, self.apart[number], before)]
            else:
                far = (), far[1]
            self._spread(step, inputs, outputs, far)
            return node.outputs
        if not self._add_parts(step):
            self._run(step, inputs, recipe.after, node.outputs)
            self._add_fused(step)
        self._add_apart(step)
        return node.outputs

    def _add_parts(self, step: SquareStep) -> bool:
        """Follows through a call on single entries what comes from where; whether it added it.

        Activations along a shortcut open together: what one lets pass is let pass by the next
        more often than by chance. A tensor's parts came in at different places; each has its own
        weight at each of the signal's examples, the product of the squared slopes since.
        """
        node, recipe = step.node, step.recipe
        slopes = recipe.signals[0].slopes
        if slopes is not None:
            # Those of an activation before it, handed on by a dropout or a scale, are in already.
            known = any(self.slopes.get(node.inputs[place]) is slopes for place in step.places)
            self.slopes[node.outputs[0]] = slopes
            slopes = None if known else np.square(slopes)
        before = recipe.before or (1.0,) * len(node.inputs)
        factors = [recipe.after, *(before[place] for place in step.places)]
        if not recipe.entrywise or not all(isinstance(one, float) for one in factors):
            return False
        parts = [
            Part(part.number, part.weights * before[place])
            for place in step.places
            for part in self.parts.get(
                node.inputs[place], [Part(node.inputs[place], np.ones((1, 1), np.float32))]
            )
        ]
        gain = recipe.after if slopes is None else slopes.astype(np.float32)
        parts = self._fewer(node.name, [Part(one.number, one.weights * gain) for one in parts])
        output = node.outputs[0]
        self.parts[output] = parts
        if slopes is None or all(one.weights is gain or one.weights.size == 1 for one in parts):
            return False
        made = [self._scaled(node.name, one.number, float(one.weights.mean())) for one in parts]
        if len(made) == 1:
            layer = keras.layers.Identity(dtype=DTYPE, name="squared")
            self.nodes.append(plain_call(node.name, layer, tuple(made), output))
        else:
            self._sum(node.name, made, output)
        return True

    def _add_fused(self, step: SquareStep) -> None:
        """What an activation inside a layer lets pass, another one behind it lets pass too."""
        slopes = step.recipe.signals[0].slopes
        if not step.recipe.weighted or slopes is None or not slopes.any():
            return
        squares = np.square(slopes)
        weights = (squares / squares.mean()).astype(np.float32)
        output = step.node.outputs[0]
        self.parts[output], self.slopes[output] = [Part(output, weights)], slopes

    def _fewer(self, name: str, parts: list[Part]) -> list[Part]:
        """The parts, the oldest put together where there are many."""
        if len(parts) <= MOST_PARTS:
            return parts
        old, new = parts[: -MOST_PARTS + 1], parts[-MOST_PARTS + 1 :]
        made = [self._scaled(name, one.number, float(one.weights.mean())) for one in old]
        weights = old[-1].weights
        return [Part(self._sum(name, made, self._new(name)), weights / weights.mean()), *new]

    def _spread(
        self,
        step: SquareStep,
        inputs: Sequence[int],
        outputs: Sequence[int],
        far: Sequence[tuple[int, ...]],
    ) -> None:
        terms, name = step.recipe.along, step.node.name
        before, after = (one or (0,) * len(terms[0]) for one in far)
        layer = Spread(terms, before, after, first=step.first, dtype=DTYPE, name="squared")
        call = plain_call(name, layer, tuple(inputs), outputs[0])
        self.nodes.append(replace(call, outputs=tuple(outputs)))

    def _add_apart(self, step: SquareStep) -> None:
        """What positions have in common, through a call that keeps them apart."""
        node, recipe = step.node, step.recipe
        radius = self.radii.get(node.outputs[0])
        places = [place for place in step.places if node.inputs[place] in self.apart]
        if radius is None or not (places or recipe.largest):
            return
        steps = recipe.steps or (1.0,) * len(radius)
        made = []
        for place in places:
            number = node.inputs[place]
            before = self.radii[number]
            factor = recipe.before[place] if recipe.before else 1.0
            source = self._scaled(
                node.name, self.apart[number], _repeated(factor, before, step.first)
            )
            if recipe.layer is not None or before != radius:
                layer = Apart(recipe.layer, steps, before, radius, dtype=DTYPE, name="squared")
                source, taken = self._new(node.name), source
                self.nodes.append(plain_call(node.name, layer, (taken,), source))
            made.append(source)
        if recipe.largest:
            made.append(self._shared(step, radius))
        total = made[0] if len(made) == 1 else self._sum(node.name, made, self._new(node.name))
        factor = recipe.after if recipe.apart is None else recipe.apart
        self.apart[node.outputs[0]] = self._scaled(
            node.name, total, _repeated(factor, radius, step.first)
        )

    def _shared(self, step: SquareStep, radius: Sequence[int]) -> int:
        """What the windows of a maximum have in common; `_add_apart` scales it as all else."""
        node, recipe = step.node, step.recipe
        size, strides = recipe.largest or ((), ())
        layer = Overlap(
            size,
            strides,
            node.operation.padding,
            tuple(radius),
            first=step.first,
            dtype=DTYPE,
            name="squared",
        )
        made = self._new(node.name)
        self.nodes.append(plain_call(node.name, layer, (node.inputs[step.places[0]],), made))
        factor = recipe.after if recipe.apart is None else recipe.apart
        return self._scaled(node.name, made, recipe.after / factor)

    def _run(
        self, step: SquareStep, inputs: Sequence[int], after: Any, outputs: Sequence[int]
    ) -> Sequence[int]:
        """Adds a call's layer, and a factor behind it; returns the numbers of the outputs."""
        node, recipe = step.node, step.recipe
        layer, name = recipe.layer, node.name
        first = getattr(node.operation, "data_format", None) == FIRST
        turned = first and getattr(layer, "data_format", None) == LAST
        if turned:
            inputs = [
                self._turned(name, one, self.tensors[node.inputs[place]].shape, last=True)
                for one, place in zip(inputs, step.places, strict=True)
            ]
        steps = (turned and self._rank(node.outputs[0]) > 1, not _is_one(after))
        made = output = self._new(name) if any(steps) else outputs[0]
        if recipe.as_called:
            numbers = dict(zip(node.inputs, inputs, strict=True))
            call = replace(
                node,
                operation=layer,
                inputs=tuple(inputs),
                numbers={key: numbers[number] for key, number in node.numbers.items()},
            )
        else:
            if layer is None:
                layer = keras.layers.Add if len(inputs) > 1 else keras.layers.Identity
                layer = layer(dtype=DTYPE, name="squared")
            call = plain_call(name, layer, tuple(inputs), output)
        self.nodes.append(replace(call, outputs=(output, *outputs[1:])))
        if steps[0]:
            shape = self.tensors[node.outputs[0]].shape
            made = self._turned(
                name, output, shape, last=False, made=None if steps[1] else outputs[0]
            )
        if steps[1]:
            self._scale(name, after, made, outputs[0])
        return outputs

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

    def _sum(self, name: str, numbers: Sequence[int], made: int) -> int:
        layer = keras.layers.Add(dtype=DTYPE, name="squared")
        self.nodes.append(plain_call(name, layer, tuple(numbers), made))
        return made

    def _scaled(self, name: str, number: int, factor: Any) -> int:
        """Number of a tensor multiplied by a factor."""
        if _is_one(factor):
            return number
        made = self._new(name)
        self._scale(name, factor, number, made)
        return made

    def _scale(self, name: str, factor: Any, source: int, made: int) -> None:
        layer = keras.layers.Rescaling(np.asarray(factor, DTYPE), dtype=DTYPE, name="squared")
        self.nodes.append(plain_call(name, layer, (source,), made))

    def _new(self, name: str) -> int:
        self.tensors.append(Tensor(name, (), DTYPE))
        return len(self.tensors) - 1


def _repeated(factor: Any, radius: Sequence[int], first: bool) -> Any:
    """A factor for each channel of a companion, whose channels are last."""
    if first and np.ndim(factor) > 1:
        factor = np.moveaxis(factor, -len(radius) - 1, -1)
    if np.ndim(factor) == 0 or np.shape(factor)[-1] == 1:
        return factor
    return np.repeat(factor, math.prod(2 * one + 1 for one in radius), axis=-1)


def _is_one(factor: Any) -> bool:
    return isinstance(factor, float) and factor == 1.0
