"""Models of tf_keras in memory, handed to every public function."""

from __future__ import annotations

import inspect
import json

import pytest

import keras_erf as erf
from tests.old_saving import run_old

CHECKS = (
    "not imported", "translated", "receptive_field", "receptive_fields", "path_sizes",
    "projective_field", "tile_overlap", "unproductive_layers", "check", "probe", "probe of images",
    "profile", "expected", "growth", "ensemble", "calibrate_batch_norm", "layers",
    "functions", "subclassed", "not built", "built", "own class", "registered", "unchanged",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, str]:
    """What went wrong, by check: tf_keras disturbs Keras 3, so in a process of its own."""
    file = run_old("old_memory.py", tmp_path_factory.mktemp("memory") / "results.json")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CHECKS)
def test_a_model_of_tf_keras_is_measured_like_its_translation(name, results):
    assert results[name] == ""


def test_every_function_that_takes_a_model_is_among_them(results):
    taking = {
        name
        for name in erf.__all__
        if inspect.isfunction(function := getattr(erf, name))
        and {"model", "build"} & set(inspect.signature(function).parameters)
    }
    assert taking <= set(CHECKS)
    assert set(results) == set(CHECKS)
