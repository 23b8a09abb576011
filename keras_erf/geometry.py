"""Exact integer algebra of receptive fields, one axis at a time.

A *relation* says which indices of an input axis one index of an output axis
depends on. Two kinds are enough for sliding layers: `Window` (a kernel that
moves) and `Blocks` (groups of indices that see groups). A `View` puts one
relation on each axis of an input tensor; unions and compositions of views are
what a network does to a receptive field.

Intervals are half open, `(start, stop)`, in indices of the axis. They may start
below zero or end past the axis: that part lies in the padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

__all__ = [
    "Blocks",
    "Box",
    "Interval",
    "Link",
    "ReceptiveField",
    "Tracer",
    "View",
    "Window",
    "intersection",
    "union",
]

Interval = tuple[int, int]
Box = tuple[Interval, ...]


class Relation(Protocol):
    """What one axis of an input is to one axis of the output."""

    @property
    def ratio(self) -> Fraction:
        """Input indices moved per output index moved."""

    @property
    def period(self) -> int:
        """Output indices after which all that is seen has moved alike."""

    def interval(self, start: int, stop: int) -> Interval | None:
        """Smallest input interval seen by outputs `[start, stop)`, unclipped."""

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices in `[0, size)` seen by the outputs marked along axis 0."""


@dataclass(frozen=True)
class Window:
    """A sliding window.

    Output `o` sees input `i` where, for some tap `j < size`,

        up * i = o * stride - padding + j * dilation

    This covers convolutions and pools (`up=1`), their transposes
    (`stride=1`, `up` the transposed stride), nearest up-sampling
    (`size=up`), shifts, zero padding and cropping (`size=1`).
    It is the general dilated convolution with `up` as left-hand dilation.

    Args:
        size: Number of taps of the kernel.
        stride: Input steps per output step.
        dilation: Input steps between two taps.
        padding: Padding before the axis, in input steps (negative: cropping).
        up: Spacing given to the input before the window slides over it.
    """

    size: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    up: int = 1

    def __post_init__(self) -> None:
        if min(self.size, self.stride, self.dilation, self.up) < 1:
            raise ValueError(f"size, stride, dilation and up must be positive. Received: {self}")
        if self.stride > 1 and self.up > 1:
            raise ValueError(f"A window strides or up-samples, not both. Received: {self}")

    @property
    def ratio(self) -> Fraction:
        """Input indices moved per output index moved."""
        return Fraction(self.stride, self.up)

    @property
    def period(self) -> int:
        """Output indices after which all that is seen has moved alike."""
        return self.up

    def interval(self, start: int, stop: int) -> Interval | None:
        """Smallest input interval seen by outputs `[start, stop)`; `None` where they see none."""
        low = start * self.stride - self.padding
        high = (stop - 1) * self.stride - self.padding
        if self.up == 1:
            return low, high + (self.size - 1) * self.dilation + 1
        # Each tap sees a run of up-sampled positions; only multiples of `up` hold an input.
        runs = (
            (-(-(low + tap) // self.up), (high + tap) // self.up + 1)
            for tap in range(0, self.size * self.dilation, self.dilation)
        )
        return union(run for run in runs if run[0] < run[1])

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices in `[0, size)` seen by the outputs marked along axis 0."""
        result = np.zeros((size, *seen.shape[1:]), dtype=bool)
        base = np.arange(seen.shape[0]) * self.stride - self.padding
        for tap in range(0, self.size * self.dilation, self.dilation):
            position, rest = np.divmod(base + tap, self.up)
            outputs = np.flatnonzero((rest == 0) & (position >= 0) & (position < size))
            result[position[outputs]] |= seen[outputs]
        return result


@dataclass(frozen=True)
class Blocks:
    """Groups that see groups: output `o` sees the `inputs` indices of block `o // outputs`.

    Grouped convolutions have it on their channels; a depthwise convolution
    with multiplier m is `Blocks(outputs=m, inputs=1)`.
    """

    outputs: int
    inputs: int

    @property
    def ratio(self) -> Fraction:
        """Input indices moved per output index moved."""
        return Fraction(self.inputs, self.outputs)

    @property
    def period(self) -> int:
        """Output indices after which all that is seen has moved alike."""
        return self.outputs

    def interval(self, start: int, stop: int) -> Interval:
        """Input interval of the blocks that outputs `[start, stop)` are in."""
        return start // self.outputs * self.inputs, ((stop - 1) // self.outputs + 1) * self.inputs

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices of the blocks that the outputs marked along axis 0 are in."""
        blocks = seen.reshape(-1, self.outputs, *seen.shape[1:]).any(axis=1)
        return np.repeat(blocks, self.inputs, axis=0)


SAME_INDEX = Window()


@dataclass(frozen=True)
class Link:
    """Ties one axis of an input tensor to one axis of the output.

    Args:
        axis: Output axis (the batch not counted) the input axis follows, or
            `None` when every index of the input axis is used.
        relation: How it follows.
        clip: Whether the interval is cut at the input's edges at once; needed
            where neighbours on the axis come from elsewhere (concatenation).
    """

    axis: int | None
    relation: Relation = SAME_INDEX
    clip: bool = False


@dataclass(frozen=True)
class View:
    """How one input tensor of a layer is seen by its output: a link per input axis.

    Two views of one input are united: a normalisation over space sees its own
    position and, through its statistics, all of them.

    Args:
        links: One `Link` per axis of the input, the batch not counted.
        input: Which of the layer's inputs is seen.
    """

    links: tuple[Link, ...]
    input: int = 0

    def box(self, output: Box, shape: tuple[int, ...]) -> Box | None:
        """Box of the input (of `shape`) seen by the box `output`; `None` if nothing is seen."""
        intervals: list[Interval] = []
        for link, size in zip(self.links, shape, strict=True):
            if link.axis is None:
                seen: Interval | None = (0, size)
            else:
                seen = link.relation.interval(*output[link.axis])
                if seen is not None and link.clip:
                    seen = intersection(seen, (0, size))
            if seen is None:
                return None
            intervals.append(seen)
        return tuple(intervals)

    def mask(
        self, output: np.ndarray, output_shape: tuple[int, ...], shape: tuple[int, ...]
    ) -> np.ndarray:
        """Boolean mask of the input seen by the mask `output`.

        A mask's axis of length 1 stands for the whole axis where all its
        entries agree: channels usually do, and then cost nothing.
        """
        used = [link.axis for link in self.links if link.axis is not None]
        unused = tuple(axis for axis in range(output.ndim) if axis not in used)
        # Axes in the order of the input's; those the input does not follow are gathered.
        kept = np.transpose(output.any(axis=unused), np.argsort(np.argsort(used)))
        position = 0
        for axis, (link, size) in enumerate(zip(self.links, shape, strict=True)):
            if link.axis is None:
                kept = np.expand_dims(kept, axis)
                continue
            position += 1
            if kept.shape[axis] == 1:
                full = link.relation.backward(np.ones(output_shape[link.axis], bool), size)
                if full.all():
                    continue
                line = full.reshape((-1,) + (1,) * (kept.ndim - axis - 1))
                kept = kept & line
            else:
                moved = link.relation.backward(np.moveaxis(kept, axis, 0), size)
                kept = np.moveaxis(moved, 0, axis)
        return kept


def union(intervals: Iterable[Interval]) -> Interval | None:
    """Smallest interval that holds all of `intervals`; `None` for none."""
    intervals = list(intervals)
    if not intervals:
        return None
    return min(start for start, _ in intervals), max(stop for _, stop in intervals)


def intersection(first: Interval, second: Interval) -> Interval | None:
    """Common part of two intervals; `None` where they do not meet."""
    start, stop = max(first[0], second[0]), min(first[1], second[1])
    return (start, stop) if start < stop else None


class Tracer(Protocol):
    """Answers for any unit of one layer; every box is in input pixels."""

    def box(self, unit: tuple[int, ...]) -> Box:
        """Unclipped box of what the unit sees."""

    def visible(self, unit: tuple[int, ...]) -> Box:
        """Tight box of the pixels the unit really sees."""

    def support(self, unit: tuple[int, ...]) -> np.ndarray:
        """Boolean mask over the input of the pixels the unit really sees."""


@dataclass(frozen=True)
class ReceptiveField:
    """Theoretical receptive field of one unit of a layer.

    Lengths are input pixels and tuples have one entry per spatial axis of the
    input. Size, stride, padding and centre are those of Araujo, Norris and Sim
    (Distill, 2019, "Computing Receptive Fields of Convolutional Neural
    Networks", section 2): unit `u` covers pixels
    `-padding + u * stride` to `-padding + u * stride + size - 1`.

    Args:
        layer: Name of the layer, a path in nested models.
        input: Name of the input.
        unit: Index of the unit in the layer's map, one entry per spatial axis.
        input_size: Spatial shape of the input.
        output_size: Spatial shape of the layer's map.
        size: Extent of the unit's field, padding included.
        stride: Pixels the field moves per unit; a `Fraction` for up-sampled maps.
        padding: Pixels the first unit's field starts before the input.
        status: How sure the answer is: `"exact"`; `"bound"`, a box that surely
            contains the field; `"measured"`, an unknown layer was probed by
            itself; `"whole"`, the entire input is seen.
        tracer: Answers for the other units.
    """

    layer: str
    input: str
    unit: tuple[int, ...]
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int | Fraction, ...]
    padding: tuple[int, ...]
    status: str
    tracer: Tracer = field(repr=False, compare=False)

    def box(self, unit: tuple[int, ...] | None = None) -> Box:
        """Pixels the unit's field spans, `(start, stop)` per axis, not cut at the input's edges."""
        return self.tracer.box(self.unit if unit is None else unit)

    def center(self, unit: tuple[int, ...] | None = None) -> tuple[float, ...]:
        """Centre of the unit's field in pixel coordinates (pixel i is at i; halves occur)."""
        return tuple((start + stop - 1) / 2 for start, stop in self.box(unit))

    def visible(self, unit: tuple[int, ...] | None = None) -> Box:
        """Smallest box, `(start, stop)` per axis, of the pixels the unit really sees."""
        return self.tracer.visible(self.unit if unit is None else unit)

    def support(self, unit: tuple[int, ...] | None = None) -> np.ndarray:
        """Boolean mask of shape `input_size`: the pixels the unit really sees, holes included."""
        return self.tracer.support(self.unit if unit is None else unit)
