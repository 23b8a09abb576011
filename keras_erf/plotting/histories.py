"""The picture of a training: sizes of the effective field over epochs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names
from keras_erf.plotting.style import (
    DASHES,
    FIELD,
    PROFILE_HEIGHT,
    PROFILE_WIDTH,
    fit_figure,
    new_axes,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_history"]

METRICS = {
    "erf_size": "ERF size (px)",
    "ratio": "ERF size / theoretical size",
    "sigma": "sigma of the Gaussian (px)",
    "r_squared": "R² of the Gaussian",
}


def plot_history(
    frame: pd.DataFrame, ax: Axes | None = None, *, figure: str = "erf_size", trf: bool = False
) -> Axes:
    """Draws a metric of the effective field over the epochs of a training.

    Each layer has a line, with a band of one standard error to either side. Dotted lines show
    where a new phase of the training begins, such as after `compile`.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame(
        ...     {"epoch": [0, 1], "step": [0, 100], "layer": "add", "erf_size": [9.0, 9.8]}
        ... )
        >>> keras_erf.plotting.plot_history(frame).get_xlabel()
        'epochs'

    Args:
        frame: A frame like `ERFLogger.frame`: `epoch`, `layer` and the metric with its error.
        ax: Axes to draw on; a new figure if `None`.
        figure: The metric: `"erf_size"`, `"ratio"`, `"sigma"` or `"r_squared"`.
        trf: Whether to draw the theoretical sizes too, for `"erf_size"`.

    Returns:
        The matplotlib `Axes`; x is epochs done.

    Raises:
        InvalidInputError: `frame` holds no points, or there is no such metric.
    """
    if figure not in METRICS:
        raise InvalidInputError(
            argument="figure",
            expected=f"must be one of {', '.join(METRICS)}",
            received=f"figure={figure!r}",
        )
    if not len(frame):
        raise InvalidInputError(
            argument="frame", expected="must hold points of a training", received="none"
        )
    with sns.axes_style("ticks") if ax is None else nullcontext():
        own = ax is None
        ax = new_axes(PROFILE_WIDTH, PROFILE_HEIGHT) if ax is None else ax
        layers = list(dict.fromkeys(frame["layer"]))
        colours = sns.color_palette("deep", len(layers))
        # Points within an epoch are drawn over steps; lines may be of runs with other batch sizes.
        points = frame.drop_duplicates(["layer", "step"])
        steps = points.groupby(["layer", "epoch"])["step"].transform("count")
        across = "step" if (steps > 1).any() else "epoch"
        for layer, colour in zip(layers, colours, strict=True):
            # A stable sort: a step may end one phase and begin another.
            rows = frame[frame["layer"] == layer].sort_values("step", kind="stable")
            at, values = rows[across].to_numpy(float), rows[figure].to_numpy(float)
            ax.plot(at, values, marker="o", markersize=4, color=colour, label=layer)
            if f"{figure}_error" in rows:
                error = np.nan_to_num(rows[f"{figure}_error"].to_numpy(float))
                ax.fill_between(
                    at, values - error, values + error, color=colour, alpha=0.25, linewidth=0
                )
            if trf and figure == "erf_size":
                ax.plot(at, rows["trf_size"], color=colour, linestyle=DASHES, linewidth=1)
        if trf and figure == "erf_size":
            ax.plot([], [], color=FIELD, linestyle=DASHES, linewidth=1, label="theoretical")
        for start in _phase_starts(frame, across):
            ax.axvline(start, color=FIELD, linestyle=":", linewidth=0.8)
        ax.set_xlabel("training steps" if across == "step" else "epochs")
        ax.set_ylabel(METRICS[figure])
        names = [name for name in frame.get("definition", ()) if isinstance(name, str) and name]
        ax.legend(frameon=False, fontsize=9, title=definition_names(names), title_fontsize=9)
        sns.despine(ax=ax)
        if own:
            fit_figure(ax)
    return ax


def _phase_starts(frame: pd.DataFrame, across: str) -> list[float]:
    """The starts of phases after the first one: the ends of the phases before them."""
    if "phase" not in frame:
        return []
    ends = frame.groupby(["layer", "phase"])[across].max()
    return sorted({float(end) for _, own in ends.groupby("layer") for end in own.iloc[:-1]})
