"""What comes behind a layer's kernel: its bias and its activation."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.rules.activations import (
    ON_SINGLE_ELEMENTS,
    mixes_last_axis,
    on_single_elements,
)
from keras_erf.rules.call import channel_axis

__all__ = ["finished", "is_finished_by_position"]


def is_finished_by_position(layer: Any) -> bool:
    """Whether a layer's activation is known to need no more than its own position."""
    activation = layer.activation
    if on_single_elements(activation) or type(activation) in ON_SINGLE_ELEMENTS:
        return True
    channels_last = getattr(layer, "data_format", None) != "channels_first"
    return mixes_last_axis(activation) and channels_last


def finished(layer: Any, value: Any) -> Any:
    """Behind a convolution: the layer's bias and activation."""
    if layer.use_bias:
        shape = [1] * len(value.shape)
        shape[channel_axis(layer, len(shape) - 1) + 1] = -1
        bias = ops.cast(layer.bias, layer.compute_dtype)
        # Not by `ops.add`, which takes them for those of the last axis if that has as many indices.
        value = value + ops.reshape(bias, shape)
    return value if layer.activation is None else layer.activation(value)
