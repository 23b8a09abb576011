"""Networks of tf_keras's applications in four forms, against the outputs of tf_keras.

All networks in their own size are in `benchmarks/old_applications.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import keras_erf as erf
from tests.old_saving import run_old

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
    return run_old("old_networks.py", tmp_path_factory.mktemp("networks"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_tf_keras_predict_what_they_did(name, form, folder):
    model, weights = (part and folder / part.format(name) for part in FORMS[form])
    held = np.load(folder / f"{name}.npz")
    outputs = np.asarray(erf.load_model(model, weights=weights)(held["inputs"], training=False))
    expected = held["outputs"]
    assert outputs.shape == expected.shape
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
