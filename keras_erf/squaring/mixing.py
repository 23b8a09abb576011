"""Where squares do not simply add: gradients that are put together and are not independent.

The squared network adds the squares of the gradients that meet at an entry. That is right
where they have nothing in common: behind one layer of random weights alone. Layers without
weights may break it. A pool, or an interpolation, hands one gradient to several
neighbours, which are then alike, and random kernels below keep them so: the same taps
act on both. Where such neighbours are put together again, by windows that overlap or
copies, and where a tensor meets itself by two ways without weights, mixed terms are
left out. Weights that are used twice leave a share of one in so many channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from keras_erf.graph import Node
from keras_erf.squaring.recipes import Recipe

__all__ = ["SquareStep", "mixing"]

POOLS = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
COPIES = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D, layers.Resizing)
GLOBAL = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)


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


def mixing(steps: Sequence[SquareStep], lost: frozenset[int]) -> list[bool]:
    """Of each call, whether it puts gradients together that are not independent.

    Args:
        steps: The calls in the order they run.
        lost: Numbers of the tensors behind which positions have something in common that is
            not carried.
    """
    spread = _spread_behind(steps)
    seen = set[int]()
    found, sources = [], dict[int, frozenset[int]]()
    for step, behind in zip(steps, spread, strict=True):
        node = step.node
        inputs = [node.inputs[place] for place in step.places]
        ways = [sources.get(number, frozenset({number})) for number in inputs]
        meets = (
            len(ways) > 1 and _meet(node) and len(frozenset().union(*ways)) < sum(map(len, ways))
        )
        again = _has_weights(node) and id(node.operation) in seen
        seen.add(id(node.operation))
        dropped = not lost.isdisjoint(node.outputs)
        found.append(bool((_sums(node) and behind) or meets or again or dropped))
        # What a layer without weights makes comes from where its inputs come from.
        own = frozenset(node.outputs[:1]) if _has_weights(node) else frozenset().union(*ways)
        sources.update(dict.fromkeys(node.outputs, own))
    return found


def _spread_behind(steps: Sequence[SquareStep]) -> list[bool]:
    """Of each call, whether one behind it hands a gradient to several neighbours."""
    tainted = set[int]()
    found = []
    for step in reversed(steps):
        node = step.node
        behind = not tainted.isdisjoint(node.outputs)
        found.append(behind)
        if behind or _spreads(step):
            tainted.update(node.inputs)
    return found[::-1]


def _spreads(step: SquareStep) -> bool:
    """Whether neighbours among a call's inputs get parts of one gradient that is not carried."""
    return isinstance(step.node.operation, GLOBAL) or _is_reduction(step.node)


def _sums(node: Node) -> bool:
    """Whether an entry among a call's inputs gets parts of several gradients."""
    layer = node.operation
    if isinstance(layer, POOLS):
        return any(
            size > stride for size, stride in zip(layer.pool_size, layer.strides, strict=True)
        )
    return isinstance(layer, COPIES)


def _is_reduction(node: Node) -> bool:
    return node.kind in ("ops.Mean", "ops.Sum")


def _meet(node: Node) -> bool:
    """Whether a call puts its inputs together entry by entry."""
    merges = (layers.Add, layers.Subtract, layers.Average)
    return isinstance(node.operation, merges) or node.kind in ("ops.Add", "ops.Subtract")


def _has_weights(node: Node) -> bool:
    """Whether a call has random weights, which make what is behind it independent."""
    layer = node.operation
    if not isinstance(layer, keras.Layer) or isinstance(layer, layers.BatchNormalization):
        return False
    return any(math.prod(weight.shape) > 1 and len(weight.shape) > 1 for weight in layer.weights)
