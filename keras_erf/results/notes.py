"""Notes of a result: in a few words, why its size may mislead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SIZE_RULES", "UNSEEN", "notes_of", "size_rules_disagree"]

SIZE_RULES = "size rules disagree"
UNSEEN = "gradient-free paths"
# Sizes by threshold and by mass that differ by more than this factor disagree.
MOST_APART = 1.5
# Small sizes jump by this with one ring of pixels, whatever the shape of the map.
RING = 2.0
# Layers that a note names at most.
NAMED = 3


def size_rules_disagree(size: float, mass_size: float) -> bool:
    """Whether sizes by threshold and by mass differ too much for one of them to be the size.

    By more than 1.5 times, either way, and by more than one ring of pixels (2 px).
    """
    low, high = sorted((size, mass_size))
    return high > MOST_APART * low and high - low > RING


def notes_of(size: float, mass_size: float, provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What to know of a result before its size is used; empty where there is nothing.

    Args:
        size: By the threshold, in pixels.
        mass_size: By the mass, in pixels.
        provenance: Its `"notes"` are notes of the measurement, its `"unseen"` names of
            layers that a gradient does not see through.
    """
    notes = [SIZE_RULES] if size_rules_disagree(size, mass_size) else []
    notes += provenance.get("notes", ())
    unseen = list(provenance.get("unseen", ()))
    if unseen:
        more = [f"{len(unseen) - NAMED} more"] if len(unseen) > NAMED else []
        notes.append(f"{UNSEEN}: {', '.join(unseen[:NAMED] + more)}")
    return tuple(dict.fromkeys(notes))
