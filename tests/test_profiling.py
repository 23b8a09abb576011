"""Profiles of many layers, against probes of each."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf import ImageFolder, growth, load, probe, profile, receptive_fields
from keras_erf.errors import GradientError, InvalidInputError, UnknownLayerError


def network(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    z = layers.Conv2D(8, 3, padding="same", name="branch")(y)
    y = layers.ReLU(name="merged")(layers.Add(name="add")([y, z]))
    y = layers.MaxPooling2D(name="pool")(y)
    y = layers.Conv2D(8, 3, padding="same", activation="tanh", name="end")(y)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))


def reversed_batch(x):
    """What no rule can tell: samples see each other."""
    return keras.ops.flip(x, axis=0)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def found(model):
    return profile(model, samples=20, seed=2)


def test_every_spatial_layer_has_its_probe(model, found):
    names = [field.layer for field in receptive_fields(model).fields]
    assert [one.layer for one in found.results] == names == [
        "stem", "branch", "add", "merged", "pool", "end",
    ]  # fmt: skip
    for result in found.results:
        alone = probe(model, result.layer, samples=20, seed=2)
        np.testing.assert_allclose(result.map, alone.map, rtol=0, atol=1e-6 * alone.map.max())
        assert result.part == alone.part
        assert result.dead == alone.dead


def test_a_linear_layer_is_linear_beside_others():
    """Layers that share a pass share its samples; what they are is their own."""
    x = keras.Input((12, 12, 1))
    y = layers.Conv2D(2, 3, name="affine")(x)
    pair = keras.Model(x, layers.ReLU(name="shut")(y))
    affine, shut = profile(pair, samples=4).results
    assert (affine.linear, shut.linear) == (True, False)
    assert (affine.count, shut.count) == (4, 4)
    assert affine.size_error == 0
    alone = probe(pair, "affine", samples=4)
    assert alone.linear
    assert alone.count == 1
    np.testing.assert_allclose(affine.map, alone.map, rtol=1e-6)


def test_layers_behind_an_unknown_one_are_reported():
    x = keras.Input((12, 12, 1))
    y = layers.Conv2D(2, 3, name="before")(x)
    z = layers.Lambda(reversed_batch, name="unruly")(y)
    model = keras.Model(x, layers.Conv2D(2, 3, name="behind")(z))
    for made in (profile(model, samples=2), growth(model)):
        assert [one.layer for one in made] == ["before"]
        assert [name for name, _ in made.skipped] == ["unruly", "behind"]
        assert all("unruly" in reason for _, reason in made.skipped)
    alone = keras.Model(x, layers.Conv2D(2, 3)(layers.Lambda(reversed_batch, name="unruly")(x)))
    for measure in (profile, growth):
        with pytest.raises(GradientError, match=r"No layer of the model .*, unruly first: "):
            measure(alone)


def test_the_frame_is_tidy(found):
    frame = found.frame
    assert list(frame.columns) == [
        "layer", "depth", "trf_size", "erf_size", "erf_size_error", "ratio", "ratio_error",
        "sigma", "r_squared", "samples", "dead", "status",
        "mass_size", "mass_size_error", "half_mass_radius", "half_mass_radius_error",
        "effective_pixels", "effective_pixels_error", "gini", "gini_error", "fwhm", "notes",
    ]  # fmt: skip
    assert list(frame.depth) == [1, 2, 3, 4, 5, 6]
    # 3x3 convolutions; the pool adds one pixel, and doubles the step of the last one.
    assert list(frame.trf_size) == pytest.approx([3, 5, 5, 5, 6, 10])
    assert frame.erf_size[0] == found["stem"].size
    assert (frame.ratio <= 1 + 1e-12).all()
    assert (frame.samples == 20).all()


def test_the_edges_are_those_of_the_graph(model, found):
    names = [one.layer for one in found.results]
    # As `network` is written: the sum takes the stem and the branch.
    assert [(names[a], names[b]) for a, b in found.edges] == [
        ("stem", "branch"), ("stem", "add"), ("branch", "add"), ("add", "merged"),
        ("merged", "pool"), ("pool", "end"),
    ]  # fmt: skip
    # An edge passes a layer that is left out, and never one that is measured.
    assert profile(model, ["stem", "add", "end"], samples=2).edges == ((0, 1), (1, 2))
    assert profile(model, ["branch", "merged"], samples=2).edges == ((0, 1),)
    assert profile(model, ["end"], samples=2).edges == ()
    assert growth(model, ["stem", "add", "end"]).edges == ((0, 1), (1, 2))


def test_a_choice_of_layers_comes_in_the_order_of_the_graph(model):
    chosen = profile(model, [model.get_layer("end"), "branch", "end"], samples=4)
    assert [one.layer for one in chosen.results] == ["branch", "end"]
    assert [one.layer for one in chosen] == ["branch", "end"]
    assert [one.layer for one in profile(model, "end", samples=2)] == ["end"]
    assert len(chosen) == 2
    with pytest.raises(UnknownLayerError, match=r"such as branch.* Received: layer='brunch'"):
        chosen["brunch"]
    with pytest.raises(LookupError):
        chosen["stem"]


def test_the_same_without_the_cone(model, found):
    whole = profile(model, samples=20, seed=2, cone=False)
    for one, other in zip(found.results, whole.results, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=0, atol=1e-6 * other.map.max())


def test_an_interrupted_profile_resumes_where_it_was(model, found, tmp_path, monkeypatch):
    from keras_erf.measuring import profiling

    measured = []
    measure = profiling.measure

    def counted(plan, *args, **options):
        measured.extend(one.receptive_field.layer for one in plan.targets)
        if len(measured) > 3:
            raise KeyboardInterrupt
        return measure(plan, *args, **options)

    monkeypatch.setattr("keras_erf.measuring.grouping.LARGEST", 2)
    monkeypatch.setattr(profiling, "measure", counted)
    with pytest.raises(KeyboardInterrupt):
        profile(model, samples=20, seed=2, path=tmp_path / "kept")
    kept = {load(file).layer for file in (tmp_path / "kept").glob("*.npz")}
    assert kept == set(measured[:-2]) or kept == set(measured[:-1])
    assert kept
    measured.clear()
    monkeypatch.setattr(profiling, "measure", measure)
    again = profile(model, samples=20, seed=2, path=tmp_path / "kept")
    for one, other in zip(again.results, found.results, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=0, atol=1e-6 * other.map.max())
    # Nothing is left to measure the third time.
    monkeypatch.setattr(profiling, "measure", None)
    assert len(profile(model, samples=20, seed=2, path=tmp_path / "kept").results) == 6


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"samples": 5}, "other samples"),
        ({"seed": 3}, "other seed"),
        ({"definition": "raghu2021"}, "other definition"),
        ({"inputs": "uniform"}, "other inputs"),
    ],
)
def test_a_folder_of_other_results_is_not_mixed_in(model, tmp_path, changed, says):
    profile(model, ["stem"], samples=4, path=tmp_path)
    with pytest.raises(InvalidInputError, match=f"`path` holds a profile with {says}"):
        profile(model, ["stem"], path=tmp_path, **{"samples": 4, **changed})


def test_a_folder_of_another_model_is_not_mixed_in(model, tmp_path):
    profile(model, ["stem"], samples=4, path=tmp_path)
    with pytest.raises(InvalidInputError, match="`path` holds a profile with other weights"):
        profile(network(seed=1), ["stem"], samples=4, path=tmp_path)


def test_a_folder_of_another_architecture_is_not_mixed_in(tmp_path):
    def same_weights(activation, **more):
        x = keras.Input((12, 12, 1))
        return keras.Model(x, layers.Conv2D(2, 3, activation=activation, name="end", **more)(x))

    first = same_weights("relu")
    profile(first, samples=2, path=tmp_path)
    # Seeds, names and dtypes make no difference, what is computed does.
    again = same_weights("relu", kernel_initializer=keras.initializers.Zeros())
    again.set_weights(first.get_weights())
    other = same_weights("tanh")
    other.set_weights(first.get_weights())
    assert profile(again, samples=2, path=tmp_path).results
    with pytest.raises(InvalidInputError, match="`path` holds a profile with other model"):
        profile(other, samples=2, path=tmp_path)


def test_a_folder_of_other_images_is_not_mixed_in(tmp_path):
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, layers.Conv2D(2, 3, activation="relu", name="end")(x))
    rng = np.random.default_rng(0)
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        for k in range(number + 2):
            keras.utils.save_img(tmp_path / folder / f"{k}.png", rng.integers(0, 255, (8, 8, 1)))

    def with_images(folder, preprocess=None, inside=False):
        images = ImageFolder(tmp_path / folder, preprocess)
        inputs = {model.inputs[0].name: images} if inside else images
        return profile(model, inputs=inputs, path=tmp_path / "kept")

    assert with_images("one")["end"].count == with_images("one")["end"].count == 2
    for other in (("two",), ("one", np.log1p), ("two", None, True)):
        with pytest.raises(InvalidInputError, match="`path` holds a profile with other inputs"):
            with_images(*other)


def test_fields_over_other_inputs_are_kept_apart(tmp_path):
    a, b = keras.Input((12, 12, 1), name="a"), keras.Input((12, 12, 1), name="b")
    left, right = layers.Conv2D(2, 3, name="x")(a), layers.Conv2D(2, 3, name="y")(b)
    model = keras.Model([a, b], layers.Maximum(name="end")([left, right]))
    maps = {
        name: profile(model, ["end"], samples=4, input=name, path=tmp_path)["end"].map
        for name in "ab"
    }
    again = profile(model, ["end"], samples=4, input="b", path=tmp_path)
    np.testing.assert_array_equal(maps["b"], again["end"].map)
    assert not np.array_equal(maps["a"], maps["b"])
    assert len(list(tmp_path.glob("*.npz"))) == 2


@pytest.mark.parametrize("wrap", [tf.constant, np.ndarray.tolist], ids=["tensor", "list"])
def test_a_folder_of_other_arrays_is_not_mixed_in(tmp_path, wrap):
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, layers.Conv2D(2, 3, activation="relu", name="end")(x))
    one, other = np.random.default_rng(0).standard_normal((2, 3, 8, 8, 1))
    kept = profile(model, inputs=wrap(one), path=tmp_path)["end"]
    again = profile(model, inputs=wrap(one), path=tmp_path)["end"]
    np.testing.assert_array_equal(again.map, kept.map)
    with pytest.raises(InvalidInputError, match="`path` holds a profile with other inputs"):
        profile(model, inputs=wrap(other), path=tmp_path)


def test_numbers_of_numpy_are_kept_as_any(model, tmp_path):
    found = profile(model, ["stem"], samples=np.int64(3), seed=np.int32(1), path=tmp_path)
    assert profile(model, ["stem"], samples=3, seed=1, path=tmp_path)["stem"].count == 3
    assert found["stem"].count == 3


def test_nothing_is_kept_of_what_fails(model, tmp_path):
    with pytest.raises(InvalidInputError, match="`inputs`"):
        profile(model, inputs=str(tmp_path / "no folder"), path=tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_a_broken_folder_is_reported_in_one_line(model, tmp_path):
    (tmp_path / "profile.json").write_text("{")
    with pytest.raises(InvalidInputError, match=r"profile\.json cannot be read"):
        profile(model, ["stem"], path=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="`path` must be a folder"):
        profile(model, ["stem"], path=tmp_path / "file")


def test_kept_results_name_their_settings(model, tmp_path):
    profile(model, ["stem"], samples=4, path=tmp_path)
    about = json.loads((tmp_path / "profile.json").read_text())
    assert (about["samples"], about["definition"]["name"]) == (4, "luo2016")


def test_layers_without_a_gradient_are_skipped_and_named():
    x = keras.Input((12, 12, 1))
    y = layers.Conv2D(4, 3, activation="relu", name="good")(x)
    dead = layers.Conv2D(4, 1, kernel_initializer="zeros", name="dead")(y)
    model = keras.Model(x, [layers.Conv2D(2, 3, name="end")(y), dead])
    found = profile(model, samples=4)
    assert [one.layer for one in found.results] == ["good", "end"]
    ((name, reason),) = found.skipped
    assert name == "dead"
    assert "zero" in reason
    note = "network looks untrained (2 of 2 layers)"
    assert repr(found) == f"<Profile of 2 layers, 1 skipped, {note}>"
    with pytest.raises(GradientError, match="zero"):
        profile(model, ["dead"], samples=4)


def test_the_progress_counts_layers(model):
    counts = []
    profile(model, samples=2, progress=lambda done, wanted: counts.append((done, wanted)))
    assert counts[0] == (0, 6)
    assert counts[-1] == (6, 6)
    assert sorted(counts) == counts


@pytest.mark.parametrize(
    ("layers", "error", "says"),
    [
        ([], InvalidInputError, "`layers` must name at least one"),
        (["stem", "sten"], UnknownLayerError, "Nearest names: stem"),
    ],
)
def test_layers_that_make_no_sense(model, layers, error, says):
    with pytest.raises(error, match=says):
        profile(model, layers)
