"""Blocks with shortcuts, and their twins without: one set of convolutions, one field."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import require, require_counts

__all__ = ["skip"]


def skip(
    *,
    blocks: int = 10,
    layers: int = 2,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int = 8,
    energy: float = 1.0,
    shortcuts: bool = True,
    activation: str | Callable[..., Any] | None = None,
    channels: int = 8,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "skip",
) -> keras.Model:
    """Builds blocks `y = x + F(x)` with shortcuts that change nothing.

    A stem of one convolution, then the blocks; layers are called `stem`, `block1_conv1`,
    `block1_act1`, `block1_conv2`, `block1_out` and so on. Activations stand inside the
    branches, before every convolution but the stem and the first of a branch without one.
    Without its shortcuts (`no_skip` of the zoo) the network has the same convolutions, weights
    and theoretical field; with them the effective field is smaller, since most paths are
    shorter; `theory.skip_map` is its closed form.

    Args:
        blocks: Number of blocks.
        layers: Convolutions of a branch.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer.
        energy: Energy of a branch's mean squared gradient, where the shortcut's is 1.
        shortcuts: Whether there are any; without them `y = F(x)`.
        activation: Keras activation before each convolution of a branch; `None` keeps the
            network linear.
        channels: Channels of the input.
        dims: Number of spatial axes: 1, 2 or 3.
        input_shape: Spatial sizes in pixels; `None` leaves all open.
        seed: Non-negative integer from which the random weights derive.
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model`, from `(batch, *spatial, channels)` to a map of `filters`
        channels.

    Raises:
        InvalidInputError: An option has a value the network cannot be built with.

    Reference:
        Luo et al. 2016, section 2.5 (skip connections make the effective field smaller);
        He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016,
        arXiv:1603.05027 (activations before the convolutions).
    """
    body = convolutions(
        kernel_size=kernel_size,
        filters=filters,
        weights="random",
        activation=activation,
        dims=dims,
        use_bias=False,
        seed=seed,
        dtype=dtype,
    )
    require_counts(blocks=blocks, layers=layers)
    require(isinstance(shortcuts, bool), "shortcuts", "True or False", shortcuts)
    real = isinstance(energy, int | float) and not isinstance(energy, bool)
    require(real and 0 < energy < math.inf, "energy", "a positive number", energy)
    # Each of the branch's layers has its share; a ReLU's half is made up for by the gain of 2.
    share = body.gain * energy ** (1 / layers)
    inputs = body.input(input_shape, channels)
    x = body.convolution(inputs, "stem", gain=1.0)
    for block in range(1, blocks + 1):
        branch = x
        for layer in range(1, layers + 1):
            branch = body.activated(branch, f"block{block}_act{layer}")
            branch = body.convolution(branch, f"block{block}_conv{layer}", gain=share)
        if shortcuts:
            x = keras.layers.Add(dtype=body.policy, name=f"block{block}_out")([x, branch])
        else:
            x = keras.layers.Identity(dtype=body.policy, name=f"block{block}_out")(branch)
    return keras.Model(inputs, x, name=name)
