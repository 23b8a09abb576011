"""The picture of a profile: effective and theoretical sizes of layers over depth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import hang_caption, sample_text, wrapped
from keras_erf.plotting.style import (
    DASHES,
    FIELD,
    LABELS,
    PROFILE,
    PROFILE_HEIGHT,
    PROFILE_WIDTH,
    figure_of,
    fit_figure,
    new_axes,
    points_of,
)
from keras_erf.wording import counted, noted

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_profile"]

AXES = ("linear", "log")
# If half of the layers are below this share of the largest field, the axis is logarithmic.
SQUEEZED = 0.2
# Minimum distance of names, in lines of their text, and their maximum number of letters.
APART, LONGEST = 2.5, 26


def plot_profile(
    profile: Profile, ax: Axes | None = None, *, scale: str | None = None, names: bool = True
) -> Axes:
    """Draws effective and theoretical sizes of layers over depth.

    Every layer has a dot for its effective size, with a bar of one standard error
    to either side, and a mark for its theoretical size, the geometric mean of the
    field's sides. Depth is the number of calls on the longest path from the input.
    If several layers have the same depth, as in branches, lines join those with the
    largest theoretical field. Hollow dots are units whose field spans the whole
    input, which then bounds their effective size.

    Examples:
        >>> profile = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> keras_erf.plotting.plot_profile(profile, scale="linear").get_yscale()
        'linear'

    Args:
        profile: A profile with at least one layer.
        ax: Axes to draw on, preferably in a figure with `layout="constrained"`. A new
            figure if `None`.
        scale: Scale of the sizes: `"linear"` from 0, or `"log"`. `None` is linear,
            unless half of the layers would be crowded near zero.
        names: Whether to name layers along the axis, as many as fit; `False` shows the
            depth instead.

    Returns:
        The matplotlib `Axes`; x is depth, y input pixels.

    Raises:
        InvalidInputError: `profile` holds no layer, or an option is invalid.
    """
    if scale is not None and scale not in AXES:
        raise InvalidInputError(
            argument="scale",
            expected=f"must be one of {AXES}, or None to choose",
            received=f"scale={scale!r}",
        )
    if not isinstance(names, bool):
        raise InvalidInputError(
            argument="names", expected="must be True or False", received=f"names={names!r}"
        )
    if not profile.results:
        raise InvalidInputError(
            argument="profile",
            expected="must hold at least one layer",
            remedy="its `skipped` states why there is none",
            received=repr(profile),
        )
    # Existing axes keep their style.
    with sns.axes_style("ticks") if ax is None else nullcontext():
        return _draw(profile, ax, scale, names)


def _draw(profile: Profile, ax: Axes | None, scale: str | None, names: bool) -> Axes:
    own = ax is None
    ax = new_axes(PROFILE_WIDTH, PROFILE_HEIGHT) if ax is None else ax
    depths = np.array(profile.depths)
    trf_sizes = np.array([result.trf_size for result in profile.results])
    joined = _joined(depths, trf_sizes)
    # Many layers get small dots.
    dot = float(np.clip(40 / math.sqrt(len(depths)), 3, 6))
    ax.plot(
        depths[joined], trf_sizes[joined], color=FIELD, linestyle=DASHES, linewidth=1, alpha=0.7
    )
    ax.plot(
        depths,
        trf_sizes,
        color=FIELD,
        linestyle="none",
        marker="_",
        markersize=1.6 * dot,
        markeredgewidth=1.4,
        label="theoretical size",
    )
    _draw_used(ax, profile.results, depths, joined, dot)
    if scale is None:
        scale = "log" if np.median(trf_sizes) < SQUEEZED * trf_sizes.max() else "linear"
    _set_axes(ax, depths, scale)
    if names:
        _name_layers(ax, [result.layer for result in profile.results], depths, joined)
    _add_texts(ax, profile)
    if own:
        fit_figure(ax)
    return ax


def _draw_used(
    ax: Axes,
    results: Sequence[EffectiveReceptiveField],
    depths: np.ndarray,
    joined: np.ndarray,
    dot: float,
) -> None:
    """Effective sizes with their errors; hollow dots where the input bounds them."""
    used = np.array([result.size for result in results])
    errors = np.array([result.size_error for result in results])
    whole = np.array([_spans_input(result) for result in results])
    ax.plot(depths[joined], used[joined], color=PROFILE, linewidth=1.2, alpha=0.7)
    known = errors > 0
    label = "effective size"
    if known.any():
        label += " ± standard error"
        ax.errorbar(
            depths[known],
            used[known],
            yerr=errors[known],
            fmt="none",
            ecolor=PROFILE,
            elinewidth=1.2,
            capsize=0.5 * dot,
        )
    bounded = "whole input in sight" if not whole.all() else f"{label}, whole input in sight"
    for chosen, face, text in ((~whole, PROFILE, label), (whole, "white", bounded)):
        if chosen.any():
            ax.plot(
                depths[chosen],
                used[chosen],
                color=PROFILE,
                linestyle="none",
                marker="o",
                markersize=dot,
                markerfacecolor=face,
                label=text,
            )
    if whole.any():
        side = np.exp(np.mean(np.log(results[0].receptive_field.input_size)))
        ax.axhline(side, color=FIELD, linestyle=":", linewidth=1, label="size of the input")


def _spans_input(result: EffectiveReceptiveField) -> bool:
    """Whether a unit's theoretical field covers all rows and columns of the input."""
    field = result.receptive_field
    pairs = zip(field.box(), field.input_size, strict=True)
    return all(start <= 0 and stop >= size for (start, stop), size in pairs)


def _joined(depths: np.ndarray, trf_sizes: np.ndarray) -> np.ndarray:
    """The layer with the largest field at each depth (the last of equal ones), by depth."""
    last = np.arange(len(depths))
    order = np.lexsort((last, trf_sizes, depths))
    ends = np.append(np.diff(depths[order]) > 0, True)
    return order[ends]


def _set_axes(ax: Axes, depths: np.ndarray, scale: str) -> None:
    ax.set_yscale(scale)
    if scale == "log":
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    else:
        ax.set_ylim(bottom=0)
    first, last = depths.min(), depths.max()
    rim = max(0.03 * (last - first), 0.5)
    ax.set_xlim(first - rim, last + rim)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel("depth (layers from the input)")
    ax.set_ylabel("size (input px)")
    sns.despine(ax=ax)


def _name_layers(ax: Axes, names: Sequence[str], depths: np.ndarray, joined: np.ndarray) -> None:
    """Names layers along the axis, starting with the last one, without overlaps."""
    line = APART * points_of("small") / 72
    inches = ax.bbox.width / figure_of(ax).dpi
    first, last = ax.get_xlim()
    apart = line * (last - first) / inches
    named = [joined[-1]]
    for place in joined[-2::-1]:
        if depths[named[-1]] - depths[place] >= apart:
            named.append(place)
    named.reverse()
    ax.set_xticks(
        depths[named],
        [_shortened(names[place]) for place in named],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        size="small",
    )
    ax.set_xlabel("layer, by depth")


def _shortened(name: str) -> str:
    """The end of a long name, which is more specific than its beginning."""
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def _add_texts(ax: Axes, profile: Profile) -> None:
    first = profile.results[0]
    width = ax.bbox.width / figure_of(ax).dpi + LABELS
    ax.set_title(wrapped(str(first.provenance["model"]), width, "medium"), size="medium")
    ax.legend(loc="best", fontsize="small", frameon=True, framealpha=0.85, edgecolor="none")
    caption = wrapped(_caption(profile), width, "small")
    hang_caption(ax, caption, below=ax.xaxis.label, points=4)


def _caption(profile: Profile) -> str:
    """What was measured, and notes."""
    results = profile.results
    samples = sample_text(results)
    parts = [f"definition {results[0].definition.name}", counted(len(results), "layer"), samples]
    statuses = Counter(result.receptive_field.status for result in results)
    parts += [
        f"{statuses[status]} of {status} field"
        for status in ("measured", "bound")
        if statuses[status]
    ]
    if profile.skipped:
        parts.append(f"{len(profile.skipped)} skipped")
    return ", ".join(parts + noted(results))
