"""Masks of a part of a tensor: what is carried backwards costs the field, not the tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_erf.algebra.geometry import Box, Window, bounding_box
from keras_erf.algebra.views import AnyView, Link, Shape, View

__all__ = ["BoxedMask", "seen_by", "together"]


@dataclass(frozen=True, eq=False)
class BoxedMask:
    """The marked elements of a tensor, all of them inside of a box.

    Args:
        mask: Boolean array over the box.
        starts: First index of the box along each axis; `None` if the mask spans the whole axis,
            in full or, of length 1, for all of its entries, which then agree.
    """

    mask: np.ndarray
    starts: tuple[int | None, ...]

    def full(self, shape: Shape) -> np.ndarray:
        """The mask over the whole tensor; axes of length 1 may stand for whole ones."""
        if all(start is None for start in self.starts):
            return self.mask
        sizes = [
            own if start is None else size
            for own, size, start in zip(self.mask.shape, shape, self.starts, strict=True)
        ]
        # Zeros that are never written to take no memory.
        result = np.zeros(sizes, dtype=bool)
        result[self._slices()] = self.mask
        return result

    def box(self, shape: Shape) -> Box:
        """Smallest box of the marked elements; `(0, 0)` along each axis if there are none."""
        found = []
        for (first, last), own, size, start in zip(
            bounding_box(self.mask), self.mask.shape, shape, self.starts, strict=True
        ):
            if start is None and own == 1 < size:
                found.append((0, size) if last else (0, 0))
            else:
                found.append((first + (start or 0), last + (start or 0)) if last else (0, 0))
        return tuple(found)

    def without(self, axis: int) -> BoxedMask:
        """The elements of the other axes where any along `axis` is marked."""
        starts = self.starts[:axis] + self.starts[axis + 1 :]
        return BoxedMask(np.asarray(self.mask.any(axis=axis)), starts)

    def _slices(self) -> tuple[slice, ...]:
        pairs = zip(self.starts, self.mask.shape, strict=True)
        return tuple(
            slice(None) if start is None else slice(start, start + size) for start, size in pairs
        )


def together(first: BoxedMask, second: BoxedMask, shape: Shape) -> BoxedMask:
    """The elements that either part marks."""
    for one in (first, second):
        if one.mask.size == 1 and one.mask.all() and all(start is None for start in one.starts):
            # All of them.
            return one
    starts: list[int | None] = []
    sizes: list[int] = []
    for axis, pair in enumerate(zip(first.starts, second.starts, strict=True)):
        lengths = [one.mask.shape[axis] for one in (first, second)]
        if None in pair:
            starts.append(None)
            sizes.append(shape[axis] if pair != (None, None) else max(lengths))
        else:
            ends = [(a or 0) + length for a, length in zip(pair, lengths, strict=True)]
            starts.append(min(a for a in pair if a is not None))
            sizes.append(max(ends) - min(a or 0 for a in pair))
    result = np.zeros(sizes, dtype=bool)
    for one in (first, second):
        slices = tuple(
            slice(None) if own is None else slice(own - (start or 0), own - (start or 0) + length)
            for own, start, length in zip(one.starts, starts, one.mask.shape, strict=True)
        )
        result[slices] |= one.mask
    return BoxedMask(result, tuple(starts))


def seen_by(view: AnyView, part: BoxedMask, output: Shape, shape: Shape) -> BoxedMask:
    """What the marked elements of a view's output see of its input; see `AnyView.mask`."""
    if not isinstance(view, View) or not _takes_axes_alone(view):
        return _cut(view.mask(part.full(output), output, shape), shape)
    used = [link.axis for link in view.links if link.axis is not None]
    unused = tuple(axis for axis in range(part.mask.ndim) if axis not in used)
    order = np.argsort(np.argsort(used))
    kept = np.transpose(part.mask.any(axis=unused), order)
    starts = [part.starts[axis] for axis in used]
    found: list[int | None] = []
    for axis, (link, size) in enumerate(zip(view.links, shape, strict=True)):
        if link.axis is None:
            kept = np.expand_dims(kept, axis)
            found.append(None)
            continue
        start = starts[len([one for one in view.links[:axis] if one.axis is not None])]
        lines = np.moveaxis(kept, axis, 0)
        if start is None and len(lines) == 1 < output[link.axis]:
            every = link.relation.backward(np.ones(output[link.axis], dtype=bool), size)
            if every.all():
                found.append(None)
                continue
            lines, start = every.reshape((-1,) + (1,) * (lines.ndim - 1)) & lines, None
        else:
            lines, start = _moved(link, lines, start or 0, output[link.axis], size)
        kept = np.moveaxis(lines, 0, axis)
        found.append(start)
    return BoxedMask(kept, tuple(found))


def _takes_axes_alone(view: View) -> bool:
    used = [link.axis for link in view.links if link.axis is not None]
    return len({*used}) == len(used)


def _moved(
    link: Link, lines: np.ndarray, start: int, outputs: int, size: int
) -> tuple[np.ndarray, int]:
    """What is seen along one axis by outputs from `start` on, and where it starts."""
    window = link.relation
    if not isinstance(window, Window):
        wide = np.zeros((outputs, *lines.shape[1:]), dtype=bool)
        wide[start : start + len(lines)] = lines
        seen = window.backward(wide, size)
        ((first, last),) = bounding_box(np.asarray(seen.any(axis=tuple(range(1, seen.ndim)))))
        return seen[first : max(last, first + 1)], first
    # The window on the part: outputs and inputs are counted from its beginning.
    low = start * window.stride - window.padding
    high = (start + len(lines) - 1) * window.stride - window.padding
    first = min(max(-(-low // window.up), 0), size - 1)
    stop = min((high + (window.size - 1) * window.dilation) // window.up + 1, size)
    moved = replace(window, padding=window.padding - start * window.stride + window.up * first)
    return moved.backward(lines, max(stop - first, 1)), first


def _cut(mask: np.ndarray, shape: Shape) -> BoxedMask:
    """A mask over a whole tensor, cut to what is marked."""
    starts: list[int | None] = []
    slices = []
    for (first, last), own, size in zip(bounding_box(mask), mask.shape, shape, strict=True):
        whole = own == 1 < size
        starts.append(None if whole else first)
        slices.append(slice(None) if whole else slice(first, max(last, first + 1)))
    return BoxedMask(mask[tuple(slices)], tuple(starts))
