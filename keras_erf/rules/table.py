"""Which rule a call has: the user's own, the table's, or the measured one.

Layers are looked up by class; a subclass inherits its parent's rule only as
long as it does not override what is computed. Operations of `keras.ops` are
looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import layers

from keras_erf.rules import pointwise
from keras_erf.rules.call import Call, Rule
from keras_erf.rules.layers import LAYERS
from keras_erf.rules.measured import measured
from keras_erf.rules.operations import OPERATIONS
from keras_erf.views import AnyView

__all__ = ["RULES", "find_rule", "is_unknown", "views"]

RULES: dict[type | str, Rule] = {**LAYERS, **OPERATIONS}

# What a layer computes; Keras lets subclasses of its convolutions override the last one.
_CALLED = ("__call__", "call", "convolution_op")


def find_rule(kind: type | str) -> Rule | None:
    """Rule of a layer class or operation name; a subclass that computes otherwise has none."""
    if isinstance(kind, str):
        return RULES.get(kind)
    for parent in kind.__mro__:
        if parent in RULES:
            same = all(getattr(kind, name, None) is getattr(parent, name, None) for name in _CALLED)
            return RULES[parent] if same else None
    return None


def is_unknown(operation: Any, own: Mapping[type, Rule] | None = None) -> bool:
    """Whether a layer has no rule but the measured one, so that looking inside may tell more."""
    kind = type(operation)
    if not isinstance(operation, layers.Layer) or (own and kind in own):
        return False
    return find_rule(kind) in (None, measured) or not _knows_activation(operation)


def views(
    call: Call, kind: type | str, own: Mapping[type, Rule] | None = None
) -> tuple[AnyView, ...]:
    """The views of a call's inputs, by the rule of its `kind`; without one it is measured.

    Raises:
        UnsupportedLayerError: The layer is refused, or cannot be measured.
    """
    if own and kind in own:
        return own[kind](call)  # type: ignore[index]
    rule = find_rule(kind)
    if rule is None or not _knows_activation(call.layer):
        return measured(call)
    found = rule(call)
    if pointwise.mixes(call.layer) and rule is not pointwise.activation:
        # What a softmax inside another layer mixes, the layer must take in whole already.
        return found if all(view.follows[-1] is None for view in found) else measured(call)
    return found


def _knows_activation(layer: Any) -> bool:
    """Whether a layer's activation is one of Keras's own, on single positions or the last axis."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        return True
    if isinstance(activation, layers.Layer):
        return find_rule(type(activation)) is pointwise.elementwise
    module = getattr(activation, "__module__", type(activation).__module__)
    # A gated linear unit halves the axis.
    return module.startswith("keras.") and activation.__name__ != "glu"
