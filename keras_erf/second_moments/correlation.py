"""Where squares do not simply add: gradients that are put together and are not independent.

The squared network adds the squares of the gradients that meet at an entry. That is right
where they have nothing in common: behind one layer of random weights alone. What neighbours
have in common behind a pool or an interpolation is carried (`neighbours`), and so is what
paths without weights make of one tensor where all of them are linear or work on single
entries. What is left is listed here, with how much more the sum may be: the square of
a sum of `n` numbers is at most `n` times the sum of their squares (Cauchy and Schwarz).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_erf.graph import Node
from keras_erf.layers.recipes import Recipe
from keras_erf.layers.table import described

__all__ = ["SquareStep", "mixing"]


@dataclass(frozen=True, eq=False)
class SquareStep:
    """A call, and what stands for it.

    Args:
        node: The call.
        recipe: What stands for it.
        places: Those of the inputs that are reached.
        shape: Of its output, the batch not counted.
        first: Whether its channels are the first axis, and not the last.
    """

    node: Node
    recipe: Recipe
    places: tuple[int, ...]
    shape: tuple[int, ...]
    first: bool

    @property
    def channels(self) -> int:
        """How many channels its output has."""
        return self.shape[0 if self.first else -1]


def mixing(steps: Sequence[SquareStep], lost: frozenset[int]) -> list[float]:
    """Of each call, how many gradients it puts together that are not independent; 1 for none.

    Weights that are used again leave a share of one over the number of channels.

    Args:
        steps: The calls in the order they run.
        lost: Numbers of the tensors behind which positions have something in common that is
            not carried.
    """
    spread, dropped = _behind(steps, _spreads), _behind(steps, lambda one: _loses(one, lost))
    seen = set[int]()
    found, sources = [], dict[int, frozenset[int]]()
    for step, global_behind, lost_behind in zip(steps, spread, dropped, strict=True):
        node = step.node
        inputs = [node.inputs[place] for place in step.places]
        ways = [sources.get(number, frozenset({number})) for number in inputs]
        bound = 1.0
        if _meet(node) and len(frozenset().union(*ways)) < sum(map(len, ways)):
            bound *= len(ways)
        if lost_behind:
            bound *= _overlap(step)
        if _has_weights(node):
            bound *= 1 + (id(node.operation) in seen) / step.channels
            seen.add(id(node.operation))
        if global_behind and _overlap(step) > 1:
            # Of what comes from all of space each position has a small share.
            bound *= 1 + 1 / math.prod(step.shape)
        found.append(max((bound, *step.recipe.stretched)))
        # What a layer without weights makes comes from where its inputs come from.
        own = frozenset(node.outputs[:1]) if _has_weights(node) else frozenset().union(*ways)
        sources.update(dict.fromkeys(node.outputs, own))
    return found


def _behind(steps: Sequence[SquareStep], is_one: Callable[[SquareStep], bool]) -> list[bool]:
    """Of each call, whether some call behind it is one that is sought."""
    tainted = set[int]()
    found = []
    for step in reversed(steps):
        behind = not tainted.isdisjoint(step.node.outputs)
        found.append(behind)
        if behind or is_one(step):
            tainted.update(step.node.inputs)
    return found[::-1]


def _loses(step: SquareStep, lost: frozenset[int]) -> bool:
    return not lost.isdisjoint(step.node.outputs)


def _overlap(step: SquareStep) -> float:
    """How many parts of gradients are put together at an entry among a call's inputs."""
    if not step.recipe.along:
        return 1.0
    return float(
        math.prod(
            int(max((np.asarray(term[axis]) != 0).sum(axis=0).max() for term in step.recipe.along))
            for axis in range(len(step.recipe.along[0]))
        )
    )


def _spreads(step: SquareStep) -> bool:
    """Whether neighbours among a call's inputs get parts of one gradient that is not carried."""
    entry = described(step.node.kind)
    return entry is not None and entry.over_space


def _meet(node: Node) -> bool:
    """Whether a call puts its inputs together entry by entry."""
    entry = described(node.kind)
    return entry is not None and entry.sums


def _has_weights(node: Node) -> bool:
    """Whether a call has random weights, which make what is behind it independent."""
    layer = node.operation
    return isinstance(layer, keras.Layer) and any(
        math.prod(weight.shape) > 1 and len(weight.shape) > 1 for weight in layer.weights
    )
