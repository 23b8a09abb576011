"""Zeros put around an image, and borders cut off."""

from __future__ import annotations

from collections.abc import Callable

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.parts import PartSite, Restricted, padded
from keras_erf.layers.recipes import Recipe, SquareSite, in_double, space_of
from keras_erf.layers.windows import on_windows, window_views
from keras_erf.signals.profiles import passed

__all__ = ["ENTRIES", "framed_squares"]


def _shifting(attribute: str, sign: int) -> Callable[[Call], tuple[View, ...]]:
    """A rule that shifts each spatial axis by what stands before it."""

    def rule(call: Call) -> tuple[View, ...]:
        amounts = getattr(call.layer, attribute)
        rank = len(call.output)
        pairs = (amounts,) if rank == 2 else amounts
        windows = [Window(padding=sign * before) for before, _ in pairs]
        # One-dimensional padding and cropping know no data format: steps come first.
        if rank == 2 and getattr(call.layer, "data_format", None) is None:
            return (View((Link(0, windows[0]), Link(1))),)
        return window_views(call, windows, Link(channel_axis(call.layer, rank)))

    return rule


zero_padding = _shifting("padding", 1)
cropping = _shifting("cropping", -1)


def shifting_on_part(site: PartSite) -> Restricted | None:
    """Zero padding and cropping."""
    return on_windows(site, padded)


def framed_squares(site: SquareSite) -> Recipe:
    """Zeros around an image, or a border that is cut off."""
    layer, space = in_double(site.layer), space_of(site)
    profile, gain = passed(layer, site.signal.profile, space)
    # A channel's mean over space falls with its entries.
    made = site.signal.changed(gain, gain**2, profile)
    return Recipe(layer, (made,), common=1.0, steps=(1.0,) * len(space), as_called=True)


ENTRIES = tuple(
    Entry(
        layers=names,
        dependence=dependence,
        part=shifting_on_part,
        squares=framed_squares,
        affine=in_one_tensor,
    )
    for names, dependence in (
        (ranks("ZeroPadding{}D"), zero_padding),
        (ranks("Cropping{}D"), cropping),
    )
)
