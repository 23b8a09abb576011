"""Area ratios: the published one as published, its twin as promised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import erfinv

from keras_erf.analysis import AreaRatio, high_contribution_area, mass_area
from keras_erf.errors import InvalidInputError
from tests import oracles

# The other tests run without it.
pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

SHARES = (0.2, 0.3, 0.5, 0.99)
MAPS = arrays(
    np.float64,
    array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(0, 50).map(float),
).filter(lambda values: values.any())


def published_ratio(values: np.ndarray, share: float) -> tuple[int, float] | None:
    """RepLKNet's ratio pixel by pixel: for each odd side, ask every pixel whether it is inside."""
    scores = {index: math.log10(value + 1) for index, value in np.ndenumerate(values)}
    highest = max(scores.values())
    scores = {index: score / highest for index, score in scores.items()}
    height, width = values.shape
    for side in range(3, 2 * (height // 2), 2):
        inside = [
            score
            for (row, column), score in scores.items()
            if abs(row - height // 2) <= (side - 1) / 2
            and abs(column - width // 2) <= (side - 1) / 2
        ]
        if math.fsum(inside) / math.fsum(scores.values()) > share:
            return side, side * side / height / width
    return None


@pytest.mark.parametrize("shape", [(24, 24), (25, 25), (20, 31), (17, 10), (3, 3), (2, 2)])
@pytest.mark.parametrize("amplitude", [1e-3, 1.0, 1e3])
def test_the_published_ratio_equals_a_pixel_by_pixel_one(shape, amplitude):
    rng = np.random.default_rng(sum(shape))
    middle = [size // 2 for size in shape]
    values = oracles.gaussian_map(shape, middle, np.diag([9.0, 16.0]), amplitude)
    values *= rng.exponential(size=shape)
    for share in (*SHARES, 0.7, 0.9):
        found, expected = high_contribution_area(values, share), published_ratio(values, share)
        if expected is None:
            assert found == AreaRatio(share, None, None)
        else:
            assert found == AreaRatio(share, expected[0], pytest.approx(expected[1], rel=1e-12))


def test_a_known_square():
    values = np.zeros((10, 10))
    values[4:7, 4:7] = 9  # log10(10) = 1
    values[0, 0] = 99999  # log10(100000) = 5
    assert high_contribution_area(values, 0.64) == AreaRatio(0.64, 3, 0.09)
    # 9 of 14 are in the square of side 3, and nothing more before the edge.
    assert high_contribution_area(values, 0.65) == AreaRatio(0.65, None, None)
    assert high_contribution_area(values, 0.5, center=(6, 5)) == AreaRatio(0.5, 5, 0.25)


def test_the_share_must_be_exceeded():
    values = np.zeros((8, 8))
    values[4, 4] = values[4, 6] = 9
    assert high_contribution_area(values, 0.5).side == 5
    assert high_contribution_area(values, 0.4999).side == 3


def test_the_published_ratio_depends_on_the_amplitude():
    bell = oracles.gaussian_map((224, 224), (112, 112), np.eye(2) * 16.0**2)
    ratios = [high_contribution_area(bell * 10.0**power, 0.2).ratio for power in range(-4, 5)]
    assert ratios == sorted(ratios)
    assert ratios[-1] > 3 * ratios[0]


@pytest.mark.parametrize("side", [64, 65])
def test_high_shares_may_have_no_published_answer(side):
    flat = np.ones((side, side))
    assert high_contribution_area(flat, 0.99) == AreaRatio(0.99, None, None)
    assert mass_area(flat, 0.99).ratio == 1


def test_tiny_gradients_still_have_a_published_ratio():
    bell = oracles.gaussian_map((64, 64), (32, 32), np.eye(2) * 36)
    tiny, small = (high_contribution_area(bell * scale, 0.3) for scale in (1e-30, 1e-6))
    assert tiny == small


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("center", "sigma"), [((200, 200), 30), ((200.5, 199.5), 25)])
def test_the_square_of_a_gaussian(share, center, sigma):
    bell = oracles.gaussian_map((401, 401), center, np.eye(2) * sigma**2)
    side = 2 * math.sqrt(2) * erfinv(math.sqrt(share)) * sigma
    found = mass_area(bell, share, center=center)
    assert side - 0.1 < found.side < side + 2.1
    assert found.ratio == pytest.approx(found.side**2 / 401**2)


def test_the_published_ratio_of_a_small_amplitude_is_its_twins():
    bell = oracles.gaussian_map((256, 256), (128, 128), np.eye(2) * 20.0**2) * 1e-9
    for share in SHARES:
        twin = mass_area(bell, share, center=(128, 128))
        assert high_contribution_area(bell, share).side == twin.side


def brute_box(values: np.ndarray, share: float, center: np.ndarray) -> tuple[float, float]:
    """The smallest box by trying every radius at which a pixel comes in."""
    points = list(np.ndindex(values.shape))
    reach = [max(abs(i - c) for i, c in zip(point, center, strict=True)) for point in points]
    for radius in sorted(set(reach)):
        inside = [values[point] for point, r in zip(points, reach, strict=True) if r <= radius]
        if math.fsum(inside) >= share * values.sum() * (1 - 1e-12):
            return 2 * radius + 1, len(inside) / values.size
    raise AssertionError("the whole map holds every share")


@given(
    MAPS,
    st.floats(0.01, 1),
    st.lists(st.integers(-2, 14).map(lambda n: n / 2), min_size=3, max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_the_twin_is_the_smallest_box_that_holds_the_share(values, share, center):
    center = np.array(center[: values.ndim])
    found = mass_area(values, share, center=center)
    assert (found.side, found.ratio) == pytest.approx(brute_box(values, share, center))


@given(MAPS, st.floats(0.01, 1), st.integers(-300, 300), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_the_twin_ignores_amplitude_and_flips(values, share, exponent, flips):
    expected = mass_area(values, share)
    assert mass_area(values * 2.0**exponent, share) == expected
    axes = [axis for axis in range(values.ndim) if flips >> axis & 1]
    assert mass_area(np.flip(values, axes), share) == expected
    assert mass_area(values.T, share) == expected


@given(MAPS)
@settings(max_examples=40, deadline=None)
def test_the_twin_grows_with_the_share(values):
    found = [mass_area(values, share) for share in (0.01, *SHARES, 1)]
    for smaller, larger in itertools.pairwise(found):
        assert smaller.side <= larger.side
        assert smaller.ratio <= larger.ratio
    assert found[0].ratio > 0
    assert found[-1].ratio <= 1


def test_the_map_cuts_the_box():
    values = np.ones((4, 10))
    assert mass_area(values, 1.0, center=(0, 0)) == AreaRatio(1.0, 19, 1)
    assert mass_area(values, 0.1, center=(0, 0)) == AreaRatio(0.1, 3, 0.1)
    # Between four pixels, then sixteen.
    assert mass_area(values, 0.1, center=(1.5, 4.5)) == AreaRatio(0.1, 2, 0.1)
    assert mass_area(values, 0.11, center=(1.5, 4.5)) == AreaRatio(0.11, 4, 0.4)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan])
@pytest.mark.parametrize("ratio", [high_contribution_area, mass_area])
def test_shares_that_mean_nothing_are_refused(ratio, share):
    with pytest.raises(InvalidInputError, match="`share`"):
        ratio(np.ones((8, 8)), share)


@pytest.mark.parametrize("center", [(8, 0), (-1, 3), (1.5, 2), (1,), (1, 2, 3), (math.nan, 1)])
def test_the_published_centre_is_a_pixel(center):
    with pytest.raises(InvalidInputError, match="`center`"):
        high_contribution_area(np.ones((8, 8)), 0.5, center=center)


def test_ranks_and_centres_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInputError, match="use `mass_area`"):
        high_contribution_area(np.ones(8), 0.5)
    with pytest.raises(InvalidInputError, match="`center`"):
        mass_area(np.ones((8, 8)), 0.5, center=(1,))


@pytest.mark.parametrize("ratio", [high_contribution_area, mass_area])
@pytest.mark.parametrize("center", [None, (2, 9), (14, 3)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_part_of_a_map_says_as_much_as_the_map(ratio, center, share):
    whole = np.zeros((17, 16))
    whole[3:9, 7:16] = np.random.default_rng(3).gamma(1, size=(6, 9))
    part = whole[2:9, 7:]
    expected = ratio(whole, share, center=center)
    assert ratio(part, share, center=center, start=(2, 7), shape=(17, 16)) == expected
    # What the part is of does matter, where there is an answer.
    other = ratio(part, share, center=center, start=(2, 7), shape=(19, 16))
    assert expected.ratio is None or other.ratio != expected.ratio


@pytest.mark.parametrize("ratio", [high_contribution_area, mass_area])
@pytest.mark.parametrize(
    ("start", "shape"),
    [((0, 1), (4, 4)), ((-1, 0), (6, 6)), ((0,), (4, 4)), ((0, 0), (4,)), ((1, 1), None)],
)
def test_a_part_lies_inside_of_the_whole(ratio, start, shape):
    with pytest.raises(InvalidInputError, match=r"`start` and `shape` must place .* Received: sta"):
        ratio(np.ones((4, 4)), 0.5, start=start, shape=shape)
