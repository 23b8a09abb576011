"""Linear maps along the axes of space, in the second-moment network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.dependence.axes import spatial_axes
from keras_erf.layers.recipes import Matrices, SquareSite

__all__ = ["Resampled", "matrices_along", "space_of"]


class Resampled(keras.Layer):
    """A linear map along each of some axes.

    Args:
        matrices: For each axis, the batch not counted, the matrix of shape
            `(outputs, inputs)`.
    """

    def __init__(self, matrices: dict[int, np.ndarray], **options: Any) -> None:
        super().__init__(**options)
        self.matrices = {axis: np.asarray(one) for axis, one in matrices.items()}

    def call(self, inputs: Any) -> Any:
        """The product along every axis."""
        for axis, matrix in self.matrices.items():
            made = ops.tensordot(inputs, ops.cast(matrix, inputs.dtype), [[axis + 1], [1]])
            inputs = ops.moveaxis(made, -1, axis + 1)
        return inputs

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[Any, ...]:
        """The shape with the new sizes."""
        shape = list(input_shape)
        for axis, matrix in self.matrices.items():
            shape[axis + 1] = len(matrix)
        return tuple(shape)


def matrices_along(
    site: SquareSite, along: Callable[[SquareSite, int], Any]
) -> tuple[Matrices, ...]:
    """The one path through a layer, of the matrix along each axis."""
    return (tuple(along(site, axis) for axis in spatial_axes(site.layer, len(site.call.output))),)


def space_of(site: SquareSite) -> list[int]:
    """Spatial shape of a call's first input."""
    shape = site.call.inputs[0]
    return [shape[axis] for axis in spatial_axes(site.layer, len(shape))]
