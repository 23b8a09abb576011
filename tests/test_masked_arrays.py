"""Masked arrays: refused wherever arrays come in, as NumPy would drop their masks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf
from keras_erf import ImageFolder, analysis, plotting, theory
from keras_erf.errors import InvalidInputError

MAP = np.ma.masked_array(np.ones((5, 5)), mask=np.eye(5, dtype=bool))
IMAGES = np.ma.masked_less(np.random.default_rng(0).normal(size=(4, 6, 6, 1)), -1.5)
LINE = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    x = keras.Input((6, 6, 1))
    y = layers.Conv2D(2, 3, padding="same", activation="tanh", name="one")(x)
    return keras.Model(x, layers.BatchNormalization(name="two")(y))


def assert_refused(call, name: str, count: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call()
    said = str(caught.value)
    assert said.startswith(f"`{name}` must have no masked values")
    assert ".filled(0)" in said
    assert said.endswith(f"Received: {count} masked values")
    assert "\n" not in said


@pytest.mark.parametrize(
    "metric",
    [
        analysis.erf_size, analysis.mass_region, analysis.threshold_region, analysis.moments,
        analysis.marginals, analysis.fit_gaussian, analysis.fwhm, analysis.entropy,
        analysis.gini, analysis.half_mass_radius, analysis.effective_pixels,
        lambda map: analysis.mass_within(map, 1.0),
        lambda map: analysis.mass_area(map, 0.5),
        lambda map: analysis.high_contribution_area(map, 0.5),
        lambda map: analysis.compare(map, (2, 2), (5, 5)),
    ],
)  # fmt: skip
def test_maps(metric):
    assert_refused(lambda: metric(MAP), "map", 5)
    # A list of masked rows is an array of them.
    assert_refused(lambda: metric(list(MAP)), "map", 5)


def test_other_arrays_of_the_analysis():
    sums, counts = np.ones((3, 2)), np.ones(3, int)
    masked = np.ma.masked_array(counts, mask=[1, 0, 0])
    assert_refused(lambda: analysis.moments(np.ones(3), about=LINE[1:2]), "about", 1)
    assert_refused(lambda: analysis.jackknife(sums, masked, np.sum), "block_counts", 1)
    assert_refused(lambda: analysis.fit_power_law(LINE, [1, 2, 3]), "x", 1)
    assert_refused(lambda: theory.fourier_impact(LINE, 2), "weights", 1)


@pytest.mark.parametrize("container", [lambda a: a, list, lambda a: {"image": a}])
def test_inputs(model, container):
    count = int(np.ma.count_masked(IMAGES))
    assert count > 0
    given = container(IMAGES)
    named = keras.Model(model.inputs, model.outputs)
    if isinstance(given, dict):
        given = {model.inputs[0].name: IMAGES}
    for call in (
        lambda: keras_erf.probe(named, inputs=given),
        lambda: keras_erf.profile(named, inputs=given),
        lambda: keras_erf.calibrate_batch_norm(named, inputs=given),
    ):
        assert_refused(call, "inputs", count)


def test_the_remedy_works_and_masks_of_nothing_are_no_matter(model):
    filled = keras_erf.probe(model, "one", inputs=IMAGES.filled(0))
    plain = keras_erf.probe(model, "one", inputs=np.ma.masked_array(IMAGES.filled(0)))
    np.testing.assert_array_equal(plain.map, filled.map)
    assert analysis.erf_size(MAP.filled(0)) == np.sqrt(20)


def test_a_profile_in_a_folder_does_not_take_masked_inputs_for_plain_ones(model, tmp_path):
    keras_erf.profile(model, inputs=IMAGES.data, path=tmp_path)
    again = {"inputs": IMAGES, "path": tmp_path}
    assert_refused(lambda: keras_erf.profile(model, **again), "inputs", np.ma.count_masked(IMAGES))


def test_images(model, tmp_path):
    for number in range(2):
        keras.utils.save_img(tmp_path / f"{number}.png", np.full((6, 6, 1), 100.0), scale=False)
    folder = ImageFolder(tmp_path, lambda batch: np.ma.masked_greater(batch, 50))
    assert_refused(lambda: keras_erf.probe(model, "one", inputs=folder), "preprocess", 72)
    result = keras_erf.probe(model, "one", samples=2)
    picture = np.ma.masked_array(np.ones((6, 6)), mask=np.eye(6, dtype=bool))
    assert_refused(lambda: plotting.plot_overlay(result, picture), "image", 6)
