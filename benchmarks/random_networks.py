"""Small networks of many kinds, and how their gradients spread when weights are drawn again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

__all__ = ["ARCHITECTURES", "mean_square"]

# What a calibration sees of each network, and inputs whose gradients are averaged.
CALIBRATION, INPUTS = 16, 4


def conv(x: Any, width: int, size: int = 3, **options: Any) -> Any:
    """A convolution with He's weights."""
    options = {"padding": "same", "kernel_initializer": "he_normal", **options}
    return layers.Conv2D(width, size, **options)(x)


def relu(x: Any) -> Any:
    """A ReLU."""
    return layers.ReLU()(x)


def norm(x: Any) -> Any:
    """Batch normalisation, whose statistics follow the last batch at once."""
    return layers.BatchNormalization(momentum=0.0)(x)


def depthwise(x: Any, size: int = 3, **options: Any) -> Any:
    """A depthwise convolution that keeps the strength of a signal."""
    start = keras.initializers.RandomNormal(stddev=1 / size)
    return layers.DepthwiseConv2D(
        size, padding="same", depthwise_initializer=start, use_bias=False, **options
    )(x)


def start(size: int = 48) -> Any:
    """An input of 8 channels."""
    return keras.Input((size, size, 8))


def end(inputs: Any, x: Any) -> keras.Model:
    """The network with a linear last convolution: a ReLU there would shut off half of the runs."""
    x = layers.Conv2D(8, 3, padding="same", kernel_initializer="lecun_normal", name="measured")(x)
    return keras.Model(inputs, x)


def plain(width: int) -> keras.Model:
    """Twelve convolutions with ReLUs."""
    inputs = x = start()
    for _ in range(12):
        x = relu(conv(x, width))
    return end(inputs, x)


def residual(width: int) -> keras.Model:
    """Six residual blocks with batch normalisation."""
    inputs = start()
    x = relu(conv(inputs, width))
    for _ in range(6):
        y = norm(conv(relu(norm(conv(x, width))), width))
        x = relu(layers.Add()([x, y]))
    return end(inputs, x)


def preactivated(width: int) -> keras.Model:
    """Six residual blocks whose normalisation and ReLU come before each convolution."""
    inputs = start()
    x = conv(inputs, width)
    for _ in range(6):
        y = conv(relu(norm(x)), width)
        x = layers.Add()([x, conv(relu(norm(y)), width)])
    return end(inputs, relu(norm(x)))


def bottlenecks(width: int) -> keras.Model:
    """A stem with a max pool, bottlenecks with projections and a stride: ResNet-50-like."""
    inputs = start(64)
    x = layers.MaxPooling2D(3, 2, padding="same")(relu(norm(conv(inputs, width))))
    for stride, filters in ((1, width), (1, width), (2, 2 * width), (1, 2 * width)):
        y = relu(norm(conv(x, filters // 4, 1, strides=stride)))
        y = norm(conv(relu(norm(conv(y, filters // 4))), filters, 1))
        if stride > 1:
            x = norm(conv(x, filters, 1, strides=stride))
        x = relu(layers.Add()([x, y]))
    return end(inputs, x)


def grouped(width: int) -> keras.Model:
    """Bottlenecks with grouped convolutions: RegNetX-like."""
    inputs = start(64)
    x = relu(norm(conv(inputs, width, strides=2)))
    for stride in (1, 1, 2, 1, 1):
        y = relu(norm(conv(x, width, 1)))
        y = relu(norm(conv(y, width, strides=stride, groups=width // 8)))
        y = norm(conv(y, width, 1))
        if stride > 1:
            x = norm(conv(x, width, 1, strides=stride))
        x = relu(layers.Add()([x, y]))
    return end(inputs, x)


def separable(width: int) -> keras.Model:
    """Depthwise and 1x1 convolutions in turn, two of stride 2."""
    inputs = start(64)
    x = relu(conv(inputs, width))
    for stride in (1, 2, 1, 1, 2, 1):
        x = relu(conv(depthwise(x, strides=stride), width, 1))
    return end(inputs, x)


def inverted(width: int) -> keras.Model:
    """Inverted residual blocks with ReLU6: MobileNetV2-like."""
    inputs = start(64)
    x = layers.ReLU(6.0)(norm(conv(inputs, width // 2, strides=2)))
    for stride in (1, 1, 2, 1, 1):
        y = layers.ReLU(6.0)(norm(conv(x, 2 * width, 1)))
        y = layers.ReLU(6.0)(norm(depthwise(y, strides=stride)))
        y = norm(conv(y, width // 2, 1))
        x = y if stride > 1 else layers.Add()([x, y])
    return end(inputs, x)


def _gated(x: Any, width: int, gate: str) -> Any:
    """Squeeze and excite."""
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = conv(y, width // 4, 1, activation="relu")
    return layers.Multiply()([x, conv(y, x.shape[-1], 1, activation=gate)])


def mobile_v3(width: int) -> keras.Model:
    """Inverted residuals with hard-swish, written as products, and gates: MobileNetV3-like."""

    def swish(x: Any) -> Any:
        return layers.Multiply()([x, layers.ReLU(6.0)(x + 3.0) * (1 / 6)])

    inputs = start(64)
    x = swish(norm(conv(inputs, width // 2, strides=2)))
    for stride in (1, 1, 2, 1, 1):
        y = swish(norm(conv(x, 2 * width, 1)))
        y = swish(norm(depthwise(y, 5, strides=stride)))
        y = norm(conv(_gated(y, width, "hard_sigmoid"), width // 2, 1))
        x = y if stride > 1 else layers.Add()([x, y])
    return end(inputs, x)


def efficient(width: int) -> keras.Model:
    """Inverted residuals with swish and gates: EfficientNet-like."""
    inputs = start(64)
    x = layers.Activation("swish")(norm(conv(inputs, width // 2, strides=2)))
    for stride in (1, 1, 2, 1, 1):
        y = layers.Activation("swish")(norm(conv(x, 2 * width, 1)))
        y = layers.Activation("swish")(norm(depthwise(y, strides=stride)))
        y = norm(conv(_gated(y, width, "sigmoid"), width // 2, 1))
        x = y if stride > 1 else layers.Add()([x, y])
    return end(inputs, x)


class Scale(layers.Layer):
    """LayerScale: a gain for each channel."""

    def __init__(self, value: float, **options: Any) -> None:
        super().__init__(**options)
        self.value = value

    def build(self, shape: Any) -> None:
        """Makes the gain."""
        start = keras.initializers.Constant(self.value)
        self.gain = self.add_weight(shape=(shape[-1],), initializer=start)

    def call(self, x: Any) -> Any:
        """The product."""
        return x * self.gain


def convnext(width: int, gain: float = 1e-6) -> keras.Model:
    """Depthwise 7x7, layer normalisation, GELU and LayerScale: ConvNeXt-like."""
    inputs = start(64)
    x = layers.LayerNormalization(epsilon=1e-6)(conv(inputs, width, 4, strides=4, padding="valid"))
    for _ in range(4):
        y = layers.DepthwiseConv2D(7, padding="same")(x)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Dense(width)(layers.Activation("gelu")(layers.Dense(4 * width)(y)))
        x = layers.Add()([x, Scale(gain)(y)])
    return keras.Model(inputs, layers.Identity(name="measured")(x))


def convnext_strong(width: int) -> keras.Model:
    """As `convnext`, with branches that weigh as much as the shortcut."""
    return convnext(width, 1.0)


def convmixer(width: int) -> keras.Model:
    """Residual depthwise convolutions with GELU and batch normalisation: ConvMixer-like."""
    inputs = start()
    x = norm(layers.Activation("gelu")(conv(inputs, width, 2, strides=2)))
    for _ in range(4):
        y = norm(layers.Activation("gelu")(layers.DepthwiseConv2D(5, padding="same")(x)))
        x = layers.Add()([x, y])
        x = norm(layers.Activation("gelu")(layers.Conv2D(width, 1)(x)))
    return end(inputs, x)


def dense_blocks(width: int) -> keras.Model:
    """Two blocks of convolutions that read all before them, and an average pool: DenseNet-like."""
    inputs = start()
    x = conv(inputs, width)
    for block in range(2):
        for _ in range(4):
            y = conv(relu(norm(x)), 4 * (width // 4), 1)
            y = conv(relu(norm(y)), width // 4)
            x = layers.Concatenate()([x, y])
        if not block:
            x = layers.AveragePooling2D(2)(conv(relu(norm(x)), width, 1))
    return end(inputs, relu(norm(x)))


def dilated(width: int) -> keras.Model:
    """Convolutions of dilation 1, 2, 4 and 8."""
    inputs = x = start(64)
    for rate in (1, 1, 2, 4, 8, 1):
        x = relu(conv(x, width, dilation_rate=rate))
    return end(inputs, x)


def encoder_decoder(width: int) -> keras.Model:
    """A small U-Net: max pools, transposed convolutions, concatenated skips."""
    inputs = start(64)
    high = relu(conv(relu(conv(inputs, width)), width))
    middle = relu(conv(layers.MaxPooling2D()(high), width))
    x = relu(conv(layers.MaxPooling2D()(middle), width))
    large = keras.initializers.VarianceScaling(8.0, "fan_in", "normal")
    for skip in (middle, high):
        x = layers.Conv2DTranspose(
            width, 2, strides=2, kernel_initializer=large, activation="relu"
        )(x)
        x = relu(conv(layers.Concatenate()([x, skip]), width))
    return end(inputs, x)


def bilinear(width: int) -> keras.Model:
    """An encoder of strides and a decoder of bilinear enlargements, with summed skips."""
    inputs = start(64)
    skips, x = [], relu(conv(inputs, width))
    for _ in range(2):
        skips.append(x)
        x = relu(conv(x, width, strides=2))
    for skip in reversed(skips):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = relu(conv(layers.Add()([conv(x, width, 1), conv(skip, width, 1)]), width))
    return end(inputs, x)


def nearest(width: int) -> keras.Model:
    """An autoencoder of average pools and copies."""
    inputs = x = start(64)
    for _ in range(2):
        x = layers.AveragePooling2D(2)(relu(conv(x, width)))
    for _ in range(2):
        x = layers.UpSampling2D(2)(relu(conv(x, width)))
    return end(inputs, relu(conv(x, width)))


def inception(width: int) -> keras.Model:
    """Blocks of four branches: 1x1, 3x3, two 3x3, average pool; concatenated."""
    inputs = start()
    x, part = relu(conv(inputs, width)), width // 4
    for _ in range(3):
        reduced = relu(conv(x, part, 1))
        x = layers.Concatenate()(
            [
                relu(conv(x, part, 1)),
                relu(conv(reduced, part)),
                relu(conv(relu(conv(relu(conv(x, part, 1)), part)), part)),
                relu(conv(layers.AveragePooling2D(3, 1, padding="same")(x), part, 1)),
            ]
        )
    return end(inputs, x)


def group_norm(width: int) -> keras.Model:
    """Residual blocks with group normalisation."""
    inputs = start()
    x = relu(conv(inputs, width))
    for _ in range(5):
        y = relu(layers.GroupNormalization(8)(conv(x, width)))
        y = layers.GroupNormalization(8)(conv(y, width))
        x = relu(layers.Add()([x, y]))
    return end(inputs, x)


def layer_norm(width: int) -> keras.Model:
    """Residual blocks of convolutions with layer normalisation before them."""
    inputs = start()
    x = conv(inputs, width)
    for _ in range(5):
        y = conv(layers.LayerNormalization()(x), width)
        x = layers.Add()([x, conv(relu(y), width)])
    return keras.Model(inputs, layers.Identity(name="measured")(x))


def overlapping_max(width: int) -> keras.Model:
    """Convolutions and max pools whose windows overlap."""
    inputs = x = start()
    for stride in (1, 2, 1):
        x = layers.MaxPooling2D(3, stride, padding="same")(relu(conv(x, width)))
    return end(inputs, relu(conv(x, width)))


def overlapping_average(width: int) -> keras.Model:
    """Five pairs of a linear convolution and an average pool of 3x3 with stride 1."""
    inputs = x = start()
    for _ in range(5):
        x = conv(x, width, kernel_initializer="lecun_normal")
        x = layers.AveragePooling2D(3, 1, padding="same")(x)
    return end(inputs, x)


def own_average(width: int) -> keras.Model:
    """Tensors added to their own average pools."""
    inputs = x = start()
    for _ in range(3):
        x = relu(conv(x, width))
        x = layers.Add()([x, layers.AveragePooling2D(3, 1, padding="same")(x)])
    return end(inputs, x)


def blurred(width: int) -> keras.Model:
    """Convolutions and strides behind an average of 3x3, as against aliasing."""
    inputs = x = start(64)
    for _ in range(2):
        x = relu(conv(relu(conv(x, width)), width))
        x = layers.AveragePooling2D(3, 2, padding="same")(x)
    return end(inputs, relu(conv(x, width)))


def shared(width: int) -> keras.Model:
    """One convolution used four times, between others."""
    inputs = start()
    x = relu(conv(inputs, width))
    layer = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")
    for _ in range(4):
        x = relu(layer(x))
    return end(inputs, x)


def siamese(width: int) -> keras.Model:
    """One branch over an image and its half, put together again."""
    inputs = start()
    layer = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")
    other = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")
    small = layers.AveragePooling2D(2)(inputs)
    one, two = (relu(other(relu(layer(x)))) for x in (inputs, small))
    x = layers.Concatenate()([one, layers.UpSampling2D(2)(two)])
    return end(inputs, relu(conv(x, width)))


def vit(width: int) -> keras.Model:
    """Patches, then blocks of attention and dense layers with layer normalisation before them."""
    inputs = start()
    x = conv(inputs, width, 4, strides=4, padding="valid")
    x = layers.Reshape((-1, width))(x)
    for _ in range(3):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, width // 4)(y, y)])
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return keras.Model(inputs, layers.Reshape((12, 12, width), name="measured")(x))


def without_end(build: Callable[[int], keras.Model], width: int) -> keras.Model:
    """A network without its last convolution: what is measured is behind an activation."""
    model = build(width)
    x = model.get_layer("measured").input
    return keras.Model(model.inputs, layers.Identity(name="measured")(x))


ARCHITECTURES: dict[str, Callable[[int], keras.Model]] = {
    one.__name__: one
    for one in (
        plain, residual, preactivated, bottlenecks, grouped, separable, inverted, mobile_v3,
        efficient, convnext, convnext_strong, convmixer, dense_blocks, dilated, encoder_decoder,
        bilinear, nearest, inception, group_norm, layer_norm, overlapping_max,
        overlapping_average, own_average, blurred, shared, siamese, vit,
    )
} | {
    f"{one.__name__}_relu": partial(without_end, one)
    for one in (
        plain, residual, preactivated, bottlenecks, grouped, separable, dense_blocks, dilated,
        encoder_decoder, bilinear, inception, group_norm, blurred,
    )
}  # fmt: skip


def mean_square(
    build: Callable[[], keras.Model], layer: str, unit: tuple[int, ...], runs: int, seed: int = 0
) -> np.ndarray:
    """Maps of g^2 of fresh networks, by a plain tape: shape `(runs, *space)`.

    Each has the weights of a newly built model, and the statistics of a batch of noise.

    Args:
        build: Makes a model.
        layer: The layer that is seeded.
        unit: Position of the unit.
        runs: How many networks.
        seed: Of all that is drawn.
    """
    model = build()
    measured = keras.Model(model.inputs, model.get_layer(layer).output)
    normalised = any(isinstance(one, layers.BatchNormalization) for one in measured.layers)
    random = np.random.default_rng(seed)
    shape = model.inputs[0].shape[1:]

    @tf.function
    def calibrate(x: Any) -> None:
        measured(x, training=True)

    @tf.function
    def squares(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(measured(x, training=False)[(slice(None), *unit)])
        gradient = tf.cast(tape.gradient(value, x), tf.float64)
        return tf.reduce_mean(tf.square(gradient), axis=(0, -1))

    maps = []
    for _ in range(runs):
        keras.utils.set_random_seed(int(random.integers(2**31)))
        model.set_weights(build().get_weights())
        if normalised:
            calibrate(tf.constant(random.standard_normal((CALIBRATION, *shape)), tf.float32))
        x = tf.constant(random.standard_normal((INPUTS, *shape)), tf.float32)
        maps.append(np.asarray(squares(x)))
    return np.stack(maps)
