"""Fields that papers and repositories print, computed on the networks they are printed of.

Channels are few: they make no difference to what a unit can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import pytest
from keras import layers

from keras_erf import receptive_field


def conv(x: Any, kernel: int, *, strides: int = 1) -> Any:
    """Convolution as Darknet has it: where it strides, one row of zeros before, none behind."""
    if strides > 1:
        x = layers.ZeroPadding2D(((1, 0), (1, 0)))(x)
    padding = "valid" if strides > 1 else "same"
    x = layers.Conv2D(2, kernel, strides, padding=padding, use_bias=False)(x)
    return layers.LeakyReLU(0.1)(x)


def yolo_v3(x: Any) -> list[Any]:
    """Three heads on Darknet-53, coarse to fine: Redmon and Farhadi 2018, table 1, section 2.3."""
    x, maps = conv(x, 3), []
    for blocks in (1, 2, 8, 8, 4):
        x = conv(x, 3, strides=2)
        for _ in range(blocks):
            x = layers.Add()([x, conv(conv(x, 1), 3)])
        maps.append(x)
    heads = []
    for place in (4, 3, 2):
        if heads:
            x = layers.Concatenate()([layers.UpSampling2D(2)(conv(x, 1)), maps[place]])
        for kernel in (1, 3, 1, 3, 1):
            x = conv(x, kernel)
        heads.append(layers.Conv2D(2, 1, name=f"head{2 ** (place + 1)}")(conv(x, 3)))
    return heads


def test_the_heads_of_yolo_v3():
    x = keras.Input((416, 416, 3))
    model = keras.Model(x, yolo_v3(x))
    # As the issue tracker of qqwweee/keras-yolo3 has them; here head by head.
    sizes = {}
    for stride in (32, 16, 8):
        field = receptive_field(model, f"head{stride}")
        assert field.stride == (stride, stride)
        sizes[stride] = max(high for _, high in field.size_range)
    assert sizes == {32: 917, 16: 949, 8: 981}


def u_net(kernels: Sequence[int], depth: int) -> keras.Model:
    """Ronneberger's network of one axis with `kernels` in each of its stages."""

    def stage(y: Any) -> Any:
        for kernel in kernels:
            y = layers.Conv1D(1, kernel, padding="same", use_bias=False)(y)
        return y

    x = y = keras.Input((32 * 2**depth, 1))
    skips = []
    for _ in range(depth):
        skips.append(stage(y))
        y = layers.MaxPooling1D(2)(skips[-1])
    y = stage(y)
    for skip in reversed(skips):
        y = stage(layers.Concatenate()([layers.Conv1DTranspose(1, 2, 2)(y), skip]))
    return keras.Model(x, y)


# Loos, Pardasani and Awasthi 2024, "Demystifying the effect of receptive field size in U-Net models
# for medical image segmentation", JMI 11(5) 054004: the fields they compare. Which kernels and
# depth make which is worked out here, from what a stage adds, kernels less 1 together: 2, 4 and 6
# at depth 3 make 54, 100 and 146; another pair of kernels of the same sum makes the same.
U_NETS = {
    54: ((3,), 3),
    100: ((3, 3), 3),
    146: ((3, 3, 3), 3),
    230: ((7, 5), 3),
    360: ((9, 9), 3),
    204: ((3, 3), 4),
    298: ((5, 3), 4),
    486: ((7, 5), 4),
    412: ((3, 3), 5),
}


@pytest.mark.parametrize("largest", U_NETS)
def test_the_largest_field_of_a_u_net(largest):
    kernels, depth = U_NETS[largest]
    field = receptive_field(u_net(kernels, depth))
    ((low, high),) = field.size_range
    assert high == largest
    # Between two skips a unit may look past a pixel of the map below on one side or on both.
    assert low in (largest, largest - 2**depth)
    assert low <= field.size[0] <= high


def test_splice_ai():
    # Jaganathan et al. 2019, "Predicting Splicing from Primary Sequence with Deep Learning":
    # SpliceAI-10k, 5,000 nucleotides on each side.
    x = y = keras.Input((12_000, 4))
    skips = [layers.Conv1D(2, 1)(y)]
    y = layers.Conv1D(2, 1)(y)
    for width, rate in ((11, 1), (11, 4), (21, 10), (41, 25)):
        for _ in range(4):
            z = y
            for _ in range(2):
                z = layers.Activation("relu")(layers.BatchNormalization()(z))
                z = layers.Conv1D(2, width, dilation_rate=rate, padding="same")(z)
            y = layers.Add()([y, z])
        skips.append(layers.Conv1D(2, 1)(y))
    y = layers.Cropping1D(5000)(layers.Add()(skips))
    model = keras.Model(x, layers.Conv1D(3, 1, activation="softmax")(y))
    field = receptive_field(model)
    assert (field.size, field.size_range) == ((10_001,), ((10_001, 10_001),))
    # Unit 0 stands for nucleotide 5000.
    assert field.center((0,)) == (5000.0,)


def test_wave_net():
    # van den Oord et al. 2016, "WaveNet", section 2.1: kernels of 2, dilations 1, 2, ..., 512; one
    # such stack alone has 1024, the causal convolution before it adds one.
    x = keras.Input((2000, 1))
    y = layers.Conv1D(2, 2, padding="causal")(x)
    skips = []
    for rate in (2**power for power in range(10)):
        options = {"dilation_rate": rate, "padding": "causal"}
        gate = layers.Conv1D(2, 2, activation="sigmoid", **options)(y)
        z = layers.Multiply()([layers.Conv1D(2, 2, activation="tanh", **options)(y), gate])
        z = layers.Conv1D(2, 1)(z)
        skips.append(z)
        y = layers.Add()([y, z])
    y = layers.Conv1D(2, 1)(layers.ReLU()(layers.Add()(skips)))
    field = receptive_field(keras.Model(x, y))
    assert field.size == (1025,)
    assert field.box((1500,)) == ((1500 - 1024, 1501),)


@pytest.mark.parametrize(("count", "size"), [(4, 155), (8, 1115)])
def test_chrombpnet(count, size):
    # Pampari et al. 2023, ChromBPNet (after BPNet, Avsec et al. 2021): 21 taps, `count` residual
    # layers of 3 taps with dilation 2, 4, 8, ..., and 75 taps of the profile's head; all VALID.
    x = keras.Input((2114, 4))
    y = layers.Conv1D(2, 21, activation="relu")(x)
    for power in range(1, count + 1):
        z = layers.Conv1D(2, 3, dilation_rate=2**power, activation="relu")(y)
        y = layers.Add()([layers.Cropping1D(2**power)(y), z])
    field = receptive_field(keras.Model(x, layers.Conv1D(1, 75)(y)))
    assert (field.size, field.padding) == ((size,), (0,))


def test_patch_gan():
    # Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
    # appendix: the discriminator of 70x70 patches.
    x = y = keras.Input((256, 256, 3))
    for strides in (2, 2, 2, 1, 1):
        y = layers.Conv2D(2, 4, strides, padding="same")(y)
    field = receptive_field(keras.Model(x, y))
    assert (field.size, field.stride) == ((70, 70), (8, 8))


def test_strides_of_four():
    # 1 + 7 (1 + 4 + 16 + 64 + 256): five layers of Demucs' encoder (Défossez et al. 2019).
    x = y = keras.Input((5000, 2))
    for _ in range(5):
        y = layers.Conv1D(2, 8, 4)(y)
    field = receptive_field(keras.Model(x, y))
    assert (field.size, field.stride) == ((2388,), (1024,))


def test_temporal_convolutions():
    # philipperemy/keras-tcn, README, "Receptive field": 1 + 2 (kernel - 1) stacks * sum(dilations).
    x = y = keras.Input((1000, 2))
    for _ in range(3):
        for rate in (1, 2, 4, 8):
            z = y
            for _ in range(2):
                z = layers.Conv1D(2, 8, dilation_rate=rate, padding="causal", activation="relu")(z)
            y = layers.Add()([y, z])
    assert receptive_field(keras.Model(x, y)).size == (631,)
