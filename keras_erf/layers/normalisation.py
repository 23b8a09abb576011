"""Normalisations: by statistics of channels, of space or of the batch, and by fixed scales.

A normalisation over the channel axis mixes channels but not positions; one over space sees its
own position and, through its statistics, all others.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers
from keras.config import epsilon

from keras_erf.algebra.geometry import Blocks
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import counted_axes
from keras_erf.dependence.call import Call
from keras_erf.layers.arithmetic import by_number, shifted_signal
from keras_erf.layers.conditions import AffineSite, in_first_operand, in_one_tensor
from keras_erf.layers.elementwise import elementwise
from keras_erf.layers.entry import Entry
from keras_erf.layers.parts import PartSite, Restricted, called_on_part, stretched_on_part
from keras_erf.layers.recipes import NotAlike, Recipe, SquareSite
from keras_erf.signals.initializers import second_moment
from keras_erf.signals.profiles import blended
from keras_erf.signals.signal_moments import Signal
from keras_erf.types import Layer, Variable

__all__ = ["ENTRIES", "axis_of", "normalization", "values_of"]


def normalization(call: Call) -> tuple[View, ...]:
    """Softmax, and layer, unit and root-mean-square normalisation, over `axis`."""
    axis = call.layer.axis
    given = axis if isinstance(axis, (list, tuple)) else [axis]
    return statistics_over(call, counted_axes(call, given))


def group_normalization(call: Call) -> tuple[View, ...]:
    """Group normalisation: statistics over all of space and the channels of a group.

    Reference: Wu and He 2018, "Group Normalization", equation 3.
    """
    (channel,) = counted_axes(call, [call.layer.axis])
    size = call.output[channel]
    groups = size if call.layer.groups == -1 else call.layer.groups
    block = Link(channel, Blocks(size // groups, size // groups))
    links = (block if axis == channel else Link(None) for axis in range(len(call.output)))
    return (_view_along(call, set()), View(tuple(links)))


def masking(call: Call) -> tuple[View, ...]:
    """A position is let through or not as a whole: its channels decide together."""
    return statistics_over(call, {len(call.output) - 1})


def _view_along(call: Call, axes: set[int]) -> View:
    return View(tuple(Link(None if axis in axes else axis) for axis in range(len(call.output))))


def statistics_over(call: Call, axes: set[int]) -> tuple[View, ...]:
    """The position itself, and all positions along `axes`."""
    return (_view_along(call, set()), _view_along(call, axes))


def batch_normalization_on_part(site: PartSite) -> Restricted | None:
    """Batch normalisation: each index of its `axis` has numbers of its own."""
    return called_on_part(site, {site.layer.axis % (len(site.call.output) + 1) - 1})


# Channels whose scales differ by more than examples do are not alike.
SPREAD = 0.05


def batch_normalization_squares(site: SquareSite) -> Recipe:
    """Batch normalisation: its scale, with the statistics it holds or those its input will show.

    Of given weights it is `gamma / sqrt(variance + epsilon)`. A random network is taken
    as calibrated: the variance is that of the signal, over inputs and space.
    """
    layer = site.layer
    made, own = site.signal.standardised(layer.epsilon)
    given = site.weights == "given"
    read = values_of if given else initial_values
    sizes = site.signal.sizes or (1,)
    mean = np.average(own, weights=sizes)
    alike = np.ptp(own) <= SPREAD * mean
    if site.narrow and not alike:
        raise NotAlike
    # Tensors put one behind the other have their own statistics.
    scale = np.sqrt(np.full(1, mean) if alike else np.repeat(own, sizes))
    if given:
        scale = 1 / np.sqrt(values_of(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        gain = read(layer.gamma, layer, "gamma")
        made, scale = made.scaled(float(np.square(gain).mean())), gain * scale
    if layer.center:
        shift = math.sqrt(float(np.square(read(layer.beta, layer, "beta")).mean()))
        # A shift of either sign, the same for all inputs.
        signs = np.where(np.arange(len(made.values)) % 2, 1.0, -1.0)[:, None]
        profile = blended([made.profile, None], [made.second, shift**2])
        made = Signal(made.values + shift * signs, profile=profile)
    after, common = site.gains(site.along(axis_of(site), scale))
    return Recipe(
        None,
        (made,),
        after=after,
        common=common,
        scales=True,
        standardised=True,
        entrywise=True,
    )


def centred_squares(site: SquareSite) -> Recipe | None:
    """Layer and group normalisation: the scale that makes up for the signal's strength.

    The slope of a layer normalisation is `(1 - 1 1'/C - x x'/C) / sigma`, of `C` channels with
    normalised entries `x`: off go the mean over the channels, and what is along the signal.
    That of a group normalisation takes off means over all of space, which is left out.

    Reference:
        Ba, Kiros, Hinton, "Layer Normalization", 2016, arXiv:1607.06450, section 5.
    """
    layer, alone = site.layer, _is_over_channels(site)
    channels = site.call.output[site.channels]
    grouped = isinstance(layer, layers.GroupNormalization)
    groups = layer.groups if grouped else 1
    size = channels // groups if groups > 0 else 1
    made, strength = site.signal.normalised(layer.epsilon, size, inputs=not alone)
    factor: Any = strength
    if alone:
        # Each position by itself.
        made, factor = replace(made, profile=None), _by_place(site, strength)
    common = factor
    if layer.scale:
        read = values_of if site.weights == "given" else initial_values
        gain = read(layer.gamma, layer, "gamma")
        made = made.scaled(float(np.square(gain).mean()))
        square, product = (
            site.gains(site.along(site.channels, gain))
            if gain.size == channels
            else (float(np.square(gain).mean()),) * 2
        )
        factor, common = factor * square, common * product
    if alone:
        left = max(1 - 2 / channels, 0.0)
        factor, common = left * factor, left * common
    return Recipe(
        None,
        (made,),
        after=factor,
        common=common,
        centred=alone,
        scales=grouped,
        certainty="approximate",
    )


def _is_over_channels(site: SquareSite) -> bool:
    """Whether a normalisation takes its mean over the channels of each position."""
    if not isinstance(site.layer, layers.LayerNormalization):
        return False
    axes = site.layer.axis if isinstance(site.layer.axis, list | tuple) else [site.layer.axis]
    rank = len(site.call.output) + 1
    return [axis % rank for axis in axes] == [site.channels + 1]


def _by_place(site: SquareSite, factor: float) -> Any:
    """A scale that makes up for the strength at each position."""
    profile = site.signal.profile
    if profile is None:
        return factor
    strength = np.expand_dims(profile, site.channels)
    return factor / np.where(strength > 0, strength, 1.0)


def axis_of(site: SquareSite) -> int:
    """The axis of a layer's option, the batch not counted."""
    return site.layer.axis % (len(site.call.output) + 1) - 1


def values_of(variable: Variable, *_: Any) -> np.ndarray:
    """Values of a variable in double precision."""
    return np.asarray(variable, np.float64)


def initial_values(variable: Variable, layer: Layer, name: str) -> np.ndarray:
    """What a gain or shift starts from; the root of its mean square where that is drawn."""
    initializer = getattr(layer, f"{name}_initializer")
    shape = tuple(variable.shape)
    found = second_moment(initializer, shape)
    if found is None:
        return values_of(initializer(shape))
    return np.broadcast_to(np.sqrt(np.asarray(found, np.float64)), shape)


def with_held_statistics(site: AffineSite) -> bool:
    """Affine with the statistics it holds; those of the batch depend on the samples."""
    return in_one_tensor(site) and not (site.training and site.layer.trainable)


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
        layers="BatchNormalization",
        dependence=elementwise,
        part=batch_normalization_on_part,
        squares=batch_normalization_squares,
        affine=with_held_statistics,
    ),
    Entry(operations="BatchNorm", dependence=elementwise, affine=in_first_operand),
    Entry(
        layers="LayerNormalization",
        dependence=normalization,
        part=called_on_part,
        squares=centred_squares,
    ),
    Entry(layers="GroupNormalization", dependence=group_normalization, squares=centred_squares),
    Entry(layers="RMSNormalization", dependence=normalization, part=stretched_on_part),
    Entry(layers="UnitNormalization", dependence=normalization, part=called_on_part),
    Entry(layers="Masking", dependence=masking),
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
        operands=("scale",),
        affine=in_one_tensor,
    ),
)
