"""Noise whose every value depends on the seed and on its own place alone.

The input is divided into tiles along its spatial axes, and each tile of each
sample has random numbers of its own, from a generator that can start at any
place: Philox 4x64-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random
numbers: as easy as 1, 2, 3"), with the seed as its key and the numbers of
sample, tile and input in its counter. So a part of an image is drawn without
the rest, at the cost of the part, and is the same in a batch of any size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_erf.algebra.geometry import Box
from keras_erf.inputs.sources import Batches, InputSpec, Source

__all__ = ["noise"]

# Values of a tile: with fewer, calls cost more; with more, what is drawn around a small part.
TILE = 768
# Values per step: enough to hide the cost of calls, few enough for the cache.
CHUNK = 2**15


def noise(kind: str, specs: Sequence[InputSpec], seed: int, *, first: int = 0) -> Source:
    """A source without an end.

    Args:
        kind: `"normal"` (standard normal), `"uniform"` (in [0, 1)) or `"zeros"`.
        specs: The inputs that get noise.
        seed: Whole number of at least 0, of any size.
        first: Number of the first of `specs` among the model's inputs; each
            number has noise of its own.

    Returns:
        A `Source` of float32 draws, turned into the inputs' dtypes.
    """

    def batches(size: int) -> Batches:
        drawn = [_Drawn(kind, spec, seed, number) for number, spec in enumerate(specs, first)]
        for start in itertools.count(0, size):
            yield [source.samples(range(start, start + size)) for source in drawn]

    return Source(f"{kind} noise", None, batches, [])


class _Stream:
    """The random numbers of one kind, seed and input, from any place on."""

    def __init__(self, kind: str, seed: int, number: int) -> None:
        self.kind, self.number = kind, number
        key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self.bits = np.random.Philox(key=key)
        self.uniform = np.random.Generator(self.bits)
        self.state = self.bits.state

    def fill(self, pairs: np.ndarray, places: Sequence[tuple[int, int]]) -> None:
        """Fills float32 pairs, `(places, 2, any)`; a place is a sample and a tile."""
        for numbers, (sample, tile) in zip(pairs, places, strict=True):
            # The first word counts on within the tile. A new generator would cost six times this.
            self.state["state"]["counter"][:] = 0, sample, tile, self.number
            self.bits.state = self.state
            self.uniform.random(dtype=np.float32, out=numbers)
        if self.kind == "normal":
            _make_normal(pairs)


def _make_normal(pairs: np.ndarray) -> None:
    """Turns pairs of uniform numbers, along axis 1, into normal ones (Box and Muller 1958).

    Unlike by rejection, each number takes a fixed share of the stream, and the
    whole is a few calls. In place: fresh memory would cost as much again.
    """
    radius, angle = pairs[:, 0], pairs[:, 1]
    np.negative(radius, out=radius)
    np.log1p(radius, out=radius)
    radius *= np.float32(-2)
    np.sqrt(radius, out=radius)
    angle *= np.float32(2 * math.pi)
    sine = np.sin(angle)
    np.cos(angle, out=angle)
    angle *= radius
    radius *= sine


def _edge(spatial: Sequence[int], channels: int) -> int:
    """The longest edge of tiles of not more than `TILE` values, all channels together."""

    def values(edge: int) -> int:
        return math.prod(min(edge, size) for size in spatial) * channels

    edge = 1
    while edge < max(spatial) and values(edge + 1) <= TILE:
        edge += 1
    return edge


class _Tiles:
    """The tiles that cover a box of an input, in rows along its first axis."""

    def __init__(self, sizes: Sequence[int], box: Box) -> None:
        *spatial, channels = sizes
        rank, edge = len(spatial), _edge(spatial, channels)
        edges = [min(edge, size) for size in spatial]
        counts = [-(-size // edge) for size, edge in zip(spatial, edges, strict=True)]
        covers = [
            range(start // edge, -(-stop // edge))
            for (start, stop), edge in zip(box[:-1], edges, strict=True)
        ]
        numbers = np.ravel_multi_index(np.ix_(*covers), counts)
        self.numbers: list[list[int]] = numbers.reshape(len(covers[0]), -1).tolist()
        self.values = math.prod(edges) * channels
        # A row of tiles as it is drawn, and as pixels: each axis of tiles before that within them.
        self.drawn = (*numbers.shape[1:], *edges, channels)
        self.order = (0, rank, *(axis for k in range(1, rank) for axis in (k, rank + k)), 2 * rank)
        spans = [len(cover) * edge for cover, edge in zip(covers, edges, strict=True)]
        self.pixels = (edges[0], *spans[1:], channels)
        # The box from the first tile on.
        inside = [
            (start - cover.start * edge, stop - cover.start * edge)
            for (start, stop), cover, edge in zip(box[:-1], covers, edges, strict=True)
        ]
        self.rows_wanted = inside[0]
        self.cut = tuple(slice(*pair) for pair in (*inside[1:], box[-1]))

    def rows(self, tiles: np.ndarray) -> np.ndarray:
        """Pixels of rows of tiles, `(rows, height, ...)`, cut to the box along the other axes."""
        rows = len(tiles) // len(self.numbers[0])
        values = tiles.reshape(len(tiles), -1)[:, : self.values].reshape(rows, *self.drawn)
        pixels = values.transpose(self.order).reshape(rows, *self.pixels)
        return pixels[(slice(None), slice(None), *self.cut)]

    def place(self, part: np.ndarray, pixels: np.ndarray, row: int) -> None:
        """Puts one row of tiles where it belongs in the box."""
        (start, stop), height = self.rows_wanted, len(pixels)
        top = row * height
        low, high = max(start, top), min(stop, top + height)
        part[low - start : high - start] = pixels[low - top : high - top]


class _Drawn:
    """Noise for the part of one input."""

    def __init__(self, kind: str, spec: InputSpec, seed: int, number: int) -> None:
        self.spec = spec
        self.stream = _Stream(kind, seed, number)
        self.nothing = kind == "zeros" or 0 in spec.part_shape
        if self.nothing:
            return
        # Tiles have the channels last, after at least one spatial axis.
        sizes, box = list(spec.shape), list(spec.box)
        if sizes:
            sizes.append(sizes.pop(spec.channel_axis))
            box.append(box.pop(spec.channel_axis))
        self.missing = max(0, 2 - len(sizes))
        self.tiles = _Tiles([1] * self.missing + sizes, ((0, 1),) * self.missing + tuple(box))

    def samples(self, numbers: range) -> np.ndarray:
        """The samples of these numbers, `(samples, *part)`."""
        drawn = np.zeros((len(numbers), *self.spec.part_shape), np.float32)
        if not self.nothing:
            self._draw(self._channels_last(drawn), numbers)
        return drawn.astype(self.spec.dtype, copy=False)

    def _channels_last(self, images: np.ndarray) -> np.ndarray:
        """The same values, as tiles have them."""
        if images.ndim > 1:
            images = np.moveaxis(images, 1 + self.spec.channel_axis, -1)
        return np.expand_dims(images, tuple(range(1, 1 + self.missing)))

    def _draw(self, images: np.ndarray, numbers: range) -> None:
        tiles = self.tiles
        across = len(tiles.numbers[0])
        rows = list(itertools.product(range(len(numbers)), range(len(tiles.numbers))))
        chunk = max(1, CHUNK // (across * tiles.values))
        pairs = np.empty((chunk * across, 2, -(-tiles.values // 2)), np.float32)
        for first in range(0, len(rows), chunk):
            group = rows[first : first + chunk]
            places = [(numbers[k], tile) for k, row in group for tile in tiles.numbers[row]]
            filled = pairs[: len(places)]
            self.stream.fill(filled, places)
            for (k, row), pixels in zip(group, tiles.rows(filled), strict=True):
                tiles.place(images[k], pixels, row)
