"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

from keras_erf.tensorflow_operations.arguments import Function, as_tensor, keras_data_format
from keras_erf.tensorflow_operations.sizes import sizes
from keras_erf.tensorflow_operations.stand_ins import ConvTranspose
from keras_erf.tensorflow_operations.windows import along_space

__all__ = ["FUNCTIONS"]


def _transposed(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
    data_format: Any = None, dilations: Any = None,
) -> Any:  # fmt: skip
    if isinstance(padding, list | tuple):
        raise NotImplementedError("a transposed convolution with paddings in pixels")
    rank, kernel = len(input.shape) - 2, as_tensor(filters, input)
    wanted = along_space(output_shape, data_format, rank)
    steps, rates = (along_space(one, data_format, rank) for one in (strides, dilations))
    if -1 in sizes(wanted):
        raise NotImplementedError("a transposed convolution to a size that is not known")
    operation = ConvTranspose(
        _each(wanted, rank),
        _each(steps, rank),
        str(padding).lower(),
        keras_data_format(data_format),
        _each(rates, rank),
    )
    return operation(input, kernel)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    found = sizes(value)
    return found * rank if len(found) == 1 else found


FUNCTIONS: dict[str, Function] = {
    f"nn.{name}": _transposed
    for name in ("conv_transpose", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose")
}
