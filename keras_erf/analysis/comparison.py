"""An effective receptive field compared with its theoretical one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import box_slices, checked_map, checked_point
from keras_erf.analysis.gaussian import fit_gaussian
from keras_erf.analysis.moments import moments
from keras_erf.analysis.regions import erf_size, mass_region
from keras_erf.errors import InvalidInputError

__all__ = ["Comparison", "compare", "is_bell"]

# A convention of what is shown: a Gaussian that explains less than half of a map is no summary.
LEAST_R_SQUARED = 0.5


@dataclass(frozen=True)
class Comparison:
    """How much of its theoretical field a unit uses; all lengths in input pixels.

    Args:
        erf_size: Size by the paper's threshold rule, against the peak.
        mass_size: Size of the smallest set of pixels that holds 95.45 % of the map.
        trf_size: Theoretical field, one size per axis.
        ratio: `erf_size` over the geometric mean of `trf_size`.
        sigma: Spread of the fitted Gaussian along each axis; NaN if none can be fitted.
        r_squared: Share of the map's variance that Gaussian explains; NaN if none
            can be fitted.
        centroid: Centroid of the map, one coordinate per axis.
        offset: Centroid minus the field's centre, one length per axis.
    """

    erf_size: float
    mass_size: float
    trf_size: tuple[int, ...]
    ratio: float
    sigma: tuple[float, ...]
    r_squared: float
    centroid: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def is_bell(self) -> bool:
        """Whether the fitted Gaussian says something of the map's shape."""
        return is_bell(self.sigma, self.r_squared, self.trf_size)


def is_bell(sigma: Sequence[float], r_squared: float, sides: Sequence[int]) -> bool:
    """Whether a fit explains half of the variance or more, and is no wider than the field.

    Examples:
        >>> keras_erf.analysis.is_bell((3.0, 3.0), 0.97, (25, 25))
        True
        >>> keras_erf.analysis.is_bell((40.0, 3.0), 0.97, (25, 25))
        False

    Args:
        sigma: Spread of the fitted Gaussian along each axis, in pixels.
        r_squared: Share of the map's variance that it explains.
        sides: Theoretical field, one size per axis, in pixels.
    """
    # Comparisons with NaN, for no fit at all, are false.
    narrow = all(spread <= side for spread, side in zip(sigma, sides, strict=True))
    return bool(narrow and r_squared >= LEAST_R_SQUARED)


def compare(
    map: ArrayLike,
    center: ArrayLike,
    trf_size: Sequence[int],
    *,
    box: Sequence[tuple[int, int]] | None = None,
) -> Comparison:
    """Compares a map with the theoretical receptive field of its unit.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> found = keras_erf.analysis.compare(bell, (20, 20), (31, 31))
        >>> round(found.erf_size, 1), round(found.ratio, 2)
        (13.3, 0.43)

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        center: Centre of the unit's own field, one coordinate per axis, in
            pixels. It is in general not the middle of the map.
        trf_size: Size of the theoretical field, one per axis, in pixels.
        box: The pixels the Gaussian is fitted to, one `(start, stop)` pair per
            axis, cut at the map's edge; the whole map if `None`.

    Returns:
        A `Comparison`. A map that no Gaussian can be fitted to (constant, or of
        too few pixels) has NaN for `sigma` and `r_squared`.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all
            zero; or `center` or `trf_size` do not have one entry per axis.
    """
    values = checked_map(map)
    point = checked_point(center, values.ndim, "center")
    if len(trf_size) != values.ndim or any(size < 1 for size in trf_size):
        raise InvalidInputError(
            argument="trf_size",
            expected=f"must have one size of at least 1 for each of the map's {values.ndim} axes",
            received=f"trf_size={trf_size!r}",
        )
    box_slices(box, values.shape)  # a wrong box is an error, not a missing fit
    size = erf_size(values)
    centroid = moments(values).centroid
    try:
        fit = fit_gaussian(values, box=box)
        sigma, r_squared = fit.sigma, fit.r_squared
    except InvalidInputError:
        sigma, r_squared = np.full(values.ndim, np.nan), np.nan
    return Comparison(
        erf_size=size,
        mass_size=mass_region(values).size,
        trf_size=tuple(int(side) for side in trf_size),
        ratio=float(size / math.prod(trf_size) ** (1 / len(trf_size))),
        sigma=tuple(sigma.tolist()),
        r_squared=float(r_squared),
        centroid=tuple(centroid.tolist()),
        offset=tuple((centroid - point).tolist()),
    )
