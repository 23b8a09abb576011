"""The references check one another before they check the library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests import oracles


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_the_closed_form_of_the_coefficients_equals_the_convolution(n, k):
    row = oracles.binomial_row(n, k)
    assert row == [oracles.binomial_closed(n, k, t) for t in range(n * (k - 1) + 1)]
    assert sum(row) == k**n


@pytest.mark.parametrize(("n", "value"), oracles.CENTRAL_TRINOMIALS.items())
def test_central_trinomials_are_the_printed_ones(n, value):
    assert oracles.binomial_row(n, 3)[n] == value


@pytest.mark.parametrize(("n", "k"), [(1, 3), (4, 2), (6, 5), (20, 3)])
def test_the_cumulant_formulas_are_those_of_the_coefficients(n, k):
    row = np.array(oracles.binomial_row(n, k), dtype=float) / float(k) ** n
    offsets = np.arange(row.size) - n * (k - 1) / 2
    variance = row @ offsets**2
    assert variance == pytest.approx(oracles.uniform_variance(n, k), rel=1e-12)
    kurtosis = row @ offsets**4 / variance**2 - 3
    assert kurtosis == pytest.approx(oracles.uniform_kurtosis(n, k), rel=1e-9)
    layers = [oracles.Layer((1.0,) * k)] * n
    assert oracles.chain_cumulants(layers) == pytest.approx((variance, kurtosis, row.size))


def test_a_chain_of_all_ones_kernels_gives_the_coefficients():
    impact = oracles.chain_impact(oracles.structure(20))
    np.testing.assert_array_equal(impact, oracles.binomial_row(20, 3))


def test_a_strided_chain_is_what_explicit_strided_correlations_give():
    rng = np.random.default_rng(0)
    layers = [
        oracles.Layer(tuple(rng.normal(size=3)), stride=2),
        oracles.Layer(tuple(rng.normal(size=4)), dilation=3),
        oracles.Layer(tuple(rng.normal(size=2)), stride=3),
        oracles.Layer(tuple(rng.normal(size=3))),
    ]
    impact = oracles.chain_impact(layers)
    response = []
    for delta in np.eye(impact.size):
        line = delta
        for layer in layers:
            reach = (len(layer.weights) - 1) * layer.dilation
            line = np.array(
                [
                    sum(w * line[at + tap * layer.dilation] for tap, w in enumerate(layer.weights))
                    for at in range(0, line.size - reach, layer.stride)
                ]
            )
        response.append(line[0])
    np.testing.assert_allclose(response, impact, rtol=1e-12, atol=1e-14)


def test_the_size_of_a_gaussian_is_the_printed_one():
    assert math.sqrt(2 * math.pi * math.log(1 / 0.0455)) == pytest.approx(
        oracles.GAUSSIAN_SIZE, abs=5e-7
    )
