"""The comparison puts together what the other figures say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_erf.analysis import compare, fit_gaussian, is_bell, mass_region
from keras_erf.errors import InvalidInputError
from tests import oracles


@pytest.mark.parametrize("n", [5, 10, 20, 40])
def test_a_stack_of_all_ones_layers(n):
    trf = 2 * n + 1
    values = np.pad(oracles.uniform_map(n, 3), ((3, 9), (5, 0)))
    found = compare(values, (n + 3, n + 5), (trf, trf), box=((3, 3 + trf), (5, 5 + trf)))
    assert found.erf_size == pytest.approx(math.sqrt(oracles.PIXELS_OF_UNIFORM[n]))
    assert found.ratio == pytest.approx(found.erf_size / trf)
    assert found.trf_size == (trf, trf)
    assert found.centroid == pytest.approx((n + 3, n + 5))
    assert found.offset == pytest.approx((0, 0), abs=1e-12)
    assert found.mass_size == mass_region(values).size
    assert found.sigma == pytest.approx((math.sqrt(2 * n / 3),) * 2, rel=0.5 / n)
    assert found.r_squared == pytest.approx(fit_gaussian(oracles.uniform_map(n, 3)).r_squared)


@pytest.mark.parametrize("trf", [(20, 45), (30, 30), (900, 1)])
def test_fields_of_unequal_sides_count_by_their_area(trf):
    values = oracles.uniform_map(10, 3)
    found = compare(values, (10, 10), trf)
    area_share = oracles.PIXELS_OF_UNIFORM[10] / (trf[0] * trf[1])
    assert found.ratio**2 == pytest.approx(area_share)


@pytest.mark.parametrize("ndim", [1, 3])
def test_any_rank_and_the_offset_from_the_fields_own_centre(ndim):
    values = oracles.uniform_map(6, 3, ndim)
    found = compare(values, (5.5,) * ndim, (13,) * ndim)
    assert found.offset == pytest.approx((0.5,) * ndim)
    assert found.centroid == pytest.approx((6,) * ndim)
    assert len(found.sigma) == ndim
    assert found.ratio == pytest.approx(found.erf_size / 13)


@pytest.mark.parametrize("values", [np.ones((12, 12)), np.eye(2)])
def test_a_map_without_a_gaussian_still_compares(values):
    found = compare(values, (0, 0), (12, 12))
    assert found.erf_size == pytest.approx(math.sqrt(np.count_nonzero(values)))
    assert np.isnan(found.sigma).all()
    assert math.isnan(found.r_squared)


@pytest.mark.parametrize(
    ("sigma", "r_squared", "expected"),
    [
        ((3, 2), 0.5, True),
        ((3, 2), 0.49, False),
        ((9, 9), 1, True),
        ((9.1, 1), 1, False),
        ((1, 9.1), 1, False),
        ((math.nan, math.nan), math.nan, False),
        ((1, 1), math.nan, False),
    ],
)
def test_a_bell_explains_half_of_the_map_and_fits_the_field(sigma, r_squared, expected):
    assert is_bell(sigma, r_squared, (9, 9)) is expected


@pytest.mark.parametrize(
    ("center", "trf", "box", "message"),
    [
        ((1,), (3, 3), None, "`center`"),
        ((1, 1), (3,), None, "`trf_size`"),
        ((1, 1), (3, 0), None, "`trf_size`"),
        ((1, 1), (3, 3), ((9, 12), (0, 3)), "`box`"),
    ],
)
def test_fields_that_do_not_fit_are_refused(center, trf, box, message):
    with pytest.raises(InvalidInputError, match=message):
        compare(np.eye(5), center, trf, box=box)
