"""Layers of the second-moment network that carry what positions and channels have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.layers.recipes import DTYPE, Matrices
from keras_erf.types import Array, Layer

__all__ = ["Apart", "Overlap", "Padded", "Spread"]

Radius = tuple[int, ...]


class Spread(keras.Layer):
    """Squares, and what neighbours have in common, through a layer without weights.

    Args:
        terms: Matrices along each axis of space, of each path; paths add.
        before: Radius of what the input has in common.
        after: That of the output.
        first: Whether the channels of the squares are their first axis; a companion's never are.
    """

    def __init__(
        self,
        terms: Sequence[Matrices],
        before: Radius,
        after: Radius,
        *,
        first: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.before, self.after, self.first = before, after, first
        self.maps = [
            [
                _pairs(one, other, *far)
                for one, other, *far in zip(first, second, before, after, strict=True)
            ]
            for first in terms
            for second in terms
        ]
        self.space = [matrix.shape[0] for matrix in terms[0]]

    def call(self, inputs: Array) -> Array:
        """The squares, and the companion where there is one."""
        squares, *companions = keras.tree.flatten(inputs)
        count = len(self.space)
        if self.first:
            squares = keras.ops.moveaxis(squares, 1, -1)
        values = squares[(..., *[None] * count)]
        shape = [2 * one + 1 for one in self.before]
        padding = [[0, 0]] * (count + 2) + [[one, one] for one in self.before]
        values = tf.pad(values, padding)
        for companion in companions:
            values += tf.reshape(companion, tf.concat([tf.shape(squares), shape], 0))
        made = tf.add_n([self._mapped(values, maps) for maps in self.maps])
        centre = made[(..., *self.after)]
        shape = tf.concat([tf.shape(centre)[:-1], [-1]], 0)
        if self.first:
            centre = keras.ops.moveaxis(centre, -1, 1)
        if not any(self.after):
            return centre
        hole = np.ones([2 * one + 1 for one in self.after])
        hole[self.after] = 0
        made = made * tf.constant(hole, made.dtype)
        return [centre, tf.reshape(made, shape)]

    def _mapped(self, values: Array, maps: Sequence[np.ndarray]) -> Array:
        """The product along every axis and its offsets."""
        count = len(self.space)
        for axis, matrix in enumerate(maps):
            own, offsets = axis + 1, axis + 2 + count
            values = tf.tensordot(
                values, tf.constant(matrix, values.dtype), [[own, offsets], [1, 3]]
            )
            # The new axes are the last two: positions, then offsets.
            rank = len(values.shape)
            order = list(range(rank - 2))
            order.insert(own, rank - 2)
            order.insert(offsets, rank - 1)
            values = tf.transpose(values, order)
        return values

    def compute_output_spec(self, inputs: Array) -> Any:
        """The shapes of both."""
        squares = keras.tree.flatten(inputs)[0]
        batch, channels = squares.shape[0], squares.shape[1 if self.first else -1]
        shape = (channels, *self.space) if self.first else (*self.space, channels)
        made = keras.KerasTensor((batch, *shape), dtype=DTYPE)
        if not any(self.after):
            return made
        count = channels * math.prod(2 * one + 1 for one in self.after)
        return [made, keras.KerasTensor((batch, *self.space, count), dtype=DTYPE)]


def _pairs(one: np.ndarray, other: np.ndarray, before: int, after: int) -> np.ndarray:
    """`A[o, x] B[o + e, x + d]`, of shape `(o, x, e, d)`; zero where one is outside."""
    wide = np.pad(other, ((after, after), (before, before)))
    rows, columns = one.shape
    return np.stack(
        [
            np.stack(
                [one * wide[e : e + rows, d : d + columns] for d in range(2 * before + 1)], axis=-1
            )
            for e in range(2 * after + 1)
        ],
        axis=-2,
    )


class Apart(keras.Layer):
    """A companion through a layer that keeps offsets, or makes all of them longer or shorter.

    Args:
        layer: What squares go through; `None` is nothing.
        steps: Along each axis, by what an offset of the output is multiplied before it.
        before: Radius of the input's companion.
        after: That of the output's.
    """

    def __init__(
        self, layer: Layer, steps: Sequence[float], before: Radius, after: Radius, **options: Any
    ) -> None:
        super().__init__(**options)
        self.layer, self.before, self.after = layer, before, after
        self.places = [_places(step, *far) for step, *far in zip(steps, before, after, strict=True)]

    def call(self, companion: Array) -> Array:
        """The companion of the output."""
        count = len(self.before)
        shape, sizes = tf.shape(companion), [2 * one + 1 for one in self.before]
        values = tf.reshape(companion, tf.concat([shape[:-1], [-1], sizes], 0))
        for axis, places in enumerate(self.places):
            values = tf.gather(
                tf.pad(values, [[0, int(one == axis + count + 2)] for one in range(2 * count + 2)]),
                places,
                axis=axis + count + 2,
            )
        if self.layer is not None:
            offsets = range(count + 2, 2 * count + 2)
            values = tf.transpose(values, [*offsets, *range(count + 2)])
            fields = [2 * one + 1 for one in self.after]
            values = tf.reshape(values, tf.concat([[-1], tf.shape(values)[count + 1 :]], 0))
            values = self.layer(values)
            inner = tf.shape(values)
            values = tf.reshape(values, tf.concat([fields, [shape[0]], inner[1:]], 0))
            values = tf.transpose(values, [*range(count, 2 * count + 2), *range(count)])
        return tf.reshape(values, tf.concat([tf.shape(values)[: count + 1], [-1]], 0))

    def compute_output_spec(self, companion: Array) -> Any:
        """The shape of the output's companion."""
        batch, *space, channels = companion.shape
        channels //= math.prod(2 * one + 1 for one in self.before)
        if self.layer is not None:
            batch, *space, channels = self.layer.compute_output_shape((batch, *space, channels))
        count = channels * math.prod(2 * one + 1 for one in self.after)
        return keras.KerasTensor((batch, *space, count), dtype=DTYPE)


class Overlap(keras.Layer):
    """What windows of a maximum have in common as their largest entry may be the same.

    Of two windows `A` and `B` an entry of both is the largest of all with probability
    `1 / |A | B|` if all are alike; it then gets the gradients of both, and the square of their
    sum has twice their product in addition to their squares.

    Args:
        size: Of the windows.
        strides: Between them.
        padding: Of the pool, `"same"` or `"valid"`.
        radius: Of what the output has in common.
        first: Whether the channels of the squares are their first axis; a companion's never are.
    """

    def __init__(
        self,
        size: Sequence[int],
        strides: Sequence[int],
        padding: str,
        radius: Radius,
        *,
        first: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.strides, self.padding, self.first = list(strides), padding.upper(), first
        grid = np.meshgrid(*(np.arange(-one, one + 1) for one in radius), indexing="ij")
        shifts = np.stack([one.ravel() for one in grid], axis=-1) * strides
        taps = np.indices(size)[(..., None)] - shifts.T.reshape(-1, *[1] * len(size), len(shifts))
        both = ((taps >= 0) & (taps < np.reshape(size, (-1, *[1] * (len(size) + 1))))).all(axis=0)
        common = both.sum(axis=tuple(range(len(size))))
        # A window and itself are in the squares.
        kernel = both * (shifts.any(axis=1) / (2 * math.prod(size) - common))
        self.taps = kernel[..., None, :]

    def call(self, squares: Array) -> Array:
        """The part of the output's companion that comes from the squares."""
        if self.first:
            squares = keras.ops.moveaxis(squares, 1, -1)
        alone = keras.ops.moveaxis(squares, -1, 1)
        shape = tf.shape(alone)
        alone = tf.reshape(alone, tf.concat([[-1], shape[2:], [1]], 0))
        made = tf.nn.convolution(
            alone, tf.constant(self.taps, alone.dtype), self.strides, self.padding
        )
        made = tf.reshape(made, tf.concat([shape[:2], tf.shape(made)[1:]], 0))
        made = keras.ops.moveaxis(made, 1, -2)
        return tf.reshape(made, tf.concat([tf.shape(made)[:-2], [-1]], 0))

    def compute_output_spec(self, squares: Array) -> Any:
        """The shape of the output's companion."""
        batch, *rest = squares.shape
        channels, space = (rest[0], rest[1:]) if self.first else (rest[-1], rest[:-1])
        size = self.taps.shape[: len(space)]
        lost = size if self.padding == "VALID" else [1] * len(space)
        space = [
            -(-(one - less + 1) // step)
            for one, less, step in zip(space, lost, self.strides, strict=True)
        ]
        return keras.KerasTensor((batch, *space, channels * self.taps.shape[-1]), dtype=DTYPE)


class Padded(keras.Layer):
    """Zeros for channels around those of the input.

    Args:
        channels: How many channels are put before and after.
        first: Whether the channels are the first axis.
    """

    def __init__(self, channels: tuple[int, int], first: bool, **options: Any) -> None:
        super().__init__(**options)
        self.channels, self.first = channels, first

    def call(self, values: Array) -> Array:
        """The input with zeros around it."""
        padding = [[0, 0]] * len(values.shape)
        padding[1 if self.first else -1] = list(self.channels)
        return tf.pad(values, padding)

    def compute_output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """The shape with all channels."""
        made = list(shape)
        made[1 if self.first else -1] += sum(self.channels)
        return tuple(made)


def _places(step: float, before: int, after: int) -> np.ndarray:
    """For each offset of the output the place of that of the input; behind the last is none."""
    offsets = step * np.arange(-after, after + 1)
    known = (offsets == np.round(offsets)) & (np.abs(offsets) <= before)
    return np.where(known, np.round(offsets) + before, 2 * before + 1).astype(int)
