"""Change of the field with depth: growth of its size, shrinkage of its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_erf import analysis, theory
from keras_erf.experiments.panel import ABS, SQUARE, Panel, Runs, checked_depths, maps_of

__all__ = ["DEPTHS", "POSTER", "run"]

DEPTHS = tuple(range(5, 41, 5))
CHANNELS = 32
# "The line for ERF growth has slope of 0.56 in log domain, the line for ERF ratio -0.43."
POSTER = {"growth": 0.56, "shrinkage": -0.43}
# Slopes this close are the same, as the poster rounds them.
NEAR = 0.015
MEASURES = {ABS: ("abs", "|g|"), SQUARE: ("square", "g²")}


def run(networks: Runs, *, depths: Sequence[int] = DEPTHS) -> Panel:
    """Measures random linear stacks of 3x3 convolutions of many depths, by |g| and by g^2.

    Args:
        networks: Measures them.
        depths: Numbers of layers, at least two.
    """
    import pandas as pd

    depths = checked_depths(depths, least=2)
    networks.start(2 * len(depths))
    for definition, (measure, label) in MEASURES.items():
        for place, depth in enumerate(depths):
            predicted = {
                "size": theory.uniform_size(depth, measure=measure),  # type: ignore[arg-type]
                "ratio": theory.size_ratio(depth, measure=measure),  # type: ignore[arg-type]
            }
            # With one seed networks of all depths would share their first kernels.
            networks.ensemble(
                {"measure": label, "depth": depth},
                "plain",
                definition,
                channels=CHANNELS,
                predicted=predicted,
                apart=place,
                depth=depth,
            )
    rows = []
    for definition, (measure, label) in MEASURES.items():
        results = [
            condition.result
            for condition in networks.measured
            if condition.result.definition.name == definition
        ]
        oracle = theory.growth_exponents(depths, measure=measure)  # type: ignore[arg-type]
        blocks = [(result.block_sums, result.block_counts) for result in results]
        for quantity, predicted_slope in zip(POSTER, oracle, strict=True):
            fields = [result.trf_size for result in results]
            law = analysis.bootstrap_power_law(
                depths, blocks, scale=fields if quantity == "shrinkage" else 1.0, seed=networks.seed
            )
            rows.append(
                {
                    "measure": label,
                    "quantity": quantity,
                    "exponent": law.exponent,
                    "error": law.error,
                    "low": law.low,
                    "high": law.high,
                    "prefactor": law.prefactor,
                    "r_squared": law.r_squared,
                    "predicted": predicted_slope,
                    "law": np.sign(POSTER[quantity]) / 2,
                    "poster": POSTER[quantity],
                }
            )
    fits, frame = pd.DataFrame(rows), networks.frame()
    deepest = max(depths)
    shown = [condition for condition in networks.measured if condition.about["depth"] == deepest]
    return Panel(
        "growth", "Growth and shrinkage", frame, maps_of(shown), _verdict(fits, depths), fits
    )


def _verdict(fits, depths: Sequence[int]) -> str:  # type: ignore[no-untyped-def]
    lines = "; ".join(
        f"{law.quantity} of {law.measure} {law.exponent:.3f} (95 % interval {law.low:.3f} to "
        f"{law.high:.3f}), theory {law.predicted:.3f}"
        for law in fits.itertuples()
    )
    of = {(law.measure, law.quantity): law for law in fits.itertuples()}
    root, share = of["|g|", "growth"], of["|g|", "shrinkage"]
    square = of["g²", "growth"]
    fields = root.predicted - share.predicted
    published = POSTER["growth"] - POSTER["shrinkage"]
    return (
        f"The poster: log-log slopes of {POSTER['growth']} for the size and {POSTER['shrinkage']} "
        "for its share of the theoretical field, which it reads as the laws √n and 1/√n.\n"
        f"Measured, {min(depths)} to {max(depths)} layers: {lines}.\n"
        "Theory counts the pixels of the exact maps at the same depths.\n"
        f"Why they differ: {_attributed(share.predicted, of['g²', 'shrinkage'].predicted)} |g| is "
        "√2 wider than g², and in few layers the theoretical field cuts it off: sizes start too "
        f"small, and grow with {root.predicted:.3f} instead of 1/2. That excess is not noise, and "
        f"vanishes with depth; g² has {square.predicted:.3f}. Both slopes of one map differ by "
        f"that of the theoretical size, 2n + 1: {fields:.3f} here. The published ones differ by "
        f"{published:.2f}, so one of them is off: {POSTER['shrinkage']} goes with "
        f"{fields + POSTER['shrinkage']:.2f}, and {POSTER['growth']} is "
        f"{POSTER['growth'] - root.exponent:+.3f} from what is measured here."
    )


def _attributed(root: float, square: float) -> str:
    """Which map the published slope of the share is that of, if it is one's at these depths."""
    wanted = POSTER["shrinkage"]
    if abs(root - wanted) <= NEAR < abs(square - wanted):
        return f"the published {wanted} is that of |g| ({root:.3f}), not of g² ({square:.3f})."
    return (
        f"at these depths neither map explains the published {wanted} by itself (|g| {root:.3f}, "
        f"g² {square:.3f}); at 5 to 40 layers it is that of |g|."
    )
