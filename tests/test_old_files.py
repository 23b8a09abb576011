"""Files of Keras 2 in every form, opened, against the outputs of tf_keras."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_erf as erf
from tests.old_saving import run_old

# Of the range of the output.
TOLERANCE = 1e-5
MODELS = ("nested", "shared", "sequences", "frames", "statistics", "words", "chain")
# File of the model, file of its weights.
FORMS = {
    "HDF5": ("{}.h5", None),
    "archive": ("{}.keras", None),
    "SavedModel": ("{}", None),
    "JSON with weights by layer": ("{}.json", "{}_by_layer.h5"),
    "JSON with weights by object": ("{}.json", "{}.weights.h5"),
    "JSON with a checkpoint": ("{}.json", "{}_checkpoint"),
    "JSON with an archive": ("{}.json", "{}.keras"),
    "JSON with a SavedModel": ("{}.json", "{}"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All files, written by tf_keras in a process of its own."""
    return run_old("old_files.py", tmp_path_factory.mktemp("old"))


def check(model: keras.Model, stored: np.lib.npyio.NpzFile) -> None:
    inputs = [stored[key] for key in stored.files if key.startswith("input:")]
    outputs = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    expected = [stored[key] for key in stored.files if key.startswith("output:")]
    assert len(outputs) == len(expected)
    for output, right in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(
            np.asarray(output), right, rtol=0, atol=TOLERANCE * np.ptp(right)
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_every_form_opens_as_the_model_that_was_saved(name, form, folder):
    model, weights = FORMS[form]
    opened = erf.load_model(
        folder / model.format(name), weights=weights and folder / weights.format(name)
    )
    check(opened, np.load(folder / f"{name}.npz"))


@pytest.mark.parametrize("name", MODELS)
def test_models_in_memory_are_translated(name, folder):
    stored = np.load(folder / f"{name}.npz")
    outputs = [key for key in stored.files if key.startswith("output:")]
    assert outputs
    for key in outputs:
        right = stored[key]
        other = stored[key.replace("output", "memory")]
        np.testing.assert_allclose(other, right, rtol=0, atol=TOLERANCE * np.ptp(right))


# Files of strangers: how they are opened, and the shape of their input.
WILD = {
    "wakeword_tfkeras214.h5": ({}, (30, 1, 40)),
    "lane_segmenter_keras208.h5": ({}, (80, 160, 3)),
    "pilotnet_keras121_lambda.h5": ({"stand_ins": {"lambda_1": "pointwise"}}, (66, 200, 3)),
    "classifier_tfkeras215.keras": ({}, (40,)),
    "eegnet_weights_channels_first.h5": ({}, (1, 60, 151)),
}


@pytest.mark.parametrize("name", WILD)
def test_files_of_strangers_open_and_are_analyzed(name, shared_wild):
    how, shape = WILD[name]
    model = erf.load_model(shared_wild / name, **how)
    assert model.input_shape == (None, *shape)
    fields = erf.receptive_fields(model).fields
    # A vector has no space, so that no layer has a field.
    assert bool(fields) == (len(shape) > 1)
    assert all(all(size >= 1 for size in field.size) for field in fields)
