"""Operations of TensorFlow in old graphs, computed by `keras.ops`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from keras_erf.tensorflow_operations import (
    arithmetic,
    elementwise,
    images,
    normalization,
    products,
    reductions,
    resizing,
    shape_arithmetic,
    shapes,
    slices,
    transposed,
    windows,
)
from keras_erf.tensorflow_operations.aliases import ALIASES
from keras_erf.tensorflow_operations.arguments import Function
from keras_erf.tensorflow_operations.sizes import is_static

__all__ = ["is_known", "perform"]

# Arguments that change no value.
IGNORED = ("name", "validate_shape", "validate_indices")
# Names of arguments in TensorFlow 1, by those in TensorFlow 2.
SYNONYMS = {
    "concat_dim": "axis", "dim": "axis", "dimension": "axis", "keep_dims": "keepdims",
    "reduction_indices": "axis", "split_dim": "axis", "squeeze_dims": "axis",
}  # fmt: skip
# What TensorFlow calls the first argument of its functions.
FIRST = (
    "x", "input", "inputs", "tensor", "input_tensor", "features", "logits", "value", "values",
    "images", "image", "a", "input_", "params", "data", "t", "indices",
)  # fmt: skip
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
    **resizing.FUNCTIONS,
    **shapes.FUNCTIONS,
    **slices.FUNCTIONS,
    **transposed.FUNCTIONS,
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
    kept = {SYNONYMS.get(key, key): kwargs[key] for key in kwargs if key not in IGNORED}
    # The place of the first argument is empty where all are given by name.
    given = [] if len(args) == 1 and args[0] is None else list(args)
    table = shape_arithmetic.FUNCTIONS if is_static([given, kept]) else {}
    function = table.get(name) or TENSORS[name]
    if not given and next(iter(inspect.signature(function).parameters)) not in kept:
        given = [kept.pop(key) for key in FIRST if key in kept][:1]
    return function(*given, **kept)


def _table_name(symbol: str) -> str:
    name = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.").removeprefix("tf.")
    name = ALIASES.get(name, name)
    last = f"math.{name.removeprefix('__operators__.')}"
    return last if name not in TENSORS and last in TENSORS else name
