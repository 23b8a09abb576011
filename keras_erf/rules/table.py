"""Which rule a call has: the user's own, the table's, or the measured one.

Layers are looked up by class; a subclass inherits its parent's rule only as
long as it does not override what is computed. Operations of `keras.ops` are
looked up by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from keras import layers

from keras_erf.algebra.views import AnyView
from keras_erf.errors import InvalidInputError
from keras_erf.rules.activations import Activated
from keras_erf.rules.call import Call, Rule
from keras_erf.rules.layers import LAYERS
from keras_erf.rules.measured import measured
from keras_erf.rules.operations import OPERATIONS

__all__ = [
    "RULES",
    "by_class",
    "by_operation",
    "find_rule",
    "is_patched",
    "is_unknown",
    "look_up",
    "views",
]

Entry = TypeVar("Entry")

RULES: dict[type | str, Rule] = {**LAYERS, **OPERATIONS}

# What a subclass may override and still compute the same.
_HARMLESS = {"build", "compute_mask", "compute_output_shape", "compute_output_spec", "from_config"}
_HARMLESS |= {"build_from_config", "get_build_config", "get_config", "load_own_variables"}
_HARMLESS |= {"save_own_variables"}


def by_class(families: Iterable[tuple[Entry, str]]) -> dict[type | str, Entry]:
    """Entries by layer class, from pairs of an entry and the names of those that have it.

    Names that this Keras does not have are left out.
    """
    known = vars(layers)
    return {
        known[name]: entry for entry, names in families for name in names.split() if name in known
    }


def by_operation(families: Iterable[tuple[Entry, str]]) -> dict[type | str, Entry]:
    """The same for operations, which are looked up by name."""
    return {f"ops.{name}": entry for entry, names in families for name in names.split()}


def find_rule(kind: type | str, own: Mapping[type, Rule] | None = None) -> Rule | None:
    """Rule of a layer class or operation name; a subclass that computes otherwise has none.

    Args:
        kind: The class, or `"ops.Name"`.
        own: The user's own rules, which come first.
    """
    if own and kind in own:
        return own[kind]  # type: ignore[index]
    return look_up(kind, RULES)


def is_patched(operation: Any) -> bool:
    """Whether a layer has a `call` of its own put on it, which its class does not tell of."""
    return "call" in vars(operation)


def look_up(kind: type | str, table: Mapping[type | str, Entry]) -> Entry | None:
    """Entry of a layer class or operation name in a table by class; `None` if it has none.

    A subclass has its parent's as long as it computes the same.
    """
    if isinstance(kind, str):
        return table.get(kind)
    for place, parent in enumerate(kind.__mro__):
        if parent in table:
            same = all(_computes_the_same(child, parent) for child in kind.__mro__[:place])
            return table[parent] if same else None
    return None


def is_unknown(operation: Any, own: Mapping[type, Rule] | None = None) -> bool:
    """Whether a layer has no rule but the measured one, so that looking inside may tell more."""
    kind = type(operation)
    if not isinstance(operation, layers.Layer) or (own and kind in own):
        return False
    if isinstance(operation, layers.TimeDistributed):
        return is_unknown(operation.layer, own)
    rule = find_rule(kind)
    knows = rule.knows(operation) if isinstance(rule, Activated) else True
    return rule in (None, measured) or not knows


def views(
    call: Call, kind: type | str, own: Mapping[type, Rule] | None = None
) -> tuple[AnyView, ...]:
    """The views of a call's inputs, by the rule of its `kind`.

    Raises:
        UnsupportedLayerError: The layer has no field, or none that can be told.
    """

    def rule_of(layer: object) -> Rule | None:
        rule = find_rule(type(layer), own)
        return None if rule is measured else rule

    rule = find_rule(kind, own) or measured
    found = rule(replace(call, rule_of=rule_of))
    if not isinstance(found, (tuple, list)):
        raise InvalidInputError(
            f"`rules` must give the views of layer {call.name!r} as a tuple. Received: {found!r}"
        )
    return tuple(found)


def _computes_the_same(child: type, parent: type) -> bool:
    """Whether a subclass overrides nothing of `parent` that could matter."""
    return all(
        name in _HARMLESS or (name.startswith("__") and name != "__call__")
        for name in vars(child)
        if hasattr(parent, name)
    )
