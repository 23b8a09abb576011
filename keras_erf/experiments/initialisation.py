"""Initialisation: kernels with a weaker centre (Luo et al. 2016, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_erf import theory
from keras_erf.experiments.panel import (
    SQUARE,
    Measured,
    Panel,
    Runs,
    differences,
    frame_of,
    maps_of,
    value_text,
)
from keras_erf.progress import Progress

__all__ = ["run"]

CHANNELS = 64
# Softness 1 is a plain Gaussian kernel; corners without softness the optimum.
KINDS: dict[str, dict[str, Any]] = {
    "Gaussian": {"softness": 1.0},
    "weaker centre": {"softness": 0.1},
    "softened corners": {"softness": 0.1, "corners": True},
    "corners": {"softness": 0.0, "corners": True},
}


def run(runs: int, seed: int, report: Progress, *, depth: int = 15) -> Panel:
    """Measures random linear stacks whose kernels start in four ways, of one energy.

    Args:
        runs: Networks, each with fresh weights and inputs.
        seed: Seed of the first network.
        report: Called with the numbers of measurements done and wanted.
        depth: Number of layers.
    """
    networks, measured = Runs(len(KINDS), runs, seed, report), list[Measured]()
    for kind, options in KINDS.items():
        result = networks.ensemble(
            "weak_centre", SQUARE, depth=depth, filters=CHANNELS, channels=CHANNELS, **options
        )
        predicted = {"sigma": float(np.sqrt(depth * _variance(**options)))}
        measured.append(Measured({"kernels": kind, "depth": depth}, result, predicted))
    frame = frame_of(measured)
    frame["gain"] = frame["sigma"] / frame["sigma"].iloc[0]
    frame["predicted_gain"] = frame["predicted_sigma"] / frame["predicted_sigma"].iloc[0]
    lines = "; ".join(
        f"{one['kernels']} sigma {value_text(one, 'sigma', 2)} px, gain {one['gain']:.3f} "
        f"({one['predicted_gain']:.3f})"
        for _, one in frame.iterrows()
    )
    verdict = (
        "The paper: kernels with less weight in their centre make the effective field larger; best "
        "is all weight at the corners, and a softer version is used. It gives no formula.\n"
        f"Measured, g², {depth} layers; in brackets theory: {lines}.\n"
        "Theory: the variance of a 3x3 kernel along an axis is 2/3 when uniform, 6/(8+a) with a "
        f"centre of a times the weight, and 1 at the corners: a gain of "
        f"{theory.corner_gain(3):.4f} "
        "at most.\n"
        f"Why they differ: {differences(frame, 'sigma')} Corners alone leave a comb, in which "
        "three of four pixels see nothing: sigma grows while the size, a count of pixels, falls."
    )
    return Panel("initialisation", "Initialisation", frame, maps_of(measured), verdict)


def _variance(softness: float, corners: bool = False) -> float:
    """Variance along an axis of the 3x3 kernels: by position from the rim, or from the corners."""
    if not corners:
        return theory.soft_centre_variance(softness)
    # Corners weigh 1, edges the root of the centre's a: the outer rows hold 4 + 2 sqrt(a) of all.
    edge = softness**0.5
    return (4 + 2 * edge) / (4 + 4 * edge + softness)
