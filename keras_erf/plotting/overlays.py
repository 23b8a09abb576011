"""A map over an image."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import refuse_masked
from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names, size_and_notes, wrapped
from keras_erf.plotting.content import mask_outline, read_content
from keras_erf.plotting.small import draw_box, draw_ring
from keras_erf.plotting.style import DASHES, MAP_SIDE, REGION, fit_figure, halo, new_axes

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_overlay"]


def plot_overlay(
    result: EffectiveReceptiveField, image: ArrayLike, ax: Axes | None = None, *, veil: float = 0.8
) -> Axes:
    """Draws an image as a unit sees it: clear where the impact is large, veiled elsewhere.

    The opacity of the veil falls with the root of the map's share of its peak. The outline of the
    2-sigma region, the ring of the fitted Gaussian and the theoretical field are drawn over it.

    Examples:
        >>> result = keras_erf.expected(keras_erf.zoo.build("plain", depth=4))
        >>> image = np.random.default_rng(0).random((*result.map.shape, 3))
        >>> ax = keras_erf.plotting.plot_overlay(result, image)

    Args:
        result: A result with a map of two spatial axes.
        image: Shape `(height, width)` or `(height, width, 3)`, of the map's size: whole numbers
            from 0 to 255, or values from 0 to 1.
        ax: Axes to draw on; a new figure if `None`.
        veil: Opacity of the veil where the impact is zero, from 0 to 1.

    Returns:
        The matplotlib `Axes`; coordinates are pixel indices.

    Raises:
        InvalidInputError: `image` or `veil` is invalid.
    """
    if not 0 <= veil <= 1:
        raise InvalidInputError(
            argument="veil", expected="must lie between 0 and 1", received=f"veil={veil!r}"
        )
    picture = _picture(image, result)
    content = read_content(result, "threshold", None)
    with sns.axes_style("ticks") if ax is None else nullcontext():
        own = ax is None
        height, width = picture.shape[:2]
        side = MAP_SIDE / max(height, width)
        ax = new_axes(width * side, height * side) if ax is None else ax
        ax.imshow(picture, vmin=0, vmax=1, cmap="gray")
        shares = content.values / content.values.max()
        ax.imshow(np.ones((*shares.shape, 3)), alpha=veil * (1 - np.sqrt(shares)))
        edges = list(mask_outline(content.mask))
        ax.add_collection(
            LineCollection(edges, colors=REGION, linewidths=1.2, path_effects=halo(1.2))
        )
        draw_ring(ax, content.ring, 1.6)
        draw_box(ax, content.box, linestyle=DASHES, linewidth=1.4, path_effects=halo(1.4))
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
        caption = f"{size_and_notes(result)}, {definition_names([result.definition.name])}"
        caption = wrapped(caption, MAP_SIDE, "medium")
        ax.set_title(f"{result.layer}\n{caption}", size="medium")
        sns.despine(ax=ax, left=True, bottom=True)
        if own:
            fit_figure(ax)
    return ax


def _picture(image: ArrayLike, result: EffectiveReceptiveField) -> np.ndarray:
    """The image with values from 0 to 1."""
    refuse_masked(image, "image")
    values = np.asarray(image)
    fits = values.ndim in (2, 3) and values.shape[:2] == result.map.shape
    if not fits or (values.ndim == 3 and values.shape[2] != 3):
        sides = " x ".join(map(str, result.map.shape))
        raise InvalidInputError(
            argument="image",
            expected=f"must be of the map's size, {sides}, grey or of three channels",
            received=f"image of shape {values.shape}",
        )
    if np.issubdtype(values.dtype, np.integer):
        return values / 255
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InvalidInputError(
            argument="image",
            expected="must hold whole numbers from 0 to 255, or values from 0 to 1: give it "
            "as it was before `preprocess`",
            received=f"values from {values.min():.4g} to {values.max():.4g}",
        )
    return values
