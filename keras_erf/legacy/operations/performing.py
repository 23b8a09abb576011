"""Operations of TensorFlow in old graphs, computed by `keras.ops`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_erf.legacy.operations import (
    arithmetic,
    elementwise,
    images,
    normalization,
    products,
    reductions,
    shape_arithmetic,
    shapes,
    slices,
    windows,
)
from keras_erf.legacy.operations.aliases import ALIASES
from keras_erf.legacy.operations.arguments import Function
from keras_erf.legacy.operations.sizes import is_static

__all__ = ["is_known", "perform"]

# What no tensor of the graph is needed for.
CONSTANTS = ("zeros", "ones", "fill", "range", "constant")
TENSORS: dict[str, Function] = {
    **{name: shape_arithmetic.FUNCTIONS[name] for name in CONSTANTS},
    **arithmetic.FUNCTIONS,
    **elementwise.FUNCTIONS,
    **images.FUNCTIONS,
    **normalization.FUNCTIONS,
    **products.FUNCTIONS,
    **reductions.FUNCTIONS,
    **shapes.FUNCTIONS,
    **slices.FUNCTIONS,
    **windows.FUNCTIONS,
}


def is_known(symbol: str) -> bool:
    """Whether the tables have an operation of TensorFlow.

    Args:
        symbol: Its name there, such as `"math.add"`.
    """
    return _table_name(symbol) in TENSORS


def perform(symbol: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Computes what an operation of TensorFlow does.

    Args:
        symbol: Its name there, such as `"math.add"`.
        args: Its first arguments: tensors of the graph, constants and sizes.
        kwargs: The others, by TensorFlow's names.

    Raises:
        NotImplementedError: `keras.ops` has no counterpart for these arguments.
        ValueError: The file does not hold an argument that is needed.
    """
    name = _table_name(symbol)
    kept = {key: value for key, value in kwargs.items() if key not in ("name", "validate_shape")}
    constant = is_static(list(args)) and is_static(kept)
    if constant and name in shape_arithmetic.FUNCTIONS:
        return shape_arithmetic.FUNCTIONS[name](*args, **kept)
    return TENSORS[name](*args, **kept)


def _table_name(symbol: str) -> str:
    name = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.").removeprefix("tf.")
    name = ALIASES.get(name, name)
    last = f"math.{name.removeprefix('__operators__.')}"
    return last if name not in TENSORS and last in TENSORS else name
