"""Mean squared gradients of a squared network's units, with what is along the signal."""

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
from keras_erf.squaring import Coherent

__all__ = ["squared_gradients"]


def squared_gradients(
    units: Sequence[Target], modes: Sequence[Coherent | None], cone: Cone, values: Mapping[int, Any]
) -> list[Any]:
    """Mean squared gradients of units with respect to the input, from one pass forwards.

    Args:
        units: Of the squared network, all of one input.
        modes: Of each unit those of its gradient; `None` where it has none.
        cone: What computes the units, and the lines of their modes.
        values: The input's part that the cone takes, by tensor number.

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
        tensors, seeds = [known[unit.tensor]], [_seed(unit, cone, known)]
        if coherent is not None:
            for number, squares in _added(unit, coherent, cone, known, tape).items():
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
    unit: Target, coherent: Coherent, cone: Cone, known: Mapping[int, Any], tape: tf.GradientTape
) -> dict[int, Any]:
    """The squares that modes add to tensors, by the tensors' numbers."""
    line = replace(unit, tensor=coherent.line)
    maps = tape.gradient(
        known[line.tensor],
        [known[number] for number in coherent.modes],
        output_gradients=_seed(line, cone, known),
        unconnected_gradients="zero",
    )
    numbers = (*coherent.modes, unit.tensor)
    arrays = [*map(np.asarray, maps), np.asarray(_seed(unit, cone, known))]
    added = {}
    for source in coherent.sources:
        parts = [
            _placed(
                arrays[place],
                cone.parts.get(numbers[place]),
                cone.parts.get(source.number),
                known[source.number].shape,
            )
            for place in source.modes
        ]
        stack = np.stack(parts)
        squares = np.einsum("i...,j...,ij->...", stack, stack, source.products)
        # Products of the seed with modes may take away no more than the seed has brought.
        added[source.number] = tf.constant(squares)
    return added


def _placed(values: np.ndarray, held: Box | None, wanted: Box | None, shape: Sequence[int]) -> Any:
    """A map on one part of a tensor on another part of it, zero where it was not."""
    if held == wanted and values.shape == tuple(shape):
        return values
    held = held or entire(values.shape[1:])
    wanted = wanted or entire(shape[1:])
    placed = np.zeros(shape)
    taken, put = [slice(None)], [slice(None)]
    for (start, stop), (first, last) in zip(held, wanted, strict=True):
        low, high = max(start, first), max(min(stop, last), max(start, first))
        taken.append(slice(low - start, high - start))
        put.append(slice(low - first, high - first))
    placed[tuple(put)] = values[tuple(taken)]
    return placed
