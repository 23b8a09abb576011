"""The tests on each supported Python, with the oldest dependencies, and with a newer Keras.

`nox` alone lists the sessions; `make test-all`, `test-oldest` and `test-nightly` run them. Pythons
that are not installed are skipped.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
nox.options.sessions = []
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, with the newest dependencies."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """All tests, with the lowest versions that setup.py allows."""
    session.install("--editable", ".[test]", *lowest())
    # Old releases among themselves complain of what newer ones deprecate.
    calm = ("-W", "ignore::DeprecationWarning")
    session.run("python", "-m", "pytest", "-n", "2", *calm, *session.posargs)


@nox.session(python=PYTHONS[-2])
def nightly(session: nox.Session) -> None:
    """All tests with tomorrow's Keras, and those of other backends with JAX."""
    session.install("--editable", ".[test]", "jax")
    session.run("python", "-m", "pip", "uninstall", "--yes", "keras", "keras-nightly")
    session.install("--no-deps", "--pre", "keras-nightly")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


def lowest() -> list[str]:
    """Each run-time dependency at its lower bound, with the last patch release of it."""
    text = Path("setup.py").read_text(encoding="utf-8")
    listed = text.partition("install_requires=[")[2].partition("]")[0]
    bounds = re.findall(r'"([a-z0-9]+)>=([0-9]+)\.([0-9]+)[^"]*"', listed)
    return [f"{name}=={major}.{minor}.*" for name, major, minor in bounds]
