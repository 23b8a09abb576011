"""Which rule a call has: the user's own, the table's, or the measured one.

Layers are looked up by class; a subclass inherits its parent's rule only as
long as it does not override what is computed. Operations of `keras.ops` are
looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import layers

from keras_erf.errors import UnsupportedLayerError
from keras_erf.rules import pointwise
from keras_erf.rules.call import Call, Rule
from keras_erf.rules.layers import LAYERS
from keras_erf.rules.operations import OPERATIONS
from keras_erf.views import AnyView

__all__ = ["RULES", "views"]

RULES: dict[type | str, Rule] = {**LAYERS, **OPERATIONS}

# What a layer computes; Keras lets subclasses of its convolutions override the last one.
_CALLED = ("__call__", "call", "convolution_op")


def find_rule(kind: type | str, own: Mapping[type, Rule] | None = None) -> Rule | None:
    """Rule of a layer class or operation name; a subclass that computes otherwise has none.

    Args:
        kind: The class, or `"ops.Name"`.
        own: The user's own rules, which come first.
    """
    if isinstance(kind, str):
        return RULES.get(kind)
    if own and kind in own:
        return own[kind]
    for parent in kind.__mro__:
        if parent in RULES:
            same = all(getattr(kind, name, None) is getattr(parent, name, None) for name in _CALLED)
            return RULES[parent] if same else None
    return None


def views(
    call: Call, kind: type | str, own: Mapping[type, Rule] | None = None
) -> tuple[AnyView, ...]:
    """The views of a call's inputs, by the rule of its `kind`.

    Raises:
        UnsupportedLayerError: No rule knows the layer.
    """
    rule = find_rule(kind, own)
    if own and kind in own and rule is not None:
        return rule(call)
    found = rule(call) if rule and _knows_activation(call.layer) else None
    if pointwise.mixes(call.layer) and rule is not pointwise.activation:
        # What a softmax inside another layer mixes, the layer must take in whole already.
        found = found if found and all(view.follows[-1] is None for view in found) else None
    if found is None:
        name = kind if isinstance(kind, str) else kind.__name__
        what = "its activation function" if rule else f"its class {name}"
        raise UnsupportedLayerError(
            f"No rule tells the receptive field of layer {call.name!r}: {what} is not in the "
            f"table. Choose a layer before it. Received: {name} from {call.inputs} to {call.output}"
        )
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
