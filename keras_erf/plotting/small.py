"""Small maps: image, field and ring, without scales or text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from keras_erf.plotting.style import BELL, FIELD, default_cmap, halo, make_norm

if TYPE_CHECKING:
    from matplotlib.image import AxesImage

__all__ = ["draw_box", "draw_ring", "draw_small"]


def draw_small(ax: Axes, values: np.ndarray, *, scale: str = "linear", **options: Any) -> AxesImage:
    """Draws a map's absolute values as shares of their peak.

    Args:
        ax: Axes; ticks and spines are removed.
        values: Shape `(height, width)`.
        scale: As in `plot_map`.
        **options: Options of `imshow`.
    """
    shares = np.abs(values)
    options = {"cmap": default_cmap(), "norm": make_norm(scale, 1.0), **options}
    image = ax.imshow(shares / shares.max(), **options)
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)
    return image


def draw_box(ax: Axes, box: Sequence[tuple[float, float]], **options: Any) -> None:
    """Draws a theoretical field along the edges of pixels."""
    (top, bottom), (left, right) = box
    options = {"edgecolor": FIELD, "linewidth": 0.9, **options}
    corner = (left - 0.5, top - 0.5)
    ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, **options))


def draw_ring(ax: Axes, ring: np.ndarray | None, linewidth: float = 1.3) -> None:
    """Draws the ring of a Gaussian, if there is one."""
    if ring is not None:
        ax.plot(*ring[::-1], color=BELL, linewidth=linewidth, path_effects=halo(linewidth))
