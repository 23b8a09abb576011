"""The jackknife against classical formulas and the spread of repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_erf.analysis import erf_size, jackknife, moments
from keras_erf.errors import InvalidInputError
from tests import oracles


def mean(values: np.ndarray) -> np.ndarray:
    return values


@pytest.mark.parametrize("blocks", [2, 5, 32])
def test_the_error_of_a_mean_over_equal_blocks_is_the_classical_one(blocks):
    rng = np.random.default_rng(blocks)
    block_means = rng.normal(size=(blocks, 3, 4))
    value, error = jackknife(block_means * 7, np.full(blocks, 7), mean)
    np.testing.assert_allclose(value, block_means.mean(axis=0), atol=1e-14)
    classical = block_means.std(axis=0, ddof=1) / math.sqrt(blocks)
    np.testing.assert_allclose(error, classical, rtol=1e-12)


def test_equal_blocks_give_the_textbook_formula_for_any_figure():
    rng = np.random.default_rng(1)
    sums = rng.gamma(2, size=(9, 5))

    def figure(values):
        return math.log(values.max() / values.sum())

    left_out = np.array([figure(np.delete(sums, block, axis=0).sum(axis=0)) for block in range(9)])
    value, error = jackknife(sums, [4] * 9, figure)
    assert isinstance(value, float)
    assert isinstance(error, float)
    assert value == pytest.approx(figure(sums.sum(axis=0)))
    textbook = math.sqrt(8 / 9 * np.sum((left_out - left_out.mean()) ** 2))
    assert error == pytest.approx(textbook, rel=1e-10)


def test_unequal_blocks_weigh_the_spread_of_their_means():
    counts = np.array([1, 2, 3, 10])
    block_means = np.array([3.0, 1.0, 4.0, 1.5])
    value, error = jackknife(block_means * counts, counts, mean)
    overall = np.average(block_means, weights=counts)
    # For a mean the pseudo-values are the blocks' means.
    expected = np.mean((block_means - overall) ** 2 / (counts.sum() / counts - 1))
    assert value == pytest.approx(overall)
    assert error == pytest.approx(math.sqrt(expected), rel=1e-12)


def test_the_error_of_a_mean_over_unequal_blocks_is_unbiased():
    rng = np.random.default_rng(2)
    counts = np.array([1, 2, 2, 5, 10, 20])
    runs = 4000
    sums = rng.normal(size=(runs, counts.size)) * np.sqrt(counts)
    errors = jackknife(sums.T, counts, mean)[1]
    # The variance of a mean of 40 normal variables; its estimate over 4000 runs.
    assert np.mean(errors**2) == pytest.approx(1 / 40, rel=0.06)


@pytest.mark.parametrize("counts", [[16] * 16, [4, 8, 12, 40] * 4])
def test_the_error_of_a_nonlinear_figure_is_its_spread_over_experiments(counts):
    rng = np.random.default_rng(4)
    counts = np.array(counts)

    def ratio(values):
        return values[0] / values[1]

    def experiment():
        sums = np.stack([rng.gamma(counts), rng.gamma(4 * counts) / 2], axis=1)
        return jackknife(sums, counts, ratio)

    values, errors = np.array([experiment() for _ in range(1500)]).T
    # A spread over 1500 runs is good to 1.8 %.
    assert math.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.08)


def test_the_error_of_a_maps_spread_is_its_spread_over_experiments():
    rng = np.random.default_rng(5)
    expected = oracles.uniform_map(5, 3)
    blocks = 12

    def experiment():
        samples = expected * rng.exponential(size=(blocks, *expected.shape))
        return jackknife(samples, np.ones(blocks), lambda values: moments(values).sigma[0])

    values, errors = np.array([experiment() for _ in range(300)]).T
    assert values.mean() == pytest.approx(math.sqrt(oracles.uniform_variance(5, 3)), rel=0.01)
    assert math.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.12)


def test_equal_samples_have_no_error():
    values = oracles.uniform_map(5, 3)
    size, error = jackknife(np.stack([values * n for n in (1, 2, 3)]), [1, 2, 3], erf_size)
    assert size == math.sqrt(oracles.PIXELS_OF_UNIFORM[5])
    assert error == pytest.approx(0, abs=1e-12)


def test_empty_blocks_change_nothing():
    rng = np.random.default_rng(6)
    sums, counts = rng.random((3, 4)), np.array([2, 5, 3])
    padded = np.insert(sums, [1, 3, 3], 0, axis=0)
    value, error = jackknife(padded, np.insert(counts, [1, 3, 3], 0), mean)
    expected = jackknife(sums, counts, mean)
    np.testing.assert_array_equal(value, expected[0])
    np.testing.assert_array_equal(error, expected[1])


def test_the_order_of_blocks_does_not_matter():
    rng = np.random.default_rng(7)
    sums, counts = rng.random((6, 4)), np.arange(1, 7)
    order = rng.permutation(6)
    error = jackknife(sums, counts, np.prod)[1]
    assert jackknife(sums[order], counts[order], np.prod)[1] == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize("counts", [[3], [0, 3, 0]])
def test_one_block_says_nothing_about_the_spread(counts):
    sums = np.outer(counts, [1.0, 2.0])
    value, error = jackknife(sums, counts, mean)
    np.testing.assert_array_equal(value, [1, 2])
    assert np.isnan(error).all()
    assert error.shape == (2,)
    assert math.isnan(jackknife(sums, counts, np.sum)[1])


def test_a_map_carried_by_one_block_has_a_value_and_no_error():
    sums = np.zeros((4, 5, 5))
    sums[2] = 0.1
    value, error = jackknife(sums, [1, 1, 1, 1], erf_size)
    assert value == 5
    assert math.isnan(error)


def test_leaving_out_a_block_leaves_nothing_of_it():
    sums = np.array([[0.1, 0.0], [0.7, 0.0], [0.2, 0.3]])
    seen = []
    jackknife(sums, [1, 1, 1], lambda values: seen.append(values) or values[0])
    np.testing.assert_allclose(seen[1:], [[0.45, 0.15], [0.15, 0.15], [0.4, 0.0]], atol=1e-15)
    assert seen[3][1] == 0


def test_a_figure_that_is_undefined_for_the_mean_itself_says_so():
    with pytest.raises(InvalidInputError, match="all zero"):
        jackknife(np.zeros((3, 4)), [1, 1, 1], erf_size)


@pytest.mark.parametrize(
    ("sums", "counts", "message"),
    [
        (np.ones((3, 2)), [1, 1], "one count for each"),
        (1.0, [1], "one count for each"),
        (np.ones((2, 2)), [0, 0], "not all zero"),
        (np.ones((2, 2)), [2, -1], "none negative"),
        (np.ones((2, 2)), [2, 0.5], "whole numbers"),
        (np.ones((2, 2)), [2, math.nan], "whole numbers"),
        (np.array([[1.0], [math.inf]]), [1, 1], "1 values that are not"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(sums, counts, message):
    with pytest.raises(InvalidInputError, match=message):
        jackknife(sums, counts, np.sum)
