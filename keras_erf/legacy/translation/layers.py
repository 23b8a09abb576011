"""One layer's old configuration, turned into the class and arguments that Keras 3 takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation import addons, keras1, keras2, values
from keras_erf.legacy.translation.configurations import INNER, bare

__all__ = ["Translated", "translate"]

# What a translated argument starts with that belongs to the layer's calls.
CALL = "call:"


@dataclass(frozen=True)
class Translated:
    """A layer as Keras 3 makes it.

    Args:
        class_name: Class in `keras.layers`, or one that the package makes itself.
        config: Its arguments; inner layers are still as in the file.
        call: Arguments of its calls.
    """

    class_name: str
    config: Config
    call: Config = field(default_factory=dict)


def translate(
    class_name: str, config: Config, known: Callable[[str], bool] = lambda name: False
) -> Translated:
    """Translates one layer.

    Args:
        class_name: Class in the file.
        config: The layer's arguments in the file; unchanged.
        known: Whether the user gives a function or class of that name.
    """
    # Inner layers keep their shape: they are translated when they are made.
    inner = {key: config[key] for key in INNER if key in config}
    old = {key: values.plain(value) for key, value in config.items() if key not in inner}
    name, arguments = bare(class_name), {**old, **inner}
    name, arguments = keras1.modernized(name, arguments)
    name, arguments = addons.replaced(name, arguments)
    name, arguments = keras2.current(name, arguments)
    call = {
        key.removeprefix(CALL): value for key, value in arguments.items() if key.startswith(CALL)
    }
    return Translated(
        name,
        {
            key: _part(key, value, known)
            for key, value in arguments.items()
            if not key.startswith(CALL)
        },
        call,
    )


def _part(key: str, value: Any, known: Callable[[str], bool]) -> Any:
    if key in INNER:
        return value
    if key.endswith("_initializer"):
        return values.initializer(value)
    if key.endswith("_regularizer"):
        return values.regularizer(value)
    if key.endswith("_constraint"):
        return values.constraint(value)
    if key.endswith("activation"):
        return values.activation(value, known)
    if key == "dtype":
        return values.dtype(value)
    return values.tuples(value) if isinstance(value, list) else value
