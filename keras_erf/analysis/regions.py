"""The pixels that count: the paper's threshold region and the region of a given mass."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import ROUNDING, checked_map, checked_point, checked_share
from keras_erf.analysis.constants import MASS, THRESHOLD
from keras_erf.errors import InvalidInputError

__all__ = ["Region", "erf_size", "mass_region", "threshold_region"]

REFERENCES = ("peak", "center")


@dataclass(frozen=True, eq=False)
class Region:
    """A set of pixels that makes up an effective receptive field.

    Args:
        mask: Boolean array of the map's shape, true inside.
        mass: Share of the map's sum that lies inside.
        level: Value a pixel had to exceed (rule `"threshold"`) or to reach
            (rule `"mass"`).
        rule: `"threshold"` or `"mass"`.
        reference: What the threshold is a fraction of, `"peak"` or `"center"`;
            `None` for the rule `"mass"`.
        center: The point whose value was the reference, if that was `"center"`.
    """

    mask: np.ndarray
    mass: float
    level: float
    rule: str
    reference: str | None = None
    center: tuple[float, ...] | None = None

    @property
    def pixels(self) -> int:
        """Number of pixels inside."""
        return int(np.count_nonzero(self.mask))

    @property
    def size(self) -> float:
        """Side of the square (segment, cube) of as many pixels, in pixels."""
        return float(self.pixels ** (1 / self.mask.ndim))


def threshold_region(
    map: ArrayLike,
    *,
    fraction: float = THRESHOLD,
    reference: str = "peak",
    center: ArrayLike | None = None,
) -> Region:
    """Finds the pixels above a fraction of a reference value: the paper's rule.

    Luo et al. measure against the value at the centre. That is the map's
    largest value wherever a map peaks at its centre, and there both references
    agree. Behind early strides it is not: the map is a comb whose centre pixel
    may lie between two teeth (15 layers of 3x3, the first three with stride 2:
    4.9 times below the peak along an axis, 24 times in the plane), and the
    region grows by what is an accident of alignment. The peak is therefore the
    default; `reference="center"` follows the paper to the letter.

    On a 2-D Gaussian of spread sigma (large against a pixel) the region is a
    disc of radius `sqrt(2 ln(1 / fraction)) sigma`, holds exactly
    `1 - fraction` of the mass, and has size `sqrt(2 pi ln(1 / fraction)) sigma`:
    4.4063 sigma by default.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> region = keras_erf.analysis.threshold_region(bell)
        >>> region.pixels, round(region.size, 2)
        (177, 13.3)

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        fraction: Share of the reference a pixel must exceed, from 0 up to but
            not including 1.
        reference: `"peak"` for the largest value, `"center"` for the value at `center`.
        center: Centre of the unit's own field, one coordinate per axis, in
            pixels, inside the map; needed with `reference="center"`. Between
            pixels the reference is the mean of the nearest ones.

    Returns:
        A `Region`.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all
            zero; an option is out of range; or the map is zero at `center`.

    Reference:
        Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field
        in Deep Convolutional Neural Networks", NIPS 2016, experiments.
    """
    values = checked_map(map)
    if not 0 <= fraction < 1:
        raise InvalidInputError(
            argument="fraction",
            expected="must be at least 0 and below 1",
            received=f"fraction={fraction!r}",
        )
    if reference not in REFERENCES:
        raise InvalidInputError(
            argument="reference",
            expected=f"must be one of {REFERENCES}",
            received=f"reference={reference!r}",
        )
    point: tuple[float, ...] | None = None
    if reference == "peak":
        scale = values.max()
    elif center is None:
        raise InvalidInputError(
            argument="center",
            expected='must be given with reference="center"',
            remedy="pass the centre of the unit's field",
            received="center=None",
        )
    else:
        point = tuple(checked_point(center, values.ndim, "center").tolist())
        scale = _value_at(values, point)
    level = float(fraction * scale)
    mask = values > level
    return Region(
        mask=mask,
        mass=_mass_inside(values, mask),
        level=level,
        rule="threshold",
        reference=reference,
        center=point,
    )


def mass_region(map: ArrayLike, *, mass: float = MASS) -> Region:
    """Finds the smallest set of pixels that holds a share of the map.

    Pixels are taken from the largest value down until the share is reached;
    pixels equal to the last one taken are all in, so the region does not depend
    on any order. It stays put where a single outlier pixel would shrink the
    threshold region to a few pixels. On a 2-D Gaussian both coincide.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> keras_erf.analysis.mass_region(bell).pixels
        177

    Args:
        map: Array of one to three spatial axes; its absolute value is used.
        mass: Share of the map's sum to hold, above 0 and at most 1 (met to one
            part in 1e12).

    Returns:
        A `Region`; its `mass` is at least the one asked for.

    Raises:
        InvalidInputError: The map has a wrong rank, is not finite or is all
            zero, or `mass` is out of range.
    """
    values = checked_map(map)
    share = checked_share(mass, "mass")
    level = mass_level(values, share)
    mask = values >= level
    return Region(mask=mask, mass=_mass_inside(values, mask), level=level, rule="mass")


def mass_level(values: np.ndarray, share: float) -> float:
    """The value of the last pixel that `mass_region` takes; `values` not negative, not all 0."""
    descending, _, last = _ranked(values, share)
    return float(descending[last])


def mass_pixels(values: np.ndarray, share: float) -> float:
    """How many of the largest pixels hold a share of the mass, the last of them in part."""
    descending, held, last = _ranked(values, share)
    before = held[last - 1] if last else 0.0
    part = (share * held[-1] - before) / (descending[last] / descending[0])
    return float(last + np.clip(part, 0, 1))


def _ranked(values: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Values from the largest down, their sums over the peak, the place that meets the share."""
    descending = np.sort(values, axis=None)[::-1]
    held = np.cumsum(descending / descending[0])
    return descending, held, int(np.searchsorted(held, share * held[-1] * (1 - ROUNDING)))


def erf_size(
    map: ArrayLike,
    *,
    fraction: float = THRESHOLD,
    reference: str = "peak",
    center: ArrayLike | None = None,
) -> float:
    """Size of the effective receptive field by the paper's rule, in pixels.

    The root of the number of pixels in `threshold_region` (square root in 2-D,
    cube root in 3-D, the number itself in 1-D); same arguments, same errors.

    Examples:
        >>> at = np.arange(41) - 20
        >>> bell = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 3.0**2))
        >>> size = keras_erf.analysis.erf_size(bell)
        >>> round(size, 2), round(size / 3, 1)  # of a Gaussian 4.4 sigma
        (13.3, 4.4)
    """
    region = threshold_region(map, fraction=fraction, reference=reference, center=center)
    return region.size


def _value_at(values: np.ndarray, point: tuple[float, ...]) -> float:
    """Mean of the pixels nearest to `point`: one on each axis, or two at a half."""
    nearest = [sorted({int(np.ceil(at - 0.5)), int(np.floor(at + 0.5))}) for at in point]
    if any(at < 0 or at > size - 1 for at, size in zip(point, values.shape, strict=True)):
        raise InvalidInputError(
            argument="center",
            expected=f"must lie inside the map of shape {values.shape}",
            remedy='use reference="peak" for a unit whose field is centred outside',
            received=f"center={point}",
        )
    value = float(np.mean([values[index] for index in product(*nearest)]))
    if value == 0:
        raise InvalidInputError(
            argument="center",
            expected="must be a point where the map is not zero, else no threshold follows",
            remedy='use reference="peak"',
            received=f"center={point}",
        )
    return value


def _mass_inside(values: np.ndarray, mask: np.ndarray) -> float:
    relative = values / values.max()
    return float(relative[mask].sum() / relative.sum())
