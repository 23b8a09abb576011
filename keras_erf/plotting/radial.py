"""The decay of impact with the distance from the centre of the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from keras_erf import analysis
from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names, size_text, wrapped
from keras_erf.plotting.content import named_results
from keras_erf.plotting.style import (
    DASHES,
    FIELD,
    LOG_FLOOR,
    PROFILE_HEIGHT,
    PROFILE_WIDTH,
    REGION,
    SCALES,
    fit_figure,
    new_axes,
    set_scale,
)

if TYPE_CHECKING:
    from keras_erf.algebra.geometry import Box
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_radial"]


def plot_radial(
    results: EffectiveReceptiveField
    | Mapping[str, EffectiveReceptiveField]
    | Sequence[EffectiveReceptiveField],
    ax: Axes | None = None,
    *,
    scale: str = "log",
) -> Axes:
    """Draws the mean impact at each distance from the field's centre.

    Lines are shares of the value at the smallest distance, over rings one pixel wide, with a band
    of one standard error, from the spread between blocks of samples. A Gaussian is a parabola on
    the logarithmic scale; the dotted line is the level of the 2-sigma rule.

    Examples:
        >>> result = keras_erf.expected(keras_erf.zoo.build("plain", depth=4))
        >>> keras_erf.plotting.plot_radial(result).get_xlabel()
        "distance from the field's centre (px)"

    Args:
        results: One result, a list of them, or a mapping from names.
        ax: Axes to draw on; a new figure if `None`.
        scale: Scale of the impact: `"log"`, `"sqrt"` or `"linear"`.

    Returns:
        The matplotlib `Axes`; x is the distance in input pixels.

    Raises:
        InvalidInputError: `scale` is invalid, or there is no result.
    """
    if scale not in SCALES:
        raise InvalidInputError(
            argument="scale", expected=f"must be one of {SCALES}", received=f"scale={scale!r}"
        )
    named = named_results(results)
    definitions = list(dict.fromkeys(result.definition.name for _, result in named))
    # In the legend, they would hide the lines.
    shared = [
        note for note in named[0][1].notes if all(note in result.notes for _, result in named)
    ]
    with sns.axes_style("ticks") if ax is None else nullcontext():
        own = ax is None
        ax = new_axes(PROFILE_WIDTH, PROFILE_HEIGHT) if ax is None else ax
        set_scale(ax.set_yscale, scale)
        for (name, result), colour in zip(
            named, sns.color_palette("colorblind", len(named)), strict=True
        ):
            distances, means, errors = radial_profile(result)
            # The last rings are empty: their logarithms would be infinite.
            kept = means > (LOG_FLOOR if scale == "log" else 0)
            distances, means, errors = distances[kept], means[kept], errors[kept]
            notes = [note for note in result.notes if note not in shared]
            notes += [result.definition.name] if len(definitions) > 1 else []
            label = ", ".join([f"{name}: {size_text(result)}", *notes])
            label = wrapped(label, PROFILE_WIDTH / 2, "small")
            ax.plot(distances, means, color=colour, label=label)
            low = np.maximum(means - errors, LOG_FLOOR if scale == "log" else 0)
            ax.fill_between(distances, low, means + errors, color=colour, alpha=0.25, linewidth=0)
        ax.axhline(analysis.THRESHOLD, color=REGION, linestyle=":", linewidth=1.3, label="2σ level")
        if len(named) == 1:
            half = named[0][1].trf_size / 2
            ax.axvline(half, color=FIELD, linestyle=DASHES, linewidth=1, label="half the field")
        ax.set(xlabel="distance from the field's centre (px)", ylabel="mean impact, share")
        ax.set_xlim(left=0)
        ax.set_ylim(LOG_FLOOR if scale == "log" else 0, 1.3 if scale == "log" else 1.05)
        title = definition_names(definitions) if len(definitions) == 1 else None
        ax.legend(frameon=False, fontsize="small", title=title, title_fontsize="small")
        if shared:
            ax.set_title(wrapped(", ".join(shared), PROFILE_WIDTH, "small"), size="small")
        sns.despine(ax=ax)
        if own:
            fit_figure(ax)
    return ax


def radial_profile(result: EffectiveReceptiveField) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns distances, and the mean impact on their rings with its standard error.

    Rings are one pixel wide, around the centre of the theoretical field; empty rings are left out.
    Errors are zero if there is only one block of samples.
    """
    center, shape = result.receptive_field.center(), result.map.shape
    counts = np.bincount(_rings(tuple((0, size) for size in shape), center).ravel())
    rings = _rings(result.part or tuple((0, size) for size in shape), center).ravel()
    there = np.flatnonzero(counts[: rings.max() + 1])

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(rings, weights=np.abs(values).ravel())
        return sums[there] / counts[there]

    used = result.block_counts > 0
    numbers, sums = result.block_counts[used], result.block_sums[used]
    means = mean(sums.sum(axis=0) / numbers.sum())
    errors = np.zeros_like(means)
    if len(numbers) > 1:
        blocks = [mean(total / number) for total, number in zip(sums, numbers, strict=True)]
        errors = np.std(blocks, axis=0, ddof=1) / np.sqrt(len(numbers))
    top = means[0] if means[0] > 0 else means.max()
    return there.astype(float), means / top, errors / top


def _rings(box: Box, center: tuple[float, ...]) -> np.ndarray:
    """The distance of each pixel of a box from the centre, to the nearest whole number."""
    axes = [np.arange(start, stop) - at for (start, stop), at in zip(box, center, strict=True)]
    return np.sqrt(sum(np.square(offset) for offset in np.ix_(*axes))).round().astype(int)
