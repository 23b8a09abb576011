"""Layers that change each position by itself, and merges: numbers stand for slopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops
from keras.config import epsilon

from keras_erf.graph import Argument
from keras_erf.rules.activations import on_single_elements
from keras_erf.squaring.initial import second_moment
from keras_erf.squaring.recipes import Recipe, Site, in_double
from keras_erf.squaring.signals import Signal, activated, mixed

__all__ = [
    "activation",
    "added",
    "averaged",
    "batch_normalization",
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


def unchanged(site: Site) -> Recipe:
    """What hands on its input."""
    return Recipe(None, (site.signal,))


def elementwise(site: Site) -> Recipe:
    """Activations that are layers or operations of their own: the mean square of their slope."""
    made, gate = activated(site.signal, site.layer.call)
    return Recipe(None, (made,), after=gate)


def activation(site: Site) -> Recipe | None:
    """Layers that are an activation and nothing else."""
    if not on_single_elements(site.layer.activation):
        return None
    return elementwise(site)


def batch_normalization(site: Site) -> Recipe:
    """Batch normalisation: its scale, with the statistics it holds or those its input will show.

    Of given weights it is `gamma^2 / (variance + epsilon)`. A random network is taken
    as calibrated: the variance is that of the signal, over inputs.
    """
    layer = site.layer
    gain, shift = np.ones(1), np.zeros(1)
    if site.weights == "given":
        scale = 1 / (_values(layer.moving_variance) + layer.epsilon)
        gain = np.square(_values(layer.gamma)) if layer.scale else gain
        shift = np.square(_values(layer.beta)) if layer.center else shift
    else:
        scale = np.full(1, 1 / (site.signal.variance + layer.epsilon))
        gain = _initial(layer, "gamma") if layer.scale else gain
        shift = _initial(layer, "beta") if layer.center else shift
    made = Signal(float((gain + shift).mean()), float(shift.mean()))
    return Recipe(None, (made,), after=site.along_channels(gain * scale))


def normalization(site: Site) -> Recipe | None:
    """Fixed standardisation: `1 / variance`."""
    if site.layer.invert:
        return None
    # The first axis is the batch's.
    scale = 1 / np.maximum(_values(site.layer.variance)[0], np.square(epsilon()))
    factor = float(scale.mean()) if site.narrow else scale
    return Recipe(None, (site.signal.scaled(float(scale.mean())),), after=factor)


def rescaling(site: Site) -> Recipe:
    """Fixed scales, squared."""
    scale = np.square(np.asarray(site.layer.scale, np.float64))
    factor = float(scale.mean()) if site.narrow or scale.ndim == 0 else scale
    return Recipe(None, (site.signal.scaled(float(scale.mean())),), after=factor)


def dropout(site: Site) -> Recipe:
    """Dropout: in training a kept unit's square weighs `1 / (1 - p)^2`, and `1 - p` are kept."""
    factor = 1 / (1 - site.layer.rate) if site.training else 1.0
    signal = site.signal
    return Recipe(None, (Signal(signal.second * factor, signal.shared),), after=factor)


def added(site: Site) -> Recipe | None:
    """Sums and differences of tensors that are independent: their squares add."""
    if not _is_even(site):
        return None
    return Recipe(None, (_sum(site.signals),))


def averaged(site: Site) -> Recipe | None:
    """The mean of some tensors."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals) ** 2
    factors = (share,) * len(site.signals)
    return Recipe(None, (_sum(site.signals).scaled(share),), before=factors)


def largest(site: Site) -> Recipe | None:
    """The larger, or smaller, of some tensors: each is it as often."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals)
    made = mixed(list(site.signals), [share] * len(site.signals))
    return Recipe(
        None, (made,), before=(share,) * len(site.signals), certainty="approximate"
    )


def multiplied(site: Site) -> Recipe | None:
    """Products: of a tensor with numbers, or of two independent ones (a gate and what it gates)."""
    if len(site.signals) == 1:
        number = _number(site)
        if number is None:
            return None
        return _by_number(site, np.square(number))
    if len(site.signals) > 2 or not _is_even(site):
        return None
    one, other = site.signals
    made = Signal(one.second * other.second, one.shared * other.shared)
    # The slope by one factor is the other one.
    return Recipe(None, (made,), before=(other.second, one.second), certainty="approximate")


def divided(site: Site) -> Recipe | None:
    """Quotients by numbers."""
    number = _number(site)
    first = site.call.arguments[0][:1]
    if number is None or not (first and isinstance(first[0], Argument)):
        return None
    return _by_number(site, 1 / np.square(number))


def concatenated(site: Site) -> Recipe | None:
    """Tensors one beside the other; narrow, those beside each other along channels are alike."""
    axis = site.layer.axis % (len(site.call.output) + 1) - 1
    sizes = [shape[axis] for shape in site.call.inputs]
    made = mixed(list(site.signals), [size / sum(sizes) for size in sizes])
    if site.narrow:
        # Each channel of an input is one of the output's, and sees what that one sees.
        return Recipe(None, (made,)) if axis == site.channels else None
    return Recipe(in_double(site.layer), (made,), as_called=True)


def _is_even(site: Site) -> bool:
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


def _by_number(site: Site, factor: np.ndarray) -> Recipe | None:
    made = site.signal.scaled(float(factor.mean()))
    if factor.size == 1:
        return Recipe(None, (made,), after=float(factor.reshape(())))
    return None if site.narrow else Recipe(None, (made,), after=factor)


def _number(site: Site) -> np.ndarray | None:
    """The number, or array of numbers, among the arguments of an operation of two."""
    args, kwargs = site.call.arguments
    given = [one for one in (*args, *kwargs.values()) if not isinstance(one, Argument)]
    if len(given) != 1:
        return None
    number = np.asarray(ops.convert_to_numpy(given[0]), np.float64)
    # Stretched over the batch it would differ from sample to sample.
    return number if number.ndim <= len(site.call.output) else None


def _sum(signals: tuple[Signal, ...]) -> Signal:
    return Signal(math.fsum(one.second for one in signals), math.fsum(one.shared for one in signals))


def _values(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), np.float64)


def _initial(layer: layers.BatchNormalization, name: str) -> np.ndarray:
    """Squares of what a gain or shift starts from."""
    initializer = getattr(layer, f"{name}_initializer")
    shape = tuple(getattr(layer, name).shape)
    found = second_moment(initializer, shape)
    if found is None:
        found = np.square(np.asarray(ops.convert_to_numpy(initializer(shape)), np.float64))
    return np.broadcast_to(np.asarray(found, np.float64), shape)
