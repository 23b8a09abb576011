"""Legends and captions of pictures, and line wrapping."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from keras_erf import analysis
from keras_erf.plotting.content import Content
from keras_erf.plotting.style import (
    LABELS,
    LEAST_ROOM,
    LETTER,
    TIED,
    TIES,
    WIDE_ROOM,
    figure_of,
    points_of,
)
from keras_erf.wording import by, counted_samples, size_with_error

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = [
    "add_texts",
    "definition_names",
    "field_label",
    "hang_caption",
    "region_label",
    "sample_text",
    "size_and_notes",
    "size_text",
    "wrapped",
]


def region_label(region: analysis.Region) -> str:
    """The region's line in the legend."""
    if region.rule == "mass":
        return f"2σ region, {100 * analysis.MASS:g} % of the mass: {region.size:.1f} px"
    return f"2σ region, above {100 * analysis.THRESHOLD:.4g} % of the peak"


def field_label(result: EffectiveReceptiveField) -> str:
    """The theoretical field's line in the legend."""
    field = result.receptive_field
    pairs = zip(field.box(), field.input_size, strict=True)
    leaves = any(start < 0 or stop > size for (start, stop), size in pairs)
    notes = [field.status] if field.status != "exact" else []
    if leaves:
        notes.append("past the input's edge")
    return "theoretical field" + (f" ({', '.join(notes)})" if notes else "")


def add_texts(
    ax: Axes,
    result: EffectiveReceptiveField,
    content: Content,
    *,
    width: float,
    own: bool,
    aside: float = 0.0,
    above: float = 0.0,
) -> None:
    """Adds title, legend and caption to axes `width` inches wide; `aside` and `above` are used."""
    text_width = max(width + aside + LABELS, LEAST_ROOM)
    slot = ax.bbox.width / figure_of(ax).dpi
    # Layouts ignore the width of titles, and subtract the space aside from existing axes.
    title_width = max(width + LABELS, LEAST_ROOM) if own else max(1.2 * slot - aside, slot / 2)
    title = f"{result.layer}, unit ({', '.join(map(str, result.unit))})"
    title = wrapped(title, title_width, "medium")
    ax.set_title(title, y=1, pad=72 * above + 6, size="medium")
    below = 1.3 * (points_of(plt.rcParams["xtick.labelsize"]) + points_of("medium")) + 11
    offset = ScaledTranslation(aside / 2, -below / 72, figure_of(ax).dpi_scale_trans)
    legend = ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + offset,
        ncols=3 if content.values.ndim == 1 and text_width > WIDE_ROOM else 2,
        fontsize="small",
        frameon=False,
        borderaxespad=0,
        borderpad=0.3,
        columnspacing=1.6,
    )
    lines = "\n".join(wrapped(line, text_width, "small") for line in _caption(result, content))
    # Placed below the legend, whose height depends on its rows.
    hang_caption(ax, lines, below=legend, points=3)


def hang_caption(ax: Axes, text: str, *, below: Any, points: float) -> None:
    """Adds small text below an artist, outside of the axes."""
    ax.annotate(
        text,
        xy=(0.5, 0),
        xycoords=below,
        xytext=(0, -points),
        textcoords="offset points",
        ha="center",
        va="top",
        size="small",
        alpha=0.85,
        annotation_clip=False,
    )


def _caption(result: EffectiveReceptiveField, content: Content) -> list[str]:
    """The settings of a measurement, and its results."""
    measured = f"definition {result.definition.name}, {sample_text([result])}"
    measured += " of a linear unit" if result.linear and result.expected is None else ""
    if result.dead:
        measured += f" ({100 * result.dead:.2g} % dead)"
    if len(result.receptive_field.input_size) > 2:
        measured += ", map summed over the input's first axis"
    share = f"{100 * result.ratio:.0f} % of the theoretical {by(result.receptive_field.size)} px"
    lines = [f"ERF {size_with_error(result)} px, {share}"]
    if content.fit is not None:
        converged = "" if content.fit.converged else " (not converged)"
        lines.append(f"Gaussian fit R² = {content.fit.r_squared:.2f}{converged}")
    return [measured, "; ".join([*lines, *result.notes])]


def definition_names(names: Iterable[str]) -> str:
    """`definition luo2016`, or the names of several; nothing of none."""
    several = list(dict.fromkeys(names))
    return f"definition{'s' * (len(several) > 1)} {', '.join(several)}" if several else ""


def size_text(result: EffectiveReceptiveField) -> str:
    """`12.3 ± 0.2 of 71 px`."""
    return f"{size_with_error(result)} of {result.trf_size:.0f} px"


def size_and_notes(result: EffectiveReceptiveField) -> str:
    """`12.3 ± 0.2 of 71 px, size rules disagree`."""
    return ", ".join([size_text(result), *result.notes])


def wrapped(text: str, inches: float, size: str) -> str:
    """Wraps text to lines of about that width, at spaces and after the slashes of a path."""
    columns = max(12, int(inches * 72 / (LETTER * points_of(size))))
    lines = textwrap.wrap(TIES.sub(TIED, text).replace("/", "/ "), columns)
    return "\n".join(line.replace("/ ", "/").replace(TIED, " ") for line in lines)


def sample_text(results: Sequence[EffectiveReceptiveField]) -> str:
    """`16 samples`, `1 to 64 samples`, or the weights that fields are expected of."""
    if results[0].expected is not None:
        return f"expected of {results[0].expected} weights"
    return counted_samples(result.count for result in results)
