"""Names of Keras's types for annotations: importing this module does not import Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import keras

    Model: TypeAlias = keras.Model
    Layer: TypeAlias = keras.Layer
    Operation: TypeAlias = keras.Operation
    KerasTensor: TypeAlias = keras.KerasTensor
    Variable: TypeAlias = keras.Variable
    Initializer: TypeAlias = keras.initializers.Initializer
    Optimizer: TypeAlias = keras.optimizers.Optimizer
else:
    Model = Layer = Operation = KerasTensor = Variable = Initializer = Optimizer = Any

# A tensor of the backend, or a NumPy array.
Array: TypeAlias = Any
# Pairs of a variable and the value to read in its place.
State: TypeAlias = Sequence[tuple[Variable, Array]]

__all__ = [
    "Array",
    "Initializer",
    "KerasTensor",
    "Layer",
    "Model",
    "Operation",
    "Optimizer",
    "State",
    "Variable",
]
