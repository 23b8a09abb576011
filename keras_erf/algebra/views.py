"""How one input tensor of a layer is seen by one of its outputs.

A `View` puts one relation on each axis and takes the axes one by one. Any view
carries fields forwards (`follow`: from the reach of an input to that of the
output), masks backwards (`mask`: from the outputs asked for to the inputs they
see) and forwards (`spread`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from keras_erf.algebra.geometry import Relation, Window
from keras_erf.algebra.intervals import Line, Reach, simplified, table

__all__ = ["AnyView", "Link", "Shape", "Status", "View", "least_sure"]

Shape = tuple[int, ...]
Status = Literal["exact", "measured", "bound"]
# From the surest to the least sure one.
STATUSES: tuple[Status, ...] = ("exact", "measured", "bound")

SAME_INDEX = Window()


def least_sure(statuses: Iterable[Status]) -> Status:
    """The status of several things together; of none, `"exact"`."""
    return max(statuses, key=STATUSES.index, default="exact")


@dataclass(frozen=True)
class Link:
    """Ties one axis of an input tensor to one axis of the output.

    Args:
        axis: Output axis (the batch not counted) the input axis follows, or
            `None` when every index of the input axis is used.
        relation: How it follows.
        clip: Whether what lies outside of the input axis is nothing, and not
            padding around it; needed where neighbours come from elsewhere
            (concatenation).
    """

    axis: int | None
    relation: Relation = SAME_INDEX
    clip: bool = False


class AnyView(Protocol):
    """How one input tensor of a layer is seen by one of its outputs."""

    @property
    def input(self) -> int:
        """Which of the layer's inputs is seen."""

    @property
    def output(self) -> int:
        """Which of the layer's outputs sees it."""

    @property
    def gathers(self) -> bool:
        """Whether `through_global=False` leaves it out whatever it looks like."""

    @property
    def status(self) -> Status:
        """How sure the view is."""

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Output axis that each input axis follows, as far as it follows a single one."""

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, of shape `output`, given that of the input, of `shape`."""

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Boolean mask of the input, of `shape`, seen by the mask `seen` of the output.

        A mask's axis of length 1 stands for the whole axis where all its
        entries agree: channels usually do, and then cost nothing.
        """

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Boolean mask of the output, full size, that sees any `marked` input; `mask` reversed."""


@dataclass(frozen=True)
class View:
    """A link per axis of the input.

    Two views of one input are united: a normalisation over space sees its own
    position and, through its statistics, all of them.

    Args:
        links: One `Link` per axis of the input, the batch not counted.
        input: Which of the layer's inputs is seen.
        output: Which of the layer's outputs sees it.
        gathers: Whether this is a path through all of space (attention, a
            recurrent state), which `through_global=False` leaves out. Links
            that take in a whole axis count as such by themselves.
        status: How sure the view is.
        hidden: Whether some of what is seen has no gradient.
    """

    links: tuple[Link, ...]
    input: int = 0
    output: int = 0
    gathers: bool = False
    status: Status = "exact"
    hidden: bool = False

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Output axis that each input axis follows."""
        return tuple(link.axis for link in self.links)

    @cached_property
    def _same(self) -> bool:
        """Whether every index sees the same index."""
        return all(
            link.axis == axis and (link.relation is SAME_INDEX or link.relation == SAME_INDEX)
            for axis, link in enumerate(self.links)
        )

    def is_same(self, output: Shape, shape: Shape) -> bool:
        """Whether each element of the output sees that of the same place, and no other."""
        return output == shape and self._same

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, given that of the input; see `AnyView`."""
        if self.is_same(output, shape):
            return reach
        if isinstance(reach, Line):
            if reach.axis is None:
                return reach
            link, size = self.links[reach.axis], shape[reach.axis]
            if link.axis is None:
                return reach.whole(size)
            if link.relation.period is not None and not link.clip:
                return reach.after(link.relation, link.axis)
            axes: tuple[int, ...] = (reach.axis,)
            reach = table(reach, shape)
        else:
            axes = reach.axes
        for axis in axes:
            link = self.links[axis]
            if link.axis is None:
                together = reach.whole(axis)
                if together.axes:
                    together = replace(together, gathered=reach.gathered)
                # What is left may move evenly, and go on into the padding.
                return self.follow(simplified(together), output, shape)
        for axis in axes:
            link = self.links[axis]
            assert link.axis is not None
            reach = reach.after(link.relation, axis, output[link.axis])
        kept = set(reach.axes)
        places = [link.axis if axis in kept else None for axis, link in enumerate(self.links)]
        return simplified(reach.transposed(places, len(output)))

    def blind(self, axes: Iterable[int], output: Shape, shape: Shape) -> dict[int, np.ndarray]:
        """Outputs that see nothing along one of the input's `axes`.

        Returns:
            For each output axis along which there are any, a boolean array of
            the indices that see nothing.
        """
        blind: dict[int, np.ndarray] = {}
        for axis in axes:
            link = self.links[axis]
            if link.axis is None:
                continue
            units, counted = link.relation.taps(np.arange(output[link.axis]))
            missing = ~(counted & (units >= 0) & (units < shape[axis])).any(axis=1)
            if missing.any():
                before = blind.get(link.axis, np.zeros_like(missing))
                blind[link.axis] = np.asarray(missing | before)
        return blind

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the input seen by the mask `seen` of the output; see `AnyView`."""
        used = [link.axis for link in self.links if link.axis is not None]
        if len(set(used)) < len(used):
            return self._joint(np.broadcast_to(seen, output), output, shape, backwards=True)
        unused = tuple(axis for axis in range(seen.ndim) if axis not in used)
        # Axes in the order of the input's; those the input does not follow are gathered.
        kept = np.transpose(seen.any(axis=unused), np.argsort(np.argsort(used)))
        for axis, (link, size) in enumerate(zip(self.links, shape, strict=True)):
            if link.axis is None:
                kept = np.expand_dims(kept, axis)
                continue
            if kept.shape[axis] == 1:
                full = link.relation.backward(np.ones(output[link.axis], bool), size)
                if full.all():
                    continue
                line = full.reshape((-1,) + (1,) * (kept.ndim - axis - 1))
                kept = kept & line
            else:
                moved = link.relation.backward(np.moveaxis(kept, axis, 0), size)
                kept = np.moveaxis(moved, 0, axis)
        return kept

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the output that sees any `marked` input; see `AnyView`."""
        used = [link.axis for link in self.links if link.axis is not None]
        if len(set(used)) < len(used):
            return self._joint(np.broadcast_to(marked, shape), output, shape, backwards=False)
        kept: np.ndarray = np.broadcast_to(marked, shape)
        for axis, link in enumerate(self.links):
            if link.axis is None:
                kept = np.any(kept, axis=axis, keepdims=True)
                continue
            units, counted = link.relation.taps(np.arange(output[link.axis]))
            counted = counted & (units >= 0) & (units < shape[axis])
            lines = np.moveaxis(kept, axis, 0)[np.where(counted, units, 0)]
            # Outputs, taps, the other axes.
            counts = counted.reshape(*counted.shape, *[1] * (kept.ndim - 1))
            hit = np.asarray((lines & counts).any(axis=1))
            kept = np.moveaxis(hit, 0, axis)
        gathered = tuple(axis for axis, link in enumerate(self.links) if link.axis is None)
        places = [link.axis for link in self.links if link.axis is not None]
        kept = np.transpose(np.squeeze(kept, gathered), np.argsort(places))
        missing = sorted(set(range(len(output))) - set(places))
        return np.broadcast_to(np.expand_dims(kept, missing), output)

    def _joint(
        self, mask: np.ndarray, output: Shape, shape: Shape, *, backwards: bool
    ) -> np.ndarray:
        """`mask` and `spread` where several axes follow one: a grid laid out in a row, say."""
        linked = [axis for axis, link in enumerate(self.links) if link.axis is not None]
        places = [link.axis for link in self.links if link.axis is not None]
        rank = len(shape)
        tables: list[Any] = []
        for axis, place in zip(linked, places, strict=True):
            units, counted = self.links[axis].relation.taps(np.arange(output[place]))
            table = np.zeros((output[place], shape[axis]), dtype=np.float32)
            rows, taps = np.nonzero(counted & (units >= 0) & (units < shape[axis]))
            table[rows, units[rows, taps]] = 1
            tables += [table, [rank + place, axis]]
        own = [rank + place for place in range(len(output))] if backwards else list(range(rank))
        result = linked if backwards else sorted({rank + place for place in places})
        found = np.einsum(mask.astype(np.float32), own, *tables, result, optimize=True) > 0
        full = range(rank) if backwards else range(rank, rank + len(output))
        found = np.expand_dims(found, [at for at, one in enumerate(full) if one not in result])
        return np.broadcast_to(found, shape if backwards else output)
