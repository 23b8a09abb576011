"""What every metric asks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.errors import InvalidInputError

MAX_AXES = 3
# Relative accuracy of sums over a map; shares are met up to it, so that ties are stable.
ROUNDING = 1e-12


def checked_map(map: ArrayLike) -> np.ndarray:
    """Absolute value of `map` as float64, refused unless it can have an extent.

    Returns:
        A new array of the same shape.

    Raises:
        InvalidInputError: `map` is not numeric, has no axis or more than three,
            is empty, holds NaN or infinity, or is zero everywhere.
    """
    refuse_masked(map, "map")
    values = np.asarray(map)
    if values.dtype.kind not in "biuf":
        raise InvalidInputError(
            argument="map",
            expected="must be an array of real numbers",
            remedy="take the real part or the absolute value first",
            received=f"map of dtype {values.dtype}",
        )
    if not 1 <= values.ndim <= MAX_AXES or values.size == 0:
        raise InvalidInputError(
            argument="map",
            expected=f"must have one to {MAX_AXES} spatial axes of at least one pixel",
            remedy="reduce samples and channels first",
            received=f"map of shape {values.shape}",
        )
    values = np.abs(values.astype(np.float64))
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise InvalidInputError(
            argument="map",
            expected="must be finite",
            remedy="leave out the samples whose gradient overflows",
            received=f"map with {count} values that are NaN or infinite",
        )
    if not values.any():
        raise InvalidInputError(
            argument="map",
            expected="must have at least one value other than zero",
            remedy=("a unit without gradient has no effective field, choose another unit or input"),
            received=f"map of shape {values.shape}, all zero",
        )
    return values


def refuse_masked(values: Any, name: str) -> None:
    """Refuses masked values, which NumPy would hand over without their mask.

    Raises:
        InvalidInputError: A value is masked.
    """
    masked = _masked(values)
    if masked:
        raise InvalidInputError(
            argument=name,
            expected="must have no masked values, as masks are not read",
            remedy="fill them first, by `.filled(0)` for example",
            received=f"{masked} masked values",
        )


def _masked(values: Any) -> int:
    if isinstance(values, (list, tuple)):
        return sum(_masked(value) for value in values)
    return int(np.ma.count_masked(values)) if isinstance(values, np.ma.MaskedArray) else 0


def checked_point(point: ArrayLike, ndim: int, name: str) -> np.ndarray:
    """`point` as a float64 vector of `ndim` finite coordinates."""
    refuse_masked(point, name)
    try:
        values = np.asarray(point, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(())
    if values.shape != (ndim,) or not np.isfinite(values).all():
        raise InvalidInputError(
            argument=name,
            expected=(
                f"must have one finite coordinate for each of the map's {ndim} axes, in pixels"
            ),
            received=f"{name}={point!r}",
        )
    return values


def checked_share(share: float, name: str) -> float:
    """`share` as a float, refused outside (0, 1]."""
    if not 0 < share <= 1:
        raise InvalidInputError(
            argument=name,
            expected="must be a share above 0 and at most 1",
            received=f"{name}={share!r}",
        )
    return float(share)


def box_slices(box: Sequence[tuple[int, int]] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices of the part of `box` that lies in a map of `shape`; the whole map for `None`."""
    if box is None:
        return tuple(slice(0, size) for size in shape)
    if len(box) != len(shape):
        raise InvalidInputError(
            argument="box",
            expected=f"must have one (start, stop) pair for each of the map's {len(shape)} axes",
            received=f"box={box!r}",
        )
    cut = tuple(
        slice(max(int(start), 0), min(int(stop), size))
        for (start, stop), size in zip(box, shape, strict=True)
    )
    if any(part.start >= part.stop for part in cut):
        raise InvalidInputError(
            argument="box",
            expected=f"must share pixels with the map of shape {shape}",
            received=f"box={box!r}",
        )
    return cut


def checked_level(level: float) -> float:
    """The probability of an interval to cover.

    Raises:
        InvalidInputError: It does not lie between 0 and 1.
    """
    if not 0 < level < 1:
        raise InvalidInputError(
            argument="level",
            expected="must lie between 0 and 1, such as 0.95",
            remedy="it is the probability to cover",
            received=f"level={level!r}",
        )
    return level


def plain(values: np.ndarray) -> np.ndarray | float:
    """An array, or the number that one without axes holds."""
    return float(values) if values.ndim == 0 else values
