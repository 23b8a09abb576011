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
from keras_erf.plotting.texts import hang_caption, samples_told, wrapped
from keras_erf.wording import counted, noted

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_profile"]

AXES = ("linear", "log")
# Half of the layers below this share of the largest field: a linear axis would squeeze them.
SQUEEZED = 0.2
# Names stand this many lines of their text apart, at least, and are cut to so many letters.
APART, LONGEST = 2.5, 26


def plot_profile(
    profile: Profile,
    ax: Axes | None = None,
    *,
    scale: str | None = None,
    names: bool = True,
) -> Axes:
    """Draws effective and theoretical sizes of layers over depth.

    Every layer has a dot for its effective size, with a bar of the size's
    standard error to either side, and one for its theoretical size: the
    geometric mean of the field's sides. Depth is the number of calls on the
    longest way from the input. Of several layers of one depth, branches say,
    the lines join those of the largest theoretical field. Hollow dots are units
    whose field spans the whole input: their effective size is bounded by it,
    not by the network alone.

    Examples:
        >>> profile = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> keras_erf.plotting.plot_profile(profile, scale="linear").get_yscale()
        'linear'

    Args:
        profile: Of at least one layer.
        ax: Axes to draw on, in a figure with `layout="constrained"` best. A new
            figure if `None`.
        scale: Of the sizes: `"linear"` from 0, or `"log"`. `None` is linear,
            unless half of the layers would crowd at the foot of the axis.
        names: Whether to name layers along the axis, as many as there is room for;
            `False` writes the depth there.

    Returns:
        The matplotlib `Axes`; x is depth, y input pixels.

    Raises:
        InvalidInputError: `profile` holds no layer, or an option is none of those.
    """
    if scale is not None and scale not in AXES:
        raise InvalidInputError(
            f"`scale` must be one of {AXES}, or None to choose. Received: scale={scale!r}"
        )
    if not isinstance(names, bool):
        raise InvalidInputError(f"`names` must be True or False. Received: names={names!r}")
    if not profile.results:
        raise InvalidInputError(
            "`profile` must hold at least one layer; its `skipped` tells why there is none. "
            f"Received: {profile!r}"
        )
    # Axes that were given keep the style they were made with.
    with sns.axes_style("ticks") if ax is None else nullcontext():
        return _draw(profile, ax, scale, names)


def _draw(profile: Profile, ax: Axes | None, scale: str | None, names: bool) -> Axes:
    own = ax is None
    ax = new_axes(PROFILE_WIDTH, PROFILE_HEIGHT) if ax is None else ax
    depths = np.array(profile.depths)
    seen = np.array([one.trf_size for one in profile.results])
    joined = _joined(depths, seen)
    # Many layers get small dots.
    dot = float(np.clip(40 / math.sqrt(len(depths)), 3, 6))
    ax.plot(depths[joined], seen[joined], color=FIELD, linestyle=DASHES, linewidth=1, alpha=0.7)
    ax.plot(
        depths,
        seen,
        color=FIELD,
        linestyle="none",
        marker="_",
        markersize=1.6 * dot,
        markeredgewidth=1.4,
        label="theoretical size",
    )
    _draw_used(ax, profile.results, depths, joined, dot)
    if scale is None:
        scale = "log" if np.median(seen) < SQUEEZED * seen.max() else "linear"
    _set_axes(ax, depths, scale)
    if names:
        _name_layers(ax, [one.layer for one in profile.results], depths, joined)
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
    used = np.array([one.size for one in results])
    errors = np.array([one.size_error for one in results])
    whole = np.array([_spans_input(one) for one in results])
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
    for chosen, face, says in ((~whole, PROFILE, label), (whole, "white", bounded)):
        if chosen.any():
            ax.plot(
                depths[chosen],
                used[chosen],
                color=PROFILE,
                linestyle="none",
                marker="o",
                markersize=dot,
                markerfacecolor=face,
                label=says,
            )
    if whole.any():
        side = np.exp(np.mean(np.log(results[0].receptive_field.input_size)))
        ax.axhline(side, color=FIELD, linestyle=":", linewidth=1, label="size of the input")


def _spans_input(result: EffectiveReceptiveField) -> bool:
    """Whether a unit's theoretical field leaves out no pixel's row or column."""
    field = result.receptive_field
    pairs = zip(field.box(), field.input_size, strict=True)
    return all(start <= 0 and stop >= size for (start, stop), size in pairs)


def _joined(depths: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of each depth the layer with the largest field, the last of equal ones; by depth."""
    last = np.arange(len(depths))
    order = np.lexsort((last, seen, depths))
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
    """Names layers along the axis, from the last one on, as far apart as their text needs."""
    line = APART * points_of("small") / 72
    inches = ax.bbox.width / figure_of(ax).dpi
    first, last = ax.get_xlim()
    apart = line * (last - first) / inches
    named = [joined[-1]]
    for one in joined[-2::-1]:
        if depths[named[-1]] - depths[one] >= apart:
            named.append(one)
    named.reverse()
    ax.set_xticks(
        depths[named],
        [_shortened(names[one]) for one in named],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        size="small",
    )
    ax.set_xlabel("layer, by depth")


def _shortened(name: str) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def _add_texts(ax: Axes, profile: Profile) -> None:
    first = profile.results[0]
    room = ax.bbox.width / figure_of(ax).dpi + LABELS
    ax.set_title(wrapped(str(first.provenance["model"]), room, "medium"), size="medium")
    ax.legend(loc="best", fontsize="small", frameon=True, framealpha=0.85, edgecolor="none")
    caption = wrapped(_caption(profile), room, "small")
    hang_caption(ax, caption, below=ax.xaxis.label, points=4)


def _caption(profile: Profile) -> str:
    """What was measured, and what of it is not as it should be."""
    results = profile.results
    samples = samples_told(results)
    told = [f"definition {results[0].definition.name}", counted(len(results), "layer"), samples]
    statuses = Counter(one.receptive_field.status for one in results)
    told += [
        f"{statuses[status]} of {status} field"
        for status in ("measured", "bound")
        if statuses[status]
    ]
    if profile.skipped:
        told.append(f"{len(profile.skipped)} skipped")
    return ", ".join(told + noted(results))
