"""Models of Keras 2 in memory, those of the package `tf_keras`, are recognised and translated."""

from __future__ import annotations

from typing import Any

__all__ = ["modern_layer", "modern_model"]

PACKAGE = "tf_keras"


def modern_model(model: Any) -> Any:
    """A model that Keras 3 knows: a translated copy of one of `tf_keras`, any other unchanged.

    `tf_keras` is not imported: the module of a model's class names its package.

    Raises:
        InvalidInputError: The model of `tf_keras` is subclassed, or has no weights yet.
    """
    if not _of_tf_keras(model) or not hasattr(model, "to_json"):
        return model
    # Most models need none of it.
    from keras_erf.legacy.tf_keras_models import translated_model

    return translated_model(model)


def modern_layer(layer: Any) -> Any:
    """A layer as the translated model knows it: by its name if `tf_keras` made it.

    Any other layer, a name or a tensor is returned unchanged.
    """
    if not _of_tf_keras(layer):
        return layer
    from keras_erf.legacy.translation.configurations import allowed_name

    return allowed_name(layer.name)


def _of_tf_keras(instance: Any) -> bool:
    return any(base.__module__.partition(".")[0] == PACKAGE for base in type(instance).__mro__)
