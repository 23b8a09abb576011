"""Dilated convolutions that TensorFlow computes phase by phase, as one convolution.

`tf.nn.atrous_conv2d` and similar functions make a sample of each place within a block, convolve
these without padding, and put the places together again. That is a convolution whose taps are as
far from each other as blocks are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_erf.tensorflow_operations.raw_nodes import perform_operation
from keras_erf.tensorflow_operations.sizes import sizes

__all__ = ["in_one_piece"]

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


def in_one_piece(operation: Any, value_of: Callable[[Any], Any]) -> Any:
    """What a `BatchToSpaceND` makes, as a dilated convolution.

    Args:
        operation: The operation.
        value_of: Gives what takes the place of a tensor of its graph.

    Returns:
        Its output; `None` where it does not end such a convolution.
    """
    inner, block, crops = operation.inputs
    convolution = inner.op
    if convolution.type not in CONVOLUTIONS or convolution.inputs[0].op.type != "SpaceToBatchND":
        return None
    outer, own, pads = convolution.inputs[0].op.inputs
    rates = sizes(value_of(block))
    strides = convolution.get_attr("strides")
    plain = convolution.get_attr("padding") == b"VALID" and set(strides) == {1}
    if rates != sizes(value_of(own)) or not plain or len(rates) != 2:
        return None
    x, kernel = value_of(outer), value_of(convolution.inputs[1])
    padded = ops.pad(x, ((0, 0), *map(sizes, value_of(pads)), (0, 0)))
    made = perform_operation(
        convolution.type,
        [padded, kernel],
        {"strides": strides, "padding": "VALID", "dilations": [1, *rates, 1]},
    )
    ends = zip(map(sizes, value_of(crops)), made.shape[1:3], strict=True)
    return made[(slice(None), *(slice(low, size - high) for (low, high), size in ends))]
