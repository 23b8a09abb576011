"""The picture of trainings: fields before and after, and sizes over epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from keras_erf.plotting.captions import definition_names, size_and_notes, wrapped
from keras_erf.plotting.histories import plot_history
from keras_erf.plotting.small import draw_box, draw_small

if TYPE_CHECKING:
    from keras_erf.training.summary import Summary

__all__ = ["plot_training"]

SIDE, ABOVE = 2.1, 0.8
# Sizes of different networks further apart than this are drawn on a logarithmic axis.
WIDE = 4


def plot_training(summary: Summary) -> Figure:
    """Draws the effective field before and after each training, and its size during training.

    Maps are shares of their peaks, over the whole input; the frame is the part of the theoretical
    field inside of it. Below them are size and share of the theoretical field over epochs, with
    one standard error to either side.

    Args:
        summary: A summary that `keras_erf.training.summarise` returned.

    Returns:
        A matplotlib `Figure`.

    Reference:
        The poster: "Comparison of ERF before and after training".
    """
    runs = list(dict.fromkeys(summary.frame["run"]))
    moments = list(dict.fromkeys(summary.frame["when"]))
    per_row = 2 if len(runs) > 1 else 1
    rows = math.ceil(len(runs) / per_row)
    width = max(per_row * len(moments) * (SIDE + 0.15) + 0.3, 7.5)
    with sns.axes_style("ticks"):
        figure = plt.figure(figsize=(width, rows * (SIDE + ABOVE) + 3.2), layout="constrained")
        heights = [rows * (SIDE + ABOVE), 3.2]
        parts: Any = figure.subfigures(2, 1, height_ratios=heights)
        above, below = parts
        grid = above.subplots(rows, per_row * len(moments), squeeze=False)
        for ax in grid.ravel():
            ax.set_axis_off()
        for place, run in enumerate(runs):
            for number, when in enumerate(moments):
                result = summary.results.get((run, when))
                ax = grid[place // per_row, place % per_row * len(moments) + number]
                if result is None:
                    continue
                draw_small(ax, result.map)
                draw_box(ax, result.receptive_field.visible())
                sizes = wrapped(size_and_notes(result), SIDE, "small")
                ax.set_title(f"{run}\n{when}\n{sizes}", fontsize=8.5)
        names = [result.definition.name for result in summary.results.values()]
        above.suptitle(definition_names(names), size="small")
        left_ax, right_ax = below.subplots(1, 2)
        # One line for each run.
        lines = summary.history.assign(layer=summary.history["run"])
        plot_history(lines, left_ax, figure="erf_size")
        sizes = lines["erf_size"].dropna()
        if len(sizes) and sizes.max() > WIDE * sizes.min():
            left_ax.set_yscale("log")
            left_ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            left_ax.yaxis.set_major_formatter(ScalarFormatter())
            left_ax.yaxis.set_minor_formatter(NullFormatter())
        plot_history(lines, right_ax, figure="ratio")
    return figure
