"""Dropout and noise: nothing is done but in training."""

from __future__ import annotations

import numpy as np

from keras_erf.layers.conditions import AffineSite, in_one_tensor
from keras_erf.layers.elementwise import elementwise, unchanged_squares
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.parts import BATCH, PartSite, Restricted, called_on_part
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.signals.signal_moments import Signal

__all__ = ["ENTRIES"]


def dropout_on_part(site: PartSite) -> Restricted | None:
    """Dropout; along the axes whose size its `noise_shape` tells, all of them is drawn for."""
    drawn = getattr(site.layer, "noise_shape", None) or ()
    return called_on_part(
        site, {axis for axis, size in enumerate(drawn, BATCH) if size not in (None, 1)}
    )


def dropout_squares(site: SquareSite) -> Recipe:
    """Dropout: in training a kept unit's square weighs `1 / (1 - p)^2`, and `1 - p` are kept."""
    if not site.training:
        return unchanged_squares(site)
    rate, values = site.layer.rate, site.signal.values
    kept = np.random.default_rng(site.key).random(values.shape) >= rate
    made = Signal(values * kept / (1 - rate), profile=site.signal.profile)
    return Recipe(None, (made,), after=1 / (1 - rate), common=1.0, apart=1.0)


def at_inference(site: AffineSite) -> bool:
    """Affine unless it draws at random, which it does in training."""
    return in_one_tensor(site) and not site.training


ENTRIES = (
    Entry(
        layers="Dropout",
        dependence=elementwise,
        part=dropout_on_part,
        squares=dropout_squares,
        affine=at_inference,
        keeps_known=True,
    ),
    Entry(
        layers=ranks("SpatialDropout{}D"),
        dependence=elementwise,
        part=dropout_on_part,
        squares=dropout_squares,
        affine=at_inference,
    ),
    Entry(
        layers="GaussianDropout",
        dependence=elementwise,
        part=called_on_part,
        squares=dropout_squares,
        affine=at_inference,
    ),
    Entry(layers="AlphaDropout", dependence=elementwise, part=dropout_on_part, affine=at_inference),
    Entry(
        layers="GaussianNoise", dependence=elementwise, part=called_on_part, affine=in_one_tensor
    ),
)
