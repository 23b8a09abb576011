"""Computing a part of a call's output: what a layer gets for it, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keras import ops

from keras_erf.algebra.geometry import Box, Window
from keras_erf.algebra.views import AnyView, View
from keras_erf.dependence.call import Call, CallSite
from keras_erf.dependence.chain import Chain

__all__ = ["Pads", "PartRule", "PartSite", "Restricted", "Run", "as_called", "padded", "shortened"]

# What to put before and after each axis of a value, its batch included.
Pads = list[tuple[int, int]]


def padded(value: Any, pads: Pads, constant: float | None = None) -> Any:
    """`value` with zeros, or a constant, put around it."""
    if not any(map(any, pads)):
        return value
    return ops.pad(value, pads, constant_values=constant)


# Takes the values of the parts of a call's inputs, and a function that calls the layer itself on
# them; returns the values of the parts of its outputs.
Run = Callable[[Sequence[Any], Callable[[Sequence[Any]], list[Any]]], list[Any]]


@dataclass(frozen=True)
class PartSite(CallSite):
    """A call, and the part of its output that is wanted.

    Args:
        views: How its inputs are seen by its outputs.
        wanted: The part of its first output, the batch not counted.
    """

    views: tuple[AnyView, ...]
    wanted: Box

    def converted(self, value: Any) -> Any:
        """A value as the layer's own call gets it: floats in its precision."""
        layer = self.layer
        return layer.dtype_policy.convert_input(value, layer.autocast, layer.input_dtype)

    def windows(self, axes: Sequence[int]) -> list[Window] | None:
        """The window that moves along each of the output's `axes`; `None` if one has none.

        Of a call with one input.
        """
        if len(self.views) != 1 or not isinstance(self.views[0], View):
            return None
        links = self.views[0].links
        found = []
        for axis in axes:
            link = links[axis]
            if link.axis != axis or not isinstance(link.relation, Window):
                return None
            found.append(link.relation)
        return found


@dataclass(frozen=True)
class Restricted:
    """How a call is run on parts.

    Args:
        inputs: The part of each input that it needs.
        output: The part of its output that it makes, which may be more than is wanted.
        run: Makes it.
    """

    inputs: tuple[Box, ...]
    output: Box
    run: Run


# `None` where the layer has to run on whole tensors.
PartRule = Callable[[PartSite], Restricted | None]


def shortened(view: AnyView, call: Call) -> AnyView:
    """A view without the steps at which every place surely sees the same place alone."""
    if not isinstance(view, Chain):
        return view
    shapes = (call.inputs[view.input], *view.between, call.outputs[view.output])
    steps = [
        step
        for step, before, after in zip(view.steps, shapes, shapes[1:], strict=False)
        if not (isinstance(step, View) and step.status == "exact" and step.is_same(after, before))
    ]
    (only, *others) = steps or view.steps[:1]
    if others or not isinstance(only, View):
        return view
    return replace(only, input=view.input, output=view.output)


def as_called(values: Sequence[Any], call: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
    """Calls the layer itself."""
    return call(values)
