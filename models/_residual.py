"""Residual blocks with batch normalisation, after He et al. 2015, that the ResNets are built of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_erf.models.weak_centre import WeakCentre

__all__ = ["Residual"]


@dataclass(frozen=True)
class Residual:
    """Adds layers one after the other; each kernel takes the next seed.

    Args:
        seeds: One after the other.
        dtype: Dtype policy of all layers.
        softness: Of kernels with a weaker centre (see `WeakCentre`); `None` for plain ones.
    """

    seeds: Iterator[int]
    dtype: keras.DTypePolicy
    softness: float | None = None

    def initializer(self) -> keras.initializers.Initializer:
        seed = next(self.seeds)
        if self.softness is None:
            return keras.initializers.HeNormal(seed=seed)
        return WeakCentre(self.softness, scale=2.0, seed=seed)

    def convolution(
        self, x: Any, filters: int, size: int, stride: int, name: str, *, before: int | None = None
    ) -> Any:
        """Convolution without bias; a strided 3x3 one is padded by 1 on every side.

        With `before` it is padded by that number before each axis, and by the rest after it.

        Keras's own "same" padding of a strided layer depends on the parity of the input
        size and would set the two paths of a block half a stride apart.
        """
        padding = "same" if stride == 1 else "valid"
        if stride > 1 and size > 1:
            first = size // 2 if before is None else before
            around = ((first, 2 * (size // 2) - first),) * 2
            # Equal padding is one number in the layer's settings, as in files of older versions.
            pad = size // 2 if around[0][0] == around[0][1] else around
            x = keras.layers.ZeroPadding2D(pad, name=f"{name}_pad", dtype=self.dtype)(x)
        return keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding=padding,
            use_bias=False,
            kernel_initializer=self.initializer(),
            dtype=self.dtype,
            name=name,
        )(x)

    def normalise(self, x: Any, name: str) -> Any:
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self.dtype, name=name
        )(x)

    def relu(self, x: Any, name: str) -> Any:
        return keras.layers.ReLU(dtype=self.dtype, name=name)(x)

    def block(self, x: Any, filters: int, stride: int, name: str) -> Any:
        """Basic block: two 3x3 convolutions and the skip around them (He et al., figure 2)."""
        skip = x
        if stride != 1 or x.shape[-1] != filters:
            skip = self.convolution(x, filters, 1, stride, f"{name}_skip_conv")
            skip = self.normalise(skip, f"{name}_skip_bn")
        x = self.convolution(x, filters, 3, stride, f"{name}_conv1")
        x = self.relu(self.normalise(x, f"{name}_bn1"), f"{name}_relu1")
        x = self.convolution(x, filters, 3, 1, f"{name}_conv2")
        x = self.normalise(x, f"{name}_bn2")
        x = keras.layers.Add(dtype=self.dtype, name=f"{name}_add")([skip, x])
        return self.relu(x, f"{name}_out")
