"""Stacks of convolutions that the families of the zoo are built of: one layer after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_erf.errors import InvalidInputError
from keras_erf.models._options import (
    dtype_policy,
    is_count,
    layer_seeds,
    require,
    require_counts,
    spatial_sizes,
)

__all__ = ["CONVOLUTIONS", "Convolutions", "activation_of", "convolutions", "gaussian"]

CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
PADDINGS = {
    1: keras.layers.ZeroPadding1D,
    2: keras.layers.ZeroPadding2D,
    3: keras.layers.ZeroPadding3D,
}

# Makes a kernel's initialiser from its gain, its size, its number of input channels and a seed.
Start = Callable[[float, tuple[int, ...], int, int], Any]


@dataclass(frozen=True)
class Convolutions:
    """Adds convolutions and activations; each kernel takes the next seed.

    Args:
        kernel: Kernel size, one entry per axis.
        filters: Output channels of a layer.
        activation: Keras activation, `None` for none.
        gain: Energy of a random kernel: the sum of its squares over positions and inputs.
        start: Makes the kernels' initialisers.
        use_bias: Whether there are biases, which start at zero.
        policy: Dtype policy of all layers.
        seeds: One after the other.
    """

    kernel: tuple[int, ...]
    filters: int
    activation: Callable[..., Any] | None
    gain: float
    start: Start
    use_bias: bool
    policy: keras.DTypePolicy
    seeds: Iterator[int]

    @property
    def dims(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    def sizes(self, input_shape: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
        """Spatial sizes of the input, `None` for an open one."""
        return (None,) * self.dims if input_shape is None else spatial_sizes(input_shape, self.dims)

    def input(self, input_shape: tuple[int | None, ...] | None, channels: int) -> Any:
        """The network's input; `None` leaves all spatial sizes open."""
        require_counts(channels=channels)
        sizes = self.sizes(input_shape)
        return keras.Input((*sizes, channels), name="input", dtype=self.policy.compute_dtype)

    def convolution(
        self,
        x: Any,
        name: str,
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: str = "same",
        gain: float | None = None,
    ) -> Any:
        """A convolution; a strided one is padded by half a kernel on every side.

        Keras's own "same" padding of a strided layer depends on the parity of the input's
        size, and would move the field by a pixel from one size to another.
        """
        if stride > 1 and padding == "same":
            around = tuple((size // 2, (size - 1) // 2) for size in self.kernel)
            zeros = PADDINGS[self.dims]
            x = zeros(
                around if self.dims > 1 else around[0], dtype=self.policy, name=f"{name}_pad"
            )(x)
            padding = "valid"
        gain = self.gain if gain is None else gain
        return CONVOLUTIONS[self.dims](
            self.filters,
            self.kernel,
            strides=stride,
            dilation_rate=dilation,
            padding=padding,
            use_bias=self.use_bias,
            kernel_initializer=self.start(gain, self.kernel, x.shape[-1], next(self.seeds)),
            dtype=self.policy,
            name=name,
        )(x)

    def activated(self, x: Any, name: str) -> Any:
        """The activation, if there is one."""
        if self.activation is None:
            return x
        return keras.layers.Activation(self.activation, dtype=self.policy, name=name)(x)

    def stack(
        self,
        x: Any,
        depth: int,
        *,
        padding: str = "same",
        strides: Mapping[int, int] | None = None,
        dilations: Mapping[int, int] | None = None,
        behind: Callable[[Any, int], Any] | None = None,
    ) -> Any:
        """`conv1`, `act1`, `conv2` and so on; behind the last convolution there is nothing.

        Args:
            x: The input tensor.
            depth: Number of convolutions.
            padding: Of each.
            strides: Strides other than 1, by the layers' numbers from 1 on.
            dilations: Dilations other than 1, in the same form.
            behind: What comes behind each activation, given the layer's number.
        """
        require_counts(depth=depth)
        strides, dilations = strides or {}, dilations or {}
        for layer in range(1, depth + 1):
            x = self.convolution(
                x,
                f"conv{layer}",
                stride=strides.get(layer, 1),
                dilation=dilations.get(layer, 1),
                padding=padding,
            )
            if layer < depth:
                x = self.activated(x, f"act{layer}")
                x = x if behind is None else behind(x, layer)
        return x


def convolutions(
    *,
    kernel_size: int | tuple[int, ...],
    filters: int | None,
    weights: str,
    activation: Any,
    dims: int,
    use_bias: bool,
    seed: int,
    dtype: Any,
    start: Start | None = None,
) -> Convolutions:
    """Checks the options that all stacks share.

    Raises:
        InvalidInputError: One of them has a value no stack can be built with.
    """
    require(dims in CONVOLUTIONS, "dims", "1, 2 or 3", dims)
    require(weights in ("random", "uniform"), "weights", '"random" or "uniform"', weights)
    filters = (1 if weights == "uniform" else 8) if filters is None else filters
    require_counts(filters=filters)
    kernel = tuple(kernel_size) if isinstance(kernel_size, tuple | list) else (kernel_size,) * dims
    require(
        len(kernel) == dims and all(map(is_count, kernel)),
        "kernel_size",
        f"a positive integer or a tuple of {dims}",
        kernel_size,
    )
    function = activation_of(activation)
    return Convolutions(
        kernel=kernel,
        filters=filters,
        activation=None if activation is None else function,
        # Gain 2 compensates for the half of the energy that a ReLU removes.
        gain=2.0 if function is keras.activations.relu else 1.0,
        start=_ones if weights == "uniform" else start or gaussian,
        use_bias=use_bias,
        policy=dtype_policy(dtype),
        seeds=layer_seeds(seed),
    )


def gaussian(gain: float, kernel: tuple[int, ...], channels: int, seed: int) -> Any:
    """Independent zero-mean Gaussians of variance `gain / fan_in`, not truncated."""
    return keras.initializers.RandomNormal(
        stddev=math.sqrt(gain / (math.prod(kernel) * channels)), seed=seed
    )


def activation_of(activation: Any) -> Callable[..., Any]:
    """A Keras activation by its name, or the function given."""
    try:
        return keras.activations.get(activation)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            "`activation` must be the name of a Keras activation, a callable or None. "
            f"Received: activation={activation!r}."
        ) from error


def _ones(gain: float, kernel: tuple[int, ...], channels: int, seed: int) -> Any:
    return "ones"
