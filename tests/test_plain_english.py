"""The list of phrases finds them wherever they stand, and nothing else."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "plain_english.py"


@pytest.fixture(scope="module")
def script():
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("It is told\nhere.", 1, "told"),
        ("one\ntwo, Likewise", 2, "Likewise"),
        ("a rule is looked\n    into here", 1, "looked into"),
        ("# as they\n# stand", 1, "as they # stand"),
        ("one of 48 nets, of many", 1, "nets"),
        ("the run goes on.", 1, "goes on"),
        ("mended", 1, "mended"),
    ],
)
def test_a_phrase_is_found_over_ends_of_lines_and_in_any_case(text, line, words, script):
    ((found_line, found_words, _),) = script.hits(text)
    assert (found_line, found_words) == (line, words)


@pytest.mark.parametrize(
    "text", ["U-Net and U-Nets", "besides", "recommended", "a network", "arxiv.org/told", "roomy"]
)
def test_other_words_are_left_alone(text, script):
    assert script.hits(text) == []


def test_files_are_listed_with_places_and_remedies(script, tmp_path, capsys):
    page, notebook = tmp_path / "page.md", tmp_path / "notebook.ipynb"
    page.write_text("Fine.\nDrawn anew.\n", encoding="utf-8")
    cells = [{"source": ["fine\n"], "outputs": ["so many"]}, {"source": ["in force"]}]
    notebook.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert script.main([str(page), str(notebook)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{page}:2: 'anew': again",
        f"{notebook}:3: 'in force': current, applied",
    ]
    page.write_text("Fine.\n", encoding="utf-8")
    assert script.main([str(page)]) == 0


def test_code_pages_and_notebooks_of_the_checkout_are_read(script):
    read = {path.relative_to(script.ROOT).as_posix() for path in script.files()}
    assert {"README.md", "Makefile", "keras_erf/cli.py", "docs/index.md", "setup.py"} <= read
    assert any(name.endswith(".ipynb") for name in read)
    assert not read & script.LEFT_OUT
