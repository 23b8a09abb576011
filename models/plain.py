"""The plain stack of convolutions of Luo et al. 2016, with uniform or random weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import keras

from keras_erf.errors import InvalidInputError
from keras_erf.models._options import (
    dtype_policy,
    is_count,
    layer_seeds,
    require,
    spatial_sizes,
)

__all__ = ["plain"]

CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}


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
    require(dims in CONVOLUTIONS, "dims", "1, 2 or 3", dims)
    require(weights in ("random", "uniform"), "weights", '"random" or "uniform"', weights)
    require(padding in ("same", "valid"), "padding", '"same" or "valid"', padding)
    filters = (1 if weights == "uniform" else 8) if filters is None else filters
    for argument, value in {"depth": depth, "filters": filters, "channels": channels}.items():
        require(is_count(value), argument, "a positive integer", value)
    kernel = tuple(kernel_size) if isinstance(kernel_size, tuple | list) else (kernel_size,) * dims
    require(
        len(kernel) == dims and all(map(is_count, kernel)),
        "kernel_size",
        f"a positive integer or a tuple of {dims}",
        kernel_size,
    )
    sizes = (None,) * dims if input_shape is None else spatial_sizes(input_shape, dims)
    field = tuple(depth * (size - 1) + 1 for size in kernel)
    require(
        padding == "same"
        or all(size is None or size >= least for size, least in zip(sizes, field, strict=True)),
        "input_shape",
        f'at least the receptive field {field} if `padding` is "valid"',
        input_shape,
    )
    function = _activation(activation)
    # Gain 2 makes up for the half of the energy that a ReLU takes away.
    gain = 2.0 if function is keras.activations.relu else 1.0
    policy = dtype_policy(dtype)

    inputs = x = keras.Input((*sizes, channels), name="input", dtype=policy.compute_dtype)
    for layer, layer_seed in zip(range(1, depth + 1), layer_seeds(seed), strict=False):
        x = CONVOLUTIONS[dims](
            filters,
            kernel,
            padding=padding,
            use_bias=use_bias,
            kernel_initializer=(
                "ones" if weights == "uniform" else _gaussian(gain, kernel, x.shape[-1], layer_seed)
            ),
            dtype=policy,
            name=f"conv{layer}",
        )(x)
        if activation is not None and layer < depth:
            x = keras.layers.Activation(function, dtype=policy, name=f"act{layer}")(x)
    return keras.Model(inputs, x, name=name)


def _gaussian(
    gain: float, kernel: tuple[int, ...], channels: int, seed: int
) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(
        stddev=math.sqrt(gain / (math.prod(kernel) * channels)), seed=seed
    )


def _activation(activation: Any) -> Callable[..., Any]:
    try:
        return keras.activations.get(activation)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            "`activation` must be the name of a Keras activation, a callable or None. "
            f"Received: activation={activation!r}."
        ) from error
