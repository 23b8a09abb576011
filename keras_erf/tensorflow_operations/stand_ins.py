"""Operations that do what one of `keras.ops` does, where Keras's own cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

__all__ = ["ConvTranspose", "StandIn"]


class StandIn(keras.Operation):
    """An operation that is described as one of Keras's."""

    stands_for: ClassVar[str]


class ConvTranspose(StandIn):
    """A transposed convolution to an output of a given size.

    Keras 3.15 gives the arguments of its own in the wrong order when a graph runs, and knows one
    size for each padding.

    Args:
        sizes: Spatial shape of the output.
        strides: One for each axis of space.
        padding: `"same"` or `"valid"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One for each axis of space.
    """

    stands_for = "ops.ConvTranspose"

    def __init__(
        self,
        sizes: Sequence[int],
        strides: Sequence[int],
        padding: str,
        data_format: str,
        dilation_rate: Sequence[int],
    ) -> None:
        super().__init__()
        self.sizes, self.strides, self.padding = tuple(sizes), tuple(strides), padding
        self.data_format, self.dilation_rate = data_format, tuple(dilation_rate)

    def call(self, inputs: Any, kernel: Any) -> Any:
        """Runs it on tensors."""
        import tensorflow as tf

        first = self.data_format == "channels_first"
        axes = "DHW"[-len(self.sizes) :]
        kernel = tf.convert_to_tensor(kernel)
        ends = (kernel.shape[-2], *self.sizes) if first else (*self.sizes, kernel.shape[-2])
        return tf.nn.conv_transpose(
            inputs,
            kernel,
            tf.stack([tf.shape(inputs)[0], *ends]),
            self.strides,
            self.padding.upper(),
            f"NC{axes}" if first else f"N{axes}C",
            self.dilation_rate,
        )

    def compute_output_spec(self, inputs: Any, kernel: Any) -> keras.KerasTensor:
        """Shape and type of what it makes."""
        channels = (int(kernel.shape[-2]),)
        first = self.data_format == "channels_first"
        ends = (*channels, *self.sizes) if first else (*self.sizes, *channels)
        return keras.KerasTensor((inputs.shape[0], *ends), dtype=inputs.dtype)
