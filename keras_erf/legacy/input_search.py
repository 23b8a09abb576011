"""The shape of a chain's input, found from stored weights where its file does not state it.

tf.keras up to 2.0 writes none for a Sequential model that was built by its first data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Architecture, Built, Config
from keras_erf.legacy.building.input_shapes import chain_input
from keras_erf.legacy.translation.configurations import bare, is_sequential, layers_in, name_of
from keras_erf.legacy.weights.layouts import modern_arrays
from keras_erf.legacy.weights.stored import StoredLayer

__all__ = ["with_input"]

# Axes of space or time of the first layer's input.
AXES = {
    "Dense": 0, "Conv1D": 1, "SeparableConv1D": 1, "LSTM": 1, "GRU": 1, "SimpleRNN": 1,
    "CuDNNLSTM": 1, "CuDNNGRU": 1, "Conv2D": 2, "SeparableConv2D": 2, "DepthwiseConv2D": 2,
    "Conv3D": 3,
}  # fmt: skip
# Layers that may come before it, whose output has the shape of their input.
UNCHANGING = ("Dropout", "GaussianNoise", "GaussianDropout", "Activation", "BatchNormalization")
LARGEST = 1 << 14


def with_input(
    architecture: Architecture,
    stored: Sequence[StoredLayer],
    build: Callable[[Architecture], Built],
) -> Architecture:
    """A chain with the shape of its input; unchanged if it states one, or none is found.

    The channels are those of the first kernel. Sizes stay open, unless a Dense layer behind a
    Flatten needs one: then the smallest size, equal on all axes, at which its kernel fits.

    Args:
        architecture: The model in the file.
        stored: Its weights.
        build: Builds a model.
    """
    config = architecture.config
    if not is_sequential(config) or chain_input(config)[0] is not None:
        return architecture
    layers = [dict(layer) for layer in layers_in(config)]
    arrays = {layer.name: layer.arrays for layer in stored}
    first = next((layer for layer in layers if bare(layer["class_name"]) not in UNCHANGING), None)
    if first is None or bare(first["class_name"]) not in AXES or not arrays.get(name_of(first)):
        return architecture
    class_name = bare(first["class_name"])
    held = modern_arrays(
        first["class_name"], first["config"], arrays[name_of(first)], architecture.backend
    )
    channels = int(held[0].shape[-2]) * int(first["config"].get("groups") or 1)
    last = first["config"].get("data_format") != "channels_first"

    def with_size(size: int | None, count: int) -> Architecture:
        sides = (size,) * AXES[class_name]
        shape = [None, *sides, channels] if last else [None, channels, *sides]
        start = {**layers[0], "config": {**layers[0]["config"], "batch_input_shape": shape}}
        return replace(architecture, config=_of_layers(config, [start, *layers[1:count]]))

    dense = _dense_after_flatten(layers)
    if dense is None or not arrays.get(name_of(layers[dense])) or not AXES[class_name]:
        return with_size(None, len(layers))
    wanted = arrays[name_of(layers[dense])][0].shape[0]

    def rows(size: int) -> int:
        """Rows of that Dense layer's kernel; 0 where the input is too small."""
        try:
            layer: Any = build(with_size(size, dense + 1)).order[-1].layer
            return int(layer.kernel.shape[0])
        except ModelLoadError:
            return 0

    found = _smallest(rows, wanted)
    return architecture if found is None else with_size(found, len(layers))


def _of_layers(config: Config, layers: list[Config]) -> Config:
    """A chain's configuration with other layers."""
    own = config["config"]
    return {**config, "config": layers if isinstance(own, list) else {**own, "layers": layers}}


def _dense_after_flatten(layers: Sequence[Config]) -> int | None:
    """The place of the first Dense layer after a Flatten."""
    flattened = False
    for place, layer in enumerate(layers):
        flattened |= layer["class_name"] == "Flatten"
        if flattened and layer["class_name"] == "Dense":
            return place
    return None


def _smallest(rows: Callable[[int], Any], wanted: int) -> int | None:
    """The smallest size with that many rows, which grow with it; `None` if there is none."""
    low, high = 0, 1
    while rows(high) < wanted:
        low, high = high, 2 * high
        if high > LARGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rows(middle) < wanted else (low, middle)
    return high if rows(high) == wanted else None
