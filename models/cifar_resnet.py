"""Residual networks for CIFAR-10, after He et al. 2015, section 4.2."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_erf.models._options import (
    dtype_policy,
    is_count,
    layer_seeds,
    require,
    require_counts,
    spatial_sizes,
)
from keras_erf.models._residual import Residual

__all__ = ["cifar_resnet14", "cifar_resnet36", "preprocess_input"]

# Per-channel statistics of the CIFAR-10 training images, in units of 0..1.
CHANNEL_MEAN = (0.4914, 0.4822, 0.4465)
CHANNEL_STD = (0.2470, 0.2435, 0.2616)


def preprocess_input(x: Any) -> Any:
    """Standardises RGB images with the channel statistics of CIFAR-10.

    Args:
        x: Array or tensor of shape `(..., 3)`, raw pixel values from 0 to 255.

    Returns:
        `(x / 255 - mean) / std`, same shape: a NumPy array for array input, a backend
        tensor otherwise; float64 stays float64, everything else becomes float32.
    """
    if isinstance(x, np.ndarray | list | tuple):
        x = np.asarray(x)
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        x = x.astype(dtype)
    else:
        is_double = keras.backend.standardize_dtype(x.dtype) == "float64"
        dtype = np.dtype(np.float64 if is_double else np.float32)
        x = keras.ops.cast(x, dtype.name)
    mean, std = np.asarray(CHANNEL_MEAN, dtype), np.asarray(CHANNEL_STD, dtype)
    return (x / dtype.type(255) - mean) / std


def cifar_resnet14(
    *,
    blocks: tuple[int, ...] = (2, 2, 2),
    width: int = 16,
    classes: int = 10,
    input_shape: tuple[int | None, int | None] = (32, 32),
    seed: int = 0,
    include_top: bool = True,
    dtype: Any = None,
    name: str = "cifar_resnet14",
) -> keras.Model:
    """Builds a residual network for 32x32 RGB images, with fresh weights.

    A 3x3 stem, then stages of basic blocks: the width doubles from stage to stage and each
    stage but the first starts with stride 2; global average pooling and one dense layer of
    logits end it. Where the shape changes the skip is a strided 1x1 projection (the paper's
    option B). Input is what `preprocess_input` returns. Layers are called `stem_conv`,
    `stem_out`, `stage2_block1_conv1`, `stage2_block1_add`, `stage2_block1_out` (the block's
    last ReLU) and so on; `global_pool` and `logits` are the top.

    Args:
        blocks: Number of basic blocks in each stage, each at least 1. The default has
            14 weight layers on its longest path, `n` blocks in all have `2 n + 2`.
        width: Filters of the stem and of the first stage.
        classes: Number of logits.
        input_shape: Height and width in pixels; `None` leaves a size open. The weights do
            not depend on it.
        seed: Non-negative integer from which every initial weight derives. Equal seeds give
            equal weights.
        include_top: Whether to end with pooling and logits. Without them the output is the
            last block's map, of stride `2 ** (len(blocks) - 1)`.
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, 3)` to `(batch, classes)`.

    Raises:
        InvalidInputError: An option has a value the network cannot be built with.

    Reference:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015,
        arXiv:1512.03385, section 4.2 (layout) and figure 2 (block).
    """
    require(
        isinstance(blocks, tuple | list) and len(blocks) > 0 and all(map(is_count, blocks)),
        "blocks",
        "a tuple of positive integers",
        blocks,
    )
    require_counts(width=width, classes=classes)
    sizes = spatial_sizes(input_shape, 2)
    policy = dtype_policy(dtype)
    layers = Residual(layer_seeds(seed), policy)
    inputs = keras.Input((*sizes, 3), name="image", dtype=policy.compute_dtype)
    x = layers.convolution(inputs, width, 3, 1, "stem_conv")
    x = layers.relu(layers.normalise(x, "stem_bn"), "stem_out")
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = layers.block(x, width * 2 ** (stage - 1), stride, f"stage{stage}_block{block}")
    x = _top(layers, x, classes) if include_top else x
    return keras.Model(inputs, x, name=name)


def cifar_resnet36(
    *,
    blocks: int = 17,
    width: int = 16,
    classes: int = 10,
    input_shape: tuple[int | None, int | None] = (32, 32),
    seed: int = 0,
    include_top: bool = True,
    softness: float | None = None,
    dtype: Any = None,
    name: str = "cifar_resnet36",
) -> keras.Model:
    """Builds the paper's CIFAR-10 network: 17 residual blocks without any sub-sampling.

    A 3x3 stem and basic blocks of one width and stride 1; global average pooling and logits
    end it. The field of the last block is `4 blocks + 3`, 71 pixels. (Stacks of 3x3 kernels
    have odd fields, whatever is reported for the paper's.) Input is what
    `preprocess_input` returns. Layers are called `stem_conv`, `stem_out`, `block1_conv1`,
    `block1_out` and so on.

    Args:
        blocks: Number of basic blocks, of two convolutions each.
        width: Filters of every convolution.
        classes: Number of logits.
        input_shape: Height and width in pixels; `None` leaves a size open.
        seed: Non-negative integer from which every initial weight derives.
        include_top: Whether to end with pooling and logits.
        softness: `None` for He's initialisation; from 0 to 1 for the paper's, with less
            weight in the kernels' centres (see `WeakCentre`).
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, 3)` to `(batch, classes)`.

    Raises:
        InvalidInputError: An option has a value the network cannot be built with.

    Reference:
        Luo et al. 2016, section 3.2 (17 residual blocks); He, Zhang, Ren, Sun, "Deep
        Residual Learning for Image Recognition", 2015, arXiv:1512.03385, figure 2 (block).
    """
    require_counts(blocks=blocks, width=width, classes=classes)
    policy = dtype_policy(dtype)
    layers = Residual(layer_seeds(seed), policy, softness)
    sizes = spatial_sizes(input_shape, 2)
    inputs = keras.Input((*sizes, 3), name="image", dtype=policy.compute_dtype)
    x = layers.convolution(inputs, width, 3, 1, "stem_conv")
    x = layers.relu(layers.normalise(x, "stem_bn"), "stem_out")
    for block in range(1, blocks + 1):
        x = layers.block(x, width, 1, f"block{block}")
    x = _top(layers, x, classes) if include_top else x
    return keras.Model(inputs, x, name=name)


def _top(layers: Residual, x: Any, classes: int) -> Any:
    """Global average pooling and logits."""
    x = keras.layers.GlobalAveragePooling2D(dtype=layers.dtype, name="global_pool")(x)
    return keras.layers.Dense(
        classes, kernel_initializer=layers.initializer(), dtype=layers.dtype, name="logits"
    )(x)
