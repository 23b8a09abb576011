"""Indices of classes, and what encodes them."""

from __future__ import annotations

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.simple import refused
from keras_erf.layers.entry import Entry
from keras_erf.layers.spectrograms import wrong_spectrum_shape

__all__ = ["ENTRIES"]

_counts_batch = refused("it counts over the whole batch")


def encoding(call: Call) -> tuple[AnyView, ...]:
    """Indices, and what encodes them: one by one, or all along an axis counted."""
    mode = getattr(call.layer, "output_mode", "int")
    rank = len(call.inputs[0])
    shape = call.inputs[0]
    kept = [Link(axis) for axis in range(rank)]
    if mode not in ("int", "one_hot"):
        if not rank:
            return _counts_batch(call)
        if call.output[:-1] != shape[1:]:
            return wrong_spectrum_shape(call)
        # Keras counts along the first axis.
        kept = [Link(None), *map(Link, range(rank - 1))]
    elif mode == "one_hot" and rank and shape[-1] == 1:
        # An axis of length 1 gives way to that of the classes.
        kept[-1] = Link(None)
    return tuple(View(tuple(kept), place) for place in range(len(call.inputs)))


ENTRIES = (
    Entry(
        layers="CategoryEncoding Discretization HashedCrossing Hashing IntegerLookup",
        dependence=encoding,
    ),
)
