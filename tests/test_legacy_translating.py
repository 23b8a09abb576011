"""Models of tf_keras, translated, against the outputs that tf_keras computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_erf.legacy.architecture import Architecture, Built
from keras_erf.legacy.building import build
from keras_erf.legacy.weights.fitting import fitted
from keras_erf.legacy.weights.targets import Target
from tests.old_saving import run_old

# Of the range of the output.
TOLERANCE = 1e-5


def assign(built: Built, arrays: dict[str, list[np.ndarray]]) -> None:
    """Puts the arrays of the old layers into those that stand for them, as for a file."""
    left = dict(arrays)
    for entry in built.order:
        values = left.pop("|".join((*entry.path, entry.name)), None)
        if values is not None:
            target = Target(
                entry.name, entry.class_name, entry.config, entry.layer, arrange=entry.arrange
            )
            for variable, array in fitted(target, values, "tensorflow"):
                variable.assign(array)
    assert left == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All cases, written by tf_keras in a process of its own."""
    return run_old("old_models.py", tmp_path_factory.mktemp("old"), TF_USE_LEGACY_KERAS="1")


def arranged(model: keras.Model, inputs: list[np.ndarray]) -> Any:
    """Inputs as the model takes them: one, a list, or a dictionary by name."""
    if isinstance(model, keras.Sequential):
        (one,) = inputs
        return one
    return keras.tree.pack_sequence_as(model.input, inputs)


def wrong(path: Path, config: dict) -> str | None:
    """Says what is wrong with a translated case; None if nothing is."""
    stored = np.load(path.with_suffix(".npz"))
    arrays: dict[str, list[np.ndarray]] = {}
    for key in stored.files:
        if key.startswith("weight:"):
            arrays.setdefault(key.split(":")[1], []).append(stored[key])
    built = build(Architecture(config))
    assign(built, arrays)
    inputs = [stored[key] for key in stored.files if key.startswith("input:")]
    outputs = built.model(arranged(built.model, inputs), training=False)
    flat = keras.tree.flatten(outputs)
    expected = [stored[key] for key in stored.files if key.startswith("output:")]
    if len(flat) != len(expected):
        return f"{len(flat)} outputs for {len(expected)}"
    for output, right in zip(flat, expected, strict=True):
        value = keras.ops.convert_to_numpy(output)
        if value.shape != right.shape:
            return f"{value.shape} for {right.shape}"
        if not np.allclose(value, right, rtol=0, atol=TOLERANCE * max(np.ptp(right), 1e-3)):
            return f"off by {abs(value - right).max() / max(np.ptp(right), 1e-3):.1e} of the range"
    return None


def test_outputs_are_those_of_tf_keras(folder):
    cases = sorted(folder.glob("*.json"))
    assert len(cases) > 200
    complaints = {}
    for path in cases:
        for kind, config in zip(("new", "old"), json.loads(path.read_text()), strict=True):
            if config:
                try:
                    says = wrong(path, config)
                except Exception as error:
                    says = f"{type(error).__name__}: {error}"
                if says:
                    complaints[f"{path.stem} ({kind})"] = says
    keras.backend.clear_session()
    assert complaints == {}
