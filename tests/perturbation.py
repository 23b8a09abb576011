"""Brute force without gradients: which outputs change when one input element does.

Nothing here imports the library. Each element of an input is changed in one
sample of a batch, so one pass forwards tells what depends on what. Unlike the
gradient it also sees through comparisons, sorting, rounding and integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["dependence", "normal", "uniform"]

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values of a standard normal distribution."""
    return rng.normal(size=shape)


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values from (0.5, 1.5)."""
    return rng.uniform(0.5, 1.5, shape)


def dependence(
    run: Callable[[list[np.ndarray]], Sequence[Any]],
    shapes: Sequence[tuple[int, ...]],
    *,
    input: int = 0,
    draws: int = 3,
    draw: Draw | Sequence[Draw] = uniform,
    tolerance: float = 1e-9,
    seed: int = 0,
) -> list[np.ndarray]:
    """Which elements of an input each element of the outputs depends on.

    Args:
        run: Gives the outputs for inputs with a batch axis.
        shapes: Shapes of the inputs without it.
        input: Place of the input whose elements are changed.
        draws: Random inputs whose dependences are united.
        draw: Draws values of a shape, for all inputs or for each of them.
        tolerance: Change, as a share of the output's largest value, that is rounding.
        seed: Of the draws.

    Returns:
        For each output a boolean array of shape `(*output's shape, *input's shape)`.
    """
    rng = np.random.default_rng(seed)
    kinds = [draw] * len(shapes) if callable(draw) else list(draw)
    size = math.prod(shapes[input])
    # For each draw one sample per element, and a last one that stays as it was.
    values = [
        np.repeat(one(rng, (draws, 1, *shape)), size + 1, axis=1)
        for one, shape in zip(kinds, shapes, strict=True)
    ]
    flat = values[input].reshape(draws, size + 1, size)
    place = np.arange(size)
    flat[:, place, place] = kinds[input](rng, (draws, size))
    outputs = run([one.reshape(-1, *one.shape[2:]) for one in values])
    found = []
    for output in map(np.asarray, outputs):
        samples = output.reshape(draws, size + 1, *output.shape[1:])
        changed = np.moveaxis(_changed(samples, tolerance).any(axis=0), 0, -1)
        found.append(changed.reshape((*output.shape[1:], *shapes[input])))
    return found


def _changed(samples: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether each sample of a draw differs from the draw's last sample."""
    if samples.dtype == bool:
        return samples[:, :-1] != samples[:, -1:]
    finite = np.where(np.isfinite(samples), samples, 0)
    scale = np.abs(finite).max(initial=0)
    return np.abs(finite[:, :-1] - finite[:, -1:]) > tolerance * scale
