"""The same call gives the same numbers in another process, and nearly so on other threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.hanging import HANGING

PROBE = """
import sys
import keras_erf
model = keras_erf.zoo.load("cifar_resnet14")
keras_erf.probe(model, "stage2_block2_out", samples=16, seed=3).save(sys.argv[1])
"""


def test_another_process_gives_the_same_numbers(tmp_path: Path) -> None:
    import keras_erf

    maps = []
    for name, threads in (("one", 1), ("again", 1), ("more", 2)):
        counted = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", PROBE, str(tmp_path / f"{name}.npz")]
        subprocess.run(command, env={**environment, **counted}, check=True, timeout=HANGING)
        maps.append(keras_erf.load(tmp_path / f"{name}.npz").map)
    one, again, more = maps
    np.testing.assert_array_equal(again, one)
    # Sums of float32 in another order, as a share of the peak.
    np.testing.assert_allclose(more / one.max(), one / one.max(), atol=1e-5)
