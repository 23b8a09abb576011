"""Maps of three axes: projections along each axis, or slices through the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names, size_and_notes, wrapped
from keras_erf.plotting.small import draw_box, draw_small
from keras_erf.plotting.style import DASHES, SCALES

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_volume"]

VIEWS = ("slices", "projections")
SIDE = 2.5


def plot_volume(
    result: EffectiveReceptiveField, *, view: str = "slices", scale: str = "linear"
) -> np.ndarray:
    """Draws slices or projections of a map of three spatial axes.

    Examples:
        >>> model = keras_erf.zoo.build("plain", depth=2, dims=3, input_shape=(9, 9, 9))
        >>> len(keras_erf.plotting.plot_volume(keras_erf.expected(model)))
        3

    Args:
        result: A result with a map of three spatial axes.
        view: `"slices"` through the pixel at the field's centre, or `"projections"`: sums over
            each axis.
        scale: Scale of the values, as in `plot_map`; the peak of each picture is 1.

    Returns:
        Three `Axes`: without the first, the second and the third axis. Coordinates are
        indices of pixels.

    Raises:
        InvalidInputError: An option is invalid, or the map does not have three axes.
    """
    for name, value, known in (("view", view, VIEWS), ("scale", scale, SCALES)):
        if value not in known:
            raise InvalidInputError(
                argument=name, expected=f"must be one of {known}", received=f"{name}={value!r}"
            )
    if result.map.ndim != 3:
        raise InvalidInputError(
            argument="result",
            expected="must have a map of three spatial axes: `plot_map` draws others",
            received=f"{result.map.ndim}",
        )
    values, box = np.abs(result.map), result.receptive_field.box()
    center = np.round(result.receptive_field.center()).astype(int)
    center = np.clip(center, 0, np.array(values.shape) - 1)
    with sns.axes_style("ticks"):
        figure, axes = plt.subplots(
            1, 3, figsize=(3 * SIDE + 1.2, SIDE + 0.7), layout="constrained"
        )
        for hidden, ax in enumerate(axes):
            left = tuple(axis for axis in range(3) if axis != hidden)
            if view == "projections":
                shown, title = values.sum(axis=hidden), f"sum over axis {hidden}"
            else:
                shown = values.take(center[hidden], axis=hidden)
                title = f"axis {hidden} at {center[hidden]}"
            image = draw_small(ax, shown, scale=scale)
            draw_box(ax, tuple(box[axis] for axis in left), linestyle=DASHES)
            ax.set(
                xlim=(-0.5, shown.shape[1] - 0.5),
                ylim=(shown.shape[0] - 0.5, -0.5),
                xlabel=f"axis {left[1]} (px)",
                ylabel=f"axis {left[0]} (px)",
            )
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(4, integer=True))
            ax.set_title(title, size="small")
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the peak")
        title = f"{size_and_notes(result)}, {definition_names([result.definition.name])}"
        figure.suptitle(wrapped(f"{result.layer}: {title}", 3 * SIDE, "medium"), size="medium")
    return axes
