"""The picture of a result: map or curve, region, ring, box, centre, profiles."""

from __future__ import annotations

import difflib
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap
from matplotlib.patches import Rectangle
from matplotlib.transforms import BboxTransformTo, ScaledTranslation, blended_transform_factory

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import add_texts, field_label, region_label
from keras_erf.plotting.content import Content, mask_outline, pixel_edges, read_content
from keras_erf.plotting.style import (
    BAR,
    BELL,
    CALM,
    DASHES,
    DEPTH,
    FAINTEST,
    FIELD,
    GAP,
    MAP_SIDE,
    PROFILE,
    REGION,
    REGIONS,
    SCALES,
    SLIMMEST,
    default_cmap,
    figure_of,
    fit_figure,
    halo,
    make_norm,
    new_axes,
    scale_ceiling,
    scale_floor,
    set_limits,
    set_scale,
)

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_map"]


def plot_map(
    result: EffectiveReceptiveField,
    ax: Axes | None = None,
    *,
    scale: str = "linear",
    region: str = "threshold",
    margin: float | None = 0.25,
    marginals: bool = True,
    cmap: str | Colormap | None = None,
) -> Axes:
    """Draws the map of a result, with its region, Gaussian and theoretical field.

    An image shows the map, the outline of the 2-sigma region, the ring of the
    fitted Gaussian, the box of the theoretical field and its centre. The map's sums
    over rows and columns are above and to the right of it; definition, samples and
    sizes are below. The outline encloses exactly the pixels that are counted; the
    ring is the outline if the map were its Gaussian: at
    `sqrt(2 ln(1 / 0.0455)) = 2.486` sigma in 2-D. A map that is not bell-shaped (no
    fit, R² below 0.5, or a sigma larger than the field) is drawn without the ring.

    Pixels are square, except in images more than six times longer than wide, which
    are stretched to that ratio. A sequence is drawn as a curve with a band of its
    standard error. A volume is summed over its first axis, and its region and
    Gaussian are projected along it. Signed maps are drawn as absolute values, which
    all metrics use.

    Examples:
        >>> result = keras_erf.expected(keras_erf.zoo.build("plain", depth=4))
        >>> keras_erf.plotting.plot_map(result).get_xlabel()
        'input column (px)'

    Args:
        result: A result with a map of one to three spatial axes.
        ax: Axes to draw on, preferably in a figure with `layout="constrained"`: profiles
            and colour bar are outside of the axes. A new figure if `None`.
        scale: Scale of the values: `"linear"`, `"sqrt"`, or `"log"`, which ends at
            1e-4 of the peak.
        region: `"threshold"` or `"mass"`, as in the result's `region`.
        margin: Margin around the theoretical field, as a share of its longest side.
            `None` shows the whole input, which is also shown if zooming in would
            gain little.
        marginals: Whether to draw the profiles next to an image.
        cmap: Colour map of an image.

    Returns:
        The matplotlib `Axes` of the map. Coordinates are pixel indices.

    Raises:
        InvalidInputError: `scale`, `region`, `margin` or `cmap` is invalid.

    Reference:
        Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field
        in Deep Convolutional Neural Networks", NIPS 2016, section 4 (the region).
    """
    if scale not in SCALES:
        raise InvalidInputError(
            argument="scale", expected=f"must be one of {SCALES}", received=f"scale={scale!r}"
        )
    if region not in REGIONS:
        raise InvalidInputError(
            argument="region", expected=f"must be one of {REGIONS}", received=f"region={region!r}"
        )
    if isinstance(cmap, str) and cmap not in colormaps:
        near = difflib.get_close_matches(cmap, colormaps, n=3)
        raise InvalidInputError(
            argument="cmap",
            expected="must be a colour map of matplotlib, or its "
            f"name{(', such as ' + ', '.join(near) if near else '')}",
            received=f"cmap={cmap!r}",
        )
    if margin is not None and not 0 <= margin < math.inf:
        raise InvalidInputError(
            argument="margin",
            expected="must be a finite share of the field's side, 0 or more, or None for the whole "
            "input",
            received=f"margin={margin!r}",
        )
    content = read_content(result, region, margin)
    # Existing axes keep their style.
    with sns.axes_style("ticks") if ax is None else nullcontext():
        if content.values.ndim == 1:
            return _draw_curve(result, content, ax, scale)
        return _draw_image(result, content, ax, scale, marginals, cmap)


def _draw_image(
    result: EffectiveReceptiveField,
    content: Content,
    ax: Axes | None,
    scale: str,
    marginals: bool,
    cmap: str | Colormap | None,
) -> Axes:
    height, width = (stop - start for start, stop in content.window)
    tall, wide = (max(size / max(height, width), SLIMMEST) for size in (height, width))
    own = ax is None
    ax = new_axes(wide * MAP_SIDE, tall * MAP_SIDE) if ax is None else ax
    # In inches, so that profiles and bar keep their sizes when a layout moves the map.
    figure = figure_of(ax)
    side = min(ax.bbox.width / wide, ax.bbox.height / tall) / figure.dpi
    gap, depth, thickness = GAP * side, DEPTH * side if marginals else 0.0, BAR * side
    aside = gap + (depth + gap if marginals else 0.0)
    peak, pixel = content.values.max(), 72 * side / max(height, width)
    edges = mask_outline(content.mask)
    # The outline of a speckled region would hide the map if it were opaque.
    calm = min(1.0, CALM * 4 * math.sqrt(content.mask.sum()) / len(edges))
    outline = float(np.clip(0.4 * pixel * calm, 0.5, 1.2))
    image = ax.imshow(
        content.values,
        cmap=default_cmap() if cmap is None else cmap,
        norm=make_norm(scale, peak),
        interpolation="antialiased",
    )
    ax.add_collection(
        LineCollection(
            list(edges),
            colors=REGION,
            linewidths=outline,
            alpha=max(calm, FAINTEST),
            capstyle="projecting",
            label=region_label(content.region),
        )
    )
    if content.ring is not None:
        ax.plot(
            *content.ring[::-1],
            color=BELL,
            linewidth=1.8,
            label="2σ ring of the Gaussian fit",
            path_effects=halo(1.8),
        )
    (top, bottom), (left, right) = content.box
    ax.add_patch(
        Rectangle(
            (left - 0.5, top - 0.5),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=FIELD,
            linestyle=DASHES,
            linewidth=1.4,
            label=field_label(result),
            path_effects=halo(1.4),
        )
    )
    ax.plot(
        *content.center[::-1],
        marker="+",
        linestyle="none",
        color=FIELD,
        markersize=9,
        markeredgewidth=1.6,
        label="centre of the field",
        path_effects=halo(1.6),
    )
    set_limits(ax, content.window)
    ax.set_aspect(tall * width / (wide * height))
    ax.grid(False)
    ax.set_xlabel("input column (px)")
    ax.set_ylabel("input row (px)")
    corner = figure.dpi_scale_trans + ScaledTranslation(1, 1, BboxTransformTo(ax.bbox))
    over = blended_transform_factory(ax.transAxes, corner)
    right_of = blended_transform_factory(corner, ax.transAxes)
    if marginals:
        columns = ax.inset_axes((0, gap, 1, depth), transform=over, sharex=ax)
        rows = ax.inset_axes((gap, 0, depth, 1), transform=right_of, sharey=ax)
        _draw_profile(columns, content, 1, scale)
        _draw_profile(rows, content, 0, scale)
    bar = ax.inset_axes((aside, 0, thickness, 1), transform=right_of)
    figure.colorbar(
        image, cax=bar, label="impact on the unit", extend="min" if scale == "log" else "neither"
    )
    if result.map.ndim == 2:
        bar.axhline(content.region.level, color=REGION, linewidth=1.6)
    add_texts(
        ax,
        result,
        content,
        width=wide * side,
        aside=aside + thickness,
        above=depth + gap if marginals else 0.0,
        own=own,
    )
    if own:
        fit_figure(ax)
    return ax


def _draw_profile(ax: Axes, content: Content, axis: int, scale: str) -> None:
    """A marginal of the map and of its Gaussian; that of rows is vertical, next to the map."""
    profile = content.profiles[axis]
    peak = profile.max()
    floor = scale_floor(scale, peak)
    if axis:
        set_scale(ax.set_yscale, scale)
        filled = ax.stairs(profile, pixel_edges(profile), baseline=floor, fill=True)
    else:
        set_scale(ax.set_xscale, scale)
        filled = ax.stairs(
            profile, pixel_edges(profile), baseline=floor, fill=True, orientation="horizontal"
        )
    filled.set(color=PROFILE, alpha=0.45)
    for bell in content.bells[axis : axis + 1]:
        at = np.arange(bell.size)
        ax.plot(*((at, bell) if axis else (bell, at)), color=BELL, linewidth=1.5)
        peak = max(peak, bell.max())
    for edge in content.box[axis]:
        (ax.axvline if axis else ax.axhline)(
            edge - 0.5, color=FIELD, linestyle=DASHES, linewidth=0.9
        )
    (ax.set_ylim if axis else ax.set_xlim)(floor, scale_ceiling(scale, peak))
    ax.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    ax.grid(False)
    sns.despine(ax=ax, left=bool(axis), bottom=not axis)


def _draw_curve(
    result: EffectiveReceptiveField, content: Content, ax: Axes | None, scale: str
) -> Axes:
    own = ax is None
    ax = new_axes(1.4 * MAP_SIDE, 0.6 * MAP_SIDE) if ax is None else ax
    values, error = content.values, result.standard_error
    edges, peak = pixel_edges(values), values.max()
    floor = scale_floor(scale, peak)
    set_scale(ax.set_yscale, scale)
    ax.stairs(values, edges, baseline=None, color=PROFILE, linewidth=1.3, label="map")
    if np.isfinite(error).all() and not result.constant:
        ax.stairs(
            values + error,
            edges,
            baseline=np.maximum(values - error, floor),
            fill=True,
            color=PROFILE,
            alpha=0.4,
            label="± standard error",
        )
        peak = max(peak, (values + error).max())
    ax.stairs(
        np.where(content.mask, values, np.nan),
        edges,
        baseline=floor,
        fill=True,
        color=REGION,
        alpha=0.22,
        zorder=0.5,
        label=region_label(content.region),
    )
    ax.axhline(content.region.level, color=REGION, linewidth=1, label="level of the region")
    for bell in content.bells:
        ax.plot(bell, color=BELL, linewidth=1.8, label="Gaussian fit", path_effects=halo(1.8))
        peak = max(peak, bell.max())
    ((start, stop),) = content.box
    ax.axvspan(
        start - 0.5, stop - 0.5, color="0.93", linewidth=0, zorder=0, label=field_label(result)
    )
    ax.axvline(content.center[0], color=FIELD, linestyle=":", label="centre of the field")
    set_limits(ax, content.window)
    ax.set_ylim(floor, scale_ceiling(scale, peak))
    ax.set_xlabel("input position (px)")
    ax.set_ylabel("impact on the unit")
    sns.despine(ax=ax)
    add_texts(ax, result, content, width=ax.bbox.width / figure_of(ax).dpi, own=own)
    if own:
        fit_figure(ax)
    return ax
