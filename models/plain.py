"""The plain stack of convolutions of Luo et al. 2016, with uniform or random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import require, require_counts

__all__ = ["plain"]


def plain(
    *,
    depth: int = 20,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int | None = None,
    weights: Literal["random", "uniform"] = "random",
    activation: str | Callable[..., Any] | None = None,
    channels: int = 1,
    dims: int = 2,
    padding: Literal["same", "valid"] = "same",
    input_shape: tuple[int | None, ...] | None = None,
    use_bias: bool = False,
    seed: int = 0,
    dtype: Any = None,
    name: str = "plain",
) -> keras.Model:
    """Builds `depth` convolutions of stride 1, one after the other, with fresh weights.

    The theoretical receptive field is `depth * (kernel_size - 1) + 1` input pixels per axis.
    Layers are called `conv1`, `act1`, `conv2`, ... The activation stands between the
    convolutions only: on the measured unit a ReLU would give no gradient at all in about
    half of the random draws, so the last convolution stays linear.

    Uniform weights are all ones; with them the impact is a product of binomial-like
    coefficients. It grows as `kernel_size ** (dims * depth)` and leaves float32 near depth 40
    for 3x3 kernels: use `dtype="float64"` for more. Further filters only multiply the map.

    Random weights are independent zero-mean Gaussians, not truncated, of variance
    `gain / fan_in` with `fan_in = kernel positions x input channels` and gain 2 for ReLU
    (He et al. 2015, arXiv:1502.01852, equation 10), 1 for everything else (LeCun et al. 1998,
    "Efficient BackProp", section 4.6).

    Args:
        depth: Number of convolutions, at least 1.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer. `None` is 8 for random weights, 1 for uniform ones.
        weights: `"random"` or `"uniform"`.
        activation: Keras activation, name or callable; `None` keeps the stack linear.
        channels: Channels of the input.
        dims: Number of spatial axes: 1, 2 or 3.
        padding: `"same"` pads with zeros and keeps the size; `"valid"` takes
            `depth * (kernel_size - 1)` pixels off every axis.
        input_shape: Spatial sizes in pixels, without batch and channels; `None` leaves all
            open, an entry `None` leaves that one open.
        use_bias: Whether each convolution has a bias. It starts at zero.
        seed: Non-negative integer from which the random weights derive.
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model` from `(batch, *spatial, channels)` to
        `(batch, *spatial, filters)`.

    Raises:
        InvalidInputError: An option has a value the stack cannot be built with.

    Reference:
        Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep
        Convolutional Neural Networks", NIPS 2016, arXiv:1701.04128, figure 1.
    """
    layers = convolutions(
        kernel_size=kernel_size,
        filters=filters,
        weights=weights,
        activation=activation,
        dims=dims,
        use_bias=use_bias,
        seed=seed,
        dtype=dtype,
    )
    require(padding in ("same", "valid"), "padding", '"same" or "valid"', padding)
    require_counts(depth=depth, channels=channels)
    sizes = layers.sizes(input_shape)
    field = tuple(depth * (size - 1) + 1 for size in layers.kernel)
    require(
        padding == "same"
        or all(size is None or size >= least for size, least in zip(sizes, field, strict=True)),
        "input_shape",
        f'at least the receptive field {field} if `padding` is "valid"',
        input_shape,
    )
    inputs = layers.input(input_shape, channels)
    return keras.Model(inputs, layers.stack(inputs, depth, padding=padding), name=name)
