"""The order of the modules, and what importing the package costs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "keras_erf", ROOT / "tests"

# Modules and packages, from the lowest up: each imports only from those before it.
ORDER = (
    "errors",
    "types",
    "_version",
    "wording",
    "progress",
    "quiet",
    "files",
    "definitions",
    "algebra",
    "analysis",
    "theory",
    "tensorflow_operations",
    "legacy",
    "graph",
    "dependence",
    "signals",
    "layers",
    "rules",
    "inputs",
    "results",
    "result_folders",
    "fields",
    "cone",
    "second_moments",
    "measuring",
    "predicting",
    "zoo",
    "model_names",
    "custom_code",
    "loading",
    "converting",
    "named_models",
    "by_name",
    "experiments",
    "training",
    "studies",
    "plotting",
    "reporting",
    "commands",
    "cli",
)
# Arrows upwards, allowed inside a function only: a result's `.plot()` hands itself on.
DRAWN = ("results", "measuring", "experiments", "training")
# What works on arrays alone.
ARRAYS_ONLY = (
    "algebra", "analysis", "errors", "theory", "results/metrics", "results/framing",
    "inputs/arrays", "inputs/noise", "inputs/sources",
)  # fmt: skip
# The lazy names and the zoo's models stand outside of the order.
OUTSIDE = ("__init__", "models")

HEAVY = ("tensorflow", "keras", "seaborn", "matplotlib", "pandas")


def entry(path: Path) -> str:
    """Names a file's entry in the table: its module, or the package of ours that holds it."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path: Path) -> str:
    """A file's name below `keras_erf/`, without its suffix."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


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
    if target == "models" or target == source:
        return None
    if target not in ORDER:
        return "not in the order; the package itself would reach all modules"
    if ORDER.index(target) < ORDER.index(source):
        return None
    if inside_function and source in DRAWN and target == "plotting":
        return None
    return f"{target} does not stand below {source}"


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
        elif parts[0] in ("keras", "tensorflow") and name_of(path).startswith(ARRAYS_ONLY):
            says = f"{name_of(path)} takes arrays"
        else:
            says = None
        if says:
            wrong.append(f"imports {name}: {says}")
    return wrong


def test_every_package_has_its_place_in_the_order():
    assert {entry(path) for path in files().values()} == set(ORDER)


def test_no_imports_are_circular():
    """Modules of one package have an order too; imports for types alone do not count."""
    known = {name_of(path).replace("/", "."): path for path in files().values()}
    below = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]
        package = ["keras_erf", *path.relative_to(PACKAGE).parent.parts]
        targets = [target for target, inside in imports(tree, package) if not inside]
        stems = {target.removeprefix("keras_erf.").rpartition(".")[0] for target in targets}
        below[name] = (stems | {t.removeprefix("keras_erf.") for t in targets}) & set(known)
    assert sum(map(len, below.values())) > 300
    tuple(TopologicalSorter(below).static_order())


def test_imports_point_downwards():
    found = {
        name: complaints(path, path.read_text(encoding="utf-8")) for name, path in files().items()
    }
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_tests_import_helpers_and_no_tests():
    """In strings too: some start processes of their own."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in TESTS.glob("*.py")}
    pattern = r"(from|import) tests(\.| import (\w+, )*)test_"
    assert [name for name, text in texts.items() if re.search(pattern, text)] == []


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("cli.py", "from keras_erf import plotting", True),
        ("cli.py", "from keras_erf.plotting import draw", True),
        ("cli.py", "from keras_erf import probe", False),
        ("cli.py", "import keras_erf", False),
        ("graph/graph.py", "import keras_erf.fields.theoretical", False),
        ("graph/graph.py", "from .building import build_graph", True),
        ("graph/graph.py", "from keras_erf import rules", False),
        ("layers/table.py", "from keras_erf.graph import Node", True),
        ("layers/table.py", "from . import windows", True),
        ("layers/table.py", "from .. import fields", False),
        ("analysis/fit.py", "from keras_erf.analysis.moments import moments", True),
        ("analysis/fit.py", "from keras_erf.errors import InvalidInputError", True),
        ("analysis/fit.py", "from keras_erf.theory import coefficients", False),
        ("analysis/fit.py", "import tensorflow as tf", False),
        ("inputs/noise.py", "import tensorflow as tf", False),
        ("inputs/images.py", "import tensorflow as tf", True),
        ("algebra/geometry.py", "from keras_erf.errors import InvalidInputError", True),
        ("errors.py", "from keras_erf.algebra.geometry import Box", False),
        ("inputs/sampling.py", "from keras_erf.results.effective import load", False),
        ("results/effective.py", "from keras_erf import plotting", False),
        (
            "results/effective.py",
            "class A:\n  def plot(self):\n    from keras_erf import plotting",
            True,
        ),
        ("inputs/sampling.py", "def plot():\n  from keras_erf import plotting", False),
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


def test_the_architecture_page_names_the_order():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.M)
    named = [name for row in rows for name in re.findall(r"\w+", row)]
    assert set(named) == set(ORDER) - {"_version"}
    # A row imports only from those below it.
    places = [[ORDER.index(name) for name in re.findall(r"\w+", row)] for row in rows]
    assert all(min(upper) > max(lower) for upper, lower in pairwise(places))
