"""Normalisations: of vectors, batches, channels and images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import (
    Function,
    as_tensor,
    axes_of,
    keras_data_format,
)
from keras_erf.tensorflow_operations.sizes import number

__all__ = ["FUNCTIONS"]


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    squares = ops.sum(ops.square(x), axis=axes_of(axis), keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, epsilon)))


def _moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False) -> Any:
    return list(ops.moments(x, axes=axes_of(axes), keepdims=bool(keepdims)))


def _batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any
) -> Any:
    factor = ops.rsqrt(ops.add(as_tensor(variance, x), variance_epsilon))
    if scale is not None:
        factor = ops.multiply(factor, as_tensor(scale, x))
    result = ops.multiply(ops.subtract(x, as_tensor(mean, x)), factor)
    return result if offset is None else ops.add(result, as_tensor(offset, x))


def _local_response(
    input: Any, depth_radius: Any = 5, bias: Any = 1, alpha: Any = 1, beta: Any = 0.5
) -> Any:
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3)."""
    radius = number(5 if depth_radius is None else depth_radius)
    channels = input.shape[-1]
    place = np.arange(channels)
    window = (np.abs(place[:, None] - place[None]) <= radius).astype("float32")
    sums = ops.matmul(ops.square(input), window)
    return ops.divide(input, ops.power(ops.add(ops.multiply(sums, alpha), bias), beta))


def _per_image(image: Any) -> Any:
    axes = (-3, -2, -1)
    count = math.prod(image.shape[-3:])
    mean = ops.mean(image, axis=axes, keepdims=True)
    deviation = ops.maximum(ops.std(image, axis=axes, keepdims=True), 1 / math.sqrt(count))
    return ops.divide(ops.subtract(image, mean), deviation)


def _fused(outputs: int) -> Function:
    """Batch normalisation at inference; of its outputs but the first training alone has use."""

    def apply(
        x: Any, scale: Any, offset: Any, mean: Any, variance: Any, epsilon: Any = 1e-4,
        data_format: Any = None, is_training: Any = True,
    ) -> Any:  # fmt: skip
        if is_training:
            raise NotImplementedError("a batch normalisation in training mode")
        axis = 1 if keras_data_format(data_format) == "channels_first" else -1
        mean, variance, offset, scale = (
            as_tensor(one, x) for one in (mean, variance, offset, scale)
        )
        result = ops.batch_normalization(
            x, mean, variance, axis, offset=offset, scale=scale, epsilon=epsilon
        )
        return [result] + [None] * (outputs - 1)

    return apply


FUNCTIONS: dict[str, Function] = {
    "math.l2_normalize": _l2_normalize,
    "nn.moments": _moments,
    "nn.batch_normalization": _batch_normalization,
    "nn.fused_batch_norm": _fused(5),
    "nn.fused_batch_norm_v3": _fused(6),
    "nn.local_response_normalization": _local_response,
    "image.per_image_standardization": _per_image,
}
