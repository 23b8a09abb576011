"""A Gaussian as least squares sees it: residuals and slopes on an open grid.

Parameters are `[amplitude, center (d), factor (d (d + 1) / 2)]`; the factor `L` is
lower triangular, row by row, its diagonal in logarithms, and the precision is
`L L' + least I`: positive definite for any parameters, never quite singular.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["RESIDUAL_FLOOR", "bell", "jacobian", "open_grid", "pack", "residuals", "unpack"]

# A constant residual (the peak is 1): lets fits that become exact meet a relative tolerance.
RESIDUAL_FLOOR = 1e-6
# Keeps exp() of the factor's log-diagonal finite; far outside any spread a map can show.
LOG_LIMIT = 25.0


def open_grid(shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Pixel coordinates of a map of `shape`, one array per axis that broadcast together."""
    return np.ix_(*(np.arange(size, dtype=np.float64) for size in shape))


def pack(amplitude: float, center: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Parameters of the Gaussian with these values (`least` not taken off)."""
    factor = np.linalg.cholesky(precision)
    diagonal = np.diag_indices_from(factor)
    factor[diagonal] = np.log(factor[diagonal])
    return np.concatenate([[amplitude], center, factor[np.tril_indices_from(factor)]])


def unpack(parameters: np.ndarray, ndim: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Amplitude, centre and factor `L`, its logarithms taken back."""
    factor = np.zeros((ndim, ndim))
    factor[np.tril_indices(ndim)] = parameters[1 + ndim :]
    diagonal = np.diag_indices(ndim)
    factor[diagonal] = np.exp(np.clip(factor[diagonal], -LOG_LIMIT, LOG_LIMIT))
    return float(parameters[0]), parameters[1 : 1 + ndim], factor


def bell(
    grid: Sequence[np.ndarray], center: np.ndarray, factor: np.ndarray, least: float = 0.0
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """The Gaussian of height 1 on an open grid.

    Also the offsets `x - center` and the entries of `L' (x - center)`, each over
    as few axes as it depends on.
    """
    offsets = [line - at for line, at in zip(grid, center, strict=True)]
    white = []
    for k in range(len(grid)):
        entry = factor[k, k] * offsets[k]
        for axis in range(k + 1, len(grid)):
            entry = entry + factor[axis, k] * offsets[axis]
        white.append(entry)
    exponent = sum(part**2 for part in white) + least * sum(part**2 for part in offsets)
    return np.exp(-0.5 * exponent), offsets, white


def residuals(
    parameters: np.ndarray, values: np.ndarray, grid: Sequence[np.ndarray], least: float
) -> np.ndarray:
    """Gaussian minus `values` at each pixel, then the constant floor; shape `(pixels + 1,)`."""
    amplitude, center, factor = unpack(parameters, values.ndim)
    height, _, _ = bell(grid, center, factor, least)
    return np.append(amplitude * height - values, RESIDUAL_FLOOR)


def jacobian(
    parameters: np.ndarray, values: np.ndarray, grid: Sequence[np.ndarray], least: float
) -> np.ndarray:
    """Slopes of `residuals`, shape `(pixels + 1, parameters)`."""
    ndim = values.ndim
    amplitude, center, factor = unpack(parameters, ndim)
    height, offsets, white = bell(grid, center, factor, least)
    columns = np.zeros((parameters.size, values.size + 1))
    columns[0, :-1] = height.ravel()
    scaled = amplitude * height
    for axis in range(ndim):
        slope = least * offsets[axis]
        for k in range(axis + 1):
            slope = slope + factor[axis, k] * white[k]
        columns[1 + axis, :-1] = (scaled * slope).ravel()
    for entry, (row, column) in enumerate(zip(*np.tril_indices(ndim), strict=True)):
        slope = -white[column] * offsets[row]
        if row == column:
            slope = slope * factor[row, row]
        columns[1 + ndim + entry, :-1] = (scaled * slope).ravel()
    return columns.T
