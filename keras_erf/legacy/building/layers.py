"""One layer of an old file as a layer of Keras 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.errors import ModelLoadError, reason_of
from keras_erf.legacy.architecture import Arrange, Config, PlacedLayer
from keras_erf.legacy.building.context import Context, Placed
from keras_erf.legacy.building.lambdas import lambda_layer
from keras_erf.legacy.building.structures import Shape, first_shape
from keras_erf.legacy.checking import custom_object
from keras_erf.legacy.layers.making import made, resolved_activation
from keras_erf.legacy.layers.shaped import SHAPED
from keras_erf.legacy.layers.theano import padded_convolution, pads_otherwise
from keras_erf.legacy.translation.configurations import (
    INNER,
    allowed_name,
    bare,
    is_functional,
    is_lambda,
    is_sequential,
    name_of,
)
from keras_erf.legacy.translation.layers import Translated, translate
from keras_erf.legacy.translation.values import dtype, plain

__all__ = ["place_layer"]

# Arguments that old files add to those of a class of the user's own.
ADDED = (
    "batch_input_shape", "input_dtype", "build_config", "dynamic",
    # Of a class without `get_config`.
    "layer was saved without config",
)  # fmt: skip


def place_layer(layer: Config, name: str, shape: Shape, context: Context) -> Placed:
    """Makes a layer.

    Args:
        layer: Its configuration in the file.
        name: Its name in Keras 3.
        shape: The shape of its input, or of several; `None` if not known.
        context: What the user gave.

    Raises:
        ModelLoadError: Keras 3 has no counterpart, or the file states too little.
    """
    class_name, inside = layer["class_name"], context.inside(name_of(layer))
    if is_functional(layer) or is_sequential(layer):
        model = context.place_model(layer, name, shape, inside)
        return Placed(model.layer, [context.entry(layer, model.layer), *model.order])
    if is_lambda(layer):
        result = lambda_layer(layer, name, shape, context)
        return Placed(result, [context.entry(layer, result)])
    if context.known(class_name):
        result = _custom(class_name, layer["config"], name, context.custom)
        return Placed(result, [context.entry(layer, result)])
    if bare(class_name) == "WeightNormalization":
        wrapped = place_layer(dict(layer["config"]["layer"]), name, shape, inside)
        return Placed(wrapped.layer, [context.entry(layer, wrapped.layer, _normalized)])
    return _built_in(layer, name, shape, context)


def _built_in(layer: Config, name: str, shape: Shape, context: Context) -> Placed:
    """A layer that Keras 3 or this package has."""
    translated = translate(layer["class_name"], layer["config"], context.known)
    arguments = {**translated.config, "name": name}
    for key in arguments:
        if key.endswith("activation"):
            arguments[key] = resolved_activation(arguments[key], context.custom)
    arrange: Arrange | None = None
    order: list[PlacedLayer] = []
    if translated.class_name in SHAPED:
        if shape is None:
            raise ModelLoadError(
                expected=f"The layer {name_of(layer)!r} needs the shape of its input, which the "
                "file does not state",
                received=translated.class_name,
            )
        result, arrange = SHAPED[translated.class_name](arguments, first_shape(shape))
    else:
        inside = context.inside(name_of(layer))
        for key in INNER:
            if key in arguments:
                arguments[key], entries = _inner(arguments[key], key, shape, inside)
                order += entries
        arguments.pop("old_output_shape", None)
        own = Translated(translated.class_name, arguments)
        if context.backend == "theano" and pads_otherwise(own):
            result = padded_convolution(own, name_of(layer))
        else:
            result = made(own, name_of(layer))
    return Placed(result, [context.entry(layer, result, arrange), *order], translated.call)


def _inner(value: Any, key: str, shape: Shape, inside: Context) -> tuple[Any, list[PlacedLayer]]:
    """The layer or layers that a wrapper holds, and their entries."""
    if isinstance(value, list | tuple):
        several = [_inner(item, key, None, inside) for item in value]
        return [item for item, _ in several], [entry for _, order in several for entry in order]
    step = None
    if key == "layer" and shape is not None:
        # A wrapped layer sees one step of a sequence.
        whole = first_shape(shape)
        step = (whole[0], *whole[2:]) if len(whole) > 2 else None
    placed = place_layer(dict(value), allowed_name(name_of(value)), step, inside)
    return placed.layer, placed.order


def _custom(class_name: str, config: Config, name: str, custom: dict[str, Any]) -> Any:
    """A layer of the user's own class."""
    arguments = {key: value for key, value in plain(config).items() if key not in ADDED}
    if "dtype" in arguments:
        arguments["dtype"] = dtype(arguments["dtype"])
    try:
        with keras.saving.custom_object_scope(custom):
            return custom_object(class_name, custom).from_config({**arguments, "name": name})
    except Exception as error:  # It is the user's own code.
        # Keras's own error repeats the arguments before the cause.
        cause = error.__context__ if isinstance(error.__context__, Exception) else error
        raise ModelLoadError(
            argument="custom_objects",
            expected=f"has a class {class_name} that does not take the arguments of the layer "
            f"{name!r} in the file: {reason_of(cause)[:300]}",
            received=f"{class_name}({arguments!r:.300})",
        ) from error


def _normalized(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Kernel and bias of a `WeightNormalization` (Salimans & Kingma 2016, equation 2)."""
    kernel = next(array for array in arrays if np.ndim(array) > 1)
    vectors = [array for array in arrays if np.ndim(array) == 1]
    axes = tuple(range(kernel.ndim - 1))
    scale = vectors[0] / np.sqrt(np.maximum((kernel**2).sum(axes), 1e-12))
    return [kernel * scale, *vectors[1:2]]
