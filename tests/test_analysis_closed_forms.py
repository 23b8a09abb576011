"""Metrics of maps whose continuous forms have closed ones: ring, comb, Gaussian, Laplace, Cauchy.

Maps are samples of the continuous form at pixels' centres. Their widths are 4 pixels and
more, so that counts of lattice points are within 1 % of volumes (a boundary of width w
holds about w^((d - 1) / 2) points more or less) and sums of smooth forms nearly exact;
a kink, as the Laplace's peak, costs 1 / (12 w^2) of the mass, 0.6 % at most.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import gamma, gammaincinv

from keras_erf import analysis
from keras_erf.analysis import MASS, THRESHOLD
from keras_erf.errors import InvalidInputError
from tests import oracles

DIMS = (1, 2, 3)
# Halves of sides and widths by the number of axes: as fine as memory and time allow.
HALF = {1: 3000, 2: 200, 3: 44}
WIDTH = {1: 100.0, 2: 8.0, 3: 4.0}
LEVEL = math.log(1 / THRESHOLD)
SHARES = (0.25, 0.5, 0.9, MASS)


def offsets(ndim: int) -> list[np.ndarray]:
    """Coordinates from the middle of the map, one array per axis that broadcast together."""
    return np.ix_(*[np.arange(-HALF[ndim], HALF[ndim] + 1.0)] * ndim)


def distances(ndim: int) -> np.ndarray:
    return np.sqrt(sum(line**2 for line in offsets(ndim)))


def ball(radius: float, ndim: int) -> float:
    """Volume of a ball: 2 r, pi r^2, 4/3 pi r^3."""
    return math.pi ** (ndim / 2) / gamma(ndim / 2 + 1) * radius**ndim


def assert_sizes(
    values: np.ndarray, by_threshold: float, by_mass: float, rel: float = 0.01
) -> None:
    """Sizes of a map whose two regions have these volumes."""
    ndim = values.ndim
    assert analysis.erf_size(values) == pytest.approx(by_threshold ** (1 / ndim), rel=rel)
    assert analysis.mass_region(values).size == pytest.approx(by_mass ** (1 / ndim), rel=rel)


# -- a Gaussian, rotated --


@pytest.mark.parametrize(
    ("ndim", "covariance"),
    [
        (1, np.array([[30.0**2]])),
        (2, oracles.rotated_covariance(14, 7, 30)),
        (2, oracles.rotated_covariance(12, 4, 135)),
        # Turned in the plane of the first two axes, then in that of the last two.
        (3, np.array([[40.0, 12.0, 6.0], [12.0, 30.0, -9.0], [6.0, -9.0, 25.0]])),
    ],
)
def test_a_rotated_gaussian(ndim, covariance):
    center = np.full(ndim, HALF[ndim] + 0.25)
    values = oracles.gaussian_map((2 * HALF[ndim] + 1,) * ndim, tuple(center), covariance)
    determinant, sigma = np.linalg.det(covariance), np.sqrt(np.diag(covariance))
    moments, fit = analysis.moments(values), analysis.fit_gaussian(values)
    for found in (moments.covariance, fit.covariance):
        np.testing.assert_allclose(found, covariance, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(moments.centroid, center, atol=1e-6)
    np.testing.assert_allclose(moments.kurtosis, 0, atol=1e-3)
    assert fit.r_squared == pytest.approx(1)
    # Both regions are ellipsoids: of radius sqrt(2 ln(1 / t)), and by chi-squared's quantile.
    volume = ball(1, ndim) * math.sqrt(determinant)
    by_mass = math.sqrt(2 * gammaincinv(ndim / 2, MASS))
    assert_sizes(values, volume * math.sqrt(2 * LEVEL) ** ndim, volume * by_mass**ndim)
    nats = ndim / 2 * math.log(2 * math.pi * math.e) + math.log(determinant) / 2
    assert analysis.entropy(values) == pytest.approx(nats, abs=1e-5)
    assert analysis.effective_pixels(values) == pytest.approx(math.exp(nats), rel=1e-5)
    # Marginals are Gaussian; between pixels a bell is chords, 1 / (8 sigma^2) of its height low.
    widths = 2 * math.sqrt(2 * math.log(2)) * sigma
    np.testing.assert_allclose(analysis.fwhm(values), widths, rtol=5e-3)


@pytest.mark.parametrize("ndim", DIMS)
def test_radii_of_a_round_gaussian(ndim):
    sigma = WIDTH[ndim]
    values = np.exp(-(distances(ndim) ** 2) / (2 * sigma**2))
    radii = sigma * np.sqrt(2 * gammaincinv(ndim / 2, SHARES))
    np.testing.assert_allclose(analysis.mass_radius(values, SHARES), radii, rtol=5e-3)
    np.testing.assert_allclose(analysis.mass_within(values, radii), SHARES, atol=5e-3)
    if ndim == 2:
        assert analysis.half_mass_radius(values) == pytest.approx(1.17741 * sigma, rel=5e-3)
        assert analysis.effective_pixels(values) == pytest.approx(17.0795 * sigma**2, rel=1e-4)


# -- Laplace: a product over the axes, and round --


@pytest.mark.parametrize("ndim", DIMS)
def test_a_laplace_map(ndim):
    scale = WIDTH[ndim]
    values = np.exp(-sum(np.abs(line) for line in offsets(ndim)) / scale)
    ratio = math.exp(-1 / scale)
    moments = analysis.moments(values)
    # Of pixels' values exactly: two-sided geometric, whose variance tends to 2 b^2.
    variance = 2 * ratio / (1 - ratio) ** 2
    np.testing.assert_allclose(moments.covariance, np.eye(ndim) * variance, rtol=2e-3, atol=1e-8)
    np.testing.assert_allclose(moments.sigma, math.sqrt(2) * scale, rtol=6e-3)
    np.testing.assert_allclose(moments.kurtosis, 3, rtol=0.02)
    # The threshold cuts a cross-polytope, the mass one of a radius that follows a gamma law.
    volume = 2**ndim / math.factorial(ndim) * scale**ndim
    # Its faces lie along the lattice: half a pixel more or less all around.
    rel = 0.6 / (scale * LEVEL)
    assert_sizes(values, volume * LEVEL**ndim, volume * gammaincinv(ndim, MASS) ** ndim, rel)
    nats = ndim * (1 + math.log(2 * scale))
    assert analysis.entropy(values) == pytest.approx(nats, abs=0.02)
    np.testing.assert_allclose(analysis.fwhm(values), 2 * scale * math.log(2), rtol=0.01)
    # The centred box: each axis holds the root of the share within h of the middle; sides are odd.
    half = -scale * math.log(1 - 0.5 ** (1 / ndim))
    assert analysis.mass_area(values, 0.5).side == pytest.approx(2 * half, abs=2.0)


@pytest.mark.parametrize("ndim", DIMS)
def test_a_round_exponential_map(ndim):
    scale = WIDTH[ndim]
    values = np.exp(-distances(ndim) / scale)
    # The distance follows a gamma law of shape d.
    radii = scale * gammaincinv(ndim, SHARES)
    np.testing.assert_allclose(analysis.mass_radius(values, SHARES), radii, rtol=0.01)
    volume = ball(scale, ndim)
    assert_sizes(values, volume * LEVEL**ndim, volume * gammaincinv(ndim, MASS) ** ndim)
    nats = math.log(volume * math.factorial(ndim)) + ndim
    assert analysis.entropy(values) == pytest.approx(nats, abs=0.01)


# -- Cauchy, in a ball: the tail never ends --

WITHIN = {
    1: lambda r: 2 / math.pi * np.arctan(r),
    2: lambda r: 1 - 1 / np.sqrt(1 + r**2),
    3: lambda r: 2 / math.pi * (np.arctan(r) - r / (1 + r**2)),
}


@pytest.mark.parametrize("ndim", DIMS)
def test_a_cauchy_map(ndim):
    """The density (1 + (r / g)^2)^(-(d + 1) / 2), cut off at a radius."""
    scale, rim = {1: 50.0, 2: 5.0, 3: 4.0}[ndim], HALF[ndim] + 0.5
    apart = distances(ndim)
    values = np.where(apart < rim, (1 + (apart / scale) ** 2) ** (-(ndim + 1) / 2), 0)
    within, most = WITHIN[ndim], rim / scale
    shares = within(most) * np.array(SHARES)
    radii = [scale * brentq(lambda r, s=share: within(r) - s, 0, most) for share in shares]
    np.testing.assert_allclose(analysis.mass_radius(values, SHARES), radii, rtol=0.02)
    np.testing.assert_allclose(analysis.mass_within(values, radii), SHARES, atol=0.01)
    reached = scale * math.sqrt(THRESHOLD ** (-2 / (ndim + 1)) - 1)
    assert analysis.erf_size(values) == pytest.approx(ball(reached, ndim) ** (1 / ndim), rel=0.01)
    held = ball(radii[-1], ndim) ** (1 / ndim)
    assert analysis.mass_region(values).size == pytest.approx(held, rel=0.02)
    # Its marginal is a Cauchy curve; what is cut off lacks most where it is high.
    np.testing.assert_allclose(analysis.fwhm(values), 2 * scale, rtol=0.02)


def test_half_of_a_cauchy_map_in_the_plane_lies_within_root_three_of_its_scale():
    scale = 4.0
    values = (1 + (distances(2) / scale) ** 2) ** -1.5
    # 1 - 1 / sqrt(1 + 3) = 1/2 of all; beyond a square of half side h lies sqrt(8) g / (pi h).
    inside = 1 - math.sqrt(8) / math.pi * scale / HALF[2]
    found = analysis.mass_within(values, math.sqrt(3) * scale)
    assert found == pytest.approx(0.5 / inside, rel=0.02)
    by_threshold, by_mass = analysis.erf_size(values), analysis.mass_region(values).size
    assert by_mass > 1.5 * by_threshold


# -- a ring --


@pytest.mark.parametrize("ndim", DIMS)
def test_a_ring_of_equal_pixels(ndim):
    inner, outer = (0.5 * HALF[ndim] + 0.3, 0.9 * HALF[ndim] + 0.2)
    apart = distances(ndim)
    values = ((apart >= inner) & (apart < outer)).astype(float)
    volume = ball(outer, ndim) - ball(inner, ndim)
    moments = analysis.moments(values)
    np.testing.assert_allclose(moments.centroid, HALF[ndim], atol=1e-9)
    powers = [(outer**n - inner**n) / n for n in (ndim, ndim + 2, ndim + 4)]
    second, fourth = powers[1] / powers[0], powers[2] / powers[0]
    variance = second / ndim
    np.testing.assert_allclose(moments.sigma**2, variance, rtol=0.01)
    # Of a direction's cosine: the mean of the fourth power is 3 / (d (d + 2)).
    kurtosis = 3 * fourth / (ndim * (ndim + 2)) / variance**2 - 3
    np.testing.assert_allclose(moments.kurtosis, kurtosis, atol=0.01)
    # All pixels are one value: no rule can leave any out.
    assert_sizes(values, volume, volume)
    assert analysis.effective_pixels(values) == pytest.approx(volume, rel=0.01)
    assert analysis.gini(values) == pytest.approx(1 - volume / values.size, abs=0.005)
    radii = [(inner**ndim + share * (outer**ndim - inner**ndim)) ** (1 / ndim) for share in SHARES]
    np.testing.assert_allclose(analysis.mass_radius(values, SHARES), radii, rtol=5e-3)
    assert analysis.mass_within(values, inner - 1) == 0
    assert analysis.mass_within(values, outer) == 1
    if ndim == 2:
        # The shadow is highest above the inner rim; half of that is near the outer one.
        half = 2 * math.sqrt(outer**2 - (outer**2 - inner**2) / 4)
        np.testing.assert_allclose(analysis.fwhm(values), half, rtol=0.01)
        np.testing.assert_allclose(analysis.fit_gaussian(values).center, HALF[ndim], atol=1e-3)


# -- a comb --


@pytest.mark.parametrize("ndim", DIMS)
@pytest.mark.parametrize("apart", [2, 5])
def test_a_comb_under_a_gaussian(ndim, apart):
    sigma = {1: 100.0, 2: 25.0, 3: 10.0}[ndim]
    bell = np.exp(-(distances(ndim) ** 2) / (2 * sigma**2))
    values = np.zeros_like(bell)
    # Teeth at every `apart`-th pixel, one of them in the middle.
    teeth = tuple([slice(HALF[ndim] % apart, None, apart)] * ndim)
    values[teeth] = bell[teeth]
    moments = analysis.moments(values)
    np.testing.assert_allclose(moments.centroid, HALF[ndim], atol=1e-6)
    np.testing.assert_allclose(moments.sigma, sigma, rtol=2e-3)
    np.testing.assert_allclose(moments.kurtosis, 0, atol=0.02)
    # Sizes and entropy count pixels: one for each tooth. Radii and widths reach across the gaps.
    each = apart**ndim
    by_mass = math.sqrt(2 * gammaincinv(ndim / 2, MASS)) * sigma
    assert analysis.threshold_region(values).pixels == pytest.approx(
        ball(math.sqrt(2 * LEVEL) * sigma, ndim) / each, rel=0.06
    )
    assert analysis.mass_region(values).pixels == pytest.approx(
        ball(by_mass, ndim) / each, rel=0.06
    )
    nats = ndim / 2 * math.log(2 * math.pi * math.e * sigma**2 / apart**2)
    assert analysis.entropy(values) == pytest.approx(nats, abs=2e-3)
    radius = sigma * math.sqrt(2 * gammaincinv(ndim / 2, 0.5))
    assert analysis.half_mass_radius(values) == pytest.approx(radius, rel=0.02)
    widest = math.sqrt(2 * math.log(2)) * sigma // apart * apart
    found = analysis.fwhm(values)
    assert (2 * widest <= found).all()
    assert (found <= 2 * widest + 1).all()


# -- how unequal pixels are --


def between(k: float) -> float:
    """Gini coefficient of exp(-u) for u evenly spread over 0 to k."""
    return 1 - 2 * (1 - (1 + k) * math.exp(-k)) / (k * (1 - math.exp(-k)))


def test_gini_of_distributions():
    ranks = (np.arange(20000) + 0.5) / 20000
    # Exponential values 1/2, uniform ones 1/3, Pareto's of index a 1 / (2 a - 1).
    assert analysis.gini(-np.log1p(-ranks)) == pytest.approx(1 / 2, abs=1e-3)
    assert analysis.gini(ranks) == pytest.approx(1 / 3, abs=1e-3)
    assert analysis.gini((1 - ranks) ** (-1 / 4)) == pytest.approx(1 / 7, abs=1e-3)
    assert analysis.gini(np.full((7, 9), 0.3)) == 0
    assert analysis.gini(np.eye(1, 50)) == pytest.approx(1 - 1 / 50)


def test_gini_of_bells_within_a_radius():
    scale, apart = 20.0, distances(2)
    # In the plane r^2 is evenly spread over pixels, on a line r is.
    gaussian = np.exp(-(apart**2) / (2 * scale**2))[apart < 3 * scale]
    assert analysis.gini(gaussian) == pytest.approx(between(4.5), abs=2e-3)
    laplace = np.exp(-distances(1) / 400)
    assert analysis.gini(laplace) == pytest.approx(between((HALF[1] + 0.5) / 400), abs=2e-3)


@pytest.mark.parametrize("ndim", DIMS)
def test_one_pixel_is_the_least_of_everything(ndim):
    values = np.zeros((5,) * ndim)
    values[(2,) * ndim] = -3.0
    assert analysis.half_mass_radius(values) == 0
    assert analysis.mass_radius(values, [0.1, 1.0]).tolist() == [0, 0]
    assert analysis.mass_within(values, 0.0) == pytest.approx(0.5)
    assert analysis.fwhm(values).tolist() == [1] * ndim
    assert analysis.entropy(values) == 0
    assert analysis.effective_pixels(values) == 1
    assert analysis.gini(values) == pytest.approx(1 - 5**-ndim)


def test_radii_are_about_the_centre_that_is_given():
    values = np.zeros((9, 9))
    values[2, 3] = 1.0
    assert analysis.half_mass_radius(values) == 0
    assert analysis.half_mass_radius(values, center=(2, 6)) == pytest.approx(3)
    assert analysis.half_mass_radius(values, center=(-2, 0)) == pytest.approx(5)
    two = values.copy()
    two[2, 5] = 1.0
    # About the centroid, (2, 4).
    assert analysis.half_mass_radius(two) == pytest.approx(1)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, math.nan, [0.5, 2.0]])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InvalidInputError, match="`share` must be a share above 0"):
        analysis.mass_radius(np.ones(3), share)


@pytest.mark.parametrize("radius", [-1, math.nan, [1.0, -2.0]])
def test_a_radius_below_nothing_is_refused(radius):
    with pytest.raises(InvalidInputError, match="`radius` must be 0 or more"):
        analysis.mass_within(np.ones(3), radius)
