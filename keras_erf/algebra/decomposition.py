"""Boolean tables taken apart: unions of products, and lines of evenly spaced runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["products", "runs"]


def products(mask: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Sets, one per axis, whose products have the marked places as their union.

    Indices of an axis that see the same along the others stay together, so that
    the products are disjoint and as few as that allows.

    Args:
        mask: Boolean array of one axis or more.

    Returns:
        For each product a boolean array per axis; no product is empty.
    """
    if mask.ndim == 1:
        return [(mask,)] if mask.any() else []
    _, groups = np.unique(mask.reshape(len(mask), -1), axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    found = []
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        found += [(members, *rest) for rest in products(mask[members.argmax()])]
    return found


def runs(marked: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """The marked indices of a line as runs of equal steps: first index, step and count."""
    left = np.flatnonzero(marked).tolist()
    while left:
        step = left[1] - left[0] if len(left) > 1 else 1
        count = 1
        while count < len(left) and left[count] == left[0] + count * step:
            count += 1
        yield left[0], step, count
        left = left[count:]
