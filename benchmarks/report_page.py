"""How large the report of a network is, how long it takes to make, and to open in a browser.

    python benchmarks/report_page.py [--layers all] [--samples N]

ResNet50 with random weights at 224 px, the outputs of its 16 blocks or all of its layers. Opening
is timed in Debian's chromium, driven by playwright, from the request to the first map on the
screen; the median of five. A page above a limit makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from playwright.sync_api import Page, sync_playwright
from recording import parse, record

import keras_erf

# Bytes, and seconds.
LARGEST, SLOWEST = 10e6, 1.0
RUNS = 5


def opened(page: Page, url: str) -> tuple[float, float]:
    """Seconds until the last layer's map is drawn, and from one layer to the next."""
    start = time.perf_counter()
    page.goto(url)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shown = time.perf_counter() - start
    assert page.locator("#maps canvas").count() == 1
    step = page.evaluate(
        "(() => { const start = performance.now(); previous.click();"
        " return (performance.now() - start) / 1000 })()"
    )
    return shown, step


def main() -> int:
    """Measures, prints a row of the table in README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", choices=("blocks", "all"), default="blocks")
    parser.add_argument("--samples", type=int, default=16)
    options = parse(parser)
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None)
    blocks = [layer.name for layer in model.layers if layer.name.endswith("_out")]
    layers = None if options.layers == "all" else blocks
    profile = keras_erf.profile(model, layers, samples=options.samples, progress=True)
    for result in profile.results:
        result.summary()  # Metrics and their errors belong to the measurement, not to the page.
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        start = time.perf_counter()
        path = keras_erf.report(profile, Path(folder) / "report.html")
        making, size = time.perf_counter() - start, path.stat().st_size
        browser = browsers.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        times = [opened(page, path.as_uri()) for _ in range(RUNS)]
        browser.close()
    shown, step = (statistics.median(seconds) for seconds in zip(*times, strict=True))
    print(
        f"| {options.layers} ({len(profile.results)}) | {size / 1e6:.2f} MB | {making:.1f} s "
        f"| {shown:.2f} s | {1000 * step:.0f} ms |"
    )
    return record(
        options,
        size <= LARGEST and shown <= SLOWEST,
        layers=len(profile.results),
        bytes=size,
        made_seconds=making,
        shown_seconds=shown,
        step_seconds=step,
    )


if __name__ == "__main__":
    sys.exit(main())
