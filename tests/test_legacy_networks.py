"""Networks of tf_keras's applications in four forms, against the outputs of tf_keras.

All networks in their own size are in `benchmarks/old_applications.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_erf as erf

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 1e-5
NETWORKS = ("mobilenet", "convnext", "densenet", "efficientnet_v2")
FORMS = {
    "HDF5": ("{}.h5", None),
    "archive": ("{}.keras", None),
    "SavedModel": ("{}.tf", None),
    "JSON with weights": ("{}.json", "{}_weights.h5"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All files, written by tf_keras in a process of its own."""
    pytest.importorskip("tf_keras")
    path = tmp_path_factory.mktemp("networks")
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/old_networks.py"), str(path)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_tf_keras_predict_what_they_did(name, form, folder):
    model, weights = (part and folder / part.format(name) for part in FORMS[form])
    held = np.load(folder / f"{name}.npz")
    outputs = np.asarray(erf.load_model(model, weights=weights)(held["inputs"], training=False))
    expected = held["outputs"]
    assert outputs.shape == expected.shape
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
