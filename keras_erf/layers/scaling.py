"""Fixed scales and offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from keras.config import epsilon

from keras_erf.layers.arithmetic import by_number, shifted_signal
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.elementwise import elementwise
from keras_erf.layers.entry import Entry
from keras_erf.layers.normalisation import values_of
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.layers.same_everywhere import stretched_on_part

__all__ = ["ENTRIES"]


def standardised_squares(site: SquareSite) -> Recipe | None:
    """Fixed standardisation: `1 / variance`."""
    if site.layer.invert:
        return None
    # The first axis is the batch's.
    scale = 1 / np.maximum(np.sqrt(values_of(site.layer.variance)[0]), epsilon())
    return by_number(site, scale)


def rescaling_squares(site: SquareSite) -> Recipe | None:
    """Fixed scales, squared."""
    recipe = by_number(site, np.asarray(site.layer.scale, np.float64))
    offset = np.asarray(site.layer.offset, np.float64)
    if recipe is None or offset.size != 1 or not offset.any():
        return recipe
    return replace(recipe, signals=(shifted_signal(recipe.signals[0], float(offset.reshape(()))),))


ENTRIES = (
    Entry(
        layers="Normalization",
        dependence=elementwise,
        part=stretched_on_part,
        squares=standardised_squares,
        affine=in_one_tensor,
    ),
    Entry(
        layers="Rescaling",
        dependence=elementwise,
        part=stretched_on_part,
        squares=rescaling_squares,
        entrywise=True,
        affine=in_one_tensor,
    ),
)
