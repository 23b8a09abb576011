"""What neighbouring positions have in common, carried where it is put together again.

A pool, or an interpolation, hands parts of one gradient to several positions, which random kernels
keep alike: the same taps act on both. `E[g(x) g(x + d)]` of one channel at a few offsets `d`
is what a second pool needs, whose windows overlap. With the matrices `A` of a layer
without weights along an axis, `g(x) = sum_o A[o, x] g(o)`, so that

    E[g(x) g(x + d)] = sum_{o, e} A[o, x] A[o + e, x + d] E[g(o) g(o + e)].

A tensor's companion holds these maps of all offsets but zero, one behind the other along the
channel axis: channel by channel, and of each channel the offsets in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.graph import Node
from keras_erf.layers.recipes import DTYPE, Matrices
from keras_erf.second_moments.correlation import SquareStep

__all__ = ["MOST", "Apart", "Overlap", "Padded", "Spread", "merged", "radii"]

# More offsets than these are not carried.
MOST = 700
# One positive number for all of space, where their recipe has one.
SCALES = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)
Radius = tuple[int, ...]


def merged(steps: Sequence[SquareStep]) -> list[SquareStep]:
    """The calls, sums of several paths without weights from one tensor made one call each."""
    sources: dict[int, tuple[int, tuple[Matrices, ...]]] = {}
    found = []
    for step in steps:
        node, recipe = step.node, step.recipe
        numbers = [node.inputs[place] for place in step.places]
        ways = [sources.get(number) for number in numbers]
        if recipe.along and len(step.places) == 1:
            root, terms = ways[0] or (numbers[0], ())
            paths = tuple(_composed(new, old) for new in recipe.along for old in terms or (None,))
            sources[node.outputs[0]] = root, paths
        elif len(numbers) == 1 and node.kind in SCALES and isinstance(recipe.after, float):
            sizes = _space(step)
            if sizes and not recipe.centred:
                root, terms = ways[0] or (numbers[0], (_same(sizes),))
                scale = math.sqrt(recipe.after)
                sources[node.outputs[0]] = root, tuple(_scaled(one, scale) for one in terms)
        elif recipe.layer is None and len(ways) > 1 and any(ways):
            step = _met(step, ways, sources) or step
        found.append(step)
    return found


def _met(step: SquareStep, ways: Sequence[Any], sources: dict[int, Any]) -> SquareStep | None:
    """A sum of paths from one tensor as one call on that tensor."""
    node, recipe = step.node, step.recipe
    numbers = [node.inputs[place] for place in step.places]
    roots = {number if way is None else way[0] for number, way in zip(numbers, ways, strict=True)}
    before = recipe.before or (1.0,) * len(node.inputs)
    factors = [recipe.after, *(before[place] for place in step.places)]
    if len(roots) > 1 or not recipe.entrywise or not all(isinstance(f, float) for f in factors):
        return None
    terms: list[Matrices] = []
    for place, way in zip(step.places, ways, strict=True):
        scale = math.sqrt(before[place] * recipe.after)
        sign = -1 if place and _is_difference(node) else 1
        own = (_same(_space(step)),) if way is None else way[1]
        terms += [_scaled(one, sign * scale) for one in own]
    # Stretched over space, one of them would have to be summed up.
    if any([len(matrix) for matrix in one] != list(_space(step)) for one in terms):
        return None
    (root,) = roots
    sources[node.outputs[0]] = root, tuple(terms)
    made = replace(recipe, before=(), after=1.0, common_before=(), along=tuple(terms))
    return replace(step, node=replace(node, inputs=(root,)), places=(0,), recipe=made)


def _space(step: SquareStep) -> tuple[int, ...]:
    """Spatial shape of a call's output."""
    return step.shape[1:] if step.first else step.shape[:-1]


def _same(sizes: Sequence[int]) -> Matrices:
    return tuple(np.eye(size) for size in sizes)


def _scaled(term: Matrices, scale: float) -> Matrices:
    return (scale * term[0], *term[1:])


def _is_difference(node: Node) -> bool:
    return node.kind in (keras.layers.Subtract, "ops.Subtract")


def _composed(new: Matrices, old: Matrices | None) -> Matrices:
    return new if old is None else tuple(a @ b for a, b in zip(new, old, strict=True))


def radii(
    steps: Sequence[SquareStep], tensors: Iterable[int]
) -> tuple[dict[int, Radius], frozenset[int]]:
    """How far apart positions of each tensor have to be carried, along each axis of space.

    As far as they have something in common, seen from behind, and as it is put together
    again before.

    Args:
        steps: The calls, in the order they run.
        tensors: Numbers of those whose units are asked for: there one position is alone.

    Returns:
        The radii, by tensor, where there are any; and the calls, by number of the output,
        behind which something in common is lost.
    """
    behind: dict[int, Radius] = {}
    lost = set[int]()
    for step in reversed(steps):
        own = behind.get(step.node.outputs[0], ())
        found = _before(step, own)
        if found is None:
            if any(own):
                lost.add(step.node.outputs[0])
            continue
        for place in step.places:
            number = step.node.inputs[place]
            behind[number] = _largest(behind.get(number, ()), found)
    wanted: dict[int, Radius] = {}
    for step in steps:
        number = step.node.outputs[0]
        wanted[number] = ()
        for place in step.places:
            found = _after(step, wanted.get(step.node.inputs[place], ()))
            wanted[number] = _largest(wanted[number], found or ())
        if step.recipe.largest:
            wanted[number] = _largest(wanted[number], overlap(*step.recipe.largest))
    made = {}
    for number, far in behind.items():
        near = wanted.get(number, ())
        radius = tuple(min(pair) for pair in zip(far, near, strict=False))
        if math.prod(2 * one + 1 for one in radius) > MOST:
            lost.add(number)
        elif any(radius):
            made[number] = radius
    # Behind a call that loses offsets something may still want them.
    asked, needed = {number for number, radius in wanted.items() if any(radius)}, []
    for step in steps:
        if not asked.isdisjoint(step.node.inputs):
            asked.update(step.node.outputs)
        if lost.intersection(step.node.outputs) and asked.intersection(step.node.outputs):
            needed.append(step.node.outputs[0])
    return made, frozenset(needed)


def _before(step: SquareStep, radius: Radius) -> Radius | None:
    """How far what is in common behind a call reaches among its inputs."""
    if step.recipe.along:
        return _along(step, radius, lambda matrix: matrix)
    steps = _steps(step, radius)
    if steps is None:
        return None
    return tuple(math.floor(one * size) for one, size in zip(radius, steps, strict=True))


def _after(step: SquareStep, radius: Radius) -> Radius | None:
    """How far behind a call matters what matters before it."""
    if step.recipe.along:
        return _along(step, radius, np.transpose)
    steps = _steps(step, radius)
    if steps is None:
        return None
    return tuple(math.floor(one / size) for one, size in zip(radius, steps, strict=True))


def _along(step: SquareStep, radius: Radius, turned: Any) -> Radius:
    radius = radius or (0,) * len(step.recipe.along[0])
    return tuple(
        _reach([turned(term[axis]) for term in step.recipe.along], one)
        for axis, one in enumerate(radius)
    )


def _steps(step: SquareStep, radius: Radius) -> Sequence[float] | None:
    """What the offsets before a call are of those behind it; `None` where they are lost."""
    recipe = step.recipe
    if recipe.layer is None:
        return (1.0,) * len(radius)
    known = recipe.steps is not None and len(recipe.steps) == len(radius)
    return recipe.steps if known else None


def _reach(matrices: Sequence[np.ndarray], radius: int) -> int:
    """How far apart what rows see can be, of rows so far apart."""
    seen = np.any([matrix != 0 for matrix in matrices], axis=0)
    rows = np.flatnonzero(seen.any(axis=1))
    if not rows.size:
        return 0
    first = np.argmax(seen, axis=1)
    last = seen.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    found = [0]
    for offset in range(radius + 1):
        one = rows[np.isin(rows + offset, rows)]
        found += [int(np.abs(last[one + offset] - first[one]).max(initial=0))]
        found += [int(np.abs(last[one] - first[one + offset]).max(initial=0))]
    return max(found)


def overlap(size: Sequence[int], strides: Sequence[int]) -> Radius:
    """How far apart, along each axis, windows are that have an entry in common."""
    return tuple((one - 1) // step for one, step in zip(size, strides, strict=True))


def _largest(one: Radius, other: Radius) -> Radius:
    longest = max(one, other, key=len)
    return (
        tuple(max(pair) for pair in zip(one, other, strict=False))
        + longest[min(len(one), len(other)) :]
    )


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

    def call(self, inputs: Any) -> Any:
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

    def _mapped(self, values: Any, maps: Sequence[np.ndarray]) -> Any:
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

    def compute_output_spec(self, inputs: Any) -> Any:
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
        self, layer: Any, steps: Sequence[float], before: Radius, after: Radius, **options: Any
    ) -> None:
        super().__init__(**options)
        self.layer, self.before, self.after = layer, before, after
        self.places = [_places(step, *far) for step, *far in zip(steps, before, after, strict=True)]

    def call(self, companion: Any) -> Any:
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

    def compute_output_spec(self, companion: Any) -> Any:
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

    def call(self, squares: Any) -> Any:
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

    def compute_output_spec(self, squares: Any) -> Any:
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

    def call(self, values: Any) -> Any:
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
