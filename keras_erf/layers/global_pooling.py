"""Pools over all of space."""

from __future__ import annotations

import math

from keras import layers

from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.layers.conditions import in_one_tensor, without_mask
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.recipes import DTYPE, LAST, Recipe, SquareSite, in_double, keras_class
from keras_erf.layers.resampled import space_of
from keras_erf.signals.signals import averaged, largest_of

__all__ = ["ENTRIES"]


def global_pooling(call: Call) -> tuple[View]:
    """Every position of each channel; the channel axis stays, alone or among axes of length 1."""
    rank = len(call.inputs[0])
    axis = channel_axis(call.layer, rank)
    kept = Link(axis if len(call.output) == rank else 0)
    links = tuple(kept if one == axis else Link(None) for one in range(rank))
    return (View(links),)


def global_average_squares(site: SquareSite) -> Recipe:
    """Means over all of space."""
    size = _places(site)
    made = averaged(site.signal, size)
    return Recipe(in_double(site.layer), (made,), after=1 / size, common=1 / size)


def global_maximum_squares(site: SquareSite) -> Recipe:
    """Maxima over all of space, each place as often."""
    own = keras_class(site.layer)
    kind = getattr(layers, own.__name__.replace("Max", "Average"))
    made, share = largest_of(site.signal, _places(site))
    config = {**own.get_config(site.layer), "dtype": DTYPE, "name": "squared"}
    layer = kind.from_config({**config, "data_format": LAST})
    common = share**2 / _places(site)
    return Recipe(layer, (made,), after=share, common=common, certainty="approximate")


def _places(site: SquareSite) -> int:
    return math.prod(space_of(site))


ENTRIES = (
    Entry(
        layers="GlobalAveragePooling1D",
        dependence=global_pooling,
        squares=global_average_squares,
        affine=without_mask,
    ),
    Entry(
        layers="GlobalAveragePooling2D GlobalAveragePooling3D",
        dependence=global_pooling,
        squares=global_average_squares,
        affine=in_one_tensor,
    ),
    Entry(
        layers=ranks("GlobalMaxPooling{}D"),
        dependence=global_pooling,
        squares=global_maximum_squares,
    ),
)
