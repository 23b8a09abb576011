"""Matrix products and contractions."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.legacy.operations.arguments import Function, as_tensor
from keras_erf.legacy.operations.sizes import sizes

__all__ = ["FUNCTIONS"]


def _matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
    adjoint_b: bool = False, a_is_sparse: bool = False, b_is_sparse: bool = False,
) -> Any:  # fmt: skip
    a, b = as_tensor(a, b), as_tensor(b, a)
    if transpose_a or adjoint_a:
        a = ops.swapaxes(a, -1, -2)
    if transpose_b or adjoint_b:
        b = ops.swapaxes(b, -1, -2)
    return ops.matmul(a, b)


def _tensordot(a: Any, b: Any, axes: Any) -> Any:
    if isinstance(axes, list | tuple):
        axes = [sizes(part) for part in axes]
    return ops.tensordot(as_tensor(a, b), as_tensor(b, a), axes=axes)


def _einsum(equation: Any, *inputs: Any, optimize: Any = None) -> Any:
    flat = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else inputs
    if len(flat) <= equation.partition("->")[0].count(","):
        # tf.keras saves the first argument's tensors alone, and here that is the equation.
        raise ValueError("the file does not hold the operands of einsum")
    return ops.einsum(equation, *map(as_tensor, flat))


FUNCTIONS: dict[str, Function] = {
    "linalg.matmul": _matmul,
    "tensordot": _tensordot,
    "einsum": _einsum,
}
