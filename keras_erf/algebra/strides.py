"""How far fields move from unit to unit, where they move evenly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

__all__ = ["even_step", "repeated"]

# No longer period is looked for.
LONGEST_PERIOD = 512


def even_step(starts: np.ndarray, stops: np.ndarray, extent: int) -> Fraction | None:
    """Pixels moved per unit along a row of units; `None` where they move unevenly.

    Fields move evenly if, after some number of units, all that is seen has moved by the same
    number of pixels, and that is seen to repeat. Where the ends of the row are cut by an edge of
    the input, the units inside decide.

    Args:
        starts: First pixel seen by each unit.
        stops: Pixel after the last one seen.
        extent: Size of the input's axis.
    """
    seen = starts < stops
    moves = np.diff(starts[seen]), np.diff(stops[seen])
    if not (all((one >= 0).all() for one in moves) or all((one <= 0).all() for one in moves)):
        # They turn back, as the columns of a map do in a row of its pixels.
        return None
    subsets = (
        seen,
        seen & (starts >= 0) & (stops <= extent),
        seen & (starts > 0) & (stops < extent),
    )
    for place, chosen in enumerate(subsets):
        units = np.flatnonzero(chosen)
        if units.size < (3 if place else 2):
            continue
        row = slice(units[0], units[-1] + 1)
        step = _step(starts[row], stops[row], chosen[row])
        if step is not None:
            return step
    return None


def _step(starts: np.ndarray, stops: np.ndarray, chosen: np.ndarray) -> Fraction | None:
    for period in range(1, min(LONGEST_PERIOD, len(starts) // 2) + 1):
        both = chosen[period:] & chosen[:-period]
        if (chosen[period:] != chosen[:-period]).any() or not both.any():
            continue
        steps = np.concatenate([(ends[period:] - ends[:-period])[both] for ends in (starts, stops)])
        if steps[0] and (steps == steps[0]).all():
            step = Fraction(int(steps[0]), period)
            # Twice may be chance where it is neither whole pixels nor whole units.
            if repeated(step, 2 * len(starts) // 3):
                return step
    return None


def repeated(stride: Fraction, count: int) -> bool:
    """Whether a stride is one of a row of `count` units, and not an average over all of it.

    Whole pixels per unit, and whole units per pixel, are; other fractions have to come round.
    """
    return 1 in (abs(stride.numerator), stride.denominator) or 2 * stride.denominator <= count
