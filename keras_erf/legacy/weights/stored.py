"""Weights as an old file stores them, apart from where they go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["StoredLayer", "StoredTree"]


@dataclass(frozen=True)
class StoredLayer:
    """The arrays of a layer, in the file's order.

    Args:
        name: The layer's name in the file; "" where the file gives none.
        arrays: Its arrays; those of a nested model all together, unless they are in `inner`.
        names: Their names in the file; "" where it gives none.
        inner: The layers of a nested model, where the file keeps them apart.
    """

    name: str
    arrays: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    inner: tuple[StoredLayer, ...] = ()


@dataclass(frozen=True)
class StoredTree:
    """Arrays under the paths of objects, as `layers/dense_1/vars/0`.

    Args:
        arrays: Arrays by number, of the object itself.
        children: What it holds, by attribute or by class and number.
    """

    arrays: tuple[np.ndarray, ...]
    children: dict[str, StoredTree]

    def empty(self) -> bool:
        """Whether there is no array anywhere below."""
        return not self.arrays and all(child.empty() for child in self.children.values())
