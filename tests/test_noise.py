"""Noise: each value is a function of seed, input, sample and place, and its distribution."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats

from keras_erf.inputs import noise as noise_module
from keras_erf.inputs.noise import noise
from keras_erf.inputs.sources import InputSpec

RNG = np.random.default_rng(11)
# Sizes that span several tiles, by the number of spatial axes.
LARGEST = {0: 1, 1: 1500, 2: 70, 3: 22, 4: 9}


def draw(spec: InputSpec, kind: str = "normal", *, seed=1, first=0, size=3, wanted=3) -> np.ndarray:
    """The first samples of one input, put together from batches."""
    batches = noise(kind, [spec], seed, first=first).batches(size)
    count = -(-wanted // size)
    return np.concatenate([batch for (batch,) in itertools.islice(batches, count)])[:wanted]


def image(*shape: int, dtype: str = "float32", axis: int = -1, part=None) -> InputSpec:
    return InputSpec("image", shape, dtype, axis % len(shape) if shape else axis, part)


def cases(count: int) -> list[tuple]:
    """Inputs of any rank and channel axis, with a part, a batch size and a number each."""
    found = []
    for case in range(count):
        rank = case % 5
        shape = [int(RNG.integers(LARGEST[rank] // 2, LARGEST[rank]) + 1) for _ in range(rank)]
        axis = int(RNG.integers(0, rank + 1))
        shape.insert(axis, int(RNG.choice([1, 2, 3, 5])))
        part = tuple(tuple(sorted(RNG.choice(n + 1, 2, replace=False).tolist())) for n in shape)
        kind, dtype = ("normal", "uniform")[case // 5 % 2], ("float32", "float64")[case % 2]
        size, number = int(RNG.integers(1, 6)), int(RNG.integers(0, 3))
        found.append((kind, tuple(shape), axis, part, dtype, size, number))
    return found


@pytest.mark.parametrize("case", cases(30), ids=str)
def test_a_part_is_the_same_cut_of_the_whole(case):
    kind, shape, axis, part, dtype, size, number = case
    whole = draw(image(*shape, axis=axis), kind, first=number, size=4, wanted=7)
    spec = image(*shape, dtype=dtype, axis=axis, part=part)
    found = draw(spec, kind, first=number, size=size, wanted=7)
    assert found.dtype == dtype
    assert found.shape == (7, *(stop - start for start, stop in part))
    np.testing.assert_array_equal(found, whole[spec.cut])


def test_single_pixels_are_those_of_the_whole():
    whole = draw(image(40, 37, 3), "normal")
    for place in [(0, 0, 0), (39, 36, 2), (15, 16, 1), (16, 15, 0)]:
        part = tuple((one, one + 1) for one in place)
        np.testing.assert_array_equal(
            draw(image(40, 37, 3, part=part))[:, 0, 0, 0], whole[(slice(None), *place)]
        )


@pytest.mark.parametrize("kind", ["normal", "uniform", "zeros"])
def test_an_empty_part_has_no_values(kind):
    found = draw(image(40, 40, 3, part=((5, 5), (0, 9), (0, 3))), kind)
    assert found.shape == (3, 0, 9, 3)


def test_channels_may_come_in_any_order():
    last = draw(image(40, 37, 3))
    np.testing.assert_array_equal(np.moveaxis(draw(image(3, 40, 37, axis=0)), 1, -1), last)
    np.testing.assert_array_equal(np.moveaxis(draw(image(40, 3, 37, axis=1)), 2, -1), last)


def plainly(kind: str, shape: tuple[int, ...], edges: tuple[int, ...], place: tuple) -> np.ndarray:
    """One image, channels last, tile by tile from the counter's definition, in double precision."""
    seed, sample, number = place
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    result = np.full(shape, np.nan)
    starts = itertools.product(*(range(0, n, e) for n, e in zip(shape[:-1], edges, strict=True)))
    count = math.prod(edges) * shape[-1]
    for tile, start in enumerate(starts):
        bits = np.random.Philox(key=key, counter=[0, sample, tile, number])
        values = np.random.Generator(bits).random(count + count % 2, dtype=np.float32)
        if kind == "normal":
            one, other = values.astype(float).reshape(2, -1)
            both = np.exp(2j * np.pi * other) * np.sqrt(-2 * np.log1p(-one))
            values = np.concatenate([both.imag, both.real])
        values = values[:count].reshape(*edges, shape[-1])
        inside = tuple(slice(s, s + e) for s, e in zip(start, edges, strict=True))
        into = result[inside]
        into[...] = values[tuple(slice(n) for n in into.shape)]
    return result


@pytest.mark.parametrize(
    ("shape", "edges"),
    [
        # The longest edges of at most 768 values, with all channels.
        ((40, 37, 3), (16, 16)),
        ((60, 29, 1), (27, 27)),
        ((1000, 2), (384,)),
        ((13, 14, 15, 3), (6, 6, 6)),
        ((20, 11, 5, 1), (13, 11, 5)),
        ((1, 600, 3), (1, 256)),
        ((3, 2, 2000), (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_values_are_those_of_the_counter(kind, shape, edges):
    spec = image(*shape)
    found = draw(spec, kind, seed=2**70 + 5, first=2)
    for sample in range(3):
        expected = plainly(kind, shape, edges, (2**70 + 5, sample, 2))
        np.testing.assert_allclose(found[sample], expected, rtol=0, atol=4e-6)


# -- the distribution --


@pytest.fixture(scope="module")
def many() -> dict[str, np.ndarray]:
    """8 samples of 5 x 5 tiles, the last column of which is cut: 138240 values of each kind."""
    spec = image(80, 72, 3)
    return {kind: draw(spec, kind, size=8, wanted=8) for kind in ("normal", "uniform")}


# E[x^k] for k = 1, 2, ..., 8.
MOMENTS = {"normal": [0, 1, 0, 3, 0, 15, 0, 105], "uniform": [1 / (k + 1) for k in range(1, 9)]}


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_moments(many, kind, order):
    moments, values = MOMENTS[kind], many[kind].astype(float)
    error = math.sqrt((moments[2 * order - 1] - moments[order - 1] ** 2) / values.size)
    assert abs((values**order).mean() - moments[order - 1]) < 5 * error


def test_the_whole_distribution(many):
    assert scipy.stats.kstest(many["normal"].ravel(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(many["uniform"].ravel(), "uniform").pvalue > 1e-3
    assert many["uniform"].min() >= 0
    assert many["uniform"].max() < 1
    # Nine values are expected beyond 4; a uniform number of 24 bits gives no radius beyond 5.77.
    assert 4 < np.abs(many["normal"]).max() < math.sqrt(2 * 24 * math.log(2))


def uncorrelated(one: np.ndarray, other: np.ndarray) -> None:
    """Neither values nor their squares of two independent draws go together."""
    for power in (1, 2):
        a, b = one.astype(float).ravel() ** power, other.astype(float).ravel() ** power
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(a.size)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("axis", range(4), ids=["samples", "rows", "columns", "channels"])
def test_neighbours_are_uncorrelated(many, kind, axis):
    values = np.moveaxis(many[kind], axis, 0)
    for lag in (1, 2):
        uncorrelated(values[lag:], values[:-lag])


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_tiles_and_the_halves_of_tiles_are_uncorrelated(many, kind):
    values = many[kind]
    uncorrelated(values[:, :64], values[:, 16:])  # the tile below
    uncorrelated(values[:, :, :48], values[:, :, 16:64])  # the tile to the right
    tiles = values[:, :64, :64].reshape(8, 4, 2, 8, 4, 16, 3)
    uncorrelated(tiles[:, :, 0], tiles[:, :, 1])  # the pairs of one radius and angle
    uncorrelated(many["normal"], many["uniform"][::-1])


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_seeds_and_inputs_are_uncorrelated(many, kind):
    spec = image(80, 72, 3)
    uncorrelated(many[kind], draw(spec, kind, seed=2, size=8, wanted=8))
    uncorrelated(many[kind], draw(spec, kind, first=1, size=8, wanted=8))


def test_no_run_of_values_comes_twice():
    spec = image(40, 40, 3)
    streams = np.concatenate([
        draw(spec, "uniform", seed=seed, first=number)[:, :32, :32].reshape(3, 2, 16, 2, 16, 3)
        .swapaxes(2, 3).reshape(12, 768)
        for seed, number in itertools.product((0, 1, 2**64), (0, 1))
    ])  # fmt: skip
    # Four values have 96 bits; a stream that ran into another one would share runs with it.
    runs = np.lib.stride_tricks.sliding_window_view(streams, 4, axis=1).reshape(-1, 4)
    assert len(np.unique(runs, axis=0)) == len(runs) == 72 * 765


def test_seeds_of_any_size():
    seeds = [0, 1, 2**32, 2**64 - 1, 2**64, 2**128, 2**128 + 1, 10**60]
    draws = {draw(image(6, 6, 3), seed=seed).tobytes() for seed in seeds}
    assert len(draws) == len(seeds)
    one, other = (draw(image(6, 6, 3), seed=seed) for seed in (7, np.int64(7)))
    np.testing.assert_array_equal(one, other)


# -- the cost --


@pytest.mark.parametrize("size", [256, 4096])
@pytest.mark.parametrize("kind", ["normal", "uniform", "zeros"])
def test_a_part_costs_what_a_part_does(monkeypatch, kind, size):
    tiles = []
    fill = noise_module._Stream.fill
    monkeypatch.setattr(
        noise_module._Stream,
        "fill",
        lambda self, pairs, places: (tiles.extend(places), fill(self, pairs, places)),
    )
    spec = image(size, size, 3, part=((101, 144), (51, 94), (0, 3)))
    tracemalloc.start()
    (batch,) = next(noise(kind, [spec], 0).batches(8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Rows 96 to 144 and columns 48 to 96 of the image are tiles of 16 x 16.
    assert len(tiles) == (0 if kind == "zeros" else 8 * 3 * 3)
    # Besides the batch, a chunk and its passes over it.
    assert peak < batch.nbytes + 4 * 4 * noise_module.CHUNK + 50_000
