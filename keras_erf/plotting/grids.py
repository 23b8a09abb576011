"""Many maps side by side on one scale: layers of a model, models, moments of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm

from keras_erf.errors import InvalidInputError
from keras_erf.plotting.captions import definition_names, size_and_notes, wrapped
from keras_erf.plotting.content import Content, named_results, read_content
from keras_erf.plotting.small import draw_box, draw_ring, draw_small
from keras_erf.plotting.style import DASHES, SCALES

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["plot_grid", "plot_pair"]

# Inches of a map's side and of the two lines above it; maps of a row; share of the field around it.
SIDE, ABOVE, COLUMNS, AROUND = 2.0, 0.55, 4, 0.08
# Blue and red of equal lightness, white for no change: colour-blind readers can distinguish them.
CHANGE = "vlag"


def plot_grid(
    results: Mapping[str, EffectiveReceptiveField] | Sequence[EffectiveReceptiveField],
    *,
    scale: str = "linear",
    columns: int | None = None,
    zoom: bool = False,
) -> np.ndarray:
    """Draws the maps of several results side by side.

    All maps show the same number of pixels around the centre of their theoretical fields, so that
    sizes can be compared by eye; colours are shares of each map's own peak. The dashed frame is
    the theoretical field; the ring is that of the fitted Gaussian, if it describes the map.

    Examples:
        >>> profile = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> len(keras_erf.plotting.plot_grid(profile.results))
        4

    Args:
        results: Results with 2-D maps: a list such as `Profile.results`, named by layers, or a
            mapping from names.
        scale: `"linear"`, `"sqrt"` or `"log"`, as in `plot_map`.
        columns: Number of maps in a row; `None` is up to four.
        zoom: Whether each map shows its own theoretical field only.

    Returns:
        The `Axes` in a row, one for each result; axes are input pixels from the field's centre.

    Raises:
        InvalidInputError: An option is invalid, or there is no 2-D map to draw.
    """
    shown = _shown(results, scale)
    columns = _columns(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    with sns.axes_style("ticks"):
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(columns * (SIDE + 0.12) + 0.9, rows * (SIDE + ABOVE)),
            squeeze=False,
            layout="constrained",
        )
        for ax in grid.ravel()[len(shown) :]:
            ax.set_axis_off()
        chosen = grid.ravel()[: len(shown)]
        widest = max(panel.reach for panel in shown)
        for ax, panel in zip(chosen, shown, strict=True):
            image = _draw(ax, panel, scale, panel.reach if zoom else widest)
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 1.4 / rows), aspect=18, pad=0.02)
        bar.set_label(_bar_label(shown, "impact, share of the peak"), size="small")
        bar.ax.tick_params(labelsize="small")
    return chosen


def plot_pair(
    before: EffectiveReceptiveField,
    after: EffectiveReceptiveField,
    *,
    names: tuple[str, str] = ("before", "after"),
    scale: str = "linear",
) -> np.ndarray:
    """Draws two maps of one input and the change between them.

    Both are drawn as in `plot_grid`. The third picture is the difference of their shares of the
    peak, second minus first: red where the impact increased, blue where it decreased.

    Examples:
        >>> before, after = (
        ...     keras_erf.expected(keras_erf.zoo.build(name)) for name in ("no_skip", "skip")
        ... )
        >>> len(keras_erf.plotting.plot_pair(before, after, names=("no skips", "skips")))
        3

    Args:
        before: A 2-D result.
        after: Another on an input of the same size.
        names: Their names.
        scale: Scale of both maps, as in `plot_map`; the difference is linear.

    Returns:
        Three `Axes`.

    Raises:
        InvalidInputError: An option is invalid, or the maps have different sizes.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise InvalidInputError(
            argument="names", expected="must be two different names", received=f"names={names!r}"
        )
    shown = _shown(dict(zip(names, (before, after), strict=True)), scale)
    if before.map.shape != after.map.shape:
        raise InvalidInputError(
            argument="after",
            expected="must be on an input of the size of `before`: give both one `input_shape`",
            received=f"{after.map.shape} and {before.map.shape}",
        )
    reach = max(panel.reach for panel in shown)
    with sns.axes_style("ticks"):
        figure, axes = plt.subplots(
            1, 3, figsize=(3 * (SIDE + 0.5) + 0.9, SIDE + ABOVE), layout="constrained"
        )
        for ax, panel in zip(axes, shown, strict=False):
            image = _draw(ax, panel, scale, reach)
        bar = figure.colorbar(image, ax=axes[:2], shrink=0.85, aspect=18, pad=0.02)
        bar.set_label(_bar_label(shown, "share of the peak"), size="small")
        first, second = (np.abs(panel.content.values) for panel in shown)
        change = axes[2].imshow(
            second / second.max() - first / first.max(),
            cmap=sns.color_palette(CHANGE, as_cmap=True),
            norm=CenteredNorm(),
            extent=_extent(shown[0]),
        )
        _frame(axes[2], shown[0], reach)
        axes[2].set_title("change", size="small")
        bars = figure.colorbar(change, ax=axes[2], shrink=0.85, aspect=18, pad=0.02)
        bars.set_label(f"{names[1]} less {names[0]}", size="small")
        for either in (bar, bars):
            either.ax.tick_params(labelsize="small")
    return axes


@dataclass(frozen=True, eq=False)
class _Shown:
    """A result to draw.

    Args:
        name: Its name.
        result: The result.
        content: The contents of its picture.
        differs: Whether results differ in their definitions, so that each names its own.
    """

    name: str
    result: EffectiveReceptiveField
    content: Content
    differs: bool

    @property
    def reach(self) -> float:
        sides = [stop - start for start, stop in self.content.box]
        # No further than the whole input.
        most = 2 * max(self.content.values.shape)
        return min(max(sides), most) * (0.5 + AROUND)


def _shown(results: Any, scale: str) -> list[_Shown]:
    if scale not in SCALES:
        raise InvalidInputError(
            argument="scale", expected=f"must be one of {SCALES}", received=f"scale={scale!r}"
        )
    named = named_results(results)
    for name, result in named:
        if result.map.ndim != 2:
            raise InvalidInputError(
                argument="results",
                expected="must be of two spatial axes: draw others one by one, by `plot_map`",
                received=f"{name!r} of {result.map.ndim}",
            )
    differs = len({result.definition.name for _, result in named}) > 1
    return [
        _Shown(name, result, read_content(result, "threshold", None), differs)
        for name, result in named
    ]


def _bar_label(shown: Sequence[_Shown], values: str) -> str:
    """The meaning of colours, with the definition if all maps share one."""
    first = shown[0]
    definition = definition_names([first.result.definition.name])
    return values if first.differs else f"{values}\n{definition}"


def _columns(columns: Any, count: int) -> int:
    if columns is None:
        # Rows of similar length: five maps are three and two.
        return math.ceil(count / math.ceil(count / COLUMNS))
    if isinstance(columns, bool) or not isinstance(columns, int) or columns < 1:
        raise InvalidInputError(
            argument="columns",
            expected="must be a whole number of at least 1",
            received=f"columns={columns!r}",
        )
    return min(columns, count)


def _extent(panel: _Shown) -> tuple[float, float, float, float]:
    """Edges of the input, from the field's centre."""
    (height, width), (row, column) = panel.content.values.shape, panel.content.center
    return -0.5 - column, width - 0.5 - column, height - 0.5 - row, -0.5 - row


def _draw(ax: Axes, panel: _Shown, scale: str, reach: float) -> Any:
    image = draw_small(ax, panel.content.values, scale=scale, extent=_extent(panel))
    _frame(ax, panel, reach)
    if panel.content.ring is not None:
        draw_ring(ax, panel.content.ring - np.array(panel.content.center)[:, None])
    name = wrapped(panel.name, SIDE, "small").split("\n")
    lines = [wrapped(size_and_notes(panel.result), SIDE, "small")]
    lines += [panel.result.definition.name] if panel.differs else []
    ax.set_title("\n".join([*name[:2], *lines]), size="small")
    return image


def _frame(ax: Axes, panel: _Shown, reach: float) -> None:
    box = tuple(
        (start - at, stop - at)
        for (start, stop), at in zip(panel.content.box, panel.content.center, strict=True)
    )
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=[], yticks=[])
    draw_box(ax, box, linestyle=DASHES)
    sns.despine(ax=ax, left=True, bottom=True)
