"""The style of all figures: colours, sizes, scales, axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from keras_erf.algebra.geometry import Box

__all__ = [
    "BAR",
    "BELL",
    "CALM",
    "DASHES",
    "DEPTH",
    "FAINTEST",
    "FIELD",
    "GAP",
    "LABELS",
    "LEAST_GAIN",
    "LEAST_ROOM",
    "LETTER",
    "LOG_FLOOR",
    "MAP",
    "MAP_SIDE",
    "PAD",
    "PROFILE",
    "PROFILE_HEIGHT",
    "PROFILE_WIDTH",
    "REGION",
    "REGIONS",
    "SCALES",
    "SLIMMEST",
    "TIED",
    "TIES",
    "WIDE_ROOM",
    "default_cmap",
    "figure_of",
    "fit_figure",
    "halo",
    "make_norm",
    "new_axes",
    "points_of",
    "scale_ceiling",
    "scale_floor",
    "set_limits",
    "set_scale",
]

SCALES = ("linear", "sqrt", "log")
REGIONS = ("threshold", "mass")
# Where the logarithmic scale ends, as a share of the peak.
LOG_FLOOR = 1e-4
# The whole input is shown where the zoomed view would leave out less than this share of it.
LEAST_GAIN = 0.25

# Light to dark, for paper; lightness falls evenly, so it also works in grey.
MAP = "ch:start=0.2,rot=-0.35,light=0.98,dark=0.1,hue=1"
REGION, BELL, FIELD, PROFILE = "#f97306", "#c2185b", "0.1", "#357ba3"
# Outlines longer by this factor than that of a square of equal area fade, down to this opacity.
CALM, FAINTEST = 2.0, 0.55
DASHES = (0, (5, 3))
# Inches: the map's longer side and the rim of a new figure.
MAP_SIDE, PAD = 4.0, 0.12
# Inches of the axes of a profile.
PROFILE_WIDTH, PROFILE_HEIGHT = 5.8, 3.4
# Inches of a line of text: the width that labels add, the minimum, and that of three columns.
LABELS, LEAST_ROOM, WIDE_ROOM = 1.0, 3.6, 5.5
# Slimmer maps are stretched to this share of their longer side, as they would be too narrow.
SLIMMEST = 1 / 6
# Shares of the map's longer side: depth of a profile, width of the colour bar, gaps.
DEPTH, BAR, GAP = 0.19, 0.04, 0.025
# Mean width of a letter, in ems.
LETTER = 0.55
# Spaces at which lines are not wrapped: within a size, a unit or an equation.
TIED, TIES = (
    "\u00a0",
    re.compile(r" (?=[±×=]|px|%)|(?<=[±×=]) |(?<=\d,) (?=\d)|(?<=unit) |(?<=fit) "),
)


def new_axes(width: float, height: float) -> Axes:
    """Axes of `width` by `height` inches that fill a new figure, for `fit_figure` to enlarge."""
    figure = plt.figure(figsize=(width, height), layout="none")
    return figure.add_axes((0, 0, 1, 1))


def fit_figure(ax: Axes) -> None:
    """Enlarges a figure that axes fill until all that stands around them is in it."""
    # Texts, profiles and bar keep their sizes as long as the axes do: once is enough, and exact.
    figure = figure_of(ax)
    inches = figure.get_size_inches()
    bounds = figure.get_tightbbox().padded(PAD)
    figure.set_size_inches(bounds.width, bounds.height)
    ax.set_position((*(np.negative(bounds.min) / bounds.size), *(inches / bounds.size)))


def figure_of(ax: Axes) -> Figure:
    """The figure that axes stand in."""
    figure = ax.get_figure()
    assert figure is not None
    return figure.figure


def default_cmap() -> Colormap:
    """The colour map: light to dark, its lightness falling evenly."""
    return sns.color_palette(MAP, as_cmap=True)


def make_norm(scale: str, peak: float) -> Normalize:
    """How values become colours."""
    if scale == "log":
        return LogNorm(scale_floor(scale, peak), peak, clip=True)
    return Normalize(0, peak) if scale == "linear" else PowerNorm(0.5, 0, peak)


def scale_floor(scale: str, peak: float) -> float:
    """Where a scale begins."""
    return LOG_FLOOR * peak if scale == "log" else 0.0


def scale_ceiling(scale: str, peak: float) -> float:
    """Where a scale ends, with space above the peak."""
    return peak * (1.5 if scale == "log" else 1.08)


def set_scale(setter: Callable[..., Any], scale: str) -> None:
    """Gives an axis of values, by its `set_xscale` or `set_yscale`, the scale the colours have."""
    if scale == "log":
        setter("log")
    elif scale == "sqrt":
        setter("function", functions=(_root, np.square))


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))


def set_limits(ax: Axes, window: Box) -> None:
    """Shows the window, its pixels whole; rows run downwards."""
    *rows, (left, right) = window
    ax.set_xlim(left - 0.5, right - 0.5)
    ax.xaxis.set_major_locator(_pixel_ticks())
    for top, bottom in rows:
        ax.set_ylim(bottom - 0.5, top - 0.5)
        ax.yaxis.set_major_locator(_pixel_ticks())


def _pixel_ticks() -> MaxNLocator:
    return MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def halo(linewidth: float) -> list[withStroke]:
    """Makes a line visible on dark and light backgrounds."""
    return [withStroke(linewidth=linewidth + 1.6, foreground="white", alpha=0.75)]


def points_of(size: str | float) -> float:
    """A font size in points."""
    return FontProperties(size=size).get_size_in_points()
