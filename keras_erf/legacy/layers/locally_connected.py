"""`LocallyConnected1D` and `2D` of Keras 1 and 2: convolutions whose kernel differs by place."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.legacy.architecture import Arrange, Config

__all__ = ["LocallyConnected", "locally_connected"]

# Letters of the axes of space in an einsum.
SPACE = "xyz"


@keras.saving.register_keras_serializable("keras_erf")
class LocallyConnected(keras.layers.Layer):
    """A convolution with a kernel of its own for each place of the output.

    Its weights are a kernel of shape `(*output, window, channels, filters)`, with the window in one
    axis, and a bias of shape `(*output, filters)`.

    Args:
        filters: Channels of the output.
        kernel_size: Sides of the window.
        strides: Steps between windows.
        padding: `"valid"`, or `"same"`: windows then start half a window before the input.
        channels_first: Whether the channels come before the axes of space.
        activation: A function of single elements.
        use_bias: Whether there is a bias.
        **kwargs: Arguments of every layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        strides: Sequence[int],
        padding: str = "valid",
        channels_first: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size, self.strides = tuple(kernel_size), tuple(strides)
        self.padding, self.channels_first = padding, channels_first
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        lengths = input_shape[2:] if self.channels_first else input_shape[1:-1]
        channels = input_shape[1 if self.channels_first else -1]
        output = self.output_lengths(lengths)
        window = math.prod(self.kernel_size)
        self.kernel = self.add_weight(
            shape=(*output, window, channels, self.filters), name="kernel"
        )
        self.bias = (
            self.add_weight(shape=(*output, self.filters), initializer="zeros", name="bias")
            if self.use_bias
            else None
        )

    def output_lengths(self, lengths: Sequence[int]) -> tuple[int, ...]:
        """The sides of the output for an input with these sides."""
        free = [0 if self.padding == "same" else size - 1 for size in self.kernel_size]
        return tuple(
            -(-(length - less) // step)
            for length, less, step in zip(lengths, free, self.strides, strict=True)
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output."""
        if self.channels_first:
            return (input_shape[0], self.filters, *self.output_lengths(input_shape[2:]))
        return (input_shape[0], *self.output_lengths(input_shape[1:-1]), self.filters)

    def call(self, inputs: Any) -> Any:
        """The sum over each window with the kernel of its place."""
        x = ops.moveaxis(inputs, 1, -1) if self.channels_first else inputs
        if self.padding == "same":
            x = ops.pad(x, ((0, 0), *((size // 2, size) for size in self.kernel_size), (0, 0)))
        output = self.kernel.shape[: len(self.kernel_size)]
        shifted = [
            x[
                (
                    slice(None),
                    *(
                        slice(start, start + (count - 1) * step + 1, step)
                        for start, count, step in zip(place, output, self.strides, strict=True)
                    ),
                )
            ]
            for place in itertools.product(*map(range, self.kernel_size))
        ]
        space = SPACE[: len(output)]
        x = ops.einsum(
            f"b{space}wc,{space}wcf->b{space}f", ops.stack(shifted, axis=-2), self.kernel
        )
        if self.bias is not None:
            x = ops.add(x, self.bias)
        x = self.activation(x)
        return ops.moveaxis(x, -1, 1) if self.channels_first else x

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "channels_first": self.channels_first,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


def locally_connected(
    config: Config, shape: tuple[int | None, ...]
) -> tuple[keras.Layer, Arrange | None]:
    """Makes the layer of a translated configuration, for inputs of a shape."""
    rank = len(shape) - 2
    first = config.get("data_format") == "channels_first"
    layer = LocallyConnected(
        filters=int(config["filters"]),
        kernel_size=_sides(config["kernel_size"], rank),
        strides=_sides(config.get("strides", 1), rank),
        padding=config.get("padding", "valid"),
        channels_first=first,
        activation=config.get("activation"),
        use_bias=config.get("use_bias", True),
        name=config.get("name"),
    )
    lengths, channels = (shape[2:], shape[1]) if first else (shape[1:-1], shape[-1])
    implementation = int(config.get("implementation") or 1)

    def arrange(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        kernel, *bias = arrays
        old = (_dense, _masked, _sparse)[implementation - 1]
        return [old(layer, kernel, lengths, channels), *(_bias(layer, array) for array in bias)]

    return layer, arrange


def _sides(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,) * rank


def _bias(layer: LocallyConnected, bias: np.ndarray) -> np.ndarray:
    if not layer.channels_first:
        return bias
    # Old Keras gives it the shape of the output without moving an axis.
    return np.moveaxis(bias.reshape(bias.shape[-1], *bias.shape[:-1]), 0, -1)


def _dense(
    layer: LocallyConnected, kernel: np.ndarray, lengths: Sequence[Any], channels: Any
) -> np.ndarray:
    """From `(places, window and channels, filters)`, in the order of a flattened window."""
    output = layer.output_lengths(lengths)
    window = math.prod(layer.kernel_size)
    if layer.channels_first:
        return np.moveaxis(kernel.reshape(*output, channels, window, -1), -3, -2)
    return kernel.reshape(*output, window, channels, -1)


def _places(
    layer: LocallyConnected, lengths: Sequence[Any]
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """What each place of the output sees at each place of its window.

    Returns:
        The index of the output, the places of the input by axis, and whether the input has them;
        each of shape `(places of the output, window)`.
    """
    output = layer.output_lengths(lengths)
    outputs = np.indices(output).reshape(len(output), -1, 1)
    window = np.indices(layer.kernel_size).reshape(len(output), 1, -1)
    low = [size // 2 if layer.padding == "same" else 0 for size in layer.kernel_size]
    inputs = [
        outputs[axis] * layer.strides[axis] + window[axis] - low[axis]
        for axis in range(len(output))
    ]
    there = np.all(
        [(place >= 0) & (place < size) for place, size in zip(inputs, lengths, strict=True)], axis=0
    )
    number = np.broadcast_to(np.arange(math.prod(output))[:, None], there.shape)
    return number, inputs, there


def _masked(
    layer: LocallyConnected, kernel: np.ndarray, lengths: Sequence[Any], channels: Any
) -> np.ndarray:
    """From a kernel between all places of input and output, most of which count for nothing."""
    output = layer.output_lengths(lengths)
    size = math.prod(lengths)
    if layer.channels_first:
        kernel = kernel.reshape(channels, size, layer.filters, -1).transpose(3, 1, 0, 2)
    else:
        kernel = kernel.reshape(size, channels, -1, layer.filters).transpose(2, 0, 1, 3)
    number, inputs, there = _places(layer, lengths)
    result = np.zeros((*there.shape, channels, layer.filters), kernel.dtype)
    flat = np.ravel_multi_index([place[there] for place in inputs], tuple(lengths))
    result[there] = kernel[number[there], flat]
    return result.reshape(*output, *result.shape[1:])


def _sparse(
    layer: LocallyConnected, kernel: np.ndarray, lengths: Sequence[Any], channels: Any
) -> np.ndarray:
    """From the entries that count, ordered by output and then by input."""
    output = layer.output_lengths(lengths)
    number, inputs, there = _places(layer, lengths)
    pairs, (size, places) = there.sum(), (math.prod(lengths), math.prod(output))
    flat = np.ravel_multi_index([place[there] for place in inputs], tuple(lengths))
    channel, filter_ = np.indices((channels, layer.filters))[:, None]
    at_output, at_input = number[there][:, None, None], flat[:, None, None]
    if layer.channels_first:
        left, right = filter_ * places + at_output, channel * size + at_input
    else:
        left, right = at_output * layer.filters + filter_, at_input * channels + channel
    shape = (pairs, channels, layer.filters)
    order = np.lexsort([np.broadcast_to(key, shape).ravel() for key in (right, left)])
    entries = np.empty(kernel.size, kernel.dtype)
    entries[order] = kernel
    result = np.zeros((*there.shape, channels, layer.filters), kernel.dtype)
    result[there] = entries.reshape(shape)
    return result.reshape(*output, *result.shape[1:])
