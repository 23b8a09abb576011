"""Gradients along the signal: what random weights have in common with the gradient behind them.

Behind an activation the gradient of `z = W a` is a function `h(z)` of the weights themselves.
Over random weights `W' h(W a)` has a mean, along the signal: for Gaussian `z` it is `a` times
`E[W^2] E[h(z) z] / E[z^2]`, summed over the outputs. Squares alone leave it out. It adds up
over positions as numbers do, not as squares, and so stays near the unit.

The gradient of a tensor is then noise, whose squares the squared network carries, and modes:
maps `m(x)` times a function of the tensor's own entries. The seed of a unit is the mode `1`;
each layer of random weights makes one along its input, and turns those that reach it into noise.
The maps are gradients of lines: tensors parallel to the squares, with other factors.

Reference:
    Price, "A useful theorem for nonlinear devices having Gaussian inputs", IRE Transactions on
    Information Theory 4(2), 1958, pages 69-72, which gives the mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_erf.second_moments.correlation import SquareStep
from keras_erf.signals.signal_moments import Signal

if TYPE_CHECKING:
    from keras_erf.second_moments.building import SquareBuilder

__all__ = ["Coherence", "Coherent", "Source"]

# The largest number of tensors that a sum is followed to, and a share that is not seen.
MOST_WAYS, LEAST = 24, 1e-6


@dataclass(frozen=True, eq=False)
class Source:
    """Squares that modes add to a tensor's.

    Args:
        number: Of the tensor in the squared network.
        modes: Places of the modes among those of the unit; -1 is the unit's seed.
        products: Means of products of what each of two modes has there, shape `(modes, modes)`;
            zero for the seed by itself, which the squares hold.
        channels: Of each mode the channel axis of its map, the batch not counted, and the channels
            that the tensor is; `None` where it is all of them.
    """

    number: int
    modes: tuple[int, ...]
    products: np.ndarray = field(repr=False)
    channels: tuple[tuple[int, int, int] | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Coherent:
    """The modes of a unit of a tensor.

    Args:
        line: The tensor whose gradients are the modes' maps.
        modes: The tensors by which to differentiate it, one per mode.
        sources: The squares that they add.
    """

    line: int
    modes: tuple[int, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class _Way:
    """A tensor that is a summand of another one, or some of its channels.

    Args:
        number: Of the summand.
        slopes: Of the activations between, at each example.
        rows: Those of the other tensor's examples that are its channels.
        own: The same rows of its own examples.
        centred: Whether a batch normalisation takes off the mean of each channel between.
        start: Its first channel in the other tensor, where one channel does not stand for all.
    """

    number: int
    slopes: np.ndarray
    rows: np.ndarray
    own: np.ndarray
    centred: bool = False
    start: int = 0


class _Key(NamedTuple):
    """What a mode is along: a tensor's entries, less their channels' means or not; or a seed."""

    tensor: int
    centred: bool = False
    seed: bool = False


class _Entry(NamedTuple):
    """A mode, in one of its tensor's summands; and its place among the modes of a unit."""

    key: _Key
    way: int
    place: int


class Coherence:
    """Follows summands through a network, and builds lines where they are asked for.

    Args:
        builder: What lines are added to.
        signals: Examples of all tensors.
        narrow: Whether one channel stands for all of a tensor's.
        random: Whether weights are random, so that channels of one summand are alike.
    """

    def __init__(
        self, builder: SquareBuilder, signals: Mapping[int, Signal], *, narrow: bool, random: bool
    ) -> None:
        self.builder, self.signals, self.narrow, self.random = builder, signals, narrow, random
        self.ways: dict[int, list[_Way]] = {}
        self.weighted: dict[int, SquareStep] = {}
        # Means over windows of what random weights made, which are sums with random weights too.
        self.pooled: dict[int, SquareStep] = {}
        # What makes the tensors, in this order.
        self.steps: dict[int, SquareStep] = {}
        self.origins: dict[_Key, list[tuple[_Key, _Way, float]]] = {}
        self.modes: dict[_Key, int] = {}
        # What random weights make of a mode along their input.
        self.behind: dict[tuple[int, _Key], int] = {}
        self.products: dict[tuple[Any, Any], float] = {}

    def follow(self, step: SquareStep) -> None:
        """Learns what the output of a call is the sum of."""
        recipe, output = step.recipe, step.node.outputs[0]
        self.steps[output] = step
        if len(step.node.outputs) > 1:
            return
        if recipe.entrywise:
            self._through(step)
        elif recipe.joins:
            self._beside(step)
        elif recipe.weighted:
            self.weighted[output] = step
        elif recipe.mean and _is_linear(self.weighted.get(step.node.inputs[0])):
            self.pooled[output] = step

    def unit(self, number: int) -> Coherent | None:
        """The modes of units of a tensor; `None` where there are none."""
        seed = _Key(number, seed=True)
        reached, new = set[_Key](), [seed]
        while new:
            found = {key for one in new for key, _, _ in self._before(one)}
            new = list(found - reached)
            reached |= found
        if not reached:
            return None
        order = {tensor: place for place, tensor in enumerate(self.steps)}
        keys = sorted(reached, key=lambda key: (order.get(key.tensor, -1), key.centred))
        for key in keys:
            if key not in self.modes:
                # It stands in the place of the tensor, whatever leads to it.
                lines = [key.tensor, *self._lines(key)]
                self.modes[key] = self.builder.line(key.tensor, lines)
        line = self.builder.line(number, self._lines(seed))
        return Coherent(
            line, tuple(self.modes[key] for key in keys), tuple(self._sources(seed, keys))
        )

    def _through(self, step: SquareStep) -> None:
        """A call on single entries."""
        node, recipe, output = step.node, step.recipe, step.node.outputs[0]
        before = recipe.before or (1.0,) * len(node.inputs)
        if not all(isinstance(before[place], float) for place in step.places):
            return
        if not (isinstance(recipe.after, float) or self.random):
            return
        slopes = recipe.signals[0].slopes
        # Those of an activation before it, handed on by a scale, are in already.
        if any(self.signals[one].slopes is slopes for one in node.inputs):
            slopes = None
        self.ways[output] = [
            replace(
                way,
                slopes=way.slopes
                * math.sqrt(before[place])
                * (self._scale(step, way) if slopes is None else slopes[way.rows]),
                centred=way.centred or recipe.standardised,
            )
            for place in step.places
            # A tensor that is stretched is none of the sum's entries.
            if node.inputs[place] not in self.steps
            or self.steps[node.inputs[place]].shape == step.shape
            for way in self._ways(node.inputs[place])
        ][-MOST_WAYS:]

    def _scale(self, step: SquareStep, way: _Way) -> float:
        """The root of a call's factor, in the mean over the channels of a summand."""
        factor = step.recipe.after
        if not isinstance(factor, float):
            channels = np.moveaxis(factor, -len(step.shape) if step.first else -1, -1)
            count = self._count(way.number, step.first)
            factor = float(channels[..., way.start : way.start + count].mean())
        return math.sqrt(factor)

    def _count(self, number: int, first: bool) -> int:
        """How many channels a tensor has."""
        step = self.steps.get(number)
        shape = self.builder.tensors[number].shape if step is None else step.shape
        return int(shape[0 if first else -1] or 1)

    def _beside(self, step: SquareStep) -> None:
        """Tensors put one behind the other along the channels."""
        inputs, signal = step.node.inputs, step.recipe.signals[0]
        counts = [len(self.signals[number].sizes) or 1 for number in inputs]
        if len(signal.sizes) != sum(counts) or len(step.places) < len(inputs):
            return
        starts, found = iter(signal.ends), list[_Way]()
        start, channel = next(starts), 0
        for number in inputs:
            for first, last in itertools.pairwise(self.signals[number].ends):
                stop = next(starts)
                # Of a block of examples the first were taken.
                taken = np.arange(first, min(last, first + stop - start))
                found += [_among(way, taken, start - first, channel) for way in self._ways(number)]
                start = stop
            channel += 0 if self.narrow else self._count(number, step.first)
        self.ways[step.node.outputs[0]] = [way for way in found if len(way.rows)][-MOST_WAYS:]

    def _ways(self, number: int) -> list[_Way]:
        """The summands of a tensor: itself, if nothing else is known."""
        if number not in self.ways:
            signal = self.signals[number]
            slopes = signal.slopes if number in self.weighted else None
            rows = np.arange(len(signal.values))
            ones = np.ones_like(signal.values)
            self.ways[number] = [_Way(number, ones if slopes is None else slopes, rows, rows)]
        return self.ways[number]

    def _before(self, key: _Key) -> list[tuple[_Key, _Way, float]]:
        """What makes part of a mode: modes, the random weights behind each, and its share."""
        if key in self.origins:
            return self.origins[key]
        found, values = [], self._values(key)
        for way in self._ways(key.tensor):
            step = self._sums(way.number)
            if step is None:
                continue
            signal = self.signals[way.number]
            # What the weights made, before the activation of the same layer.
            sums = signal.values if signal.before is None else signal.before
            sums = _centred(sums, way.centred)[way.own]
            other = values[way.rows] * way.slopes
            power = float(np.square(sums).mean())
            share = float((other * sums).mean()) / power if power > 0 else 0.0
            if share**2 * power > LEAST * float(np.square(other).mean()):
                source = _Key(step.node.inputs[step.places[0]], way.centred)
                found.append((source, way, share))
        self.origins[key] = found
        return found

    def _sums(self, number: int) -> SquareStep | None:
        """The call whose random weights a tensor is a sum with."""
        pool = self.pooled.get(number)
        return self.weighted.get(number if pool is None else pool.node.inputs[0])

    def _lines(self, key: _Key) -> list[int]:
        """The lines that make part of a mode."""
        lines = []
        for source, way, share in self._before(key):
            known = way.number, source
            if known not in self.behind:
                pool = self.pooled.get(way.number)
                made = way.number if pool is None else pool.node.inputs[0]
                line = self.builder.repeated(self.weighted[made], self.modes[source])
                if pool is not None:
                    # Of n positions each is along the mean of all, with 1 / n of its square.
                    size = math.prod(pool.node.operation.pool_size)
                    line = self.builder.repeated(pool, line)
                    line = self.builder.scaled(key.tensor, line, 1 / math.sqrt(size))
                self.behind[known] = line
            line = self.builder.scaled(key.tensor, self.behind[known], share)
            lines.append(self._among_channels(key.tensor, way, line))
        return lines

    def _among_channels(self, tensor: int, way: _Way, line: int) -> int:
        """A line parallel to a summand as one of all of the tensor's channels."""
        first = self.steps[way.number].first
        count, own = (self._count(number, first) for number in (tensor, way.number))
        if self.narrow or count == own:
            return line
        return self.builder.padded(tensor, line, first, (way.start, count - own - way.start))

    def _sources(self, seed: _Key, keys: Sequence[_Key]) -> Iterable[Source]:
        """What modes, and the seed of a unit, add to the squares of each summand."""
        held: dict[int, list[_Entry]] = {}
        for place, key in enumerate([seed, *keys], -1):
            for index, way in enumerate(self._ways(key.tensor)):
                held.setdefault(way.number, []).append(_Entry(key, index, place))
        for summand, entries in held.items():
            places = tuple(entry.place for entry in entries)
            if max(places) < 0:
                continue
            products = np.array([[self._product(a, b) for b in entries] for a in entries])
            step = self.weighted.get(summand)
            # Behind an activation of its own squares have its slope in already.
            if step is not None and isinstance(step.recipe.after, float) and step.recipe.after:
                products = products / step.recipe.after
            yield Source(summand, places, products, tuple(map(self._channels, entries)))

    def _channels(self, entry: _Entry) -> tuple[int, int, int] | None:
        """The channel axis of a mode's map, and the channels that a summand is of them."""
        way, step = self._ways(entry.key.tensor)[entry.way], self.steps.get(entry.key.tensor)
        if self.narrow or step is None or way.number == entry.key.tensor:
            return None
        axis = 0 if step.first else len(step.shape) - 1
        return axis, way.start, way.start + self._count(way.number, step.first)

    def _product(self, one: _Entry, other: _Entry) -> float:
        """The mean product of two modes in a summand, over the rows that both have."""
        if one.key.seed and other.key.seed:
            # The squares hold the seed by itself.
            return 0.0
        known = min(one[:2], other[:2]), max(one[:2], other[:2])
        if known not in self.products:
            first, second = (self._ways(entry.key.tensor)[entry.way] for entry in (one, other))
            a, b = (
                self._values(entry.key)[way.rows] * way.slopes
                for entry, way in ((one, first), (other, second))
            )
            if not np.array_equal(first.own, second.own):
                _, i, j = np.intersect1d(
                    first.own, second.own, assume_unique=True, return_indices=True
                )
                a, b = a[i], b[j]
            self.products[known] = float((a * b).mean()) if a.size else 0.0
        return self.products[known]

    def _values(self, key: _Key) -> np.ndarray:
        """A mode at a tensor's examples."""
        values = self.signals[key.tensor].values
        return np.ones_like(values) if key.seed else _centred(values, key.centred)


def _is_linear(step: SquareStep | None) -> bool:
    """Whether a call is a sum with random weights and nothing more."""
    return step is not None and step.recipe.signals[0].slopes is None


def _centred(values: np.ndarray, centred: bool) -> np.ndarray:
    return values - values.mean(axis=1, keepdims=True) if centred else values


def _among(way: _Way, taken: np.ndarray, shift: int, channel: int) -> _Way:
    """What of a summand is among some rows of a tensor, which move, as its channels do."""
    held = np.isin(way.rows, taken)
    return replace(
        way,
        slopes=way.slopes[held],
        rows=way.rows[held] + shift,
        own=way.own[held],
        start=way.start + channel,
    )
