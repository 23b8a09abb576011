"""Standard errors of smooth metrics of a mean map, from a fixed number of block sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from keras_erf.analysis._checks import plain, refuse_masked
from keras_erf.errors import InvalidInputError

__all__ = ["checked_blocks", "combined", "jackknife", "means_without_each"]


def jackknife(
    block_sums: ArrayLike, block_counts: ArrayLike, statistic: Callable[[np.ndarray], ArrayLike]
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Computes a metric of the mean map and its jackknife standard error.

    Samples are kept as sums over `B` blocks, so memory does not grow with
    their number. The metric is computed on the mean of all samples and, for
    each block, on the mean of all samples but that block's. With `n` samples,
    `m_j` of them in block `j`, `h_j = n / m_j`, the metric `f` of all and
    `f_j` of all but block `j`, the squared error is the delete-m_j jackknife

        1/B  sum_j (p_j - q)^2 / (h_j - 1),
        p_j = h_j f - (h_j - 1) f_j,    q = B f - sum_j (1 - m_j / n) f_j.

    For equal blocks this is the textbook `(B - 1) / B sum_j (f_j - mean f)^2`,
    and for the mean of samples alone it is unbiased whatever the blocks' sizes.
    Samples of different blocks are taken as independent. The metric should be
    smooth: for one that moves in steps (a count of pixels) the jackknife is not
    consistent, as it looks at differences far finer than the noise (Efron, "The
    Jackknife, the Bootstrap and Other Resampling Plans", 1982, section 3.4);
    see `analysis.counting` for those.

    Examples:
        >>> sums = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]])  # of three blocks of one sample
        >>> value, error = keras_erf.analysis.jackknife(sums, [1, 1, 1], lambda mean: mean[0])
        >>> round(value, 3), round(error, 3)  # a mean and its error, 1 / sqrt(3)
        (2.0, 0.577)

    Args:
        block_sums: Sum of the samples of each block, shape `(B, ...)`.
        block_counts: Number of samples in each block, shape `(B,)`. Blocks
            without samples are left out.
        statistic: Function from a mean, of shape `block_sums.shape[1:]`, to a
            number or an array of numbers.

    Returns:
        `(value, standard_error)`, floats for a scalar metric, else arrays of
        its shape. The value is the metric of the mean map itself, without
        correction for bias. The error is NaN with fewer than two blocks that
        hold samples, and where leaving out a block leaves a map the metric is
        not defined for (the samples of that block alone carried it).

    Raises:
        InvalidInputError: Shapes do not agree, a sum is not finite, a count is
            negative or not whole, or no block has samples.

    Reference:
        Tukey, "Bias and confidence in not-quite large samples", Ann. Math.
        Statist. 29 (1958), 614; Efron and Tibshirani, "An Introduction to the
        Bootstrap" (1993), chapter 11; unequal blocks: Busing, Meijer and van
        der Leeden, "Delete-m jackknife for unequal m", Statistics and
        Computing 9 (1999), 3-8.
    """
    sums, counts = checked_blocks(block_sums, block_counts)
    value = np.asarray(statistic(sums.sum(axis=0) / counts.sum()), dtype=np.float64)
    without = None
    if counts.size > 1:
        with suppress(InvalidInputError):
            without = [statistic(mean) for mean in means_without_each(sums, counts)]
    return plain(value), plain(combined(value, without, counts)[1])


def combined(
    value: np.ndarray, without: Sequence[ArrayLike] | None, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Combines the metrics without each block.

    Args:
        value: The metric of all samples.
        without: The metric without each block, in turn; `None` where it is not defined.
        counts: Number of samples in each block, none 0.

    Returns:
        `(centre, error)`, of the metric's shape: the metric less its bias (`q` of
        `jackknife`, Quenouille's estimate) and its standard error; NaN for both
        without `without`.

    Reference:
        Quenouille, "Notes on bias in estimation", Biometrika 43 (1956), 353.
    """
    if without is None:
        return np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    left_out = np.array(without, dtype=np.float64)
    weights = (counts / counts.sum()).reshape((-1,) + (1,) * value.ndim)
    ratios = 1 / weights
    pseudo = ratios * value - (ratios - 1) * left_out
    centre = counts.size * value - ((1 - weights) * left_out).sum(axis=0)
    variance = ((pseudo - centre) ** 2 / (ratios - 1)).mean(axis=0)
    return np.asarray(centre), np.asarray(np.sqrt(variance))


def checked_blocks(block_sums: ArrayLike, block_counts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts as float64, without the blocks that hold no sample."""
    refuse_masked(block_sums, "block_sums")
    refuse_masked(block_counts, "block_counts")
    sums = np.asarray(block_sums, dtype=np.float64)
    counts = np.asarray(block_counts, dtype=np.float64)
    if sums.ndim < 1 or counts.shape != sums.shape[:1]:
        raise InvalidInputError(
            argument="block_counts",
            expected="must have one count for each entry of `block_sums`' first axis",
            received=f"block_sums of shape {sums.shape}, block_counts of shape {counts.shape}",
        )
    if not np.isfinite(sums).all():
        raise InvalidInputError(
            argument="block_sums",
            expected="must be finite",
            remedy="leave out the samples whose gradient overflows",
            received=f"{int(np.count_nonzero(~np.isfinite(sums)))} values that are not",
        )
    if (counts < 0).any() or (counts != np.floor(counts)).any() or not counts.sum() > 0:
        raise InvalidInputError(
            argument="block_counts",
            expected="must be whole numbers, none negative, not all zero",
            remedy="add samples first",
            received=f"block_counts={block_counts!r}",
        )
    held = counts > 0
    return sums[held], counts[held]


def means_without_each(sums: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Mean of all samples but one block's, for each block in turn."""
    # Sums from both ends, not total minus block: a pixel seen by one block only must become 0.
    after = np.cumsum(sums[::-1], axis=0)[::-1]
    before = np.zeros_like(sums[0])
    remaining = counts.sum() - counts
    for block in range(counts.size):
        rest = after[block + 1] if block + 1 < counts.size else 0
        yield (before + rest) / remaining[block]
        before = before + sums[block]
