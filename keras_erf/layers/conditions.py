"""When a call is affine in its tensors, so that its gradient is the same for every sample.

Constants that are added change no gradient; those that multiply must be weights or be written
in the graph. What is in doubt is not affine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_erf.dependence.call import CallSite
from keras_erf.graph import Argument

__all__ = [
    "AffineSite",
    "Condition",
    "in_all_tensors",
    "in_first_operand",
    "in_one_tensor",
    "is_computed",
    "unless_integer",
    "without_activation",
    "without_mask",
]


@dataclass(frozen=True)
class AffineSite(CallSite):
    """A call, and how it runs.

    Args:
        named: Its arguments by name; tensors as `Argument`.
        training: Whether it runs in training mode.
        inside: Whether a layer's own code makes the call.
        masked: Whether some layer before it may have set a mask.
        is_affine: Answers the same question for a layer inside this one.
    """

    named: Mapping[str, Any]
    training: bool
    inside: bool
    masked: bool
    is_affine: Callable[[AffineSite], bool]

    @property
    def values(self) -> list[Any]:
        """Its arguments in one row; tensors as `Argument`."""
        return list(keras.tree.flatten(self.call.arguments))


Condition = Callable[[AffineSite], bool]


def in_all_tensors(site: AffineSite) -> bool:
    """Affine in all its tensors together."""
    return True


def in_one_tensor(site: AffineSite) -> bool:
    """Affine in each of its tensors while the others do not change: it must have one only."""
    values = site.values
    certain = not any(map(is_computed, values)) if site.inside else True
    # A tensor that is given twice counts twice.
    return sum(isinstance(value, Argument) for value in values) == 1 and certain


def in_first_operand(site: AffineSite) -> bool:
    """Affine in its first operand only."""
    return isinstance(next(iter(site.named.values()), None), Argument) and in_one_tensor(site)


def unless_integer(site: AffineSite) -> bool:
    """Affine unless it makes whole numbers."""
    dtype = site.layer.dtype
    return in_one_tensor(site) and (dtype is None or keras.backend.is_float_dtype(dtype))


def without_activation(site: AffineSite) -> bool:
    """Affine if it ends in no activation."""
    linear = (None, keras.activations.linear)
    return in_one_tensor(site) and site.layer.activation in linear


def without_mask(site: AffineSite) -> bool:
    """Affine where no mask leaves out steps of a sample."""
    return in_one_tensor(site) and not site.masked


def is_computed(constant: Any) -> bool:
    """Whether a constant is a tensor: inside of a layer it may differ in every call."""
    return keras.ops.is_tensor(constant) and not isinstance(constant, keras.Variable)
