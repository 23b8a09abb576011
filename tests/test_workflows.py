"""What CI runs exists, on the Pythons that are promised, and each target installs what it needs."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[test]'")

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def setup_options() -> dict[str, Any]:
    """Returns what setup.py hands to setuptools."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args.kwargs


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job["steps"]]


def test_all_files_of_the_forge_are_yaml():
    paths = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert {"tests", "docs", "release"} <= set(WORKFLOWS)
    assert len(paths) > len(WORKFLOWS)
    for path in paths:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict), path


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_name_targets_of_the_makefile_and_actions_of_a_major_version(name):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    named = {
        target
        for step in steps(name)
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
    }
    assert named
    assert named <= targets
    for step in steps(name):
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_may_only_read_but_for_what_publishes(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    granted = {
        job: content["permissions"]
        for job, content in WORKFLOWS[name]["jobs"].items()
        if "permissions" in content
    }
    assert granted == ({"publish": {"id-token": "write"}} if name == "release" else {})
    for content in WORKFLOWS[name]["jobs"].values():
        assert content["timeout-minutes"] <= 120


def test_files_that_tests_name_in_workflows_exist():
    named = re.findall(r"tests/\w+\.py", str(WORKFLOWS))
    assert named
    for path in named:
        assert (ROOT / path).is_file(), path


def test_pythons_are_the_same_everywhere():
    promised = [
        match[1]
        for line in project()["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert WORKFLOWS["tests"]["jobs"]["tests"]["strategy"]["matrix"]["python-version"] == promised
    assert setup_options()["python_requires"] == f">={promised[0]}"
    # Nox itself may be missing here.
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert re.search(r"^PYTHONS = \((.+)\)$", text, re.M)[1] == ", ".join(
        f'"{version}"' for version in promised
    )
    for step in [step for name in WORKFLOWS for step in steps(name)]:
        version = step.get("with", {}).get("python-version")
        assert version in (None, "${{ matrix.python-version }}", *promised)


def test_setup_and_pyproject_say_each_thing_once():
    static = set(project()) - {"dynamic", "name"}
    fields = {"requires-python": "python_requires", "dependencies": "install_requires",
              "optional-dependencies": "extras_require", "scripts": "entry_points",
              "version": "version"}  # fmt: skip
    assert set(project()["dynamic"]) == set(fields)
    assert set(fields.values()) <= set(setup_options())
    assert static.isdisjoint(setup_options())
    assert {"classifiers", "keywords", "urls"} <= static


# --- The environment of make ---------------------------------------------------------------------

# Stands for Python and for every tool of the environment; notes what it is asked to install.
FAKE = """#!/bin/sh
case "$2" in
venv)
    mkdir -p "$3/bin"
    for tool in python keras-erf ruff mypy codespell mkdocs nox; do cp "$0" "$3/bin/$tool"; done
    echo venv >>log ;;
pip)
    echo "$5" >>log
    if [ "$STOP" = kill ]; then kill -9 $PPID; fi
    if [ "$STOP" = fail ]; then exit 1; fi ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs a target with an environment of scripts that do nothing; returns what was installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "setup.py").touch()
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    log = tmp_path / "log"

    def run(*targets: str, stop: str = "") -> list[str]:
        log.write_text("")
        # Not the options of a make that runs these tests.
        environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
        environment |= {"STOP": stop}
        command = ["make", *targets, "PYTHON=./python", "SEED=1"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode == 0) == (not stop), done.stderr
        return log.read_text().split()

    return run


EXTRAS = {"test": "test,browser", "coverage": "test,browser", "fuzz": "test,browser",
          "check": "dev", "format": "dev", "test-all": "dev", "docs": "docs"}  # fmt: skip


@needs_make
@pytest.mark.parametrize("target", EXTRAS)
def test_a_target_installs_the_package_and_its_own_extras(target, make):
    assert make("demo") == ["venv", "."]
    assert make(target) == [f".[{EXTRAS[target]}]"]
    assert make(target, "demo") == []
    assert set(EXTRAS[target].split(",")) <= set(setup_options()["extras_require"])


@needs_make
def test_a_change_of_dependencies_builds_the_environment_again(make, tmp_path):
    make("demo", "check")
    later = (tmp_path / ".venv/.ready").stat().st_mtime + 10
    os.utime(tmp_path / "setup.py", (later, later))
    assert make("check")[:3] == ["venv", ".", ".[dev]"]


@needs_make
@pytest.mark.parametrize("target", ["demo", "check"])
def test_a_killed_install_never_counts_as_done(target, make, tmp_path):
    if target == "check":
        make("demo")
    make(target, stop="kill")
    left = tmp_path / ".venv/half-of-a-package"
    left.touch()
    whole = ["venv", "."] if target == "demo" else ["venv", ".", ".[dev]"]
    assert make(target) == whole
    assert not left.exists()
    assert make(target) == []


@needs_make
def test_an_extra_that_pip_cannot_get_leaves_the_rest_usable(make):
    make("demo")
    assert make("check", stop="fail") == [".[dev]"]
    assert make("demo") == []
    assert make("check") == [".[dev]"]


# --- The documentation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<script async src="https://a.b/c.js"></script>', ["https://a.b/c.js"]),
        ("<img alt=x src=//a.b/c.png>", ["//a.b/c.png"]),
        ('<link rel="stylesheet" href="http://a.b/c.css">', ["http://a.b/c.css"]),
        ("@import 'https://a.b/c.css';", ["https://a.b/c.css"]),
        ("src: url(https://a.b/c.woff2)", ["https://a.b/c.woff2"]),
        ('<a href="https://a.b/">text</a>', []),
        ('<script src="../assets/c.js"></script><link rel="icon" href="a.png">', []),
        ("url(data:image/svg+xml;charset=utf-8,<svg xmlns='http://www.w3.org/2000/svg'/>)", []),
    ],
)
def test_what_a_page_loads_from_other_hosts_is_seen(text, expected):
    assert runpy.run_path(str(ROOT / "scripts/docs_offline.py"))["loaded"](text) == expected


def test_the_documentation_brings_its_scripts_and_fonts():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert "offline" in config["plugins"]
    for script in config["extra"]["polyfills"]:
        assert (ROOT / "docs" / script).is_file()
    assert all((ROOT / hook).is_file() for hook in config["hooks"])
