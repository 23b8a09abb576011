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

import numpy as np

from keras_erf.errors import InvalidInputError

if TYPE_CHECKING:
    import keras

__all__ = [
    "Facts",
    "available",
    "build",
    "describe",
    "facts",
    "load",
    "preprocess_input",
    "weights",
]


@dataclass(frozen=True)
class Facts:
    """What a model of the zoo is, with its default options.

    Args:
        description: In one line.
        trf: Size of its last layer's theoretical field, in pixels of the input.
        stride: Distance of neighbouring units of that layer, in pixels of the input.
        parameters: Number of its weights, statistics included.
        source: Where the design is from.
    """

    description: str
    trf: tuple[int, ...]
    stride: tuple[int, ...]
    parameters: int
    source: str


@dataclass(frozen=True)
class _Family:
    """One line of the index; `builder` and `preprocess` are "module:function".

    `options` are other defaults than the builder's own.
    """

    builder: str
    facts: Facts
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocess: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)


def _square(
    builder: str,
    description: str,
    trf: int,
    stride: int,
    parameters: int,
    source: str,
    **others: Any,
) -> _Family:
    """A family of square fields."""
    facts = Facts(description, (trf, trf), (stride, stride), parameters, source)
    return _Family(f"keras_erf.models.{builder}", facts, **others)


LUO = "Luo et al. 2016"

_FAMILIES: Mapping[str, _Family] = {
    "plain": _square(
        "plain:plain", "20 convolutions of stride 1, uniform or random", 41, 1, 11016, LUO
    ),
    "conv_only": _square(
        "plain:plain", "15 dense convolutions", 31, 1, 8136, LUO, options={"depth": 15}
    ),
    "subsample": _square(
        "structures:subsample", "15 convolutions, three of stride 2", 71, 8, 8136, LUO
    ),
    "dilation": _square(
        "structures:dilation", "15 convolutions, three of dilation 2, 4, 8", 53, 1, 8136, LUO
    ),
    "skip": _square(
        "skip:skip", "10 linear blocks with shortcuts", 43, 1, 12096, f"{LUO}; He et al. 2016"
    ),
    "no_skip": _square(
        "skip:skip",
        "10 linear blocks, no shortcuts",
        43,
        1,
        12096,
        LUO,
        options={"shortcuts": False},
    ),
    "dropout": _square(
        "dropout:dropout", "20 convolutions with dropout between", 41, 1, 11016, LUO
    ),
    "weak_centre": _square(
        "weak_centre:weak_centre", "Kernels that start with a weaker centre", 41, 1, 11016, LUO
    ),
    "cifar_resnet14": _square(
        "cifar_resnet:cifar_resnet14",
        "ResNet for CIFAR-10, shipped before and after training",
        53,
        4,
        176378,
        "He et al. 2015",
        preprocess="keras_erf.models.cifar_resnet:preprocess_input",
        weights={
            "initial": "cifar_resnet14_initial.weights.h5",
            "trained": "cifar_resnet14_trained.weights.h5",
        },
    ),
    "cifar_resnet36": _square(
        "cifar_resnet:cifar_resnet36",
        "ResNet for CIFAR-10, 17 blocks without stride",
        71,
        1,
        81178,
        f"{LUO}; He et al. 2015",
        preprocess="keras_erf.models.cifar_resnet:preprocess_input",
        weights={
            "initial": "cifar_resnet36_initial.weights.h5",
            "trained": "cifar_resnet36_trained.weights.h5",
        },
    ),
    "camvid_resnet": _square(
        "camvid_resnet:camvid_resnet",
        "ResNet for CamVid, 16 blocks, labels pixels",
        505,
        16,
        1281852,
        f"{LUO}; He et al. 2015",
    ),
    "foveal": _square(
        "foveal:foveal",
        "Streams of dilation 1, 2, 4, 8, summed",
        69,
        1,
        10008,
        f"{LUO}; Chen et al. 2017",
    ),
    "large_kernel": _square(
        "large_kernel:large_kernel",
        "4 residual blocks of 13x13 depthwise kernels",
        49,
        1,
        6008,
        "Ding et al. 2022",
    ),
}


def available() -> tuple[str, ...]:
    """Names of all models in the zoo, in alphabetical order.

    Examples:
        >>> "cifar_resnet14" in keras_erf.zoo.available()
        True
    """
    return tuple(sorted(_FAMILIES))


def describe(name: str) -> str:
    """Describes a model of the zoo in one line.

    Examples:
        >>> keras_erf.zoo.describe("dilation")
        '15 convolutions, three of dilation 2, 4, 8'

    Args:
        name: One of `available()`.

    Returns:
        A sentence without its full stop.

    Raises:
        InvalidInputError: No model has this name.
    """
    return _family(name).facts.description


def facts(name: str) -> Facts:
    """Field, stride, size and source of a model of the zoo, with its default options.

    Examples:
        >>> keras_erf.zoo.facts("camvid_resnet").trf
        (505, 505)

    Args:
        name: One of `available()`.

    Raises:
        InvalidInputError: No model has this name.
    """
    return _family(name).facts


def preprocess_input(name: str) -> Callable[[Any], Any] | None:
    """Finds the function that turns raw images into the model's input.

    Examples:
        >>> preprocess = keras_erf.zoo.preprocess_input("cifar_resnet14")
        >>> preprocess(np.full((1, 32, 32, 3), 128.0)).shape
        (1, 32, 32, 3)
        >>> keras_erf.zoo.preprocess_input("plain") is None
        True

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

    Examples:
        >>> keras_erf.zoo.weights("cifar_resnet14")
        ('initial', 'trained')

    Args:
        name: One of `available()`.

    Raises:
        InvalidInputError: No model has this name.
    """
    return tuple(sorted(_family(name).weights))


def build(name: str, **options: Any) -> keras.Model:
    """Builds a model with fresh weights.

    Examples:
        >>> keras_erf.zoo.build("plain", depth=5, channels=3).input_shape
        (None, None, None, 3)

    Args:
        name: One of `available()`.
        **options: Options of the model's own function; all are keyword-only and have a
            default.

    Returns:
        An uncompiled `keras.Model`; its weights derive from the option `seed`.

    Raises:
        InvalidInputError: No model has this name, or the model has no such option.
    """
    family = _family(name)
    builder = _resolve(family.builder)
    accepted = tuple(inspect.signature(builder).parameters)
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise InvalidInputError(
            f"`options` of {name!r} must be among: {', '.join(accepted)}. "
            f"Received: {', '.join(f'{option}={options[option]!r}' for option in unknown)}."
        )
    return builder(**{**family.options, "name": name, **options})


def load(name: str, weights: str = "trained", **options: Any) -> keras.Model:
    """Builds a model and gives it the weights that come with this library.

    Examples:
        >>> keras_erf.zoo.load("cifar_resnet14", input_shape=(64, 64)).output_shape
        (None, 10)

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
            f"Use `build` for fresh weights. Received: name={name!r}"
        )
    if weights not in shipped:
        raise InvalidInputError(
            f"`weights` must be one of: {', '.join(sorted(shipped))}. "
            f"Received: weights={weights!r}."
        )
    model = build(name, **options)
    source = build(name)
    # A namespace package: found next to the models in a checkout and in an installation.
    folder = importlib.resources.files("keras_erf.models.weights")
    with importlib.resources.as_file(folder / shipped[weights]) as path:
        source.load_weights(path)
    _copy_weights(source, model)
    return model


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies weights layer by layer by name; `target` may lack layers of `source`."""
    stored = {layer.name: list(map(np.asarray, layer.weights)) for layer in source.layers}
    for layer in target.layers:
        wanted = [tuple(value.shape) for value in layer.weights]
        given = [value.shape for value in stored.get(layer.name, [])]
        if wanted != given:
            raise InvalidInputError(
                "`options` must leave the shapes of the shipped weights as they are. "
                "Use `build` for fresh weights. "
                f"Received: shapes {wanted} in layer {layer.name!r}, shipped are {given}"
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
