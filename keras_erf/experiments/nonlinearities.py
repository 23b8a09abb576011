"""Nonlinearities: ReLU, tanh and sigmoid (the poster's second panel, left)."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.experiments.panel import ABS, Panel, Runs, apart, maps_of, value_text

__all__ = ["run"]

KINDS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
CHANNELS = 32


def run(networks: Runs, *, depth: int = 20) -> Panel:
    """Measures stacks of 3x3 convolutions with three activations.

    Args:
        networks: Measures them.
        depth: Number of layers.
    """
    networks.start(len(KINDS))
    predicted = {"size": theory.uniform_size(depth, measure="abs")}
    for kind, activation in KINDS.items():
        networks.ensemble(
            {"activation": kind, "depth": depth},
            "plain",
            ABS,
            channels=CHANNELS,
            predicted=predicted,
            depth=depth,
            activation=activation,
        )
    frame = networks.frame()
    sizes = "; ".join(
        f"{row['activation']} {value_text(row, 'erf_size')} px, R² {row['r_squared']:.3f}"
        for _, row in frame.iterrows()
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
    return Panel("nonlinearities", "Nonlinearities", frame, maps_of(networks.measured), verdict)
