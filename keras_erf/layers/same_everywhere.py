"""Layers that do the same at every index of an axis: on a part they are called unchanged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.views import Link, View
from keras_erf.layers.parts import PartSite, Restricted, as_called

__all__ = ["BATCH", "called_on_part", "constant_shapes", "stretched_on_part"]

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


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of an array, a variable or a list of numbers; of anything else that of a number."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    return np.shape(value) if shape is None else tuple(shape)


# What layers call the numbers that are stretched over their input.
STRETCHED = ("alpha", "scale", "offset", "mean", "variance")


def stretched_on_part(site: PartSite) -> Restricted | None:
    """Layers whose numbers are stretched over the input: a `PReLU`'s weights, a scale, a mean."""
    numbers = [getattr(site.layer, name, None) for name in STRETCHED]
    return called_on_part(site, stretched_axes(map(shape_of, numbers), len(site.call.output)))
