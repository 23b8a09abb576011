"""Gaussian shape: depth, random weights and ReLUs (the poster's first panel)."""

from __future__ import annotations

from collections.abc import Sequence

from keras_erf import theory
from keras_erf.experiments.panel import ABS, Panel, Runs, checked_depths, maps_of

__all__ = ["DEPTHS", "run"]

# The poster's depths and theoretical sizes.
DEPTHS = (5, 10, 20, 40)
PRINTED = {5: 11, 10: 21, 20: 41, 40: 81}
CHANNELS = 32


def run(networks: Runs, *, depths: Sequence[int] = DEPTHS) -> Panel:
    """Measures stacks of 3x3 convolutions with uniform weights, random ones, and ReLUs.

    Args:
        networks: Measures them.
        depths: Numbers of layers.
    """
    depths = checked_depths(depths)
    networks.start(3 * len(depths))
    for depth in depths:
        for weights, activation in (("uniform", None), ("random", None), ("random", "relu")):
            kind = "ReLU" if activation else weights.capitalize()
            about = {"depth": depth, "weights": kind}
            # Of one uniform network |g| is the map itself; of random ones the root of E[g^2].
            size = theory.uniform_size(depth, measure="square" if weights == "uniform" else "abs")
            if weights == "uniform":
                # 3^80 paths are more than single precision can count.
                uniform = {"weights": "uniform", "dtype": "float64"}
                networks.single(about, "plain", {"size": size}, depth=depth, **uniform)
            else:
                networks.ensemble(
                    about,
                    "plain",
                    ABS,
                    channels=CHANNELS,
                    predicted={"size": size},
                    depth=depth,
                    activation=activation,
                )
    frame = networks.frame()
    return Panel(
        "gaussian-shape",
        "Gaussian shape",
        frame,
        maps_of(networks.measured),
        _verdict(frame, depths),
    )


def _verdict(frame, depths: Sequence[int]) -> str:  # type: ignore[no-untyped-def]
    worst = frame.loc[(frame["erf_size"] / frame["predicted_size"] - 1).abs().idxmax()]
    off = worst["erf_size"] / worst["predicted_size"] - 1
    sizes = ", ".join(
        f"{frame.loc[frame['depth'] == depth, 'trf_size'].iloc[0]:.0f}" for depth in depths
    )
    shape = frame.groupby("weights", sort=False)["r_squared"].min()
    shares = ", ".join(f"{kind} {value:.3f}" for kind, value in shape.items())
    return (
        f"The poster: uniform, random and ReLU networks of {_listed(depths)} layers have effective "
        "fields like Gaussians in theoretical ones of "
        f"{_listed([PRINTED.get(depth, 2 * depth + 1) for depth in depths])} px.\n"
        f"Measured: theoretical fields of {sizes} px; the Gaussian explains of the maps at least "
        f"(R²): {shares}.\n"
        "Theory: uniform weights give products of extended binomial coefficients, a Gaussian in "
        "the "
        "limit; random ones have the root of that for |g|, a Gaussian √2 wider. Measured sizes are "
        f"off by {off:+.1%} at most ({worst['weights']}, {worst['depth']} layers).\n"
        "Why they differ: the |g| of shallow networks is cut by the theoretical field, which no "
        "Gaussian is; and the peak of a mean over few runs is too high, so that fewer pixels are "
        "above 4.55 % of it."
    )


def _listed(numbers: Sequence[int]) -> str:
    return "/".join(map(str, numbers))
