"""Functions that work on each element by itself.

Keras's own activations are known by name. Any other function is called once on a symbolic tensor:
it works on single elements if each operation that it uses does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import keras
from keras import activations

from keras_erf.dependence.gradient_support import is_smooth
from keras_erf.graph import FunctionCalls, Node, calls_of_function
from keras_erf.layers import arithmetic, elementwise, nonlinearities
from keras_erf.layers.parts import shape_of

__all__ = ["mixes_last_axis", "on_single_elements", "runs_in_double"]

# A softmax sees the axis it sums over; so does the projection of a sparsemax.
MIXING = ("softmax", "log_softmax", "sparsemax")
GATING = ("glu",)
ENTRYWISE = {
    f"ops.{name}": entry.flat
    for family in (arithmetic, elementwise, nonlinearities)
    for entry in family.ENTRIES
    if entry.entrywise
    for name in entry.operations.split()
}
# A choice is one between elements at the same place.
ENTRYWISE["ops.Where"] = False
# Tensors of one to four axes besides the batch: a function may do different things to them.
SHAPES = ((5,), (4, 5), (3, 4, 5), (2, 3, 4, 5))


def on_single_elements(activation: Any) -> bool:
    """Whether an activation is known to work on each element by itself."""
    if activation is None or isinstance(activation, keras.Layer):
        return activation is None
    if _is_own(activation):
        return activation.__name__ not in MIXING + GATING
    return all(_is_entrywise(activation, shape) for shape in SHAPES)


def mixes_last_axis(activation: Any) -> bool:
    """Whether an activation is known to mix the last axis and nothing else."""
    return _is_own(activation) and activation.__name__ in MIXING


def _is_own(activation: Any) -> bool:
    """Whether an activation is one of Keras's functions."""
    name = getattr(activation, "__name__", "")
    return getattr(activations, name, None) is activation


def _is_entrywise(function: Callable[..., Any], shape: tuple[int, ...]) -> bool:
    calls = calls_of_function(function, shape)
    return (
        calls is not None
        and all(tensor.shape == shape for tensor in calls.tensors)
        and all(_keeps_entries(node) for node in calls.nodes)
        and calls.output in _with_gradient(calls)
    )


def _keeps_entries(node: Node) -> bool:
    """Whether a call is of an operation on entries, all of whose constants are single numbers."""
    if node.kind not in ENTRYWISE:
        return False
    settings = [value for key, value in vars(node.operation).items() if not key.startswith("_")]
    given = keras.tree.flatten((node.filled_arguments(), settings))
    return all(prod(shape_of(value)) == 1 for value in given)


def _with_gradient(calls: FunctionCalls) -> set[int]:
    """Numbers of the tensors that have a gradient to the input."""
    found = {0}
    for node in calls.nodes:
        smooth = all(is_smooth(calls.tensors[output].dtype) for output in node.outputs)
        if found.intersection(node.inputs) and smooth and not ENTRYWISE[str(node.kind)]:
            found.update(node.outputs)
    return found


def runs_in_double(function: Callable[..., Any]) -> bool:
    """Whether an activation takes numbers of double precision, in which signals are."""
    try:
        function(keras.ops.ones((2,), "float64"))
    except Exception:  # The function is the user's, and raises what it likes.
        return False
    return True
