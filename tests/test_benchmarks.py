"""Benchmarks record what they measure in one form."""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
HISTORIES = sorted((FOLDER / "results").glob("*.jsonl"))
# All but what they share.
SCRIPTS = sorted(
    path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)
FIELDS = {"benchmark", "date", "commit", "machine", "versions", "options", "passed", "metrics"}


@pytest.fixture
def recording():
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "recording.py")))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("passed", [True, np.bool_(False)])
def test_a_run_adds_a_line(passed, recording, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks/speed.py"])
    file = tmp_path / "results" / "speed.jsonl"
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=64)
    options = recording.parse(parser, ["--json", str(file)])
    for seconds in (np.float32(0.5), 2):
        status = recording.record(options, passed, seconds=seconds, sizes=[np.int64(3)])
        assert status == (0 if passed else 1)
    first, second = lines(file)
    assert set(first) == FIELDS
    assert first["benchmark"] == "speed"
    assert first["options"] == {"samples": 64}
    assert first["passed"] is bool(passed)
    assert first["metrics"] == {"seconds": 0.5, "sizes": [3]}
    assert second["metrics"]["seconds"] == 2
    assert set(first["machine"]) == {"processor", "cores", "load"}


def test_nothing_is_written_without_the_option(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recording.record(recording.parse(argparse.ArgumentParser(), []), True, size=1) == 0
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_records_and_has_a_history():
    assert [path.stem for path in HISTORIES] == SCRIPTS
    for name in SCRIPTS:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "parse_args" not in text, name
        assert "parse(" in text, name
        assert "return record(" in text, name


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_histories_are_read(path):
    runs = lines(path)
    assert runs
    for run in runs:
        assert set(run) == FIELDS
        assert run["benchmark"] == path.stem
        assert run["metrics"]
        assert isinstance(run["passed"], bool)
