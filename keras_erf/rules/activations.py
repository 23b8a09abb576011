"""Activations, by themselves or at the end of another layer.

Keras's own work on single elements, but for those that mix the last axis
(softmax and its kin) and those that halve it (gated linear units). A function
nobody knows is left to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import activations, layers

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.rules.call import Call, Rule, part_of
from keras_erf.rules.chain import chained
from keras_erf.rules.measured import measured

__all__ = ["ON_SINGLE_ELEMENTS", "Activated", "mixes_last_axis", "on_single_elements"]

# Layers, given as activations, that work on single elements and have no weights.
ON_SINGLE_ELEMENTS = (layers.ELU, layers.LeakyReLU, layers.ReLU)
# A softmax sees the axis it sums over; so does the projection of a sparsemax.
MIXING = ("softmax", "log_softmax", "sparsemax")
GATING = ("glu",)


def on_single_elements(activation: Any) -> bool:
    """Whether an activation is known to work on each element by itself."""
    return activation is None or (_is_own(activation) and not _named(activation, MIXING + GATING))


def mixes_last_axis(activation: Any) -> bool:
    """Whether an activation is known to mix the last axis and nothing else."""
    return _is_own(activation) and _named(activation, MIXING)


def _is_own(activation: Any) -> bool:
    """Whether an activation is one of Keras's functions."""
    name = getattr(activation, "__name__", "")
    return getattr(activations, name, None) is activation


def _named(activation: Any, names: tuple[str, ...]) -> bool:
    return activation.__name__ in names


@dataclass(frozen=True)
class Activated:
    """The rule of a layer that ends in its `activation`.

    Args:
        rule: That of all before it.
    """

    rule: Rule

    def knows(self, layer: Any) -> bool:
        """Whether the layer's activation is a layer, or a known function."""
        given = layer.activation
        known = on_single_elements(given) or mixes_last_axis(given)
        return known or isinstance(given, layers.Layer)

    def __call__(self, call: Call) -> tuple[AnyView, ...]:
        """The views of the layer."""
        activation = call.layer.activation
        if on_single_elements(activation):
            return self.rule(call)
        if isinstance(activation, layers.Layer):
            inner = part_of(call, activation, call.outputs, call.outputs)
            after = inner.rule_of(activation)
            return chained(self.rule(call), call.output, after(inner)) if after else measured(call)
        if not mixes_last_axis(activation):
            return measured(call)
        found = self.rule(call)
        last = len(call.output) - 1
        if all(view.follows[-1] is None and last not in view.follows for view in found):
            # The layer takes in the axis whole already.
            return found
        others = [Link(axis) for axis in range(last)]
        mixed = [View((*others, end)) for end in (Link(last), Link(None))]
        return chained(found, call.output, mixed)
