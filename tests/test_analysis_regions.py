"""Regions and sizes against printed pixel counts and the mathematics of Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from keras_erf.analysis import MASS, THRESHOLD, erf_size, mass_region, threshold_region
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
    elements=st.integers(-20, 50).map(float),
).filter(lambda values: values.any())


def test_the_constants_are_those_of_two_standard_deviations():
    assert pytest.approx(norm.cdf(2) - norm.cdf(-2), abs=5e-5) == MASS
    assert THRESHOLD == 1 - MASS


@pytest.mark.parametrize(("n", "pixels"), oracles.PIXELS_OF_UNIFORM.items())
def test_pixels_of_all_ones_stacks(n, pixels):
    region = threshold_region(oracles.uniform_map(n, 3))
    assert region.pixels == pixels
    assert region.size == pytest.approx(math.sqrt(pixels))


@pytest.mark.parametrize(("n", "pixels"), oracles.PIXELS_OF_ROOT.items())
def test_pixels_of_wide_random_stacks(n, pixels):
    assert threshold_region(np.sqrt(oracles.uniform_map(n, 3))).pixels == pixels


@pytest.mark.parametrize("center", [(260, 260), (260.5, 259.5), (260.3, 259.8)])
@pytest.mark.parametrize("sigma", [40.0, 60.0])
def test_the_size_of_a_gaussian_and_its_mass(sigma, center):
    bell = oracles.gaussian_map((521, 521), center, np.eye(2) * sigma**2)
    region = threshold_region(bell)
    # A circle's lattice points miss its area by far less than its circumference.
    assert region.size == pytest.approx(oracles.GAUSSIAN_SIZE * sigma, rel=2e-3)
    assert region.mass == pytest.approx(MASS, abs=1e-3)


def test_threshold_and_mass_regions_coincide_for_gaussians_in_the_plane_only():
    plane = oracles.gaussian_map((241, 301), (120, 150), oracles.rotated_covariance(30, 18, 25))
    by_value, by_mass = threshold_region(plane), mass_region(plane)
    assert np.count_nonzero(by_value.mask ^ by_mass.mask) < 0.01 * by_value.pixels

    line = oracles.gaussian_map((2001,), (1000,), np.array([[100.0**2]]))
    radius = math.sqrt(2 * math.log(1 / THRESHOLD))
    assert threshold_region(line).size == pytest.approx(2 * radius * 100, abs=1)
    assert mass_region(line).size == pytest.approx(2 * norm.ppf((1 + MASS) / 2) * 100, abs=1)
    assert threshold_region(line).mass == pytest.approx(2 * norm.cdf(radius) - 1, abs=1e-3)

    volume = oracles.gaussian_map((91, 91, 91), (45, 45, 45), np.eye(3) * 12.0**2)
    ball = (4 * math.pi / 3) ** (1 / 3) * 12
    assert threshold_region(volume).size == pytest.approx(ball * radius, rel=3e-3)
    assert mass_region(volume).size == pytest.approx(ball * math.sqrt(chi2.ppf(MASS, 3)), rel=3e-3)
    assert threshold_region(volume).mass == pytest.approx(chi2.cdf(radius**2, 3), abs=2e-3)


def test_the_root_of_a_map_is_sqrt_two_larger():
    for n, tolerance in [(20, 0.03), (320, 4e-3)]:
        values = oracles.uniform_map(n, 3)
        ratio = erf_size(np.sqrt(values)) / erf_size(values)
        assert ratio == pytest.approx(math.sqrt(2), rel=tolerance)
    # At five layers the field itself cuts the larger one.
    values = oracles.uniform_map(5, 3)
    assert erf_size(np.sqrt(values)) / erf_size(values) < 1.3


def test_a_comb_depends_on_the_reference_and_only_with_the_centre():
    line = oracles.chain_impact(oracles.structure(strided=(1, 2, 3)))
    assert line.max() / line[103] == pytest.approx(4.9, abs=0.05)
    comb = oracles.outer([line, line])
    middle = (103, 103)
    by_peak = threshold_region(comb)
    by_center = threshold_region(comb, reference="center", center=middle)
    assert by_center.level == pytest.approx(THRESHOLD * comb[middle])
    assert by_center.center == middle
    assert by_peak.level == pytest.approx(THRESHOLD * comb.max())
    assert by_peak.center is None
    assert by_center.pixels > 1.3 * by_peak.pixels


@pytest.mark.parametrize("n", [5, 20])
def test_both_references_agree_on_a_map_that_peaks_at_its_centre(n):
    values = oracles.uniform_map(n, 3)
    assert erf_size(values, reference="center", center=(n, n)) == erf_size(values)


@pytest.mark.parametrize(
    ("center", "value"),
    [((1, 2), 7), ((0.5, 2), 4.5), ((0.5, 1.5), 4), ((1.4, 0.6), 6), ((0, 3), 3)],
)
def test_the_value_at_a_centre_between_pixels(center, value):
    values = np.arange(12.0).reshape(3, 4)
    values[1] += 1
    region = threshold_region(values, fraction=0.5, reference="center", center=center)
    assert region.level == pytest.approx(value / 2)
    np.testing.assert_array_equal(region.mask, values > value / 2)


def test_above_no_fraction_lies_all_that_is_not_zero():
    values = np.array([[0.0, 1e-9, -3.0], [0.0, 0.0, 8.0]])
    region = threshold_region(values, fraction=0)
    assert (region.level, region.mass) == (0.0, 1.0)
    np.testing.assert_array_equal(region.mask, values != 0)


def test_the_mass_region_of_known_values():
    values = np.array([[1.0, 4.0, 1.0], [2.0, 8.0, 0.0]])
    half = mass_region(values, mass=0.5)
    assert (half.pixels, half.mass, half.level) == (1, 0.5, 8.0)
    assert mass_region(values, mass=0.5 + 1e-9).pixels == 2
    # Both pixels of value 1 come in together.
    assert mass_region(values, mass=0.9).pixels == 5
    everything = mass_region(values, mass=1)
    assert (everything.pixels, everything.mass) == (5, 1.0)
    assert (half.rule, half.reference, half.center) == ("mass", None, None)


def test_one_outlier_breaks_the_threshold_rule_and_not_the_mass_region():
    values = oracles.gaussian_map((121, 121), (60, 60), np.eye(2) * 10.0**2)
    spoiled = values.copy()
    spoiled[58, 61] = 30
    assert erf_size(spoiled) < 0.05 * erf_size(values)
    assert mass_region(spoiled).size == pytest.approx(mass_region(values).size, rel=0.05)


@given(MAPS, st.floats(0.01, 1))
@settings(max_examples=80, deadline=None)
def test_no_smaller_set_holds_the_mass(values, mass):
    region = mass_region(values, mass=mass)
    size = np.abs(values)
    assert region.mass >= mass * (1 - 1e-9)
    # Without its smallest pixels (all those equal) it holds too little.
    fewer = size[size > region.level].sum() / size.sum()
    assert fewer < mass
    assert np.array_equal(region.mask, size >= region.level)


@given(MAPS, st.integers(-8, 8))
@settings(max_examples=60, deadline=None)
def test_scaling_leaves_all_sizes(values, exponent):
    scaled = values * 2.0**exponent
    assert erf_size(scaled) == erf_size(values)
    assert mass_region(scaled).size == mass_region(values).size


@given(MAPS, st.permutations(range(3)), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_turning_the_map_turns_the_regions(values, order, flips):
    order = [axis for axis in order if axis < values.ndim]
    axes = [axis for axis in range(values.ndim) if flips >> axis & 1]

    def turned(array):
        return np.flip(array.transpose(order), axes)

    for region in (threshold_region, mass_region):
        np.testing.assert_array_equal(region(turned(values)).mask, turned(region(values).mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 1}, "`fraction`"),
        ({"fraction": -0.1}, "`fraction`"),
        ({"fraction": math.nan}, "`fraction`"),
        ({"reference": "middle"}, "'peak', 'center'"),
        ({"reference": "center"}, "`center` must be given"),
        ({"reference": "center", "center": (1,)}, "2 axes"),
        ({"reference": "center", "center": (1, 2.5)}, "inside the map"),
        ({"reference": "center", "center": (-0.5, 1)}, "inside the map"),
        ({"reference": "center", "center": (0, 0)}, "not zero"),
    ],
)
def test_thresholds_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        threshold_region(np.eye(3)[::-1], **options)


@pytest.mark.parametrize("mass", [0, -1, 1.1, math.nan])
def test_masses_that_mean_nothing_are_refused(mass):
    with pytest.raises(InvalidInputError, match="`mass`"):
        mass_region(np.ones(3), mass=mass)
