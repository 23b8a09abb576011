"""The index of the model zoo: names, descriptions, shipped weights.

The models themselves live in `keras_erf.models`, one file per family, and are imported only
when asked for: this module loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.resources
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keras_erf.errors import InvalidInputError

if TYPE_CHECKING:
    import keras

__all__ = ["available", "build", "describe", "load", "preprocess_input", "weights"]


@dataclass(frozen=True)
class _Family:
    """One line of the index; `builder` and `preprocess` are "module:function"."""

    builder: str
    description: str
    preprocess: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)


_FAMILIES: Mapping[str, _Family] = {
    "plain": _Family(
        builder="keras_erf.models.plain:plain",
        description="Plain stack of stride-1 convolutions, uniform or random (Luo et al. 2016)",
    ),
    "cifar_resnet14": _Family(
        builder="keras_erf.models.cifar_resnet:cifar_resnet14",
        description="ResNet-14 for 32x32 RGB images, trained on CIFAR-10 (He et al. 2015)",
        preprocess="keras_erf.models.cifar_resnet:preprocess_input",
        weights={
            "initial": "cifar_resnet14_initial.weights.h5",
            "trained": "cifar_resnet14_trained.weights.h5",
        },
    ),
}


def available() -> tuple[str, ...]:
    """Names of all models in the zoo, in alphabetical order."""
    return tuple(sorted(_FAMILIES))


def describe(name: str) -> str:
    """Describes a model of the zoo in one line.

    Args:
        name: One of `available()`.

    Returns:
        A sentence without its full stop.

    Raises:
        InvalidInputError: No model has this name.
    """
    return _family(name).description


def preprocess_input(name: str) -> Callable[[Any], Any] | None:
    """Finds the function that turns raw images into the model's input.

    Args:
        name: One of `available()`.

    Returns:
        A function of images with values from 0 to 255, or `None` if the model takes its
        input as it is.

    Raises:
        InvalidInputError: No model has this name.
    """
    reference = _family(name).preprocess
    return None if reference is None else _resolve(reference)


def weights(name: str) -> tuple[str, ...]:
    """Names of the weights that ship with a model, none for most.

    Args:
        name: One of `available()`.

    Raises:
        InvalidInputError: No model has this name.
    """
    return tuple(sorted(_family(name).weights))


def build(name: str, **options: Any) -> keras.Model:
    """Builds a model with fresh weights.

    Args:
        name: One of `available()`.
        **options: Options of the model's own function; all are keyword-only and have a
            default.

    Returns:
        An uncompiled `keras.Model`; its weights derive from the option `seed`.

    Raises:
        InvalidInputError: No model has this name, or the model has no such option.
    """
    builder = _resolve(_family(name).builder)
    accepted = tuple(inspect.signature(builder).parameters)
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise InvalidInputError(
            f"`options` of {name!r} must be among: {', '.join(accepted)}. "
            f"Received: {', '.join(f'{option}={options[option]!r}' for option in unknown)}."
        )
    return builder(**options)


def load(name: str, weights: str = "trained", **options: Any) -> keras.Model:
    """Builds a model and gives it the weights that come with this library.

    Args:
        name: One of `available()`.
        weights: `"trained"`, or `"initial"` for the weights that training started from.
        **options: Options of the model's own function that leave the shapes of its weights
            as they are, such as `input_shape`. `seed` has no effect.

    Returns:
        An uncompiled `keras.Model`.

    Raises:
        InvalidInputError: No model has this name, it has no such option or weights, or the
            options change the shape of a weight.
    """
    shipped = _family(name).weights
    if not shipped:
        raise InvalidInputError(
            f"`name` must be a model with shipped weights: {', '.join(_with_weights())}. "
            f"Received: name={name!r}. Use `build` for fresh weights."
        )
    if weights not in shipped:
        raise InvalidInputError(
            f"`weights` must be one of: {', '.join(sorted(shipped))}. "
            f"Received: weights={weights!r}."
        )
    model = build(name, **options)
    source = build(name)
    # A namespace package: found beside the models in a checkout and in an installation.
    folder = importlib.resources.files("keras_erf.models.weights")
    with importlib.resources.as_file(folder / shipped[weights]) as path:
        source.load_weights(path)
    _copy_weights(source, model)
    return model


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies weights layer by layer by name; `target` may lack layers of `source`."""
    stored = {layer.name: layer.get_weights() for layer in source.layers}
    for layer in target.layers:
        wanted = [tuple(value.shape) for value in layer.weights]
        given = [value.shape for value in stored.get(layer.name, [])]
        if wanted != given:
            raise InvalidInputError(
                "`options` must leave the shapes of the shipped weights as they are. "
                f"Received: shapes {wanted} in layer {layer.name!r}, shipped are {given}. "
                "Use `build` for fresh weights."
            )
        layer.set_weights(stored.get(layer.name, []))


def _with_weights() -> tuple[str, ...]:
    return tuple(name for name in available() if _FAMILIES[name].weights)


def _family(name: str) -> _Family:
    if name in _FAMILIES:
        return _FAMILIES[name]
    nearest = difflib.get_close_matches(str(name), available(), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    raise InvalidInputError(
        f"`name` must be one of: {', '.join(available())}. Received: name={name!r}.{hint}"
    )


def _resolve(reference: str) -> Callable[..., Any]:
    module, _, function = reference.partition(":")
    return getattr(importlib.import_module(module), function)
