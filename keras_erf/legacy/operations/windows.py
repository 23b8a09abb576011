"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.legacy.operations.arguments import Function, as_tensor, keras_data_format
from keras_erf.legacy.operations.sizes import sizes

__all__ = ["FUNCTIONS"]


def _spatial(value: Any, data_format: Any, rank: int = 2) -> Any:
    """Strides and similar values with or without those of batch and channels."""
    if value is None:
        return 1
    values = sizes(value)
    if len(values) == rank + 2:
        first = keras_data_format(data_format) == "channels_first"
        values = values[2:] if first else values[1:-1]
    return values[0] if len(values) == 1 else values


def _convolution(
    input: Any, filters: Any = None, strides: Any = None, padding: Any = "VALID",
    data_format: Any = None, dilations: Any = None, filter: Any = None, **kwargs: Any,
) -> Any:  # fmt: skip
    rank = len(input.shape) - 2
    kernel = as_tensor(filters if filters is not None else filter, input)
    dilations = kwargs.get("dilation_rate", dilations)
    if isinstance(padding, list | tuple):
        widths = tuple(tuple(sizes(pair)) for pair in padding)
        input, padding = ops.pad(input, widths), "valid"
    return ops.conv(
        input,
        kernel,
        strides=_spatial(strides, data_format, rank),
        padding=str(padding).lower(),
        data_format=keras_data_format(data_format),
        dilation_rate=_spatial(dilations, data_format, rank),
    )


def _depthwise(
    input: Any, filter: Any, strides: Any = None, padding: Any = "VALID", rate: Any = None,
    data_format: Any = None, dilations: Any = None, **_: Any,
) -> Any:  # fmt: skip
    return ops.depthwise_conv(
        input, as_tensor(filter, input), strides=_spatial(strides, data_format),
        padding=str(padding).lower(), data_format=keras_data_format(data_format),
        dilation_rate=_spatial(rate if rate is not None else dilations, data_format),
    )  # fmt: skip


def _pool(function: Function) -> Function:
    def apply(
        value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = "VALID",
        data_format: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        tensor = kwargs.get("input", value)
        rank = len(tensor.shape) - 2
        return function(
            tensor, _spatial(ksize, data_format, rank),
            strides=_spatial(strides, data_format, rank), padding=str(padding).lower(),
            data_format=keras_data_format(data_format),
        )  # fmt: skip

    return apply


FUNCTIONS: dict[str, Function] = {
    "nn.convolution": _convolution,
    "nn.conv1d": _convolution,
    "nn.conv2d": _convolution,
    "nn.conv3d": _convolution,
    "nn.depthwise_conv2d": _depthwise,
    "nn.atrous_conv2d": lambda value, filters, rate, padding: _convolution(
        value, filters, padding=padding, dilations=rate
    ),
    "nn.max_pool2d": _pool(ops.max_pool),
    "nn.avg_pool2d": _pool(ops.average_pool),
}
