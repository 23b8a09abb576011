"""Exact integer algebra of receptive fields, one axis at a time.

A *relation* says which indices of an input axis one index of an output axis
depends on. `Window` is a kernel that moves, `Blocks` are groups of indices that
see groups, `Ranges` have a run of indices for each output, and `Marks` any set.

Intervals are half open, `(start, stop)`, in indices of the axis. They may start
below zero or end past the axis: that part lies in the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from typing import Any, Protocol

import numpy as np

from keras_erf.wording import by

__all__ = [
    "Blocks",
    "Box",
    "Interval",
    "Marks",
    "Ranges",
    "ReceptiveField",
    "Relation",
    "Tracer",
    "Window",
    "as_index",
    "bounding_box",
    "index_within",
]

Interval = tuple[int, int]
Box = tuple[Interval, ...]


def bounding_box(mask: np.ndarray) -> Box:
    """Smallest box of the marked places, `(start, stop)` per axis; `(0, 0)` if there are none."""
    axes = set(range(mask.ndim))
    lines = (np.flatnonzero(mask.any(axis=tuple(axes - {axis}))) for axis in range(mask.ndim))
    return tuple((int(line[0]), int(line[-1]) + 1) if line.size else (0, 0) for line in lines)


def as_index(given: Any) -> tuple[Any, ...]:
    """The entries of an index: of a tuple, list, range or NumPy array, or the one number itself."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    return tuple(given) if isinstance(given, (tuple, list, range)) else (given,)


def index_within(index: Any, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """`index` as a tuple of ints, one inside each of `sizes`; `None` if it is not that."""
    given = as_index(index)
    fits = len(given) == len(sizes) and all(
        isinstance(one, (int, np.integer)) and not isinstance(one, bool) and 0 <= one < size
        for one, size in zip(given, sizes, strict=True)
    )
    return tuple(int(one) for one in given) if fits else None


class Relation(Protocol):
    """What one axis of an input is to one axis of the output."""

    @property
    def ratio(self) -> Fraction:
        """Input indices moved per output index moved."""

    @property
    def period(self) -> int | None:
        """Output indices after which all that is seen has moved alike; `None` if it never does."""

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`.

        Returns:
            Indices, of shape `(len(outputs), taps)` and not cut at the axis's
            ends, and which of them count.
        """

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

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`, and which of them count."""
        reach = np.arange(self.size) * self.dilation - self.padding
        positions, rest = np.divmod(outputs[:, None] * self.stride + reach, self.up)
        return positions, rest == 0

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

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`; all of them count."""
        positions = (outputs // self.outputs * self.inputs)[:, None] + np.arange(self.inputs)
        return positions, np.ones(positions.shape, dtype=bool)

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices of the blocks that the outputs marked along axis 0 are in."""
        blocks = seen.reshape(-1, self.outputs, *seen.shape[1:]).any(axis=1)
        return np.repeat(blocks, self.inputs, axis=0)


@dataclass(frozen=True)
class Ranges:
    """A run of input indices for each output: output `o` sees `[starts[o], stops[o])`.

    Resizing, adaptive pooling, flipping and causal attention have it. Runs lie
    inside the input axis; an empty one sees nothing.

    Args:
        starts: First index of each output's run.
        stops: Index after its last.
        ratio: Input indices moved per output index moved, on average.
    """

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    ratio: Fraction = Fraction(1)

    @property
    def period(self) -> None:
        """Runs repeat by no rule."""
        return None

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`, and which of them count."""
        starts, stops = np.array(self.starts), np.array(self.stops)
        inside = (outputs >= 0) & (outputs < len(starts))
        places = np.where(inside, outputs, 0)
        longest = max(int((stops - starts).max(initial=0)), 1)
        positions = starts[places][:, None] + np.arange(longest)
        return positions, inside[:, None] & (positions < stops[places][:, None])

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices in `[0, size)` seen by the outputs marked along axis 0."""
        # A run adds one where it starts and takes it away where it stops.
        ends = np.zeros((size + 1, *seen.shape[1:]), dtype=np.int64)
        for output, (start, stop) in enumerate(zip(self.starts, self.stops, strict=True)):
            if start < stop:
                ends[start] += seen[output]
                ends[stop] -= seen[output]
        return np.cumsum(ends, axis=0)[:size] > 0


@dataclass(frozen=True, eq=False)
class Marks:
    """Any relation of two axes, as a table: output `o` sees the inputs marked in row `o`.

    Args:
        table: Boolean array of shape `(outputs, inputs)`.
    """

    table: np.ndarray

    @property
    def ratio(self) -> Fraction:
        """Input indices per output index."""
        outputs, inputs = self.table.shape
        return Fraction(inputs, outputs)

    @property
    def period(self) -> None:
        """Nothing is known of a repetition."""
        return None

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`, and which of them count."""
        count, size = self.table.shape
        inside = (outputs >= 0) & (outputs < count)
        marked = self.table[np.where(inside, outputs, 0)] & inside[:, None]
        return np.broadcast_to(np.arange(size), marked.shape), marked

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices in `[0, size)` seen by the outputs marked along axis 0."""
        return np.tensordot(self.table.T.astype(np.float32), seen.astype(np.float32), axes=1) > 0


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
        stride: Pixels the field moves per unit; a `Fraction` for up-sampled maps, and
            `None` where units move unevenly.
        padding: Pixels the first unit's field starts before the input; `None`
            where there is no stride.
        status: How sure the answer is: `"exact"`; `"bound"`, a box that surely
            contains the field; `"measured"`, an unknown layer was probed by
            itself; `"whole"`, the entire input is seen.
        tracer: Answers for the other units.
        size_range: Smallest size over the interior units, those whose boxes lie
            inside the input (over all units if there are none), and the largest
            over all units; where layers gather the input, over the interior ones. The
            units of decoders have fields of several sizes, and papers print the
            largest. Where boxes may be larger than what is seen (`status`
            `"bound"`), these are sizes of the boxes.
        size_median: Median size over the interior units.
    """

    layer: str
    input: str
    unit: tuple[int, ...]
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int | Fraction | None, ...]
    padding: tuple[int | None, ...]
    status: str
    tracer: Tracer = field(repr=False, compare=False)
    size_range: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    size_median: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.size_range:
            object.__setattr__(self, "size_range", tuple((size, size) for size in self.size))
        if not self.size_median:
            object.__setattr__(self, "size_median", tuple(map(float, self.size)))

    def _repr_html_(self) -> str:
        """What notebooks show: a table."""
        rows = {
            "layer, unit": f"{self.layer}, {self.unit}",
            "sees": f"{by(self.size)} px of {self.input}, {by(self.input_size)} px",
            "size over its units": f"{by(self.size_range)} px",
            "stride": by(self.stride) + ("" if None in self.stride else " px"),
            "map": by(self.output_size),
            "status": self.status,
        }
        if all(low == high for low, high in self.size_range):
            del rows["size over its units"]
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in rows.items()
        )
        return f'<table style="text-align:left">{cells}</table>'

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
