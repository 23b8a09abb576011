"""The entry of every layer and operation, by class and by name.

Layers are looked up by class; a subclass inherits its parent's entry only as long as it does not
override what is computed. Operations of `keras.ops` are looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from keras import layers

from keras_erf.algebra.views import AnyView
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.measured import measured
from keras_erf.errors import InvalidInputError
from keras_erf.layers.activation import Activated
from keras_erf.layers.entry import Entry
from keras_erf.types import Operation

__all__ = [
    "ENTRIES",
    "RULES",
    "TABLE",
    "described",
    "find_rule",
    "is_patched",
    "is_unknown",
    "views",
]

FAMILIES = [
    import_module(f"{__package__}.{module.name}")
    for module in iter_modules([str(Path(__file__).parent)])
]
# Modules without entries hold what several families share.
ENTRIES: tuple[Entry, ...] = tuple(
    entry for family in FAMILIES for entry in getattr(family, "ENTRIES", ())
)


def _by_kind() -> dict[type | str, Entry]:
    """Entries by class, and by name for operations, without the classes this Keras lacks."""
    known = vars(layers)
    return {
        known.get(name, name): entry
        for entry in ENTRIES
        for name in entry.names
        if name in known or name.startswith("ops.")
    }


TABLE = _by_kind()
RULES: dict[type | str, Rule] = {kind: entry.dependence for kind, entry in TABLE.items()}

# What a subclass may override and still compute the same.
_HARMLESS = {"build", "compute_mask", "compute_output_shape", "compute_output_spec", "from_config"}
_HARMLESS |= {"build_from_config", "get_build_config", "get_config", "load_own_variables"}
_HARMLESS |= {"save_own_variables"}


def described(kind: type | str) -> Entry | None:
    """The entry of a layer class or operation name; `None` if it has none.

    A subclass has its parent's as long as it computes the same.
    """
    if isinstance(kind, str):
        return TABLE.get(kind)
    for place, parent in enumerate(kind.__mro__):
        if parent in TABLE:
            same = all(_computes_the_same(child, parent) for child in kind.__mro__[:place])
            return TABLE[parent] if same else None
    return None


def find_rule(kind: type | str, own: Mapping[type, Rule] | None = None) -> Rule | None:
    """Rule of a layer class or operation name; `None` as in `described`.

    Args:
        kind: The class, or `"ops.Name"`.
        own: The user's own rules, which come first.
    """
    if own and kind in own:
        return own[kind]  # type: ignore[index]
    entry = described(kind)
    return None if entry is None else entry.dependence


def is_patched(operation: Operation) -> bool:
    """Whether a layer has a `call` of its own put on it, which its class does not show."""
    return "call" in vars(operation)


def is_unknown(operation: Operation, own: Mapping[type, Rule] | None = None) -> bool:
    """Whether a layer has no rule but the measured one, so that opening it may show more."""
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
        UnsupportedLayerError: The layer has no field, or none that can be found.
    """

    def rule_of(layer: object) -> Rule | None:
        rule = find_rule(type(layer), own)
        return None if rule is measured else rule

    rule = find_rule(kind, own) or measured
    found = rule(replace(call, rule_of=rule_of))
    if not isinstance(found, (tuple, list)):
        raise InvalidInputError(
            argument="rules",
            expected=f"must give the views of layer {call.name!r} as a tuple",
            received=f"{found!r}",
        )
    return tuple(found)


def _computes_the_same(child: type, parent: type) -> bool:
    """Whether a subclass overrides nothing of `parent` that could matter."""
    return all(
        name in _HARMLESS or (name.startswith("__") and name != "__call__")
        for name in vars(child)
        if hasattr(parent, name)
    )
