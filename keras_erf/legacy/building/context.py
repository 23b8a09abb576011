"""What every part of one build shares: what the user gave, and where in the model it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from keras_erf.legacy.architecture import Arrange, Config, PlacedLayer
from keras_erf.legacy.building.structures import Shape
from keras_erf.legacy.checking import custom_object
from keras_erf.legacy.translation.configurations import name_of

__all__ = ["Context", "Placed"]


@dataclass(frozen=True)
class Placed:
    """A layer that was made.

    Args:
        layer: The layer of Keras 3; `None` if an operation or nothing stands for it.
        order: Entries of the layer and of all inside it.
        call: Arguments of its calls, besides those in the file.
    """

    layer: Any
    order: list[PlacedLayer] = field(default_factory=list)
    call: Config = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What the user gave for a build.

    Args:
        custom: Classes and functions by name.
        stand_ins: What stands for Lambda layers, by name.
        unsafe: Whether the bytecode of a Lambda without a stand-in may run.
        place_model: Builds a model inside a layer: of its configuration, its name in Keras 3 or
            `None` for the one in the file, the shape of its input and the context.
        backend: The backend that the file was written with; "" if it does not state one.
        path: Names of the models and wrappers around, outermost first.
    """

    custom: dict[str, Any]
    stand_ins: dict[str, Any]
    unsafe: bool
    place_model: Callable[[Config, str | None, Shape, Context], Placed]
    backend: str = ""
    path: tuple[str, ...] = ()

    def inside(self, name: str) -> Context:
        """The context of the layers inside a layer."""
        return replace(self, path=(*self.path, name))

    def known(self, name: str) -> bool:
        """Whether the user gives a function or class of that name."""
        return custom_object(name, self.custom) is not None

    def entry(self, layer: Config, made: Any, arrange: Arrange | None = None) -> PlacedLayer:
        """The entry of a layer of the file and of the one that stands for it."""
        config = layer["config"] if isinstance(layer["config"], dict) else {}
        return PlacedLayer(name_of(layer), layer["class_name"], config, made, arrange, self.path)
