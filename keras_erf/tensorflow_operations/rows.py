"""Products of all positions with a matrix, which TensorFlow writes as one of rows.

`tf.tensordot` puts the batch and all positions into one axis, multiplies by a matrix, and takes
them apart again. Nothing is mixed, but that axis would say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_erf.tensorflow_operations.sizes import sizes

__all__ = ["Rows", "as_rows", "in_rows"]


@dataclass(frozen=True)
class Rows:
    """A tensor that stands for its reshape to two axes.

    Args:
        tensor: With all its axes; the last one is that of the rows' entries.
    """

    tensor: Any

    def together(self) -> Any:
        """The reshape."""
        return ops.reshape(self.tensor, (-1, self.tensor.shape[-1]))


def as_rows(operation: Any, inputs: Sequence[Any]) -> Rows | None:
    """What a reshape makes, if it puts all axes but the last into one; else `None`."""
    if operation.type != "Reshape" or not isinstance(inputs[0], keras.KerasTensor):
        return None
    tensor, target = inputs[0], sizes(inputs[1])
    count = -1 if None in tensor.shape else math.prod(tensor.shape[:-1])
    # A size that is not known is that of the batch, with all positions.
    rows = len(target) == 2 < len(tensor.shape) and target[0] in (-1, count)
    return Rows(tensor) if rows and target[1] == tensor.shape[-1] else None


def in_rows(operation: Any, inputs: Sequence[Any]) -> Any:
    """What an operation makes of rows without putting them together; `None` where it cannot."""
    first, *others = inputs
    if not isinstance(first, Rows) or isinstance(others[0], Rows | keras.KerasTensor):
        return None
    if operation.type == "MatMul" and not operation.get_attr("transpose_a"):
        matrix = ops.convert_to_tensor(others[0])
        turned = operation.get_attr("transpose_b")
        return Rows(ops.matmul(first.tensor, ops.transpose(matrix) if turned else others[0]))
    if operation.type == "Reshape":
        shape = [-1 if size is None else size for size in first.tensor.shape]
        wanted = sizes(others[0])
        if len(wanted) == len(shape) and wanted[1:] == tuple(shape[1:]):
            return first.tensor
    return None
