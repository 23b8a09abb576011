"""Tensors put one behind the other along an axis."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from keras import tree

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import counted_axes
from keras_erf.dependence.call import Call
from keras_erf.graph import Argument
from keras_erf.layers.conditions import in_all_tensors
from keras_erf.layers.copying import traced
from keras_erf.layers.entry import Entry
from keras_erf.layers.normalisation import axis_of
from keras_erf.layers.recipes import Recipe, SquareSite, in_double
from keras_erf.layers.same_everywhere import called_on_part
from keras_erf.signals.signals import mixed

__all__ = ["ENTRIES", "concatenated_squares"]


def concatenation(call: Call) -> tuple[View, ...]:
    """Inputs side by side along `axis`."""
    rank = len(call.output)
    (along,) = counted_axes(call, [call.layer.axis])
    views = []
    offset = 0
    for number, shape in enumerate(call.inputs):
        shifted = Link(along, Window(padding=offset), clip=True)
        links = tuple(shifted if axis == along else Link(axis) for axis in range(rank))
        views.append(View(links, input=number))
        offset += shape[along]
    return tuple(views)


def joined(call: Call) -> tuple[AnyView, ...]:
    """Tensors side by side; traced where constants are among them."""
    args, kwargs = call.arguments
    given = tree.flatten((args, kwargs))
    tensors = sum(isinstance(one, Argument) for one in given)
    if tensors < len(given) or call.layer.axis % (len(call.output) + 1) == 0:
        return traced(call)
    return concatenation(call)


def concatenated_squares(site: SquareSite) -> Recipe | None:
    """Tensors one beside the other; narrow, those beside each other along channels are alike."""
    axis = axis_of(site)
    sizes = [shape[axis] for shape in site.call.inputs]
    made = mixed(site.signals, sizes)
    if axis != site.channels:
        made = replace(made, profile=None, sizes=())
    if site.narrow:
        # Each channel of an input is one of the output's, and sees what that one sees.
        return Recipe(None, (made,), common=1.0) if axis == site.channels else None
    return Recipe(in_double(site.layer), (made,), common=1.0, as_called=True)


joins = partial(Entry, squares=concatenated_squares, affine=in_all_tensors, keeps_known=True)

ENTRIES = (
    joins(layers="Concatenate", dependence=concatenation, part=called_on_part),
    joins(operations="Concatenate", dependence=joined),
)
