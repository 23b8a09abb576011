"""The model that a file describes, and the model that is built from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

__all__ = ["Architecture", "Arrange", "Built", "Config", "PlacedLayer"]

Config = dict[str, Any]
# Old arrays of a layer, in the old order, to the arrays of the Keras 3 layer's `weights`.
Arrange = Callable[[Sequence["np.ndarray"]], list["np.ndarray"]]


@dataclass(frozen=True)
class Architecture:
    """The configuration of a model, unchanged, as an old file holds it.

    Args:
        config: `{"class_name": ..., "config": ...}`.
        version: Keras version that the file states; `""` if it states none.
        backend: Backend that the file states, such as `"theano"`; `""` if it states none.
    """

    config: Config
    version: str = ""
    backend: str = ""


@dataclass(frozen=True)
class PlacedLayer:
    """A layer of an old file, and the one that stands for it.

    Args:
        name: Name in the file.
        class_name: Class in the file.
        config: The layer's own configuration in the file.
        layer: The layer of Keras 3; `None` where an operation, or nothing, stands for it.
        arrange: What turns the old arrays into those of `layer.weights`; `None` if the old
            arrays are those of the class of that name.
        path: Names of the nested models and wrappers that hold it, outermost first.
    """

    name: str
    class_name: str
    config: Config
    layer: keras.Layer | None
    arrange: Arrange | None = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """A model of Keras 3 with the layers of the old file, in the file's order.

    Args:
        model: The model; its weights are still as drawn.
        order: Every layer of the file, those of a nested model after the nested model.
    """

    model: keras.Model
    order: list[PlacedLayer] = field(default_factory=list)
