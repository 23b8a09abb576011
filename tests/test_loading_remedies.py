"""What is said of files that do not open, and whether its remedy works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import keras_erf as erf
from keras_erf.custom_code import read_opening
from keras_erf.errors import ModelLoadError
from tests.keras1_files import OldLayer, chain, graph, save, save_weights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"


def dense(units: int, width: int | None = None, **more: Any) -> OldLayer:
    """A Dense layer of Keras 2; the first of a chain states its width."""
    start = {} if width is None else {"batch_input_shape": [None, width]}
    rows = more.pop("rows", width)
    arrays = {"kernel:0": np.ones((rows, units)), "bias:0": np.zeros(units)}
    return OldLayer("Dense", start | {"units": units, "activation": "linear"} | more, arrays)


def whole(folder: Path, layers: list[OldLayer], **how: Any) -> Path:
    """A file of Keras 2 with these layers."""
    return save(folder / "old.h5", chain(layers), layers, version="2.2.4", **how)


def error_of(path: Path, **how: Any) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        erf.load_model(path, **how)
    text = str(caught.value)
    # One line, whose parts are apart, and which names the file.
    assert "\n" not in text
    assert re.search(r"[.?] Received: ", text), text
    assert str(path) in str(caught.value.received)
    return caught.value


def saved_model(folder: Path, metadata: bytes) -> Path:
    path = folder / "saved"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"")
    (path / "keras_metadata.pb").write_bytes(metadata)
    return path


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer with a length."""
    length, digits = len(content), b""
    while length > 127:
        digits, length = digits + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + digits + bytes([length]) + content


def root(about: dict[str, Any]) -> bytes:
    return field(1, field(3, b"root") + field(5, json.dumps(about).encode()))


# --- Folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "keras_metadata.pb", "variables/variables.index"]
)
def test_pointers_of_git_lfs_in_a_saved_model(name, tmp_path):
    path = saved_model(tmp_path, root({"class_name": "Sequential", "config": {"layers": []}}))
    (path / name).write_bytes(POINTER)
    error = error_of(path)
    assert error.expected.endswith(f"whose {name} is a Git LFS pointer, not the file")
    assert "git lfs pull" in str(error.remedy)


def test_a_saved_model_of_a_class_of_ones_own(tmp_path):
    error = error_of(saved_model(tmp_path, root({"class_name": "DCNN", "config": {}})))
    assert "of a class of its own, DCNN, whose file does not state how" in error.expected
    assert "build the network in Python" in str(error.remedy)


def test_a_saved_model_that_keras_did_not_write(tmp_path):
    error = error_of(saved_model(tmp_path, b""))
    assert "a SavedModel that Keras did not write" in error.expected
    assert "exported from" in str(error.remedy)


def test_an_hdf5_file_of_a_class_of_ones_own(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"] = "2.4.0"
        file.attrs["model_config"] = json.dumps({"class_name": "VAE", "config": {"name": "vae"}})
        file.create_group("model_weights").attrs["layer_names"] = np.array([], "S1")
    error = error_of(tmp_path / "old.h5")
    assert "a class of its own" in error.expected
    assert "Build the network in Python" in str(error.remedy)


# --- Weights -------------------------------------------------------------------------------------


def test_weights_of_another_architecture_are_to_blame(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(chain([dense(2, 3)]) | {"keras_version": "2"}))
    weights = save_weights(tmp_path / "other.h5", [dense(2, 4)], version="2.2.4")
    error = error_of(tmp_path / "model.json", weights=weights)
    assert error.argument == "weights"
    assert error.expected == "must be weights of this architecture"
    assert f"weights={str(weights)!r}" in str(error.received)
    # The remedy: the right ones.
    right = save_weights(tmp_path / "right.h5", [dense(2, 3)], version="2.2.4")
    model = erf.load_model(tmp_path / "model.json", weights=right)
    np.testing.assert_array_equal(model(np.ones((1, 3), "float32")), [[3.0, 3.0]])


def test_weights_that_are_missing_are_named(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(name="norm")]).save(
        tmp_path / "new.h5"
    )
    with h5py.File(tmp_path / "new.h5", "r+") as file:
        group = file["model_weights/norm"]
        names = list(group.attrs["weight_names"])
        del group[names[2]]
    error = error_of(tmp_path / "new.h5")
    assert "moving_mean" in str(error.received)


# --- Lambdas -------------------------------------------------------------------------------------


def function_of_lambda(inputs: list[str], **more: Any) -> OldLayer:
    code = {"function": ["4wEAAAA=", None, None], "function_type": "lambda"}
    return OldLayer("Lambda", code | more, name="scale", inbound=[inputs])


def with_lambda(folder: Path, inputs: list[str], **more: Any) -> Path:
    """A graph of one or two inputs, a Lambda of them and a Dense layer."""
    start = {"batch_input_shape": [None, 3], "dtype": "float32"}
    top = OldLayer("Dense", {"units": 2}, dense(2, 3).arrays, inbound=[["scale"]])
    layers = [OldLayer("InputLayer", start, name=name) for name in inputs]
    layers += [function_of_lambda(inputs, **more), top]
    config = graph(layers, inputs, [top.named])
    return save(folder / "old.h5", config, layers, version="2.2.4")


def test_pointwise_is_offered_for_one_input(tmp_path):
    path = with_lambda(tmp_path, ["x"])
    error = error_of(path)
    assert "`--lambda scale=pointwise`" in str(error.remedy)
    opening = read_opening(None, ["scale=pointwise"], False)
    model = erf.load_model(path, stand_ins=opening.stand_ins)
    np.testing.assert_array_equal(model(np.ones((1, 3), "float32")), [[3.0, 3.0]])


def test_pointwise_is_not_offered_for_several_inputs(tmp_path):
    path = with_lambda(tmp_path, ["x", "y"])
    error = error_of(path)
    assert "pointwise" not in str(error.remedy)
    assert "`--lambda scale=FUNCTION`" in str(error.remedy)
    file = tmp_path / "own.py"
    file.write_text("def difference(both):\n    return both[0] - both[1]\n")
    opening = read_opening([file], ["scale=difference"], False)
    model = erf.load_model(path, stand_ins=opening.stand_ins)
    x, y = np.full((1, 3), 5.0, "float32"), np.ones((1, 3), "float32")
    np.testing.assert_array_equal(model([x, y]), [[12.0, 12.0]])


def test_pointwise_is_refused_for_several_inputs(tmp_path):
    error = error_of(with_lambda(tmp_path, ["x", "y"]), stand_ins={"scale": "pointwise"})
    assert "which has several inputs" in error.expected
    assert "--custom FILE.py" in str(error.remedy)


def test_pointwise_is_to_blame_for_a_shape_that_does_not_fit(tmp_path):
    """It crops its input, as Lambdas of driving networks do."""
    path = with_lambda(tmp_path, ["x"])
    with h5py.File(path, "r+") as file:
        name = "model_weights/dense_1/dense_1_kernel:0"
        del file[name]
        file[name] = np.ones((2, 2), "float32")
    error = error_of(path, stand_ins={"scale": "pointwise"})
    assert error.argument == "stand_ins"
    assert "that changes the shape of its input" in error.expected
    model = erf.load_model(path, stand_ins={"scale": lambda x: x[:, 1:]})
    np.testing.assert_array_equal(model(np.ones((1, 3), "float32")), [[2.0, 2.0]])


def test_bytecode_is_not_taken_for_the_name_of_a_function(tmp_path):
    """Keras 1.0 stored it as a text."""
    path = with_lambda(tmp_path, ["x"], function="c\u0001\u0000s(ab", function_type="lambda")
    assert "named scale or by" in str(error_of(path).remedy)
    path = with_lambda(tmp_path, ["x"], function="rescale", function_type="function")
    assert "named scale or rescale or by" in str(error_of(path).remedy)


# --- Layers and functions of the user's own ------------------------------------------------------

OWN = """
    import keras

    class Scaled(keras.layers.Layer):
        def __init__(self, factor=1, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return self.factor * inputs

    def wave(x):
        return keras.ops.sin(x)
"""


def test_all_that_is_missing_is_named_at_once(tmp_path):
    layers = [
        dense(2, 3, activation="wave"),
        OldLayer("Scaled", {"factor": 3, "layer was saved without config": True}),
        OldLayer("LSTM", {"units": 2, "recurrent_activation": "ripple"}),
    ]
    error = error_of(whole(tmp_path, layers))
    assert "layers and functions that are not Keras's own: Scaled(factor=3)" in error.expected
    assert str(error.received).endswith(": Scaled, wave, ripple")
    file = tmp_path / "own.py"
    file.write_text(textwrap.dedent(OWN))
    opening = read_opening([file], None, False)
    path = whole(tmp_path, layers[:2])
    model = erf.load_model(path, custom_objects=opening.custom_objects)
    x = np.full((1, 3), 0.25, "float32")
    np.testing.assert_allclose(model(x), np.full((1, 2), 3 * np.sin(0.75)), rtol=1e-5)


def test_known_activations_of_every_age_are_not_missing(tmp_path):
    names = ["relu", "hard_sigmoid", "swish", "linear", "LeakyReLU", "Addons>gelu", "mish", None]
    layers = [dense(3, 3, activation=name) for name in names]
    for number, layer in enumerate(layers):
        object.__setattr__(layer, "name", f"dense_{number}")
    assert len(erf.load_model(whole(tmp_path, layers)).layers) == len(names)


# --- Shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [OldLayer("Permute", {"dims": [2, 1]}), dense(2, rows=3)],
        lambda: [OldLayer("Reshape", {"target_shape": [3]}), dense(2, rows=3)],
    ],
)
def test_a_chain_without_the_shape_of_its_input(layers: Callable[[], list[OldLayer]], tmp_path):
    error = error_of(whole(tmp_path, layers()))
    assert "does not state the shape of its input" in error.expected
    assert "with that shape" in str(error.remedy)


def test_a_class_that_does_not_take_the_arguments_says_why(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(textwrap.dedent(OWN))
    opening = read_opening([file], None, False)
    path = whole(tmp_path, [dense(2, 3), OldLayer("Scaled", {"times": 3})])
    error = error_of(path, custom_objects=opening.custom_objects)
    assert error.argument == "custom_objects"
    assert "a class Scaled that does not take" in error.expected
    assert error.expected.endswith("passed to Scaled: {'times': 3}")


def test_a_custom_file_leaves_the_terminal_to_the_result(tmp_path):
    """It imports Keras, which would start TensorFlow with notes on standard error."""
    (tmp_path / "own.py").write_text(textwrap.dedent(OWN))
    start = {"batch_input_shape": [None, 8, 8, 3]}
    arguments = {"filters": 2, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid"}
    arrays = {"kernel:0": np.ones((3, 3, 3, 2)), "bias:0": np.zeros(2)}
    path = whole(tmp_path, [OldLayer("Conv2D", start | arguments, arrays)])
    command = [
        sys.executable,
        "-m",
        "keras_erf.cli",
        "trf",
        str(path),
        "--custom",
        "own.py",
        "--json",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert json.loads(run.stdout)
