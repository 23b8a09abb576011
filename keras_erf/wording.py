"""Numbers in words, the same in tables, pictures, pages and notebooks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["by", "counted", "counted_samples", "noted", "size_with_error", "with_error"]


def by(sizes: Iterable[Any], sign: str = " × ") -> str:
    """`25 × 25`; terminals and names of files take `x`.

    A pair is a range, `92-100`, or one number if its ends are equal; `None` is uneven.
    """
    words = [_one(size) for size in sizes]
    return "uneven" if {*words} == {"uneven"} else sign.join(words)


def _one(size: Any) -> str:
    if size is None:
        return "uneven"
    ends = [str(end) for end in dict.fromkeys(size)] if isinstance(size, tuple) else [str(size)]
    return "-".join(ends)


def counted(number: int, what: str) -> str:
    """`1 sample`, `2 samples`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def counted_samples(counts: Iterable[int]) -> str:
    """`16 samples` of several results that all have as many, or `1 to 64 samples`."""
    different = sorted({*counts})
    most = counted(different[-1], "sample")
    return most if len(different) == 1 else f"{different[0]} to {most}"


def with_error(value: float | None, error: float | None, digits: int = 1, sign: str = "±") -> str:
    """`12.3 ± 0.2`, with more digits where the error is small; no error where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if not error or not math.isfinite(error):
        return f"{value:.{digits}f}"
    digits = min(max(digits, math.ceil(-math.log10(2 * error))), digits + 2)
    return f"{value:.{digits}f} {sign} {error:.{digits}f}"


def size_with_error(result: Any, sign: str = "±") -> str:
    """The size of a measured field; equal samples and single ones have no error."""
    return with_error(result.size, None if result.constant else result.size_error, sign=sign)


def noted(results: Sequence[Any]) -> list[str]:
    """The notes of results: each once, of several results with the number of layers it is of."""
    counts = Counter(note for result in results for note in result.notes)
    if len(results) == 1:
        return list(counts)
    return [f"{note} ({number} of {len(results)} layers)" for note, number in counts.items()]
