"""The paper's residual network for CamVid: street scenes, labelled pixel by pixel."""

from __future__ import annotations

from typing import Any

import keras

from keras_erf.models._options import (
    dtype_policy,
    is_count,
    layer_seeds,
    require,
    require_counts,
    spatial_sizes,
)
from keras_erf.models._residual import Residual

__all__ = ["camvid_resnet"]

BLOCKS = (2, 2, 4, 4, 4)
STRIDE = 2 ** (len(BLOCKS) - 1)
# Zeros before each strided convolution. A window that starts one later looks one further on: by
# 1 + 2 + 4 pixels in all, so that unit `u` is centred on pixel `16 u + 7`. Bilinear up-sampling
# takes it to be on `16 u + 7.5`.
BEFORE = (0, 0, 0, 1)


def camvid_resnet(
    *,
    widths: tuple[int, ...] = (16, 32, 48, 64, 96),
    classes: int = 12,
    input_shape: tuple[int | None, int | None] = (512, 512),
    seed: int = 0,
    upsample: bool = False,
    softness: float | None = None,
    dtype: Any = None,
    name: str = "camvid_resnet",
) -> keras.Model:
    """Builds a residual network of 16 blocks with a theoretical field of exactly 505x505.

    A 3x3 stem, stages of (2, 2, 4, 4, 4) basic blocks, a 3x3 convolution of stride 2 between
    stages, and logits by a 1x1 convolution: the field is 505 pixels and the stride 16. The
    paper states the number of blocks and the field; the stages are one choice that has them.
    Unit `u` is centred on pixel `16 u + 7`, the middle of its 16 pixels but for half of one,
    at any input size. Layers are called `stem_conv`, `stem_out`, `stage1_block1_conv1`,
    `stage1_block1_out`, `stage2_down_conv`, `stage2_down_out` and so on, then `logits`.

    Args:
        widths: Filters of each stage.
        classes: Number of logits of a pixel.
        input_shape: Height and width in pixels; `None` leaves a size open.
        seed: Non-negative integer from which every initial weight derives.
        upsample: Whether logits are brought back to the input's size, by bilinear
            interpolation; sizes must then be multiples of 16.
        softness: `None` for He's initialisation; from 0 to 1 for the paper's, with less
            weight in the kernels' centres (see `WeakCentre`).
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, 3)` to a map of `classes`
        channels, of a 16th of the size unless `upsample`.

    Raises:
        InvalidInputError: An option has a value the network cannot be built with.

    Reference:
        Luo et al. 2016, section 3.2 and the poster (505x505); He, Zhang, Ren, Sun, 2015,
        arXiv:1512.03385, figure 2 (block).
    """
    require(
        isinstance(widths, tuple | list)
        and len(widths) == len(BLOCKS)
        and all(map(is_count, widths)),
        "widths",
        f"a tuple of {len(BLOCKS)} positive integers",
        widths,
    )
    require_counts(classes=classes)
    require(isinstance(upsample, bool), "upsample", "True or False", upsample)
    sizes = spatial_sizes(input_shape, 2)
    require(
        not upsample or all(size is None or size % STRIDE == 0 for size in sizes),
        "input_shape",
        f"multiples of {STRIDE} if `upsample` is True",
        input_shape,
    )
    policy = dtype_policy(dtype)
    layers = Residual(layer_seeds(seed), policy, softness)
    inputs = keras.Input((*sizes, 3), name="image", dtype=policy.compute_dtype)
    x = layers.convolution(inputs, widths[0], 3, 1, "stem_conv")
    x = layers.relu(layers.normalise(x, "stem_bn"), "stem_out")
    for stage, (count, width) in enumerate(zip(BLOCKS, widths, strict=True), start=1):
        if stage > 1:
            x = layers.convolution(
                x, width, 3, 2, f"stage{stage}_down_conv", before=BEFORE[stage - 2]
            )
            x = layers.normalise(x, f"stage{stage}_down_bn")
            x = layers.relu(x, f"stage{stage}_down_out")
        for block in range(1, count + 1):
            x = layers.block(x, width, 1, f"stage{stage}_block{block}")
    x = keras.layers.Conv2D(
        classes, 1, kernel_initializer=layers.initializer(), dtype=policy, name="logits"
    )(x)
    if upsample:
        x = keras.layers.UpSampling2D(
            STRIDE, interpolation="bilinear", dtype=policy, name="upsample"
        )(x)
    return keras.Model(inputs, x, name=name)
