"""From a layer's arrays as an old file orders them to those of Keras 3.

Sources: `preprocess_weights_for_loading` of Keras 2 and the layers of Keras 1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["array_count", "modern_arrays"]

Arrays = list[np.ndarray]
Config = dict[str, Any]

# Gates of recurrent layers as Keras 1 lists their arrays, three each, by the order that Keras 3
# concatenates them in.
GATES = {"LSTM": (0, 6, 3, 9), "ConvLSTM2D": (0, 6, 3, 9), "GRU": (0, 3, 6)}
# What batch renormalisation keeps for training alone (Ioffe 2017), after the other arrays.
RENORM = 3
# Of other names, as old files call them.
SAME = {
    "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "AtrousConvolution1D": "Convolution1D", "AtrousConv1D": "Convolution1D",
    "AtrousConvolution2D": "Convolution2D", "AtrousConv2D": "Convolution2D",
    "SeparableConvolution2D": "SeparableConv2D",
}  # fmt: skip


def array_count(class_name: str, config: Config, modern: int) -> int:
    """The number of arrays of a layer in an old file, where Keras 3 has `modern`."""
    if config.get("renorm"):
        return modern + RENORM
    if class_name in GATES and _keras1(config) and config.get("consume_less") != "gpu":
        return 3 * len(GATES[class_name])
    if class_name == "Bidirectional":
        return 2 * array_count(*_inner(config), modern // 2)
    if class_name == "TimeDistributed":
        return array_count(*_inner(config), modern)
    return modern


def modern_arrays(
    class_name: str, config: Config, arrays: Sequence[np.ndarray], backend: str
) -> Arrays:
    """The arrays of a layer in Keras 3's order and shape.

    Args:
        class_name: The layer's class in the file.
        config: Its configuration in the file.
        arrays: Its arrays in the file's order.
        backend: The backend the file states; Theano turned kernels around.
    """
    name = SAME.get(class_name, class_name)
    result = list(arrays)
    if not result:
        return result
    if name == "Bidirectional":
        half = len(result) // 2
        inner = _inner(config)
        return [
            *modern_arrays(*inner, result[:half], backend),
            *modern_arrays(*inner, result[half:], backend),
        ]
    if name == "TimeDistributed":
        return modern_arrays(*_inner(config), result, backend)
    if name in KERAS1 and _keras1(config):
        result = KERAS1[name](result, config)
    elif name in KERAS2:
        result = KERAS2[name](result, config)
    if backend == "theano" and name in TURNED:
        for index in range(TURNED[name]):
            result[index] = _turned(result[index])
    return result


def _inner(config: Config) -> tuple[str, Config]:
    layer = config.get("layer")
    if not isinstance(layer, dict):
        return "", {}
    inner = layer.get("config")
    return str(layer.get("class_name")), inner if isinstance(inner, dict) else {}


def _keras1(config: Config) -> bool:
    """Whether a layer's arguments are named as in Keras 1."""
    return any(key in config for key in ("nb_filter", "output_dim", "border_mode", "dim_ordering"))


def _first_axes(config: Config) -> bool:
    return config.get("dim_ordering") == "th"


def _kernel_last(kernel: np.ndarray) -> np.ndarray:
    """From (out, in, *window) to (*window, in, out)."""
    return np.transpose(kernel, (*range(2, kernel.ndim), 1, 0))


# --- Keras 1 -------------------------------------------------------------------------------------


def _convolution1d(arrays: Arrays, config: Config) -> Arrays:
    kernel = arrays[0]
    length = config.get("filter_length")
    if kernel.ndim == 4:
        # Before 1.1: (filters, channels, length, 1); then (length, 1, channels, filters).
        if kernel.shape[:2] != (length, 1) or kernel.shape[3] != config.get("nb_filter"):
            kernel = np.transpose(kernel, (2, 3, 1, 0))
        kernel = kernel[:, 0]
    return [kernel, *arrays[1:]]


def _convolution(arrays: Arrays, config: Config) -> Arrays:
    return [_kernel_last(arrays[0]), *arrays[1:]] if _first_axes(config) else arrays


def _deconvolution(arrays: Arrays, config: Config) -> Arrays:
    if _first_axes(config):
        # (filters, channels, *window) to (*window, filters, channels).
        kernel = np.transpose(arrays[0], (*range(2, arrays[0].ndim), 0, 1))
    else:
        kernel = np.swapaxes(arrays[0], -1, -2)
    return [kernel, *arrays[1:]]


def _separable(arrays: Arrays, config: Config) -> Arrays:
    if not _first_axes(config):
        return arrays
    return [_kernel_last(arrays[0]), _kernel_last(arrays[1]), *arrays[2:]]


def _gates(name: str) -> Callable[[Arrays, Config], Arrays]:
    def convert(arrays: Arrays, config: Config) -> Arrays:
        if len(arrays) != 3 * len(GATES[name]):
            return arrays
        parts = [[arrays[place + kind] for place in GATES[name]] for kind in range(3)]
        if name == "ConvLSTM2D" and _first_axes(config):
            parts[:2] = [[_kernel_last(kernel) for kernel in kernels] for kernels in parts[:2]]
        return [np.concatenate(part, axis=-1) for part in parts]

    return convert


KERAS1: dict[str, Callable[[Arrays, Config], Arrays]] = {
    "Convolution1D": _convolution1d,
    "Convolution2D": _convolution,
    "Convolution3D": _convolution,
    "Deconvolution2D": _deconvolution,
    "SeparableConv2D": _separable,
    "LSTM": _gates("LSTM"),
    "GRU": _gates("GRU"),
    "ConvLSTM2D": _gates("ConvLSTM2D"),
}


# --- Keras 2 -------------------------------------------------------------------------------------


def _from_cudnn(gates: int) -> Callable[[Arrays, Config], Arrays]:
    """From cuDNN's layout, with two biases and kernels that are transposed gate by gate."""

    def convert(arrays: Arrays, config: Config) -> Arrays:
        kernel, recurrent, *bias = arrays
        kernel = np.hstack(
            [part.T.reshape(part.shape, order="F") for part in np.hsplit(kernel, gates)]
        )
        recurrent = np.hstack([part.T for part in np.hsplit(recurrent, gates)])
        if bias and gates == 4:
            bias = [np.sum(np.split(bias[0], 2), axis=0)]
        elif bias:
            bias = [bias[0].reshape(2, -1)]
        return [kernel, recurrent, *bias]

    return convert


def _with_count(arrays: Arrays, config: Config) -> Arrays:
    """Mean, variance and the number of samples seen, of which old files lack the last."""
    return [*arrays, np.zeros((), "int64")] if len(arrays) == 2 else arrays


def _without_renorm(arrays: Arrays, config: Config) -> Arrays:
    return arrays[:-RENORM] if config.get("renorm") else arrays


KERAS2: dict[str, Callable[[Arrays, Config], Arrays]] = {
    "BatchNormalization": _without_renorm,
    "CuDNNLSTM": _from_cudnn(4),
    "CuDNNGRU": _from_cudnn(3),
    "Normalization": _with_count,
}

# Layers whose first kernels Theano turns around, and how many kernels.
TURNED = {
    "Conv1D": 1, "Conv2D": 1, "Conv3D": 1, "Conv2DTranspose": 1, "ConvLSTM2D": 2,
    "Convolution1D": 1, "Convolution2D": 1, "Convolution3D": 1, "Deconvolution2D": 1,
}  # fmt: skip


def _turned(kernel: np.ndarray) -> np.ndarray:
    """The kernel with its window turned around."""
    return np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))
