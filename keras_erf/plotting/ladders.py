"""The fields of layers over depth, drawn as boxes and discs on one scale."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names
from keras_erf.plotting.style import FIELD, PROFILE, fit_figure, new_axes
from keras_erf.wording import noted

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile

__all__ = ["plot_ladder"]

# Maximum number of rungs; width in inches; space between rungs, as a share of the widest.
RUNGS, WIDTH, BETWEEN = 12, 8.5, 0.06


def plot_ladder(profile: Profile, ax: Axes | None = None, *, rungs: int = RUNGS) -> Axes:
    """Draws each layer's theoretical field as a box and its effective field as a disc in it.

    All are on one scale, from the input onwards. The sides of a box are the theoretical size; a
    disc has the area of the 2-sigma region. If a profile has more layers, those with evenly
    spread theoretical fields are drawn, including the first and the last.

    Examples:
        >>> profile = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> ax = keras_erf.plotting.plot_ladder(profile, rungs=3)

    Args:
        profile: A profile with two spatial axes and at least one layer.
        ax: Axes to draw on; a new figure if `None`.
        rungs: Maximum number of layers to draw.

    Returns:
        The matplotlib `Axes`; y is input pixels from the field's centre.

    Raises:
        InvalidInputError: `profile` or `rungs` is invalid.
    """
    if isinstance(rungs, bool) or not isinstance(rungs, int) or rungs < 1:
        raise InvalidInputError(
            argument="rungs",
            expected="must be a whole number of at least 1",
            received=f"rungs={rungs!r}",
        )
    results = profile.results
    if not results or results[0].map.ndim != 2:
        raise InvalidInputError(
            argument="profile",
            expected="must hold layers with fields of two axes",
            received=repr(profile),
        )
    order = np.lexsort(([result.trf_size for result in results], profile.depths))
    chosen = [results[at] for at in order[_even([results[at].trf_size for at in order], rungs)]]
    sides = np.array([result.trf_size for result in chosen])
    # Narrow rungs still need space for their name.
    widths = np.maximum(sides, sides.max() / 5) + BETWEEN * sides.max()
    at = np.cumsum(widths) - widths / 2
    with sns.axes_style("ticks") if ax is None else nullcontext():
        own = ax is None
        height = WIDTH * sides.max() / widths.sum()
        ax = new_axes(WIDTH, min(height * 1.1, 4.5)) if ax is None else ax
        for result, x, side in zip(chosen, at, sides, strict=True):
            box = Rectangle(
                (x - side / 2, -side / 2), side, side, fill=False, edgecolor=FIELD, linewidth=1
            )
            ax.add_patch(box)
            # This circle has the area of a square with sides of `size` pixels.
            disc = Circle((x, 0), result.size / np.sqrt(np.pi), color=PROFILE, alpha=0.75)
            ax.add_patch(disc)
            # A disc of nearly the square's area would extend beyond it, but a field does not.
            disc.set_clip_path(box)
            label = f"{result.size:.0f} of {side:.0f}"
            ax.annotate(
                label,
                (x, side / 2),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                size="x-small",
            )
        ax.set_xlim(0, widths.sum())
        ax.set_ylim(-0.5 * sides.max() * 1.06, 0.5 * sides.max() * 1.06)
        ax.set_aspect("equal")
        ax.set_xticks(
            at, [result.layer for result in chosen], rotation=45, ha="right", size="small"
        )
        for text in ax.get_xticklabels():
            text.set_rotation_mode("anchor")
        ax.set_ylabel("input px")
        model = results[0].provenance.get("model", "")
        title = f"{model}: box = theoretical, disc = effective".lstrip(": ")
        title += f", {definition_names(result.definition.name for result in chosen)}"
        ax.set_title("\n".join([title, *noted(chosen)]), size="medium", pad=14)
        ax.tick_params(axis="x", length=0)
        sns.despine(ax=ax, bottom=True)
        if own:
            fit_figure(ax)
    return ax


def _even(sides: list[float], rungs: int) -> np.ndarray:
    """Indices of evenly spread sizes, including the first and the last."""
    if len(sides) <= rungs:
        return np.arange(len(sides))
    wanted = np.linspace(min(sides), max(sides), rungs)
    nearest = {int(np.abs(np.array(sides) - size).argmin()) for size in wanted}
    return np.array(sorted({*nearest, len(sides) - 1}))
