"""Operations of a graph of TensorFlow's that is in memory, one by one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np
from google.protobuf import json_format

from keras_erf.tensorflow_operations.raw_nodes import NODES, node_of, perform_operation
from keras_erf.tensorflow_operations.sizes import is_static

__all__ = ["UnknownOperation", "computed", "constant_of", "performed"]


def constant_of(operation: Any) -> Any:
    """The value of a constant."""
    import tensorflow as tf

    return tf.make_ndarray(operation.get_attr("value"))


def performed(operation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of an operation on symbolic tensors of Keras, constants and sizes.

    Args:
        operation: An operation of TensorFlow's.
        inputs: What takes the place of its inputs.

    Raises:
        Exception: It takes something that is not known beforehand, such as the size of the batch.
    """
    result = None
    if operation.type in NODES:
        node = node_of({"node_def": json_format.MessageToDict(operation.node_def)})
        # The functions raise what they like for what they were not made for.
        with suppress(Exception):
            result = perform_operation(node["op"], inputs, node["attr"])
    if result is None:
        result = UnknownOperation(operation, inputs).on_symbols()
    return list(result) if isinstance(result, list | tuple) else [result]


class UnknownOperation(keras.Operation):
    """An operation of TensorFlow's that the table lacks, or has for other arguments.

    Args:
        operation: The operation.
        inputs: What takes the place of its inputs; constants among them are kept.
    """

    def __init__(self, operation: Any, inputs: Sequence[Any]) -> None:
        super().__init__(name=operation.type.lower())
        self._operation = operation
        self._inputs = list(inputs)
        if any(isinstance(one, np.ndarray) and one.dtype == object for one in inputs):
            raise NotImplementedError(f"the size of the batch as an operand of {operation.type}")

    def on_symbols(self) -> Any:
        """Its symbolic outputs."""
        return self(*(one for one in self._inputs if not is_static(one)))

    def call(self, *tensors: Any) -> Any:
        """Runs it on tensors, in the order of its inputs."""
        rest = iter(tensors)
        inputs = [one if is_static(one) else next(rest) for one in self._inputs]
        results = computed(self._operation, inputs)
        return results[0] if len(results) == 1 else results


def computed(operation: Any, inputs: Sequence[Any]) -> list[Any]:
    """Runs an operation by itself.

    Args:
        operation: An operation of TensorFlow's.
        inputs: Values of its inputs.
    """
    import tensorflow as tf

    definition, rest = operation.op_def, iter(inputs)
    arguments: dict[str, Any] = {}
    inferred = set()
    for one in definition.input_arg:
        if one.number_attr or one.type_list_attr:
            count = operation.get_attr(one.number_attr or one.type_list_attr)
            count = count if isinstance(count, int) else len(count)
            arguments[one.name] = [next(rest) for _ in range(count)]
        else:
            arguments[one.name] = next(rest)
        inferred |= {one.number_attr, one.type_list_attr, one.type_attr}
    for attribute in definition.attr:
        if attribute.name not in inferred:
            arguments[attribute.name] = operation.get_attr(attribute.name)
    function = getattr(tf.raw_ops, operation.type)
    # Some arguments have another name in Python than in the definition, at the same place.
    names = [name for name in inspect.signature(function).parameters if name != "name"]
    renamed = [name for name in arguments if name not in names]
    free = [name for name in names if name not in arguments]
    arguments |= {new: arguments.pop(old) for old, new in zip(renamed, free, strict=True)}
    result = function(**arguments)
    return list(result) if isinstance(result, list | tuple) else [result]
