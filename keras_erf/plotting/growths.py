"""How sizes grow with depth: power laws as lines on logarithmic axes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from keras_erf import analysis
from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names
from keras_erf.plotting.style import (
    DASHES,
    FIELD,
    PROFILE,
    PROFILE_HEIGHT,
    PROFILE_WIDTH,
    fit_figure,
    new_axes,
)
from keras_erf.wording import noted

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile

__all__ = ["plot_growth"]


def plot_growth(profile: Profile, ax: Axes | None = None) -> Axes:
    """Draws effective and theoretical sizes over depth on logarithmic axes, with their slopes.

    Lines are power laws, fitted by least squares of logarithms; intervals are from the residuals,
    at 95 %. In a stack of equal layers, the theoretical size grows with the depth, the effective
    size with its root.

    Examples:
        >>> profile = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> keras_erf.plotting.plot_growth(profile).get_xscale()
        'log'

    Args:
        profile: A profile with layers of at least two depths.
        ax: Axes to draw on; a new figure if `None`.

    Returns:
        The matplotlib `Axes`; x is depth, y input pixels.

    Raises:
        InvalidInputError: All layers have the same depth.

    Reference:
        The poster, "Change of ERF"; Luo et al. 2016, section 3.1.
    """
    depths = np.array(profile.depths, float)
    if len(set(profile.depths)) < 2:
        raise InvalidInputError(
            argument="profile",
            expected="must hold layers of at least two depths",
            received=repr(profile),
        )
    used = np.array([result.size for result in profile.results])
    errors = np.nan_to_num([result.size_error for result in profile.results])
    trf_sizes = np.array([result.trf_size for result in profile.results])
    with sns.axes_style("ticks") if ax is None else nullcontext():
        own = ax is None
        ax = new_axes(PROFILE_WIDTH, PROFILE_HEIGHT) if ax is None else ax
        ax.set(xscale="log", yscale="log")
        along = np.geomspace(depths.min(), depths.max(), 50)
        for values, spread, colour, marker, dashes, name in (
            (trf_sizes, 0 * trf_sizes, FIELD, "s", DASHES, "theoretical"),
            (used, errors, PROFILE, "o", "solid", "effective"),
        ):
            law = analysis.fit_power_law(depths, values)
            known = np.isfinite([law.low, law.high]).all()
            interval = f" ({law.low:.2f} to {law.high:.2f})" if known else ""
            ax.errorbar(
                depths, values, yerr=spread, fmt=marker, markersize=4, capsize=2, color=colour
            )
            ax.plot(
                along,
                law(along),
                color=colour,
                linestyle=dashes,
                linewidth=1.2,
                label=f"{name} size: slope {law.exponent:.2f}{interval}",
            )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
        ax.set(xlabel="depth (layers from the input)", ylabel="size (input px)")
        model = str(profile.results[0].provenance.get("model", ""))
        ax.set_title("\n".join([model, *noted(profile.results)]), size="medium")
        title = definition_names(result.definition.name for result in profile.results)
        ax.legend(frameon=False, fontsize="small", title=title, title_fontsize="small")
        sns.despine(ax=ax)
        if own:
            fit_figure(ax)
    return ax
