"""The contents of a picture of a result: no drawing here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaincinv

from keras_erf import analysis
from keras_erf.errors import InvalidInputError
from keras_erf.plotting.style import LEAST_GAIN

if TYPE_CHECKING:
    from keras_erf.algebra.geometry import Box
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["Content", "mask_outline", "named_results", "pixel_edges", "read_content"]


@dataclass(frozen=True, eq=False)
class Content:
    """The contents of a picture, on one or two axes; the first of three axes is summed over.

    Args:
        values: The map, non-negative.
        region: The 2-sigma region of the full map.
        mask: Its pixels, or their projection.
        box: Theoretical field.
        center: Centre of the theoretical field.
        window: Pixels to show, one `(start, stop)` pair per axis.
        profiles: Marginals of the map, one per axis.
        fit: Gaussian of the full map; `None` if there is none.
        bells: Marginals of the Gaussian, one per axis; empty if it does not describe the map.
        ring: Points of the Gaussian's ring, shape `(d, points)`; `None` if it does not describe
            the map.
    """

    values: np.ndarray
    region: analysis.Region
    mask: np.ndarray
    box: Box
    center: tuple[float, ...]
    window: Box
    profiles: tuple[np.ndarray, ...]
    fit: analysis.GaussianFit | None
    bells: tuple[np.ndarray, ...] = ()
    ring: np.ndarray | None = None


def read_content(result: EffectiveReceptiveField, rule: str, margin: float | None) -> Content:
    """Reads the contents of a picture from a result, with a rule for its region."""
    values, region = np.abs(result.map), result.region(rule)
    # Axes before the last two are summed over.
    hidden = tuple(range(values.ndim - 2))
    shown = slice(len(hidden), None)
    box = result.receptive_field.box()[shown]
    drawn = values.sum(axis=hidden)
    fit, ring = _gaussian(result), None
    bells: tuple[np.ndarray, ...] = ()
    if fit is not None and analysis.is_bell(
        fit.sigma.tolist(), fit.r_squared, result.receptive_field.size
    ):
        bells = analysis.marginals(fit.evaluate(values.shape))[shown]
        ring = _ring(fit.center[shown], fit.covariance[shown, shown], _radius(rule, values.ndim))
    return Content(
        values=drawn,
        region=region,
        mask=np.asarray(region.mask.any(axis=hidden)),
        box=box,
        center=result.receptive_field.center()[shown],
        window=_window(box, drawn.shape, margin),
        profiles=analysis.marginals(values)[shown],
        fit=fit,
        bells=bells,
        ring=ring,
    )


def named_results(results: Any) -> list[tuple[str, EffectiveReceptiveField]]:
    """Results with names: the keys of a mapping, or the names of their layers.

    Raises:
        InvalidInputError: There are no results.
    """
    if isinstance(results, Mapping):
        named = [(str(name), result) for name, result in results.items()]
    else:
        several = results if isinstance(results, Iterable) else [results]
        named = [(result.layer, result) for result in several]
    if not named:
        raise InvalidInputError(
            argument="results", expected="must hold at least one result", received="none"
        )
    return named


def _gaussian(result: EffectiveReceptiveField) -> analysis.GaussianFit | None:
    try:
        return result.gaussian()
    except InvalidInputError:
        return None


def _radius(rule: str, ndim: int) -> float:
    """Radius of a Gaussian's own 2-sigma region, in sigma; both rules give 2.486 in 2-D."""
    if rule == "threshold":
        return math.sqrt(2 * math.log(1 / analysis.THRESHOLD))
    # The squared radius is chi-squared: half of it follows a gamma law.
    return math.sqrt(2 * gammaincinv(ndim / 2, analysis.MASS))


def _ring(center: np.ndarray, covariance: np.ndarray, radius: float) -> np.ndarray:
    """Points `radius` sigma from the centre; an ellipsoid projects to the ring of its marginal."""
    angles = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angles), np.sin(angles)])[: center.size]
    return center[:, None] + radius * np.linalg.cholesky(covariance) @ circle


def _window(box: Box, shape: Sequence[int], margin: float | None) -> Box:
    """The part of the input to show: the box and a margin, or everything."""
    whole = tuple((0, size) for size in shape)
    if margin is None:
        return whole
    around = math.ceil(margin * max(stop - start for start, stop in box))
    window = tuple(
        (max(start - around, 0), min(stop + around, size))
        for (start, stop), size in zip(box, shape, strict=True)
    )
    kept = [(stop - start) / size for (start, stop), size in zip(window, shape, strict=True)]
    return whole if min(kept) > 1 - LEAST_GAIN else window


def mask_outline(mask: np.ndarray) -> np.ndarray:
    """Pixel edges between inside and outside, as (column, row) segments of shape `(n, 2, 2)`."""
    padded = np.pad(mask, 1)
    # An edge lies before pixel i of the padded mask's differences: at i - 0.5 of the mask's.
    row, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    level = np.stack([[column - 0.5, row - 0.5], [column + 0.5, row - 0.5]])
    row, column = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = np.stack([[column - 0.5, row - 0.5], [column - 0.5, row + 0.5]])
    return np.concatenate([level, upright], axis=-1).transpose(2, 0, 1)


def pixel_edges(values: np.ndarray) -> np.ndarray:
    """Edges of the pixels of a row of values."""
    return np.arange(values.size + 1) - 0.5
