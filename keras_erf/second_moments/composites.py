"""Functions of single entries that several calls make together, such as `x * sigmoid(x)`.

Where paths from one tensor meet again and every call between works on single entries,
the paths are not independent: the function they make has one slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_erf.graph import Argument
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.signals.signal_moments import Signal, activated
from keras_erf.types import Array

__all__ = ["Composites", "Function"]

Function = Callable[[Any], Any]


@dataclass
class Composites:
    """For each tensor the function of another one's single entries that it is.

    Args:
        made: By number, the other one's number and the function.
    """

    made: dict[int, tuple[int, Function]] = field(default_factory=dict)

    def follow(self, site: SquareSite, operands: Sequence[str]) -> None:
        """Learns what a call on single entries makes, if all of its inputs come from one.

        Args:
            site: The call.
            operands: As in `Entry`.
        """
        roots = {self._origin(number)[0] for number in site.node.inputs}
        shapes = {*site.call.inputs, *site.call.outputs}
        single = len(roots) == len(shapes) == len(site.call.outputs) == 1
        if not single or _has_arrays(site, operands):
            return
        functions = [self._origin(number)[1] for number in site.node.inputs]
        self.made[site.node.outputs[0]] = roots.pop(), _called(site, functions)

    def recipe(self, site: SquareSite, signals: dict[int, Signal]) -> tuple[int, Recipe] | None:
        """What stands for a call whose inputs come from one tensor, and that tensor's number."""
        made = self.made.get(site.node.outputs[0])
        if made is None or len(site.node.inputs) < 2:
            return None
        root, function = made
        signal, slope = activated(signals[root], function)
        return root, Recipe(
            None,
            (signal,),
            after=slope.square,
            common=slope.common,
            apart=slope.apart,
            entrywise=True,
        )

    def _origin(self, number: int) -> tuple[int, Function]:
        return self.made.get(number, (number, _unchanged))


def _unchanged(values: Array) -> Array:
    return values


def _called(site: SquareSite, functions: Sequence[Function]) -> Function:
    args, kwargs = site.call.arguments
    # Of a layer `call`: it checks no ranks, and casts nothing.
    run = site.layer.call

    def function(values: Array) -> Array:
        known = [one(values) for one in functions]
        filled = keras.tree.map_structure(
            lambda one: known[one.place] if isinstance(one, Argument) else one, (args, kwargs)
        )
        return run(*filled[0], **filled[1])

    return function


def _has_arrays(site: SquareSite, operands: Sequence[str]) -> bool:
    """Whether numbers that differ from entry to entry are among the arguments or settings."""
    constants = [one for one in keras.tree.flatten(site.call.arguments) if hasattr(one, "shape")]
    # Settings may be lists.
    constants += [getattr(site.layer, name) for name in operands]
    return any(np.size(one) > 1 for one in constants)
