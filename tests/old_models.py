"""Small models of tf_keras with their outputs; run in a process of its own.

`python tests/old_models.py FOLDER` writes, for every case, its configuration, its weights by the
path of the layer, inputs and outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.old_saving import draw_weights, drawn_inputs

IMAGE = (8, 10, 3)


def layers_of_images(k: Any) -> dict[str, Any]:
    """Layers that take images, each by itself in a functional model."""
    layers, initializers = k.layers, k.initializers
    return {
        "conv": layers.Conv2D(
            4, (3, 2), (2, 1), "same", activation="relu", kernel_regularizer="l2"
        ),
        "dilated": layers.Conv2D(
            4, 3, dilation_rate=2, padding="same", kernel_constraint="max_norm"
        ),
        "grouped": layers.Conv2D(6, 3, groups=3, kernel_initializer=initializers.HeNormal(seed=1)),
        "depthwise": layers.DepthwiseConv2D(3, depth_multiplier=2, activation="hard_sigmoid"),
        "separable": layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2),
        "transposed": layers.Conv2DTranspose(4, 3, 2, "same"),
        "transposed_valid": layers.Conv2DTranspose(4, 3, 2, "valid", output_padding=1),
        "batch_normalization": layers.BatchNormalization(epsilon=1e-2, renorm=True),
        "sync": k.layers.experimental.SyncBatchNormalization(),
        "layer_normalization": layers.LayerNormalization(axis=[1, 2, 3]),
        "group_normalization": layers.GroupNormalization(3, epsilon=1e-4),
        "unit_normalization": layers.UnitNormalization(axis=-1),
        "max_pool": layers.MaxPooling2D((2, 3), 2, "same"),
        "average_pool": layers.AveragePooling2D(3, 2, "same"),
        "global_max": layers.GlobalMaxPooling2D(keepdims=True),
        "global_average": layers.GlobalAveragePooling2D(),
        "up": layers.UpSampling2D((2, 3), interpolation="bilinear"),
        "pad": layers.ZeroPadding2D(((1, 2), (0, 3))),
        "crop": layers.Cropping2D(((1, 2), (0, 3))),
        "leaky": layers.LeakyReLU(0.3),
        "prelu": layers.PReLU(shared_axes=[1, 2]),
        "elu": layers.ELU(0.7),
        "thresholded": layers.ThresholdedReLU(0.4),
        "relu": layers.ReLU(1.5, 0.1, 0.2),
        "softmax": layers.Softmax(axis=[1, 2]),
        "swish": layers.Activation("swish"),
        "gelu": layers.Activation("gelu"),
        "hard_sigmoid": layers.Activation("hard_sigmoid"),
        "rescaling": layers.Rescaling(1 / 127.5, offset=-1),
        "rescaling_channels": layers.Rescaling([1.0, 2.0, 3.0], offset=[0.1, 0.2, 0.3]),
        "normalization": layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]),
        "resizing": layers.Resizing(6, 7, crop_to_aspect_ratio=True),
        "center_crop": layers.CenterCrop(6, 5),
        "random_flip": layers.RandomFlip("horizontal"),
        "random_rotation": layers.RandomRotation((-0.1, 0.1)),
        "random_zoom": layers.RandomZoom((-0.1, 0.1)),
        "random_contrast": layers.RandomContrast(0.2),
        "random_translation": layers.RandomTranslation(0.1, (-0.1, 0.1)),
        "random_height": layers.RandomHeight(0.2),
        "spatial_dropout": layers.SpatialDropout2D(0.2),
        "noise": layers.GaussianNoise(0.2),
        "flatten": layers.Flatten(),
        "reshape": layers.Reshape((-1, 3)),
        "permute": layers.Permute((3, 1, 2)),
        "time_distributed": layers.TimeDistributed(layers.Conv1D(4, 3, activation="hard_sigmoid")),
        "einsum": layers.EinsumDense("abcd,de->abce", output_shape=(None, None, 5), bias_axes="e"),
        "activity": layers.ActivityRegularization(0.1, 0.2),
        "masking": layers.Masking(0.0),
        "dense": layers.Dense(5, activation=k.activations.tanh, use_bias=False),
        "identity": layers.Identity(),
        "alpha_dropout": layers.AlphaDropout(0.2),
        "gaussian_dropout": layers.GaussianDropout(0.2),
        "random_brightness": layers.RandomBrightness(0.1),
        "random_crop": layers.RandomCrop(5, 6),
        "random_width": layers.RandomWidth(0.2),
        "spectral": layers.SpectralNormalization(layers.Conv2D(4, 3)),
        "locally_connected": layers.LocallyConnected2D(4, (3, 2), (2, 1)),
        "locally_connected_first": layers.LocallyConnected2D(
            4, (3, 2), (2, 1), data_format="channels_first"
        ),
        "locally_connected_masked": layers.LocallyConnected2D(
            4, (3, 2), (2, 1), padding="same", implementation=2
        ),
        "locally_connected_masked_first": layers.LocallyConnected2D(
            4, (2, 3), padding="same", data_format="channels_first", implementation=2
        ),
        "locally_connected_sparse": layers.LocallyConnected2D(
            4, (4, 2), (2, 1), padding="same", implementation=3
        ),
        "locally_connected_sparse_first": layers.LocallyConnected2D(
            2, (2, 3), (1, 2), data_format="channels_first", implementation=3, use_bias=False
        ),
        "plain_batch_normalization": layers.BatchNormalization(center=False, scale=False, axis=2),
        "depthwise_dilated": layers.DepthwiseConv2D(3, padding="same", dilation_rate=(2, 2)),
        "no_bias": layers.SeparableConv2D(5, 3, use_bias=False, activation="swish"),
        "policy": layers.Conv2D(4, 3, dtype=k.mixed_precision.Policy("float32")),
        "initializers": layers.Dense(
            3, kernel_initializer=initializers.VarianceScaling(2.0, "fan_out", "normal"),
            bias_initializer=initializers.Constant(0.1), bias_constraint="non_neg",
            activity_regularizer=k.regularizers.L1L2(0.1, 0.2),
        ),
    }  # fmt: skip


def layers_of_volumes(k: Any) -> dict[str, Any]:
    """Layers that take volumes."""
    layers = k.layers
    return {
        "conv3d": layers.Conv3D(3, (1, 2, 3), (1, 2, 1), "same", dilation_rate=1),
        "average_pool3d": layers.AveragePooling3D((1, 2, 2), padding="same"),
        "global_average3d": layers.GlobalAveragePooling3D(),
        "global_max3d": layers.GlobalMaxPooling3D(keepdims=True),
        "crop3d": layers.Cropping3D(((1, 0), (0, 2), (1, 1))),
        "pad3d": layers.ZeroPadding3D((1, 0, 2)),
        "spatial_dropout3d": layers.SpatialDropout3D(0.2),
        "conv_lstm2d": layers.ConvLSTM2D(2, 3, padding="same"),
        "conv_lstm_twice": layers.Bidirectional(layers.ConvLSTM2D(2, 3, go_backwards=True)),
        "frames": layers.TimeDistributed(layers.TimeDistributed(layers.Conv1D(2, 3))),
    }


def layers_of_sequences(k: Any) -> dict[str, Any]:
    """Layers that take sequences of vectors."""
    layers = k.layers
    return {
        "conv1d": layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
        "conv1d_transposed": layers.Conv1DTranspose(4, 3, 2),
        "depthwise1d": layers.DepthwiseConv1D(3, padding="same"),
        "separable1d": layers.SeparableConv1D(5, 3),
        "pool1d": layers.MaxPooling1D(2),
        "up1d": layers.UpSampling1D(3),
        "pad1d": layers.ZeroPadding1D((1, 2)),
        "crop1d": layers.Cropping1D((1, 2)),
        "lstm": layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid"),
        "gru": layers.GRU(4, reset_after=False, go_backwards=True),
        "gru_after": layers.GRU(4, return_sequences=True),
        "simple": layers.SimpleRNN(4, activation="relu"),
        "bidirectional": layers.Bidirectional(layers.LSTM(3, return_sequences=True), "sum"),
        "bidirectional_two": layers.Bidirectional(
            layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True)
        ),
        "cells": layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True),
        "cell": layers.RNN(layers.SimpleRNNCell(3)),
        "time_distributed_dense": layers.TimeDistributed(layers.Dense(4)),
        "spatial_dropout1d": layers.SpatialDropout1D(0.2),
        "global_average1d": layers.GlobalAveragePooling1D(),
        "global_max1d": layers.GlobalMaxPooling1D(),
        "average_pool1d": layers.AveragePooling1D(3, 2, "same"),
        "locally_connected1d": layers.LocallyConnected1D(3, 2, activation="relu"),
        "locally_connected1d_first": layers.LocallyConnected1D(
            3, 2, 2, data_format="channels_first"
        ),
        "locally_connected1d_sparse": layers.LocallyConnected1D(
            3, 4, padding="same", implementation=3
        ),
        "backwards_twice": layers.Bidirectional(
            layers.LSTM(3, go_backwards=True, return_sequences=True), "mul"
        ),
        "wrapped_twice": layers.TimeDistributed(layers.SpectralNormalization(layers.Dense(3))),
        "stateful_cells": layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3)] * 1), unroll=True),
        "discretization": layers.Discretization([-1.0, 0.0, 0.5]),
    }


def operations(tf: Any) -> dict[str, Any]:
    """Operations of TensorFlow on images, as functions of one tensor."""
    weights = np.random.default_rng(3).normal(size=(3, 3, 3, 4)).astype("float32")
    shape = tf.shape
    return {
        "arithmetic": lambda x: (2.0 - x * 3.0 + x / 2.0) ** 2 - (-x) / (1.0 + abs(x)),
        "floor": lambda x: tf.math.floormod(x, 0.7) + x // 0.5,
        "powers": lambda x: tf.sqrt(tf.abs(x)) + tf.square(x) + tf.math.rsqrt(x * x + 1.0) + x**3,
        "exponentials": lambda x: tf.exp(-x) + tf.math.log1p(x * x) + tf.math.expm1(x),
        "trigonometry": lambda x: tf.sin(x) + tf.cos(x) * tf.tanh(x) + tf.atan(x),
        "signs": lambda x: tf.sign(x) + tf.floor(x) + tf.math.ceil(x) + tf.round(x),
        "nn": lambda x: tf.nn.relu(x) + tf.nn.relu6(x) + tf.nn.elu(x) + tf.nn.selu(x),
        "nn2": lambda x: (
            tf.nn.leaky_relu(x, 0.3) + tf.nn.silu(x) + tf.nn.gelu(x) + tf.nn.softsign(x)
        ),
        "nn3": lambda x: tf.nn.gelu(x, approximate=True) + tf.nn.softplus(x) + tf.nn.sigmoid(x),
        "softmax": lambda x: tf.nn.softmax(x, axis=1) + tf.nn.log_softmax(x),
        "erf": lambda x: tf.math.erf(x) + tf.math.sigmoid(x) + tf.math.softplus(x),
        "clip": lambda x: tf.clip_by_value(x, -0.5, 0.5) + tf.maximum(x, 0.1) + tf.minimum(x, 0.2),
        "compare": lambda x: tf.where(x > 0.2, x, -x) + tf.cast(x <= 0.1, "float32"),
        "logic": lambda x: tf.cast(tf.logical_and(x > 0, x < 1) | ~(x >= 0.1), tf.float32),
        "logic2": lambda x: (
            tf.cast(
                tf.math.logical_xor(tf.greater_equal(x, 0.3), tf.not_equal(x, 2 * x)), "float32"
            )
            + tf.cast(tf.equal(x, x), "float32")
        ),
        "finite": lambda x: (
            tf.cast(tf.math.is_nan(x), "float32")
            + 2 * tf.cast(tf.math.is_finite(x), "float32")
            + 4 * tf.cast(tf.math.is_inf(x / tf.nn.relu(x)), "float32")
            + x
        ),
        "logarithms": lambda x: (
            tf.math.log(x * x + 0.1) + tf.math.log_sigmoid(x) + tf.math.reciprocal(x * x + 1.0)
        ),
        "hyperbolic": lambda x: (
            tf.sinh(x) + tf.cosh(x) + tf.asinh(x) + tf.acosh(1.0 + x * x) + tf.atanh(tf.tanh(x) / 2)
        ),
        "arcs": lambda x: (
            tf.asin(tf.tanh(x)) + tf.acos(tf.tanh(x)) + tf.tan(x / 9) + tf.math.atan2(x, x * x + 1)
        ),
        "rounding": lambda x: tf.math.rint(3 * x) + tf.math.erfinv(tf.tanh(x) / 2),
        "all_any": lambda x: (
            tf.cast(tf.reduce_any(x > 1, axis=-1), "float32")
            + 2 * tf.cast(tf.reduce_all(x > -1, -1), "float32")
            + tf.cast(tf.math.count_nonzero(tf.nn.relu(x), axis=-1), "float32")
        ),
        "euclidean": lambda x: tf.math.reduce_euclidean_norm(x, axis=[1, 2]),
        "argmin": lambda x: (
            tf.cast(tf.argmin(x, axis=2), "float32") + tf.math.cumprod(x, 1)[:, :, 0]
        ),
        "scan_exclusive": lambda x: tf.cumsum(x, axis=1, exclusive=True),
        "no_nan": lambda x: tf.math.multiply_no_nan(1 / tf.nn.relu(x), tf.nn.relu(x)) + x,
        "accumulate": lambda x: tf.math.accumulate_n([x, x * x]) + tf.math.scalar_mul(0.3, x),
        "crelu": lambda x: tf.nn.crelu(x),
        "atrous": lambda x: tf.nn.atrous_conv2d(x, weights, 2, "SAME"),
        "conv1d": lambda x: tf.nn.conv1d(x[:, 2], weights[0], 2, "SAME"),
        "conv3d": lambda x: tf.nn.conv3d(
            x[:, tf.newaxis], weights[np.newaxis], [1, 1, 1, 2, 1], "VALID"
        ),
        "matrix_transpose": lambda x: tf.linalg.matrix_transpose(x) + tf.zeros([2, 8, 3, 10]),
        "checked": lambda x: tf.debugging.check_numerics(tf.ensure_shape(x, x.shape), "it is bad"),
        "brightness": lambda x: tf.image.adjust_brightness(x, 0.3),
        "operators": lambda x: -x + abs(x) - 1 + 2 * x - x % 0.7 + x // 0.3 + (1 - x) / (2 + x**2),
        "reversed_operators": lambda x: (
            2.0**x + 1 // (x * x + 0.3) + 3 % (x * x + 0.3) + 1 / (x * x + 1)
        ),
        "mean": lambda x: x - tf.reduce_mean(x, axis=[1, 2], keepdims=True),
        "reductions": lambda x: tf.reduce_max(x, 1) + tf.reduce_min(x, 1) + tf.reduce_sum(x, 1),
        "deviation": lambda x: tf.math.reduce_std(x, -1) + tf.math.reduce_variance(x, axis=-1),
        "logsumexp": lambda x: tf.reduce_logsumexp(x, axis=-1) + tf.reduce_prod(x, axis=-1),
        "normalize": lambda x: tf.nn.l2_normalize(x, axis=-1) + tf.math.l2_normalize(x, 1),
        "norm": lambda x: tf.norm(x, axis=-1) + tf.norm(x, ord=1, axis=-1),
        "moments": lambda x: tf.nn.moments(x, [1, 2])[1],
        "cumsum": lambda x: tf.cumsum(x, axis=1) + tf.cumsum(x, axis=2, reverse=True),
        "argmax": lambda x: tf.cast(tf.argmax(x, axis=-1), "float32"),
        "concat": lambda x: tf.concat([x, 2 * x, x], axis=-1),
        "concat_constant": lambda x: tf.concat([x[:1], np.ones((1, *IMAGE), "float32")], 0),
        "stack": lambda x: tf.stack([x, -x], axis=2),
        "unstack": lambda x: tf.unstack(x, axis=3)[1] - tf.unstack(x, axis=-1)[0],
        "split": lambda x: tf.split(x, 2, axis=2)[0] * tf.split(x, [2, 8], axis=2)[1][:, :, :5],
        "reshape": lambda x: tf.reshape(x, [-1, 80, 3]),
        "reshape_of_shape": lambda x: tf.reshape(x, [shape(x)[0], shape(x)[1] * shape(x)[2], 3]),
        "reshape_rest": lambda x: tf.reshape(x, (shape(x)[0], -1, 6)),
        "reshape_concat": lambda x: tf.reshape(x, tf.concat([shape(x)[:1], [240]], 0)),
        "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
        "dims": lambda x: tf.squeeze(tf.expand_dims(x, 2), axis=2) + tf.expand_dims(x, -1)[..., 0],
        "tile": lambda x: tf.tile(x, [1, 2, 1, 3]),
        "repeat": lambda x: tf.repeat(x, 2, axis=1),
        "pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]]),
        "pad_reflect": lambda x: tf.pad(x, [[0, 0], [2, 2], [1, 1], [0, 0]], "REFLECT"),
        "pad_symmetric": lambda x: tf.pad(x, [[0, 0], [2, 2], [1, 1], [0, 0]], mode="SYMMETRIC"),
        "slices": lambda x: x[:, 1:-1, ::2, 1] - x[:, :-2, 1::2, -1],
        "new_axis": lambda x: x[..., tf.newaxis, :2],
        "slice": lambda x: tf.slice(x, [0, 1, 2, 0], [-1, 3, 4, -1]),
        "strided": lambda x: tf.strided_slice(x, [0, 1, 0, 0], [2, 7, 10, 3], [1, 2, 3, 1]),
        "gather": lambda x: tf.gather(x, [2, 0], axis=-1),
        "reverse": lambda x: tf.reverse(x, axis=[1, 3]) + tf.roll(x, 2, 1),
        "matmul": lambda x: tf.matmul(x, x, transpose_b=True),
        "matmul_constant": lambda x: x @ weights[0, 0],
        "tensordot": lambda x: tf.tensordot(x, weights[0, 0], axes=[[3], [0]]),
        "conv": lambda x: tf.nn.conv2d(x, weights, 2, "SAME") + 1.0,
        "convolution": lambda x: tf.nn.bias_add(
            tf.nn.convolution(x, weights), np.arange(4.0, dtype="float32")
        ),
        "depthwise": lambda x: tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME"),
        "pools": lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME") - tf.nn.avg_pool2d(x, 2, 2, "SAME"),
        "resize": lambda x: tf.image.resize(x, (5, 13)),
        "resize_nearest": lambda x: tf.image.resize(x, [16, 20], method="nearest"),
        "resize_bicubic": lambda x: tf.image.resize(x, [16, 20], tf.image.ResizeMethod.BICUBIC),
        "resize_to": lambda x: tf.image.resize(x[:, ::2, ::2], shape(x)[1:3]),
        "resize_old": lambda x: tf.compat.v1.image.resize_bilinear(x, [16, 15]),
        "resize_old_nearest": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [12, 15]),
        "depth": lambda x: tf.nn.space_to_depth(x, 2) + tf.nn.space_to_depth(-x, block_size=2),
        "space": lambda x: tf.nn.depth_to_space(tf.tile(x, [1, 1, 1, 4]), 2),
        "flip": lambda x: tf.image.flip_left_right(x) - tf.image.flip_up_down(x),
        "gray": lambda x: tf.image.rgb_to_grayscale(x),
        "standardize": lambda x: tf.image.per_image_standardization(x),
        "crop": lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 4, 5),
        "central": lambda x: tf.image.central_crop(x, 0.5),
        "patches": lambda x: tf.image.extract_patches(
            x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"
        ),
        "response": lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 0.5, 0.75),
        "batch_norm": lambda x: tf.nn.batch_normalization(x, 0.1, 2.0, 0.3, 1.5, 1e-3),
        "like": lambda x: x + tf.ones_like(x) + tf.zeros_like(x),
        "one_hot": lambda x: tf.one_hot(tf.argmax(x, -1), 3) * x,
        "identity": lambda x: tf.identity(tf.stop_gradient(x)),
        "add_n": lambda x: tf.add_n([x, x * x, -x]),
        "difference": lambda x: tf.math.squared_difference(x, 0.3) + tf.math.divide_no_nan(x, x),
        "constant_first": lambda x: tf.subtract(1.0, x) + tf.math.divide(1.0, 2.0 + x * x),
        "broadcast": lambda x: tf.broadcast_to(x[:, :1], tf.shape(x)) - x,
    }


def graphs(k: Any, tf: Any) -> dict[str, Any]:
    """Whole models: nested, shared, with several inputs and outputs."""
    layers = k.layers

    def image(name: str | None = None) -> Any:
        return k.Input(IMAGE, name=name)

    def encoder(name: str) -> Any:
        x = image()
        y = layers.BatchNormalization(name=f"{name}_bn")(layers.Conv2D(3, 3, padding="same")(x))
        return k.Model(x, layers.ReLU()(y), name=name)

    def siamese() -> Any:
        a, b, shared = image("a"), image("b"), encoder("shared")
        first, second = shared(a), shared(b)
        return k.Model([a, b], layers.Concatenate()([second, first, shared(first)]))

    def inner_sequential() -> Any:
        block = k.Sequential([layers.Conv2D(3, 3, padding="same"), layers.ReLU()], name="block")
        with_input = k.Sequential([layers.InputLayer(IMAGE), layers.Conv2D(3, 1)], name="given")
        x = image()
        return k.Model(x, with_input(block(block(x))) + x)

    def deep() -> Any:
        x = image()
        middle = k.Model(x, encoder("inner")(layers.Conv2D(3, 1)(x)), name="middle")
        y = image()
        return k.Model(y, middle(middle(y)))

    def several_outputs() -> Any:
        x = image()
        two = k.Model(x, [layers.Conv2D(2, 1)(x), layers.Conv2D(2, 3, padding="same")(x)])
        y = image("y")
        first, second = two(y)
        return k.Model(y, {"sum": layers.Add()([first, second]), "product": first * second})

    def states() -> Any:
        x, y = k.Input((6, 4)), k.Input((5, 4))
        _, h, c = layers.LSTM(3, return_state=True)(x)
        return k.Model([x, y], layers.LSTM(3, return_sequences=True)(y, initial_state=[h, c]))

    def attention() -> Any:
        x, y = k.Input((6, 4)), k.Input((5, 4))
        mixed = layers.MultiHeadAttention(2, 3)(x, y)
        own = layers.MultiHeadAttention(2, 3)(mixed, mixed, use_causal_mask=True)
        summed = layers.Attention(use_scale=True)([own, y])
        return k.Model([x, y], layers.AdditiveAttention()([summed, y, y]))

    def merges() -> Any:
        a, b = image("a"), image("b")
        parts = [
            layers.Add()([a, b]), layers.Subtract()([a, b]), layers.Multiply()([a, b]),
            layers.Average()([a, b]), layers.Maximum()([a, b]), layers.Minimum()([a, b]),
        ]  # fmt: skip
        joined = layers.Concatenate(axis=-1)(parts)
        flat = [layers.Flatten()(part) for part in (a, b)]
        return k.Model([a, b], [joined, layers.Dot(axes=1, normalize=True)(flat)])

    def embedding() -> Any:
        x = k.Input((6,), dtype="int32")
        return k.Model(x, layers.LSTM(3)(layers.Embedding(10, 4, mask_zero=True)(x)))

    def masked_states() -> Any:
        """Inputs hold zeros, which are no words, in the middle too."""
        words, other = k.Input((8,), dtype="int32"), k.Input((8,), dtype="int32")
        table = layers.Embedding(10, 4, mask_zero=True)
        _, h, c = layers.LSTM(3, return_state=True)(table(words))
        y = layers.LSTM(3, return_sequences=True)(table(other), initial_state=[h, c])
        y = layers.GRU(3, return_sequences=True)(y, initial_state=h)
        z = layers.Bidirectional(layers.SimpleRNN(3))(y, initial_state=[h, c])
        return k.Model([words, other], z)

    def slashes() -> Any:
        x = image()
        y = layers.Conv2D(3, 1, name="block/conv")(x)
        return k.Model(x, layers.Conv2D(3, 1, name="block_conv")(y))

    def names() -> Any:
        x = image()
        y = layers.Conv2D(3, 1, name="add")(x)
        return k.Model(x, layers.Conv2D(3, 1, name="multiply")((y + x) * 2.0 + x * x))

    def volume() -> Any:
        x = k.Input((4, 6, 6, 2))
        y = layers.Conv3D(3, 2, padding="same")(x)
        y = layers.MaxPooling3D((1, 2, 2))(layers.UpSampling3D((1, 2, 2))(y))
        z = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)(y)
        return k.Model(x, [layers.Conv3DTranspose(2, 2, 2)(z), layers.TimeDistributed(head())(y)])

    def head() -> Any:
        x = k.Input((6, 6, 3))
        return k.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)), name="head")

    def chain() -> Any:
        return k.Sequential(
            [
                layers.Conv2D(4, 3, input_shape=IMAGE), layers.MaxPooling2D(), encoder_of(4),
                layers.Dropout(0.5), layers.Flatten(), layers.Dense(3, activation="softmax"),
            ]
        )  # fmt: skip

    def encoder_of(channels: int) -> Any:
        return k.Sequential(
            [layers.Conv2D(channels, 1, input_shape=(3, 4, 4)), layers.LeakyReLU()], name="inner"
        )

    def built_later() -> Any:
        model = k.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
        model.build((None, *IMAGE))
        return model

    def batch() -> Any:
        x = k.Input(batch_shape=(2, *IMAGE))
        return k.Model(x, layers.Conv2D(2, 3)(x))

    def masks() -> Any:
        x = k.Input((6, 4))
        y = layers.Masking()(x)
        return k.Model(x, layers.Bidirectional(layers.GRU(3))(y))

    def dictionary() -> Any:
        inputs = {"left": image("left"), "above": image("above")}
        return k.Model(
            inputs, layers.Conv2D(2, 3)(inputs["above"]) - inputs["left"][:, 1:-1, 1:-1, :2]
        )

    def many_levels() -> Any:
        model = encoder("level_0")
        for level in range(1, 4):
            x = image()
            model = k.Model(x, model(layers.Conv2D(3, 1)(model(x))), name=f"level_{level}")
        return model

    def chain_of_chains() -> Any:
        inner = k.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()], name="inner")
        middle = k.Sequential([inner, layers.ReLU(), k.Sequential([layers.Conv2D(2, 1)])])
        outer = k.Sequential([k.Input(IMAGE), middle, layers.GlobalMaxPooling2D()])
        return outer

    def model_first() -> Any:
        return k.Sequential([encoder("first"), layers.Flatten(), layers.Dense(3)])

    def parts_of_outputs() -> Any:
        x = image()
        a, b = tf.split(layers.Conv2D(4, 3)(x), 2, axis=-1)
        c, d, e = tf.unstack(layers.Conv2D(3, 1)(x), axis=-1)
        return k.Model(x, [a * b, c - d, e])

    def only_inputs() -> Any:
        x, y = image("x"), image("y")
        return k.Model([x, y], [y, x + y, x])

    def frozen() -> Any:
        x = image()
        inner = encoder("ice")
        inner.trainable = False
        y = inner(x)
        z = layers.BatchNormalization(trainable=False)(y)
        return k.Model(x, layers.BatchNormalization()(layers.Conv2D(2, 1)(z)))

    def typed() -> Any:
        x = k.Input((8, 10), dtype="uint8")
        y = layers.CategoryEncoding(4, output_mode="one_hot")(tf.cast(x[:, 0, :1], "int32") % 4)
        return k.Model(x, [tf.cast(x, "float32") / 255.0, y])

    def lookup() -> Any:
        x = k.Input((6,), dtype="int64")
        y = layers.IntegerLookup(vocabulary=[3, 5, 7])(x)
        return k.Model(x, layers.Embedding(5, 2)(y))

    def constants() -> Any:
        x = k.Input((6, 4))
        fixed = np.arange(24.0, dtype="float32").reshape(1, 6, 4)
        y = layers.Add()([x, tf.constant(fixed)]) * fixed
        return k.Model(x, layers.Concatenate(axis=1)([y, x]) + np.float32(0.5))

    def repeated_vector() -> Any:
        x = k.Input((5,))
        return k.Model(x, layers.GRU(3)(layers.RepeatVector(4)(layers.Dense(3)(x))))

    def reused() -> Any:
        x, conv = image(), layers.Conv2D(3, 3, padding="same")
        return k.Model(x, [conv(conv(x)), conv(x)])

    return {
        function.__name__: function()
        for function in (
            siamese, inner_sequential, deep, several_outputs, states, attention, merges,
            embedding, masked_states, slashes, names, volume, chain, built_later, batch, masks,
            reused,
            dictionary, many_levels, chain_of_chains, model_first, parts_of_outputs, only_inputs,
            frozen, typed, lookup, constants, repeated_vector,
        )
    }  # fmt: skip


def models() -> dict[str, Any]:
    """Every case, by name."""
    import tensorflow as tf
    import tf_keras as k

    cases = {}
    for name, layer in layers_of_images(k).items():
        x = k.Input(IMAGE)
        cases[f"layer-{name}"] = k.Model(x, layer(x))
    for name, layer in layers_of_sequences(k).items():
        x = k.Input((9, 4))
        cases[f"sequence-{name}"] = k.Model(x, layer(x))
    for name, layer in layers_of_volumes(k).items():
        x = k.Input((3, 6, 7, 2))
        cases[f"volume-{name}"] = k.Model(x, layer(x))
    for name, function in operations(tf).items():
        x = k.Input(IMAGE)
        cases[f"operation-{name}"] = k.Model(x, function(x))
    return cases | {f"graph-{name}": model for name, model in graphs(k, tf).items()}


def weights_of(model: Any, path: str = "") -> dict[str, list[np.ndarray]]:
    """Weights by the path of the layer; a wrapper has those of what it wraps."""
    found = {}
    for layer in model.layers:
        if hasattr(layer, "layers") and not hasattr(layer, "layer"):
            found |= weights_of(layer, f"{path}{layer.name}|")
        elif layer.weights:
            found[f"{path}{layer.name}"] = layer.get_weights()
    return found


def main(folder: Path) -> None:
    """Writes all cases into a folder."""
    random = np.random.default_rng(0)
    import tensorflow as tf

    for name, model in models().items():
        draw_weights(model, random)
        inputs = drawn_inputs(model, random)
        outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        arrays = {f"input:{i}": array for i, array in enumerate(inputs)}
        arrays |= {f"output:{i}": array for i, array in enumerate(tf.nest.flatten(outputs))}
        for path, weights in weights_of(model).items():
            arrays |= {f"weight:{path}:{i}": array for i, array in enumerate(weights)}
        np.savez(folder / f"{name}.npz", **arrays)
        legacy = {}
        try:
            model.use_legacy_config = True
            legacy = json.loads(model.to_json())
        except (TypeError, NotImplementedError):
            pass
        model.use_legacy_config = False
        (folder / f"{name}.json").write_text(
            json.dumps([json.loads(model.to_json()), legacy]), encoding="utf-8"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
