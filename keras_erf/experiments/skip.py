"""Skip connections: a smaller effective field in the same theoretical one."""

from __future__ import annotations

import numpy as np
from scipy.signal import convolve2d

from keras_erf import analysis, theory
from keras_erf.experiments.panel import SQUARE, Panel, Runs, differences, maps_of, value_text
from keras_erf.wording import with_error

__all__ = ["run"]

CHANNELS = 64


def run(networks: Runs, *, blocks: int = 10, layers: int = 2, energy: float = 1.0) -> Panel:
    """Measures the same convolutions with and without shortcuts.

    Args:
        networks: Measures them.
        blocks: Number of blocks.
        layers: Convolutions of a branch.
        energy: Energy of a branch, relative to the shortcut's.
    """
    networks.start(2)
    stem = theory.impact_map([theory.Step()]) / 9
    expected = {
        # After the stem, a mixture of paths, or one path through all branches.
        "skip": convolve2d(stem, theory.skip_map(blocks, energy, layers=layers)),
        "no_skip": theory.uniform_map(blocks * layers + 1),
    }
    variances = {
        "skip": 2 / 3 + theory.skip_variance(blocks, energy, layers=layers),
        "no_skip": (blocks * layers + 1) * 2 / 3,
    }
    for name, kind in (("no_skip", "without skips"), ("skip", "with skips")):
        predicted = {
            "size": analysis.erf_size(expected[name]),
            "sigma": float(np.sqrt(variances[name])),
        }
        networks.ensemble(
            {"network": kind, "layers": blocks * layers + 1},
            name,
            SQUARE,
            channels=CHANNELS,
            predicted=predicted,
            blocks=blocks,
            layers=layers,
            energy=energy,
        )
    frame = networks.frame()
    plain, short = frame.iloc[0], frame.iloc[1]
    quotient, error = _quotient(short, plain, "sigma")
    predicted_quotient = short["predicted_sigma"] / plain["predicted_sigma"]
    sizes, size_error = _quotient(short, plain, "erf_size")
    predicted_sizes = short["predicted_size"] / plain["predicted_size"]
    verdict = (
        "The poster: skip connections are one of the influences that it analyses; the paper: they "
        "make the effective field smaller.\n"
        f"Measured, g², {blocks} blocks of {layers} convolutions, both with a theoretical field of "
        f"{plain['trf_size']:.0f} px: size {value_text(short, 'erf_size')} px with skips, "
        f"{value_text(plain, 'erf_size')} px without: a ratio of "
        f"{with_error(sizes, size_error, 3)}; of sigmas {with_error(quotient, error, 3)}.\n"
        f"Theory: ratios of {predicted_sizes:.3f} and {predicted_quotient:.3f}. A path takes the "
        f"branch of a block with probability v/(1+v) = {energy / (1 + energy):.2f}, so that a "
        "typical one passes through about that share of the layers.\n"
        f"Why they differ: {differences(frame, 'sigma')}"
    )
    return Panel("skip", "Skip connections", frame, maps_of(networks.measured), verdict)


def _quotient(one, other, what: str) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The quotient of two values, and its standard error."""
    value = one[what] / other[what]
    error = np.hypot(one[f"{what}_error"] / one[what], other[f"{what}_error"] / other[what])
    return float(value), float(value * error)
