"""Draws the pictures that README.md shows, from the shipped weights: docs/images/*.png.

python scripts/draw_readme_figures.py [FOLDER]

Offline, in a minute or two on two cores. The same seeds give the same pictures but for rounding.
The page of the report is drawn by Chromium, and left as it is where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib

import keras_erf

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
# Pixels of the report's picture.
PAGE = (1280, 1200)


def demo(path: Path) -> None:
    """What `make demo` draws: a layer of the trained ResNet-14."""
    model = keras_erf.zoo.load("cifar_resnet14")
    _save(keras_erf.probe(model, "stage3_block2_out", input_shape=64, samples=64), path)


def profile(path: Path) -> None:
    """All layers of the same network."""
    _save(_profile("trained"), path)


def growth(path: Path) -> None:
    """The poster's law of growth, over 20 networks of each depth."""
    _save(keras_erf.experiments.run("growth", runs=20), path)


def report(path: Path) -> None:
    """The page of the same network before and after training."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no chromium: the report's picture is left as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        title = "ResNet-14 before and after training"
        before, after = _profile("initial"), _profile("trained")
        keras_erf.report(before, page, compare=after, title=title)
        size = ",".join(map(str, PAGE))
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        call = [chromium, *options, f"--window-size={size}", f"--screenshot={path}", page.as_uri()]
        subprocess.run(call, check=True, stderr=subprocess.DEVNULL)


def _profile(weights: str) -> Any:
    model = keras_erf.zoo.load("cifar_resnet14", weights)
    return keras_erf.profile(model, input_shape=64, samples=64)


def _save(measured: Any, path: Path) -> None:
    drawn = measured.plot()
    # A panel draws a figure, the others axes in one.
    getattr(drawn, "figure", drawn).savefig(path, dpi=150)


PICTURES: dict[str, Callable[[Path], None]] = {
    "demo": demo,
    "profile": profile,
    "growth": growth,
    "report": report,
}


def main(folder: Path) -> None:
    """Draws all of them into a folder."""
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw(folder / f"{name}.png")
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
