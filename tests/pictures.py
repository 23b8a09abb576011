"""Results to draw, and what is read off their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.definitions import get_definition
from keras_erf.results.effective import EffectiveReceptiveField

LONG = "backbone/encoder_stage_3/bottleneck_block_2/depthwise_convolution"


@dataclass(frozen=True)
class OneBox:
    """Answers for one unit, as `geometry.Tracer` wants."""

    only: Box

    def box(self, unit: tuple[int, ...]) -> Box:
        return self.only

    def visible(self, unit: tuple[int, ...]) -> Box:
        raise NotImplementedError

    def support(self, unit: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError


def make_result(
    maps,
    box: Box | None = None,
    *,
    layer: str = "conv",
    status: str = "exact",
    definition: str = "luo2016",
    dead: int = 0,
) -> EffectiveReceptiveField:
    """A result whose samples' maps are `maps`, one block for each; the whole input by default."""
    maps = np.asarray(maps, dtype=np.float64)
    shape = maps.shape[1:]
    box = tuple((0, size) for size in shape) if box is None else box
    unit = tuple((start + stop) // 2 for start, stop in box)
    field = ReceptiveField(
        layer=layer,
        input="input",
        unit=unit,
        input_size=shape,
        output_size=shape,
        size=tuple(stop - start for start, stop in box),
        stride=(1,) * len(shape),
        padding=tuple(at - start for at, (start, _) in zip(unit, box, strict=True)),
        status=status,
        tracer=OneBox(box),
    )
    counts = np.ones(len(maps), dtype=np.int64)
    return EffectiveReceptiveField(maps, counts, dead, field, get_definition(definition), {})


def gaussian(shape, center, precision, amplitude=1.0) -> np.ndarray:
    offset = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) - np.array(center)
    return amplitude * np.exp(-0.5 * np.einsum("...i,ij,...j", offset, precision, offset))


def draw(ax: Axes) -> Figure:
    figure = ax.figure
    figure.canvas.draw()
    return figure


def labels(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def caption(ax: Axes) -> str:
    (text,) = ax.texts
    return text.get_text()


def line(ax: Axes, label: str) -> np.ndarray:
    """Points of the line with that label, shape (2, points)."""
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return np.array(found.get_data())


def bell(sigma: float, side: int, *, shape=(33, 37), center=(15, 18), **options):
    """A Gaussian in the middle of a square field, in two samples of one and three times it."""
    (row, column), half = center, side // 2
    box = ((row - half, row + half + 1), (column - half, column + half + 1))
    one = gaussian(shape, center, np.eye(2) / sigma**2)
    return make_result([0.5 * one, 1.5 * one], box, **options)
