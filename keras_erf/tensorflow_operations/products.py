"""Matrix products and contractions."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, as_tensor
from keras_erf.tensorflow_operations.sizes import sizes

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
    """As an einsum: Keras's own `tensordot` does not take sizes that are open without a warning."""
    a, b = as_tensor(a, b), as_tensor(b, a)
    rank, other = len(a.shape), len(b.shape)
    if isinstance(axes, list | tuple | np.ndarray):
        left_axes, right_axes = ([axis % n for axis in sizes(part)]
                                 for part, n in zip(axes, (rank, other), strict=True))  # fmt: skip
    else:
        left_axes, right_axes = [*range(rank - axes, rank)], [*range(axes)]
    left, right = ascii_letters[:rank], [*ascii_letters[rank : rank + other]]
    for place, wanted in zip(left_axes, right_axes, strict=True):
        right[wanted] = left[place]
    kept = [letter for place, letter in enumerate(left) if place not in left_axes]
    kept += [letter for place, letter in enumerate(right) if place not in right_axes]
    return ops.einsum(f"{left},{''.join(right)}->{''.join(kept)}", a, b)


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
