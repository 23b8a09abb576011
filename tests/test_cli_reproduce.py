"""`keras-erf reproduce`: files, verdicts, what is kept, and mistakes in one line."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from keras_erf import cli, experiments
from keras_erf.experiments import PANELS
from tests.panels import TINY


def run(*arguments: str):
    return CliRunner().invoke(cli.app, ["reproduce", *map(str, arguments)])


@pytest.fixture
def small(monkeypatch):
    """Panels at a small setting, and how often they were measured."""
    measured = []
    real = experiments.run

    def quick(name, **options):
        measured.append(name)
        return real(name, **{**TINY[name], **options})

    monkeypatch.setattr(experiments, "run", quick)
    return measured


def test_a_panel_leaves_picture_tables_and_verdict(small, tmp_path):
    result = run("growth", "--runs", "3", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    names = {path.name for path in tmp_path.iterdir()}
    endings = (".png", ".csv", "-fits.csv", "-maps.csv", ".txt", ".json")
    assert names == {f"growth{ending}" for ending in endings}
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"
    assert list(pd.read_csv(tmp_path / "growth.csv")["depth"]) == 2 * list(TINY["growth"]["depths"])
    verdict = (tmp_path / "growth.txt").read_text(encoding="utf-8")
    assert "The poster: log-log slopes of 0.56" in verdict
    assert "Why they differ" in result.stdout


def test_what_is_there_is_kept(small, tmp_path):
    arguments = ["dropout", "--runs", "2", "--out", tmp_path]
    run(*arguments)
    assert small == ["dropout"]
    again = run(*arguments)
    assert small == ["dropout"]
    assert "kept" in again.stdout
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for options in (("--seed", "5"), ("--runs", "3")):
        refused = run(*arguments, *options)
        assert refused.exit_code == 2
        assert f"holds dropout of {options[0]} " in refused.stderr
        assert "or --again to replace it" in refused.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    run(*arguments, "--seed", "5", "--again")
    run(*arguments, "--seed", "5", "--again")
    assert small == ["dropout"] * 3
    # A file that is gone, or a note that cannot be read, is no panel.
    (tmp_path / "dropout.png").unlink()
    run(*arguments, "--seed", "5")
    (tmp_path / "dropout.json").write_text("{", encoding="utf-8")
    run(*arguments, "--seed", "5")
    assert small == ["dropout"] * 5


def test_all_resumes_where_it_was_interrupted(small, tmp_path, monkeypatch):
    quick = experiments.run

    def interrupted(name, **options):
        if name == "structures":
            raise KeyboardInterrupt
        return quick(name, **options)

    monkeypatch.setattr(experiments, "run", interrupted)
    result = run("all", "--runs", "2", "--out", tmp_path)
    assert result.exit_code == 130
    assert "the same call resumes" in result.stderr
    assert not (tmp_path / "structures.json").exists()
    monkeypatch.setattr(experiments, "run", quick)
    result = run("all", "--runs", "2", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert sorted(small) == sorted(PANELS)
    reports = json.loads(result.stdout)
    assert [one["panel"] for one in reports] == list(PANELS)
    assert [one["kept"] for one in reports] == [True] * 2 + [False] * (len(PANELS) - 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["grow"], "`PANEL` must be all or one of gaussian-shape"),
        (["grow"], "Did you mean 'growth'? Received: 'grow'"),
        (["growth", "--runs", "1"], "`--runs` must be a whole number of at least 2. Received: 1"),
        (["growth", "--seed", "-1"], "`--seed` must be a whole number of at least 0"),
        (["growth", "--runs", "many"], "Invalid value for '--runs'"),
        ([], "Missing argument 'PANEL'"),
    ],
)
def test_mistakes_are_reported_in_one_line(arguments, text, tmp_path):
    result = run(*arguments, *(["--out", tmp_path] if arguments else []))
    assert result.exit_code == 2
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
