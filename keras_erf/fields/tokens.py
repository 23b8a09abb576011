"""Tokens that stand for the cells of a grid: units by row and column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_erf.algebra.intervals import Line, Reach, table
from keras_erf.errors import InvalidInputError

__all__ = ["TokenGrid", "checked_grid", "found_grid", "given_grid"]


@dataclass(frozen=True)
class TokenGrid:
    """A grid whose cells follow each other, row by row, along one axis of tokens.

    Args:
        shape: Number of cells along each axis of the grid.
        prefix: Tokens before the first cell (class token, registers).
    """

    shape: tuple[int, ...]
    prefix: int = 0

    def position(self, unit: tuple[Any, ...]) -> tuple[Any]:
        """Index of a cell's token."""
        index: Any = 0
        for place, size in zip(unit, self.shape, strict=True):
            index = index * size + place
        return (index + self.prefix,)


def given_grid(shape: Sequence[int] | None, tokens: int, rank: int) -> TokenGrid:
    """The grid of the stated shape, or the largest with equal sides; it takes the last tokens.

    Raises:
        InvalidInputError: It has more cells than there are tokens.
    """
    if shape is None:
        side = round(tokens ** (1 / rank))
        side -= side**rank > tokens
        shape = (side,) * rank
    numbers = isinstance(shape, (tuple, list)) and all(
        isinstance(size, (int, np.integer)) and size > 0 for size in shape
    )
    if not numbers or len(shape) != rank or math.prod(shape) > tokens:
        raise InvalidInputError(
            argument="grid",
            expected=f"must be {rank} whole numbers, the sides of a grid of at most "
            f"{tokens} tokens",
            received=f"grid={shape!r}",
        )
    return TokenGrid(tuple(int(size) for size in shape), tokens - math.prod(shape))


def checked_grid(shape: Any, grid: TokenGrid) -> None:
    """Compares a stated grid with the one that the tokens come from.

    Raises:
        InvalidInputError: They differ.
    """
    if not isinstance(shape, (tuple, list)) or tuple(shape) != grid.shape:
        raise InvalidInputError(
            argument="grid",
            expected=f"must be {grid.shape}, the map that the tokens come from",
            remedy="leave it out",
            received=f"grid={shape!r}",
        )


def found_grid(reaches: Sequence[Reach], axis: int, shape: Sequence[int]) -> TokenGrid | None:
    """The grid of tokens along `axis`, read off what they see; `None` if there is none.

    Args:
        reaches: Reach of the tokens along each axis of the input.
        axis: Axis of the tokens.
        shape: Shape of the tensor, the batch not counted.
    """
    if len(reaches) < 2 or not all(_moves(reach, axis) for reach in reaches):
        return None
    tables = [table(reach, shape) for reach in reaches]
    nonempty = np.logical_and.reduce([(field.starts < field.stops).ravel() for field in tables])
    prefix = int(np.argmax(nonempty))
    if not nonempty[prefix:].all():
        return None
    # Where each token lies on the map it comes from; without that, what it sees first.
    starts = [
        np.broadcast_to(
            field.starts if field.places is None else field.places, field.starts.shape
        ).ravel()
        for field in tables
    ]
    starts = [line[prefix:] for line in starts]
    # The last axis runs through its cells while the others stand still.
    sizes: list[int] = []
    count = len(starts[0])
    period = 1
    for line in reversed(starts[1:]):
        changes = np.flatnonzero(line[::period] < np.roll(line[::period], 1))
        turns = changes[changes > 0]
        size = int(turns[0]) if turns.size else count
        if size < 1 or count % size:
            return None
        sizes.insert(0, size)
        count //= size
        period *= size
    grid = TokenGrid((count, *sizes), prefix)
    for place, line in enumerate(starts):
        cells = line.reshape(grid.shape)
        others = tuple(axis for axis in range(cells.ndim) if axis != place)
        if (cells != cells.min(axis=others, keepdims=True)).any():
            return None
    return grid


def _moves(reach: Reach, axis: int) -> bool:
    """Whether a reach differs along the axis and along no other."""
    return (reach.axis,) == (axis,) if isinstance(reach, Line) else reach.axes == (axis,)
