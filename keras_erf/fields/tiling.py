"""Seamless tiles: how much input a tile needs around the part of the output it computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.algebra.intervals import Line, Reach, table
from keras_erf.algebra.strides import even_step
from keras_erf.errors import InvalidInputError
from keras_erf.fields.input_size import sized
from keras_erf.fields.theoretical import Rules, Target, locate
from keras_erf.types import KerasTensor, Layer, Model
from keras_erf.wording import by

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["TileOverlap", "tile_overlap"]


@dataclass(frozen=True)
class TileOverlap:
    """Input that a tile needs around the part of the output it computes, in input pixels.

    Args:
        layer: Name of the layer whose output is assembled.
        before: Pixels before the part, along each axis of the input.
        after: Pixels after it.
        step: A tile's first pixel and its size must be multiples of this, or
            strides and padding fall differently than on the whole image. The last
            tiles may end with the image.
        input_size: Size of the image for which this holds. If it is a multiple of
            `step`, it holds for all images whose size is.
        mass: Share of the effective field that lies within; `None` if the
            theoretical field does, and tiles are seamless.
        status: Status of the theoretical field.
    """

    layer: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    step: tuple[int, ...]
    input_size: tuple[int, ...]
    mass: float | None
    status: str


def tile_overlap(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    erf: EffectiveReceptiveField | None = None,
    mass: float = 0.99,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    rules: Rules | None = None,
) -> TileOverlap:
    """The overlap of tiles that a large image is cut into.

    A unit stands for the pixels of its own stride; its field extends beyond them
    by `before` and `after`. Cut with that halo, from multiples of `step`, tiles
    give the same output as the whole image. Where padding follows the size of the
    whole image (SAME with strides), that holds for multiples of `step` only, and
    other sizes are refused. Of the effective field most lies
    nearer: given `erf`, the smallest halo is found, as wide on all sides, that
    holds the share `mass` of its map.

    Examples:
        >>> model = keras_erf.zoo.build("subsample", depth=6, positions=(2, 4))
        >>> overlap = keras_erf.tile_overlap(model, input_shape=64)
        >>> overlap.layer, overlap.before, overlap.after, overlap.step
        ('conv6', (14, 14), (11, 11), (4, 4))

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        layer: The layer whose output is assembled from tiles; `None` as in
            `receptive_field`.
        erf: Result of `probe` for a unit of that layer.
        mass: Share of the effective field wanted, above 0 and at most 1.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        through_global: As in `receptive_field`.
        rules: As in `receptive_field`.

    Returns:
        A `TileOverlap`.

    Raises:
        InvalidInputError: The field is the entire input, or tiles of the image are
            padded in other places than the whole of it, so no tiles are
            seamless; or an argument does not fit the model.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule knows a layer on the path, and it cannot
            be measured.
    """
    if not isinstance(mass, (int, float)) or not 0 < mass <= 1:
        raise InvalidInputError(
            argument="mass",
            expected="must be a share above 0 and at most 1",
            received=f"mass={mass!r}",
        )
    target = locate(
        model,
        layer,
        input=input,
        input_shape=input_shape,
        through_global=through_global,
        rules=rules,
    )
    field, tracing = target.receptive_field, target.tracing
    known = tracing.known(target.tensor, through_global=through_global)
    reaches = known.reaches or ()
    if erf is None and known is not tracing.known(target.tensor, through_global=False):
        raise InvalidInputError(
            argument="layer",
            expected=f"{field.layer!r} sees as much of the input as there is, through a "
            "layer that gathers it: no tiles are seamless",
            remedy="Give an `erf`, or `through_global=False` for the local paths",
            received=f"layer={field.layer!r}",
        )
    if len(target.spatial_axes) != len(tracing.input_axes):
        raise InvalidInputError(
            argument="layer",
            expected="must have an axis for each axis of the input; a row of tokens has not",
            received=f"layer={field.layer!r} of {field.output_size}",
        )
    if None in field.stride:
        raise InvalidInputError(
            argument="layer",
            expected=f"{field.layer!r} must have units that move evenly over the input, "
            "which its own do not",
            remedy="Name a layer before it",
            received=f"layer={field.layer!r}",
        )
    strides = [Fraction(stride) for stride in field.stride if stride is not None]
    steps = _steps(target)
    if erf is not None:
        overlap = _effective(erf, field, strides, steps, mass)
        _check_tiles(target, overlap, rules)
        return overlap
    before, after = [], []
    shape = tracing.shape(target.tensor)
    for reach, stride in zip(reaches, strides, strict=True):
        starts, stops, units = _ends(reach, shape)
        nonempty = starts < stops
        own_starts = np.array([math.floor(unit * stride) for unit in units.tolist()])
        own_stops = np.array([math.ceil((unit + 1) * stride) for unit in units.tolist()])
        before.append(max(int((own_starts - starts)[nonempty].max()), 0))
        after.append(max(int((stops - own_stops)[nonempty].max()), 0))
    sides = tuple(before), tuple(after)
    overlap = TileOverlap(field.layer, *sides, steps, field.input_size, None, field.status)
    _check_tiles(target, overlap, rules)
    return overlap


def _check_tiles(target: Target, overlap: TileOverlap, rules: Rules | None) -> None:
    """Raises if the layers of a tile see other places than those of the whole image do."""
    tile = tuple(
        step * (-(-(before + after) // step) + 4)
        for before, after, step in zip(overlap.before, overlap.after, overlap.step, strict=True)
    )
    part = sized(target.graph, None, target.input, tile, False, rules)
    whole, received = target.tracing, f"layer={overlap.layer!r}, an input of "
    received += f"{by(overlap.input_size, 'x')} px"
    if target.tensor in part.graph.failures:
        raise InvalidInputError(
            argument="layer",
            expected=f"{overlap.layer!r} cannot be made of a tile of {by(tile, 'x')} px: "
            f"{part.graph.failures[target.tensor]}",
            remedy="Name a layer before it",
            received=received,
        )
    for node in whole.graph.ancestors(target.tensor):
        for tensor in node.outputs if any(map(whole.is_reached, node.inputs)) else ():
            pair = [
                tracing.known(tensor, through_global=False).reaches or ()
                for tracing in (whole, part)
            ]
            shapes = whole.shape(tensor), part.shape(tensor)
            for reach, other, size in zip(*pair, tile, strict=False):
                if _aligned(reach, other, shapes, size, last=tensor == target.tensor):
                    continue
                sizes = tuple(map(_rounded, overlap.input_size, overlap.step))
                if sizes == overlap.input_size:
                    raise InvalidInputError(
                        argument="layer",
                        expected=f"{overlap.layer!r} has no seamless tiles: what {node.name!r} "
                        "sees depends on the size of the whole image",
                        remedy="Name a layer before it",
                        received=received,
                    )
                raise InvalidInputError(
                    argument="input_shape",
                    expected=f"must be a multiple of {by(overlap.step, 'x')}: the padding of "
                    f"{node.name!r} follows the size of the whole image, and tiles of "
                    "others have seams",
                    remedy=f"Pad or crop the image to such a size, {by(sizes, 'x')} for one",
                    received=received,
                )


def _turned(reach: Reach) -> bool:
    """Whether fields move towards the beginning of the input."""
    if isinstance(reach, Line):
        return reach.step < 0
    return bool(reach.starts.ravel()[0] > reach.starts.ravel()[-1])


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _aligned(
    whole: Reach, part: Reach, shapes: tuple[Sequence[int], Sequence[int]], size: int, *, last: bool
) -> bool:
    """Whether the units of a tile at the image's beginning see what those of the image see.

    Units that see beyond the tile do not count, unless fields move evenly.
    """
    # What is turned around may be turned back later.
    if (whole.gathered and part.gathered) or (not last and _turned(whole) and _turned(part)):
        return True
    if isinstance(whole, Line) and isinstance(part, Line):
        # What moves evenly is described alike, whatever the size, but for its period.
        units = np.arange(math.lcm(whole.period, part.period) + 1)
        ends = [np.array(line.at(units)) for line in (whole, part)]
        return whole.axis == part.axis and bool((ends[0] == ends[1]).all())
    tables = table(whole, shapes[0]), table(part, shapes[1])
    shared = tuple(
        slice(min(pair)) for pair in zip(*(field.starts.shape for field in tables), strict=True)
    )
    ends = [np.array([field.starts[shared], field.stops[shared]]) for field in tables]
    inside = (ends[1][1] < size) & (ends[0][1] < size)
    return bool((ends[0] == ends[1])[:, inside].all())


def _ends(reach: Reach, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and stops of the fields that differ, and the units they are of."""
    if isinstance(reach, Line):
        units = np.arange(reach.period)
        return np.array(reach.starts), np.array(reach.stops), units
    axes = reach.axes
    if len(axes) != 1:
        raise InvalidInputError(
            argument="layer",
            expected="must be a layer whose units move along an axis of their own for "
            "each axis of the input",
            received=f"a layer of shape {tuple(shape)} without the batch",
        )
    return reach.starts.ravel(), reach.stops.ravel(), np.arange(reach.starts.size)


def _steps(target: Target) -> tuple[int, ...]:
    """Pixels after which the fields of all tensors on the path repeat."""
    sizes = target.tracing.spatial_shape(target.input)
    steps = [1] * len(sizes)
    for node in target.tracing.ancestors(target.tensor):
        for tensor in node.outputs:
            known = target.tracing.known(tensor, through_global=False)
            for place, (reach, size) in enumerate(zip(known.reaches or (), sizes, strict=False)):
                if isinstance(reach, Line):
                    step = reach.step
                else:
                    step = (
                        even_step(reach.starts.ravel(), reach.stops.ravel(), size) or 0
                    ).numerator
                steps[place] = math.lcm(steps[place], step or 1)
    return tuple(steps)


def _effective(
    erf: EffectiveReceptiveField,
    field: ReceptiveField,
    strides: Sequence[Fraction],
    steps: tuple[int, ...],
    mass: float,
) -> TileOverlap:
    """The halo that holds a share of an effective field's map."""
    if erf.layer != field.layer:
        raise InvalidInputError(
            argument="erf",
            expected=f"must be of the layer {field.layer!r}",
            received=f"a result of {erf.layer!r}",
        )
    if len(erf.unit) != len(strides):
        raise InvalidInputError(
            argument="erf",
            expected=f"must be of a unit with an index for each of {len(strides)} axes",
            received=f"unit {erf.unit}",
        )
    weights = np.abs(erf.map)
    own = [
        (math.floor(unit * stride), math.ceil((unit + 1) * stride))
        for unit, stride in zip(erf.unit, strides, strict=True)
    ]
    distances = [
        np.maximum(np.maximum(start - np.arange(size), np.arange(size) - (stop - 1)), 0)
        for (start, stop), size in zip(own, weights.shape, strict=True)
    ]
    # The halo a pixel needs is the largest of its distances along the axes.
    needed = np.zeros(weights.shape, dtype=int)
    for axis, distance in enumerate(distances):
        line = distance.reshape([-1 if place == axis else 1 for place in range(weights.ndim)])
        needed = np.maximum(needed, line)
    shares = np.cumsum(np.bincount(needed.ravel(), weights=weights.ravel())) / weights.sum()
    halo = int(np.searchsorted(shares, mass * (1 - 1e-12)))
    sides = (halo,) * weights.ndim
    share, status = float(shares[halo]), erf.receptive_field.status
    return TileOverlap(field.layer, sides, sides, steps, field.input_size, share, status)
