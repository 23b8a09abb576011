"""The order of the modules, and what importing the package costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "keras_erf"

# A module imports only from floors below its own. A package stands here as one entry.
FLOORS = {
    "cli": 8,
    "analyzing": 8,
    "presenting": 8,
    "reproducing": 8,
    "fitting": 8,
    "studying": 8,
    "studies": 7,
    "plotting": 7,
    "reporting": 7,
    "loading": 7,
    "console": 7,
    "arguments": 7,
    "ending": 7,
    "options": 7,
    "saving": 7,
    "profiling": 6,
    "grouping": 6,
    "resuming": 6,
    "ensembles": 6,
    "predicting": 6,
    "callbacks": 6,
    "logbook": 5,
    "zoo": 6,
    "experiments": 6,
    "datasets": 3,
    "training": 6,
    "probing": 5,
    "measuring": 5,
    "preparing": 5,
    "accumulating": 5,
    "tiling": 5,
    "calibrating": 5,
    "effective": 4,
    "settings": 4,
    "sampling": 4,
    "streaming": 4,
    "diagnosing": 4,
    "arrays": 3,
    "estimating": 3,
    "storing": 3,
    "vetting": 3,
    "merging": 3,
    "cone": 3,
    "squaring": 3,
    "gradients": 3,
    "images": 3,
    "noise": 3,
    "checking": 3,
    "paths": 3,
    "projecting": 3,
    "linearity": 3,
    "theoretical": 2,
    "sizing": 2,
    "passing": 0,
    "tokens": 2,
    "tracing": 2,
    "units": 2,
    "precision": 2,
    "graph": 1,
    "rules": 1,
    "archives": 0,
    "hdf5": 0,
    "errors": 0,
    "geometry": 0,
    "reach": 0,
    "views": 0,
    "gathering": 0,
    "definitions": 0,
    "sources": 0,
    "theory": 0,
    "analysis": 0,
    "writing": 0,
    "progress": 0,
    "framing": 0,
    "_version": 0,
}
# The foundations of everything else, in their own order.
FOUNDATIONS = ("errors", "geometry", "reach", "views", "gathering", "passing")
# Arrows along one floor.
SIDEWAYS = {
    ("cli", "analyzing"),
    ("cli", "presenting"),
    ("cli", "reproducing"),
    ("cli", "fitting"),
    ("cli", "studying"),
    ("studies", "loading"),
    ("ending", "arguments"),
    ("experiments", "ensembles"),
    ("experiments", "zoo"),
    ("training", "callbacks"),
    ("training", "zoo"),
    ("datasets", "images"),
    ("gradients", "cone"),
    ("measuring", "accumulating"),
    ("measuring", "preparing"),
    ("predicting", "profiling"),
    ("probing", "measuring"),
    ("presenting", "analyzing"),
    ("profiling", "grouping"),
    ("profiling", "resuming"),
    ("reporting", "plotting"),
    ("rules", "graph"),
    ("sizing", "tracing"),
    ("sizing", "units"),
    ("theoretical", "sizing"),
    ("theoretical", "tokens"),
    ("theoretical", "tracing"),
    ("theoretical", "units"),
    ("theory", "analysis"),
    ("units", "tokens"),
    ("units", "tracing"),
}
# Arrows upwards, allowed inside a function only: a result's `.plot()` hands itself on.
UPWARDS_IN_FUNCTIONS = {
    ("effective", "plotting"),
    ("profiling", "plotting"),
    ("callbacks", "plotting"),
    ("experiments", "plotting"),
    ("training", "plotting"),
}
# Modules that work on arrays alone.
ARRAYS_ONLY = (
    "analysis", "arrays", "errors", "estimating", "framing", "gathering", "geometry", "noise",
    "passing", "reach", "sources", "theory", "views",
)  # fmt: skip
# The lazy names and the zoo's models stand outside of the order.
OUTSIDE = ("__init__", "models")

HEAVY = ("tensorflow", "keras", "seaborn", "matplotlib", "pandas")


def entry(path: Path) -> str:
    """Names a file's entry in the table: its module, or the package of ours that holds it."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def files() -> dict[str, Path]:
    """Returns the source files that stand in the order, by their name below `keras_erf/`."""
    found = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    return {name: path for name, path in sorted(found.items()) if entry(path) not in OUTSIDE}


def imports(tree: ast.Module, package: list[str]) -> list[tuple[str, bool]]:
    """Lists what a module imports, as (absolute dotted name, inside a function).

    `from a import b` counts as `a.b`: whether `b` is a module makes no difference below.
    """
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found.extend((".".join([*base, alias.name]), inside) for alias in node.names)
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree, False)
    return found


def verdict(source: str, target: str | None, inside_function: bool) -> str | None:
    """Says what is wrong with an import of ours, from one entry to another; None if it is right."""
    if target == "models":
        return None
    if target not in FLOORS:
        return "no module of the table; the package itself would reach every floor"
    if source == target and (PACKAGE / source).is_dir():
        return None
    if target in FOUNDATIONS:
        # errors imports nothing of ours, geometry nothing but errors.
        order = [*FOUNDATIONS, source]
        right = order.index(target) < order.index(source)
        return None if right else f"{target} does not stand below {source}"
    if FLOORS[target] < FLOORS[source] or (source, target) in SIDEWAYS:
        return None
    if inside_function and (source, target) in UPWARDS_IN_FUNCTIONS:
        return None
    return f"{target} (floor {FLOORS[target]}) is not below {source} (floor {FLOORS[source]})"


def complaints(path: Path, text: str) -> list[str]:
    """Lists the imports in `text` that break the order, were it the file `path`."""
    source = entry(path)
    package = ["keras_erf", *path.relative_to(PACKAGE).parent.parts]
    wrong = []
    for name, inside in imports(ast.parse(text), package):
        parts = name.split(".")
        if parts[0] == "keras_erf":
            says = verdict(source, parts[1] if len(parts) > 1 else None, inside)
        elif parts[0] in ("models", "tests"):
            says = "not importable once installed"
        elif source in ARRAYS_ONLY and parts[0] in ("keras", "tensorflow"):
            says = f"{source} takes arrays"
        else:
            says = None
        if says:
            wrong.append(f"imports {name}: {says}")
    return wrong


def test_every_module_has_a_floor():
    assert {entry(path) for path in files().values()} <= set(FLOORS)


@pytest.mark.parametrize("name", files())
def test_imports_point_downwards(name):
    path = files()[name]
    assert complaints(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("cli.py", "from keras_erf import plotting", True),
        ("cli.py", "from keras_erf.plotting import draw", True),
        ("cli.py", "from keras_erf import probe", False),
        ("cli.py", "import keras_erf", False),
        ("graph.py", "import keras_erf.theoretical", False),
        ("graph.py", "from .theoretical import receptive_field", False),
        ("graph.py", "from keras_erf import rules", False),
        ("rules/table.py", "from keras_erf.graph import Node", True),
        ("rules/table.py", "from . import sliding", True),
        ("rules/table.py", "from .. import theoretical", False),
        ("analysis/fit.py", "from keras_erf.analysis.moments import moments", True),
        ("analysis/fit.py", "from keras_erf.errors import InvalidInputError", True),
        ("analysis/fit.py", "from keras_erf.theory import coefficients", False),
        ("analysis/fit.py", "import tensorflow as tf", False),
        ("geometry.py", "from keras_erf.errors import InvalidInputError", True),
        ("errors.py", "from keras_erf.geometry import Box", False),
        ("sampling.py", "from keras_erf.effective import load", False),
        ("effective.py", "from keras_erf import plotting", False),
        ("effective.py", "class A:\n  def plot(self):\n    from keras_erf import plotting", True),
        ("sampling.py", "def plot():\n  from keras_erf import plotting", False),
        ("zoo.py", "from keras_erf.models import plain", True),
        ("zoo.py", "import models.plain", False),
    ],
)
def test_the_order_itself(name, text, right):
    assert (complaints(PACKAGE / name, text) == []) is right


def loaded_by(code: str) -> list[str]:
    """Runs `code` in a fresh interpreter and returns the heavy packages that it loaded."""
    script = f"{code}\nimport json\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_importing_the_package_is_cheap():
    assert loaded_by("import sys, keras_erf") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["analyze", "--help"],
        ["profile", "--help"],
        ["report", "--help"],
        ["reproduce", "--help"],
        ["train", "--help"],
    ],
)
def test_help_is_cheap(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['keras-erf', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_module('keras_erf.cli', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "else:\n"
        "    raise AssertionError('the command did not run')\n"
    )
    assert loaded_by(code) == []


def test_the_count_of_heavy_packages_sees_one():
    assert loaded_by("import sys, matplotlib") == ["matplotlib"]
