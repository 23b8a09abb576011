"""Definitions: one architecture, measured by every published definition."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.definitions import DEFINITIONS
from keras_erf.experiments.panel import ABS, SQUARE, Measured, Panel, Runs, frame_of, maps_of
from keras_erf.progress import Progress

__all__ = ["run"]

CHANNELS = 32


def run(runs: int, seed: int, report: Progress, *, depth: int = 20) -> Panel:
    """Measures one architecture, a stack of convolutions with ReLUs, under every definition.

    Args:
        runs: Networks, each with fresh weights and inputs, the same for each definition.
        seed: Seed of the first network.
        report: Called with the numbers of measurements done and wanted.
        depth: Number of layers.
    """
    networks, measured = Runs(len(DEFINITIONS), runs, seed, report), list[Measured]()
    for name in DEFINITIONS:
        result = networks.ensemble(
            "plain", name, depth=depth, activation="relu", filters=CHANNELS, channels=CHANNELS
        )
        measured.append(Measured({"name": name, "depth": depth}, result))
    frame = frame_of(measured)
    of = {one.name: one for one in frame.itertuples()}
    quotient = of[ABS].erf_size / of[SQUARE].erf_size
    predicted = theory.uniform_size(depth, measure="abs") / theory.uniform_size(depth)
    sizes = "; ".join(f"{one.name} {one.erf_size:.1f} px" for one in frame.itertuples())
    verdict = (
        "The poster: the impact of a pixel is the scale of its gradient; it does not state whether "
        "gradients, their absolute values or squares are averaged.\n"
        f"Measured, {depth} layers with ReLUs, {runs} runs, the same for all: {sizes}. |g| over "
        f"g²: {quotient:.2f}.\n"
        f"Theory: {predicted:.2f} of |g| over g² at this depth, √2 in the limit.\n"
        "Why they differ: gradients of random networks have mean zero, so their signed average "
        "(luo2016-signed, openerf) measures noise, which decreases with the number of runs; "
        "relu(g) keeps half of |g|, with the same shape. Compare values of one definition only."
    )
    return Panel("definitions", "Definitions", frame, maps_of(measured), verdict)
