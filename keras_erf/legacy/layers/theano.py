"""Convolutions of Theano, which pads `"same"` in a way of its own.

It starts half a window before the input, and TensorFlow as late as the number of outputs allows:
for even windows and for strides the outputs are those of other places.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_erf.legacy.layers.making import made
from keras_erf.legacy.translation.layers import Translated

__all__ = ["padded_convolution", "pads_otherwise"]

RANKS = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3}


def pads_otherwise(layer: Translated) -> bool:
    """Whether a layer's outputs depend on which of the two pads its input."""
    if layer.class_name not in RANKS or layer.config.get("padding") != "same":
        return False
    windows = _sides(layer, "kernel_size")
    steps = _sides(layer, "strides")
    return any(size % 2 == 0 for size in windows) or any(step > 1 for step in steps)


def padded_convolution(layer: Translated, name: str) -> keras.Model:
    """Makes the layer with its padding before it.

    Args:
        layer: The layer's class and arguments.
        name: Its name in the file.
    """
    rank, config = RANKS[layer.class_name], layer.config
    ends = []
    for size, rate in zip(
        _sides(layer, "kernel_size"), _sides(layer, "dilation_rate"), strict=True
    ):
        whole = (size - 1) * rate + 1
        ends.append((whole // 2, whole - 1 - whole // 2))
    how: dict[str, Any] = {"name": f"{config['name']}_padding"}
    if config.get("data_format"):
        how["data_format"] = config["data_format"]
    padding = getattr(keras.layers, f"ZeroPadding{rank}D")(ends[0] if rank == 1 else ends, **how)
    convolution = made(Translated(layer.class_name, {**config, "padding": "valid"}), name)
    return keras.Sequential([padding, convolution], name=config["name"])


def _sides(layer: Translated, argument: str) -> tuple[int, ...]:
    value = layer.config.get(argument) or 1
    return tuple(value) if isinstance(value, list | tuple) else (value,) * RANKS[layer.class_name]
