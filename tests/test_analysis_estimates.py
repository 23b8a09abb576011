"""Intervals against tabulated quantiles, and errors of counts against repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from keras_erf.analysis import Estimate, erf_size, fit_gaussian, jackknife, mass_region, moments
from keras_erf.analysis.counting import balanced_means, mass_size_spreads, size_spread
from keras_erf.analysis.estimates import Spread, estimate
from keras_erf.analysis.refits import refit_gaussian
from keras_erf.analysis.spreads import bell_spreads, moment_spreads
from keras_erf.errors import InvalidInputError
from tests import oracles


def mass_size(sums: np.ndarray, counts: np.ndarray) -> Spread:
    return mass_size_spreads(sums, counts)[0]


# -- intervals --


# Student's quantiles as printed in every table: 95 % and 99 %, both sides.
@pytest.mark.parametrize(
    ("degrees", "level", "quantile"),
    [(15, 0.95, 2.131), (15, 0.99, 2.947), (1, 0.95, 12.706), (7, 0.9, 1.895)],
)
def test_the_interval_has_students_quantile(degrees, level, quantile):
    found = estimate(Spread(10.0, 10.5, 2.0), degrees=degrees, level=level)
    assert isinstance(found, Estimate)
    assert (found.value, found.error) == (10, 2)
    assert found.low == pytest.approx(10.5 - 2 * quantile, abs=2e-3)
    assert found.high == pytest.approx(10.5 + 2 * quantile, abs=2e-3)


def test_an_interval_holds_the_figure_and_no_impossible_value():
    found = estimate(
        Spread([0.9, 0.5], [0.99, 0.02], [0.01, 0.02]), degrees=15, level=0.95, least=0, most=1
    )
    np.testing.assert_allclose(found.low, [0.9, 0])
    np.testing.assert_allclose(found.high, [1, 0.5])


def test_without_an_error_nothing_is_known_and_with_none_everything():
    alone = estimate(Spread(3.0, math.nan, math.nan), degrees=0, level=0.95)
    assert all(map(math.isnan, (alone.error, alone.low, alone.high)))
    exact = estimate(Spread(3.0, 3.0, 0.0), degrees=0, level=0.95)
    assert (exact.error, exact.low, exact.high) == (0, 3, 3)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
def test_a_level_is_a_probability(level):
    with pytest.raises(
        InvalidInputError, match=r"`level` must lie between 0 and 1.*Received: level"
    ):
        estimate(Spread(3.0, 3.0, 1.0), degrees=3, level=level)


# -- balanced replicates --


@pytest.mark.parametrize("counts", [[1] * 16, [4] * 5, [1, 2, 3, 10, 5, 1, 1], [3, 2]])
def test_replicates_scatter_as_the_jackknife_says(counts):
    counts = np.array(counts)
    sums = np.random.default_rng(1).random((counts.size, 3, 4)) + 20 * counts[:, None, None]
    replicates = np.array(list(balanced_means(sums, counts)))
    assert len(replicates) == 2 ** (1 + math.ceil(math.log2(counts.size + 1)))
    mean, error = jackknife(sums, counts, lambda values: values)
    np.testing.assert_allclose(replicates.mean(axis=0), mean, rtol=1e-12)
    np.testing.assert_allclose(replicates.std(axis=0), error, rtol=1e-9)
    # Not only pixel by pixel: the error of a sum over pixels comes out, too.
    total = jackknife(sums, counts, np.sum)[1]
    assert replicates.sum(axis=(1, 2)).std() == pytest.approx(total, rel=1e-9)


def test_replicates_of_maps_without_negative_values_have_none():
    sums = np.zeros((4, 6))
    sums[np.arange(4), np.arange(4)] = 1
    assert min(one.min() for one in balanced_means(sums, np.ones(4))) == 0
    mixed = list(balanced_means(np.concatenate([sums, -3 * sums]), np.ones(8)))
    # Signed maps count by their absolute value, as all figures do.
    assert min(one.min() for one in mixed) >= 0
    assert max(one.max() for one in mixed) > 0.25


def experiments(shape: tuple[int, ...], runs: int) -> tuple[np.ndarray, np.ndarray]:
    """A bell with a noisy top: (its map, block sums of many runs of 16 blocks)."""
    rng = np.random.default_rng(2)
    # No symmetry: a count of pixels that come in equal eights moves in steps of eight.
    center = np.subtract(shape, 1) / 2 + (0.21, 0.37, 0.13)[: len(shape)]
    bell = oracles.gaussian_map(shape, center, np.diag([20.0, 17, 14][: len(shape)]))
    return bell, bell * rng.gamma(4, 1 / 4, size=(runs, 16, *shape))


def test_the_error_of_the_size_is_its_distance_from_the_truth():
    bell, runs = experiments((29, 29), 200)
    counts = np.ones(16)
    values, centres, errors = np.array([size_spread(sums, counts) for sums in runs]).T
    np.testing.assert_array_equal(values, [erf_size(sums.mean(axis=0)) for sums in runs])
    truth = erf_size(bell)
    distance = np.sqrt(np.mean((values - truth) ** 2))
    assert np.sqrt((errors**2).mean()) == pytest.approx(distance, rel=0.3)
    # The peak is too high: sizes are too small, by more than their scatter, and the centre less.
    assert truth - values.mean() > values.std()
    assert abs(centres.mean() - truth) < 0.6 * (truth - values.mean())


def test_the_jackknife_is_too_wide_for_counts():
    # What replicates are for: pixels cross the threshold by themselves, about a peak that is sure.
    bell, runs = experiments((29, 29), 150)
    runs[:, :, 14, 14] = 2 * bell.max()
    counts = np.ones(16)
    found = np.array([size_spread(sums, counts) for sums in runs])
    scatter = found[:, 0].std()
    assert np.sqrt((found[:, 2] ** 2).mean()) == pytest.approx(scatter, rel=0.15)
    plain = [jackknife(sums, counts, erf_size)[1] for sums in runs]
    assert np.sqrt(np.mean(np.square(plain))) > 1.3 * scatter


def test_the_error_of_the_mass_size_is_its_distance_from_the_truth():
    bell, runs = experiments((29, 29), 200)
    counts = np.ones(16)
    found = np.array([mass_size(sums, counts) for sums in runs])
    truth = mass_region(bell).size
    np.testing.assert_array_equal(
        found[:5, 0], [mass_region(sums.mean(axis=0)).size for sums in runs[:5]]
    )
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    distance = np.sqrt(np.mean((found[:, 0] - truth) ** 2))
    assert np.sqrt((found[:, 2] ** 2).mean()) == pytest.approx(distance, rel=0.3)


@pytest.mark.parametrize("ndim", [1, 3])
def test_sizes_of_any_rank(ndim):
    _, runs = experiments((23,) * ndim, 1)
    for spread, region in ((size_spread, erf_size), (mass_size, None)):
        value, centre, error = spread(runs[0], np.ones(16))
        expected = (region or (lambda one: mass_region(one).size))(runs[0].mean(axis=0))
        assert value == pytest.approx(expected)
        assert 0 < error < 6
        assert abs(centre - value) < 3 * error + 1


def test_impact_in_one_block_only_leaves_no_error():
    sums = np.zeros((4, 5, 5))
    sums[2, 1:3, 1:3] = 0.1
    for spread in (size_spread, mass_size):
        value, _, error = spread(sums, np.ones(4))
        assert value == 2
        assert math.isnan(error)


def test_two_blocks_without_a_pixel_in_common():
    sums = np.zeros((2, 5, 5))
    sums[0, 0, 0], sums[1, 4, 4] = 1, 3
    for spread in (size_spread, mass_size):
        assert np.isfinite(spread(sums, np.ones(2))).all()


# -- Gaussians nearby --


def maps_nearby(noise: float, shape: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    center = np.subtract(shape, 1) / 2 + 0.3
    bell = oracles.gaussian_map(shape, center, np.diag([9.0, 5.0, 4.0][: len(shape)]))
    # Shoulders, so that the fit is far from exact and its curvature not that of the slopes alone.
    values = 3 * (bell + 0.4 * np.roll(bell, 3, axis=0))
    return values, [values * rng.gamma(1 / noise**2, noise**2, size=shape) for _ in range(5)]


@pytest.mark.parametrize("shape", [(25,), (21, 18), (13, 12, 11), (1, 25), (17, 1, 15)])
def test_one_step_is_as_good_as_a_fit(shape):
    values, others = maps_nearby(0.02, shape)
    fit = fit_gaussian(values)
    found = list(refit_gaussian(fit, values, others))
    expected = [fit_gaussian(other) for other in others]
    # The step is of first order: what is left is small against what has changed.
    for name in ("sigma", "center", "amplitude", "r_squared"):
        steps, fits = (np.array([getattr(one, name) for one in of]) for of in (found, expected))
        changed = np.abs(fits - getattr(fit, name)).max()
        assert np.abs(steps - fits).max() < 0.05 * changed + 1e-9, name


def test_a_step_that_leads_nowhere_is_replaced_by_a_fit():
    values, _ = maps_nearby(0.02, (21, 18))
    far = np.roll(values, (7, -6), axis=(0, 1)) ** 3
    (found,) = refit_gaussian(fit_gaussian(values), values, [far])
    np.testing.assert_allclose(found.sigma, fit_gaussian(far).sigma, rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_maps_that_do_not_vary_are_refused_as_in_a_fit(level):
    values = maps_nearby(0.02, (21, 18))[0]
    flat = np.full_like(values, level)
    with pytest.raises(InvalidInputError, match="`map` must") as refused:
        list(refit_gaussian(fit_gaussian(values), values, [flat]))
    with pytest.raises(InvalidInputError) as fitted:
        fit_gaussian(flat)
    assert str(refused.value) == str(fitted.value)


def test_what_is_no_minimum_is_not_followed():
    values, others = maps_nearby(0.02, (21, 18))
    elsewhere = fit_gaussian(np.roll(values, 9, axis=0))
    with pytest.raises(InvalidInputError, match="`fit` must be a strict minimum"):
        next(refit_gaussian(elsewhere, values, others))


# -- smooth figures --


def test_smooth_figures_have_the_jackknifes_errors():
    others = maps_nearby(0.05, (21, 18))[1]
    sums, counts = np.array(others), np.array([1.0, 2, 1, 3, 1])
    sums = sums * counts[:, None, None]
    found = moment_spreads(sums, counts, lambda mean: mean)
    for name in ("mass", "centroid", "covariance", "kurtosis"):
        value, error = jackknife(sums, counts, lambda mean, name=name: getattr(moments(mean), name))
        np.testing.assert_allclose(found[name].value, value, rtol=1e-12)
        np.testing.assert_allclose(found[name].error, error, rtol=1e-9)
    mean = sums.sum(axis=0) / counts.sum()
    bells = bell_spreads(fit_gaussian(mean), sums, counts)
    for name in ("sigma", "r_squared"):
        value, error = jackknife(
            sums, counts, lambda mean, name=name: getattr(fit_gaussian(mean), name)
        )
        np.testing.assert_allclose(bells[name].value, value, rtol=1e-6)
        np.testing.assert_allclose(bells[name].error, error, rtol=0.03)


def test_the_centre_is_quenouilles_estimate():
    sums = np.array(maps_nearby(0.2, (21, 18))[1])
    found = moment_spreads(sums, np.ones(5), lambda mean: mean / mean.sum())
    assert found["mass"] == (pytest.approx(1), pytest.approx(1), pytest.approx(0, abs=1e-12))
    kurtosis = [moments(np.delete(sums, one, axis=0).mean(axis=0)).kurtosis for one in range(5)]
    expected = 5 * moments(sums.mean(axis=0)).kurtosis - 4 * np.mean(kurtosis, axis=0)
    np.testing.assert_allclose(found["kurtosis"].centre, expected, rtol=1e-9)


def test_a_fit_that_did_not_converge_has_no_error():
    sums = np.array(maps_nearby(0.05, (21, 18))[1])
    fit = fit_gaussian(sums.mean(axis=0))
    loose = type(fit)(fit.amplitude, fit.center, fit.covariance, fit.r_squared, converged=False)
    found = bell_spreads(loose, sums, np.ones(5))
    np.testing.assert_array_equal(found["sigma"].value, fit.sigma)
    assert np.isnan(found["sigma"].error).all()
    assert math.isnan(found["r_squared"].error)


def test_quantiles_are_scipys():
    found = estimate(Spread(0.0, 0.0, 1.0), degrees=4, level=0.8)
    assert found.high == pytest.approx(stats.t.ppf(0.9, 4), rel=1e-12)
