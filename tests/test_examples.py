"""The examples in docstrings run, and every public function has one."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import keras
import numpy as np
import pytest

import keras_erf

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("analysis", "theory", "zoo", "experiments", "plotting", "training", "studies")

# Longer than an example: a page that `tests/test_documents.py` runs calls them.
ON_PAGES = {
    "training.train": "docs/how-to/training.md",
    "training.summarise": "docs/how-to/training.md",
    "plotting.plot_training": "docs/how-to/training.md",
}


def public() -> Iterator[tuple[str, Any]]:
    """Public functions and classes, by the name under which users find them."""
    for module in ("", *MODULES):
        home = getattr(keras_erf, module) if module else keras_erf
        for name in home.__all__:
            if isinstance(value := getattr(home, name), (FunctionType, type)):
                yield f"{module}.{name}".lstrip("."), value


PUBLIC = dict(public())


def examples(name: str) -> list[doctest.DocTest]:
    """The examples in the docstrings of a public name, and of a class's methods."""
    globs = {"keras": keras, "keras_erf": keras_erf, "np": np}
    found = doctest.DocTestFinder(exclude_empty=True).find(PUBLIC[name], name, globs=globs)
    return [one for one in found if one.examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in ON_PAGES:
        assert f"erf.{name}(" in (ROOT / ON_PAGES[name]).read_text(encoding="utf-8")
    else:
        assert examples(name) or not inspect.isfunction(PUBLIC[name])
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    output: list[str] = []
    for one in examples(name):
        runner.run(one, out=output.append)
    assert not runner.summarize(verbose=False).failed, "".join(output)
