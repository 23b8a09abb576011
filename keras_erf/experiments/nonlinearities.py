"""Nonlinearities: ReLU, tanh and sigmoid (the poster's second panel, left)."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.experiments.panel import (
    ABS,
    Measured,
    Panel,
    Runs,
    apart,
    frame_of,
    maps_of,
    value_text,
)
from keras_erf.progress import Progress

__all__ = ["run"]

KINDS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
CHANNELS = 32


def run(runs: int, seed: int, report: Progress, *, depth: int = 20) -> Panel:
    """Measures stacks of 3x3 convolutions with three activations.

    Args:
        runs: Networks, each with fresh weights and inputs.
        seed: Seed of the first network.
        report: Called with the numbers of measurements done and wanted.
        depth: Number of layers.
    """
    networks, measured = Runs(len(KINDS), runs, seed, report), list[Measured]()
    predicted = {"size": theory.uniform_size(depth, measure="abs")}
    for kind, activation in KINDS.items():
        result = networks.ensemble(
            "plain",
            ABS,
            depth=depth,
            activation=activation,
            filters=CHANNELS,
            channels=CHANNELS,
        )
        measured.append(Measured({"activation": kind, "depth": depth}, result, predicted))
    frame = frame_of(measured)
    sizes = "; ".join(
        f"{one['activation']} {value_text(one, 'erf_size')} px, R² {one['r_squared']:.3f}"
        for _, one in frame.iterrows()
    )
    widest, slimmest = frame.loc[frame["sigma"].idxmax()], frame.loc[frame["sigma"].idxmin()]
    sure = apart(widest["sigma"], widest["sigma_error"], slimmest["sigma"], slimmest["sigma_error"])
    verdict = (
        "The poster: ReLU, tanh and sigmoid networks all have fields like Gaussians; it gives no "
        "sizes.\n"
        f"Measured, {depth} layers, |g|: {sizes}. The largest and smallest sigma are {sure:.1f} "
        "standard errors apart.\n"
        f"Theory: {predicted['size']:.1f} px for each: an activation multiplies squared gradients "
        "by its squared slope, equally everywhere in wide networks.\n"
        "Why they differ: gates of one channel are similar in neighbouring pixels of networks this "
        "narrow, and the peak of a mean over few runs is too high."
    )
    return Panel("nonlinearities", "Nonlinearities", frame, maps_of(measured), verdict)
