"""Files of Keras 0.3, 1 and 2.0, composed by hand, against predictions worked out in NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import keras_erf as erf
from tests import numpy_layers as by_hand
from tests.keras1_files import OldLayer, chain, graph, save, save_keras0, save_weights
from tests.numpy_layers import Array, first, last

# Of the range of the output, as for the files of tf_keras.
TOLERANCE = 1e-5
IMAGE, SERIES = (8, 9, 3), (7, 4)


class Draws:
    """Random arrays, the same in every run."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def __call__(self, *shape: int) -> Array:
        return self.random.normal(size=shape).astype("float32") * 0.5

    def positive(self, *shape: int) -> Array:
        return np.abs(self(*shape)) + 0.2


@dataclass(frozen=True)
class Case:
    """A chain of layers with what it computes."""

    layers: list[OldLayer]
    expected: Callable[[Array], Array]
    shape: tuple[int, ...] = IMAGE
    backend: str = "tensorflow"
    version: str = "1.2.2"


def check(model, inputs, expected) -> None:
    output = np.asarray(model(inputs, training=False))
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def convolution2d(filters: int, size: tuple[int, int], **config) -> dict:
    return {
        "nb_filter": filters, "nb_row": size[0], "nb_col": size[1], "init": "glorot_uniform",
        "activation": "linear", "border_mode": "valid", "subsample": [1, 1], "dim_ordering": "tf",
        "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
        "W_constraint": None, "b_constraint": None, "bias": True, "trainable": True, **config,
    }  # fmt: skip


def started(shape: tuple[int, ...], dtype: str = "float32") -> dict:
    return {"batch_input_shape": [None, *shape], "input_dtype": dtype}


def dense_config(units: int, activation: str = "linear", **config) -> dict:
    return {
        "output_dim": units, "init": "glorot_uniform", "activation": activation,
        "W_regularizer": {"l2": 0.001, "name": "WeightRegularizer", "l1": 0.0},
        "b_regularizer": None, "activity_regularizer": None, "W_constraint": {"m": 2, "name":
        "MaxNorm", "axis": 0}, "b_constraint": None, "bias": True, "input_dim": None, **config,
    }  # fmt: skip


def normalization(draw: Draws, channels: int, **config) -> tuple[dict, dict[str, Array]]:
    arrays = {
        "gamma": draw(channels), "beta": draw(channels), "running_mean": draw(channels),
        "running_std": draw.positive(channels),
    }  # fmt: skip
    settings = {
        "epsilon": 1e-3, "mode": 0, "axis": -1, "momentum": 0.99, "beta_init": "zero",
        "gamma_init": "one", "gamma_regularizer": None, "beta_regularizer": None, **config,
    }  # fmt: skip
    return settings, arrays


def classifier(draw: Draws) -> Case:
    """Convolution, batch normalisation, pooling, dropout, dense."""
    kernel, bias, w, b = draw(3, 2, 3, 4), draw(4), draw(4 * 4 * 4, 5), draw(5)
    settings, arrays = normalization(draw, 4)
    layers = [
        OldLayer(
            "Convolution2D", started(IMAGE) | convolution2d(
                4, (3, 2), activation="relu", border_mode="same", init="he_normal"),
            {"W:0": kernel, "b:0": bias},
        ),
        OldLayer("BatchNormalization", settings, {f"{k}:0": v for k, v in arrays.items()}),
        OldLayer("MaxPooling2D", {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid",
                                  "dim_ordering": "tf"}),
        OldLayer("Dropout", {"p": 0.5}),
        OldLayer("Flatten"),
        OldLayer("Dense", dense_config(5, "softmax"), {"W:0": w, "b:0": b}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = by_hand.relu(by_hand.convolution(x, kernel, bias, padding="same"))
        y = by_hand.batch_normalization(
            y, arrays["gamma"], arrays["beta"], arrays["running_mean"], arrays["running_std"], 1e-3
        )
        return by_hand.softmax(by_hand.dense(by_hand.flat(by_hand.pool(y, (2, 2))), w, b))

    return Case(layers, expected)


def strided(draw: Draws) -> Case:
    kernel, bias, second = draw(5, 5, 3, 4), draw(4), draw(3, 3, 4, 2)
    layers = [
        OldLayer(
            "Convolution2D", started(IMAGE)
            | convolution2d(4, (5, 5), border_mode="same", subsample=[2, 2], activation="tanh"),
            {"W:0": kernel, "b:0": bias},
        ),
        OldLayer("AtrousConvolution2D", convolution2d(2, (3, 3), atrous_rate=[1, 2], bias=False,
                                                      border_mode="same"), {"W:0": second}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = np.tanh(by_hand.convolution(x, kernel, bias, (2, 2), "same"))
        return by_hand.convolution(y, second, padding="same", dilation=(1, 2))

    return Case(layers, expected)


def theano(draw: Draws) -> Case:
    """Channels first, kernels (out, in, row, column) that Theano turns around."""
    kernel, bias, w, b = draw(4, 3, 3, 2), draw(4), draw(4 * 3 * 4, 2), draw(2)
    settings, arrays = normalization(draw, 4, axis=1)
    layers = [
        OldLayer(
            "Convolution2D", started((3, 8, 9)) | convolution2d(4, (3, 2), dim_ordering="th"),
            {"W": kernel, "b": bias},
        ),
        OldLayer("BatchNormalization", settings, arrays),
        OldLayer("Activation", {"activation": "relu"}),
        OldLayer("AveragePooling2D", {"pool_size": [2, 2], "strides": None, "border_mode": "valid",
                                      "dim_ordering": "th"}),
        OldLayer("Flatten"),
        OldLayer("Dense", dense_config(2), {"W": w, "b": b}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        turned = np.transpose(kernel[:, :, ::-1, ::-1], (2, 3, 1, 0))
        y = by_hand.batch_normalization(
            by_hand.convolution(last(x), turned, bias), arrays["gamma"], arrays["beta"],
            arrays["running_mean"], arrays["running_std"], 1e-3,
        )  # fmt: skip
        y = by_hand.pool(by_hand.relu(y), (2, 2), reduce=np.nanmean)
        return by_hand.dense(by_hand.flat(first(y)), w, b)

    return Case(layers, expected, (3, 8, 9), "theano")


def theano_layout(draw: Draws) -> Case:
    """Channels first with TensorFlow: kernels are laid out as Theano's, and not turned around."""
    kernel, bias = draw(4, 3, 3, 3), draw(4)
    layers = [
        OldLayer("ZeroPadding2D", started((3, 8, 9)) | {"padding": [1, 2], "dim_ordering": "th"}),
        OldLayer("Convolution2D", convolution2d(4, (3, 3), dim_ordering="th"),
                 {"W:0": kernel, "b:0": bias}),
        OldLayer("UpSampling2D", {"size": [2, 1], "dim_ordering": "th"}),
        OldLayer("Permute", {"dims": [2, 3, 1]}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = np.pad(last(x), ((0, 0), (1, 1), (2, 2), (0, 0)))
        y = by_hand.convolution(y, np.transpose(kernel, (2, 3, 1, 0)), bias)
        return np.repeat(y, 2, axis=1)

    return Case(layers, expected, (3, 8, 9))


def theano_last(draw: Draws) -> Case:
    """Channels last with Theano, whose kernels are turned around all the same."""
    kernel, bias = draw(3, 3, 3, 4), draw(4)
    layers = [
        OldLayer("Convolution2D", started(IMAGE) | convolution2d(4, (3, 3)),
                 {"W": kernel, "b": bias}),
    ]  # fmt: skip
    return Case(
        layers, lambda x: by_hand.convolution(x, kernel[::-1, ::-1], bias), backend="theano"
    )


def decoder(draw: Draws) -> Case:
    kernel, bias = draw(3, 3, 3, 4), draw(4)
    valid, other = draw(2, 3, 4, 2), draw(2)
    layers = [
        OldLayer(
            "Deconvolution2D", started(IMAGE) | convolution2d(
                4, (3, 3), border_mode="same", subsample=[2, 2], output_shape=[None, 16, 18, 4]),
            {"W:0": kernel, "b:0": bias},
        ),
        OldLayer(
            "Deconvolution2D", convolution2d(2, (2, 3), output_shape=[None, 17, 20, 2]),
            {"W:0": valid, "b:0": other}, name="deconvolution2d_2",
        ),
        OldLayer("Cropping2D", {"cropping": [[1, 2], [0, 3]], "dim_ordering": "tf"}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = by_hand.transposed(x, np.swapaxes(kernel, -1, -2), bias, (2, 2), (16, 18))
        y = by_hand.transposed(y, np.swapaxes(valid, -1, -2), other, (1, 1), (17, 20))
        return y[:, 1:-2, :-3]

    return Case(layers, expected)


def separable(draw: Draws) -> Case:
    depthwise, pointwise, bias = draw(3, 3, 3, 2), draw(1, 1, 6, 4), draw(4)
    layers = [
        OldLayer(
            "SeparableConvolution2D",
            started(IMAGE)
            | convolution2d(
                4, (3, 3), depth_multiplier=2, depthwise_regularizer=None,
                pointwise_regularizer=None, depthwise_constraint=None, pointwise_constraint=None,
            ),
            {"depthwise_kernel:0": depthwise, "pointwise_kernel:0": pointwise, "bias:0": bias},
        ),
        OldLayer("SpatialDropout2D", {"p": 0.3, "dim_ordering": "tf"}),
        OldLayer("GlobalAveragePooling2D", {"dim_ordering": "tf"}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        each = [
            by_hand.convolution(x[..., [channel]], depthwise[:, :, [channel]])
            for channel in range(3)
        ]
        y = by_hand.convolution(np.concatenate(each, -1), pointwise, bias)
        return y.mean((1, 2))

    return Case(layers, expected)


def series(draw: Draws) -> Case:
    """One-dimensional layers; kernels (length, 1, channels, filters), as since 1.1."""
    kernel, bias = draw(3, 1, 4, 5), draw(5)
    layers = [
        OldLayer("ZeroPadding1D", started(SERIES) | {"padding": 1}),
        OldLayer(
            "Convolution1D",
            {
                "nb_filter": 5, "filter_length": 3, "border_mode": "valid", "subsample_length": 2,
                "init": "uniform", "activation": "relu", "bias": True, "input_dim": None,
                "input_length": None, "W_regularizer": None, "b_regularizer": None,
                "activity_regularizer": None, "W_constraint": None, "b_constraint": None,
            },
            {"W:0": kernel, "b:0": bias},
        ),
        OldLayer("MaxPooling1D", {"pool_length": 2, "stride": 1, "border_mode": "valid"}),
        OldLayer("UpSampling1D", {"length": 2}),
        OldLayer("Cropping1D", {"cropping": [1, 0]}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = np.pad(x, ((0, 0), (1, 1), (0, 0)))
        y = by_hand.relu(by_hand.convolution(y, kernel[:, 0], bias, (2,)))
        return np.repeat(by_hand.pool(y, (2,), (1,)), 2, axis=1)[:, 1:]

    return Case(layers, expected, SERIES)


def recurrent_config(units: int, **config) -> dict:
    return {
        "output_dim": units, "init": "glorot_uniform", "inner_init": "orthogonal",
        "activation": "tanh", "return_sequences": True, "go_backwards": False, "stateful": False,
        "unroll": False, "consume_less": "cpu", "input_dim": 4, "input_length": None,
        "W_regularizer": None, "U_regularizer": None, "b_regularizer": None, "dropout_W": 0.1,
        "dropout_U": 0.0, **config,
    }  # fmt: skip


def gates_of(draw: Draws, names: str, inputs: int, units: int) -> dict:
    return {name: (draw(inputs, units), draw(units, units), draw(units)) for name in names}


def named_gates(gates: dict, names: str) -> dict[str, Array]:
    """Three arrays a gate, in the order that Keras 1 lists them."""
    return {
        f"{kind}_{name}:0": array
        for name in names
        for kind, array in zip("WUb", gates[name], strict=True)
    }


LSTM_GATES = {"forget_bias_init": "one", "inner_activation": "hard_sigmoid"}


def lstm(draw: Draws) -> Case:
    gates = gates_of(draw, "icfo", 4, 3)
    layers = [
        OldLayer("LSTM", started(SERIES) | recurrent_config(3, **LSTM_GATES),
                 named_gates(gates, "icfo"))
    ]  # fmt: skip
    return Case(layers, lambda x: by_hand.lstm(x, gates), SERIES)


def lstm_for_gpus(draw: Draws) -> Case:
    """With `consume_less="gpu"` the gates i, f, c and o are in one array of each kind."""
    gates = gates_of(draw, "icfo", 4, 3)
    w, u, b = (np.concatenate([gates[name][kind] for name in "ifco"], -1) for kind in range(3))
    config = recurrent_config(3, **LSTM_GATES | {"inner_activation": "sigmoid"})
    config |= {"consume_less": "gpu", "return_sequences": False}
    layers = [OldLayer("LSTM", started(SERIES) | config, {"W:0": w, "U:0": u, "b:0": b})]
    return Case(layers, lambda x: by_hand.lstm(x, gates, by_hand.sigmoid)[:, -1], SERIES)


def gru(draw: Draws) -> Case:
    gates = gates_of(draw, "zrh", 4, 3)
    w, b = draw(3, 2), draw(2)
    layers = [
        OldLayer("Masking", started(SERIES) | {"mask_value": 0.0}),
        OldLayer("GRU", recurrent_config(3, inner_activation="hard_sigmoid"),
                 named_gates(gates, "zrh")),
        OldLayer("TimeDistributed", {"layer": {
            "class_name": "Dense", "config": {"name": "dense_1", **dense_config(2)}},
            "trainable": True}, {"W:0": w, "b:0": b}),
    ]  # fmt: skip
    return Case(layers, lambda x: by_hand.dense(by_hand.gru(x, gates), w, b), SERIES)


def simple_rnn(draw: Draws) -> Case:
    w, u, b, each, other = draw(4, 3), draw(3, 3), draw(3), draw(3, 2), draw(2)
    layers = [
        OldLayer("SimpleRNN", started(SERIES) | recurrent_config(3),
                 {"W:0": w, "U:0": u, "b:0": b}),
        OldLayer("TimeDistributedDense", dense_config(2), {"W:0": each, "b:0": other}),
    ]  # fmt: skip
    return Case(layers, lambda x: by_hand.dense(by_hand.simple_rnn(x, w, u, b), each, other),
                SERIES)  # fmt: skip


def bidirectional(draw: Draws) -> Case:
    forth, back = gates_of(draw, "icfo", 4, 3), gates_of(draw, "icfo", 4, 3)
    arrays = {f"forward_{k}": v for k, v in named_gates(forth, "icfo").items()}
    arrays |= {f"backward_{k}": v for k, v in named_gates(back, "icfo").items()}
    inner = {"name": "lstm_1", **recurrent_config(3, **LSTM_GATES)}
    layers = [
        OldLayer("Bidirectional", started(SERIES) | {
            "layer": {"class_name": "LSTM", "config": inner}, "merge_mode": "concat"}, arrays),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        reverse = by_hand.lstm(x[:, ::-1], back)[:, ::-1]
        return np.concatenate([by_hand.lstm(x, forth), reverse], -1)

    return Case(layers, expected, SERIES)


def words(draw: Draws) -> Case:
    table, w, b = draw(9, 4), draw(4, 3), draw(3)
    layers = [
        OldLayer("Embedding", {
            "batch_input_shape": [None, 6], "input_dtype": "int32", "input_dim": 9, "output_dim": 4,
            "init": "uniform", "input_length": 6, "mask_zero": False, "dropout": 0.2,
            "W_regularizer": None, "activity_regularizer": None, "W_constraint": None},
            {"W:0": table}),
        OldLayer("GlobalMaxPooling1D"),
        OldLayer("Dense", dense_config(3), {"W:0": w, "b:0": b}),
        OldLayer("RepeatVector", {"n": 2}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = by_hand.dense(table[x.astype(int)].max(1), w, b)
        return np.repeat(y[:, None], 2, axis=1)

    return Case(layers, expected, (6,))


def activations(draw: Draws) -> Case:
    """Layers that are functions of single values."""
    alphas = draw(1, 1, 3)
    layers = [
        OldLayer("LeakyReLU", started(IMAGE) | {"alpha": 0.3}),
        OldLayer("GaussianNoise", {"sigma": 0.1}),
        OldLayer("ELU", {"alpha": 0.7}),
        OldLayer("PReLU", {"init": "zero", "shared_axes": [1, 2]}, {"alphas:0": alphas}),
        OldLayer("ThresholdedReLU", {"theta": 0.1}),
        OldLayer("Activation", {"activation": "hard_sigmoid"}),
        OldLayer("Activation", {"activation": "softplus"}, name="activation_2"),
        OldLayer("Reshape", {"target_shape": [72, 3]}),
    ]

    def expected(x: Array) -> Array:
        y = np.where(x > 0, x, 0.3 * x)
        y = np.where(y > 0, y, 0.7 * (np.exp(y) - 1))
        y = np.where(y > 0, y, alphas * y)
        y = np.where(y > 0.1, y, 0)
        return np.log1p(np.exp(by_hand.hard_sigmoid(y))).reshape(len(x), 72, 3)

    return Case(layers, expected)


def learned_activations(draw: Draws) -> Case:
    """`SReLU` (Jin et al. 2015, equation 2) and `ParametricSoftplus`, of every value."""
    left, low, right, high = draw(5), draw(5), draw(5), draw(5)
    alphas, betas = draw(5), draw(5)
    layers = [
        OldLayer("SReLU", {"batch_input_shape": [None, 5], "t_left_init": "zero",
                           "a_left_init": "glorot_uniform", "t_right_init": "glorot_uniform",
                           "a_right_init": "one", "shared_axes": None},
                 {"t_left:0": left, "a_left:0": low, "t_right:0": right, "a_right:0": high}),
        OldLayer("ParametricSoftplus", {"alpha_init": 0.2, "beta_init": 5.0, "shared_axes": None},
                 {"alphas:0": alphas, "betas:0": betas}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        end = left + np.abs(right)
        middle = left + np.minimum(by_hand.relu(x - left), end - left)
        y = middle - low * by_hand.relu(left - x) + high * by_hand.relu(x - end)
        return alphas * np.log1p(np.exp(betas * y))

    return Case(layers, expected, (5,))


def maxout(draw: Draws) -> Case:
    w, b = draw(3, 5, 4), draw(3, 4)
    gate, carry, bias, other = draw(4, 4), draw(4, 4), draw(4), draw(4)
    layers = [
        OldLayer("MaxoutDense", {
            "batch_input_shape": [None, 5], "output_dim": 4, "nb_feature": 3, "init": "uniform",
            "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
            "W_constraint": None, "b_constraint": None, "bias": True, "input_dim": 5},
            {"W:0": w, "b:0": b}),
        OldLayer("Highway", {
            "init": "glorot_uniform", "activation": "tanh", "W_regularizer": None,
            "b_regularizer": None, "activity_regularizer": None, "W_constraint": None,
            "b_constraint": None, "bias": True, "input_dim": None},
            {"W:0": gate, "W_carry:0": carry, "b:0": bias, "b_carry:0": other}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = np.max(np.einsum("bi,kio->bko", x, w) + b, axis=1)
        share = by_hand.sigmoid(by_hand.dense(y, carry, other))
        return share * np.tanh(by_hand.dense(y, gate, bias)) + (1 - share) * y

    return Case(layers, expected, (5,))


def volume(draw: Draws) -> Case:
    kernel, bias = draw(2, 3, 2, 2, 4), draw(4)
    layers = [
        OldLayer(
            "Convolution3D",
            started((4, 5, 6, 2)) | {
                "nb_filter": 4, "kernel_dim1": 2, "kernel_dim2": 3, "kernel_dim3": 2,
                "dim_ordering": "tf", "init": "uniform", "activation": "relu",
                "border_mode": "valid", "subsample": [1, 1, 2], "bias": True,
                "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
                "W_constraint": None, "b_constraint": None,
            },
            {"W:0": kernel, "b:0": bias},
        ),
        OldLayer("MaxPooling3D", {"pool_size": [1, 3, 1], "strides": [1, 3, 1],
                                  "border_mode": "valid", "dim_ordering": "tf"}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = by_hand.relu(by_hand.convolution(x, kernel, bias, (1, 1, 2)))
        return by_hand.pool(y, (1, 3, 1))

    return Case(layers, expected, (4, 5, 6, 2))


def keras2(draw: Draws) -> Case:
    """Keras 2.0: new names, lists, a list for a Sequential model, initialisers with arguments."""
    kernel, bias = draw(3, 3, 3, 4), draw(4)
    depthwise = draw(3, 3, 4, 1)
    moving = {"gamma": draw(4), "beta": draw(4), "moving_mean": draw(4),
              "moving_variance": draw.positive(4)}  # fmt: skip
    scaling = {"class_name": "VarianceScaling",
               "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform",
                          "seed": None}}  # fmt: skip
    layers = [
        OldLayer(
            "Conv2D",
            {
                "batch_input_shape": [None, *IMAGE], "dtype": "float32", "trainable": True,
                "filters": 4, "kernel_size": [3, 3], "strides": [1, 2], "padding": "same",
                "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "relu",
                "use_bias": True, "kernel_initializer": scaling, "bias_initializer":
                {"class_name": "Zeros", "config": {}}, "kernel_regularizer":
                {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}}, "bias_regularizer": None,
                "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
            },
            {"kernel:0": kernel, "bias:0": bias}, name="conv2d_1",
        ),
        OldLayer(
            "BatchNormalization",
            {
                "trainable": True, "axis": -1, "momentum": 0.99, "epsilon": 0.01, "center": True,
                "scale": True, "beta_initializer": {"class_name": "Zeros", "config": {}},
                "gamma_initializer": {"class_name": "Ones", "config": {}},
                "moving_mean_initializer": {"class_name": "Zeros", "config": {}},
                "moving_variance_initializer": {"class_name": "Ones", "config": {}},
                "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None,
                "gamma_constraint": None,
            },
            {f"{name}:0": array for name, array in moving.items()},
        ),
        OldLayer("DepthwiseConv2D", {
            "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "depth_multiplier": 1,
            "data_format": "channels_last", "activation": "linear", "use_bias": False,
            "depthwise_initializer": scaling, "depthwise_regularizer": None, "bias_initializer":
            {"class_name": "Zeros", "config": {}}, "dilation_rate": [1, 1],
            "activity_regularizer": None, "depthwise_constraint": None, "bias_constraint": None,
            "bias_regularizer": None}, {"depthwise_kernel:0": depthwise}),
        OldLayer("LeakyReLU", {"alpha": 0.10000000149011612, "trainable": True}),
        OldLayer("UpSampling2D", {"size": [2, 2], "data_format": "channels_last"}),
    ]  # fmt: skip

    def expected(x: Array) -> Array:
        y = by_hand.relu(by_hand.convolution(x, kernel, bias, (1, 2), "same"))
        y = by_hand.batch_normalization(
            y, moving["gamma"], moving["beta"], moving["moving_mean"], moving["moving_variance"],
            0.01,
        )  # fmt: skip
        each = [
            by_hand.convolution(y[..., [channel]], depthwise[:, :, [channel]])
            for channel in range(4)
        ]
        y = np.concatenate(each, -1)
        y = np.where(y > 0, y, 0.1 * y)
        return y.repeat(2, 1).repeat(2, 2)

    return Case(layers, expected, version="2.0.8")


CASES = {
    function.__name__: function
    for function in (
        classifier, strided, theano, theano_layout, theano_last, decoder, separable, series, lstm,
        lstm_for_gpus, gru, simple_rnn, bidirectional, words, activations, learned_activations,
        maxout, volume, keras2,
    )
}  # fmt: skip


def inputs_of(case: Case) -> Array:
    random = np.random.default_rng(1)
    if case.layers[0].class_name == "Embedding":
        return random.integers(0, 9, (2, *case.shape)).astype("float32")
    return random.normal(size=(2, *case.shape)).astype("float32")


@pytest.mark.parametrize("name", CASES)
def test_chains_predict_what_their_formulas_give(name, tmp_path):
    case = CASES[name](Draws())
    file = save(
        tmp_path / "old.h5", chain(case.layers), case.layers, version=case.version,
        backend=case.backend,
    )  # fmt: skip
    model, x = erf.load_model(file), inputs_of(case)
    check(model, x, case.expected(x.astype(float)))


@pytest.mark.parametrize("name", ["classifier", "theano", "lstm", "keras2"])
def test_architecture_and_weights_in_two_files(name, tmp_path):
    case = CASES[name](Draws())
    about = {"keras_version": case.version, "backend": case.backend}
    (tmp_path / "model.json").write_text(json.dumps(chain(case.layers) | about))
    weights = save_weights(
        tmp_path / "weights.h5", case.layers, version=case.version, backend=case.backend
    )
    model, x = erf.load_model(tmp_path / "model.json", weights=weights), inputs_of(case)
    check(model, x, case.expected(x.astype(float)))


@pytest.mark.parametrize("name", ["classifier", "theano", "lstm"])
def test_architectures_of_keras_0_have_numbered_weights(name, tmp_path):
    case = CASES[name](Draws())
    first_layer = case.layers[0]
    shape = first_layer.config["batch_input_shape"][1:]
    config = {k: v for k, v in first_layer.config.items() if k != "batch_input_shape"}
    layers = [
        OldLayer(first_layer.class_name, config | {"input_shape": shape}, first_layer.arrays),
        *case.layers[1:],
    ]
    architecture, weights = save_keras0(tmp_path, layers)
    # Keras 0 ran on Theano for most users, but its files do not say so.
    model, x = erf.load_model(architecture, weights=weights), inputs_of(case)
    if case.backend != "theano":
        check(model, x, case.expected(x.astype(float)))
    assert model.count_params() == sum(
        array.size for layer in layers for array in layer.arrays.values()
    )


def test_layers_of_keras_0_share_their_names(tmp_path):
    """Keras 0.3 named a layer after its class, so that two dense layers are both `dense`."""
    draw = Draws()
    w, b, other, c = draw(5, 4), draw(4), draw(4, 2), draw(2)
    layers = [
        OldLayer(
            "Dense", {"input_shape": [5]} | dense_config(4, "tanh"), {"W": w, "b": b}, "dense"
        ),
        OldLayer("Dense", dense_config(2), {"W": other, "b": c}, "dense"),
    ]
    architecture, weights = save_keras0(tmp_path, layers)
    x = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
    check(erf.load_model(architecture, weights=weights), x, np.tanh(x @ w + b) @ other + c)


# --- Graphs --------------------------------------------------------------------------------------


MODES: dict[str, Callable[[Array, Array], Array]] = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "max": np.maximum,
    "concat": lambda a, b: np.concatenate([a, b], -1),
    "dot": lambda a, b: (a * b).sum(-1, keepdims=True),
    "cos": lambda a, b: (
        (a * b).sum(-1, keepdims=True)
        / np.linalg.norm(a, axis=-1, keepdims=True)
        / np.linalg.norm(b, axis=-1, keepdims=True)
    ),
}


def merge_config(mode: str) -> dict:
    return {
        "mode": mode, "mode_type": "raw", "concat_axis": -1, "dot_axes": -1, "output_shape": None,
        "output_shape_type": "raw", "output_mask": None, "output_mask_type": "raw", "arguments": {},
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_merge_in_a_graph(mode, tmp_path):
    draw = Draws()
    w, b, other = draw(5, 4), draw(4), draw(5, 4)
    layers = [
        OldLayer("InputLayer", started((5,)), name="input_1"),
        OldLayer("InputLayer", started((5,)), name="input_2"),
        OldLayer("Dense", dense_config(4, "tanh"), {"W:0": w, "b:0": b}, "dense_1", [["input_1"]]),
        OldLayer("Dense", dense_config(4, bias=False), {"W:0": other}, "dense_2", [["input_2"]]),
        OldLayer("Merge", merge_config(mode), {}, "merge_1", [["dense_1", "dense_2"]]),
    ]  # fmt: skip
    config = graph(layers, ["input_1", "input_2"], ["merge_1"])
    model = erf.load_model(save(tmp_path / "old.h5", config, layers))
    one, two = np.random.default_rng(1).normal(size=(2, 3, 5)).astype("float32")
    check(model, [one, two], MODES[mode](np.tanh(one @ w + b), two @ other))


def test_chain_that_starts_with_a_merge(tmp_path):
    """Its branches' layers are saved in a row, and the merge is not."""
    draw = Draws()
    w, b, other, last_kernel = draw(5, 4), draw(4), draw(6, 4), draw(8, 2)
    left = [OldLayer("Dense", {"batch_input_shape": [None, 5]} | dense_config(4, "relu"),
                     {"W:0": w, "b:0": b}, "dense_1")]  # fmt: skip
    right = [OldLayer("Dense", {"batch_input_shape": [None, 6]} | dense_config(4, bias=False),
                      {"W:0": other}, "dense_2")]  # fmt: skip
    end = OldLayer("Dense", dense_config(2, bias=False), {"W:0": last_kernel}, "dense_3")
    merge = merge_config("concat") | {"name": "merge_1", "layers": [chain(left), chain(right)]}
    config = chain([end])
    config["config"].insert(0, {"class_name": "Merge", "config": merge})
    model = erf.load_model(save(tmp_path / "old.h5", config, [*left, *right, end]))
    random = np.random.default_rng(1)
    one, two = random.normal(size=(3, 5)).astype("f4"), random.normal(size=(3, 6)).astype("f4")
    joined = np.concatenate([by_hand.relu(one @ w + b), two @ other], -1)
    check(model, [one, two], joined @ last_kernel)


def test_shared_and_nested_models_in_a_graph(tmp_path):
    """A model that is called twice holds its weights once, in one list."""
    draw = Draws()
    kernel, bias = draw(3, 3, 3, 2), draw(2)
    settings, arrays = normalization(draw, 2)
    inner = [
        OldLayer("Convolution2D", started(IMAGE) | convolution2d(2, (3, 3)),
                 {"W:0": kernel, "b:0": bias}),
        OldLayer("BatchNormalization", settings, {f"{k}:0": v for k, v in arrays.items()}),
    ]  # fmt: skip
    # What is trained comes first.
    held = {"W:0": kernel, "b:0": bias, **{f"{k}:0": v for k, v in arrays.items()}}
    body = OldLayer("Sequential", {}, held, "sequential_1", [["input_1"], ["input_2"]])
    layers = [
        OldLayer("InputLayer", started(IMAGE), name="input_1"),
        OldLayer("InputLayer", started(IMAGE), name="input_2"),
        body,
        # A chain was called when it was built, so that its own calls count from 1.
        OldLayer("Merge", merge_config("sum"), {}, "merge_1",
                 [["sequential_1:1", "sequential_1:2"]]),
    ]  # fmt: skip
    config = graph(layers, ["input_1", "input_2"], ["merge_1"])
    config["config"]["layers"][2] |= {"config": chain(inner)["config"]}
    model = erf.load_model(save(tmp_path / "old.h5", config, layers))
    one, two = np.random.default_rng(1).normal(size=(2, 2, *IMAGE)).astype("float32")
    both = [
        by_hand.batch_normalization(
            by_hand.convolution(x, kernel, bias), arrays["gamma"], arrays["beta"],
            arrays["running_mean"], arrays["running_std"], 1e-3,
        )
        for x in (one, two)
    ]  # fmt: skip
    check(model, [one, two], both[0] + both[1])


def test_fields_of_a_file_of_keras_1(tmp_path):
    """5 x 5 with stride 2, then 3 x 3 in steps of 1 and 2: 5 + 2 * 2 and 5 + 2 * 4 pixels."""
    case = strided(Draws())
    file: Path = save(tmp_path / "old.h5", chain(case.layers), case.layers)
    field = erf.receptive_field(erf.load_model(file))
    assert tuple(field.size) == (5 + 2 * 2, 5 + 2 * 4)
    assert tuple(field.stride) == (2, 2)
