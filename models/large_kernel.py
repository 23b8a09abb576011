"""A large-kernel design: few blocks of wide depthwise kernels, after RepLKNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import require, require_counts

__all__ = ["large_kernel"]

DEPTHWISE = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}


def large_kernel(
    *,
    blocks: int = 4,
    kernel_size: int = 13,
    filters: int = 8,
    activation: str | Callable[..., Any] | None = "relu",
    channels: int = 3,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "large_kernel",
) -> keras.Model:
    """Builds residual blocks of a 1x1, a wide depthwise and another 1x1 convolution.

    The field grows with the kernel instead of the depth: sigma with `k sqrt(n)` for `n`
    blocks of `k` taps, where a stack of 3x3 layers of the same field has many more of them
    and grows with their root. Layers are called `stem`, `block1_expand`, `block1_depthwise`,
    `block1_project`, `block1_out` and so on, and `head`.

    Args:
        blocks: Number of blocks.
        kernel_size: Taps of the depthwise kernels along each axis.
        filters: Channels of every layer.
        activation: Keras activation behind the first two convolutions of a block.
        channels: Channels of the input.
        dims: Number of spatial axes: 1 or 2.
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
        Ding, Zhang, Zhou, Han, Ding, Sun, "Scaling up your kernels to 31x31", CVPR 2022,
        arXiv:2203.06717, figure 2 and section 4.3.
    """
    require(dims in DEPTHWISE, "dims", "1 or 2", dims)
    require_counts(blocks=blocks, kernel_size=kernel_size)
    layers = convolutions(
        kernel_size=1,
        filters=filters,
        weights="random",
        activation=activation,
        dims=dims,
        use_bias=False,
        seed=seed,
        dtype=dtype,
    )
    inputs = layers.input(input_shape, channels)
    x = layers.convolution(inputs, "stem", gain=1.0)
    for block in range(1, blocks + 1):
        y = layers.convolution(x, f"block{block}_expand", gain=1.0)
        y = layers.activated(y, f"block{block}_act1")
        # One input channel each: the fan-in is the kernel alone.
        start = layers.start(layers.gain, (kernel_size,) * dims, 1, next(layers.seeds))
        y = DEPTHWISE[dims](
            kernel_size,
            padding="same",
            use_bias=False,
            depthwise_initializer=start,
            dtype=layers.policy,
            name=f"block{block}_depthwise",
        )(y)
        y = layers.activated(y, f"block{block}_act2")
        y = layers.convolution(y, f"block{block}_project")
        x = keras.layers.Add(dtype=layers.policy, name=f"block{block}_out")([x, y])
    return keras.Model(inputs, layers.convolution(x, "head", gain=1.0), name=name)
