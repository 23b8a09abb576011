"""Matches the layers of two profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile

__all__ = ["matched"]


def matched(first: Profile, second: Profile) -> tuple[list[int | None], list[str]]:
    """Returns the index of each first layer's counterpart, and notes for the reader.

    Networks with the same fields in the same order have the same architecture, even if Keras
    numbered their layers differently: their layers are matched by order. All others are matched
    by name, or by order if they share no names.
    """
    names, others = ([result.layer for result in profile.results] for profile in (first, second))
    fields, their = ([result.receptive_field.size for result in p.results] for p in (first, second))
    by_order = fields == their or not set(names) & set(others)
    pairs: list[int | None]
    if by_order:
        pairs = [place if place < len(others) else None for place in range(len(names))]
    else:
        places = {name: place for place, name in enumerate(others)}
        pairs = [places.get(name) for name in names]
    notes = []
    differ = sum(p is not None and others[p] != name for name, p in zip(names, pairs, strict=True))
    if differ:
        notes.append(
            f"Layers are matched by their order: the names of {differ} of {len(names)} differ."
        )
    alone = pairs.count(None)
    if alone:
        notes.append(f"{_have(alone, 'first')} no counterpart in the second.")
    unseen = len(others) - len(names) + alone
    if unseen:
        notes.append(f"{_have(unseen, 'second')} none in the first.")
    return pairs, notes


def _have(number: int, which: str) -> str:
    have = "layer of the {} profile has" if number == 1 else "layers of the {} profile have"
    return f"{number} {have.format(which)}"
