"""What the families of the zoo share: checked options and seeds for their layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from numbers import Integral
from typing import Any

import keras
import numpy as np

from keras_erf.errors import InvalidInputError

__all__ = ["dtype_policy", "is_count", "layer_seeds", "require", "require_counts", "spatial_sizes"]


def require(condition: bool, argument: str, expected: str, received: Any) -> None:
    """Raises `InvalidInputError` about one argument unless the condition holds."""
    if not condition:
        raise InvalidInputError(
            f"`{argument}` must be {expected}. Received: {argument}={received!r}."
        )


def is_count(value: Any) -> bool:
    """Whether the value is an integer of at least 1."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def require_counts(**values: Any) -> None:
    """Raises `InvalidInputError` about the first argument that is no integer of at least 1."""
    for argument, value in values.items():
        require(is_count(value), argument, "a positive integer", value)


def spatial_sizes(input_shape: Any, dims: int) -> tuple[int | None, ...]:
    """Checks spatial sizes in pixels, one for each of `dims` axes, `None` for an open one."""
    require(
        isinstance(input_shape, tuple | list)
        and len(input_shape) == dims
        and all(size is None or is_count(size) for size in input_shape),
        "input_shape",
        f"a tuple of {dims} spatial sizes, each a positive integer or None",
        input_shape,
    )
    return tuple(input_shape)


def dtype_policy(dtype: Any) -> keras.DTypePolicy:
    """Turns a dtype, a policy or `None` (Keras's default) into a policy."""
    try:
        return keras.dtype_policies.get(dtype)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"`dtype` must be a Keras dtype, a dtype policy or None. Received: dtype={dtype!r}."
        ) from error


def layer_seeds(seed: int) -> Iterator[int]:
    """Derives one seed after the other, statistically independent, from a single one."""
    require(isinstance(seed, Integral) and int(seed) >= 0, "seed", "a non-negative integer", seed)
    return (
        # Below 2**31 it fits every integer type a backend may keep it in.
        int(np.random.SeedSequence(int(seed), spawn_key=(layer,)).generate_state(1)[0]) % 2**31
        for layer in count()
    )
