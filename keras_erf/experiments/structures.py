"""Structures: dense, sub-sampled and dilated stacks (the poster's second panel, right)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keras_erf import theory
from keras_erf.errors import InvalidInputError
from keras_erf.experiments.panel import SQUARE, Panel, Runs, differences, maps_of, value_text

__all__ = ["run"]

CHANNELS = 64
RATES = (2, 4, 8)


def run(networks: Runs, *, depth: int = 15, positions: Sequence[int] = (5, 10, 15)) -> Panel:
    """Measures 15 dense convolutions, the same with three strides, and with three dilations.

    Args:
        networks: Measures them.
        depth: Number of layers.
        positions: Positions of the layers with stride 2, or with dilation 2, 4 and 8.
    """
    places = tuple(positions) if isinstance(positions, Iterable) else ()
    numbers = all(isinstance(place, int) and 1 <= place <= depth for place in places)
    if len(set(places)) != len(RATES) or not numbers:
        raise InvalidInputError(
            argument="positions",
            expected=f"must be {len(RATES)} different layers from 1 to {depth}",
            received=f"positions={positions!r}",
        )
    kinds: dict[str, tuple[str, dict[str, Any], Sequence[theory.Step]]] = {
        "ConvOnly": ("conv_only", {}, theory.structure(depth)),
        "Subsample": ("subsample", {"positions": places}, theory.structure(depth, strided=places)),
        "Dilation": (
            "dilation",
            {"positions": places},
            theory.structure(depth, dilated=zip(places, RATES, strict=True)),
        ),
    }
    networks.start(len(kinds))
    for kind, (name, options, chain) in kinds.items():
        predicted = {
            "trf_size": float(theory.field_size(chain)),
            "sigma": theory.sigma(chain),
            "kurtosis": theory.excess_kurtosis(chain),
        }
        networks.ensemble(
            {"structure": kind, "depth": depth},
            name,
            SQUARE,
            channels=CHANNELS,
            predicted=predicted,
            depth=depth,
            **options,
        )
    frame = networks.frame()
    lines = "; ".join(
        f"{row['structure']} TRF {row['trf_size']:.0f} px, size {value_text(row, 'erf_size')}, "
        f"sigma {value_text(row, 'sigma', 2)} ({row['predicted_sigma']:.2f}), "
        f"excess kurtosis {value_text(row, 'kurtosis', 2)} ({row['predicted_kurtosis']:.2f})"
        for _, row in frame.iterrows()
    )
    verdict = (
        "The poster: sub-sampling and dilation make the effective field larger; it shows a "
        "box-like one for dilation, and gives neither sizes nor the layers' positions.\n"
        f"Measured, g², layers {'/'.join(map(str, places))} of {depth}; in brackets theory: "
        f"{lines}.\n"
        "Theory: cumulants of the layers add, each times the distance of its taps; the map of g² "
        "is that of uniform kernels. Excess kurtosis is 0 for a Gaussian and -1.2 for a box.\n"
        f"Why they differ: {differences(frame, 'sigma', 'kurtosis')} With strides in early layers "
        "the map is a comb, and its size by the paper's rule depends on what pixel the threshold "
        "is a share of; here it is the peak."
    )
    return Panel("structures", "Structures", frame, maps_of(networks.measured), verdict)
