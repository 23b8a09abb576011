"""`InstanceNormalization` of keras-contrib, which adds `epsilon` to the standard deviation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["InstanceNormalization"]


@keras.saving.register_keras_serializable("keras_erf")
class InstanceNormalization(keras.layers.Layer):
    """`gamma * (x - mean) / (std + epsilon) + beta` of each sample.

    Those of tensorflow-addons and of Keras divide by `sqrt(variance + epsilon)`.

    Args:
        axis: The axis whose entries are normalised apart; `None` for none, and one gamma and beta.
        epsilon: What is added to the standard deviation.
        center: Whether there is a beta.
        scale: Whether there is a gamma.
        **kwargs: Arguments of every layer.

    Reference:
        `keras_contrib/layers/normalization/instancenormalization.py`.
    """

    def __init__(
        self,
        axis: int | None = None,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon
        self.center, self.scale = center, scale

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        shape = (1,) if self.axis is None else (input_shape[self.axis],)
        self.gamma = (
            self.add_weight(shape=shape, name="gamma", initializer="ones") if self.scale else None
        )
        self.beta = (
            self.add_weight(shape=shape, name="beta", initializer="zeros") if self.center else None
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def call(self, inputs: Any) -> Any:
        """The normalised input."""
        rank = len(inputs.shape)
        own = None if self.axis is None else self.axis % rank
        axes = [axis for axis in range(1, rank) if axis != own]
        shape = [-1 if axis == own else 1 for axis in range(rank)]
        centred = ops.subtract(inputs, ops.mean(inputs, axis=axes, keepdims=True))
        x = ops.divide(centred, ops.add(ops.std(inputs, axis=axes, keepdims=True), self.epsilon))
        if self.gamma is not None:
            x = ops.multiply(x, ops.reshape(self.gamma, shape))
        return x if self.beta is None else ops.add(x, ops.reshape(self.beta, shape))

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }
