"""Draws the pictures that README.md shows, from the shipped weights: docs/images/*.png.

python scripts/draw_readme_figures.py [FOLDER]

Offline, in a minute or so on two cores. The same seeds give the same pictures but for rounding.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib

import keras_erf

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def demo() -> Any:
    """What `make demo` draws: a layer of the trained ResNet-14."""
    model = keras_erf.zoo.load("cifar_resnet14")
    return keras_erf.probe(model, "stage3_block2_out", input_shape=64, samples=64)


def profile() -> Any:
    """All layers of the same network."""
    return keras_erf.profile(keras_erf.zoo.load("cifar_resnet14"), input_shape=64, samples=64)


def growth() -> Any:
    """The poster's law of growth, over 20 networks of each depth."""
    return keras_erf.experiments.run("growth", runs=20)


PICTURES: dict[str, Callable[[], Any]] = {"demo": demo, "profile": profile, "growth": growth}


def main(folder: Path) -> None:
    """Draws all of them into a folder."""
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, measured in PICTURES.items():
        drawn = measured().plot()
        path = folder / f"{name}.png"
        # A panel draws a figure, the others axes in one.
        getattr(drawn, "figure", drawn).savefig(path, dpi=150)
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
