"""Computing a part of a call's output: what a layer gets for it, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call, CallSite
from keras_erf.dependence.chaining import ChainedView
from keras_erf.types import Array

__all__ = [
    "BATCH",
    "Pads",
    "PartRule",
    "PartSite",
    "Restricted",
    "Run",
    "as_called",
    "called_on_part",
    "constant_shapes",
    "padded",
    "shortened",
    "stretched_on_part",
]

# What to put before and after each axis of a value, its batch included.
Pads = list[tuple[int, int]]


def padded(value: Array, pads: Pads, constant: float | None = None) -> Array:
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

    def converted(self, value: Array) -> Array:
        """A value as the layer's own call gets it: floats in its precision."""
        layer = self.layer
        if not isinstance(layer, keras.Layer):
            return value
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
    if not isinstance(view, ChainedView):
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


def as_called(
    values: Sequence[Array], call: Callable[[Sequence[Array]], list[Array]]
) -> list[Array]:
    """Calls the layer itself."""
    return call(values)


# Where the batch is, counted as the other axes are.
BATCH = -1


def called_on_part(site: PartSite, fixed: Collection[int] = ()) -> Restricted | None:
    """Any layer along the axes whose every index sees the same index alone; whole along others.

    Args:
        site: The call.
        fixed: Output axes along which the layer has numbers for each index.
    """
    views = site.views
    # A relation that was measured says nothing of numbers that differ from place to place.
    if not all(isinstance(view, View) and view.status == "exact" for view in views):
        return None
    output = site.call.output
    links = [
        [view.links for view in views if isinstance(view, View) and view.input == place]
        for place in range(len(site.call.inputs))
    ]
    uneven = stretched_axes(constant_shapes(site), len(output)).union(fixed)
    if BATCH in uneven or not all(links):
        return None
    followed = set[int]()
    for seen in links:
        for ways in map(set, zip(*seen, strict=True)):
            axes = {way.axis for way in ways if way.axis is not None}
            followed |= axes
            if len(ways) > 1 or any(way != Link(way.axis) for way in ways):
                uneven |= axes
    # An axis that no input has, as the units of a dense layer, is made whole.
    cut = followed - uneven
    made = tuple(
        wanted if axis in cut else (0, size)
        for axis, (wanted, size) in enumerate(zip(site.wanted, output, strict=True))
    )
    inputs = tuple(
        tuple(
            made[link.axis] if link.axis in cut else whole
            for link, whole in zip(seen[0], entire(shape), strict=True)
        )
        for shape, seen in zip(site.call.inputs, links, strict=True)
    )
    return Restricted(inputs, made, as_called)


def stretched_axes(shapes: Iterable[Sequence[int]], rank: int) -> set[int]:
    """Output axes along which arrays of some shapes differ when they are stretched over it."""
    # Broadcasting aligns axes at the end, the batch being one of them.
    return {
        rank - len(shape) + place
        for shape in shapes
        for place, size in enumerate(shape)
        if size > 1
    }


def constant_shapes(site: PartSite) -> Iterator[tuple[int, ...]]:
    """Shapes of the arrays and variables among a call's arguments and an operation's settings."""
    args, kwargs = site.call.arguments
    settings = {} if isinstance(site.layer, keras.Layer) else vars(site.layer)
    public = [value for name, value in settings.items() if not name.startswith("_")]
    yield from map(shape_of, keras.tree.flatten((args, kwargs)) + public)


def shape_of(value: Array) -> tuple[int, ...]:
    """Shape of an array, a variable or a list of numbers; of anything else that of a number."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    return np.shape(value) if shape is None else tuple(shape)


# What layers call the numbers that are stretched over their input.
STRETCHED = ("alpha", "scale", "offset", "mean", "variance")


def stretched_on_part(site: PartSite) -> Restricted | None:
    """Layers whose numbers are stretched over the input: a `PReLU`'s weights, a scale, a mean."""
    numbers = [getattr(site.layer, name, None) for name in STRETCHED]
    return called_on_part(site, stretched_axes(map(shape_of, numbers), len(site.call.output)))
