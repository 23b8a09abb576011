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

import numpy as np

from keras_erf.layers.recipes import Matrices
from keras_erf.second_moments.correlation import SquareStep

__all__ = ["MOST", "merged", "radii"]

# More offsets than these are not carried.
MOST = 700
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
        elif len(numbers) == 1 and recipe.scales and isinstance(recipe.after, float):
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
        sign = recipe.signs[place] if recipe.signs else 1
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
