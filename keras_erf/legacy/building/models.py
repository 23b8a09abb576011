"""A whole model of Keras 3 from the configuration in an old file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Architecture, Built, Config
from keras_erf.legacy.building.chains import place_chain
from keras_erf.legacy.building.context import Context, Placed
from keras_erf.legacy.building.graphs import place_graph
from keras_erf.legacy.building.structures import Shape
from keras_erf.legacy.checking import check
from keras_erf.legacy.translation.configurations import is_functional, is_sequential, with_class
from keras_erf.legacy.translation.orderings import with_orderings

__all__ = ["build"]


def build(
    architecture: Architecture,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, Any] | None = None,
    unsafe: bool = False,
) -> Built:
    """Builds the model that an old file describes.

    Args:
        architecture: The file's configuration, unchanged.
        custom_objects: Classes and functions of the user's, by name.
        stand_ins: For Lambda layers, by name: `"pointwise"` or a function.
        unsafe: Whether the bytecode of a Lambda without a stand-in may run.

    Raises:
        ModelLoadError: A Lambda has no stand-in, a class is unknown, or the graph cannot be built.
    """
    config = with_orderings(with_class(architecture.config))
    if not (is_functional(config) or is_sequential(config)):
        raise ModelLoadError(
            expected="The model is a class of its own, whose file does not state how it is "
            "computed",
            remedy="Build the network in Python, as keras.Model(inputs, outputs)",
            received=str(config.get("class_name"))[:80],
        )
    custom, functions = dict(custom_objects or {}), dict(stand_ins or {})
    check(config, custom, functions, unsafe)
    context = Context(custom, functions, unsafe, _place_model, architecture.backend)
    placed = _place_model(config, None, None, context)
    if not placed.layer.built:
        raise ModelLoadError(
            expected="The file of the model does not state the shape of its input",
            remedy="Build the network in Python, with that shape, and load the file's weights",
            received=str(config.get("class_name"))[:80],
        )
    return Built(placed.layer, placed.order)


def _place_model(model: Config, name: str | None, shape: Shape, context: Context) -> Placed:
    """A whole or nested model."""
    if is_functional(model):
        return place_graph(model, name, context)
    return place_chain(model, name, shape, context)
