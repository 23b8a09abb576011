"""Structures: dense, sub-sampled and dilated stacks (the poster's second panel, right)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keras_erf import theory
from keras_erf.errors import InvalidInputError
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
RATES = (2, 4, 8)


def run(
    runs: int,
    seed: int,
    report: Progress,
    *,
    depth: int = 15,
    positions: Sequence[int] = (5, 10, 15),
) -> Panel:
    """Measures 15 dense convolutions, the same with three strides, and with three dilations.

    Args:
        runs: Networks, each with fresh weights and inputs.
        seed: Seed of the first network.
        report: Called with the numbers of measurements done and wanted.
        depth: Number of layers.
        positions: Positions of the layers with stride 2, or with dilation 2, 4 and 8.
    """
    places = tuple(positions) if isinstance(positions, Iterable) else ()
    numbers = all(isinstance(one, int) and 1 <= one <= depth for one in places)
    if len(set(places)) != len(RATES) or not numbers:
        raise InvalidInputError(
            f"`positions` must be {len(RATES)} different layers from 1 to {depth}. "
            f"Received: positions={positions!r}"
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
    networks, measured = Runs(len(kinds), runs, seed, report), list[Measured]()
    for kind, (name, options, chain) in kinds.items():
        result = networks.ensemble(
            name, SQUARE, depth=depth, filters=CHANNELS, channels=CHANNELS, **options
        )
        predicted = {
            "trf_size": float(theory.field_size(chain)),
            "sigma": theory.sigma(chain),
            "kurtosis": theory.excess_kurtosis(chain),
        }
        measured.append(Measured({"structure": kind, "depth": depth}, result, predicted))
    frame = frame_of(measured)
    lines = "; ".join(
        f"{one['structure']} TRF {one['trf_size']:.0f} px, size {value_text(one, 'erf_size')}, "
        f"sigma {value_text(one, 'sigma', 2)} ({one['predicted_sigma']:.2f}), "
        f"excess kurtosis {value_text(one, 'kurtosis', 2)} ({one['predicted_kurtosis']:.2f})"
        for _, one in frame.iterrows()
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
    return Panel("structures", "Structures", frame, maps_of(measured), verdict)
