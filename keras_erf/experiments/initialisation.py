"""Initialisation: kernels with a weaker centre (Luo et al. 2016, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_erf import theory
from keras_erf.experiments.panel import SQUARE, Panel, Runs, differences, maps_of, value_text

__all__ = ["run"]

CHANNELS = 64
# Softness 1 is a plain Gaussian kernel; corners without softness the optimum.
KINDS: dict[str, dict[str, Any]] = {
    "Gaussian": {"softness": 1.0},
    "weaker centre": {"softness": 0.1},
    "softened corners": {"softness": 0.1, "corners": True},
    "corners": {"softness": 0.0, "corners": True},
}


def run(networks: Runs, *, depth: int = 15) -> Panel:
    """Measures random linear stacks whose kernels start in four ways, of one energy.

    Args:
        networks: Measures them.
        depth: Number of layers.
    """
    networks.start(len(KINDS))
    for kind, options in KINDS.items():
        predicted = {"sigma": float(np.sqrt(depth * _variance(**options)))}
        networks.ensemble(
            {"kernels": kind, "depth": depth},
            "weak_centre",
            SQUARE,
            channels=CHANNELS,
            predicted=predicted,
            depth=depth,
            **options,
        )
    frame = networks.frame()
    frame["gain"] = frame["sigma"] / frame["sigma"].iloc[0]
    frame["predicted_gain"] = frame["predicted_sigma"] / frame["predicted_sigma"].iloc[0]
    lines = "; ".join(
        f"{row['kernels']} sigma {value_text(row, 'sigma', 2)} px, gain {row['gain']:.3f} "
        f"({row['predicted_gain']:.3f})"
        for _, row in frame.iterrows()
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
    return Panel("initialisation", "Initialisation", frame, maps_of(networks.measured), verdict)


def _variance(softness: float, corners: bool = False) -> float:
    """Variance along an axis of the 3x3 kernels: by position from the rim, or from the corners."""
    if not corners:
        return theory.soft_centre_variance(softness)
    # Corners weigh 1, edges the root of the centre's a: the outer rows hold 4 + 2 sqrt(a) of all.
    edge = softness**0.5
    return (4 + 2 * edge) / (4 + 4 * edge + softness)
