"""What scripts and tests of tf_keras share; scripts run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_old(script: str, path: Path, **environment: str) -> Path:
    """Runs a script of this folder that writes to a path, as tf_keras disturbs Keras 3."""
    pytest.importorskip("tf_keras")
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests" / script), str(path)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return path


def draw_weights(model: Any, random: np.random.Generator, kept: Iterable[Any] = ()) -> None:
    """Gives a model random weights, variances and norms positive, but for those that are kept."""
    held = list(kept)
    for weight in model.weights:
        if weight.dtype.is_floating and not any(weight is one for one in held):
            draw = random.normal(size=weight.shape) * 0.4
            weight.assign(np.abs(draw) + 0.2 if "variance" in weight.name else draw)


def drawn_inputs(model: Any, random: np.random.Generator) -> list[np.ndarray]:
    """Two random samples of each input of a model; words are numbers below 9."""
    return [
        random.integers(0, 9, (2, *i.shape[1:])) if i.dtype.is_integer
        else random.normal(size=(2, *i.shape[1:])).astype("float32")
        for i in model.inputs
    ]  # fmt: skip
