"""What is said of files that do not open, and whether the advice in it works.

Each remedy of a message about a file is followed here.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.utils.python_utils import func_dump

import keras_erf as erf
from keras_erf.errors import KerasERFError, ModelLoadError
from tests import numpy_layers as by_hand
from tests.commands import run
from tests.keras1_files import OldLayer, chain, save, save_weights

IMAGE = (6, 7, 3)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 2)).astype("float32")
CONVOLUTION = OldLayer(
    "Convolution2D",
    {"nb_filter": 2, "nb_row": 3, "nb_col": 3, "border_mode": "valid", "subsample": [1, 1],
     "dim_ordering": "tf", "activation": "linear", "bias": False},
    {"W:0": KERNEL}, "conv",
)  # fmt: skip


def started(layer: OldLayer) -> OldLayer:
    config = {"batch_input_shape": [None, *IMAGE], **layer.config}
    return OldLayer(layer.class_name, config, layer.arrays, layer.name)


def old_model(path: Path, *before: OldLayer) -> Path:
    """A file of Keras 1: layers, then a convolution."""
    layers = [*before, CONVOLUTION]
    layers[0] = started(layers[0])
    return save(path, chain(layers), layers)


def architecture(path: Path) -> Path:
    about = {"keras_version": "1.2.2"}
    path.write_text(json.dumps(chain([started(CONVOLUTION)]) | about), encoding="utf-8")
    return path


def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, *IMAGE)).astype("float32")


def check(model, before: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> None:
    """Asserts that a model is the convolution, behind some function."""
    expected = by_hand.convolution(before(image()), KERNEL)
    output = keras.ops.convert_to_numpy(model(image(), training=False))
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * np.ptp(expected))


# --- What a file is ------------------------------------------------------------------------------


def frozen_graph() -> bytes:
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        tf.raw_ops.Relu(features=tf.compat.v1.placeholder(tf.float32, (1, 2), name="input"))
    return graph.as_graph_def().SerializeToString()


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def array() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


def hdf5(**arrays: np.ndarray) -> bytes:
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        for name, value in arrays.items():
            file[name] = value
    return made.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2145\nsize 12345\n"
# PyTorch's first number in files of before 1.6.
OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
# From TensorFlow's Lite schema: the identifier is behind the first four bytes.
LITE = struct.pack("<I", 28) + b"TFL3" + bytes(64)
# Protocol buffers of ONNX begin with the version and the producer.
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x051.13.1:\x10" + bytes(16)

# Content of a file, what it is said to be, and what to do.
KINDS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "an empty file", "download the file itself"),
    "blank": (lambda: b" \n ", "an empty file", "download the file itself"),
    "LFS pointer": (lambda: LFS, "a Git LFS pointer", "git lfs pull"),
    "web page": (
        lambda: b"\n<!DOCTYPE html>\n<html><body>404</body></html>", r"a web page \(HTML\)",
        "download",
    ),
    "web page with a comment": (
        lambda: b"<!-- hello -->\n<HTML lang='en'>", r"a web page \(HTML\)", "download"
    ),
    "XML": (lambda: b"<?xml version='1.0'?><net/>", "an XML file", "model's own file"),
    "TFLite": (lambda: LITE, "a TFLite model", "Keras model that it was converted from"),
    "ONNX": (lambda: ONNX, "an ONNX model", "convert it to Keras"),
    "frozen graph": (frozen_graph, "a frozen graph", "Keras model that it was made from"),
    "PyTorch": (
        lambda: zipped(archive__data__pkl=b"x", **{"archive__data.pkl": b"x"}), "a PyTorch file",
        "export it to ONNX",
    ),
    "old PyTorch": (lambda: OLD_TORCH, "a PyTorch file", "export it to ONNX"),
    "pickle": (lambda: pickle.dumps({"a": 1}), "a Python pickle", "load it where it was made"),
    "safetensors": (safetensors, "a safetensors file", "model file of Keras"),
    "array": (array, "a NumPy array", "name the model"),
    "arrays": (
        lambda: zipped(**{"a.npy": array()}), "a file of NumPy arrays", "model file of Keras"
    ),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG picture", "name a model file"),
    "document": (lambda: b"%PDF-1.7\n", "a PDF document", "name a model file"),
    "text": (lambda: b"hello\nworld\n", "a text file", "name a model file"),
    "noise": (lambda: bytes(range(255, 0, -1)), "no file of a kind", "name a model file"),
    "link": (lambda: b"../models/net.h5", "the text of a link to '../models/net.h5'", "points to"),
    "JSON of something else": (lambda: b'{"a": 1}', "JSON, but no architecture", "to_json"),
    "JSON list": (lambda: b"[1, 2]", "JSON, but no architecture", "to_json"),
    "broken JSON": (lambda: b'{"class_name": "Model"', "no valid JSON", "save it as"),
    "notebook": (lambda: b'{"nbformat": 4, "cells": []}', "a notebook", "that it writes"),
    "TensorFlow.js": (
        lambda: b'{"format": "layers-model", "modelTopology": {}}', "TensorFlow.js",
        "tensorflowjs_converter",
    ),
    "HDF5 of something else": (
        lambda: hdf5(a=np.zeros(3)), "HDF5 file that Keras did not write", "model file of Keras"
    ),
    "zip without a model": (
        lambda: zipped(**{"a.txt": b"x"}), "zip archive without a model", "model file of Keras"
    ),
    "cut zip": (
        lambda: zipped(**{"config.json": bytes(500)})[:200], "damaged zip archive", "download"
    ),
    "7-Zip": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(9), "archive of 7-Zip", "unpack it"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model", "model.json"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_model_is_recognised_by_its_content(kind, name, tmp_path):
    make, what, remedy = KINDS[kind]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ModelLoadError, match=what) as caught:
        erf.load_model(tmp_path / name)
    error = caught.value
    assert re.search(remedy, error.remedy or "")
    assert name in error.received
    assert "\n" not in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_says_it_in_a_line(kind, tmp_path):
    make, what, _ = KINDS[kind]
    (tmp_path / "model.h5").write_bytes(make())
    result = run("trf", tmp_path / "model.h5")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert re.search(what, result.stderr)
    assert result.stdout == ""


def test_every_cut_of_a_file_is_refused_in_a_line(tmp_path):
    whole = old_model(tmp_path / "whole.h5").read_bytes()
    file = tmp_path / "cut.h5"
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelLoadError) as caught:
            erf.load_model(file)
        assert "download" in caught.value.remedy
        assert "\n" not in str(caught.value)
    file.write_bytes(whole)
    check(erf.load_model(file))


def test_no_file_of_any_kind_ends_in_another_error(tmp_path):
    """Weights, the other way of naming a file."""
    model = architecture(tmp_path / "model.json")
    for kind, (make, _, _) in KINDS.items():
        (tmp_path / "weights.h5").write_bytes(make())
        with pytest.raises(KerasERFError) as caught:
            erf.load_model(model, weights=tmp_path / "weights.h5")
        assert "\n" not in str(caught.value), kind
        assert caught.value.argument == "weights", kind


# --- Remedies ------------------------------------------------------------------------------------


def refusal(path: Path, **how) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        erf.load_model(path, **how)
    assert "\n" not in str(caught.value)
    return caught.value


def test_weights_alone_with_the_architecture(tmp_path):
    weights = save_weights(tmp_path / "weights.h5", [CONVOLUTION])
    assert "weights alone" in str(refusal(weights))
    assert "architecture as JSON, with this file as `weights`" in refusal(weights).remedy
    check(erf.load_model(architecture(tmp_path / "model.json"), weights=weights))


def test_an_architecture_with_weights_or_without(tmp_path):
    model = architecture(tmp_path / "model.json")
    assert "without weights" in str(refusal(model))
    assert '`weights`, or "none"' in refusal(model).remedy
    weights = save_weights(tmp_path / "weights.h5", [CONVOLUTION])
    check(erf.load_model(model, weights=weights))
    assert erf.load_model(model, weights="none").count_params() == KERNEL.size
    failed = run("analyze", model, "--samples", 2, "--out", tmp_path)
    assert "--weights" in failed.stderr
    done = run("analyze", model, "--samples", 2, "--out", tmp_path, "--weights", weights)
    assert done.exit_code == 0, done.stderr
    done = run("analyze", model, "--samples", 2, "--out", tmp_path, "--weights", "none")
    assert done.exit_code == 0, done.stderr


def test_packed_files_are_unpacked(tmp_path):
    whole = old_model(tmp_path / "whole.h5")
    (tmp_path / "model.h5.gz").write_bytes(gzip.compress(whole.read_bytes()))
    assert refusal(tmp_path / "model.h5.gz").remedy == "unpack it, and name the model in it"
    (tmp_path / "unpacked").write_bytes(gzip.decompress((tmp_path / "model.h5.gz").read_bytes()))
    check(erf.load_model(tmp_path / "unpacked"))
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(whole, "inside/model.h5")
    error = refusal(tmp_path / "model.zip")
    assert "a zip archive that holds 'inside/model.h5'" in str(error)
    assert error.remedy == "unpack it, and name the model in it"
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        archive.extractall(tmp_path)
    check(erf.load_model(tmp_path / "inside" / "model.h5"))


def test_folders_name_the_model_in_them(tmp_path):
    (tmp_path / "models").mkdir()
    assert "a folder without a model" in str(refusal(tmp_path / "models"))
    old_model(tmp_path / "models" / "network.h5")
    remedy = refusal(tmp_path / "models").remedy
    named = re.fullmatch(r"name the model in it, such as '(.+)'", remedy)
    check(erf.load_model(named.group(1)))


def test_an_unpacked_archive_is_packed_again(tmp_path):
    network = keras.Sequential([keras.Input(IMAGE), keras.layers.Conv2D(2, 3, use_bias=False)])
    network.layers[0].set_weights([KERNEL])
    network.save(tmp_path / "network.keras")
    with zipfile.ZipFile(tmp_path / "network.keras") as archive:
        archive.extractall(tmp_path / "network")
    assert "zip its files (not the folder)" in refusal(tmp_path / "network").remedy
    shutil.make_archive(str(tmp_path / "again"), "zip", tmp_path / "network")
    check(erf.load_model(tmp_path / "again.zip"))


def test_an_architecture_as_yaml_is_converted(tmp_path):
    yaml = pytest.importorskip("yaml")
    config = chain([started(CONVOLUTION)]) | {"keras_version": "1.2.2"}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(config))
    assert refusal(tmp_path / "model.yaml").remedy == (
        "convert it to JSON first, with yaml.safe_load and json.dumps"
    )
    text = json.dumps(yaml.safe_load((tmp_path / "model.yaml").read_text()))
    (tmp_path / "model.json").write_text(text)
    assert erf.load_model(tmp_path / "model.json", weights="none").input_shape == (None, *IMAGE)


def test_checkpoints_are_weights(tmp_path):
    import tensorflow as tf

    path = architecture(tmp_path / "model.json")
    model = erf.load_model(path, weights="none")
    # Layers are found by their number in checkpoints of Keras.
    root, one = tf.Module(), tf.Module()
    one.kernel = tf.Variable(KERNEL)
    setattr(root, "layer-0", one)
    prefix = tf.train.Checkpoint(**{"layer-0": one}).write(str(tmp_path / "points" / "network"))
    index = Path(f"{prefix}.index")
    for file in (index, index.parent):
        assert "architecture as JSON" in refusal(file).remedy
        assert ".index file" in refusal(index.parent).remedy
    for name in (index, prefix):
        check(erf.load_model(path, weights=name))
    assert model.count_params() == KERNEL.size


def test_files_of_a_saved_model_name_their_folder(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    assert refusal(tmp_path / "saved" / "saved_model.pb").remedy == "name the folder that it is in"
    error = refusal(tmp_path / "saved")
    assert "a SavedModel that Keras did not write" in str(error)
    assert "Keras model that it was exported from" in error.remedy


def test_a_model_of_ones_own_class_says_what_to_do(tmp_path):
    """A subclassed model has no list of layers in its file."""
    config = {"class_name": "MyNetwork", "config": {"depth": 3}}
    error = refusal(save(tmp_path / "old.h5", config, [CONVOLUTION], version="2.4.0"))
    assert "MyNetwork" in str(error)
    assert "class of its own" in str(error)
    assert error.remedy


# --- Lambda layers -------------------------------------------------------------------------------


def scaled(x):
    return x / 127.5 - 1.0


def lambda_layer(name: str = "lambda_1", function: object = None) -> OldLayer:
    # Bytecode of Python 3.5, which no current version runs.
    code = function or ["4wEAAAABAAAAAgAAAFMAAABzBAAAAHwAAFM=", None, None]
    return OldLayer(
        "Lambda",
        {"function": code, "function_type": "lambda", "output_shape": None,
         "output_shape_type": "raw", "arguments": {}, "trainable": True},
        {}, name,
    )  # fmt: skip


@pytest.fixture
def with_lambdas(tmp_path) -> Path:
    return old_model(tmp_path / "old.h5", lambda_layer(), lambda_layer("lambda_2"))


def test_all_lambdas_are_named_with_three_ways(with_lambdas):
    error = refusal(with_lambdas)
    assert "lambda_1, lambda_2" in str(error)
    for way in ("--lambda lambda_1=pointwise", "--custom FILE.py", "--unsafe"):
        assert way in error.remedy


def test_the_first_way_stands_in_pixel_by_pixel(with_lambdas):
    check(
        erf.load_model(with_lambdas, stand_ins={"lambda_1": "pointwise", "lambda_2": "pointwise"})
    )
    failed = run("trf", with_lambdas)
    option = re.search(r"`(--lambda) lambda_1=(pointwise)`", failed.stderr).groups()
    words = [
        word for name in ("lambda_1", "lambda_2") for word in (option[0], f"{name}={option[1]}")
    ]
    done = run("trf", with_lambdas, "--json", *words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)
    # Half of the remedy ends in a message too.
    assert re.search(r"not run: lambda_2\b", run("trf", with_lambdas, *words[:2]).stderr)


def test_the_second_way_is_a_function_of_that_name(with_lambdas, tmp_path):
    functions = {"lambda_1": scaled, "lambda_2": lambda x: 2 * x}
    check(erf.load_model(with_lambdas, custom_objects=functions), lambda x: 2 * scaled(x))
    check(erf.load_model(with_lambdas, stand_ins=functions), lambda x: 2 * scaled(x))
    (tmp_path / "functions.py").write_text(
        "def lambda_1(x):\n    return x / 127.5 - 1.0\n\n\ndef lambda_2(x):\n    return 2 * x\n"
    )
    done = run("trf", with_lambdas, "--custom", tmp_path / "functions.py")
    assert done.exit_code == 0, done.stderr
    done = run(
        "trf", with_lambdas, "--custom", tmp_path / "functions.py", "--lambda", "lambda_2=lambda_1"
    )
    assert done.exit_code == 0, done.stderr


def test_the_third_way_runs_the_code_in_the_file(tmp_path):
    code = json.loads(json.dumps(func_dump(lambda x: 2 * x)))
    file = old_model(tmp_path / "old.h5", lambda_layer(function=code))
    assert "--unsafe" in refusal(file).remedy
    check(erf.load_model(file, unsafe=True), lambda x: 2 * x)
    done = run("trf", file, "--unsafe")
    assert done.exit_code == 0, done.stderr


def test_bytecode_of_another_python_says_so(tmp_path):
    error = refusal(old_model(tmp_path / "old.h5", lambda_layer()), unsafe=True)
    assert "not that of this Python" in str(error)
    assert "--custom FILE.py" in str(error)


def test_a_named_function_is_found_by_its_name(tmp_path):
    layer = lambda_layer()
    config = layer.config | {"function": "normalize_pixels", "function_type": "function"}
    file = old_model(tmp_path / "old.h5", OldLayer("Lambda", config, {}, "lambda_1"))
    assert "lambda_1 or normalize_pixels" in refusal(file).remedy
    check(erf.load_model(file, custom_objects={"normalize_pixels": scaled}), scaled)


def test_a_lambda_that_changes_shapes_is_not_pointwise(tmp_path):
    layer = lambda_layer()
    config = layer.config | {"output_shape": [3, 7, 3]}
    file = old_model(tmp_path / "old.h5", OldLayer("Lambda", config, {}, "lambda_1"))
    error = refusal(file, stand_ins={"lambda_1": "pointwise"})
    assert "changes the shape" in str(error)
    assert "--custom FILE.py" in error.remedy
    model = erf.load_model(file, custom_objects={"lambda_1": lambda x: x[:, ::2]})
    check(model, lambda x: x[:, ::2])


def test_code_of_keras_3_files_has_the_same_ways(tmp_path):
    layer = keras.layers.Lambda(lambda x: 2 * x, name="lambda_1", output_shape=IMAGE)
    network = keras.Sequential(
        [keras.Input(IMAGE), layer, keras.layers.Conv2D(2, 3, use_bias=False)]
    )
    network.layers[1].set_weights([KERNEL])
    for suffix in (".keras", ".h5"):
        file = tmp_path / f"new{suffix}"
        network.save(file)
        remedy = refusal(file).remedy
        assert "--lambda lambda_1=pointwise" in remedy
        assert "--unsafe" in remedy
        check(erf.load_model(file, stand_ins={"lambda_1": "pointwise"}))
        check(erf.load_model(file, custom_objects={"lambda_1": scaled}), scaled)
        check(erf.load_model(file, unsafe=True), lambda x: 2 * x)


# --- Classes of the author's ---------------------------------------------------------------------


CLASSES = """
import keras


@keras.saving.register_keras_serializable(package="Custom")
class TCN(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs
"""
OTHER = CLASSES.replace('@keras.saving.register_keras_serializable(package="Custom")', "").replace(
    "TCN", "Doubled"
)


@pytest.fixture
def with_classes(tmp_path) -> Path:
    layers = [
        OldLayer("Custom>TCN", {"trainable": True, "factor": 3.0}, {}, "tcn"),
        OldLayer("Doubled", {"trainable": True, "factor": 2.0}, {}, "double"),
    ]
    return old_model(tmp_path / "old.h5", *layers)


@pytest.fixture
def _unregistered():
    kept = dict(keras.saving.get_custom_objects())
    yield
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(kept)


@pytest.mark.usefixtures("_unregistered")
def test_all_unknown_classes_are_listed_with_their_arguments(with_classes, tmp_path):
    error = refusal(with_classes)
    assert "Custom>TCN(factor=3.0); Doubled(factor=2.0)" in str(error)
    assert "--custom FILE.py" in error.remedy
    (tmp_path / "one.py").write_text(CLASSES)
    (tmp_path / "two.py").write_text(OTHER)
    failed = run("trf", with_classes, "--custom", tmp_path / "one.py")
    assert failed.exit_code == 2
    assert "not Keras's own: Doubled(factor=2.0)." in failed.stderr
    both = ["--custom", tmp_path / "one.py", "--custom", tmp_path / "two.py"]
    done = run("trf", with_classes, *both)
    assert done.exit_code == 0, done.stderr
    done = run("convert", with_classes, tmp_path / "new.keras", *both)
    assert done.exit_code == 0, done.stderr
    classes: dict = {}
    exec(CLASSES + OTHER, classes)
    objects = {name: classes[name] for name in ("TCN", "Doubled")}
    check(erf.load_model(with_classes, custom_objects=objects), lambda x: 6 * x)
    # What it was converted to needs them as well.
    check(erf.load_model(tmp_path / "new.keras", custom_objects=objects), lambda x: 6 * x)


@pytest.mark.usefixtures("_unregistered")
def test_a_class_that_takes_other_arguments_is_named(with_classes):
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    error = refusal(with_classes, custom_objects={"TCN": Doubled, "Doubled": Doubled})
    assert "'tcn'" in str(error)
    assert "factor" in str(error)


# --- Converting ----------------------------------------------------------------------------------


def test_a_converted_file_opens_without_this_package(tmp_path):
    old = old_model(tmp_path / "old.h5", OldLayer("LeakyReLU", {"alpha": 0.3}, {}, "leaky"))
    done = run("convert", old, tmp_path / "new.keras", "--json")
    assert done.exit_code == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["difference"] == 0.0
    assert about["weights"] == KERNEL.size
    check(keras.models.load_model(tmp_path / "new.keras"), lambda x: np.where(x > 0, x, 0.3 * x))


def test_a_stand_in_is_noted_in_what_is_converted(with_lambdas, tmp_path):
    words = ["--lambda", "lambda_1=pointwise", "--lambda", "lambda_2=pointwise"]
    done = run("convert", with_lambdas, tmp_path / "new.keras", *words)
    assert done.exit_code == 0, done.stderr
    assert "lambda_1 passes its input on unchanged" in done.stdout
    check(keras.models.load_model(tmp_path / "new.keras"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("old.h5", "new.h5", r"`NEW` must be a file name that ends in \.keras"),
        ("missing.h5", "new.keras", "`OLD` must be an existing file"),
        ("text.h5", "new.keras", "`OLD` must be a model of Keras, and this is a text file"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(old, new, expected, tmp_path):
    old_model(tmp_path / "old.h5")
    (tmp_path / "text.h5").write_text("hello")
    failed = run("convert", tmp_path / old, tmp_path / new)
    assert failed.exit_code == 2
    assert re.search(expected, failed.stderr)
    assert len(failed.stderr.strip().splitlines()) == 1
    assert {file.name for file in tmp_path.iterdir()} == {"old.h5", "text.h5"}


# --- Python code ---------------------------------------------------------------------------------


BAD_CUSTOM = {
    "missing": (None, "existing Python file"),
    "failing": ("raise ValueError('no')", "Python file that runs: ValueError: no"),
    "broken": ("def (", "Python file that runs: SyntaxError"),
    "ending": ("import sys; sys.exit(3)", "Python file that runs: SystemExit"),
}


@pytest.mark.parametrize("kind", BAD_CUSTOM)
def test_a_custom_file_that_fails_is_named_in_a_line(kind, tmp_path):
    content, expected = BAD_CUSTOM[kind]
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    failed = run("trf", old_model(tmp_path / "old.h5"), "--custom", file)
    assert failed.exit_code == 2
    assert expected in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_arguments_of_the_wrong_type_are_refused(tmp_path):
    file = old_model(tmp_path / "old.h5")
    wrong = [
        {"path": 3}, {"path": ""}, {"weights": 3}, {"stand_ins": "lambda_1"},
        {"stand_ins": {"lambda_1": "blur"}}, {"custom_objects": [scaled]},
    ]  # fmt: skip
    for arguments in wrong:
        with pytest.raises(KerasERFError) as caught:
            erf.load_model(**{"path": file, **arguments})
        assert caught.value.argument == next(iter(arguments))
        assert "\n" not in str(caught.value)
