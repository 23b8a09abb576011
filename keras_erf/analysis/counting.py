"""Standard errors of counts of pixels, which move in steps, from balanced replicates.

The jackknife compares means that differ by a block: their differences are about
four times finer than the noise of the mean, and there a count of pixels has its
steps. Its error is then too wide on average and often zero, and does not settle
with more samples. Balanced replicates move the mean by as much as its own noise
does, and are right for steps as for smooth metrics:

    mean + sum_j  z_j (mean of block j - mean) / sqrt(B (n / m_j - 1)),

with the signs `z` from the rows of a Hadamard matrix, each row also negated.
Columns are orthogonal, so the replicates' covariance is exactly the jackknife's
of the mean map; each row's negative cancels the odd orders of a metric's bias.

References:
    McCarthy, "Pseudo-replication: half samples", Review of the International
    Statistical Institute 37 (1969), 239. Steps: Shao and Wu, "Asymptotic
    properties of the balanced repeated replication method for sample
    quantiles", Annals of Statistics 20 (1992), 1571; that the jackknife fails:
    Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982),
    section 3.4.

Everywhere `sums` are the sums of the samples of each block, shape `(B, ...)`, and `counts`
their numbers, shape `(B,)`, none 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg import hadamard

from keras_erf.analysis.constants import MASS, THRESHOLD
from keras_erf.analysis.estimates import Spread
from keras_erf.analysis.regions import erf_size, mass_pixels, mass_region

__all__ = [
    "balanced_means",
    "mass_size_rounded",
    "mass_size_spreads",
    "replicate_spreads",
    "size_spread",
]

# Parts of a pixel that sums of a map differ by.
STEP = 1e-9


def balanced_means(sums: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Absolute values of mean maps that scatter as the mean of the samples does.

    Yields:
        Arrays of shape `sums.shape[1:]`, twice as many as the smallest power of
        two above `B`. Of maps that are never negative none becomes so.
    """
    column = (-1,) + (1,) * (sums.ndim - 1)
    mean = sums.sum(axis=0) / counts.sum()
    shares = counts / counts.sum()
    scale = np.sqrt(shares / (1 - shares) / counts.size) / counts
    # Taken off per sample first, so that blocks that agree leave exactly nothing.
    moves = (sums - mean * counts.reshape(column)) * scale.reshape(column)
    signs = hadamard(2 ** int(counts.size).bit_length())[:, 1 : counts.size + 1]
    positive = bool((sums >= 0).all())
    for row in signs:
        move = np.tensordot(row, moves, axes=1)
        for replicate in (mean + move, mean - move):
            yield np.maximum(replicate, 0) if positive else np.abs(replicate)


def size_spread(sums: np.ndarray, counts: np.ndarray) -> Spread:
    """`erf_size` of the mean map, the centre of its interval and its standard error.

    The peak is a largest value, and of noisy values that is too high: the
    threshold is too, and the size too small, in wide maps by more than it
    scatters. Replicates have twice the noise and show the peak's bias once more,
    so theirs are lowered by its square. The centre is the replicates' mean size.
    Where one pixel stands out this takes off all of the bias; on a flat top
    (k equal pixels) the peak's bias grows as the root of the noise's variance,
    and 0.7 of what was taken off is left. So the error, which is of the size
    itself with its bias, has two parts: the replicates' spread, and all that
    lowering their peaks has changed.

    Returns:
        A `Spread` in pixels; centre and error are NaN unless two blocks have impact.
    """
    mean = np.abs(sums.sum(axis=0)) / counts.sum()
    size = erf_size(mean)
    if _blocks_with_impact(sums) < 2:
        return Spread(size, np.nan, np.nan)
    peaks = np.array([mean.max() for mean in balanced_means(sums, counts)])
    lowered = peaks * (mean.max() / peaks.mean()) ** 2
    pixels = [
        [np.count_nonzero(mean > THRESHOLD * level) for level in (low, peak)]
        for mean, low, peak in zip(balanced_means(sums, counts), lowered, peaks, strict=True)
    ]
    sizes, untreated = np.array(pixels).T ** (1 / mean.ndim)
    centre = sizes.mean()
    return Spread(size, centre, np.hypot(sizes.std(), centre - untreated.mean()))


def mass_size_spreads(sums: np.ndarray, counts: np.ndarray) -> tuple[Spread, Spread]:
    """Spreads of the size of the mean map's `mass_region`, and of the smooth size behind it.

    The error of the size is the replicates' root mean square about the size itself, which
    is the centre of its interval, as is usual with balanced replicates. The region's last
    pixel is needed in part. Counted in part, the number of pixels is a smooth function of
    the map, of which replicates show the bias, and the whole count is the next whole
    number (`mass_size_rounded`). So an interval of the smooth size whose ends are rounded
    covers the whole one at least as often, however few steps the count has.

    Returns:
        Two `Spread`s in pixels; errors are NaN unless two blocks have impact.
    """
    mean = np.abs(sums.sum(axis=0)) / counts.sum()
    size, ndim = mass_region(mean).size, mean.ndim
    smooth = mass_pixels(mean, MASS) ** (1 / ndim)
    if _blocks_with_impact(sums) < 2:
        return Spread(size, np.nan, np.nan), Spread(smooth, np.nan, np.nan)
    # Few and unlike blocks may leave nothing above zero, and nothing has no region.
    partial = [
        mass_pixels(mean, MASS) if mean.any() else 0.0 for mean in balanced_means(sums, counts)
    ]
    sizes = np.array(partial) ** (1 / ndim)
    error = np.sqrt(np.mean((mass_size_rounded(sizes, ndim) - size) ** 2))
    # Replicates have twice the noise, and show its bias once more.
    return Spread(size, size, error), Spread(smooth, 2 * smooth - sizes.mean(), sizes.std())


def replicate_spreads(
    sums: np.ndarray, counts: np.ndarray, metrics: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Metrics of the mean map that bend from pixel to pixel, in a row, and their errors.

    A radius or a width between pixels moves at another rate behind each pixel; the
    jackknife sees the rate at one place alone. Errors are the replicates' root mean
    squares about the metrics themselves.

    Returns:
        `(values, errors)`; errors are NaN unless two blocks have impact.
    """
    values = metrics(np.abs(sums.sum(axis=0)) / counts.sum())
    if _blocks_with_impact(sums) < 2:
        return values, np.full(values.shape, np.nan)
    replicates = [
        metrics(mean) if mean.any() else np.zeros(values.shape)
        for mean in balanced_means(sums, counts)
    ]
    return values, np.sqrt(np.mean((np.array(replicates) - values) ** 2, axis=0))


def mass_size_rounded(sizes: np.ndarray, ndim: int) -> np.ndarray:
    """Sizes of the next whole numbers of pixels, but for rounding."""
    return np.ceil(np.asarray(sizes) ** ndim - STEP) ** (1 / ndim)


def _blocks_with_impact(sums: np.ndarray) -> int:
    return int(np.count_nonzero(sums.reshape(len(sums), -1).any(axis=1)))
