"""One call of an old graph: of a layer, or of an operation of TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Config
from keras_erf.legacy.building.context import Placed
from keras_erf.legacy.failures import not_built
from keras_erf.legacy.translation.configurations import bare, name_of
from keras_erf.tensorflow_operations.performing import perform
from keras_erf.tensorflow_operations.raw_nodes import perform_node

__all__ = ["call_layer", "call_operation", "named"]

# Their initial states follow the inputs in one list.
RECURRENT = (
    "SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
    "CuDNNLSTM", "CuDNNGRU",
)  # fmt: skip
# They pass their input on.
ONLY_TRAINING = ("AddLoss", "AddMetric")
# Operations whose first argument is a list.
LISTED = ("concat", "stack", "math.add_n", "einsum", "compat.v1.concat")


def named(layer: Config) -> str:
    """A layer as errors name it."""
    return f"The {layer['class_name']} layer {name_of(layer)!r}"


def call_layer(layer: Config, placed: Placed, inputs: Any, arguments: Config) -> Any:
    """Calls a layer as a node of the graph does.

    Args:
        layer: Its configuration in the file.
        placed: What stands for it.
        inputs: A tensor, or a structure of tensors and constants.
        arguments: Other arguments of the call in the file.

    Raises:
        ModelLoadError: Keras 3 refuses the call.
    """
    kind = bare(layer["class_name"])
    if kind in ONLY_TRAINING:
        return inputs
    arguments = {**placed.call, **{k: v for k, v in arguments.items() if v is not None}}
    if not arguments.get("training", True):
        arguments.pop("training")
    if kind in RECURRENT and isinstance(inputs, list):
        arguments.setdefault("initial_state", inputs[1:])
        inputs = inputs[0]
        # Keras 3 hands a mask on only if there is one tensor.
        mask = getattr(inputs, "_keras_mask", None)
        if mask is not None:
            arguments.setdefault("mask", mask)
    if isinstance(inputs, list):
        tensor = next((item for item in inputs if isinstance(item, keras.KerasTensor)), None)
        inputs = [_as_operand(item, tensor) for item in inputs]
    try:
        return placed.layer(inputs, **arguments)
    except ModelLoadError:
        raise
    except Exception as error:  # Layers check their inputs in many ways.
        raise not_built(named(layer), error) from error


def _as_operand(value: Any, like: Any) -> Any:
    """A constant among the inputs, of the type of the tensors there."""
    if isinstance(value, keras.KerasTensor) or like is None:
        return value
    return keras.ops.convert_to_tensor(np.asarray(value, dtype=like.dtype))


def call_operation(layer: Config, inputs: Any, arguments: Config) -> Any:
    """Computes what a layer for an operation of TensorFlow does.

    Args:
        layer: Its configuration in the file.
        inputs: A tensor or constant, or a list of them.
        arguments: Other arguments of the call in the file.

    Raises:
        ModelLoadError: The operation is not translated for these arguments, or the file is damaged.
    """
    config = layer["config"]
    try:
        if layer["class_name"] == "TensorFlowOpLayer":
            return perform_node(config, inputs if isinstance(inputs, list) else [inputs])
        symbol = config.get("function", "__operators__.getitem")
        alone = isinstance(inputs, list) and len(inputs) == 1 and symbol not in LISTED
        return perform(symbol, [inputs[0] if alone else inputs], arguments)
    except ModelLoadError:
        raise
    except NotImplementedError as error:
        raise ModelLoadError(
            expected=f"{named(layer)} of the file needs {error}, which is not translated",
            received=str(config.get("function", layer["class_name"]))[:80],
        ) from error
    except Exception as error:  # `keras.ops` checks arguments in many ways.
        raise not_built(named(layer), error) from error
