"""The notebooks run from top to bottom, each with less than three minutes of work."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import keras
import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
# Seconds of work a notebook may take, however busy the machine is.
LIMIT = 180
# Here with few samples, runs and epochs: what is shown is that all cells run.
SIZES = re.compile(r"\b(RUNS = |runs=|samples=|epochs=)\d+")


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, capsys, monkeypatch):
    # Those that train take what they download: here noise, and little of it.
    random = np.random.default_rng(0)
    parts = [
        (
            random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
            random.integers(0, 10, (count, 1), dtype=np.uint8),
        )
        for count in (256, 64)
    ]
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: tuple(parts))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace = {"__name__": "__main__"}
    start = time.process_time()
    for number, source in enumerate(code):
        source = SIZES.sub(r"\g<1>2", source)
        exec(compile(source, f"{path.name}, code cell {number}", "exec"), namespace)
    assert time.process_time() - start < LIMIT
    assert capsys.readouterr().out
    outputs = [
        output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]
    ]
    assert outputs, "the notebook is stored without its output"
    assert not [output for output in outputs if output["output_type"] == "error"]
