"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

# Modules that take tens of seconds, or start processes: `make quick` leaves them out.
SLOW = {
    "calibrating", "callbacks", "cancelling", "checking", "cli", "cli_profile",
    "cli_reproduce", "cone", "cone_running", "coverage", "determinism", "diagnosing",
    "documents", "effective", "enclosing", "ensembles", "examples", "expected", "experiments",
    "linearity", "loading", "masked", "measured", "measuring", "notebooks", "packaging",
    "probing", "profiling", "random_cones", "random_dependence", "random_graphs",
    "random_sums", "report", "report_browser", "squaring", "studies", "tiling", "training",
    "warnings", "zoo", "zoo_families",
}  # fmt: skip


# Modules whose tests draw nothing from TensorFlow: tables of cases, and those of arrays alone.
UNSEEDED = (
    "analysis_", "geometry", "layer_rules", "noise", "operation_rules", "plotting", "reach",
    "rules", "theory", "views",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is slow, and skips what the installed release of Keras cannot run itself."""
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
        reason = reason_to_skip(item.name)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Gives each test, and the fixtures made for it, the same random weights in any order.

    TensorFlow's seed throws its kernels away, which is a third of the time of a small test.
    """
    if "keras" not in sys.modules:
        return
    if item.path.stem.removeprefix("test_").startswith(UNSEEDED):
        # That of Keras's initializers.
        random.seed(0)
        sys.modules["numpy"].random.seed(0)
    else:
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


def _shared(folder: str) -> Path:
    """Returns a folder of real models, images or tables kept next to the repository, or skips."""
    shared = Path(os.environ.get("KERAS_ERF_SHARED", ROOT.parent / "shared"))
    if not (shared / folder).is_dir():
        pytest.skip(f"no folder {folder!r} in {shared}; set KERAS_ERF_SHARED to where it is")
    return shared / folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of pretrained model files."""
    return _shared("models")


@pytest.fixture(scope="session")
def shared_wild() -> Path:
    """Folder of old model files of strangers."""
    return _shared("wild")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Folder of reference tables."""
    return _shared("reference")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Reports what the random graphs covered; workers cannot print."""
    counts: Counter[str] = Counter()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        if report.when == "call":
            counts.update(dict(report.user_properties).get("fuzz", {}))
    if counts:
        counted = ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))
        terminalreporter.write_line(f"random graphs: {counted}")
