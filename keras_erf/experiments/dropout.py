"""Dropout: the shape of the field is unchanged (Luo et al. 2016, section 2.5)."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.experiments.panel import (
    SQUARE,
    Measured,
    Panel,
    Runs,
    apart,
    differences,
    frame_of,
    maps_of,
    value_text,
)
from keras_erf.progress import Progress

__all__ = ["run"]

CHANNELS = 32


def run(runs: int, seed: int, report: Progress, *, depth: int = 20, rate: float = 0.5) -> Panel:
    """Measures random linear stacks with dropout active, and without.

    Args:
        runs: Networks, each with fresh weights and inputs.
        seed: Seed of the first network.
        report: Called with the numbers of measurements done and wanted.
        depth: Number of layers.
        rate: Share of the units that are dropped.
    """
    networks, measured = Runs(2, runs, seed, report), list[Measured]()
    for kind, share in (("without", 0.0), (f"dropout {rate:g}", rate)):
        result = networks.ensemble(
            "dropout",
            SQUARE,
            training=True,
            depth=depth,
            rate=share,
            filters=CHANNELS,
            channels=CHANNELS,
        )
        predicted = {
            "size": theory.uniform_size(depth),
            "sigma": theory.sigma([theory.Step()] * depth),
            "energy": theory.dropout_factor(share, depth - 1),
        }
        measured.append(Measured({"network": kind, "depth": depth}, result, predicted))
    frame = frame_of(measured)
    energies = [one.result.moments().mass for one in measured]
    frame["energy"] = [one / energies[0] for one in energies]
    plain, dropped = frame.iloc[0], frame.iloc[1]
    sure = {
        what: apart(plain[what], plain[f"{what}_error"], dropped[what], dropped[f"{what}_error"])
        for what in ("sigma", "erf_size", "kurtosis")
    }
    verdict = (
        "The poster: dropout is one of the influences that it analyses; the paper: it does not "
        "change the field's shape.\n"
        f"Measured, g², {depth} layers: sigma {value_text(plain, 'sigma', 2)} px without and "
        f"{value_text(dropped, 'sigma', 2)} px with dropout, {sure['sigma']:.1f} standard "
        f"errors apart; sizes {value_text(plain, 'erf_size')} and "
        f"{value_text(dropped, 'erf_size')} px, {sure['erf_size']:.1f} apart.\n"
        f"Theory: sigma {plain['predicted_sigma']:.2f} px for both. Squared gradients grow by "
        f"1/(1-p) a layer, {dropped['predicted_energy']:.3g} times in all, equally everywhere; "
        f"measured {dropped['energy']:.3g} times.\n"
        f"Why they differ: {differences(frame, 'sigma')} Energies of a few networks scatter by "
        "more than shapes, since they are products over the layers."
    )
    return Panel("dropout", "Dropout", frame, maps_of(measured), verdict)
