"""Layers that do the same at every index of an axis: they are called as they stand on parts."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from keras_erf.cone.parts import entire
from keras_erf.cone.restricted import Restricted, Site, as_called
from keras_erf.geometry import Window
from keras_erf.views import Link, View

__all__ = ["as_it_stands", "batch_normalization", "dropout", "stretched"]

SAME_INDEX = Window()


def as_it_stands(site: Site) -> Restricted | None:
    """Any layer along the axes whose every index sees the same index alone; whole along others."""
    if len(site.call.outputs) != 1 or not all(isinstance(view, View) for view in site.views):
        return None
    output = site.call.output
    cut = set(range(len(output)))
    links: dict[int, list[tuple[Link, ...]]] = {}
    for view in site.views:
        assert isinstance(view, View)
        links.setdefault(view.input, []).append(view.links)
    for place, shape in enumerate(site.call.inputs):
        seen = links.get(place)
        if seen is None:
            return None
        for axis, size in enumerate(shape):
            ways = {one[axis].axis for one in seen}
            followed = ways - {None}
            even = len(ways) == 1 and all(
                one[axis].relation == SAME_INDEX and not one[axis].clip for one in seen
            )
            if not (even and all(output[one] == size for one in followed if one is not None)):
                cut -= followed
    cut -= _positioned(site, len(output))
    made = tuple(
        wanted if axis in cut else (0, size)
        for axis, (wanted, size) in enumerate(zip(site.wanted, output, strict=True))
    )
    inputs = []
    for place, shape in enumerate(site.call.inputs):
        axes = [link.axis for link in links[place][0]]
        inputs.append(
            tuple(
                made[axis] if axis in cut and axis is not None else whole
                for axis, whole in zip(axes, entire(shape), strict=True)
            )
        )
    return Restricted(tuple(inputs), made, as_called)


def _positioned(site: Site, rank: int) -> set[int]:
    """Output axes along which the call's constants differ: they cannot be cut."""
    axes = set()
    for shape in _constants(site):
        # Broadcasting aligns axes at the end, the batch being one of them.
        first = rank - len(shape)
        axes |= {first + place for place, size in enumerate(shape) if size > 1}
    return axes


def _constants(site: Site) -> Iterator[tuple[int, ...]]:
    """Shapes of the arrays and variables a call has among its arguments."""
    args, kwargs = site.call.arguments
    for one in keras.tree.flatten((args, kwargs)):
        shape = getattr(one, "shape", None)
        if shape is not None and not callable(shape):
            yield tuple(int(size) for size in shape)


def stretched(site: Site) -> Restricted | None:
    """Layers whose numbers are stretched over the input: a `PReLU`'s weights, a scale."""
    layer, rank = site.layer, len(site.call.output)
    shapes = [tuple(weight.shape) for weight in layer.weights]
    shapes += [np.shape(getattr(layer, name, ())) for name in ("scale", "offset")]
    spread = {
        rank - len(shape) + place
        for shape in shapes
        for place, size in enumerate(shape)
        if size > 1
    }
    return None if _is_cut(site, spread) else as_it_stands(site)


def batch_normalization(site: Site) -> Restricted | None:
    """Batch normalisation: each index of its `axis` has numbers of its own."""
    axis = site.layer.axis % (len(site.call.output) + 1) - 1
    return None if _is_cut(site, {axis}) else as_it_stands(site)


def dropout(site: Site) -> Restricted | None:
    """Dropout of elements of their own; a `noise_shape` is one of whole tensors."""
    return None if getattr(site.layer, "noise_shape", None) else as_it_stands(site)


def _is_cut(site: Site, axes: set[int]) -> bool:
    """Whether less than all is wanted along one of `axes`."""
    return any(site.wanted[axis] != (0, site.call.output[axis]) for axis in axes)
