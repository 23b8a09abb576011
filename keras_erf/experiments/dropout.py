"""Dropout: the shape of the field is unchanged (Luo et al. 2016, section 2.5)."""

from __future__ import annotations

from keras_erf import theory
from keras_erf.experiments.panel import SQUARE, Panel, Runs, apart, differences, maps_of, value_text

__all__ = ["run"]

CHANNELS = 32


def run(networks: Runs, *, depth: int = 20, rate: float = 0.5) -> Panel:
    """Measures random linear stacks with dropout active, and without.

    Args:
        networks: Measures them.
        depth: Number of layers.
        rate: Share of the units that are dropped.
    """
    networks.start(2)
    for kind, share in (("without", 0.0), (f"dropout {rate:g}", rate)):
        predicted = {
            "size": theory.uniform_size(depth),
            "sigma": theory.sigma([theory.Step()] * depth),
            "energy": theory.dropout_factor(share, depth - 1),
        }
        networks.ensemble(
            {"network": kind, "depth": depth},
            "dropout",
            SQUARE,
            channels=CHANNELS,
            predicted=predicted,
            training=True,
            depth=depth,
            rate=share,
        )
    frame = networks.frame()
    energies = [condition.result.moments().mass for condition in networks.measured]
    frame["energy"] = [energy / energies[0] for energy in energies]
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
    return Panel("dropout", "Dropout", frame, maps_of(networks.measured), verdict)
