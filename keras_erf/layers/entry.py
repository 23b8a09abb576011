"""One entry describes some layers and operations: everything the package knows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_erf.algebra.geometry import Box
from keras_erf.dependence.call import Rule
from keras_erf.layers.conditions import Condition
from keras_erf.layers.parts import PartRule
from keras_erf.layers.recipes import SquareRule

__all__ = ["Entry", "ranks"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of some layers and operations.

    Args:
        layers: Names of classes of `keras.layers`, separated by spaces. Those that the
            installed Keras lacks are left out.
        operations: Names of operations of `keras.ops`, by their classes: the function's name in
            camel case (`ops.expand_dims` is `ExpandDims`); operators have theirs (`x[1:]` is
            `GetItem`, `x / y` is `TrueDivide`).
        dependence: Which inputs an output depends on.
        part: How to compute a part of the output from parts of the inputs; `None` runs the
            layer on whole tensors.
        squares: What the layer does to mean squared gradients; `None` measures it.
        entrywise: Whether an entry of the output depends on that entry of the inputs alone; of
            use only with `squares`.
        alike: Whether one channel may stand for all of a tensor's; `False` where channels may
            become space.
        affine: When the layer is affine in its tensors; `None` is never.
        multiply_adds: Multiply-adds of the layer with the parts it takes and makes; `None`
            where it multiplies little.
        keeps_known: Whether known values of its inputs (zeros, scores far below all others)
            may make values of its outputs known.
        flat: Whether its gradient is zero or stopped, although its outputs depend on its inputs.
        operands: Names of settings that act on its tensors as operands do.
        sums: Whether it adds its tensors up, entry by entry.
        over_space: Whether it adds up entries over all of space.
    """

    layers: str = ""
    operations: str = ""
    dependence: Rule
    part: PartRule | None = None
    squares: SquareRule | None = None
    entrywise: bool = False
    alike: bool = True
    affine: Condition | None = None
    multiply_adds: Callable[[Any, Box, Box], int] | None = None
    keeps_known: bool = False
    flat: bool = False
    operands: tuple[str, ...] = ()
    sums: bool = False
    over_space: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, and of the operations as `"ops.Name"`."""
        return (*self.layers.split(), *(f"ops.{name}" for name in self.operations.split()))


def ranks(pattern: str, most: int = 3) -> str:
    """Names of a layer's classes for one, two and three axes of space.

    Args:
        pattern: The name, with `{}` for the number of axes.
        most: The largest number of axes.
    """
    return " ".join(pattern.format(axes) for axes in range(1, most + 1))
