"""Ensembles of networks, against networks probed one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf import ensemble, load, probe
from keras_erf.errors import InvalidInputError
from keras_erf.results.effective import BLOCKS


def build(seed: int, *, activation: str = "relu", depth: int = 2, batch: int | None = None):
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 2), batch_size=batch)
    y = x
    for _ in range(depth):
        y = layers.Conv2D(8, 3, activation=activation)(y)
    return keras.Model(x, layers.Conv2D(8, 3, name="end")(y), name="network")


def test_an_ensemble_is_its_networks_probed_one_by_one():
    together = ensemble(build, runs=18, samples=2, seed=5)
    sums = np.zeros((BLOCKS, 16, 16))
    for seed in range(5, 23):
        one = probe(build(seed), "end", samples=2, seed=seed, cone=False)
        sums[seed % BLOCKS] += 2 * one.map
    part = tuple(slice(*one) for one in together.part)
    expected = sums[(slice(None), *part)]
    close = {"rtol": 0, "atol": 1e-6 * expected.max()}
    np.testing.assert_allclose(together.block_sums, expected, **close)
    assert together.count == 36
    assert [run["seed"] for run in together.provenance["runs"]] == list(range(5, 23))


def test_one_function_is_compiled_for_all_runs(monkeypatch):
    from keras_erf.measuring import accumulating

    traced = []
    gradients = accumulating.channels_and_gradients

    def counted(*args, **options):
        traced.append(1)
        return gradients(*args, **options)

    monkeypatch.setattr(accumulating, "channels_and_gradients", counted)
    ensemble(build, runs=5)
    assert len(traced) == 1


def test_two_halves_merged_are_the_whole():
    halves = [ensemble(build, runs=8, seed=seed) for seed in (0, 8)]
    merged, whole = halves[0].merge(halves[1]), ensemble(build, runs=16)
    np.testing.assert_allclose(merged.block_sums, whole.block_sums, rtol=1e-12, atol=0)
    assert merged.size_error == pytest.approx(whole.size_error)


def test_numbers_of_numpy_are_kept_as_any(tmp_path):
    options = {"runs": np.int64(2), "samples": np.int32(1), "seed": np.int64(3)}
    ensemble(build, **options).save(tmp_path / "a.npz")
    assert [run["seed"] for run in load(tmp_path / "a.npz").provenance["runs"]] == [3, 4]


def test_half_of_the_runs_twice_is_refused():
    half = ensemble(build, runs=3)
    with pytest.raises(InvalidInputError, match="samples of its own"):
        half.merge(ensemble(build, runs=3, seed=1))


def test_images_are_dealt_to_the_runs_in_turn():
    images = np.random.default_rng(0).standard_normal((6, 16, 16, 2)).astype("float32")
    together = ensemble(build, runs=3, samples=2, inputs=images)
    expected = [
        2 * probe(build(seed), "end", inputs=images[2 * seed : 2 * seed + 2]).map
        for seed in range(3)
    ]
    np.testing.assert_allclose(together.map, sum(expected) / 6, rtol=0, atol=1e-6)
    with pytest.raises(InvalidInputError, match=r"`inputs` must hold 8 samples.*Received: 6"):
        ensemble(build, runs=4, samples=2, inputs=images)


def test_linear_networks_take_one_sample_each():
    together = ensemble(lambda seed: build(seed, activation="linear"), runs=4, samples=9)
    assert (together.count, together.linear) == (4, False)
    assert together.size_error > 0


def test_a_fixed_batch_is_filled_up():
    together = ensemble(lambda seed: build(seed, batch=3), runs=2, samples=4)
    expected = ensemble(build, runs=2, samples=4)
    np.testing.assert_allclose(together.map, expected.map, rtol=0, atol=1e-6 * expected.map.max())


def test_random_wide_nets_have_the_squared_kernels_map():
    # E[g^2] of zero-mean weights is the n-fold uniform kernel (SCIENCE.md, section 4).
    together = ensemble(
        lambda seed: build(seed, activation="linear", depth=1),
        runs=200,
        definition="luo2016-squared",
    )
    line = np.convolve(np.ones(3), np.ones(3))
    expected = np.outer(line, line) / 81
    found = together.map[together.map.any(axis=1)][:, together.map.any(axis=0)]
    error = together.standard_error.max() / together.map.sum()
    np.testing.assert_allclose(found / found.sum(), expected, atol=5 * error)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda seed: build(seed, depth=2 + seed), "it had 3 calls of layers and has 4"),
        (lambda seed: build(seed, activation=["relu", "tanh"][seed]), "layer 'conv2d.*' differs"),
    ],
)
def test_another_architecture_is_refused(other, says):
    with pytest.raises(InvalidInputError, match=f"`build` must make one architecture.*{says}"):
        ensemble(other, runs=2)


def test_the_same_weights_again_are_refused():
    with pytest.raises(InvalidInputError, match="the same for seeds 3 and 4"):
        ensemble(lambda seed: build(7), runs=2, seed=3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"runs": 0}, "`runs` must be a whole number of at least 1. Received: runs=0"),
        ({"samples": 1.5}, "`samples` must be a whole number"),
        ({"layer": 3}, "`layer` must be a name or a path"),
    ],
)
def test_arguments_that_make_no_sense(options, says):
    with pytest.raises(InvalidInputError, match=says):
        ensemble(build, **options)


def test_a_model_for_a_function_is_refused():
    with pytest.raises(InvalidInputError, match="`build` must be a function"):
        ensemble(build(0))


def folder_of(path, *, whole: int, broken: int = 0):
    rng = np.random.default_rng(0)
    for number in range(whole):
        keras.utils.save_img(path / f"{number}.png", rng.integers(0, 255, (16, 16, 1)))
    for number in range(broken):
        (path / f"broken{number}.png").touch()
    return str(path)


def grey(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 1))
    return keras.Model(x, layers.Conv2D(8, 3, activation="relu", name="end")(x))


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_images_that_cannot_be_read_are_not_counted(tmp_path):
    folder = folder_of(tmp_path, whole=4, broken=2)
    together = ensemble(grey, runs=4, inputs=folder)
    assert together.count == 4
    skipped = [name for run in together.provenance["runs"] for name in run["skipped"]]
    # Those behind the last image that was needed were not looked at.
    assert set(skipped) <= {"broken0.png", "broken1.png"}
    with pytest.raises(
        InvalidInputError, match=r"must hold 5 samples.*Received: 4.*'broken\d.png'"
    ):
        ensemble(grey, runs=5, inputs=folder)
    with pytest.raises(InvalidInputError, match=r"must hold 7 samples.*Received: 6"):
        ensemble(grey, runs=7, inputs=folder)


def test_a_dataset_that_ends_too_early_is_reported():
    images = np.random.default_rng(0).standard_normal((5, 16, 16, 1)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(images)
    assert ensemble(grey, runs=2, samples=2, inputs=data).count == 4
    with pytest.raises(InvalidInputError, match=r"must hold 6 samples, 2 for each.*Received: 5"):
        ensemble(grey, runs=3, samples=2, inputs=data)
