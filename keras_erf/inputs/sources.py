"""Sources of samples, and the specification of what they provide.

A source hands out batches as a list with one array per model input, always in
the same order for the same seed, whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from keras_erf.algebra.geometry import Box

__all__ = ["DEFAULT_SAMPLES", "NOISE", "Batches", "InputSpec", "Source"]

# The kinds of noise, by the names that ask for them.
NOISE = ("normal", "uniform", "zeros")
# How many samples are taken of what has no end, or is not meant as a whole.
DEFAULT_SAMPLES = 64

Batches = Generator[list[np.ndarray], None, None]


@dataclass(frozen=True)
class InputSpec:
    """What a model's input takes, and how much of it is asked for.

    Args:
        name: The input's name.
        shape: Its whole shape without the batch; arrays and datasets have it.
        dtype: Its dtype.
        channel_axis: Axis of the channels, the batch not counted.
        part: What is handed out, `(start, stop)` for each axis of `shape`;
            `None` is all of it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    channel_axis: int
    part: Box | None = None

    def __post_init__(self) -> None:
        box = self.box
        fits = len(box) == len(self.shape) and all(
            0 <= start <= stop <= size for (start, stop), size in zip(box, self.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"The part must lie within the shape. Received: {self}")

    @property
    def box(self) -> Box:
        """The part handed out, `(start, stop)` for each axis, the whole input spelt out."""
        return tuple((0, size) for size in self.shape) if self.part is None else self.part

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Shape of the part, the batch not counted."""
        return tuple(stop - start for start, stop in self.box)

    @property
    def cut(self) -> tuple[slice, ...]:
        """Slices that take the part from a batch of whole inputs; a view, not a copy."""
        return (slice(None), *(slice(start, stop) for start, stop in self.box))


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Args:
        description: What it is, for the result's provenance.
        count: How many samples it holds; `None` for no end.
        batches: Function from the batch size to a generator of batches, whose
            arrays have the shape `(samples, *part of the input)`.
        skipped: Names of what could not be read, filled while it is read.
        entire: Whether all of it is meant where no number of samples is asked for.
    """

    description: str
    count: int | None
    batches: Callable[[int], Batches]
    skipped: list[str]
    entire: bool = False

    @property
    def samples(self) -> int:
        """How many samples are taken where no number is asked for."""
        return self.count if self.entire and self.count else DEFAULT_SAMPLES
