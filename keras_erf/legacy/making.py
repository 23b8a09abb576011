"""Layers of Keras 3, made of translated configurations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Arrange, Config
from keras_erf.legacy.functions import FUNCTIONS
from keras_erf.legacy.translating import Translated

__all__ = ["SHAPED", "is_built_in", "made", "resolved_activation", "shaped"]

Shape = tuple[int | None, ...]
Shaped = Callable[[Config, Shape], tuple[keras.Layer, Arrange | None]]


def is_built_in(name: str) -> bool:
    """Whether Keras 3, or this package, has a layer of that class."""
    return name in SHAPED or (
        name[:1].isupper() and inspect.isclass(getattr(keras.layers, name, None))
    )


@cache
def accepted(kind: type) -> frozenset[str]:
    """Arguments that a class takes, with those it hands to its parents."""
    names: set[str] = set()
    for parent in kind.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = inspect.signature(parent.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if parent is keras.Layer or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return frozenset(names - {"self"})


def resolved_activation(value: Any, custom: Mapping[str, Any]) -> Any:
    """An activation as Keras's layers take it: a name, a function or a layer."""
    if isinstance(value, Mapping) and value.get("layer"):
        kind = getattr(keras.layers, value["class_name"], None)
        return kind(**value["config"]) if kind else value["class_name"]
    if isinstance(value, str):
        return FUNCTIONS.get(value, custom.get(value, custom.get(value.rpartition(">")[2], value)))
    return value


def made(
    translated: Translated, harmless: Mapping[str, tuple[Any, ...]], where: str
) -> keras.Layer:
    """Makes a layer of Keras's own.

    Args:
        translated: Its class and arguments.
        harmless: Values at which an argument that Keras 3 lacks makes no difference.
        where: Name of the layer in the file.

    Raises:
        ModelLoadError: An argument has no counterpart in Keras 3.
    """
    kind = getattr(keras.layers, translated.class_name)
    known = accepted(kind)
    arguments = {}
    for key, value in translated.config.items():
        if key in known:
            arguments[key] = value
        elif value is not None and value not in harmless.get(key, ()):
            raise ModelLoadError(
                f"The {translated.class_name} layer {where!r} of the file has an argument that "
                f"Keras 3 lacks. Received: {key}={value!r}"
            )
    try:
        return kind(**arguments)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelLoadError(
            f"The {translated.class_name} layer {where!r} of the file cannot be made: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def shaped(name: str, config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    """Makes a layer that Keras 3 lacks, for inputs of a shape, with the order of its weights."""
    return SHAPED[name](config, shape)


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


def _parametric_softplus(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    from keras_erf.legacy.own_layers import ParametricSoftplus

    return ParametricSoftplus(name=_name(config), shared_axes=config.get("shared_axes")), None


def _s_shaped(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
    from keras_erf.legacy.own_layers import SReLU

    return SReLU(name=_name(config), shared_axes=config.get("shared_axes")), None


def _adaptive(kind: str, rank: int) -> Shaped:
    def make(config: Config, shape: Shape) -> tuple[keras.Layer, Arrange | None]:
        first = config.get("data_format") == "channels_first"
        lengths = shape[2:] if first else shape[1:-1]
        size = config["output_size"]
        wanted = (size,) * rank if isinstance(size, int) else tuple(size)
        if any(n is None or n % m for n, m in zip(lengths, wanted, strict=True)):
            raise ModelLoadError(
                f"The adaptive pooling {_name(config)!r} of the file needs an input whose sides "
                f"are multiples of {wanted}. Received: {lengths}"
            )
        window = tuple(n // m for n, m in zip(lengths, wanted, strict=True))
        layer = getattr(keras.layers, f"{kind}Pooling{rank}D")(
            window[0] if rank == 1 else window, name=_name(config),
            data_format=config.get("data_format"),
        )  # fmt: skip
        return layer, None

    return make


SHAPED: dict[str, Shaped] = {
    "MaxoutDense": _maxout,
    "Highway": _highway,
    "ParametricSoftplus": _parametric_softplus,
    "SReLU": _s_shaped,
    **{
        f"Adaptive{kind}Pooling{rank}D": _adaptive(kind, rank)
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
    },
}
