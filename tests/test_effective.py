"""The result of a probe: its figures, its file, and putting two together."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import json
import math
import os
import pickle
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf
from keras_erf import analysis, zoo
from keras_erf.algebra.geometry import Box
from keras_erf.analysis.counting import balanced_means
from keras_erf.definitions import Definition
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import receptive_field
from keras_erf.measuring.probing import probe
from keras_erf.measuring.untrained import UNTRAINED
from keras_erf.results.effective import BLOCKS, EffectiveReceptiveField, load
from keras_erf.results.metrics import METRICS
from tests import oracles

SIZE = (14, 13)
IMAGES = np.random.default_rng(12).normal(size=(48, *SIZE, 2)).astype("float32")


def network(seed: int = 0, *, name: str = "network", size: tuple[int, int] = SIZE) -> keras.Model:
    """Strides, an up-sampling and a curved function: nothing in the result is trivial."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((*size, 2), name="image")
    y = layers.Conv2D(4, 3, padding="same", activation="tanh", name="first")(x)
    y = layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh", name="strided")(y)
    y = layers.Conv2D(4, 3, padding="same", name="second")(y)
    return keras.Model(x, layers.UpSampling2D(4, name="up")(y), name=name)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def measured(model) -> EffectiveReceptiveField:
    return probe(model, "second", unit=(3, 4), inputs=IMAGES[:20])


@pytest.fixture(scope="module")
def uniform() -> EffectiveReceptiveField:
    """A map known in closed form, of a unit far from the image's middle."""
    stack = zoo.build("plain", depth=5, weights="uniform", input_shape=(31, 40), dtype="float64")
    return probe(stack, unit=(20, 9), samples=2)


def made_of(maps: np.ndarray, field, *, definition: str = "luo2016") -> EffectiveReceptiveField:
    """A result whose samples have these maps."""
    counts = np.bincount(np.arange(len(maps)) % BLOCKS, minlength=BLOCKS)
    sums = np.zeros((BLOCKS, *maps.shape[1:]))
    for number, one in enumerate(maps):
        sums[number % BLOCKS] += one
    runs = [{"inputs": "array of shape ()", "seed": 0, "samples": len(maps), "skipped": []}]
    made = {"model": "m", "weights": "w", "training": False, "runs": runs, "versions": {}}
    chosen = keras_erf.DEFINITIONS[definition]
    return EffectiveReceptiveField(sums, counts, 0, field, chosen, made)


# -- figures --


def test_figures_of_a_known_map(uniform):
    field = uniform.receptive_field
    assert uniform.layer == "conv5"
    assert uniform.unit == (20, 9)
    assert uniform.size == pytest.approx(math.sqrt(oracles.PIXELS_OF_UNIFORM[5]))
    assert uniform.trf_size == pytest.approx(11)
    assert uniform.ratio == pytest.approx(math.sqrt(69) / 11)
    # Both samples are alike: the network is linear.
    assert uniform.size_error == 0
    assert uniform.ratio_error == 0
    np.testing.assert_allclose(uniform.standard_error, 0, atol=1e-9)
    moments = uniform.moments()
    np.testing.assert_allclose(moments.centroid, (20, 9), atol=1e-9)
    np.testing.assert_allclose(moments.sigma**2, oracles.uniform_variance(5, 3), rtol=1e-9)
    np.testing.assert_allclose(moments.kurtosis, oracles.uniform_kurtosis(5, 3), rtol=1e-8)
    compared = uniform.compare()
    assert compared.trf_size == field.size == (11, 11)
    np.testing.assert_allclose(compared.offset, 0, atol=1e-9)
    assert compared.erf_size == uniform.size
    assert compared.ratio == pytest.approx(uniform.ratio)


def test_the_gaussian_is_fitted_to_the_field_and_not_to_the_zeros_around(uniform):
    inside = oracles.uniform_map(5, 3)
    expected = analysis.fit_gaussian(inside)
    fit = uniform.gaussian()
    np.testing.assert_allclose(fit.sigma, expected.sigma, rtol=1e-6)
    assert fit.r_squared == pytest.approx(expected.r_squared, abs=1e-9)
    np.testing.assert_allclose(uniform.compare().sigma, expected.sigma, rtol=1e-6)
    # With the zeros around it the share explained would be another.
    around = analysis.fit_gaussian(uniform.map)
    assert abs(around.r_squared - expected.r_squared) > 1e-4


def test_a_field_that_leaves_the_image_is_fitted_where_it_is_inside():
    stack = zoo.build("plain", depth=5, weights="uniform", input_shape=(31, 40), dtype="float64")
    corner = probe(stack, unit=(1, 38), samples=1)
    assert corner.receptive_field.box() == ((-4, 7), (33, 44))
    expected = analysis.fit_gaussian(corner.map[:7, 33:])
    np.testing.assert_allclose(corner.gaussian().sigma, expected.sigma, rtol=1e-6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_theoretical_size_is_the_geometric_mean_of_its_sides(ndim):
    kernel = (2, 5, 3)[:ndim]
    stack = zoo.build("plain", depth=1, kernel_size=kernel, dims=ndim, weights="uniform",
                      input_shape=(9,) * ndim)  # fmt: skip
    result = probe(stack, samples=1)
    sides = math.prod(kernel) ** (1 / ndim)
    assert result.trf_size == pytest.approx(sides)
    # All taps of one layer weigh the same: the whole field is effective.
    assert result.size == pytest.approx(sides)
    assert result.ratio == pytest.approx(1)


def test_regions(uniform):
    peak = uniform.map.max()
    region = uniform.region()
    np.testing.assert_array_equal(region.mask, uniform.map > 0.0455 * peak)
    assert region.rule == "threshold"
    assert uniform.region("threshold", fraction=0.5).pixels == (uniform.map > 0.5 * peak).sum()
    # The fewest pixels, by sorting: all that are as large as the last one needed.
    descending = np.sort(uniform.map, axis=None)[::-1]
    needed = np.argmax(np.cumsum(descending) >= 0.9545 * uniform.map.sum())
    mass = uniform.region("mass")
    np.testing.assert_array_equal(mass.mask, uniform.map >= descending[needed])
    assert mass.rule == "mass"
    assert uniform.region("mass", mass=0.5).pixels < mass.pixels


def test_the_centre_of_a_region_is_the_fields_and_not_the_images():
    field = receptive_field(network(), "second", unit=(3, 4))
    maps = np.full((1, *SIZE), 0.5)
    row, column = map(int, field.center())
    assert field.center() == (row, column) != tuple((n - 1) / 2 for n in SIZE)
    maps[0, row, column], maps[0, 0, 0], maps[0, 1, 1] = 40.0, 200.0, 5.0
    result = made_of(maps, field)
    # 4.55 % of 200 is 9.1, of 40 it is 1.8, and of the rest less than the rest.
    assert result.region().pixels == 2
    assert result.region(reference="center").pixels == 3
    assert result.region(reference="center", center=(0, 0)).pixels == 2
    assert result.region(reference="center", center=(1, 2)).pixels == maps.size


@pytest.mark.parametrize("rule", ["peak", "", None])
def test_an_unknown_rule(uniform, rule):
    with pytest.raises(InvalidInputError, match=r"`rule` must be .*'mass'. Received: rule="):
        uniform.region(rule)


def test_area_ratios(uniform):
    # The box about the unit that holds at least half: sides by growing it pixel by pixel.
    for side in range(1, 12, 2):
        half = side // 2
        box = uniform.map[20 - half : 21 + half, 9 - half : 10 + half]
        if box.sum() >= 0.5 * uniform.map.sum():
            break
    found = uniform.area_ratio(0.5)
    assert found.side == side
    assert found.ratio == pytest.approx(side**2 / (31 * 40))
    # RepLKNet's measure is about the image's middle, far from this unit's.
    published = uniform.area_ratio(0.5, scale_free=False)
    scores = np.log10(uniform.map + 1)
    half = published.side // 2
    box = scores[max(15 - half, 0) : 16 + half, max(20 - half, 0) : 21 + half]
    inner = scores[max(16 - half, 0) : 15 + half, max(21 - half, 0) : 20 + half]
    assert box.sum() > 0.5 * scores.sum() >= inner.sum()
    assert published.side > 2 * side


def test_summary_and_frame(measured):
    summary, field, compared = measured.summary(), measured.receptive_field, measured.compare()
    assert summary == json.loads(json.dumps(summary))
    assert summary["layer"] == "second"
    assert summary["unit"] == [3, 4]
    assert summary["status"] == "exact"
    assert summary["trf_size"] == list(field.size) == [9, 9]
    assert summary["trf_stride"] == [2, 2]
    assert summary["trf_center"] == list(field.center())
    assert summary["erf_size"] == measured.size
    assert summary["erf_size_error"] == measured.size_error > 0
    assert summary["mass_size"] == measured.region("mass").size
    assert summary["ratio"] == pytest.approx(measured.size / 9)
    assert summary["ratio_error"] == pytest.approx(measured.size_error / 9)
    assert summary["sigma"] == pytest.approx(measured.gaussian().sigma.tolist())
    assert summary["r_squared"] == pytest.approx(measured.gaussian().r_squared)
    assert summary["centroid"] == pytest.approx(measured.moments().centroid.tolist())
    assert summary["offset"] == list(compared.offset)
    for figure in ("mass_size", "ratio", "sigma", "r_squared", "centroid", "offset"):
        error = summary[f"{figure}_error"]
        assert error == pytest.approx(measured.estimate(figure).error)
        assert np.shape(error) == np.shape(summary[figure])
    assert summary["samples"] == 20
    assert summary["dead"] == 0
    assert summary["definition"] == "luo2016"
    frame = measured.to_frame()
    assert list(frame.columns) == list(summary)
    assert len(frame) == 1
    assert frame.iloc[0].to_dict() == summary


def test_a_gaussian_that_says_nothing_is_left_out():
    stack = zoo.build("plain", depth=3, activation="relu", input_shape=(16, 16))
    results = {layer: probe(stack, layer, samples=8) for layer in ("conv1", "conv3")}
    # A field of 3 pixels has none; the fit itself may be looked at.
    assert np.isnan(results["conv1"].summary()["sigma"]).all()
    assert np.isnan(results["conv1"].summary()["sigma_error"]).all()
    assert np.isfinite(results["conv1"].sigma).all()
    assert not results["conv1"].compare().is_bell
    assert np.isfinite(results["conv3"].summary()["sigma"]).all()


def test_a_map_too_flat_for_a_gaussian_has_all_other_figures():
    stack = zoo.build("plain", depth=1, weights="uniform", input_shape=(9, 9), dtype="float64")
    result = probe(stack, samples=1)
    with pytest.raises(InvalidInputError):
        result.gaussian()
    summary = result.summary()
    assert summary["erf_size"] == pytest.approx(3)
    assert all(map(math.isnan, [*summary["sigma"], summary["r_squared"]]))


def test_a_stride_between_pixels_is_a_plain_number(model):
    result = probe(model, "up", unit=(9, 9), inputs=IMAGES[:2])
    assert result.receptive_field.stride == (Fraction(1, 2),) * 2
    assert result.summary()["trf_stride"] == [0.5, 0.5]


def test_repr_shows_the_main_metrics_on_one_line(measured):
    shown = repr(measured)
    assert "\n" not in shown
    for word in ("second", "(3, 4)", "9x9", "luo2016", "20 samples", f"{measured.size:.2f} +- 0.0"):
        assert word in shown
    assert f"({100 * measured.size / 9:.0f} %)" in shown


def test_repr_of_one_sample_states_no_error(measured):
    counts = np.zeros_like(measured.block_counts)
    counts[0] = 1
    sums = np.where(np.arange(len(counts))[:, None, None] == 0, measured.block_sums, 0.0)
    one = dataclasses.replace(measured, block_sums=sums, block_counts=counts)
    assert f"size {one.size:.1f} px of 9x9 px" in repr(one)
    assert "luo2016, 1 sample" in repr(one)


@pytest.mark.parametrize(
    ("spread", "samples", "constant"),
    [(0, 16, True), (0, 5, True), (1e-8, 16, True), (1e-3, 16, False), (0, 1, False)],
)
def test_samples_that_agree_but_for_rounding_have_no_error(measured, spread, samples, constant):
    counts = (np.arange(16) < samples) * np.arange(1, 17)
    noise = 1 + spread * np.random.default_rng(0).normal(size=(16, *measured.map.shape))
    sums = measured.map * noise * counts[:, None, None]
    result = dataclasses.replace(measured, block_sums=sums, block_counts=counts)
    assert result.constant == constant
    # A count of pixels may be the same for samples that differ.
    assert ("+-" in repr(result)) == (not constant and result.size_error > 0)


def test_a_result_is_frozen(measured):
    for name in ("block_sums", "dead_count", "definition", "map"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(measured, name, 0)


# -- errors of the figures --


def test_the_error_of_the_size_is_its_distance_from_the_truth():
    # Noisy maps: the error of one run against many.
    field = receptive_field(network(size=(64, 64)), "second", unit=(16, 16))
    bell = oracles.gaussian_map((64, 64), field.center(), np.eye(2) * 36)
    rng = np.random.default_rng(1)
    results = [
        made_of(bell * rng.gamma(1, size=(32, 1, 1)) * rng.gamma(5, 0.2, (32, 64, 64)), field)
        for _ in range(30)
    ]
    sizes = np.array([result.size for result in results])
    errors = np.sqrt(np.mean([result.size_error**2 for result in results]))
    truth = analysis.erf_size(bell)
    # The noisy peak makes sizes too small: a bias on top of the scatter.
    assert 0 < sizes.std(ddof=1) < errors
    assert errors == pytest.approx(np.sqrt(np.mean((sizes - truth) ** 2)), rel=0.4)


def test_normalized_maps_sum_to_one_and_so_do_their_errors(model):
    result = probe(model, "second", unit=(3, 4), inputs=IMAGES[:32], definition="openerf")
    assert result.map.sum() == pytest.approx(1, abs=1e-12)
    # Leaving out one block after the other, by hand.
    means = result.block_sums / 2
    without = np.array([np.delete(means, block, axis=0).sum(axis=0) for block in range(BLOCKS)])
    without /= without.sum(axis=(1, 2), keepdims=True)
    expected = np.sqrt(15 / 16 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    part = result.standard_error[tuple(slice(*one) for one in result.part)]
    np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-15)


def test_a_single_block_that_sees_something_leaves_no_error():
    field = receptive_field(network(), "second", unit=(3, 4))
    maps = np.zeros((3, *SIZE))
    maps[1, 4:9, 5:10] = 1
    for definition in ("luo2016", "openerf"):
        result = made_of(maps, field, definition=definition)
        assert result.size == pytest.approx(5)
        assert math.isnan(result.size_error)
    assert np.isnan(result.standard_error).all()


# -- the part of the input that is kept --


def kept(result: EffectiveReceptiveField, part: Box) -> EffectiveReceptiveField:
    """The same result over a part of the input."""
    slices = (slice(None), *(slice(*pair) for pair in part))
    return dataclasses.replace(result, block_sums=result.block_sums[slices].copy(), part=part)


def assert_same_figures(one: EffectiveReceptiveField, other: EffectiveReceptiveField) -> None:
    # Sums over another shape are rounded otherwise.
    np.testing.assert_allclose(one.map, other.map, rtol=1e-12, atol=0)
    peak = other.standard_error.max()
    np.testing.assert_allclose(one.standard_error, other.standard_error, 1e-9, 1e-12 * peak)
    for name in ("threshold", "mass"):
        mine, theirs = one.region(name), other.region(name)
        np.testing.assert_array_equal(mine.mask, theirs.mask)
        assert (mine.size, mine.pixels) == (theirs.size, theirs.pixels)
        assert (mine.mass, mine.level) == pytest.approx((theirs.mass, theirs.level))
    if one.map[tuple(map(int, one.receptive_field.center()))]:
        mine, theirs = (result.region(reference="center") for result in (one, other))
        np.testing.assert_array_equal(mine.mask, theirs.mask)
    for figure in METRICS:
        mine, theirs = one.estimate(figure), other.estimate(figure)
        for name in ("value", "error", "low", "high"):
            # The least noise of least squares is about 1e-8.
            np.testing.assert_allclose(
                getattr(mine, name), getattr(theirs, name), rtol=1e-6, atol=1e-9, err_msg=figure
            )
    np.testing.assert_allclose(one.gaussian().center, other.gaussian().center, rtol=1e-6)
    np.testing.assert_allclose(one.moments().centroid, other.moments().centroid, rtol=1e-9)
    for share, scale_free in itertools.product((0.2, 0.5, 0.99), (True, False)):
        mine, theirs = (result.area_ratio(share, scale_free=scale_free) for result in (one, other))
        assert mine == theirs
    assert one.constant == other.constant


@pytest.mark.parametrize("definition", ["luo2016", "luo2016-signed", "openerf"])
@pytest.mark.parametrize("unit", [(3, 4), (0, 6)])
def test_the_part_that_is_seen_is_as_good_as_the_whole(model, definition, unit):
    options = {"unit": unit, "inputs": IMAGES[:20], "definition": definition}
    result = probe(model, "second", **options)
    whole = dataclasses.replace(result, block_sums=probe_sums(result), part=None)
    seen = whole.receptive_field.visible()
    assert math.prod(stop - start for start, stop in seen) < math.prod(SIZE)
    assert_same_figures(kept(whole, seen), whole)
    # More than is seen may be kept, and what is seen of a dilated or strided field may be less.
    assert_same_figures(kept(whole, ((0, 14), seen[1])), whole)


def probe_sums(result: EffectiveReceptiveField) -> np.ndarray:
    """Block sums over the whole input, whatever the probe kept."""
    sums = np.zeros((len(result.block_counts), *result.receptive_field.input_size))
    sums[(slice(None), *itertools.starmap(slice, result.part or [(0, None)] * 2))] = (
        result.block_sums
    )
    return sums


def test_the_centre_may_lie_outside_of_the_part(measured):
    # Cut to the corner of what is seen: the field's centre is not kept.
    (top, _), (left, _) = measured.receptive_field.visible()
    corner = ((top, top + 3), (left, left + 3))
    cut = kept(dataclasses.replace(measured, block_sums=probe_sums(measured), part=None), corner)
    with pytest.raises(InvalidInputError, match="`center` must be a point where the map is not ze"):
        cut.region(reference="center")
    inside = (top + 2, left + 2)
    found = cut.region(reference="center", center=inside)
    np.testing.assert_array_equal(found.mask, cut.map > 0.0455 * cut.map[inside])
    assert found.mask.any()


def test_figures_cost_what_the_field_does_whatever_the_image():
    field = receptive_field(network(size=(4096, 4096)), "second", unit=(700, 1500))
    seen = field.visible()
    assert seen == field.box() == ((1397, 1406), (2997, 3006))
    bell = oracles.gaussian_map((9, 9), (4, 4), np.eye(2) * 3)
    maps = bell * np.random.default_rng(0).gamma(9, 1 / 9, size=(32, 9, 9))
    counts = np.full(BLOCKS, 2)
    tracemalloc.start()
    try:
        result = EffectiveReceptiveField(
            maps.reshape(2, BLOCKS, 9, 9).sum(axis=0), counts, 0, field,
            keras_erf.DEFINITIONS["luo2016"], {}, part=seen,
        )  # fmt: skip
        summary, shown = result.summary(), repr(result)
        found = [result.estimate(figure) for figure in METRICS]
        areas = result.area_ratio(0.5), result.area_ratio(0.5, scale_free=False)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One boolean per pixel of the image would be 17 MB.
    assert used < 2e6
    assert summary["centroid"] == pytest.approx([1401, 3001], abs=0.2)
    assert all(np.isfinite(one.error).all() for one in found)
    assert "+-" in shown
    assert areas[0].ratio == pytest.approx(areas[0].side ** 2 / 4096**2)
    # About the image's middle it takes a square as wide as the way to the field.
    assert areas[1].side == pytest.approx(2 * (3001 - 2048) + 1, abs=9)


# -- estimates --


def test_an_estimate_is_the_figure_with_error_and_students_interval(measured):
    centroid = measured.estimate("centroid")
    np.testing.assert_array_equal(centroid.value, measured.moments().centroid)
    sums, counts = probe_sums(measured), measured.block_counts
    value, error = analysis.jackknife(sums, counts, lambda one: analysis.moments(one).centroid)
    np.testing.assert_allclose(centroid.error, error, rtol=1e-9)
    # 16 blocks hold samples: 15 degrees of freedom, 2.131 in every table.
    np.testing.assert_allclose((centroid.high - centroid.low) / 2, 2.1314 * error, rtol=1e-4)
    assert np.abs((centroid.high + centroid.low) / 2 - value).max() < 0.5 * error.max()
    wider = measured.estimate("centroid", level=0.99)
    np.testing.assert_allclose(wider.high - wider.low, 2 * 2.9467 * error, rtol=1e-4)


@pytest.mark.parametrize("figure", METRICS)
def test_every_figure_lies_in_its_interval(measured, figure):
    found = measured.estimate(figure)
    assert np.all(found.low <= found.value)
    assert np.all(found.value <= found.high)
    assert np.all(np.asarray(found.error) > 0)
    assert np.shape(found.value) == np.shape(found.error) == np.shape(found.low)
    # Nothing is computed twice.
    assert measured._metrics.spread(figure) is measured._metrics.spread(figure)


def test_figures_and_errors_are_those_of_the_estimates(measured):
    size, ratio, sigma = (measured.estimate(name) for name in ("size", "ratio", "sigma"))
    assert (size.value, size.error) == (measured.size, measured.size_error)
    assert ratio.value == measured.ratio == pytest.approx(measured.size / 9)
    assert ratio.error == measured.ratio_error == pytest.approx(measured.size_error / 9)
    assert (ratio.low, ratio.high) == pytest.approx((size.low / 9, size.high / 9))
    np.testing.assert_array_equal(sigma.value, measured.sigma)
    np.testing.assert_array_equal(sigma.value, measured.gaussian().sigma)
    np.testing.assert_array_equal(sigma.error, measured.sigma_error)
    offset, centroid = measured.estimate("offset"), measured.estimate("centroid")
    center = measured.receptive_field.center()
    np.testing.assert_allclose(offset.low, centroid.low - center, atol=1e-9)
    np.testing.assert_array_equal(offset.error, centroid.error)


def test_the_errors_of_a_fit_are_those_of_fits_without_each_block(measured):
    box = measured.receptive_field.box()
    for name in ("sigma", "r_squared"):
        error = analysis.jackknife(
            probe_sums(measured), measured.block_counts,
            lambda one, name=name: getattr(analysis.fit_gaussian(one, box=box), name),
        )[1]  # fmt: skip
        np.testing.assert_allclose(measured.estimate(name).error, error, rtol=0.1)


CONCENTRATION = {
    "half_mass_radius": analysis.half_mass_radius,
    "mass_radii": lambda map, center: analysis.mass_radius(map, [0.5, 0.9, 0.9545], center=center),
    "fwhm": lambda map, center: analysis.fwhm(map),
    "entropy": lambda map, center: analysis.entropy(map),
    "effective_pixels": lambda map, center: analysis.effective_pixels(map),
    "gini": lambda map, center: analysis.gini(map),
}


@pytest.mark.parametrize("metric", CONCENTRATION)
@pytest.mark.parametrize("definition", ["luo2016", "luo2016-signed", "openerf"])
def test_how_concentrated_a_map_is_with_its_errors(model, metric, definition):
    """Of a unit at the border, whose field reaches past it: over the pixels that are there."""
    result = probe(model, "second", unit=(0, 6), inputs=IMAGES[:20], definition=definition)
    (top, bottom), (left, right) = result.receptive_field.box()
    assert top < 0
    assert right > SIZE[1]
    inside = (slice(0, bottom), slice(left, SIZE[1]))
    center = np.array(result.receptive_field.center()) - (0, left)
    whole = np.zeros((BLOCKS, *SIZE))
    whole[(slice(None), *(slice(*pair) for pair in result._part))] = result.block_sums
    sums, counts = whole[(slice(None), *inside)], result.block_counts
    value, error = analysis.jackknife(
        sums, counts, lambda mean: CONCENTRATION[metric](mean, center=center)
    )
    if metric in ("half_mass_radius", "mass_radii", "fwhm"):
        # Lengths bend from pixel to pixel: theirs is the distance of balanced replicates.
        found = [CONCENTRATION[metric](one, center=center) for one in balanced_means(sums, counts)]
        error = np.sqrt(np.mean((np.array(found) - value) ** 2, axis=0))
    found = result.estimate(metric)
    np.testing.assert_allclose(found.value, value, rtol=1e-9)
    np.testing.assert_allclose(found.error, error, rtol=1e-6)
    assert (np.asarray(error) > 0).all()
    assert result.summary()[metric] == pytest.approx(np.asarray(value).tolist())
    assert result.summary()[f"{metric}_error"] == pytest.approx(np.asarray(error).tolist())


def test_shares_within_a_radius_of_the_fields_centre(measured):
    center = measured.receptive_field.center()
    for share in (0.3, 0.5, 0.95):
        radius = measured.mass_radius(share)
        assert radius == pytest.approx(analysis.mass_radius(measured.map, share, center=center))
        assert measured.mass_within(radius) == pytest.approx(share)
    assert measured.mass_radius() == measured.estimate("half_mass_radius").value
    assert measured.mass_within(100) == 1


def test_normalized_maps_have_the_errors_of_normalized_maps(model):
    result = probe(model, "second", unit=(3, 4), inputs=IMAGES[:32], definition="openerf")
    plain = dataclasses.replace(result, definition=Definition("plain", normalized=False))
    assert result.estimate("mass").value == pytest.approx(1)
    assert result.estimate("mass").error == pytest.approx(0, abs=1e-9)
    assert plain.estimate("mass").error > 0
    for figure in set(METRICS) - {"mass"}:
        one, other = result.estimate(figure), plain.estimate(figure)
        np.testing.assert_allclose(one.value, other.value, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(one.error, other.error, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("figure", ["erf_size", "", "map", None])
def test_an_unknown_metric_lists_the_known_ones(measured, figure):
    with pytest.raises(InvalidInputError, match=r"`figure` must be one of size, ratio, mass_size"):
        measured.estimate(figure)


def test_a_single_sample_has_figures_and_no_errors(model):
    one = probe(model, "second", unit=(3, 4), inputs=IMAGES[:1])
    for figure in METRICS:
        found = one.estimate(figure)
        assert np.isfinite(found.value).all()
        assert np.isnan([found.error, found.low, found.high]).all()
    assert np.isnan(one.standard_error).all()
    assert one.standard_error.shape == SIZE


# -- linear units --


@pytest.mark.parametrize("samples", [1, 20])
def test_a_linear_unit_has_no_error_whatever_the_samples(model, samples):
    made = probe(model, "second", unit=(3, 4), inputs=IMAGES[:samples])
    result = dataclasses.replace(made, linear=True)
    assert result.constant
    assert result.standard_error.shape == SIZE
    assert not result.standard_error.any()
    assert (result.size_error, result.ratio_error) == (0, 0)
    for figure in METRICS:
        found = result.estimate(figure)
        assert not np.any(found.error)
        np.testing.assert_array_equal(found.low, found.value)
        np.testing.assert_array_equal(found.high, found.value)
    assert f"size {result.size:.1f} px (linear) of 9x9 px" in repr(result)
    assert "+-" not in repr(result)
    assert "linear" not in repr(made)


def test_a_linear_unit_without_a_gaussian_has_no_error_of_it_either():
    stack = zoo.build("plain", depth=1, weights="uniform", input_shape=(9, 9), dtype="float64")
    result = dataclasses.replace(probe(stack, samples=1), linear=True)
    assert np.isnan(result.sigma_error).all()
    assert result.size_error == 0


def test_what_ended_the_run(measured):
    assert measured.stopped_by == "samples"
    runs = [{"stopped_by": "inputs"}, {"stopped_by": "tolerance"}]
    ended = dataclasses.replace(measured, provenance={**measured.provenance, "runs": runs})
    assert ended.stopped_by == "tolerance"


# -- files --


def assert_same(one: EffectiveReceptiveField, other: EffectiveReceptiveField) -> None:
    np.testing.assert_array_equal(one.map, other.map)
    np.testing.assert_array_equal(one.standard_error, other.standard_error)
    np.testing.assert_array_equal(one.block_sums, other.block_sums)
    np.testing.assert_array_equal(one.block_counts, other.block_counts)
    assert one.receptive_field == other.receptive_field
    assert one.receptive_field.box() == other.receptive_field.box()
    assert one.receptive_field.center() == other.receptive_field.center()
    assert one.receptive_field.visible() == other.receptive_field.visible()
    assert one.definition == other.definition
    assert one.provenance == other.provenance
    assert one.dead == other.dead
    assert one.summary() == other.summary()
    assert repr(one) == repr(other)


@pytest.mark.parametrize("definition", ["luo2016", "openerf", "own"])
@pytest.mark.parametrize(("layer", "unit"), [("second", (0, 4)), ("up", (9, 9))])
def test_a_file_gives_back_the_result(model, tmp_path, layer, unit, definition):
    chosen = Definition("own", seed="mean", measure="square") if definition == "own" else definition
    options = {"unit": unit, "inputs": IMAGES[:20], "definition": chosen, "seed": np.int64(3)}
    result = probe(model, layer, **options)
    # At the border the field leaves the image, and less of it is visible.
    assert (result.receptive_field.box() != result.receptive_field.visible()) == (unit[0] == 0)
    result.save(tmp_path / "result.npz")
    assert_same(load(tmp_path / "result.npz"), result)
    assert_same(load(str(tmp_path / "result.npz")), result)
    # Once more round, so that loading loses nothing that saving needs.
    load(tmp_path / "result.npz").save(tmp_path / "again.npz")
    assert_same(load(tmp_path / "again.npz"), result)


@pytest.mark.parametrize("linear", [False, True])
def test_a_file_keeps_the_part_and_whether_the_unit_is_linear(measured, tmp_path, linear):
    whole = dataclasses.replace(measured, block_sums=probe_sums(measured), part=None, linear=linear)
    for result in (whole, kept(whole, whole.receptive_field.visible())):
        result.save(tmp_path / "result.npz")
        loaded = load(tmp_path / "result.npz")
        assert loaded.part == result.part
        assert loaded.linear is linear
        assert_same(loaded, result)


def test_the_file_is_called_as_asked(measured, tmp_path):
    measured.save(tmp_path / "plain")
    assert [one.name for one in tmp_path.iterdir()] == ["plain"]
    assert_same(load(tmp_path / "plain"), measured)


def test_the_file_holds_no_pickle(measured, tmp_path):
    measured.save(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["about", "block_counts", "block_sums"]
        assert all(file[name].dtype != object for name in file.files)
        about = json.loads(str(file["about"]))
    assert about["definition"]["name"] == "luo2016"
    assert about["provenance"]["runs"][0]["samples"] == 20


def test_a_file_knows_its_own_unit_only(measured, tmp_path):
    measured.save(tmp_path / "result.npz")
    field = load(tmp_path / "result.npz").receptive_field
    assert field.box((3, 4)) == measured.receptive_field.box()
    for question in (field.box, field.visible, field.center):
        with pytest.raises(InvalidInputError, match=r"`unit` must be \(3, 4\)"):
            question((0, 0))
    with pytest.raises(InvalidInputError, match="no support mask"):
        field.support()


def test_saving_where_nothing_can_be_written(measured, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InvalidInputError, match="`path`"):
        measured.save(tmp_path / "file" / "result.npz")
    assert (tmp_path / "file").read_text() == "kept"


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def parts(measured, tmp_path) -> dict:
    """What a good file holds, its text taken apart."""
    measured.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        found = dict(file)
    (tmp_path / "good.npz").unlink()
    return {**found, "about": json.loads(str(found["about"]))}


def rejected(path: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith("`path` must be an .npz file written by")
    assert message.endswith(f"Received: {str(path)!r}")
    assert "\n" not in message
    return message


def write(path: Path, parts: dict, **changes) -> Path:
    about = json.dumps({**parts["about"], **changes.pop("about", {})})
    np.savez(path, **{**parts, "about": np.array(about), **changes})
    return path


def test_the_parts_make_a_good_file(parts, measured, tmp_path):
    assert_same(load(write(tmp_path / "file.npz", parts)), measured)


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"PK\x03\x04 and nothing more", b"\x93NUMPY"]
)
def test_files_of_other_kinds_are_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    rejected(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in rejected(tmp_path / "nowhere.npz")
    assert "directory" in rejected(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(measured, tmp_path, share):
    path = tmp_path / "file.npz"
    measured.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    rejected(path)


def test_a_file_with_a_flipped_byte_is_refused(measured, tmp_path):
    path = tmp_path / "file.npz"
    measured.save(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("block_sums.npy")
    whole = bytearray(path.read_bytes())
    whole[info.header_offset + 200 + info.compress_size // 2] ^= 0xFF
    path.write_bytes(whole)
    rejected(path)


def test_a_plain_array_is_refused(tmp_path):
    np.save(tmp_path / "file.npy", np.ones(3))
    rejected(tmp_path / "file.npy")


def test_pickles_are_not_opened(parts, tmp_path):
    bomb = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    np.savez(tmp_path / "file.npz", about=bomb, block_sums=parts["block_sums"])
    rejected(tmp_path / "file.npz")
    rejected(write(tmp_path / "sums.npz", parts, block_sums=bomb))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    rejected(tmp_path / "raw.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("lost", ["about", "block_sums", "block_counts"])
def test_a_missing_part_is_refused(parts, tmp_path, lost):
    about = np.array(json.dumps(parts["about"]))
    rest = {name: value for name, value in {**parts, "about": about}.items() if name != lost}
    np.savez(tmp_path / "file.npz", **rest)
    assert lost in rejected(tmp_path / "file.npz")


@pytest.mark.parametrize(
    "lost",
    ["format", "dead_count", "definition", "provenance", "receptive_field", "part", "linear"],
)
def test_a_missing_entry_is_refused(parts, tmp_path, lost):
    del parts["about"][lost]
    assert lost in rejected(write(tmp_path / "file.npz", parts))


SUMS = np.ones((16, *SIZE))
HOLED = SUMS.copy()
HOLED[3, 4, 5] = np.nan


@pytest.mark.parametrize(
    "changes",
    [
        {"about": {"format": "something else"}},
        {"about": {"format": "keras-erf effective receptive field 1"}},
        {"about": {"linear": "yes"}},
        {"about": {"part": [[0, 14]]}, "block_sums": SUMS},
        {"about": {"part": [[0, 14], [0, 14]]}, "block_sums": np.ones((16, 14, 14))},
        {"about": {"part": [[-1, 13], [0, 13]]}, "block_sums": SUMS},
        {"about": {"part": [[3, 3], [0, 13]]}, "block_sums": SUMS[:, :0]},
        {"about": {"part": [[0, 13], [0, 13]]}, "block_sums": SUMS},
        {"about": {"part": "all"}},
        {"about": {"part": None}, "block_sums": SUMS[:, 1:]},
        {"about": {"dead_count": "many"}},
        {"about": {"definition": {"name": "own", "speed": 3}}},
        {"about": {"definition": {"name": "own", "measure": "evil"}}},
        {"about": {"provenance": 3}},
        {"about": {"receptive_field": []}},
        {"block_sums": SUMS[:8]},
        {"block_sums": SUMS[:, :-1]},
        {"block_sums": SUMS[0]},
        {"block_sums": SUMS.astype("float32")},
        {"block_sums": HOLED},
        {"block_sums": 0 * SUMS},
        {"block_counts": np.zeros(16, dtype=np.int64)},
        {"block_counts": -np.ones(16, dtype=np.int64)},
        {"block_counts": np.ones(16)},
        {"block_counts": np.ones((16, 1), dtype=np.int64)},
        {"block_counts": np.array(16)},
    ],
)
def test_wrong_parts_are_refused(parts, tmp_path, changes):
    rejected(write(tmp_path / "file.npz", parts, **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", ["1/0", "2"]),
        ("stride", ["2"]),
        ("size", [9]),
        ("size", ["a", "b"]),
        ("padding", [0, 0, 0]),
        ("unit", [3]),
        ("box", [[0, 3]]),
        ("box", [[0], [3]]),
        ("visible", 7),
    ],
)
def test_a_wrong_field_is_refused(parts, tmp_path, name, value):
    parts["about"]["receptive_field"][name] = value
    rejected(write(tmp_path / "file.npz", parts))


def test_an_array_larger_than_memory_is_refused(parts, tmp_path):
    path = write(tmp_path / "file.npz", parts)
    header = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(header, about)
    with (
        zipfile.ZipFile(tmp_path / "file.npz") as old,
        zipfile.ZipFile(tmp_path / "huge.npz", "w") as new,
    ):
        for name in old.namelist():
            content = header.getvalue() if name == "block_sums.npy" else old.read(name)
            new.writestr(name, content)
    path.unlink()
    rejected(tmp_path / "huge.npz")


# -- merging --


def test_two_halves_are_the_whole(model):
    # Sample n goes to block n modulo 16: halves of 16 fall into the same blocks as the whole.
    whole = probe(model, "second", inputs=IMAGES, batch_size=16)
    first, *others = (
        probe(model, "second", inputs=IMAGES[start : start + 16]) for start in (0, 16, 32)
    )
    merged = first.merge(others[0]).merge(others[1])
    np.testing.assert_allclose(merged.map, whole.map, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(merged.block_sums, whole.block_sums, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(merged.block_counts, whole.block_counts)
    np.testing.assert_allclose(merged.standard_error, whole.standard_error, rtol=1e-9, atol=1e-15)
    assert merged.count == whole.count == 48
    assert merged.size == pytest.approx(whole.size)
    assert merged.size_error == pytest.approx(whole.size_error)
    assert [run["samples"] for run in merged.provenance["runs"]] == [16, 16, 16]
    # The parts are as they were.
    assert first.count == 16
    assert len(first.provenance["runs"]) == 1


@pytest.mark.parametrize("definition", ["luo2016", "openerf"])
def test_two_half_runs_merged_equal_the_whole(model, definition):
    # Dealt in turn, halves of a multiple of 16 samples come to the same blocks as the whole.
    options = {"definition": definition, "batch_size": 16}
    whole = probe(model, "second", inputs=IMAGES[:32], **options)
    first, second = (
        probe(model, "second", inputs=IMAGES[half], **options)
        for half in (slice(16), slice(16, 32))
    )
    merged = first.merge(second)
    close = {"rtol": 1e-12, "atol": 1e-12 * whole.map.max()}
    np.testing.assert_allclose(merged.map, whole.map, **close)
    np.testing.assert_allclose(merged.standard_error, whole.standard_error, **close)
    for figure in set(METRICS) - {"sigma", "r_squared"}:
        one, other = merged.estimate(figure), whole.estimate(figure)
        for name in ("value", "error", "low", "high"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12
            )
    # Least squares end within their tolerance.
    np.testing.assert_allclose(merged.sigma, whole.sigma, rtol=1e-7)
    np.testing.assert_allclose(merged.sigma_error, whole.sigma_error, rtol=1e-5)


@pytest.mark.parametrize("parts", list(itertools.combinations([None, "seen", "more", "other"], 2)))
def test_parts_that_differ_are_merged_over_both(model, parts):
    one, two = (probe(model, "second", unit=(3, 4), samples=32, seed=seed) for seed in (1, 2))
    wholes = [
        dataclasses.replace(each, block_sums=probe_sums(each), part=None) for each in (one, two)
    ]
    (top, bottom), (left, right) = one.receptive_field.visible()
    boxes = {
        "seen": ((top, bottom), (left, right)),
        "more": ((top - 1, bottom), (left - 2, right)),
        "other": ((top, bottom + 1), (left - 1, right)),
    }
    expected = wholes[0].merge(wholes[1])
    assert expected.part is None
    cut = [
        kept(each, boxes[part]) if part else each for each, part in zip(wholes, parts, strict=True)
    ]
    for merged in (cut[0].merge(cut[1]), cut[1].merge(cut[0])):
        np.testing.assert_array_equal(merged.map, expected.map)
        assert merged.size_error == pytest.approx(expected.size_error)
        assert (merged.part is None) == (None in parts)
    if parts == ("more", "other"):
        assert merged.part == ((top - 1, bottom + 1), (left - 2, right))


def test_a_merged_result_is_linear_if_both_are(model):
    one, two = (probe(model, "second", samples=4, seed=seed) for seed in (1, 2))
    straight = [dataclasses.replace(each, linear=True) for each in (one, two)]
    assert straight[0].merge(straight[1]).linear
    assert not straight[0].merge(two).linear


@pytest.mark.parametrize("cuts", [(21,), (1, 2, 3, 4, 30), tuple(range(1, 48))])
def test_pieces_of_any_length_are_the_whole_with_errors_like_its_own(model, cuts):
    whole = probe(model, "second", inputs=IMAGES, batch_size=1)
    pieces = [
        probe(model, "second", inputs=images, batch_size=1) for images in np.split(IMAGES, cuts)
    ]
    merged = functools.reduce(lambda one, other: one.merge(other), pieces)
    assert merged.count == 48
    # Nearly all blocks have samples, and none very many.
    assert np.count_nonzero(merged.block_counts) >= 12
    assert merged.block_counts.max() <= 9
    np.testing.assert_allclose(merged.map, whole.map, rtol=1e-6, atol=1e-9)
    # Errors of 15 degrees of freedom scatter by a fifth; of a whole map they average out.
    ratio = np.sqrt((merged.standard_error**2).sum() / (whole.standard_error**2).sum())
    assert 0.8 < ratio < 1.25


def pieces_of(model, kind: str) -> list[EffectiveReceptiveField]:
    """Results of three lengths, none a multiple of the number of blocks."""
    counts = (20, 7, 19)
    if kind == "noise":
        return [
            probe(model, "second", samples=count, seed=seed)
            for seed, count in enumerate(counts, start=3)
        ]
    parts = np.split(IMAGES[:46], np.cumsum(counts)[:-1])
    return [probe(model, "second", inputs=images) for images in parts]


@pytest.mark.parametrize("kind", ["noise", "arrays"])
def test_the_order_of_merging_makes_no_difference(model, kind):
    pieces = pieces_of(model, kind)
    one, two, three = pieces
    orders = [a.merge(b).merge(c) for a, b, c in itertools.permutations(pieces)]
    orders += [one.merge(two.merge(three)), three.merge(one).merge(two)]
    first = orders[0]
    for other in orders[1:]:
        np.testing.assert_array_equal(other.block_counts, first.block_counts)
        np.testing.assert_allclose(other.block_sums, first.block_sums, rtol=1e-12, atol=1e-15)
        assert other.provenance["runs"] == first.provenance["runs"]
        for metric in ("size", "mass_size", "half_mass_radius", "centroid"):
            np.testing.assert_allclose(
                other.estimate(metric).error, first.estimate(metric).error, rtol=1e-9
            )
    pairs = [one.merge(two), two.merge(one)]
    assert pairs[0].size_error == pairs[1].size_error > 0


def test_noise_of_one_seed_after_another_fills_the_blocks_evenly(model):
    parts = [probe(model, "second", samples=5, seed=seed) for seed in range(10)]
    merged = functools.reduce(lambda one, other: one.merge(other), parts)
    assert merged.block_counts.tolist() == [4, 4] + [3] * 14


def test_notes_of_merged_results_are_those_of_both(model):
    one, two = (probe(model, "second", samples=16, seed=seed) for seed in (1, 2))
    noted = [
        dataclasses.replace(each, provenance={**each.provenance, **more})
        for each, more in ((one, {"notes": ["b", "a"]}), (two, {"notes": ["c"], "unseen": ["d"]}))
    ]
    for merged in (noted[0].merge(noted[1]), noted[1].merge(noted[0])):
        assert merged.notes == ("a", "b", "c", "gradient-free paths: d")
    assert one.merge(two).provenance["notes"] == one.provenance["notes"] == [UNTRAINED]


def test_normalized_results_are_merged_before_they_are_normalized(model):
    # A mean of two normalized maps would be another map: the halves differ in amplitude.
    images = IMAGES[:32] * np.where(np.arange(32) < 16, 0.1, 3)[:, None, None, None]
    # Batches of one size: others are summed in another order, and float32 shows it.
    options = {"definition": "openerf", "batch_size": 16}
    whole = probe(model, "second", inputs=images, **options)
    one, two = (probe(model, "second", inputs=images[part], **options)
                for part in (slice(16), slice(16, 32)))  # fmt: skip
    np.testing.assert_allclose(one.merge(two).map, whole.map, rtol=1e-12, atol=1e-15)
    assert np.abs((one.map + two.map) / 2 - whole.map).max() > 1e-3 * whole.map.max()


def test_dead_samples_add_up():
    x = keras.Input((5, 5, 1))
    y = layers.Conv2D(1, 3, kernel_initializer="ones", padding="same", activation="relu")(x)
    model = keras.Model(x, y)
    signs = np.array([1.0, -1, 1, 1, -1, -1, -1, 1])[:, None, None, None] * np.ones((8, 5, 5, 1))
    one, two = (probe(model, inputs=signs[part]) for part in (slice(4), slice(4, 8)))
    assert (one.dead, two.dead) == (1 / 4, 3 / 4)
    assert one.merge(two).dead == 1 / 2


def test_noise_of_different_seeds_is_merged_and_of_one_seed_is_not(model):
    one, two, again = (
        probe(model, "second", samples=samples, seed=seed)
        for samples, seed in ((4, 1), (4, 2), (6, 1))
    )
    merged = one.merge(two)
    np.testing.assert_allclose(merged.map, (one.map + two.map) / 2, rtol=1e-12)
    for pair in ((one, one), (one, again), (merged, again), (again, merged)):
        with pytest.raises(InvalidInputError, match=r"`other` must have .* another `seed`"):
            pair[0].merge(pair[1])
    uniform = probe(model, "second", samples=4, seed=1, inputs="uniform")
    assert one.merge(uniform).count == 8


def test_a_loaded_result_is_merged_as_any(model, tmp_path):
    one, two = (probe(model, "up", samples=4, seed=seed) for seed in (1, 2))
    one.save(tmp_path / "one.npz")
    loaded = load(tmp_path / "one.npz")
    for merged in (loaded.merge(two), two.merge(loaded)):
        np.testing.assert_allclose(merged.map, one.merge(two).map, rtol=1e-12)


def test_results_of_different_things_are_not_merged(model, measured):
    noise = {"seed": 5, "samples": 2}
    unlike = {
        "model": probe(network(name="twin"), "second", unit=(3, 4), **noise),
        "weights": probe(network(1), "second", unit=(3, 4), **noise),
        "training": probe(model, "second", unit=(3, 4), training=True, **noise),
        "definition": probe(model, "second", unit=(3, 4), definition="raghu2021", **noise),
        "number of blocks": dataclasses.replace(
            measured, block_sums=measured.block_sums[:8], block_counts=measured.block_counts[:8]
        ),
    }
    fields = [
        probe(model, "second", unit=(3, 5), **noise),
        probe(model, "strided", unit=(3, 4), **noise),
        probe(model, "second", unit=(3, 4), input_shape=(14, 15), **noise),
    ]
    cases = [*unlike.items(), *(("field", one) for one in fields)]
    for what, other in cases:
        with pytest.raises(InvalidInputError, match=f"result of the same {what}") as caught:
            measured.merge(other)
        assert "\n" not in str(caught.value)
    assert measured.merge(probe(model, "second", unit=(3, 4), **noise)).count == 22


def test_only_results_are_merged(measured):
    with pytest.raises(InvalidInputError, match=r"`other` .* type ndarray"):
        measured.merge(measured.map)
