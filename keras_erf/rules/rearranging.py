"""Layers that move positions about: permutation, concatenation, flattening."""

from __future__ import annotations

from keras_erf.errors import UnsupportedLayerError
from keras_erf.geometry import Link, View, Window
from keras_erf.rules.call import Call

__all__ = ["concatenation", "flatten", "permute", "reshape"]


def permute(call: Call) -> tuple[View]:
    """Output axis i is input axis `dims[i]`; Keras counts `dims` from 1."""
    source = [axis - 1 for axis in call.layer.dims]
    return (View(tuple(Link(source.index(axis)) for axis in range(len(source)))),)


def concatenation(call: Call) -> tuple[View, ...]:
    """Inputs side by side along `axis`."""
    rank = len(call.output)
    along = call.layer.axis % (rank + 1) - 1
    views = []
    offset = 0
    for number, shape in enumerate(call.inputs):
        shifted = Link(along, Window(padding=offset), clip=True)
        links = tuple(shifted if axis == along else Link(axis) for axis in range(rank))
        views.append(View(links, input=number))
        offset += shape[along]
    return tuple(views)


def flatten(call: Call) -> tuple[View]:
    """All positions in one row: what comes after is taken to use the entire map."""
    shape = call.inputs[0]
    if sum(size > 1 for size in shape) <= 1:
        return reshape(call)
    return (View((Link(None),) * len(shape)),)


def reshape(call: Call) -> tuple[View]:
    """A reshape that only adds or drops axes of length 1.

    Raises:
        UnsupportedLayerError: Axes are split or joined.
    """
    shape = call.inputs[0]
    longer = [axis for axis, size in enumerate(call.output) if size != 1]
    if [size for size in shape if size != 1] != [call.output[axis] for axis in longer]:
        raise UnsupportedLayerError(
            f"No rule for layer {call.name!r}: a reshape that splits or joins axes, from {shape} "
            f"to {call.output}. Choose a layer before it"
        )
    following = iter(longer)
    return (View(tuple(Link(None) if size == 1 else Link(next(following)) for size in shape)),)
