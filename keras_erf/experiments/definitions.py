"""Definitions: one architecture, measured by every published definition."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.definitions import DEFINITIONS
from keras_erf.experiments.panel import ABS, SQUARE, Panel, Runs, maps_of

__all__ = ["run"]

CHANNELS = 32


def run(networks: Runs, *, depth: int = 20) -> Panel:
    """Measures one architecture, a stack of convolutions with ReLUs, under every definition.

    Args:
        networks: Measures them.
        depth: Number of layers.
    """
    networks.start(len(DEFINITIONS))
    for name in DEFINITIONS:
        about = {"name": name, "depth": depth}
        networks.ensemble(about, "plain", name, channels=CHANNELS, depth=depth, activation="relu")
    frame = networks.frame()
    of = {row.name: row for row in frame.itertuples()}
    quotient = of[ABS].erf_size / of[SQUARE].erf_size
    predicted = theory.uniform_size(depth, measure="abs") / theory.uniform_size(depth)
    sizes = "; ".join(f"{row.name} {row.erf_size:.1f} px" for row in frame.itertuples())
    verdict = (
        "The poster: the impact of a pixel is the scale of its gradient; it does not state whether "
        "gradients, their absolute values or squares are averaged.\n"
        f"Measured, {depth} layers with ReLUs, {networks.runs} runs, the same for all: {sizes}. "
        f"|g| over g²: {quotient:.2f}.\n"
        f"Theory: {predicted:.2f} of |g| over g² at this depth, √2 in the limit.\n"
        "Why they differ: gradients of random networks have mean zero, so their signed average "
        "(luo2016-signed, openerf) measures noise, which decreases with the number of runs; "
        "relu(g) keeps half of |g|, with the same shape. Compare values of one definition only."
    )
    return Panel("definitions", "Definitions", frame, maps_of(networks.measured), verdict)
