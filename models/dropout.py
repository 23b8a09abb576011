"""A plain stack with dropout between its convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from keras_erf.models._layers import convolutions
from keras_erf.models._options import require

__all__ = ["dropout"]


def dropout(
    *,
    rate: float = 0.5,
    depth: int = 20,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int | None = None,
    weights: Literal["random", "uniform"] = "random",
    activation: str | Callable[..., Any] | None = None,
    channels: int = 1,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "dropout",
) -> keras.Model:
    """Builds a plain stack with dropout behind every convolution but the last.

    Layers are called `conv1`, `act1`, `drop1`, `conv2` and so on. Dropout is active with
    `training=True` only: `keras_erf.probe(model, training=True)`.

    Args:
        rate: Share of the units that are dropped, from 0 to below 1.
        depth: Number of convolutions.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer. `None` is 8 for random weights, 1 for uniform ones.
        weights: As in `plain`.
        activation: As in `plain`.
        channels: Channels of the input.
        dims: Number of spatial axes: 1, 2 or 3.
        input_shape: Spatial sizes in pixels; `None` leaves all open.
        seed: Non-negative integer from which the random weights derive, and what is dropped.
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model`, from `(batch, *spatial, channels)` to a map of `filters`
        channels.

    Raises:
        InvalidInputError: An option has a value the stack cannot be built with.

    Reference:
        Luo et al. 2016, section 2.5 (dropout does not change the field's shape); Srivastava
        et al., "Dropout", JMLR 15 (2014).
    """
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
    real = isinstance(rate, int | float) and not isinstance(rate, bool)
    require(real and 0 <= rate < 1, "rate", "a number from 0 to below 1", rate)

    def dropped(x: Any, layer: int) -> Any:
        drop = keras.layers.Dropout(
            rate, seed=seed + layer, dtype=layers.policy, name=f"drop{layer}"
        )
        return drop(x)

    inputs = layers.input(input_shape, channels)
    return keras.Model(inputs, layers.stack(inputs, depth, behind=dropped), name=name)
