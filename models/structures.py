"""The poster's structures besides the plain stack: sub-sampled and dilated ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import is_count, require

__all__ = ["dilation", "subsample"]

Weights = Literal["random", "uniform"]


def subsample(
    *,
    positions: Sequence[int] = (5, 10, 15),
    depth: int = 15,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int | None = None,
    weights: Weights = "random",
    activation: str | Callable[..., Any] | None = None,
    channels: int = 1,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "subsample",
) -> keras.Model:
    """Builds the poster's "Subsample": 15 convolutions, three of them with stride 2.

    Its "ConvOnly" is `plain` of 15 layers (`conv_only` of the zoo); see there for weights and the
    names of layers. The poster does not say which layers have stride 2. Of early ones the map is
    a comb: where windows of stride 2 meet, some pixels are seen by twice as many paths as their
    neighbours.

    Args:
        positions: Numbers of the layers of stride 2, counted from 1.
        depth: Number of convolutions.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer. `None` is 8 for random weights, 1 for uniform ones.
        weights: `"random"` or `"uniform"`.
        activation: Keras activation, name or callable; `None` keeps the stack linear.
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
        InvalidInputError: An option has a value the stack cannot be built with.

    Reference:
        Luo et al. 2016, section 3.1; the poster, "Influence of different structures".
    """
    strides = dict.fromkeys(_checked_positions(positions, depth), 2)
    return _stack(
        strides, {}, depth, kernel_size, filters, weights, activation, channels, dims,
        input_shape, seed, dtype, name,
    )  # fmt: skip


def dilation(
    *,
    positions: Sequence[int] = (5, 10, 15),
    rates: Sequence[int] = (2, 4, 8),
    depth: int = 15,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int | None = None,
    weights: Weights = "random",
    activation: str | Callable[..., Any] | None = None,
    channels: int = 1,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "dilation",
) -> keras.Model:
    """Builds the poster's "Dilation": 15 convolutions, three of dilation 2, 4 and 8.

    Where they stand makes no difference to the field. Its map is much like a box: excess
    kurtosis -0.71 for uniform kernels.

    Args:
        positions: Numbers of the dilated layers, counted from 1.
        rates: The dilation of each.
        depth: As in `subsample`.
        kernel_size: As in `subsample`.
        filters: As in `subsample`.
        weights: As in `subsample`.
        activation: As in `subsample`.
        channels: As in `subsample`.
        dims: As in `subsample`.
        input_shape: As in `subsample`.
        seed: As in `subsample`.
        dtype: As in `subsample`.
        name: Name of the model.

    Returns:
        As `subsample`.

    Raises:
        InvalidInputError: As `subsample`, or there is not a rate for each layer.

    Reference:
        As `subsample`; Yu and Koltun, "Multi-scale context aggregation by dilated
        convolutions", ICLR 2016, arXiv:1511.07122.
    """
    places = _checked_positions(positions, depth)
    require(
        isinstance(rates, tuple | list) and len(rates) == len(places) and all(map(is_count, rates)),
        "rates",
        f"{len(places)} positive integers, one for each of `positions`",
        rates,
    )
    return _stack(
        {}, dict(zip(places, rates, strict=True)), depth, kernel_size, filters, weights,
        activation, channels, dims, input_shape, seed, dtype, name,
    )  # fmt: skip


def _stack(
    strides: dict[int, int],
    dilations: dict[int, int],
    depth: int,
    kernel_size: Any,
    filters: int | None,
    weights: str,
    activation: Any,
    channels: int,
    dims: int,
    input_shape: Any,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Model:
    layers = convolutions(
        kernel_size=kernel_size,
        filters=filters,
        weights=weights,
        activation=activation,
        dims=dims,
        use_bias=False,
        seed=seed,
        dtype=dtype,
    )
    inputs = layers.input(input_shape, channels)
    x = layers.stack(inputs, depth, strides=strides, dilations=dilations)
    return keras.Model(inputs, x, name=name)


def _checked_positions(positions: Any, depth: Any) -> tuple[int, ...]:
    require(is_count(depth), "depth", "a positive integer", depth)
    require(
        isinstance(positions, tuple | list)
        and len(set(positions)) == len(positions)
        and all(is_count(position) and position <= depth for position in positions),
        "positions",
        f"different numbers of layers from 1 to {depth}",
        positions,
    )
    return tuple(positions)
