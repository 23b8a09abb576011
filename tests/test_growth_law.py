"""Power laws and their errors: exact laws, ordinary regression, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from keras_erf import analysis, theory
from keras_erf.errors import InvalidInputError

DEPTHS = (5, 10, 20, 40)


def test_an_exact_law_is_found():
    law = analysis.fit_power_law(DEPTHS, 3.0 * np.array(DEPTHS) ** -0.43)
    assert law.exponent == pytest.approx(-0.43, abs=1e-12)
    assert law.prefactor == pytest.approx(3.0, rel=1e-12)
    assert law.error == pytest.approx(0, abs=1e-12)
    assert law.r_squared == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(law([1, 100]), [3.0, 3.0 * 100**-0.43], rtol=1e-12)


def test_errors_are_those_of_ordinary_regression():
    x = np.array([5, 8, 10, 20, 30, 40.0])
    y = np.array([4.0, 6.1, 6.0, 9.4, 11.0, 14.2])
    law, wanted = analysis.fit_power_law(x, y), stats.linregress(np.log(x), np.log(y))
    assert law.exponent == pytest.approx(wanted.slope, rel=1e-12)
    assert law.error == pytest.approx(wanted.stderr, rel=1e-12)
    assert law.r_squared == pytest.approx(wanted.rvalue**2, rel=1e-12)
    reach = stats.t(4).ppf(0.975) * wanted.stderr
    assert (law.low, law.high) == pytest.approx((wanted.slope - reach, wanted.slope + reach))


def test_two_points_have_no_residuals():
    law = analysis.fit_power_law([1, 4], [1, 2])
    assert law.exponent == pytest.approx(0.5)
    assert np.isnan(law.error)


def noisy_blocks(random: np.random.Generator, runs: int = 16):
    """For each depth, runs of a map of one pixel whose mean is the root of the depth."""
    return [(depth**0.5 * random.gamma(10, 0.1, (runs, 1)), np.ones(runs, int)) for depth in DEPTHS]


def first(mean: np.ndarray) -> float:
    return float(mean[0])


def test_resampled_runs_cover_the_true_exponent():
    # The errors of a mean of 16 runs of spread 0.316 at each of four depths, carried to the slope.
    at = np.log(DEPTHS)
    wanted = 0.1**0.5 / 4 / np.sqrt(np.square(at - at.mean()).sum())
    random, covered, errors = np.random.default_rng(0), 0, []
    for number in range(200):
        law = analysis.bootstrap_power_law(
            DEPTHS, noisy_blocks(random), figure=first, resamples=100, seed=number
        )
        covered += law.low <= 0.5 <= law.high
        errors.append(law.error)
    assert np.mean(errors) == pytest.approx(wanted, rel=0.1)
    assert 0.88 <= covered / 200 <= 0.98


def test_an_interval_is_no_narrower_than_the_errors_stated():
    # Runs that are all alike: resampling sees nothing, and only what `spread` tells is left.
    blocks = [(np.full((4, 1), value), np.ones(4, int)) for value in (1.0, 2.0)]
    law = analysis.bootstrap_power_law(
        [1, np.e],
        blocks,
        figure=first,
        spread=lambda sums, counts: (sums[0, 0], sums[0, 0], 0.1),
        level=0.95,
    )
    # A line through two points: relative errors of 0.1 and 0.05 add as squares.
    reach = stats.norm.ppf(0.975) * np.hypot(0.1, 0.05)
    assert law.error == pytest.approx(0, abs=1e-12)
    assert (law.low, law.high) == pytest.approx((np.log(2) - reach, np.log(2) + reach))


def test_scales_and_seeds():
    blocks = noisy_blocks(np.random.default_rng(1))
    plain = analysis.bootstrap_power_law(DEPTHS, blocks, figure=first, seed=3)
    again = analysis.bootstrap_power_law(DEPTHS, blocks, figure=first, seed=3)
    other = analysis.bootstrap_power_law(DEPTHS, blocks, figure=first, seed=4)
    assert plain == again
    assert plain.error != other.error
    scaled = analysis.bootstrap_power_law(DEPTHS, blocks, figure=first, scale=DEPTHS, seed=3)
    assert scaled.exponent == pytest.approx(plain.exponent - 1, rel=1e-12)
    assert scaled.error == pytest.approx(plain.error, rel=1e-9)


def test_blocks_of_several_runs_weigh_as_many():
    sums, counts = np.array([[6.0], [1.0]]), np.array([3, 1])
    law = analysis.bootstrap_power_law(
        [1, 2], [(sums, counts), (2 * sums, counts)], figure=first, resamples=10
    )
    assert law.prefactor == pytest.approx(7 / 4)
    assert law.exponent == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: analysis.fit_power_law([1, 1], [1, 2]), "`x` must hold at least two different"),
        (lambda: analysis.fit_power_law([1, 2], [1, 2, 3]), "`y` one for each"),
        (lambda: analysis.fit_power_law([0, 2], [1, 2]), "`x` must be positive"),
        (lambda: analysis.fit_power_law([1, 2], [1, -2]), "`y` must be positive"),
        (
            lambda: analysis.bootstrap_power_law([1, 2], [([[1.0]], [1])] * 2, resamples=0),
            "`resamples` must be a whole number of at least 2",
        ),
        (
            lambda: analysis.bootstrap_power_law([1, 2], [([[1.0]], [1])] * 2, scale=[1, 2, 3]),
            "`scale` must be one number, or one for each of 2 depths",
        ),
        (lambda: analysis.fit_power_law([1, 2], [1, 2], level=95), "`level` must lie between"),
    ],
)
def test_bad_arguments_are_reported(call, text):
    with pytest.raises(InvalidInputError, match=text):
        call()


def test_sizes_of_noisy_maps_are_covered():
    # g^2 of wide networks: means of squared Gaussians over 16 channels, 16 runs at each depth.
    random, depths, covered = np.random.default_rng(0), (3, 5, 8, 12), 0
    true = theory.growth_exponents(depths)[0]
    for number in range(25):
        blocks = []
        for depth in depths:
            mean = theory.uniform_map(depth)
            maps = np.square(random.standard_normal((16, 16, *mean.shape))).mean(axis=1) * mean
            blocks.append((maps, np.ones(16, int)))
        law = analysis.bootstrap_power_law(depths, blocks, resamples=60, seed=number)
        covered += law.low <= true <= law.high
    assert covered >= 22
