"""Small model files of Keras 1, Keras 2 and tf.keras, for `hostile_files.py`.

`tf_keras` writes those of Keras 2, in a process of its own: it disturbs Keras 3. Those of Keras 1
are composed from their documented layout. What is more than one file is zipped: a SavedModel folder
(`.saved`), and an architecture with its weights (`.pair`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["ARCHITECTURE", "LAYOUTS", "WEIGHTS_FILE", "keras2_files", "old_layouts"]

# How the good files end.
LAYOUTS = (".h5", ".keras", ".saved", ".pair")
ARCHITECTURE, WEIGHTS_FILE = "model.json", "weights.h5"
# Keras 1 and 2 keep their weights in arrays with these names.
Arrays = dict[str, np.ndarray]


def old_layouts(home: Path) -> list[Path]:
    """Writes good files to a folder, and returns them."""
    _keras1_files(home)
    _keras0_file(home / "good-keras0.pair")
    _nodes_file(home / "good-nodes.h5")
    code = "import sys, old_layouts; old_layouts.keras2_files(sys.argv[1])"
    command = [sys.executable, "-c", code, str(home.resolve())]
    subprocess.run(
        command, check=True, cwd=Path(__file__).parent,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
    )  # fmt: skip
    return sorted(home.glob("good-*"))


# --- Keras 1 -------------------------------------------------------------------------------------


def _keras1_files(home: Path) -> None:
    random = np.random.default_rng(0)

    def drawn(**shapes: tuple[int, ...]) -> Arrays:
        return {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}

    convolution = {
        "name": "convolution2d_1", "batch_input_shape": [None, 8, 8, 3], "nb_filter": 4,
        "nb_row": 3, "nb_col": 3, "border_mode": "same", "subsample": [2, 2], "dim_ordering": "tf",
        "init": "glorot_uniform", "activation": "relu", "bias": True, "trainable": True,
    }  # fmt: skip
    dense = {"name": "dense_1", "output_dim": 2, "init": "uniform", "activation": "linear"}
    layers = [
        ("Convolution2D", convolution, drawn(W=(3, 3, 3, 4), b=(4,))),
        ("Flatten", {"name": "flatten_1"}, {}),
        ("Dense", {**dense, "input_dim": 64, "bias": True}, drawn(W=(64, 2), b=(2,))),
    ]
    _keras1_file(home / "good-keras1.h5", layers, "tensorflow")
    theano = {**convolution, "dim_ordering": "th", "batch_input_shape": [None, 3, 8, 8]}
    layers[0] = ("Convolution2D", theano, drawn(W=(4, 3, 3, 3), b=(4,)))
    _keras1_file(home / "good-theano.h5", layers, "theano")
    code = {
        "name": "lambda_1", "batch_input_shape": [None, 8, 8, 3], "function_type": "lambda",
        "function": ["4wEAAAAAAAAA", None, None], "arguments": {}, "output_shape": None,
        "output_shape_type": "raw",
    }  # fmt: skip
    inner = {key: value for key, value in convolution.items() if key != "batch_input_shape"}
    layers = [("Lambda", code, {}), ("Convolution2D", inner, drawn(W=(3, 3, 3, 4), b=(4,)))]
    _keras1_file(home / "good-lambda.h5", layers, "tensorflow")


def _keras1_file(file: Path, layers: Sequence[tuple[str, Any, Arrays]], backend: str) -> None:
    config = [{"class_name": name, "config": own} for name, own, _ in layers]
    with h5py.File(file, "w") as held:
        held.attrs["keras_version"] = b"1.2.1"
        held.attrs["backend"] = backend.encode()
        held.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        group = held.create_group("model_weights")
        group.attrs["keras_version"] = b"1.2.1"
        group.attrs["backend"] = backend.encode()
        group.attrs["layer_names"] = [own["name"].encode() for _, own, _ in layers]
        for _, own, arrays in layers:
            part = group.create_group(own["name"])
            names = {key: f"{own['name']}_{key}:0" for key in arrays}
            part.attrs["weight_names"] = [name.encode() for name in names.values()]
            for key, array in arrays.items():
                part[names[key]] = array


def _keras0_file(file: Path) -> None:
    """An architecture of Keras 0.3 and its weights, whose layers and arrays are numbered."""
    random = np.random.default_rng(1)
    layers = [
        {"name": "Dense", "custom_name": "dense", "input_shape": [6], "output_dim": 4,
         "init": "uniform", "activation": "relu", "input_dim": 6},
        {"name": "Dense", "custom_name": "dense", "output_dim": 2, "init": "uniform",
         "activation": "linear"},
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        text = json.dumps({"name": "Sequential", "layers": layers, "loss": "mse"})
        (here / ARCHITECTURE).write_text(text)
        with h5py.File(here / WEIGHTS_FILE, "w") as held:
            held.attrs["nb_layers"] = len(layers)
            for number, shape in enumerate([(6, 4), (4, 2)]):
                group = held.create_group(f"layer_{number}")
                group.attrs["nb_params"] = 2
                group["param_0"] = random.normal(size=shape).astype("f4")
                group["param_1"] = random.normal(size=shape[1:]).astype("f4")
        _zip_pair(file, here)


def _zip_pair(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file, "w") as pair:
        for member in (ARCHITECTURE, WEIGHTS_FILE):
            pair.write(folder / member, member)


def _nodes_file(file: Path) -> None:
    """Raw operations of graphs, as tf.keras 2.0 to 2.3 wrote them."""

    def layer(name: str, op: str, constants: dict[str, Any], of: str, **attributes: Any) -> Any:
        node = {"name": name, "op": op, "input": [of], "attr": attributes}
        return {
            "class_name": "TensorFlowOpLayer", "name": f"tf_op_layer_{name}",
            "config": {"name": name, "dtype": "float32", "node_def": json.dumps(node),
                       "constants": constants, "trainable": True},
            "inbound_nodes": [[[of, 0, 0, {}]]],
        }  # fmt: skip

    start = {
        "class_name": "InputLayer", "name": "x", "inbound_nodes": [],
        "config": {"batch_input_shape": [None, 8, 8, 3], "dtype": "float32", "name": "x"},
    }  # fmt: skip
    layers = [
        start,
        layer("mul", "Mul", {"1": 2.0}, "x"),
        layer("pad", "Pad", {"1": [[0, 0], [1, 1], [1, 1], [0, 0]]}, "tf_op_layer_mul"),
        layer(
            "up", "ResizeBilinear", {"1": [20, 20]}, "tf_op_layer_pad",
            half_pixel_centers={"b": True},
        ),
        layer("mean", "Mean", {"1": [1, 2]}, "tf_op_layer_up", keep_dims={"b": False}),
    ]  # fmt: skip
    config = {"name": "nodes", "layers": layers, "input_layers": [["x", 0, 0]],
              "output_layers": [["tf_op_layer_mean", 0, 0]]}  # fmt: skip
    with h5py.File(file, "w") as held:
        held.attrs["keras_version"] = b"2.2.4-tf"
        held.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config})
        held.create_group("model_weights").attrs["layer_names"] = [
            one["name"].encode() for one in layers
        ]
        for one in layers:
            group = held["model_weights"].create_group(one["name"])
            group.attrs["weight_names"] = np.zeros(0, "S1")


# --- Keras 2 -------------------------------------------------------------------------------------


def keras2_files(folder: str) -> None:
    """Writes each small model as HDF5, archive, SavedModel, and architecture with weights."""
    warnings.simplefilter("ignore")
    import tf_keras

    home = Path(folder)
    for name, model in _keras2_models(tf_keras).items():
        with tempfile.TemporaryDirectory() as scratch:
            here = Path(scratch)
            model.save(home / f"good-{name}.h5")
            model.save(home / f"good-{name}.keras")
            model.save(here / "saved", save_format="tf")
            shutil.make_archive(str(here / "saved"), "zip", here / "saved")
            shutil.move(here / "saved.zip", home / f"good-{name}.saved")
            model.save_weights(here / WEIGHTS_FILE)
            (here / ARCHITECTURE).write_text(model.to_json())
            _zip_pair(home / f"good-{name}.pair", here)


def _keras2_models(keras: Any) -> dict[str, Any]:
    layers = keras.layers
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    z = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y))
    shared = layers.SeparableConv2D(4, 3, padding="same")
    sums = layers.Concatenate()([layers.add([y, z]), shared(shared(y))])
    images = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(sums)))
    t = keras.Input((6, 4))
    times = keras.Model(t, layers.Bidirectional(layers.LSTM(3))(layers.LayerNormalization()(t)))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)], name="inner")
    nested = keras.Model(x, layers.subtract([inner(x), inner(layers.ReLU()(x))]))
    import tensorflow as tf

    operations = keras.Model(x, tf.concat([x[:, ::2] * 2.0 - 1.0, tf.nn.relu(x)[:, 1::2]], -1))
    return {"images": images, "times": times, "nested": nested, "operations": operations}
