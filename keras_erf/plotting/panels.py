"""Pictures of the poster's panels, drawn from their frames alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter, ScalarFormatter

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.small import draw_box, draw_small
from keras_erf.plotting.style import BELL, DASHES, FIELD, PROFILE
from keras_erf.wording import with_error

if TYPE_CHECKING:
    import pandas as pd

    from keras_erf.experiments import Panel

__all__ = ["plot_panel"]

# Inches: the side of a map, the space above and between maps, and the rim for text.
SIDE, ABOVE, BETWEEN, RIM = 1.75, 0.52, 0.16, 0.12
# Maximum number of maps in a row.
COLUMNS = 6
COLOURS = {"|g|": PROFILE, "g²": BELL}


def plot_panel(panel: Panel) -> Figure:
    """Draws a panel: its mean maps, or sizes over depth on logarithmic axes.

    Maps are drawn as shares of their peaks, each limited to its theoretical field, which is
    framed; maps in one row have the same scale of pixels. The title of each map states its
    condition, its effective size with the standard error, and the theoretical size.

    Examples:
        >>> panel = keras_erf.experiments.run("initialisation", runs=2, depth=2)
        >>> figure = keras_erf.plotting.plot_panel(panel)

    Args:
        panel: A panel that `keras_erf.experiments.run` returned.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InvalidInputError: The panel holds no maps.

    Reference:
        The poster's figures of the same names.
    """
    if panel.frame.empty or panel.maps.empty:
        raise InvalidInputError(
            argument="panel", expected="must hold measurements", received=f"an empty {panel.name!r}"
        )
    with sns.axes_style("ticks"):
        return _draw_laws(panel) if panel.fits is not None else _draw_maps(panel)


def _draw_maps(panel: Panel) -> Figure:
    keys = list(panel.frame.columns[: list(panel.frame.columns).index("definition")])
    # Varying conditions; the slower one of two goes by rows.
    varying = [key for key in keys if panel.frame[key].nunique() > 1] or keys[:1]
    conditions = list(panel.frame.itertuples(index=False))
    columns = len(conditions)
    if len(varying) > 1:
        columns = panel.frame[varying[1]].nunique()
    columns = min(columns, COLUMNS, max(3, math.ceil(columns / 2)) if columns > 4 else columns)
    rows = math.ceil(len(conditions) / columns)
    width = columns * (SIDE + BETWEEN) + 2 * RIM + 0.75
    height = rows * (SIDE + ABOVE) + 2 * RIM + 0.45
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(width, height),
        squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=BETWEEN / 2, h_pad=0.04),
    )
    image: Any = None
    for place, ax in enumerate(grid.ravel()):
        if place >= len(conditions):
            ax.set_axis_off()
            continue
        row = panel.frame.iloc[place]
        across = panel.frame.iloc[place // columns * columns : (place // columns + 1) * columns]
        image = _draw_map(ax, panel.maps, row, keys, float(across["trf_size"].max()))
        what = " · ".join(_condition(key, row[key]) for key in varying)
        ax.set_title(f"{what}\n{_sizes(row)}", fontsize=8.5, linespacing=1.35)
    bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.6 / height), aspect=22, pad=0.02)
    bar.set_label("impact, share of the peak", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    samples = sorted(set(panel.frame["samples"]))
    names = ", ".join(dict.fromkeys(panel.frame["definition"]))
    if len(set(panel.frame["definition"])) > 3:
        names = "each its own definition"
    runs = f"{samples[-1]} runs" if samples[-1] > 1 else "1 run"
    figure.suptitle(f"{panel.title}  ({runs}, {names})", fontsize=11)
    return figure


def _draw_map(ax: Axes, maps: pd.DataFrame, row: Any, keys: list[str], widest: float) -> Any:
    """Draws a map around its centre; the frame is its theoretical field."""
    chosen = np.logical_and.reduce([maps[key] == row[key] for key in keys])
    values = maps[chosen].pivot_table(index="row", columns="column", values="value").to_numpy()
    half = len(values) / 2
    image = draw_small(ax, values, extent=(-half, half, half, -half), interpolation="nearest")
    reach = widest / 2 * 1.04
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach))
    # Relative to the centre, where the edges of a pixel are half a pixel further out.
    draw_box(ax, ((0.5 - half, 0.5 + half),) * 2)
    return image


def _condition(key: str, value: Any) -> str:
    return (
        f"{value} {key if value != 1 else key.rstrip('s')}"
        if key == "layers"
        else (f"{value} layers" if key == "depth" else str(value))
    )


def _sizes(row: Any) -> str:
    return f"{with_error(row['erf_size'], row['erf_size_error'])} of {row['trf_size']:.0f} px"


def _draw_laws(panel: Panel) -> Figure:
    figure, (growth, shrinkage) = plt.subplots(1, 2, figsize=(9.2, 4.1), layout="constrained")
    for ax, quantity, column, label in (
        (growth, "growth", "erf_size", "ERF size (px)"),
        (shrinkage, "shrinkage", "ratio", "ERF size / theoretical size"),
    ):
        for measure, points in panel.frame.groupby("measure", sort=False):
            fit = panel.fits[  # type: ignore[index]
                (panel.fits["measure"] == measure) & (panel.fits["quantity"] == quantity)  # type: ignore[index]
            ].iloc[0]
            _draw_law(ax, points, fit, column, COLOURS[str(measure)])
        _draw_slope(ax, panel, quantity, column)
        ax.set(xscale="log", yscale="log", xlabel="layers", ylabel=label, title=quantity)
        depths = sorted(set(panel.frame["depth"]))
        ax.set_xticks([depth for depth in depths if depth in (depths[0], 10, 20, depths[-1])])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
        shown = panel.frame[column]
        steps = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0) if column == "ratio" else (5, 10, 15, 20, 30, 40, 60)
        ax.set_yticks([step for step in steps if shown.min() * 0.9 < step < shown.max() * 1.1])
        ax.minorticks_off()
        ax.legend(fontsize=8, frameon=False)
        sns.despine(ax=ax)
    samples = int(panel.frame["samples"].max())
    figure.suptitle(
        f"{panel.title} of the effective field over depth  ({samples} runs)", fontsize=11
    )
    return figure


def _draw_law(ax: Axes, points: pd.DataFrame, fit: Any, column: str, colour: str) -> None:
    """Draws points with errors, their line, and the points of theory."""
    depths = points["depth"].to_numpy(float)
    ax.errorbar(
        depths,
        points[column],
        yerr=points[f"{column}_error"],
        fmt="o",
        markersize=4.5,
        capsize=2,
        color=colour,
    )
    interval = f"{fit['low']:.2f} to {fit['high']:.2f}"
    ax.plot(
        depths,
        fit["prefactor"] * depths ** fit["exponent"],
        color=colour,
        linewidth=1.4,
        label=f"{fit['measure']}: slope {fit['exponent']:.3f} ({interval})",
    )
    predicted = "predicted_size" if column == "erf_size" else "predicted_ratio"
    ax.plot(
        depths,
        points[predicted],
        color=colour,
        linestyle=":",
        linewidth=1.6,
        label=f"   theory: {fit['predicted']:.3f}",
    )


def _draw_slope(ax: Axes, panel: Panel, quantity: str, column: str) -> None:
    """Draws the poster's slope, through the middle of the points of |g|."""
    points = panel.frame[panel.frame["measure"] == panel.frame["measure"].iloc[0]]
    depths = points["depth"].to_numpy(float)
    slope = float(panel.fits[panel.fits["quantity"] == quantity]["poster"].iloc[0])  # type: ignore[index]
    middle = np.exp(np.log(depths).mean()), np.exp(np.log(points[column]).mean())
    ax.plot(
        depths,
        middle[1] * (depths / middle[0]) ** slope,
        color=FIELD,
        linestyle=DASHES,
        linewidth=1,
        label=f"poster's slope: {slope:.2f}",
    )
