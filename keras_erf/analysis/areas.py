"""How much of the picture it takes to hold a share of the contributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import ROUNDING, checked_map, checked_point, checked_share
from keras_erf.errors import InvalidInputError

__all__ = ["AreaRatio", "high_contribution_area", "mass_area"]


@dataclass(frozen=True)
class AreaRatio:
    """A centred box that holds a share of a map.

    Args:
        share: The share asked for.
        side: Side of the box in pixels, before the map's edge cuts it; `None`
            where no box answers.
        ratio: The box's pixels over the map's; `None` where no box answers.
    """

    share: float
    side: float | None
    ratio: float | None


def high_contribution_area(
    map: ArrayLike,
    share: float,
    *,
    center: Sequence[int] | None = None,
    start: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
) -> AreaRatio:
    """Computes RepLKNet's high-contribution area ratio, as published.

    Scores are `log10(A + 1)` over their largest; squares of side 3, 5, 7, ...
    around the centre pixel grow until one holds more than `share` of their sum;
    the answer is its side, and side squared over the map's area.

    Made to compare with published values, and with two of their traits. It is
    not scale-free: the logarithm flattens a map of large amplitude, so twice
    the gradient is another ratio. And the squares tried stop at side `h - 1`
    (even height `h`) or `h - 2` (odd): a larger share than they hold has no
    answer. `mass_area` has neither trait.

    Where the published script would run past the left or right edge (maps
    higher than wide), the square is cut at the edge; its area is not.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> keras_erf.analysis.high_contribution_area(bell, 0.5)
        AreaRatio(share=0.5, side=7, ratio=0.029149315883402735)
        >>> keras_erf.analysis.high_contribution_area(1e4 * bell, 0.5).side
        13

    Args:
        map: Array of shape `(h, w)`; its absolute value is used.
        share: Share of the scores to exceed, above 0 and at most 1.
        center: Centre pixel, one index per axis; `(h // 2, w // 2)` if `None`.
        start: First pixel of `map` in the whole map, which is zero around it; the
            whole map's own first pixel if `None`.
        shape: Shape of the whole map; `map` is the whole if `None`.

    Returns:
        An `AreaRatio`; its `side` and `ratio` are `None` if no square answers.

    Raises:
        InvalidInputError: The map is not 2-D, not finite or all zero; `share` is
            out of range; or `center` is no pixel of the map.

    Reference:
        Ding, Zhang, Han and Ding, "Scaling Up Your Kernels to 31x31", CVPR 2022;
        `erf/analyze_erf.py` of github.com/DingXiaoH/RepLKNet-pytorch.
    """
    values = checked_map(map)
    share = checked_share(share, "share")
    if values.ndim != 2:
        raise InvalidInputError(
            argument="map",
            expected="must have two axes, for which this ratio was published",
            remedy="use `mass_area` for others",
            received=f"map of shape {values.shape}",
        )
    first, (height, width) = _placed(values, start, shape)
    pixel = (height // 2, width // 2) if center is None else tuple(center)
    if len(pixel) != 2 or any(
        at not in range(size) for at, size in zip(pixel, (height, width), strict=True)
    ):
        raise InvalidInputError(
            argument="center",
            expected=f"must be a pixel of the map of shape {(height, width)}, one index per axis",
            received=f"center={center!r}",
        )

    # log1p is log10(A + 1) up to a factor the shares cancel, and keeps gradients below 1e-16.
    scores = np.log1p(values)
    ranks = _chebyshev_ranks(_distances(values, first, pixel), np.arange(max(height, width)))
    held = np.cumsum(np.bincount(ranks.ravel(), weights=scores.ravel()))
    for half in range(1, height // 2):
        if held[min(half, held.size - 1)] / held[-1] > share:
            side = 2 * half + 1
            return AreaRatio(share, side, side**2 / (height * width))
    return AreaRatio(share, None, None)


def mass_area(
    map: ArrayLike,
    share: float,
    *,
    center: ArrayLike | None = None,
    start: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
) -> AreaRatio:
    """Computes the scale-free form of RepLKNet's ratio, defined for every map.

    The smallest box around the field's own centre that holds at least `share`
    of the map itself, with no logarithm. It is a ball of the largest-coordinate
    (Chebyshev) distance, cut at the map's edge; the ratio counts the pixels
    that are left. For a 2-D Gaussian of spread sigma, well inside the map, the
    side is `2 sqrt(2) erfinv(sqrt(share)) sigma`.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> keras_erf.analysis.mass_area(bell, 0.5)
        AreaRatio(share=0.5, side=7.0, ratio=0.029149315883402735)
        >>> keras_erf.analysis.mass_area(1e4 * bell, 0.5).side
        7.0

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        share: Share of the map's sum to hold, above 0 and at most 1 (met to one
            part in 1e12).
        center: Centre of the unit's own field, one coordinate per axis, in
            pixels; it may lie between pixels. The middle of the map if `None`.
        start: First pixel of `map` in the whole map, which is zero around it; the
            whole map's own first pixel if `None`.
        shape: Shape of the whole map; `map` is the whole if `None`.

    Returns:
        An `AreaRatio`, never without an answer. A radius of r pixels is a side
        of `2 r + 1`, both ends' pixels included.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all
            zero; `share` is out of range; or `center` is not a point.
    """
    values = checked_map(map)
    share = checked_share(share, "share")
    first, whole = _placed(values, start, shape)
    if center is None:
        point = (np.array(whole) - 1) / 2
    else:
        point = checked_point(center, values.ndim, "center")
    distances = _distances(values, first, point)
    radii = np.unique(np.concatenate(distances))
    ranks = _chebyshev_ranks(distances, radii)
    held = np.cumsum(np.bincount(ranks.ravel(), weights=(values / values.max()).ravel()))
    radius = radii[np.searchsorted(held, share * held[-1] * (1 - ROUNDING))]
    inside = [
        int(np.count_nonzero(np.abs(np.arange(size) - at) <= radius))
        for size, at in zip(whole, point, strict=True)
    ]
    return AreaRatio(share, float(2 * radius + 1), math.prod(inside) / math.prod(whole))


def _placed(
    values: np.ndarray, start: Sequence[int] | None, shape: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First pixel and shape of the whole map, checked to hold `values`."""
    whole = values.shape if shape is None else tuple(shape)
    first = (0,) * values.ndim if start is None else tuple(start)
    if not len(whole) == len(first) == values.ndim or any(
        at < 0 or at + size > end for at, size, end in zip(first, values.shape, whole, strict=True)
    ):
        raise InvalidInputError(
            argument="start",
            expected=f"and `shape` must place the map of shape {values.shape} inside of a whole",
            received=f"start={start!r}, shape={shape!r}",
        )
    return first, whole


def _distances(values: np.ndarray, first: Sequence[int], point: ArrayLike) -> list[np.ndarray]:
    """Distance of each pixel of `values` from `point`, axis by axis."""
    return [
        np.abs(np.arange(start, start + size) - at)
        for start, size, at in zip(first, values.shape, np.asarray(point), strict=True)
    ]


def _chebyshev_ranks(distances: Sequence[np.ndarray], radii: np.ndarray) -> np.ndarray:
    """For each pixel, the first of the ascending `radii` that is no less than its distance."""
    return reduce(np.maximum.outer, [np.searchsorted(radii, line) for line in distances])
