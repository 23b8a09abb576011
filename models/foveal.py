"""A foveal design: streams of several scales, which see the centre sharply and far out coarsely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import is_count, require, require_counts

__all__ = ["foveal"]


def foveal(
    *,
    scales: Sequence[int] = (1, 2, 4, 8),
    depth: int = 4,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int = 8,
    activation: str | Callable[..., Any] | None = "relu",
    channels: int = 3,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "foveal",
) -> keras.Model:
    """Builds streams of dilated convolutions side by side, summed at the end.

    A stem, then for each scale a stream of `depth` convolutions of that dilation, and a
    last convolution over their sum. Each stream has a Gaussian of its own width, and all
    have one energy: the map is a sharp peak on a wide foot, like the acuity of an eye.
    Layers are called `stem`, `scale2_conv1`, `scale2_act1` and so on, `sum` and `head`.

    Args:
        scales: Dilations of the streams.
        depth: Convolutions of a stream.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer.
        activation: Keras activation behind each convolution but the last; `None` for none.
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
        Luo et al. 2016, section 5, and the poster (foveal representation); the parallel
        dilations are those of Chen et al. 2017, arXiv:1606.00915, section 3.2 (ASPP).
    """
    layers = convolutions(
        kernel_size=kernel_size,
        filters=filters,
        weights="random",
        activation=activation,
        dims=dims,
        use_bias=False,
        seed=seed,
        dtype=dtype,
    )
    require(
        isinstance(scales, tuple | list)
        and len(scales) > 1
        and len(set(scales)) == len(scales)
        and all(map(is_count, scales)),
        "scales",
        "two or more different positive integers",
        scales,
    )
    require_counts(depth=depth, channels=channels)
    inputs = layers.input(input_shape, channels)
    start = layers.activated(layers.convolution(inputs, "stem"), "stem_act")
    streams = []
    for scale in scales:
        x = start
        for layer in range(1, depth + 1):
            x = layers.convolution(x, f"scale{scale}_conv{layer}", dilation=scale)
            x = layers.activated(x, f"scale{scale}_act{layer}")
        streams.append(x)
    total = keras.layers.Add(dtype=layers.policy, name="sum")(streams)
    return keras.Model(inputs, layers.convolution(total, "head", gain=1.0), name=name)
