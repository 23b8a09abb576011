"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

# Before anything imports TensorFlow or matplotlib; subprocesses of the tests inherit them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores already: one thread each.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # the tests that need it skip themselves
    pass
else:
    # The same examples everywhere; `--hypothesis-profile explore` looks for new ones.
    settings.register_profile("ci", derandomize=True, deadline=None)
    settings.register_profile("explore", deadline=None, max_examples=1000)
    # As many random graphs as asked for; `tests/test_random_graphs.py` takes the seed.
    settings.register_profile(
        "fuzz",
        database=None,
        deadline=None,
        max_examples=int(os.environ.get("FUZZ_GRAPHS", "2000")),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("ci")

# Helpers' assertions say what they compared, as those of tests do.
pytest.register_assert_rewrite("tests.networks", "tests.ruling")
from tests.releases import reason_to_skip

ROOT = Path(__file__).resolve().parents[1]
# Real models, images and tables next to the repository, which few have.
SHARED = Path(os.environ.get("KERAS_ERF_SHARED", ROOT.parent / "shared"))

# Modules that take tens of seconds, or start processes: `make quick` leaves them out.
SLOW = {
    "calibrating", "callbacks", "cancelling", "checking", "cli", "cli_profile",
    "cli_reproduce", "cone", "cone_running", "coverage", "determinism", "diagnosing",
    "documents", "effective", "enclosing", "ensembles", "examples", "expected", "experiments",
    "legacy_in_memory", "legacy_networks", "legacy_quiet", "legacy_translating", "linearity",
    "loading", "masked", "measured", "measuring", "notebooks", "old_files", "packaging",
    "probing", "profiling", "random_cones", "random_dependence", "random_graphs",
    "random_sums", "report", "report_browser", "squaring", "studies", "tiling", "training",
    "warnings", "zoo", "zoo_families",
}  # fmt: skip


# Modules that draw from TensorFlow itself: batches are shuffled while a model is trained.
SHUFFLED = {
    "callbacks", "checking", "cli", "determinism", "documents", "examples", "experiments",
    "notebooks", "training",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declares the mark that `pytest_collection_modifyitems` sets."""
    line = "shared: needs real models, images or tables that are not in the repository"
    config.addinivalue_line("markers", line)


def pytest_report_header() -> str:
    """Says where real models and images are looked for."""
    here = "with" if SHARED.is_dir() else "not there: without"
    return f"shared files: {SHARED}, {here} the tests that need them"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what is slow or needs shared files, and leaves out what cannot run here."""
    absent = []
    for item in items:
        folders = [name for name in item.fixturenames if name.startswith("shared_")]
        if folders:
            item.add_marker(pytest.mark.shared)
        if not all((SHARED / name.removeprefix("shared_")).is_dir() for name in folders):
            absent.append(item)
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
        reason = reason_to_skip(item.name)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Gives each test, and the fixtures made for it, the same random weights in any order.

    TensorFlow's seed throws its kernels away, which is a third of the time of a small test: only
    where it decides something.
    """
    if "keras" not in sys.modules:
        return
    if item.path.stem.removeprefix("test_") in SHUFFLED:
        sys.modules["keras"].utils.set_random_seed(0)
    else:
        with mock.patch("tensorflow.random.set_seed"):
            sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Leaves no figure of a test open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four small images."""
    import keras
    import numpy as np

    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        keras.utils.save_img(folder / f"{number}.png", rng.integers(0, 255, (32, 32, 3)))
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of pretrained model files."""
    return SHARED / "models"


@pytest.fixture(scope="session")
def shared_wild() -> Path:
    """Folder of old model files of strangers."""
    return SHARED / "wild"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Folder of reference tables."""
    return SHARED / "reference"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Reports what the random graphs covered; workers cannot print."""
    counts: Counter[str] = Counter()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        if report.when == "call":
            counts.update(dict(report.user_properties).get("fuzz", {}))
    if counts:
        counted = ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))
        terminalreporter.write_line(f"random graphs: {counted}")
