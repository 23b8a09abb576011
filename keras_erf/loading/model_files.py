"""A model file of any age, opened as a Keras 3 model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from keras_erf.files.errors import file_errors
from keras_erf.files.kinds import NotAModelError, kind_of
from keras_erf.legacy.reading.sources import Source, read_source, read_weights_file
from keras_erf.loading.arguments import (
    check_custom_objects,
    check_stand_ins,
    checked_path,
    keras_itself,
)
from keras_erf.loading.opened import Opened, StandIn
from keras_erf.quiet import quietly

__all__ = ["load_model"]


def load_model(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, StandIn] | None = None,
    unsafe: bool = False,
) -> Any:
    """Opens a model file of any age as a Keras 3 model.

    What a file is follows from its content, never from its name: whole models in HDF5 of Keras 1,
    Keras 2, tf.keras and Keras 3; archives of tf.keras and Keras 3 (`.keras`); an architecture in
    JSON, with `weights`; SavedModel folders of tf.keras. Nothing in the file is run.

    Example:

    >>> network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 5)])
    >>> network.save("network.h5")
    >>> keras_erf.load_model("network.h5").output_shape
    (None, 28, 28, 4)
    >>> with open("network.json", "w") as file:
    ...     _ = file.write(network.to_json())
    >>> keras_erf.load_model("network.json", weights="network.h5").count_params()
    304

    A model with a `Lambda` layer named `scale`, which works on each value alone:
    `keras_erf.load_model("car.h5", stand_ins={"scale": "pointwise"})`.

    Args:
        path: The file, or the folder of a SavedModel.
        weights: The file of the weights, where `path` holds an architecture alone: HDF5 of any age,
            a whole model, or a TensorFlow checkpoint. With a whole model, they replace its own.
            `"none"` leaves the model untrained.
        custom_objects: Classes and functions by the name that the file has for them.
        stand_ins: What stands for each `Lambda` layer, by its name: a function of tensors, or
            `"pointwise"` for one that works on each value alone. Fields are then right, and the
            effective map is right up to a factor.
        unsafe: Whether the Python code in the file may be run.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ModelLoadError: The file holds no model that can be opened, would run code, or has layers
            that are not Keras's own.
        InvalidInputError: An argument is of the wrong type.
        BackendError: Keras's backend cannot be imported.
    """
    file = checked_path(path, "path")
    weights_file = None if weights in (None, "none") else checked_path(weights, "weights")
    check_custom_objects(custom_objects)
    check_stand_ins(stand_ins)
    keras_itself()
    from keras_erf.loading.keras3_models import keras3_model
    from keras_erf.loading.old_models import old_model

    # Keras finds the zoo's own initialiser once it is registered.
    importlib.import_module("keras_erf.models.weak_centre")
    other = None
    if weights_file is not None:
        with quietly(), file_errors(weights_file, "weights"):
            other = read_weights_file(weights_file)
    with quietly(), file_errors(file):
        source = read_source(file, kind_of(file))
        if source.config is None:
            raise _no_architecture(source)
        if other is None and source.weights is None and weights is None:
            raise NotAModelError(
                "an architecture without weights",
                'give the file of its weights as `weights`, or "none" to leave it untrained',
            )
        opened = Opened(
            source=source,
            config=source.config,
            weights=other,
            weights_file=weights_file,
            untrained=weights == "none",
            custom=dict(custom_objects or {}),
            stand_ins=dict(stand_ins or {}),
            unsafe=unsafe,
        )
        return old_model(opened) if source.old else keras3_model(opened, file)


def _no_architecture(source: Source) -> NotAModelError:
    if source.weights is not None and source.weights() is not None:
        return NotAModelError(
            "weights alone, without the architecture",
            "give the architecture as JSON, with this file as `weights`",
        )
    return NotAModelError("an HDF5 file that Keras did not write", "name a model file of Keras")
