"""The Gaussian fit against Gaussians, closed forms and maps that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime, brentq, curve_fit

from keras_erf.analysis import GaussianFit, _bell, fit_gaussian, gaussian, moments
from keras_erf.errors import InvalidInputError
from tests import oracles

# The other tests run without it.
pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

VOLUME = np.array([[9.0, 2.0, -1.0], [2.0, 6.0, 1.5], [-1.0, 1.5, 4.0]])
EXACT = {
    "1-D": ((60,), (25.3,), np.array([[30.0]])),
    "1-D cut": ((20,), (17.5,), np.array([[64.0]])),
    "round": ((64, 64), (31.5, 31.5), np.eye(2) * 25),
    "row": ((50, 90), (24.0, 40.2), np.diag([4.0, 200.0])),
    "turned": ((90, 80), (40.2, 44.9), oracles.rotated_covariance(15, 5, 37)),
    "turned back": ((70, 75), (30.0, 33.1), oracles.rotated_covariance(12, 3, 120)),
    "centred outside": ((40, 40), (-4.0, 20.0), oracles.rotated_covariance(15, 8, 10)),
    "wider than the map": ((40, 30), (22.0, 14.0), np.array([[900.0, 100.0], [100.0, 2500.0]])),
    "far wider than the map": ((40,), (12.0,), np.array([[240.0**2]])),
    "narrow in a long map": ((20000,), (5003.4,), np.array([[1.0]])),
    "narrow": ((21, 21), (10.2, 9.9), np.diag([0.49, 0.64])),
    "coarse blocks": ((300, 200), (170.3, 90.7), oracles.rotated_covariance(40, 25, 60)),
    "3-D": ((25, 24, 23), (12.3, 11.0, 10.6), VOLUME),
    "thin 3-D": ((20, 1, 20), (9.0, 0.0, 8.5), np.diag([9.0, 1 / 12, 4.0])),
}


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_gaussian_is_recovered(name):
    shape, center, covariance = EXACT[name]
    values = oracles.gaussian_map(shape, center, covariance, amplitude=3.7e-5)
    fit = fit_gaussian(values)
    assert fit.converged
    assert fit.amplitude == pytest.approx(3.7e-5, rel=1e-6)
    np.testing.assert_allclose(fit.center, center, atol=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6, atol=1e-6)
    assert fit.r_squared == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(fit.evaluate(shape), values, atol=1e-10)
    np.testing.assert_allclose(fit.sigma, np.sqrt(np.diag(covariance)), rtol=1e-6)


@pytest.mark.parametrize("degrees", [-89.0, -45.0, 0.0, 30.0, 90.0, 91.0, 200.0])
def test_the_angle_runs_from_columns_to_rows(degrees):
    covariance = oracles.rotated_covariance(8, 3, degrees)
    fit = fit_gaussian(oracles.gaussian_map((61, 61), (30, 30), covariance))
    np.testing.assert_allclose(fit.principal_sigma, (8, 3), rtol=1e-6)
    assert -90 < fit.angle <= 90
    # Directions are the same half a turn apart.
    assert abs((fit.angle - degrees + 90) % 180 - 90) < 1e-5


def test_the_angle_of_a_diagonal_down_to_the_right_is_positive():
    values = oracles.gaussian_map((31, 31), (15, 15), np.array([[9.0, 5.0], [5.0, 9.0]]))
    assert values[20, 20] > values[10, 20]
    assert fit_gaussian(values).angle == pytest.approx(45)


@pytest.mark.parametrize("degrees", [-90.0, -90.0 + 1e-12, 90.0, 0.0])
def test_the_angle_stays_in_its_range(degrees):
    covariance = oracles.rotated_covariance(5, 2, degrees)
    fit = GaussianFit(1.0, np.zeros(2), covariance, r_squared=1.0, converged=True)
    assert -90 < fit.angle <= 90


@pytest.mark.parametrize("ndim", [1, 3])
def test_only_fits_in_the_plane_have_an_angle(ndim):
    fit = GaussianFit(1.0, np.zeros(ndim), np.eye(ndim), r_squared=1.0, converged=True)
    with pytest.raises(InvalidInputError, match="two axes"):
        _ = fit.angle
    with pytest.raises(InvalidInputError, match="`shape`"):
        fit.evaluate((4, 4))


def best_top_hat_fit() -> tuple[float, float]:
    """Overlap and `z = a / (sqrt(2) sigma)` of the best Gaussian for a top hat of half-width a.

    The squared cosine between the hat and a centred Gaussian is
    sqrt(pi / 2) erf(z)^2 / z, largest where 4 z exp(-z^2) / sqrt(pi) = erf(z).
    """
    z = brentq(lambda z: 4 * z * math.exp(-(z**2)) / math.sqrt(math.pi) - math.erf(z), 0.5, 2)
    return math.sqrt(math.pi / 2) * math.erf(z) ** 2 / z, z


@pytest.mark.parametrize("ndim", [1, 2])
def test_r_squared_of_a_box_is_the_known_value(ndim):
    side, length = (401, 2401) if ndim == 1 else (81, 321)
    line = np.zeros(length)
    line[(length - side) // 2 : (length + side) // 2] = 1
    values = oracles.outer([line] * ndim)
    overlap, z = best_top_hat_fit()
    total = values.sum() - values.sum() ** 2 / values.size
    fit = fit_gaussian(values)
    expected = 1 - values.sum() * (1 - overlap**ndim) / total
    assert fit.r_squared == pytest.approx(expected, abs=2e-3)
    np.testing.assert_allclose(fit.sigma, side / 2 / (math.sqrt(2) * z), rtol=5e-3)
    np.testing.assert_allclose(fit.center, (length - 1) / 2, atol=1e-4)


@pytest.mark.parametrize("n", [5, 10, 20, 40])
def test_stacks_of_all_ones_layers_are_nearly_gaussian(n):
    fit = fit_gaussian(oracles.uniform_map(n, 3))
    # The central limit's error falls with 1 / n, and its square with 1 / n^2.
    assert 1e-4 / n**2 < 1 - fit.r_squared < 0.05 / n**2
    np.testing.assert_allclose(fit.sigma, math.sqrt(oracles.uniform_variance(n, 3)), rtol=0.5 / n)


def test_a_noisy_map_gets_the_fit_another_optimiser_finds():
    rng = np.random.default_rng(3)
    covariance = oracles.rotated_covariance(7, 4, 50)
    values = oracles.gaussian_map((50, 45), (25.5, 20.0), covariance, amplitude=2.0)
    values = values * rng.exponential(size=values.shape)
    points = np.indices(values.shape).reshape(2, -1).astype(float)

    def model(points, height, row, column, first, mixed, second):
        by, dx = points[0] - row, points[1] - column
        return height * np.exp(-(first * by**2 + 2 * mixed * by * dx + second * dx**2) / 2)

    start = (2.0, 24.0, 21.0, 0.04, 0.0, 0.04)
    found, _ = curve_fit(model, points, values.ravel(), p0=start, xtol=1e-12, ftol=1e-12)
    residual = values.ravel() - model(points, *found)
    fit = fit_gaussian(values)
    assert fit.amplitude == pytest.approx(found[0], rel=1e-4)
    np.testing.assert_allclose(fit.center, found[1:3], rtol=1e-4)
    precision = np.array([[found[3], found[4]], [found[4], found[5]]])
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(precision), rtol=1e-3, atol=1e-2)
    assert fit.r_squared == pytest.approx(1 - np.mean(residual**2) / values.var(), abs=1e-4)
    assert fit.r_squared < 0.8


def test_starts_are_compared_on_blocks_that_show_the_blob():
    values = oracles.gaussian_map((9600,), (6031.0,), np.array([[9.0]])) + 0.01
    fit = fit_gaussian(values)
    assert moments(values).sigma[0] > 1000
    assert fit.center[0] == pytest.approx(6031, abs=1e-3)
    assert fit.sigma[0] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("shape", [(100, 100), (300, 260)])
def test_the_second_start_finds_the_blob_above_a_wide_floor(shape):
    # The floor outweighs the blob: from the moments the fit spreads over the whole map.
    values = oracles.gaussian_map(shape, (35, 60), np.diag([9.0, 16.0])) + 0.01
    assert moments(values).sigma.min() > 20
    fit = fit_gaussian(values)
    np.testing.assert_allclose(fit.center, (35, 60), atol=0.05)
    np.testing.assert_allclose(fit.sigma, (3, 4), rtol=0.05)
    explained = np.sum((values - values.mean()) ** 2) - np.sum(0.01**2 * np.ones(shape))
    assert fit.r_squared > explained / np.sum((values - values.mean()) ** 2)


def test_the_first_start_ignores_an_outlier():
    values = oracles.gaussian_map((60, 60), (30, 31), np.eye(2) * 64.0)
    values[33, 28] = 5
    fit = fit_gaussian(values)
    np.testing.assert_allclose(fit.sigma, 8, rtol=0.1)
    np.testing.assert_allclose(fit.center, (30, 31), atol=0.5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_start_from_half_height_is_right_for_a_gaussian(ndim):
    covariance = (np.diag([30.0, 50.0, 40.0]) + 8)[:ndim, :ndim]
    values = oracles.gaussian_map((45,) * ndim, (22.3,) * ndim, covariance)
    center, spread = gaussian._start_from_half_height(values)
    np.testing.assert_allclose(center, 22.3, atol=0.3)
    np.testing.assert_allclose(spread, covariance, rtol=0.1)


def test_a_comb_is_fitted_as_a_whole_not_by_one_tooth():
    line = oracles.chain_impact(oracles.structure(strided=(1, 2, 3)))
    fit = fit_gaussian(oracles.outer([line, line]))
    np.testing.assert_allclose(fit.sigma, moments(line).sigma[0], rtol=0.03)
    assert 0.5 < fit.r_squared < 0.9


def test_the_box_limits_the_fit_and_keeps_positions():
    shape = (60, 60)
    values = oracles.gaussian_map(shape, (20, 22), np.eye(2) * 9.0)
    values += oracles.gaussian_map(shape, (50, 50), np.eye(2) * 4.0, amplitude=5)
    fit = fit_gaussian(values, box=((-7, 36), (4, 38)))
    np.testing.assert_allclose(fit.center, (20, 22), atol=1e-4)
    np.testing.assert_allclose(fit.covariance, np.eye(2) * 9, atol=1e-3)
    assert fit.r_squared == pytest.approx(1, abs=1e-6)
    assert fit_gaussian(values).center == pytest.approx((50, 50), abs=0.5)


def test_the_slopes_are_those_of_the_residuals():
    rng = np.random.default_rng(1)
    for ndim, shape in [(1, (7,)), (2, (5, 6)), (3, (3, 4, 5))]:
        values, grid = rng.random(shape), _bell.open_grid(shape)
        factor = np.tril(rng.normal(size=(ndim, ndim))) * 0.3 + np.eye(ndim) * 0.5
        parameters = _bell.pack(1.3, rng.random(ndim) + 1, factor @ factor.T)
        numeric = approx_fprime(parameters, _bell.residuals, 1e-7, values, grid, 0.05)
        exact = _bell.jacobian(parameters, values, grid, 0.05)
        np.testing.assert_allclose(exact, numeric, atol=1e-6)
        assert np.abs(exact).max(axis=0).min() > 1e-3


def test_parameters_come_back_as_they_went_in():
    precision = np.linalg.inv(VOLUME)
    amplitude, center, factor = _bell.unpack(_bell.pack(2.0, np.arange(3.0), precision), 3)
    assert amplitude == 2
    np.testing.assert_array_equal(center, [0, 1, 2])
    np.testing.assert_allclose(factor @ factor.T, precision, atol=1e-14)


def pixel() -> np.ndarray:
    values = np.zeros((21, 23))
    values[10, 12] = 3
    return values


@pytest.mark.parametrize(
    ("values", "center", "narrow"),
    [
        (pixel(), (10, 12), 2),
        (np.pad(np.exp(-(np.arange(-15, 16) ** 2) / 20)[None], ((5, 5), (0, 0))), (5, 15), 1),
        (np.exp(-(np.arange(-15, 16) ** 2) / 20)[None], (0, 15), 1),
        (np.diag(np.exp(-(np.arange(-10, 11) ** 2) / 10)), (10, 10), 1),
        (np.array([0, 0, 0, 1.0, 1.0, 0, 0]), (3.5,), 1),
    ],
)
def test_spreads_the_grid_does_not_resolve_come_back_small(values, center, narrow):
    fit = fit_gaussian(values)
    np.testing.assert_allclose(fit.center, center, atol=0.02)
    assert (fit.principal_sigma[-narrow:] < 0.31).all()
    assert (fit.principal_sigma > 0).all()
    np.testing.assert_allclose(fit.evaluate(values.shape), values, atol=1e-3)


def test_a_map_flat_along_a_direction_gives_a_wide_and_finite_fit():
    values = np.tile(np.exp(-(np.arange(-10, 11) ** 2) / 10), (15, 1))
    fit = fit_gaussian(values)
    assert fit.sigma[1] == pytest.approx(math.sqrt(5), rel=1e-3)
    assert 100 < fit.sigma[0] < np.inf
    np.testing.assert_allclose(fit.evaluate(values.shape), values, atol=1e-2)


@given(
    arrays(
        np.float64,
        array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6),
        elements=st.integers(0, 9).map(float),
    )
)
@settings(max_examples=25, deadline=None)
def test_any_map_gets_a_true_gaussian_or_a_reason(values):
    ndim = sum(size > 1 for size in values.shape)
    try:
        fit = fit_gaussian(values)
    except InvalidInputError:
        assert values.size < 1 + ndim + ndim * (ndim + 1) // 2 or np.ptp(values) == 0
        return
    assert fit.amplitude > 0
    assert fit.r_squared <= 1
    assert np.isfinite(fit.center).all()
    assert (np.linalg.eigvalsh(fit.covariance) > 0).all()
    residual = values - fit.evaluate(values.shape)
    again = 1 - np.sum(residual**2) / np.sum((values - values.mean()) ** 2)
    assert fit.r_squared == pytest.approx(again, abs=1e-3)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1)])
def test_permuting_axes_permutes_the_fit(order):
    rng = np.random.default_rng(5)
    values = oracles.gaussian_map((14, 15, 16), (7, 6.5, 8), VOLUME)
    values = values * (1 + 0.2 * rng.random(values.shape))
    before, after = fit_gaussian(values), fit_gaussian(values.transpose(order))
    np.testing.assert_allclose(after.center, before.center[list(order)], atol=1e-5)
    np.testing.assert_allclose(after.covariance, before.covariance[np.ix_(order, order)], atol=1e-4)
    assert after.r_squared == pytest.approx(before.r_squared, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-300, 1e250])
def test_the_scale_of_gradients_does_not_matter(scale):
    values = oracles.uniform_map(4, 3) * 100
    fit, scaled = fit_gaussian(values), fit_gaussian(values * scale)
    np.testing.assert_allclose(scaled.covariance, fit.covariance, rtol=1e-6, atol=1e-9)
    assert scaled.amplitude == pytest.approx(fit.amplitude * scale)


@pytest.mark.parametrize(
    ("values", "box", "message"),
    [
        (np.ones((9, 9)), None, "constant at 1"),
        (np.eye(9), ((0, 3), (5, 9)), "constant at 0"),
        (np.eye(2), None, "at least 6 pixels in the box"),
        (np.eye(9), ((0, 9),), "2 axes"),
        (np.eye(9), ((0, 9), (9, 12)), "share pixels"),
        (np.eye(9), ((0, 9), (5, 5)), "share pixels"),
        (np.zeros((9, 9)), None, "all zero"),
    ],
)
def test_maps_without_a_gaussian_are_refused(values, box, message):
    with pytest.raises(InvalidInputError, match=message):
        fit_gaussian(values, box=box)
