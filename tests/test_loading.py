"""Models by name: files, keras.applications, the zoo; and what is refused."""

from __future__ import annotations

import random
import socket
import sys
import urllib.error

import h5py
import keras
import numpy as np
import pytest

from keras_erf.custom_code import FileOptions
from keras_erf.errors import InvalidInputError, ModelLoadError
from keras_erf.named_models import find_model as load_model


def small_model() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs))


@keras.saving.register_keras_serializable("test_loading")
class Registered(keras.layers.Layer):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_file_gives_the_saved_model(tmp_path, suffix):
    model = small_model()
    model.save(tmp_path / f"network{suffix}")
    loaded = load_model(str(tmp_path / f"network{suffix}"))
    assert loaded.name == "network"
    assert loaded.preprocess is None
    for mine, theirs in zip(loaded.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_stored_code_runs_only_when_allowed(tmp_path, suffix):
    layer = keras.layers.Lambda(lambda x: 2 * x, output_shape=(4,))
    path = tmp_path / f"code{suffix}"
    keras.Sequential([keras.Input((4,)), layer]).save(path)
    with pytest.raises(ModelLoadError, match="--unsafe"):
        load_model(str(path))
    model = load_model(str(path), opening=FileOptions(unsafe=True)).model
    np.testing.assert_array_equal(model(np.ones((1, 4))), np.full((1, 4), 2.0))


@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_file_of_keras_2_is_refused_before_keras_sees_it(nested, tmp_path, monkeypatch):
    x = keras.Input((4,))
    inner = keras.Model(x, keras.layers.Lambda(lambda value: value * 2)(x))
    model = keras.Sequential([keras.Input((4,)), inner]) if nested else inner
    model.save(tmp_path / "code.h5")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "plain.h5")
    asked = []
    # An older Keras, which would run it.
    monkeypatch.setattr(keras.models, "load_model", lambda path, **how: asked.append(path.name))
    with pytest.raises(ModelLoadError, match=r"Python code is not run: lambda.* `--unsafe`"):
        load_model(str(tmp_path / "code.h5"))
    load_model(str(tmp_path / "plain.h5"))
    load_model(str(tmp_path / "code.h5"), opening=FileOptions(unsafe=True))
    assert asked == ["plain.h5", "code.h5"]


def test_unknown_class_is_named(tmp_path):
    path = tmp_path / "custom.keras"
    keras.Sequential([keras.Input((4,)), Registered()]).save(path)
    kept = dict(keras.saving.get_custom_objects())
    keras.saving.get_custom_objects().clear()
    try:
        with pytest.raises(ModelLoadError, match=r"not Keras's own: (test_loading>)?Registered"):
            load_model(str(path))
    finally:
        keras.saving.get_custom_objects().update(kept)


def test_long_name_of_an_unknown_class_is_cut(tmp_path):
    small_model().save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace("Conv2D", "x" * 5000)
    with pytest.raises(ModelLoadError, match=r"Keras's own: x{80}\(") as caught:
        load_model(str(tmp_path / "model.h5"))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.keras", None, "existing file"),
        ("empty.keras", b"", "this is an empty file"),
        ("broken.keras", b"PK\x03\x04 and nothing more", "damaged zip archive"),
        ("broken.h5", b"no model", "this is a text file"),
        ("notes.txt", b"no model", "this is a text file"),
    ],
)
def test_file_that_is_no_model(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=expected) as caught:
        load_model(str(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_file_is_no_model(tmp_path):
    small_model().save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ModelLoadError, match="weights alone"):
        load_model(str(tmp_path / "only.weights.h5"))


def test_application_brings_its_own_preprocessing():
    loaded = load_model("MobileNet", weights="none")
    pixels = np.array([[[[0.0, 127.5, 255.0]]]])
    # MobileNet's networks take pixels scaled to -1 .. 1.
    np.testing.assert_allclose(loaded.preprocess(pixels), [[[[-1.0, 0.0, 1.0]]]])
    assert loaded.model.input_shape == (None, 224, 224, 3)


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("keras.src.applications.mobilenet.file_utils.get_file", unreachable)
    with pytest.raises(ModelLoadError, match=r"--weights none.*'imagenet'"):
        load_model("MobileNet")


def test_a_download_that_fails_is_reported_in_one_line(monkeypatch, tmp_path, capfd):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(
        ModelLoadError, match=r"URL fetch failure on \S+: Name or service"
    ) as caught:
        load_model("MobileNet")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_download_shows_its_progress_on_standard_error(monkeypatch, capfd):
    def download(*args, **kwargs):
        sys.stdout.write("Downloading data from https://somewhere\n")
        sys.stdout.write("17 MB\n")
        raise OSError("enough")

    monkeypatch.setattr("keras.src.applications.mobilenet.file_utils.get_file", download)
    with pytest.raises(ModelLoadError, match="enough"):
        load_model("MobileNet")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "17 MB\n")


def test_unneeded_weights_are_not_downloaded(monkeypatch):
    def unreachable(*args, **kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr("keras.src.applications.mobilenet.file_utils.get_file", unreachable)
    assert load_model("MobileNet", need_weights=False).name == "MobileNet"


def test_untrained_networks_are_drawn_alike_and_draw_on_nothing_of_the_users():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    first, second = (load_model("MobileNet", weights="none").model.get_weights() for _ in range(2))
    assert random.random() == expected
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_zoo_comes_trained_where_weights_ship():
    trained = load_model("cifar_resnet14").model.get_weights()
    initial = load_model("cifar_resnet14", weights="initial").model.get_weights()
    fresh = load_model("cifar_resnet14", weights="none", options={"seed": 0}).model.get_weights()
    assert not np.array_equal(trained[0], initial[0])
    np.testing.assert_array_equal(initial[0], fresh[0])


def test_a_folder_does_not_hide_the_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "mine"):
        (tmp_path / name).mkdir()
    assert load_model("plain", options={"depth": 3}).model.count_params() > 0
    with pytest.raises(ModelLoadError, match="a folder without a model"):
        load_model("mine")


def test_zoo_options_reach_the_builder():
    assert load_model("plain", options={"depth": 3}).model.count_params() > 0
    assert (
        len(
            [
                1
                for one in load_model("plain", options={"depth": 3}).model.layers
                if isinstance(one, keras.layers.Conv2D)
            ]
        )
        == 3
    )


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Resnet5O", {}, "Nearest: ResNet50"),
        ("plane", {}, "Nearest: plain"),
        ("MobileNet", {"options": {"depth": 3}}, "`options` is not for"),
        ("plain", {"weights": "trained"}, "`weights` of 'plain' must be 'none'"),
        ("cifar_resnet14", {"weights": "best"}, "must be 'none' or 'initial' or 'trained'"),
        ("plain", {"options": {"dept": 3}}, "dept"),
    ],
)
def test_names_and_options_that_do_not_fit(name, arguments, expected):
    with pytest.raises(InvalidInputError, match=expected):
        load_model(name, **arguments)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20_cifar10.keras", (32, 32, 3)),
        ("resnet8_cifar10.h5", (32, 32, 3)),
        ("espnet_camvid.keras", (360, 480, 3)),
        ("efficientnet_lite0_imagenet.keras", (224, 224, 3)),
    ],
)
def test_real_models_open(shared_models, name, shape):
    assert load_model(str(shared_models / name)).model.input_shape == (None, *shape)
