"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, as_tensor, keras_data_format
from keras_erf.tensorflow_operations.sizes import sizes

__all__ = ["FUNCTIONS", "along_space"]


def along_space(value: Any, data_format: Any, rank: int = 2) -> Any:
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
    data_format: Any = None, dilations: Any = None, filter: Any = None, stride: Any = None,
    dilation_rate: Any = None, use_cudnn_on_gpu: Any = None,
) -> Any:  # fmt: skip
    rank = len(input.shape) - 2
    steps = strides if stride is None else stride
    rates = dilations if dilation_rate is None else dilation_rate
    kernel = as_tensor(filters if filter is None else filter, input)
    if isinstance(padding, list | tuple):
        widths = tuple(tuple(sizes(pair)) for pair in padding)
        input, padding = ops.pad(input, widths), "valid"
    options = {
        "strides": along_space(steps, data_format, rank),
        "padding": str(padding).lower(),
        "data_format": keras_data_format(data_format),
        "dilation_rate": along_space(rates, data_format, rank),
    }
    axis = 1 if options["data_format"] == "channels_first" else rank + 1
    groups = input.shape[axis] // kernel.shape[-2]
    if groups < 2:
        return ops.conv(input, kernel, **options)
    # Keras knows groups in its layers alone.
    parts = zip(ops.split(input, groups, axis), ops.split(kernel, groups, -1), strict=True)
    return ops.concatenate([ops.conv(*part, **options) for part in parts], axis=axis)


def _depthwise(
    input: Any, filter: Any, strides: Any = None, padding: Any = "VALID", rate: Any = None,
    data_format: Any = None, dilations: Any = None,
) -> Any:  # fmt: skip
    return ops.depthwise_conv(
        input, as_tensor(filter, input), strides=along_space(strides, data_format),
        padding=str(padding).lower(), data_format=keras_data_format(data_format),
        dilation_rate=along_space(dilations if rate is None else rate, data_format),
    )  # fmt: skip


def _pool(function: Function) -> Function:
    def apply(
        input: Any, ksize: Any, strides: Any = None, padding: Any = "VALID", data_format: Any = None
    ) -> Any:
        rank = len(input.shape) - 2
        return function(
            input, along_space(ksize, data_format, rank),
            strides=along_space(strides, data_format, rank), padding=str(padding).lower(),
            data_format=keras_data_format(data_format),
        )  # fmt: skip

    return apply


def _to_batch(input: Any, block_shape: Any, paddings: Any) -> Any:
    """`tf.space_to_batch_nd`: each place within a block becomes a sample, block by block.

    The samples of a place come one after the other, so that a size of the batch that is not known
    stays so.
    """
    blocks, rank = sizes(block_shape), len(input.shape)
    widths = [tuple(sizes(pair)) for pair in paddings]
    rest = rank - 1 - len(blocks)
    x = ops.pad(input, ((0, 0), *widths, *((0, 0),) * rest))
    lengths = x.shape[1 : 1 + len(blocks)]
    inner = [size for n, block in zip(lengths, blocks, strict=True) for size in (n // block, block)]
    x = ops.reshape(x, (-1, *inner, *x.shape[1 + len(blocks) :]))
    places = [2 + 2 * axis for axis in range(len(blocks))]
    others = [axis for axis in range(1, len(x.shape)) if axis not in places]
    x = ops.transpose(x, (*places, 0, *others))
    return ops.reshape(x, (-1, *(x.shape[axis] for axis in range(len(places) + 1, len(x.shape)))))


def _from_batch(input: Any, block_shape: Any, crops: Any) -> Any:
    """`tf.batch_to_space_nd`, which undoes `tf.space_to_batch_nd`."""
    blocks, ends = sizes(block_shape), [sizes(pair) for pair in crops]
    count = len(blocks)
    x = ops.reshape(input, (*blocks, -1, *input.shape[1:]))
    order = [count]
    for axis in range(count):
        order += [count + 1 + axis, axis]
    order += range(2 * count + 1, len(x.shape))
    x = ops.transpose(x, order)
    lengths = [n * block for n, block in zip(input.shape[1 : 1 + count], blocks, strict=True)]
    x = ops.reshape(x, (-1, *lengths, *input.shape[1 + count :]))
    parts = [slice(low, n - high) for (low, high), n in zip(ends, lengths, strict=True)]
    return x[(slice(None), *parts)]


FUNCTIONS: dict[str, Function] = {
    "nn.convolution": _convolution,
    "nn.conv1d": _convolution,
    "nn.conv2d": _convolution,
    "nn.conv3d": _convolution,
    "nn.depthwise_conv2d": _depthwise,
    "nn.atrous_conv2d": lambda value, filters, rate, padding: _convolution(
        value, filters, padding=padding, dilations=rate
    ),
    "space_to_batch_nd": _to_batch,
    "batch_to_space_nd": _from_batch,
    "nn.max_pool2d": _pool(ops.max_pool),
    "nn.avg_pool2d": _pool(ops.average_pool),
}
