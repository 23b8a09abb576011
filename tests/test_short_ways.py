"""Short ways to say what is meant: files and names for models, places and patterns for layers."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf as erf
from keras_erf import model_names
from keras_erf._version import __version__
from keras_erf.errors import InvalidInputError, ModelLoadError, UnknownLayerError
from tests.commands import run


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = y = keras.Input((12, 12, 1))
    for stage in range(3):
        y = layers.Conv2D(2, 3, padding="same", name=f"stage{stage}_conv")(y)
        y = layers.Activation("sigmoid", name=f"stage{stage}_out")(y)
    return keras.Model(x, layers.GlobalAveragePooling2D(name="pool")(y))


# --- Models --------------------------------------------------------------------------------------


def test_a_file_stands_for_its_model(tmp_path):
    model = small()
    model.save(tmp_path / "network.keras")
    for path in (tmp_path / "network.keras", str(tmp_path / "network.keras")):
        field = erf.receptive_field(path, "stage1_out")
        assert field.box() == erf.receptive_field(model, "stage1_out").box()
        result = erf.probe(path, "stage1_out", samples=2)
        np.testing.assert_array_equal(result.map, erf.probe(model, "stage1_out", samples=2).map)


@pytest.mark.parametrize("name", ["cifar_resnet14", "CIFAR_ResNet14"])
def test_a_name_of_the_zoo_stands_for_its_trained_model(name: str):
    found = erf.probe(name, "stage1_block1_out", samples=1)
    expected = erf.probe(erf.zoo.load("cifar_resnet14"), "stage1_block1_out", samples=1)
    np.testing.assert_array_equal(found.map, expected.map)


def test_fields_need_no_weights():
    # A download would fail here.
    field = erf.receptive_field("mobilenet", "conv_pw_1_relu")
    plain = keras.applications.MobileNet(weights=None)
    assert field.size == erf.receptive_field(plain, "conv_pw_1_relu").size


def test_every_function_of_a_model_takes_names():
    for name in erf._HOMES:
        value = getattr(erf, name)
        if not inspect.isfunction(value):
            continue
        first = next(iter(inspect.signature(value).parameters))
        assert (first == "model") == (name in erf._OF_A_MODEL), name
        assert pickle.loads(pickle.dumps(value)) is value


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="must be an existing file"):
        erf.receptive_field(str(tmp_path / "missing.keras"))
    with pytest.raises(InvalidInputError, match="Nearest: ResNet50"):
        erf.receptive_field("resnet5O")


def test_the_names_are_keras_s_own():
    own = {name for name in dir(keras.applications) if name[:1].isupper()}
    assert set(model_names.applications()) == own


@pytest.mark.parametrize("name", ["missing.keras", "Resnet5O"])
def test_a_mistyped_model_is_refused_before_tensorflow_is_imported(name: str):
    code = (
        "import sys; from keras_erf.cli import app\n"
        f"sys.argv = ['keras-erf', 'analyze', {name!r}]\n"
        "try: app()\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert len(done.stderr.strip().splitlines()) == 1


# --- Layers --------------------------------------------------------------------------------------


def test_a_layer_by_its_place():
    model = small()
    names = [field.layer for field in erf.receptive_fields(model).fields]
    assert len(names) == 6
    for place in (-1, -3, 0, 2):
        assert erf.receptive_field(model, place).layer == names[place]
    assert erf.probe(model, -3, samples=1).layer == names[-3]
    assert [one.layer for one in erf.profile(model, [-1, 0], samples=1)] == [names[0], names[-1]]
    for place in (6, -7):
        with pytest.raises(UnknownLayerError, match="a place among the 6 layers"):
            erf.receptive_field(model, place)
    with pytest.raises(UnknownLayerError):
        erf.receptive_field(model, True)


def test_layers_by_a_pattern():
    model = small()
    profile = erf.profile(model, "stage*_out", samples=1)
    assert [one.layer for one in profile] == ["stage0_out", "stage1_out", "stage2_out"]
    convolutions = erf.profile(model, "all convolutions", samples=1)
    assert [one.layer for one in convolutions] == [f"stage{stage}_conv" for stage in range(3)]
    assert erf.receptive_field(model, "*2_out").layer == "stage2_out"
    with pytest.raises(UnknownLayerError, match="fits 3 layers: name one of stage0_out, stage1"):
        erf.receptive_field(model, "stage*_out")
    with pytest.raises(UnknownLayerError, match="must fit the name of a layer"):
        erf.profile(model, "block*", samples=1)


def test_a_name_that_looks_like_a_pattern_is_a_name():
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(1, 3, name="a*")(layers.Conv2D(1, 3, name="ab")(x))
    assert erf.receptive_field(keras.Model(x, y), "a*").layer == "a*"


# --- The command line ----------------------------------------------------------------------------


def test_patterns_and_places_on_the_command_line(tmp_path):
    small().save(tmp_path / "network.keras")
    done = run("trf", tmp_path / "network.keras", "--layer", "s*_out", "--layer=-6")
    assert done.exit_code == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(" stage")]
    assert rows == ["stage0_out", "stage1_out", "stage2_out", "stage0_conv"]
    done = run(
        "analyze", tmp_path / "network.keras", "-l", "s*_conv", "--samples", 1, "--out", tmp_path
    )
    assert done.exit_code == 0, done.stderr
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_the_version():
    done = run("--version")
    assert (done.exit_code, done.stdout.strip()) == (0, f"keras-erf {__version__}")
