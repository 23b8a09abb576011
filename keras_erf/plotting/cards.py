"""The display of results and profiles in a notebook: a small picture and metrics, as HTML."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import seaborn as sns
from matplotlib.figure import Figure

from keras_erf.plotting.captions import sample_text, size_text
from keras_erf.plotting.content import read_content
from keras_erf.plotting.profiles import plot_profile
from keras_erf.plotting.small import draw_box, draw_ring, draw_small
from keras_erf.plotting.style import DASHES, PROFILE, set_limits
from keras_erf.wording import by, noted

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["profile_card", "result_card"]

# Inches of a thumbnail; rows of a profile's table.
SIDE, ROWS = 1.9, 12


def result_card(result: EffectiveReceptiveField) -> str:
    """A thumbnail of the map next to the metrics of a result."""
    metrics = {
        "layer, unit": f"{result.layer}, {result.unit}",
        "ERF size": f"{size_text(result)} ({100 * result.ratio:.0f} %)",
        "theoretical field": f"{by(result.receptive_field.size)} px, "
        f"{result.receptive_field.status}",
        "definition": result.definition.name,
        "samples": sample_text([result]) + (" (linear)" if result.linear else ""),
    }
    if result.dead:
        metrics["without gradient"] = f"{100 * result.dead:.0f} % of the samples"
    r_squared = float(result.summary()["r_squared"])
    if math.isfinite(r_squared):
        sigma = ", ".join(f"{value:.1f}" for value in result.sigma)
        metrics["Gaussian"] = f"sigma {sigma} px, R² {r_squared:.2f}"
    if result.notes:
        metrics["notes"] = ", ".join(result.notes)
    return _side_by_side(_thumbnail(result), _table(metrics), f"map of {result.layer}")


def profile_card(profile: Profile) -> str:
    """The plot of a profile above the table of its layers."""
    if not profile.results:
        return f"<p>{html.escape(repr(profile))}</p>"
    figure = Figure(figsize=(5.8, 3.0), layout="constrained")
    with sns.axes_style("ticks"):
        plot_profile(profile, figure.subplots(), names=False)
    shown = profile.frame[["layer", "depth", "trf_size", "erf_size", "erf_size_error", "ratio"]]
    table = shown.to_html(
        index=False, max_rows=ROWS, border=0, float_format="{:.3g}".format, na_rep="–"
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in noted(profile.results))
    return f"{_image(figure, 'sizes over depth')}{table}{notes}"


def _thumbnail(result: EffectiveReceptiveField) -> Figure:
    """A map in its field, without scales or texts."""
    content = read_content(result, "threshold", 0.1)
    with sns.axes_style("ticks"):
        figure = Figure(figsize=(SIDE, SIDE if content.values.ndim > 1 else SIDE / 2))
        ax = figure.add_axes((0, 0, 1, 1))
        if content.values.ndim == 1:
            ax.fill_between(range(content.values.size), content.values, color=PROFILE, alpha=0.6)
            ax.set(xticks=[], yticks=[])
            sns.despine(ax=ax, left=True)
            set_limits(ax, content.window)
            ax.set(xticks=[], ylim=(0, None))
        else:
            draw_small(ax, content.values)
            draw_box(ax, content.box, linestyle=DASHES)
            draw_ring(ax, content.ring)
            set_limits(ax, content.window)
            ax.set(xticks=[], yticks=[])
    return figure


def _side_by_side(figure: Figure, table: str, alt: str) -> str:
    return (
        '<div style="display:flex;gap:1em;align-items:center;flex-wrap:wrap">'
        f"{_image(figure, alt)}{table}</div>"
    )


def _image(figure: Figure, alt: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    held = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{held}">'


def _table(metrics: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in metrics.items()
    )
    return f"<table>{rows}</table>"
