"""Tiles without seams: how much input a tile needs around what it answers for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.algebra.reach import Line, Reach
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Rules, Target, locate

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["TileOverlap", "tile_overlap"]


@dataclass(frozen=True)
class TileOverlap:
    """Input that a tile needs around the part of the output it answers for, in input pixels.

    Args:
        before: Pixels before the part, along each axis of the input.
        after: Pixels after it.
        step: A tile's first pixel and its size must be multiples of this, or
            strides and padding fall differently than on the whole image.
        mass: Share of the effective field that lies within; `None` if the
            theoretical field does, and tiles are seamless.
        status: Status of the theoretical field.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    step: tuple[int, ...]
    mass: float | None
    status: str


def tile_overlap(
    model: Any,
    layer: Any = None,
    *,
    erf: EffectiveReceptiveField | None = None,
    mass: float = 0.99,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    rules: Rules | None = None,
) -> TileOverlap:
    """The overlap of tiles that a large image is cut into.

    A unit answers for the pixels of its own stride; its field reaches over them
    by `before` and `after`. Cut with that halo, from multiples of `step`, tiles
    give the same output as the whole image. Of the effective field most lies
    nearer: given `erf`, the smallest halo is found, as wide on all sides, that
    holds the share `mass` of its map.

    Examples:
        >>> model = keras_erf.zoo.build("subsample", depth=6, positions=(2, 4))
        >>> keras_erf.tile_overlap(model, input_shape=64)
        TileOverlap(before=(14, 14), after=(11, 11), step=(4, 4), mass=None, status='exact')

    Args:
        model: A Functional or Sequential Keras model.
        layer: The layer whose output is put together from tiles; `None` as in
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
        InvalidInputError: The field is the entire input, so no tiles are
            seamless; or an argument does not fit the model.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule knows a layer on the way, and it cannot
            be measured.
    """
    if not isinstance(mass, (int, float)) or not 0 < mass <= 1:
        raise InvalidInputError(
            f"`mass` must be a share above 0 and at most 1. Received: mass={mass!r}"
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
    if erf is not None:
        return _effective(erf, field.layer, field.stride, _steps(target), mass)
    if known is not tracing.known(target.tensor, through_global=False):
        raise InvalidInputError(
            f"`layer` {field.layer!r} sees as much of the input as there is, through a layer that "
            "gathers it: no tiles are seamless. Give an `erf`, or `through_global=False` for the "
            f"local paths. Received: layer={field.layer!r}"
        )
    if len(target.spatial_axes) != len(tracing.input_axes):
        raise InvalidInputError(
            "`layer` must have an axis for each axis of the input; a row of tokens has not. "
            f"Received: layer={field.layer!r} of {field.output_size}"
        )
    before, after = [], []
    shape = tracing.shape(target.tensor)
    for reach, stride in zip(reaches, map(Fraction, field.stride), strict=True):
        starts, stops, units = _ends(reach, shape)
        seen = starts < stops
        own_starts = np.array([math.floor(unit * stride) for unit in units.tolist()])
        own_stops = np.array([math.ceil((unit + 1) * stride) for unit in units.tolist()])
        before.append(max(int((own_starts - starts)[seen].max()), 0))
        after.append(max(int((stops - own_stops)[seen].max()), 0))
    return TileOverlap(tuple(before), tuple(after), _steps(target), None, field.status)


def _ends(reach: Reach, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and stops of the fields that differ, and the units they are of."""
    if isinstance(reach, Line):
        units = np.arange(reach.period)
        return np.array(reach.starts), np.array(reach.stops), units
    axes = reach.axes
    if len(axes) != 1:
        raise InvalidInputError(
            "`layer` must be a layer whose units move along an axis of their own for each axis of "
            f"the input. Received: a layer of shape {tuple(shape)} without the batch"
        )
    return reach.starts.ravel(), reach.stops.ravel(), np.arange(reach.starts.size)


def _steps(target: Target) -> tuple[int, ...]:
    """Pixels after which the fields of all tensors on the way repeat."""
    steps = [1] * len(target.tracing.input_axes)
    for node in target.tracing.ancestors(target.tensor):
        for tensor in node.outputs:
            known = target.tracing.known(tensor, through_global=False)
            for place, reach in enumerate(known.reaches or ()):
                if isinstance(reach, Line) and reach.step:
                    steps[place] = math.lcm(steps[place], reach.step)
    return tuple(steps)


def _effective(
    erf: EffectiveReceptiveField,
    layer: str,
    strides: Sequence[int | Fraction],
    steps: tuple[int, ...],
    mass: float,
) -> TileOverlap:
    """The halo that holds a share of an effective field's map."""
    if erf.layer != layer:
        raise InvalidInputError(
            f"`erf` must be of the layer {layer!r}. Received: a result of {erf.layer!r}"
        )
    if len(erf.unit) != len(strides):
        raise InvalidInputError(
            f"`erf` must be of a unit with an index for each of {len(strides)} axes. "
            f"Received: unit {erf.unit}"
        )
    weights = np.abs(erf.map)
    own = [
        (math.floor(unit * stride), math.ceil((unit + 1) * stride))
        for unit, stride in zip(erf.unit, map(Fraction, strides), strict=True)
    ]
    distances = [
        np.maximum(np.maximum(start - np.arange(size), np.arange(size) - (stop - 1)), 0)
        for (start, stop), size in zip(own, weights.shape, strict=True)
    ]
    # The halo a pixel needs is the largest of its distances along the axes.
    needed = np.zeros(weights.shape, dtype=int)
    for axis, distance in enumerate(distances):
        line = distance.reshape([-1 if one == axis else 1 for one in range(weights.ndim)])
        needed = np.maximum(needed, line)
    shares = np.cumsum(np.bincount(needed.ravel(), weights=weights.ravel())) / weights.sum()
    halo = int(np.searchsorted(shares, mass * (1 - 1e-12)))
    sides = (halo,) * weights.ndim
    return TileOverlap(sides, sides, steps, float(shares[halo]), erf.receptive_field.status)
