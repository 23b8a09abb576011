"""Layers that Keras 3 lacks, composed of its own for inputs of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Arrange, Config
from keras_erf.legacy.layers.instance_normalization import InstanceNormalization
from keras_erf.legacy.layers.locally_connected import locally_connected
from keras_erf.legacy.layers.per_element import ParametricSoftplus, SReLU

__all__ = ["SHAPED"]

# Of the input, with the batch.
Shape = tuple[int | None, ...]
# From arguments and shape to the layer, and what its old arrays are turned into its weights by.
Maker = Callable[[Config, Shape], tuple[keras.Layer, Arrange | None]]


def _name(config: Config) -> Any:
    return config.get("name")


def _maxout(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    """`MaxoutDense` of Keras 1: the largest of several affine maps."""
    pieces, units = int(config.get("nb_feature", 4)), int(config["units"])
    inputs = keras.Input(shape[1:], name=f"{_name(config)}_input")
    x = keras.layers.Dense(
        pieces * units, use_bias=config.get("use_bias", True), name=f"{_name(config)}_pieces"
    )(inputs)
    x = keras.ops.reshape(x, (-1, pieces, units))
    outputs = keras.ops.max(x, axis=1)

    def arrange(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        kernel = np.concatenate(list(arrays[0]), axis=-1)
        return [kernel, *(np.reshape(bias, -1) for bias in arrays[1:])]

    return keras.Model(inputs, outputs, name=_name(config)), arrange


def _highway(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    """`Highway` of Keras 1 (Srivastava et al. 2015, equation 3)."""
    width, use_bias = shape[-1], config.get("bias", True)
    inputs = keras.Input(shape[1:], name=f"{_name(config)}_input")
    gate = keras.layers.Dense(
        width, "sigmoid", use_bias=use_bias, name=f"{_name(config)}_carry"
    )(inputs)  # fmt: skip
    hidden = keras.layers.Dense(
        width, config.get("activation") or "linear", use_bias=use_bias,
        name=f"{_name(config)}_transform",
    )(inputs)  # fmt: skip
    outputs = keras.ops.add(
        keras.ops.multiply(gate, hidden),
        keras.ops.multiply(keras.ops.subtract(1.0, gate), inputs),
    )
    model = keras.Model(inputs, outputs, name=_name(config))
    carried = "_carry" in model.weights[0].path

    def arrange(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        # The file has W, W_carry, b, b_carry.
        if not use_bias:
            return [arrays[1], arrays[0]] if carried else list(arrays)
        gate_first = [arrays[1], arrays[3], arrays[0], arrays[2]]
        return gate_first if carried else [arrays[0], arrays[2], arrays[1], arrays[3]]

    return model, arrange


def _per_element(kind: type[ParametricSoftplus] | type[SReLU]) -> Maker:
    def make(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
        return kind(name=_name(config), shared_axes=config.get("shared_axes")), None

    return make


def _adaptive(kind: str, rank: int) -> Maker:
    def make(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
        first = config.get("data_format") == "channels_first"
        lengths = shape[2:] if first else shape[1:-1]
        size = config["output_size"]
        wanted = (size,) * rank if isinstance(size, int) else tuple(size)
        window = tuple(
            n // m for n, m in zip(lengths, wanted, strict=True) if n is not None and n % m == 0
        )
        if len(window) < rank:
            raise ModelLoadError(
                expected=f"The adaptive pooling {_name(config)!r} of the file needs an input whose "
                f"sides are multiples of {wanted}",
                received=str(lengths),
            )
        layer = getattr(keras.layers, f"{kind}Pooling{rank}D")(
            window[0] if rank == 1 else window, name=_name(config),
            data_format=config.get("data_format"),
        )  # fmt: skip
        return layer, None

    return make


def _instance_normalization(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    names = ("name", "axis", "epsilon", "center", "scale")
    return InstanceNormalization(**{key: config[key] for key in names if key in config}), None


def _pixel_shuffler(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    """`PixelShuffler` of super-resolution networks: channels become places (Shi et al. 2016)."""
    size = config.get("size", 2)
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) > 1:
        raise ModelLoadError(
            expected=f"The PixelShuffler {_name(config)!r} of the file needs a size that is the "
            "same for rows and columns",
            received=str(size),
        )
    inputs = keras.Input(shape[1:], name=f"{_name(config)}_input")
    outputs = keras.ops.depth_to_space(
        inputs, sides.pop(), data_format=config.get("data_format") or "channels_last"
    )
    return keras.Model(inputs, outputs, name=_name(config)), None


SHAPED: dict[str, Maker] = {
    "InstanceNormalization": _instance_normalization,
    "PixelShuffler": _pixel_shuffler,
    "LocallyConnected1D": locally_connected,
    "LocallyConnected2D": locally_connected,
    "MaxoutDense": _maxout,
    "Highway": _highway,
    "ParametricSoftplus": _per_element(ParametricSoftplus),
    "SReLU": _per_element(SReLU),
    **{
        f"Adaptive{kind}Pooling{rank}D": _adaptive(kind, rank)
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
}
