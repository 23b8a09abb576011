"""Layers and operations that put axes into another order, or into another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.copying import copies, traced
from keras_erf.layers.parts import PartSite, Restricted, called_on_part

__all__ = ["ENTRIES"]


def permute(call: Call) -> tuple[View]:
    """Output axis i is input axis `dims[i]`; Keras counts `dims` from 1."""
    source = [axis - 1 for axis in call.layer.dims]
    return (View(tuple(Link(source.index(axis)) for axis in range(len(source)))),)


def permuted(permute: Callable[[Any, np.ndarray], np.ndarray]) -> Rule:
    """A rule for operations that put axes into another order, the batch counted.

    Args:
        permute: Does to an array what the operation, its first argument, does.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        rank = len(call.output)
        # Axes are distinguished by their lengths.
        order = permute(call.layer, np.empty(range(rank + 1))).shape
        if order[0] != 0:
            return ACROSS_BATCH(call)
        return (View(tuple(Link(order.index(axis + 1) - 1) for axis in range(rank))),)

    return rule


def repeat_vector(call: Call) -> tuple[View]:
    """The vector at each of `n` new positions."""
    return (View((Link(1),)),)


def reshape(call: Call) -> tuple[AnyView, ...]:
    """A reshape: by itself where it only adds or drops axes of length 1, else traced."""
    shape = call.inputs[0]
    longer = [axis for axis, size in enumerate(call.output) if size != 1]
    if [size for size in shape if size != 1] != [call.output[axis] for axis in longer]:
        return traced(call)
    following = iter(longer)
    return (View(tuple(Link(None) if size == 1 else Link(next(following)) for size in shape)),)


def unless_any_axis(site: PartSite) -> Restricted | None:
    """Axes of length 1 added or dropped; those that are named, as a part may have others."""
    return None if site.layer.axis is None else called_on_part(site)


ENTRIES = (
    copies(
        layers="Flatten Reshape",
        operations="Reshape",
        dependence=reshape,
        affine=in_one_tensor,
    ),
    copies(
        operations="ExpandDims Squeeze",
        dependence=reshape,
        part=unless_any_axis,
        affine=in_one_tensor,
    ),
    copies(layers="Permute", dependence=permute, part=called_on_part, affine=in_one_tensor),
    copies(layers="RepeatVector", dependence=repeat_vector, affine=in_one_tensor),
    *(
        copies(
            operations=name,
            dependence=permuted(reorder),
            part=called_on_part,
            affine=in_one_tensor,
        )
        for name, reorder in (
            ("Transpose", lambda op, x: np.transpose(x, op.axes)),
            ("Swapaxes", lambda op, x: np.swapaxes(x, op.axis1, op.axis2)),
            ("Moveaxis", lambda op, x: np.moveaxis(x, op.source, op.destination)),
        )
    ),
)
