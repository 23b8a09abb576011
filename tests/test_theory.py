"""The poster's mathematics against enumeration, other forms, printed numbers and Keras."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

from keras_erf import theory
from keras_erf.errors import InvalidInputError
from tests import jacobian, oracles

SHAPES = [(1, 3), (5, 3), (20, 3), (40, 3), (7, 2), (6, 4), (9, 5), (3, 1), (0, 3)]
# Strided layers of the poster's stack of 15, and (field, variance) of each: SCIENCE's sigmas are
# their roots, 8.367, 13.565, 17.26, 22.93 and 4.69.
SUBSAMPLED = {
    (5, 10, 15): (71, 70),
    (4, 8, 12): (105, 184),
    (3, 6, 9): (139, 298),
    (1, 2, 3): (207, 526),
    (13, 14, 15): (39, 22),
}
CHAINS = {
    "uniform": (theory.Step(),) * 4,
    "kinds": (
        theory.Step((1.0, 2.0, 0.5), stride=2),
        theory.Step((0.25, 1.0), dilation=3),
        theory.Step((1.0, 0.0, 3.0, 1.0), stride=3, dilation=2),
        theory.Step((0.5, 0.5)),
    ),
}


def enumerated(chain) -> np.ndarray:
    """Impact by walking every path from the unit to the input."""
    taps = [range(len(step.weights)) for step in chain]
    found: dict[int, float] = {}
    for choice in itertools.product(*taps):
        at, weight, jump = 0, 1.0, 1
        for step, tap in zip(chain, choice, strict=True):
            at += jump * step.dilation * tap
            weight *= step.weights[tap]
            jump *= step.stride
        found[at] = found.get(at, 0.0) + weight
    return np.array([found.get(at, 0.0) for at in range(max(found) + 1)])


# --- Coefficients --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_coefficients_are_those_of_the_power(n, k):
    row = theory.polynomial_coefficients(n, k)
    assert list(row) == oracles.binomial_row(n, k)
    assert sum(row) == k**n
    assert len(row) == n * (k - 1) + 1
    if n:
        assert [theory.polynomial_coefficient(n, t, k) for t in range(len(row))] == list(row)
        assert theory.polynomial_coefficient(n, -1, k) == 0
        assert theory.polynomial_coefficient(n, len(row), k) == 0


def test_central_trinomials_are_the_printed_ones():
    for n, printed in oracles.CENTRAL_TRINOMIALS.items():
        assert theory.polynomial_coefficient(n, n, 3) == printed


def test_two_taps_give_binomials():
    assert theory.polynomial_coefficients(30, 2) == tuple(math.comb(30, t) for t in range(31))


@pytest.mark.parametrize("n", [1, 10, 40, 200])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_fourier_form_is_exact_to_the_norm(n, k):
    exact = oracles.binomial_row(n, k)
    error = theory.fourier_impact([1.0] * k, n) - np.array([float(one) for one in exact])
    assert np.abs(error).max() < 3e-16 * (n + 4) * max(exact)


def test_the_fourier_forms_tails_are_lost():
    # What the docstring warns of: relative to themselves the values at the edge are nothing.
    found = theory.fourier_impact([1.0] * 3, 40)
    assert abs(found[0] - 1) > 1
    direct = theory.impact([theory.Step()] * 40)
    np.testing.assert_allclose(direct, [float(one) for one in oracles.binomial_row(40, 3)], 1e-13)


def test_the_fourier_form_takes_any_weights():
    weights = (0.3, -1.2, 2.0, 0.5)
    chain = [theory.Step(weights)] * 5
    np.testing.assert_allclose(theory.fourier_impact(weights, 5), enumerated(chain), atol=1e-12)


# --- Chains --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHAINS)
def test_impact_is_the_sum_over_paths(name):
    chain = CHAINS[name]
    wanted = enumerated(chain)
    np.testing.assert_allclose(theory.impact(chain), wanted, rtol=1e-13)
    assert theory.field_size(chain) == wanted.size
    mapped = theory.impact_map(chain)
    np.testing.assert_allclose(mapped, np.outer(wanted, wanted), rtol=1e-13)


def test_impact_of_signed_weights():
    chain = (theory.Step((1.0, -2.0, 0.5), stride=2), theory.Step((-1.0, 0.25)))
    np.testing.assert_allclose(theory.impact(chain), enumerated(chain), rtol=1e-13)


@pytest.mark.parametrize("name", CHAINS)
def test_cumulants_are_those_of_the_impact(name):
    chain = CHAINS[name]
    values = enumerated(chain)
    share, at = values / values.sum(), np.arange(values.size)
    centre = share @ at
    second, third, fourth = (share @ (at - centre) ** power for power in (2, 3, 4))
    wanted = [centre, second, third, fourth - 3 * second**2]
    np.testing.assert_allclose(theory.cumulants(chain), wanted, rtol=1e-10, atol=1e-10)
    assert theory.excess_kurtosis(chain) == pytest.approx(fourth / second**2 - 3, rel=1e-9)


@pytest.mark.parametrize(("n", "k"), [(5, 3), (20, 3), (7, 5), (4, 2)])
def test_cumulants_of_uniform_layers(n, k):
    chain = [theory.Step.uniform(k)] * n
    assert theory.variance(chain) == pytest.approx(oracles.uniform_variance(n, k), rel=1e-12)
    wanted = oracles.uniform_kurtosis(n, k)
    assert theory.excess_kurtosis(chain) == pytest.approx(wanted, rel=1e-12)
    assert theory.mean(chain) == pytest.approx(n * (k - 1) / 2)


@pytest.mark.parametrize("strided", SUBSAMPLED)
def test_sub_sampled_structures(strided):
    field, variance = SUBSAMPLED[strided]
    chain = theory.structure(strided=strided)
    assert theory.field_size(chain) == field
    assert theory.variance(chain) == pytest.approx(variance, rel=1e-12)
    own = oracles.chain_impact(oracles.structure(strided=strided))
    np.testing.assert_allclose(theory.impact(chain), own, rtol=1e-12)


def test_plain_and_dilated_structures():
    plain = theory.structure()
    assert (theory.field_size(plain), round(theory.sigma(plain), 3)) == (31, 3.162)
    for places in itertools.combinations((2, 7, 15), 3):
        chain = theory.structure(dilated=zip(places, (2, 4, 8), strict=True))
        assert theory.field_size(chain) == 53
        assert theory.sigma(chain) == pytest.approx(8.0, rel=1e-12)
        assert round(theory.excess_kurtosis(chain), 3) == -0.713


def test_early_strides_make_a_comb():
    values = theory.impact(theory.structure(strided=(1, 2, 3)))
    assert values.max() / values[103] == pytest.approx(4.9, abs=0.05)


def test_a_uniform_keras_network_has_the_chains_impact():
    chain = (theory.Step(stride=2), theory.Step(dilation=2), theory.Step.uniform(4))
    with jacobian.precision():
        x = keras.Input((25, 1))
        y = layers.Conv1D(1, 3, strides=2, kernel_initializer="ones")(x)
        y = layers.Conv1D(1, 3, dilation_rate=2, kernel_initializer="ones")(y)
        model = keras.Model(x, layers.Conv1D(1, 4, kernel_initializer="ones")(y))
    value = tf.zeros((1, 25, 1), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(value)
        seed = model(value)[0, 0, 0]
    gradient = tape.gradient(seed, value).numpy()[0, :, 0]
    wanted = theory.impact(chain)
    np.testing.assert_allclose(gradient[: wanted.size], wanted, rtol=1e-12)
    assert not gradient[wanted.size :].any()


# --- Walks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(1, 1, 1), (0.2, 0.5, 0.3), (1, 0, 0, 4)])
@pytest.mark.parametrize("n", [1, 4])
def test_mean_and_variance_of_a_sum_of_steps(weights, n):
    total = Fraction(0)
    first = second = Fraction(0)
    shares = [Fraction(str(one)) for one in weights]
    for choice in itertools.product(range(len(weights)), repeat=n):
        mass = math.prod(shares[one] for one in choice)
        total += mass
        first += mass * sum(choice)
        second += mass * sum(choice) ** 2
    mean = first / total
    assert theory.expected_position(weights, n) == pytest.approx(float(mean), rel=1e-12)
    variance = float(second / total - mean**2)
    assert theory.position_variance(weights, n) == pytest.approx(variance, rel=1e-12)


def test_the_posters_variance_lacks_its_parenthesis():
    share, at, n = np.full(3, 1 / 3), np.arange(3), 4
    printed = n * share @ at**2 - (share @ at) ** 2
    assert printed != pytest.approx(theory.position_variance((1, 1, 1), n))
    assert printed == pytest.approx(theory.position_variance((1, 1, 1), n) + 3 * (share @ at) ** 2)


@pytest.mark.parametrize("unit", [0, 1, 4])
def test_a_walk_loses_what_steps_into_the_padding(unit):
    weights = np.array([0.5, 1.0, 2.0])
    moves = [theory.Move(5, tuple(weights), padding=1)] * 3
    matrix = np.zeros((5, 5))
    for row, tap in itertools.product(range(5), range(3)):
        if 0 <= row - 1 + tap < 5:
            matrix[row, row - 1 + tap] = weights[tap]
    np.testing.assert_allclose(
        theory.walk(moves, unit), np.linalg.matrix_power(matrix, 3)[unit], rtol=1e-13
    )


@pytest.mark.parametrize("unit", [0, 3, 7])
def test_a_walk_through_strides_dilations_and_copies_is_keras_own(unit):
    with jacobian.precision():
        x = keras.Input((9, 1))
        y = layers.Conv1D(1, 3, strides=2, padding="valid")(x)
        y = layers.UpSampling1D(2)(y)
        model = keras.Model(x, layers.Conv1D(1, 3, dilation_rate=2, padding="same")(y))
    for variable, values in zip(
        model.weights, ([0.5, 1.0, 2.0], [0.0], [1.0, 3.0, 0.25], [0.0]), strict=True
    ):
        variable.assign(np.reshape(values, variable.shape))
    value = tf.zeros((1, 9, 1), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(value)
        seed = model(value)[0, unit, 0]
    moves = [
        theory.Move(9, (0.5, 1.0, 2.0), stride=2, factor=2),
        theory.Move(8, (1.0, 3.0, 0.25), dilation=2, padding=2),
    ]
    wanted = tape.gradient(seed, value).numpy()[0, :, 0]
    np.testing.assert_allclose(theory.walk(moves, unit), wanted, rtol=1e-13)


# --- Limits --------------------------------------------------------------------------------------


def test_the_gaussian_limit_has_the_impacts_moments():
    chain = [theory.Step((1.0, 2.0, 4.0))] * 60
    bell, values = theory.gaussian_limit(chain), theory.impact(chain)
    at = np.arange(values.size)
    assert bell.sum() == pytest.approx(values.sum(), rel=1e-6)
    assert bell @ at / bell.sum() == pytest.approx(theory.mean(chain), rel=1e-6)
    assert np.abs(bell - values).max() < 0.03 * values.max()


@pytest.mark.parametrize("n", [1, 5, 20, 80])
def test_the_distance_is_below_its_bound_and_falls_with_it(n):
    chain = [theory.Step()] * n
    distance, bound = theory.gaussian_distance(chain), theory.berry_esseen_bound(chain)
    assert distance <= bound
    # E|X - 1|^3 = 2/3 and Var X = 2/3.
    assert bound == pytest.approx(0.4748 * (2 / 3) / (2 / 3) ** 1.5 / math.sqrt(n), rel=1e-12)
    row = oracles.binomial_row(n, 3)
    share = np.cumsum([one / 3**n for one in row])
    bell = stats.norm.cdf(np.arange(2 * n + 1), n, math.sqrt(2 * n / 3))
    steps = np.maximum(np.abs(share - bell), np.abs(share - np.diff(share, prepend=0) - bell))
    assert distance == pytest.approx(steps.max(), rel=1e-9)


def test_the_bound_of_layers_that_differ():
    chain = theory.structure(dilated=((5, 2), (10, 4), (15, 8)))
    third = (12 + 8 + 64 + 512) * 2 / 3
    assert theory.berry_esseen_bound(chain) == pytest.approx(0.56 * third / 8**3, rel=1e-12)
    assert theory.gaussian_distance(chain) <= theory.berry_esseen_bound(chain)


@pytest.mark.parametrize(("n", "k", "most"), [(20, 3, 3.8e-5), (40, 3, 1e-5), (10, 5, 2e-4)])
def test_the_expansion_is_sharper(n, k, most):
    row = oracles.binomial_row(n, k)
    share = np.cumsum([one / k**n for one in row])
    assert np.abs(theory.edgeworth_distribution(n, k) - share).max() < most
    assert theory.gaussian_distance([theory.Step.uniform(k)] * n) > 100 * most


def test_a_chain_may_come_one_layer_at_a_time():
    for figure in (
        theory.gaussian_distance,
        theory.berry_esseen_bound,
        theory.excess_kurtosis,
        theory.gaussian_limit,
    ):
        whole = [theory.Step()] * 5
        np.testing.assert_array_equal(figure(one for one in whole), figure(whole))
    alone, one = theory.berry_esseen_bound(theory.Step()), [theory.Step()]
    assert alone == theory.berry_esseen_bound(one)
    # Neither a scale nor a layer that moves nothing makes steps unlike.
    same = [theory.Step((2.0, 2.0, 2.0)), theory.Step((5.0,))]
    assert theory.berry_esseen_bound(one + same) == theory.berry_esseen_bound(one * 2)


def test_shortcuts_of_very_deep_stacks():
    assert theory.skip_map(1100, 1.0, ndim=1).sum() == pytest.approx(1, rel=1e-12)


# --- Laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["square", "abs"])
def test_pixels_of_uniform_maps_are_the_printed_ones(measure):
    printed = oracles.PIXELS_OF_UNIFORM if measure == "square" else oracles.PIXELS_OF_ROOT
    for n, pixels in printed.items():
        assert round(theory.uniform_size(n, measure=measure) ** 2) == pixels


def test_growth_over_the_printed_counts():
    printed = [5, 10, 15, 20, 30, 40]
    for measure, table in (("square", oracles.PIXELS_OF_UNIFORM), ("abs", oracles.PIXELS_OF_ROOT)):
        sizes = np.sqrt([table[n] for n in printed])
        ratios = sizes / (2 * np.array(printed) + 1)
        at = np.log(printed)
        wanted = [stats.linregress(at, np.log(one)).slope for one in (sizes, ratios)]
        np.testing.assert_allclose(theory.growth_exponents(printed, measure=measure), wanted)
    depths = range(5, 41, 5)
    square, root = (theory.growth_exponents(depths, measure=one) for one in ("square", "abs"))
    np.testing.assert_allclose(square, (0.481, -0.481), atol=0.001)
    np.testing.assert_allclose(root, (0.536, -0.426), atol=0.001)


def test_the_laws_are_reached():
    for measure, wider in (("square", 1), ("abs", 2)):
        law = theory.gaussian_size(400, measure=measure)
        assert law == pytest.approx(oracles.GAUSSIAN_SIZE * math.sqrt(wider * 400 * 2 / 3), 1e-6)
        assert theory.uniform_size(400, measure=measure) == pytest.approx(law, rel=0.01)
    assert theory.size_ratio(100) / theory.size_ratio(400) == pytest.approx(2, rel=0.02)


# --- Variants ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers_", "energy"), [(1, 1.0), (1, 2.25), (2, 0.5)])
def test_shortcuts_mix_paths(layers_, energy):
    blocks, kernel = 4, oracles.uniform_map(1, 3)
    wanted = np.zeros((8 * layers_ + 1,) * 2)
    for taken in itertools.product((0, 1), repeat=blocks):
        one = np.ones((1, 1))
        for _ in range(sum(taken) * layers_):
            one = sum(
                kernel[i, j] * np.pad(one, ((i, 2 - i), (j, 2 - j)))
                for i, j in itertools.product(range(3), repeat=2)
            )
        around = (wanted.shape[0] - one.shape[0]) // 2
        wanted += energy ** sum(taken) * np.pad(one, around)
    wanted /= (1 + energy) ** blocks
    found = theory.skip_map(blocks, energy, layers=layers_)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    at = np.arange(wanted.shape[0])
    marginal = wanted.sum(axis=0)
    variance = marginal @ (at - at.mean()) ** 2
    assert theory.skip_variance(blocks, energy, layers=layers_) == pytest.approx(
        variance, rel=1e-12
    )
    # It is no product of its marginals.
    assert np.abs(found - np.outer(marginal, marginal)).max() > 0.01 * found.max()


def test_a_relu_halves_and_dropout_multiplies():
    # All four states of two gates, all masks of two units kept with 3/4.
    assert theory.relu_factor(2) == np.mean([a * b for a, b in itertools.product((0, 1), repeat=2)])
    kept = 0.75
    mean = sum(
        math.prod(kept if one else 1 - kept for one in mask)
        * math.prod(one / kept for one in mask) ** 2
        for mask in itertools.product((0, 1), repeat=2)
    )
    assert theory.dropout_factor(0.25, 2) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_corners_are_the_widest_kernel(k):
    corners = theory.Step((1.0, *[0.0] * (k - 2), 1.0))
    gain = theory.sigma([corners]) / theory.sigma([theory.Step.uniform(k)])
    assert theory.corner_gain(k) == pytest.approx(gain, rel=1e-12)
    assert round(theory.corner_gain(3), 4) == 1.2247


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_a_weak_centre(factor):
    kernel = np.ones((3, 3))
    kernel[1, 1] = factor
    marginal = kernel.sum(axis=0) / kernel.sum()
    variance = marginal @ (np.arange(3) - 1) ** 2
    assert theory.soft_centre_variance(factor) == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: theory.polynomial_coefficients(-1, 3), "`n` must be a whole number"),
        (lambda: theory.polynomial_coefficient(3, 1.5, 3), "`t` must be a whole number"),
        (lambda: theory.fourier_impact([], 3), "`weights` must be the taps"),
        (lambda: theory.Step((math.nan,)), "`weights` must be the taps"),
        (lambda: theory.Step(stride=0), "`stride` must be a whole number"),
        (lambda: theory.impact([3]), "`chain` must hold `theory.Step`s"),
        (lambda: theory.cumulants([theory.Step((1.0, -1.0))]), "do not sum to zero"),
        (lambda: theory.cumulants([theory.Step()], 5), "`order` must be from 1 to 4"),
        (lambda: theory.excess_kurtosis([theory.Step((1.0,))]), "more than one pixel"),
        (lambda: theory.structure(strided=(16,)), "`strided` must name layers from 1 to 15"),
        (lambda: theory.walk([], 0), "`moves` must hold at least one layer"),
        (lambda: theory.Move(3, (1.0, -1.0)), "`weights` must be non-negative"),
        (lambda: theory.position_variance((1, -1), 2), "`weights` must be non-negative"),
        (lambda: theory.berry_esseen_bound([theory.Step((3.0, -1.0, 2.0))]), "non-negative"),
        (lambda: theory.gaussian_limit([theory.Step((1.0,))]), "positive variance"),
        (lambda: theory.uniform_size(5, measure="cube"), "`measure` must be 'square' or 'abs'"),
        (lambda: theory.growth_exponents([5]), "`depths` must hold two different depths"),
        (lambda: theory.growth_exponents(5), "`depths` must be a list"),
        (lambda: theory.impact_distribution([theory.Step((1.0, -1.0))]), "sum is not zero"),
        (lambda: theory.skip_map(3, -1), "`energy` must be a number of at least 0"),
        (lambda: theory.dropout_factor(1), "`rate` must lie from 0 to below 1"),
        (lambda: theory.corner_gain(1), "`kernel_size` must be a whole number of at least 2"),
        (lambda: theory.soft_centre_variance(-1), "`factor` must be a number"),
        (lambda: theory.soft_centre_variance("a"), "`factor` must be a number"),
        (lambda: theory.dropout_factor("a"), "`rate` must lie"),
        (lambda: theory.skip_variance(3, "a"), "`energy` must be a number"),
        (lambda: theory.skip_map(3, 1.0, kernel_size=2), "sees an odd number of pixels"),
        (lambda: theory.impact([theory.Step()] * 700), "an impact below 1.8e308"),
        (lambda: theory.impact_map([theory.Step()] * 400), "an impact below 1.8e308"),
        (lambda: theory.fourier_impact((1, 1, 1), 700), "the impact below 1.8e308"),
        (lambda: theory.sigma([theory.Step((-1.0, 3.0, -1.0))]), "not negative"),
        (lambda: theory.structure(strided=3), "`strided` must be numbers of layers"),
        (lambda: theory.structure(dilated=[5]), "`dilated` pairs of a layer"),
        (lambda: theory.structure(dilated=[(5, 2), (5, 4)]), "name each layer once"),
        (lambda: theory.walk([theory.Move(5, padding=1)] * 2, 6), "`unit` must see a pixel"),
        (lambda: theory.walk([theory.Step()], 0), "`moves` must hold `theory.Move`s"),
    ],
)
def test_bad_arguments_are_reported(call, text):
    with pytest.raises(InvalidInputError, match=text):
        call()
