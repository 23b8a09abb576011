"""How the strength of a signal varies over space: zeros around an image weaken what is near them.

A profile is the mean square of each position's entries relative to the mean over all
positions, without a channel axis; `None` where it is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_erf.types import Array, Layer

__all__ = ["Profile", "blended", "multiplied", "normalised", "passed", "spread"]

Profile = np.ndarray | None


def normalised(strengths: np.ndarray) -> tuple[Profile, float]:
    """The profile of a map of strengths, and the strengths' mean."""
    mean = float(strengths.mean())
    if not mean or np.ptp(strengths) <= 1e-12 * mean:
        return None, mean
    return strengths / mean, mean


def passed(layer: Layer, profile: Profile, space: Sequence[int]) -> tuple[Profile, float]:
    """The profile behind a layer of one channel that is linear in squares, and its gain."""
    made = layer(_image(profile, space))
    return normalised(np.asarray(made, np.float64)[0, ..., 0])


def spread(
    layer: Layer, profile: Profile, space: Sequence[int]
) -> tuple[Profile, Profile, float, float]:
    """What a layer of random weights makes of a profile.

    Args:
        layer: Its squared kernel, for one channel.
        profile: Of its input.
        space: Spatial shape of its input.

    Returns:
        The profile of its output, and that of its means (see `Signal`); what the mean square
        gains, and what the mean square of a channel's mean over space does. Of a channel
        that is `m u(x)` the latter is `sum_k v_k a_k^2` with `a_k = mean_x(u(x + k))`, for taps
        of mean square `v_k`; the means have the profile `sum_k v_k a_k u(x + k)`.
    """
    made, gain = passed(layer, profile, space)
    roots = np.ones(space) if profile is None else np.sqrt(profile)
    roots = roots / roots.mean()
    taps, *others = layer.get_weights()
    with tf.GradientTape() as tape:
        mean = tf.reduce_mean(layer(_image(roots, space)))
    reached = np.asarray(tape.gradient(mean, layer.trainable_variables[:1])[0])
    layer.set_weights([taps * reached, *others])
    means, shared = normalised(np.asarray(layer(_image(roots, space)), np.float64)[0, ..., 0])
    layer.set_weights([taps, *others])
    return made, means, gain, shared


def blended(profiles: Sequence[Profile], weights: Sequence[float]) -> Profile:
    """The profile of a sum of independent signals, by their strengths."""
    if all(one is None for one in profiles) or not sum(weights):
        return None
    parts = [
        np.asarray(weight * (1.0 if one is None else one))
        for one, weight in zip(profiles, weights, strict=True)
    ]
    shapes = {one.shape for one in parts if one.ndim}
    return normalised(np.sum(np.broadcast_arrays(*parts), axis=0))[0] if len(shapes) == 1 else None


def multiplied(profiles: Sequence[Profile]) -> tuple[Profile, float]:
    """The profile of a product of independent signals, and the mean of the products."""
    known = [one for one in profiles if one is not None]
    if not known or len({one.shape for one in known}) > 1:
        return None, 1.0
    return normalised(np.prod(known, axis=0))


def _image(profile: Profile, space: Sequence[int]) -> Array:
    values = np.ones(space) if profile is None else profile
    return tf.constant(values[None, ..., None], tf.float64)
