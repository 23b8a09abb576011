"""Layers of Keras 1 and keras-contrib that Keras 3 lacks and cannot compose."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["ParametricSoftplus", "SReLU"]


class _PerElement(keras.layers.Layer):
    """A layer whose weights have the input's shape, but for shared axes."""

    NAMES: tuple[str, ...] = ()

    def __init__(self, shared_axes: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.parts = [self.add_weight(shape=shape, name=name) for name in self.NAMES]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "shared_axes": self.shared_axes}


@keras.saving.register_keras_serializable("keras_erf")
class ParametricSoftplus(_PerElement):
    """`alpha * log(1 + exp(beta * x))`, with a weight each for every element."""

    NAMES = ("alphas", "betas")

    def call(self, inputs: Any) -> Any:
        """The function of every element."""
        alpha, beta = self.parts
        return alpha * ops.softplus(beta * inputs)


@keras.saving.register_keras_serializable("keras_erf")
class SReLU(_PerElement):
    """Three linear pieces (Jin et al. 2015, equation 2), with weights for every element."""

    NAMES = ("t_left", "a_left", "t_right", "a_right")

    def call(self, inputs: Any) -> Any:
        """The function of every element."""
        left, left_slope, right, right_slope = self.parts
        # The right threshold is stored as its distance from the left one.
        right = left + ops.abs(right)
        below = left + left_slope * (inputs - left)
        above = right + right_slope * (inputs - right)
        return ops.where(inputs <= left, below, ops.where(inputs >= right, above, inputs))
