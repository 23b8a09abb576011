"""Layers that change each position by itself, and merges: numbers stand for slopes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers
from keras.config import epsilon

from keras_erf.graph import Argument
from keras_erf.rules.activations import on_single_elements
from keras_erf.squaring.initial import second_moment
from keras_erf.squaring.recipes import NotAlike, Recipe, SquareSite, in_double
from keras_erf.squaring.signals import Signal, activated, mixed, product, summed
from keras_erf.squaring.strengths import blended

# Channels whose scales differ by more than examples do are not alike.
SPREAD = 0.05

__all__ = [
    "activation",
    "added",
    "averaged",
    "batch_normalization",
    "centred",
    "concatenated",
    "divided",
    "dropout",
    "elementwise",
    "largest",
    "multiplied",
    "negated",
    "normalization",
    "rescaling",
    "unchanged",
]


def unchanged(site: SquareSite) -> Recipe:
    """What hands on its input."""
    return Recipe(None, (site.signal,), common=1.0, entrywise=True)


def negated(site: SquareSite) -> Recipe:
    """What changes the sign of its input."""
    return Recipe(None, (site.signal.negated(),), common=1.0, entrywise=True)


def elementwise(site: SquareSite) -> Recipe:
    """Activations that are layers or operations of their own: the mean square of their slope."""
    made, slope = activated(site.signal, site.layer.call)
    return Recipe(
        None,
        (made,),
        after=slope.square,
        common=slope.common,
        apart=slope.apart,
        entrywise=True,
    )


def activation(site: SquareSite) -> Recipe | None:
    """Layers that are an activation and nothing else."""
    if not on_single_elements(site.layer.activation):
        return None
    return elementwise(site)


def batch_normalization(site: SquareSite) -> Recipe:
    """Batch normalisation: its scale, with the statistics it holds or those its input will show.

    Of given weights it is `gamma / sqrt(variance + epsilon)`. A random network is taken
    as calibrated: the variance is that of the signal, over inputs and space.
    """
    layer = site.layer
    made, own = site.signal.standardised(layer.epsilon)
    given = site.weights == "given"
    read = _values if given else _initial
    sizes = site.signal.sizes or (1,)
    mean = np.average(own, weights=sizes)
    alike = np.ptp(own) <= SPREAD * mean
    if site.narrow and not alike:
        raise NotAlike
    # Tensors put one behind the other have their own statistics.
    scale = np.sqrt(np.full(1, mean) if alike else np.repeat(own, sizes))
    if given:
        scale = 1 / np.sqrt(_values(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        gain = read(layer.gamma, layer, "gamma")
        made, scale = made.scaled(float(np.square(gain).mean())), gain * scale
    if layer.center:
        shift = math.sqrt(float(np.square(read(layer.beta, layer, "beta")).mean()))
        # A shift of either sign, the same for all inputs.
        signs = np.where(np.arange(len(made.values)) % 2, 1.0, -1.0)[:, None]
        profile = blended([made.profile, None], [made.second, shift**2])
        made = Signal(made.values + shift * signs, profile=profile)
    after, common = site.gains(site.along(_axis(site), scale))
    return Recipe(None, (made,), after=after, common=common, entrywise=True)


def centred(site: SquareSite) -> Recipe | None:
    """Layer and group normalisation: the scale that makes up for the signal's strength.

    The slope of a layer normalisation is `(1 - 1 1'/C - x x'/C) / sigma`, of `C` channels with
    normalised entries `x`: off go the mean over the channels, and what is along the signal.
    That of a group normalisation takes off means over all of space, which is left out.

    Reference:
        Ba, Kiros, Hinton, "Layer Normalization", 2016, arXiv:1607.06450, section 5.
    """
    layer, alone = site.layer, _is_over_channels(site)
    channels = site.call.output[site.channels]
    groups = layer.groups if isinstance(layer, layers.GroupNormalization) else 1
    size = channels // groups if groups > 0 else 1
    made, strength = site.signal.normalised(layer.epsilon, size, inputs=not alone)
    factor: Any = strength
    if alone:
        # Each position by itself.
        made, factor = replace(made, profile=None), _by_place(site, strength)
    common = factor
    if layer.scale:
        read = _values if site.weights == "given" else _initial
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
        None, (made,), after=factor, common=common, centred=alone, certainty="approximate"
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


def normalization(site: SquareSite) -> Recipe | None:
    """Fixed standardisation: `1 / variance`."""
    if site.layer.invert:
        return None
    # The first axis is the batch's.
    scale = 1 / np.maximum(np.sqrt(_values(site.layer.variance)[0]), epsilon())
    return _by_number(site, scale)


def rescaling(site: SquareSite) -> Recipe | None:
    """Fixed scales, squared."""
    recipe = _by_number(site, np.asarray(site.layer.scale, np.float64))
    offset = np.asarray(site.layer.offset, np.float64)
    if recipe is None or offset.size != 1 or not offset.any():
        return recipe
    return replace(recipe, signals=(_shifted(recipe.signals[0], float(offset.reshape(()))),))


def dropout(site: SquareSite) -> Recipe:
    """Dropout: in training a kept unit's square weighs `1 / (1 - p)^2`, and `1 - p` are kept."""
    if not site.training:
        return unchanged(site)
    rate, values = site.layer.rate, site.signal.values
    kept = np.random.default_rng(site.key).random(values.shape) >= rate
    made = Signal(values * kept / (1 - rate), profile=site.signal.profile)
    return Recipe(None, (made,), after=1 / (1 - rate), common=1.0, apart=1.0)


def added(site: SquareSite) -> Recipe | None:
    """Sums and differences of tensors that are independent: their squares add."""
    if not _is_even(site):
        return None
    signals, number = list(site.signals), None
    if len(signals) == 1:
        number = _number(site)
    if site.node.kind in (layers.Subtract, "ops.Subtract"):
        args, kwargs = site.call.arguments
        first = next(iter((*args, *kwargs.values())))
        if number is not None and isinstance(first, Argument):
            number = -number
        else:
            signals[-1] = signals[-1].negated()
    made = summed(signals)
    if number is not None and number.size == 1:
        made = _shifted(made, float(number.reshape(())))
    return Recipe(None, (made,), common=1.0, entrywise=True)


def _shifted(signal: Signal, shift: float) -> Signal:
    """The signal with a number added to it."""
    profile = blended([signal.profile, None], [signal.second, shift**2])
    return Signal(signal.values + shift, profile=profile)


def averaged(site: SquareSite) -> Recipe | None:
    """The mean of some tensors."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals) ** 2
    made, before = summed(site.signals).scaled(share), (share,) * len(site.signals)
    return Recipe(None, (made,), before=before, common=1.0, entrywise=True)


def largest(site: SquareSite) -> Recipe | None:
    """The larger, or smaller, of some tensors: each is it as often."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals)
    made = replace(mixed(site.signals, [1] * len(site.signals)), sizes=())
    count = len(site.signals)
    return Recipe(
        None,
        (made,),
        before=(share,) * count,
        common=1.0,
        common_before=(share**2,) * count,
        certainty="approximate",
    )


def multiplied(site: SquareSite) -> Recipe | None:
    """Products: of a tensor with numbers, or of two independent ones (a gate and what it gates)."""
    if len(site.signals) == 1:
        number = _number(site)
        if number is None:
            return None
        return _by_number(site, number)
    if len(site.signals) > 2 or not _is_even(site):
        return None
    one, other = site.signals
    made = product(one, other)
    # The slope by one factor is the other one.
    before = tuple(
        factor.at(site.channels) if shape == site.call.output else factor.second
        for factor, shape in zip((other, one), site.call.inputs, strict=True)
    )
    # Of two channels, gates are independent.
    common = (float(other.values.mean()) ** 2, float(one.values.mean()) ** 2)
    return Recipe(
        None,
        (made,),
        before=before,
        common=1.0,
        common_before=common,
        certainty="approximate",
    )


def divided(site: SquareSite) -> Recipe | None:
    """Quotients by numbers."""
    number = _number(site)
    first = site.call.arguments[0][:1]
    if number is None or not (first and isinstance(first[0], Argument)):
        return None
    return _by_number(site, 1 / number)


def concatenated(site: SquareSite) -> Recipe | None:
    """Tensors one beside the other; narrow, those beside each other along channels are alike."""
    axis = _axis(site)
    sizes = [shape[axis] for shape in site.call.inputs]
    made = mixed(site.signals, sizes)
    if axis != site.channels:
        made = replace(made, profile=None, sizes=())
    if site.narrow:
        # Each channel of an input is one of the output's, and sees what that one sees.
        return Recipe(None, (made,), common=1.0) if axis == site.channels else None
    return Recipe(in_double(site.layer), (made,), common=1.0, as_called=True)


def _is_even(site: SquareSite) -> bool:
    """Whether no tensor is stretched that would have to be summed up in another way.

    Stretched over channels, of which narrow there is one; or over the space of a
    tensor that is not there, since the analysed input does not lead to it.
    """
    shapes, output = site.call.inputs, site.call.output
    if len(site.reached) < len(shapes):
        return all(shapes[place] == output for place in site.reached)
    size = output[site.channels]
    ranks = all(len(shape) == len(output) for shape in shapes)
    return not site.narrow or (ranks and all(shape[site.channels] == size for shape in shapes))


def _by_number(site: SquareSite, number: np.ndarray) -> Recipe | None:
    made = site.signal.scaled(float(np.square(number).mean()))
    if number.mean() < 0:
        made = made.negated()
    shape = (1,) * (len(site.call.output) - number.ndim) + number.shape
    if site.narrow and number.size not in (1, shape[site.channels]):
        return None
    # Narrow, one number for each channel: in the mean, of channels that are alike.
    after, common = site.gains(number)
    return Recipe(None, (made,), after=after, common=common, entrywise=True)


def _number(site: SquareSite) -> np.ndarray | None:
    """The number, or array of numbers, among the arguments of an operation of two."""
    args, kwargs = site.call.arguments
    given = [one for one in (*args, *kwargs.values()) if not isinstance(one, Argument)]
    if len(given) != 1:
        return None
    number = np.asarray(given[0], np.float64)
    # Stretched over the batch it would differ from sample to sample.
    return number if number.ndim <= len(site.call.output) else None


def _axis(site: SquareSite) -> int:
    """The axis that a layer is told, the batch not counted."""
    return site.layer.axis % (len(site.call.output) + 1) - 1


def _values(variable: Any, *_: Any) -> np.ndarray:
    return np.asarray(variable, np.float64)


def _initial(variable: Any, layer: Any, name: str) -> np.ndarray:
    """What a gain or shift starts from; the root of its mean square where that is drawn."""
    initializer = getattr(layer, f"{name}_initializer")
    shape = tuple(variable.shape)
    found = second_moment(initializer, shape)
    if found is None:
        return _values(initializer(shape))
    return np.broadcast_to(np.sqrt(np.asarray(found, np.float64)), shape)
