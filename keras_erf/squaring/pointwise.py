"""Layers that change each position by itself, and merges: numbers stand for slopes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers, ops
from keras.config import epsilon

from keras_erf.graph import Argument
from keras_erf.rules.activations import on_single_elements
from keras_erf.squaring.initial import second_moment
from keras_erf.squaring.recipes import Recipe, SquareSite, in_double
from keras_erf.squaring.signals import Signal, activated, mixed, product, summed
from keras_erf.squaring.strengths import blended

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
    "normalization",
    "rescaling",
    "unchanged",
]


def unchanged(site: SquareSite) -> Recipe:
    """What hands on its input."""
    return Recipe(None, (site.signal,))


def elementwise(site: SquareSite) -> Recipe:
    """Activations that are layers or operations of their own: the mean square of their slope."""
    made, gate = activated(site.signal, site.layer.call)
    return Recipe(None, (made,), after=gate)


def activation(site: SquareSite) -> Recipe | None:
    """Layers that are an activation and nothing else."""
    if not on_single_elements(site.layer.activation):
        return None
    return elementwise(site)


def batch_normalization(site: SquareSite) -> Recipe:
    """Batch normalisation: its scale, with the statistics it holds or those its input will show.

    Of given weights it is `gamma^2 / (variance + epsilon)`. A random network is taken
    as calibrated: the variance is that of the signal, over inputs.
    """
    layer = site.layer
    made, own = site.signal.standardised(layer.epsilon)
    given = site.weights == "given"
    read = _given_squares if given else _initial_squares
    scale = 1 / (_values(layer.moving_variance) + layer.epsilon) if given else np.full(1, own)
    if layer.scale:
        gain = read(layer, "gamma")
        made, scale = made.scaled(float(gain.mean())), gain * scale
    if layer.center:
        shift = math.sqrt(float(read(layer, "beta").mean()))
        # A shift of either sign, the same for all inputs.
        signs = np.where(np.arange(len(made.values)) % 2, 1.0, -1.0)[:, None]
        profile = blended([made.profile, None], [made.second, shift**2])
        made = Signal(made.values + shift * signs, profile=profile)
    return Recipe(None, (made,), after=site.along(_axis(site), scale))


def centred(site: SquareSite) -> Recipe | None:
    """Layer and group normalisation: the scale that makes up for the signal's strength.

    What their slope takes off beside it, the mean and what is along the signal itself, is
    left out: a share that falls with the number of channels, all of it where a unit's
    channels are summed up right behind.
    """
    layer = site.layer
    made, factor = site.signal.normalised(layer.epsilon)
    if isinstance(layer, layers.LayerNormalization):
        # Each position by itself.
        made, factor = replace(made, profile=None), _by_place(site, factor)
    for name in ("gamma",) if layer.scale else ():
        read = _given_squares if site.weights == "given" else _initial_squares
        gain = float(read(layer, name).mean())
        made, factor = made.scaled(gain), factor * gain
    return Recipe(None, (made,), after=factor, certainty="approximate")


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
    scale = 1 / np.maximum(_values(site.layer.variance)[0], np.square(epsilon()))
    factor = float(scale.mean()) if site.narrow else scale
    return Recipe(None, (site.signal.scaled(float(scale.mean())),), after=factor)


def rescaling(site: SquareSite) -> Recipe:
    """Fixed scales, squared."""
    scale = np.square(np.asarray(site.layer.scale, np.float64))
    factor = float(scale.mean()) if site.narrow or scale.ndim == 0 else scale
    return Recipe(None, (site.signal.scaled(float(scale.mean())),), after=factor)


def dropout(site: SquareSite) -> Recipe:
    """Dropout: in training a kept unit's square weighs `1 / (1 - p)^2`, and `1 - p` are kept."""
    if not site.training:
        return unchanged(site)
    rate, values = site.layer.rate, site.signal.values
    kept = np.random.default_rng(site.key).random(values.shape) >= rate
    made = Signal(values * kept / (1 - rate), profile=site.signal.profile)
    return Recipe(None, (made,), after=1 / (1 - rate))


def added(site: SquareSite) -> Recipe | None:
    """Sums and differences of tensors that are independent: their squares add."""
    if not _is_even(site):
        return None
    return Recipe(None, (summed(site.signals),))


def averaged(site: SquareSite) -> Recipe | None:
    """The mean of some tensors."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals) ** 2
    made = summed(site.signals).scaled(share)
    return Recipe(None, (made,), before=(share,) * len(site.signals))


def largest(site: SquareSite) -> Recipe | None:
    """The larger, or smaller, of some tensors: each is it as often."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals)
    made = mixed(list(site.signals), [share] * len(site.signals))
    return Recipe(None, (made,), before=(share,) * len(site.signals), certainty="approximate")


def multiplied(site: SquareSite) -> Recipe | None:
    """Products: of a tensor with numbers, or of two independent ones (a gate and what it gates)."""
    if len(site.signals) == 1:
        number = _number(site)
        if number is None:
            return None
        return _by_number(site, np.square(number))
    if len(site.signals) > 2 or not _is_even(site):
        return None
    one, other = site.signals
    made = product(one, other)
    # The slope by one factor is the other one.
    before = (other.at(site.channels), one.at(site.channels))
    return Recipe(None, (made,), before=before, certainty="approximate")


def divided(site: SquareSite) -> Recipe | None:
    """Quotients by numbers."""
    number = _number(site)
    first = site.call.arguments[0][:1]
    if number is None or not (first and isinstance(first[0], Argument)):
        return None
    return _by_number(site, 1 / np.square(number))


def concatenated(site: SquareSite) -> Recipe | None:
    """Tensors one beside the other; narrow, those beside each other along channels are alike."""
    axis = _axis(site)
    sizes = [shape[axis] for shape in site.call.inputs]
    made = mixed(list(site.signals), [size / sum(sizes) for size in sizes])
    if axis != site.channels:
        made = replace(made, profile=None)
    if site.narrow:
        # Each channel of an input is one of the output's, and sees what that one sees.
        return Recipe(None, (made,)) if axis == site.channels else None
    return Recipe(in_double(site.layer), (made,), as_called=True)


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


def _by_number(site: SquareSite, factor: np.ndarray) -> Recipe | None:
    made = site.signal.scaled(float(factor.mean()))
    if factor.size == 1:
        return Recipe(None, (made,), after=float(factor.reshape(())))
    if site.narrow:
        # One number for each channel: in the mean, of channels that are alike.
        last = factor.ndim == 1 and site.channels == len(site.call.output) - 1
        return Recipe(None, (made,), after=float(factor.mean())) if last else None
    return Recipe(None, (made,), after=factor)


def _number(site: SquareSite) -> np.ndarray | None:
    """The number, or array of numbers, among the arguments of an operation of two."""
    args, kwargs = site.call.arguments
    given = [one for one in (*args, *kwargs.values()) if not isinstance(one, Argument)]
    if len(given) != 1:
        return None
    number = np.asarray(ops.convert_to_numpy(given[0]), np.float64)
    # Stretched over the batch it would differ from sample to sample.
    return number if number.ndim <= len(site.call.output) else None


def _axis(site: SquareSite) -> int:
    """The axis that a layer is told, the batch not counted."""
    return site.layer.axis % (len(site.call.output) + 1) - 1


def _values(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), np.float64)


def _given_squares(layer: layers.BatchNormalization, name: str) -> np.ndarray:
    return np.square(_values(getattr(layer, name)))


def _initial_squares(layer: layers.BatchNormalization, name: str) -> np.ndarray:
    """Squares of what a gain or shift starts from."""
    initializer = getattr(layer, f"{name}_initializer")
    shape = tuple(getattr(layer, name).shape)
    found = second_moment(initializer, shape)
    if found is None:
        found = np.square(np.asarray(ops.convert_to_numpy(initializer(shape)), np.float64))
    return np.broadcast_to(np.asarray(found, np.float64), shape)
