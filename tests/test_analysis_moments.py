"""Moments against cumulants, closed forms and symmetries."""

from __future__ import annotations

import numpy as np
import pytest

from keras_erf.analysis import marginals, moments
from keras_erf.errors import InvalidInputError
from tests import oracles

# The other tests run without it.
pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

MAPS = arrays(
    np.float64,
    array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(0, 50).map(float),
).filter(lambda values: values.any())


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("n", "k"), [(1, 3), (5, 3), (10, 2), (4, 5)])
def test_moments_of_all_ones_stacks(n, k, ndim):
    found = moments(oracles.uniform_map(n, k, ndim))
    assert found.mass == pytest.approx(1)
    np.testing.assert_allclose(found.centroid, [n * (k - 1) / 2] * ndim, atol=1e-12)
    expected = np.eye(ndim) * oracles.uniform_variance(n, k)
    np.testing.assert_allclose(found.covariance, expected, atol=1e-12)
    np.testing.assert_allclose(found.kurtosis, [oracles.uniform_kurtosis(n, k)] * ndim, rtol=1e-9)


@pytest.mark.parametrize(
    ("layers", "trf", "sigma", "kurtosis"),
    [
        (oracles.structure(), 31, "3.162", None),
        (oracles.structure(dilated=[(13, 2), (14, 4), (15, 8)]), 53, "8.000", -0.713),
        (oracles.structure(dilated=[(2, 8), (7, 2), (9, 4)]), 53, "8.000", -0.713),
        (oracles.structure(strided=(5, 10, 15)), 71, "8.367", None),
        (oracles.structure(strided=(4, 8, 12)), 105, "13.565", None),
        (oracles.structure(strided=(3, 6, 9)), 139, "17.26", None),
        (oracles.structure(strided=(1, 2, 3)), 207, "22.93", None),
        (oracles.structure(strided=(13, 14, 15)), 39, "4.69", None),
    ],
)
def test_the_papers_structures(layers, trf, sigma, kurtosis):
    impact = oracles.chain_impact(layers)
    found = moments(impact)
    variance, excess, support = oracles.chain_cumulants(layers)
    assert impact.size == support == trf
    assert found.covariance[0, 0] == pytest.approx(variance, rel=1e-12)
    assert found.kurtosis[0] == pytest.approx(excess, rel=1e-9)
    # The printed figures, to the digits they are printed with.
    assert f"{found.sigma[0]:.{len(sigma.partition('.')[2])}f}" == sigma
    if kurtosis is not None:
        assert found.kurtosis[0] == pytest.approx(kurtosis, abs=5e-4)


def test_a_box_has_the_kurtosis_of_a_box_and_a_gaussian_none():
    side = 301
    assert moments(np.ones(side)).kurtosis[0] == pytest.approx(
        -6 * (side**2 + 1) / (5 * (side**2 - 1)), rel=1e-12
    )
    bell = oracles.gaussian_map((401,), (200,), np.array([[400.0]]))
    assert moments(bell).kurtosis[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_the_covariance_of_a_rotated_gaussian(degrees):
    covariance = oracles.rotated_covariance(9, 4, degrees)
    found = moments(oracles.gaussian_map((121, 131), (58.5, 66.25), covariance))
    np.testing.assert_allclose(found.centroid, (58.5, 66.25), atol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-4)
    np.testing.assert_allclose(found.sigma, np.sqrt(np.diag(covariance)), rtol=1e-5)


@given(MAPS)
@settings(max_examples=60, deadline=None)
def test_every_moment_equals_its_sum_over_pixels(values):
    found = moments(values)
    points = np.argwhere(np.ones_like(values))
    weights = values.ravel() / values.sum()
    mean = weights @ points
    spread = sum(w * np.outer(p - mean, p - mean) for w, p in zip(weights, points, strict=True))
    assert found.mass == pytest.approx(values.sum())
    np.testing.assert_allclose(found.centroid, mean, atol=1e-10)
    np.testing.assert_allclose(found.covariance, spread, atol=1e-10)
    about = np.arange(values.ndim) - 3.5
    np.testing.assert_allclose(
        moments(values, about=about).covariance,
        sum(w * np.outer(p - about, p - about) for w, p in zip(weights, points, strict=True)),
        atol=1e-9,
    )


@given(MAPS, st.lists(st.integers(0, 9), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_translation_moves_the_centroid_and_nothing_else(values, steps):
    steps = steps[: values.ndim]
    moved = np.pad(values, [(step, 0) for step in steps])
    before, after = moments(values), moments(moved)
    np.testing.assert_allclose(after.centroid, before.centroid + steps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(after.covariance, before.covariance, rtol=0, atol=1e-12)
    np.testing.assert_allclose(after.kurtosis, before.kurtosis, atol=1e-10)


@given(MAPS, st.permutations(range(3)))
@settings(max_examples=60, deadline=None)
def test_permuting_axes_permutes_the_moments(values, order):
    order = [axis for axis in order if axis < values.ndim]
    before, after = moments(values), moments(values.transpose(order))
    np.testing.assert_allclose(after.centroid, before.centroid[order], atol=1e-12)
    np.testing.assert_allclose(
        after.covariance, before.covariance[np.ix_(order, order)], atol=1e-12
    )
    np.testing.assert_allclose(after.kurtosis, before.kurtosis[order], atol=1e-10)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e305])
def test_the_scale_of_gradients_does_not_matter(scale):
    values = oracles.uniform_map(4, 3) * 100
    found, scaled = moments(values), moments(values * scale)
    # Subnormal numbers keep few digits.
    np.testing.assert_allclose(scaled.covariance, found.covariance, atol=1e-3)
    assert scaled.mass == pytest.approx(found.mass * scale)


def test_a_single_pixel_has_no_spread_and_no_kurtosis():
    values = np.zeros((7, 9))
    values[2, 6] = 0.3
    found = moments(values)
    np.testing.assert_array_equal(found.centroid, (2, 6))
    np.testing.assert_array_equal(found.covariance, np.zeros((2, 2)))
    assert np.isnan(found.kurtosis).all()


def test_negative_values_count_by_their_size():
    signed = oracles.uniform_map(3, 3)
    signed[::2] *= -1
    np.testing.assert_array_equal(moments(signed).covariance, moments(abs(signed)).covariance)


def test_marginals_are_sums_over_the_other_axes():
    values = np.arange(24.0).reshape(2, 3, 4)
    first, second, third = marginals(values)
    np.testing.assert_array_equal(first, [66, 210])
    np.testing.assert_array_equal(second, [60, 92, 124])
    np.testing.assert_array_equal(third, [60, 66, 72, 78])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (3.0, "one to 3 spatial axes"),
        (np.ones((2, 2, 2, 2)), r"Received: map of shape \(2, 2, 2, 2\)"),
        (np.ones((3, 0)), "at least one pixel"),
        (np.zeros((3, 3)), "all zero"),
        (np.array([1, np.nan, np.inf]), "2 values that are NaN or infinite"),
        (np.ones(3, dtype=complex), "real numbers"),
        (np.array(["a", "b"]), "real numbers"),
    ],
)
def test_maps_without_an_extent_are_refused(bad, message):
    with pytest.raises(InvalidInputError, match=message):
        moments(bad)
    with pytest.raises(InvalidInputError, match=message):
        marginals(bad)


@pytest.mark.parametrize("about", [(1.0,), (1.0, np.nan), "xy", ((1, 2), (3, 4)), None])
def test_the_reference_point_must_be_one(about):
    if about is None:
        assert moments(np.ones((2, 2)), about=None).about.tolist() == [0.5, 0.5]
        return
    with pytest.raises(InvalidInputError, match="`about`"):
        moments(np.ones((2, 2)), about=about)
