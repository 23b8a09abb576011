"""Commands that open old files write nothing but their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.keras1_files import OldLayer, chain, save, save_weights

ROOT = Path(__file__).resolve().parents[1]
IMAGE = (12, 12, 3)


def layers() -> list[OldLayer]:
    """Layers whose arguments Keras 3 warns of: shapes, activations, states, masks."""
    draw = np.random.default_rng(0).normal
    kernel = draw(size=(3, 3, 3, 4))
    return [
        OldLayer(
            "Convolution2D",
            {"batch_input_shape": [None, *IMAGE], "nb_filter": 4, "nb_row": 3, "nb_col": 3,
             "border_mode": "same", "subsample": [1, 1], "dim_ordering": "tf", "bias": False,
             "activation": "relu", "init": "he_normal", "input_shape": list(IMAGE)},
            {"W:0": kernel}, "conv",
        ),
        OldLayer("LeakyReLU", {"alpha": 0.3}, {}, "leaky"),
        OldLayer("SpatialDropout2D", {"p": 0.5, "dim_ordering": "tf"}, {}, "dropout"),
        OldLayer("MaxPooling2D", {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid",
                                  "dim_ordering": "tf"}, {}, "pool"),
    ]  # fmt: skip


COMMANDS = {
    "trf": "trf old.h5 --json",
    "analyze": "analyze model.json --weights weights.h5 --samples 2 --out out",
    "convert": "convert old.h5 new.keras",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_but_results_reaches_the_terminal(name, tmp_path):
    held = layers()
    save(tmp_path / "old.h5", chain(held), held)
    (tmp_path / "model.json").write_text(json.dumps(chain(held) | {"keras_version": "1.2.2"}))
    save_weights(tmp_path / "weights.h5", held)
    # A user sets none of what makes TensorFlow and Python quiet in the tests.
    kept = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL",)}
    done = subprocess.run(
        [sys.executable, "-c", "from keras_erf.cli import main; main()", *COMMANDS[name].split()],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout
    if "--json" in COMMANDS[name]:
        assert json.loads(done.stdout)
