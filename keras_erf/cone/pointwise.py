"""Layers that do the same at every index of an axis: they are called as they stand on parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.algebra.views import Link, View
from keras_erf.cone.finishing import is_finished_by_position
from keras_erf.cone.parts import entire
from keras_erf.cone.restricted import PartSite, Restricted, as_called

__all__ = ["activated", "added", "as_it_stands", "batch_normalization", "dropout", "stretched"]

# Where the batch is, counted as the other axes are.
BATCH = -1
# What layers call the numbers that are stretched over their input.
STRETCHED = ("alpha", "scale", "offset", "mean", "variance")


def as_it_stands(site: PartSite, fixed: Collection[int] = ()) -> Restricted | None:
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
    uneven = _positioned(_constants(site), len(output)).union(fixed)
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


def _positioned(shapes: Iterable[Sequence[int]], rank: int) -> set[int]:
    """Output axes along which arrays of some shapes differ when they are stretched over it."""
    # Broadcasting aligns axes at the end, the batch being one of them.
    return {
        rank - len(shape) + place
        for shape in shapes
        for place, size in enumerate(shape)
        if size > 1
    }


def _constants(site: PartSite) -> Iterator[tuple[int, ...]]:
    """Shapes of the arrays and variables among a call's arguments and an operation's settings."""
    args, kwargs = site.call.arguments
    settings = {} if isinstance(site.layer, keras.Layer) else vars(site.layer)
    public = [value for name, value in settings.items() if not name.startswith("_")]
    yield from map(_shape, keras.tree.flatten((args, kwargs)) + public)


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of an array, a variable or a list of numbers; of anything else that of a number."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    return np.shape(value) if shape is None else tuple(shape)


def added(site: PartSite) -> Restricted | None:
    """Sums; whole where an operand, of a part or of the whole, would be taken for another axis's.

    On TensorFlow, Keras adds what is longer than 1 along one axis only as the biases of the last
    or first axis that has as many indices, wherever its own axis is.
    """
    found = as_it_stands(site)
    if found is None:
        return None
    constants = list(_constants(site))
    for parts in (tuple(map(entire, site.call.inputs)), found.inputs):
        shapes = [tuple(stop - start for start, stop in part) for part in parts] + constants
        made = np.broadcast_shapes(*shapes)
        if any(_is_mistaken(one, other) for one in (*shapes, made) for other in shapes):
            return None
    return found


def _is_mistaken(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether, added to `one`, `other` is taken for the biases of another axis than its own."""
    long = [axis - len(other) for axis, size in enumerate(other) if size > 1]
    if len(long) != 1 or not one:
        return False
    (axis,) = long
    taken = [end for end in (-1, -len(one)) if one[end] == other[axis]]
    return taken[:1] not in ([], [axis])


def stretched(site: PartSite) -> Restricted | None:
    """Layers whose numbers are stretched over the input: a `PReLU`'s weights, a scale, a mean."""
    numbers = [getattr(site.layer, name, None) for name in STRETCHED]
    return as_it_stands(site, _positioned(map(_shape, numbers), len(site.call.output)))


def batch_normalization(site: PartSite) -> Restricted | None:
    """Batch normalisation: each index of its `axis` has numbers of its own."""
    return as_it_stands(site, {site.layer.axis % (len(site.call.output) + 1) - 1})


def activated(site: PartSite) -> Restricted | None:
    """Layers that end in an activation; one that is unknown, or has weights, runs whole."""
    return as_it_stands(site) if is_finished_by_position(site.layer) else None


def dropout(site: PartSite) -> Restricted | None:
    """Dropout; along the axes whose size its `noise_shape` tells, all of them is drawn for."""
    drawn = getattr(site.layer, "noise_shape", None) or ()
    return as_it_stands(
        site, {axis for axis, size in enumerate(drawn, BATCH) if size not in (None, 1)}
    )
