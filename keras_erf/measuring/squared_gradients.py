"""Mean squared gradients of a squared network's units, including those along the signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone
from keras_erf.fields.theoretical import Target
from keras_erf.results.framing import reframed
from keras_erf.second_moments import Coherent

__all__ = ["squared_gradients"]


def squared_gradients(
    units: Sequence[Target], modes: Sequence[Coherent | None], cone: Cone, values: Mapping[int, Any]
) -> list[Any]:
    """Mean squared gradients of units with respect to the input, from one pass forwards.

    Returns:
        For each unit a tensor of the shape of the input's part; `None` where nothing leads
        from the input to the unit.
    """
    source = values[units[0].input]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(source)
        known = cone.run(values)
    gradients = []
    for unit, coherent in zip(units, modes, strict=True):
        seed = _seed(unit, cone, known)
        tensors, seeds = [known[unit.tensor]], [seed]
        if coherent is not None:
            for number, squares in _added(unit, seed, coherent, cone, known, tape).items():
                tensors.append(known[number])
                seeds.append(squares)
        gradients.append(tape.gradient(tensors, source, output_gradients=seeds))
    return gradients


def _seed(unit: Target, cone: Cone, known: Mapping[int, Any]) -> Any:
    """One for each of a unit's channels, zero elsewhere, of the shape of its tensor's part."""
    seed = np.zeros(known[unit.tensor].shape)
    index: list[Any] = [slice(None)] * seed.ndim
    part = cone.parts.get(unit.tensor)
    for axis, position in zip(unit.spatial_axes, unit.position, strict=True):
        index[axis + 1] = position - (part[axis][0] if part else 0)
    seed[tuple(index)] = 1
    return tf.constant(seed)


def _added(
    unit: Target,
    seed: Any,
    coherent: Coherent,
    cone: Cone,
    known: Mapping[int, Any],
    tape: tf.GradientTape,
) -> dict[int, Any]:
    """The squares that modes add to tensors, by the tensors' numbers."""

    def box(number: int) -> Box:
        return cone.parts.get(number) or entire(known[number].shape[1:])

    line = replace(unit, tensor=coherent.line)
    maps = tape.gradient(
        known[line.tensor],
        [known[number] for number in coherent.modes],
        output_gradients=_seed(line, cone, known),
        unconnected_gradients="zero",
    )
    numbers = (*coherent.modes, unit.tensor)
    arrays = [*map(np.asarray, maps), np.asarray(seed)]
    added = {}
    for source in coherent.sources:
        stack = np.stack(
            [
                reframed(
                    *_of_channels(arrays[place], box(numbers[place]), channels), box(source.number)
                )
                for place, channels in zip(source.modes, source.channels, strict=True)
            ]
        )
        squares = np.einsum("i...,j...,ij->...", stack, stack, source.products)
        added[source.number] = tf.constant(squares)
    return added


def _of_channels(
    values: np.ndarray, held: Box, channels: tuple[int, int, int] | None
) -> tuple[np.ndarray, Box]:
    """Some channels of a mode's map, and the part of the tensor of these channels that it is."""
    if channels is None:
        return values, held
    axis, start, stop = channels
    first, _ = held[axis]
    index = [slice(None)] * values.ndim
    index[axis + 1] = slice(start - first, stop - first)
    box = tuple(
        (0, stop - start) if place == axis else interval for place, interval in enumerate(held)
    )
    return values[tuple(index)], box
