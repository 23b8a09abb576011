"""One layer run by itself: which outputs change when some of its inputs do.

Comparisons, rounding and stopped gradients hide inputs from a gradient, not from a change.
One test is cheap: all inputs that a unit is not known to see change at once. If that makes a
difference, rows and columns are changed one by one, and then the positions where they cross.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.dependence.gradient_support import MEMORY, is_smooth, stand_ins, unmeasurable
from keras_erf.errors import reason_of
from keras_erf.graph import Argument

__all__ = ["Seen", "beyond", "confirmed"]

# Draws, and trials in all of them, at which nothing shows that units see more. Each unit has one
# trial at least; of many units each has a share of the draws.
FEWEST_DRAWS, TRIALS = 6, 96
# Draws are doubled until they show nothing new.
FIRST_DRAWS, MOST_DRAWS = 12, 96
# Positions that are changed one by one; of more, all that their rows and columns hold count.
MOST_POSITIONS = 1024


@dataclass(frozen=True)
class Seen:
    """What units see, by gradients and by changes.

    Args:
        masks: For each input, the mask that each unit sees.
        hidden: Whether changes showed more than was known.
        sure: Whether each position was tried; else some may not be seen.
    """

    masks: list[np.ndarray]
    hidden: bool = False
    sure: bool = True


def beyond(call: Call, output: int, asked: np.ndarray, known: Sequence[np.ndarray]) -> Seen:
    """Adds to masks of what units see what changes show.

    Args:
        call: The layer, run by itself.
        output: Which of its outputs.
        asked: Boolean masks of the output, one per unit, shape `(units, *output shape)`.
        known: For each input what each unit is known to see, shape `(units, *input
            shape)`; channels may be of length 1.

    Returns:
        Masks of the same shapes. What is added has all channels of a position.
    """
    masks = [np.array(one) for one in known]
    asked = np.broadcast_to(asked, (len(asked), *call.outputs[output]))
    rng = np.random.default_rng(6)
    if not _sees_more(call, output, asked, masks, rng):
        return Seen(masks)
    sure = True
    found = []
    for place, mask in enumerate(masks):
        if not is_smooth(call.dtypes[place]):
            found.append(mask)
            continue
        channel = channel_axis(call.layer, mask.ndim - 1) + 1
        lines = [_lines(call, output, asked, place, axis, rng) for axis in _axes(call, place)]
        missing = _crossings(len(asked), lines) & ~mask.all(axis=channel)
        if np.count_nonzero(missing.any(axis=0)) > MOST_POSITIONS:
            sure, shown = False, missing
        else:
            shown = _shown(call, output, asked, place, missing, rng)
        found.append(mask | np.expand_dims(shown, channel))
    hidden = any((one & ~before).any() for one, before in zip(found, masks, strict=True))
    return Seen(found, hidden, sure)


def confirmed(
    call: Call, output: int, asked: np.ndarray, place: int, doubtful: np.ndarray
) -> np.ndarray | None:
    """Which doubtful elements of an input make a difference, position by position.

    Args:
        call: As in `beyond`.
        output: As in `beyond`.
        asked: As in `beyond`.
        place: Place of the input.
        doubtful: Its elements in doubt, shape `(units, *input shape)`.

    Returns:
        Those at a position that does; `None` if there are too many to try, or if the
        layer draws at random.
    """
    channel = channel_axis(call.layer, doubtful.ndim - 1) + 1
    positions = np.asarray(doubtful.any(axis=channel))
    if np.count_nonzero(positions.any(axis=0)) > MOST_POSITIONS or _is_random(call, output):
        return None
    asked = np.broadcast_to(asked, (len(asked), *call.outputs[output]))
    shown = _shown(call, output, asked, place, positions, np.random.default_rng(7))
    return np.asarray(doubtful & np.expand_dims(shown, channel))


def _axes(call: Call, place: int) -> list[int]:
    """Axes of an input but for its channels."""
    rank = len(call.inputs[place])
    return [axis for axis in range(rank) if axis != channel_axis(call.layer, rank)]


def _sees_more(
    call: Call,
    output: int,
    asked: np.ndarray,
    known: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> bool:
    """Whether any unit changes when all that it is not known to see does."""
    smooth = [place for place, dtype in enumerate(call.dtypes) if is_smooth(dtype)]
    if all(known[place].all() for place in smooth):
        return False
    trials = [*range(len(asked))] * math.ceil(TRIALS / len(asked))
    for draw in range(FEWEST_DRAWS):
        rows = trials[draw::FEWEST_DRAWS]
        base, state = _base(call, draw, rng), stand_ins(call, rng)

        def sample(row: int) -> list[np.ndarray]:
            values = list(base)  # noqa: B023
            for place in smooth:
                free = ~np.broadcast_to(known[place][row], call.inputs[place])
                values[place] = _changed(call, place, base[place], free, draw, rng)  # noqa: B023
            return values

        every = _differences(call, output, base, map(sample, rows), state)
        for row, different in zip(rows, every, strict=False):
            if (different & asked[row]).any():
                return not _is_random(call, output)
    return False


def _is_random(call: Call, output: int) -> bool:
    """Whether an output differs for one and the same input."""
    rng = np.random.default_rng(8)
    base, state = _base(call, 0, rng), stand_ins(call, rng)
    (again,) = _differences(call, output, base, iter([base]), state)
    return bool(again.any())


def _lines(
    call: Call, output: int, asked: np.ndarray, place: int, axis: int, rng: np.random.Generator
) -> np.ndarray:
    """Indices along an axis of an input that each unit sees, of shape `(units, indices)`."""
    size = call.inputs[place][axis]
    parts = []
    for index in range(size):
        part = np.zeros(
            [1 if one != axis else size for one in range(len(call.inputs[place]))], bool
        )
        part[tuple(index if one == axis else 0 for one in range(part.ndim))] = True
        parts.append(part)
    return _of_parts(call, output, asked, place, parts, rng, None)


def _crossings(count: int, lines: Sequence[np.ndarray]) -> np.ndarray:
    """Positions whose index along each axis is seen, of shape `(units, *positions)`."""
    crossed = np.ones((count, *(1,) * len(lines)), dtype=bool)
    for axis, line in enumerate(lines):
        shape = [-1 if one == axis else 1 for one in range(len(lines))]
        crossed = crossed & line.reshape(count, *shape)
    return crossed


def _shown(
    call: Call,
    output: int,
    asked: np.ndarray,
    place: int,
    wanted: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Which of the `wanted` positions, `(units, *positions)`, make a difference."""
    channel = channel_axis(call.layer, len(call.inputs[place]))
    positions = np.argwhere(wanted.any(axis=0))
    parts = []
    for position in positions:
        part = np.zeros(wanted.shape[1:], dtype=bool)
        part[tuple(position)] = True
        parts.append(np.expand_dims(part, channel))
    shown = np.zeros(wanted.shape, dtype=bool)
    at = (slice(None), *positions.T)
    shown[at] = _of_parts(call, output, asked, place, parts, rng, wanted[at])
    return shown & wanted


def _of_parts(
    call: Call,
    output: int,
    asked: np.ndarray,
    place: int,
    parts: Sequence[np.ndarray],
    rng: np.random.Generator,
    wanted: np.ndarray | None,
) -> np.ndarray:
    """Which parts of an input, given as masks, change each unit, of shape `(units, parts)`.

    Once all `wanted` pairs of unit and part are found there are no more draws; `None` is all.
    """
    found = np.zeros((len(asked), len(parts)), dtype=bool)
    places = asked.reshape(len(asked), -1)
    draw, until = 0, FIRST_DRAWS
    while parts and until <= MOST_DRAWS:
        before = found.copy()
        while draw < until:
            base, state = _base(call, draw, rng), stand_ins(call, rng)

            def sample(part: np.ndarray) -> list[np.ndarray]:
                values = list(base)  # noqa: B023
                values[place] = _changed(call, place, base[place], part, draw, rng)  # noqa: B023
                return values

            samples = map(sample, parts)
            for number, different in enumerate(_differences(call, output, base, samples, state)):
                hit = np.flatnonzero(different)
                if hit.size:
                    found[:, number] |= places[:, hit].any(axis=1)
            draw += 1
            if wanted is not None and found[wanted].all():
                return found
        if np.array_equal(before, found) and until > FIRST_DRAWS:
            break
        until *= 2
    return found


def _base(call: Call, draw: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Values of the inputs: random ones, all alike so that any change shows, and in between."""
    values = []
    spread, alike = (1.0, 0.0, 0.1)[draw % 3], np.float32(rng.standard_normal())
    for place, dtype in enumerate(call.dtypes):
        if not is_smooth(dtype):
            odds = 0.5 if dtype == "bool" and spread else 1.0
            values.append((rng.random(call.inputs[place]) < odds).astype(np.float32))
            continue
        value = rng.standard_normal(call.inputs[place], np.float32)
        value = spread * value + (1 - spread) * alike
        known = call.fixed(Argument(place))
        values.append(value if known is None else np.where(np.isnan(known), value, known))
    return values


def _changed(
    call: Call, place: int, base: np.ndarray, part: np.ndarray, draw: int, rng: np.random.Generator
) -> np.ndarray:
    """An input changed in a part, by little or by much; what is known of it stays."""
    if not is_smooth(call.dtypes[place]):
        return np.where(part, 1 - base, base)
    scale = 10 ** rng.uniform(-1, 1.3)
    change = scale * rng.standard_normal(base.shape)
    known = call.fixed(Argument(place))
    if known is not None:
        part = part & np.isnan(known)
    return np.where(part, base + change, base)


def _differences(
    call: Call,
    output: int,
    base: Sequence[np.ndarray],
    samples: Iterator[Sequence[np.ndarray]],
    state: Sequence[Any],
) -> Iterator[np.ndarray]:
    """Where an output differs from that of `base`, for each of the samples."""
    import tensorflow as tf

    size = 8 * sum(math.prod(shape) for shape in (*call.inputs, *call.outputs))
    rows = (call.batch or max(2, MEMORY // max(size, 1))) - 1
    if rows < 1:
        return
    while chunk := list(itertools.islice(samples, rows)):
        padded = [base, *chunk, *([base] * (rows - len(chunk) if call.batch else 0))]
        values = [
            tf.cast(np.stack(column), dtype)
            for column, dtype in zip(zip(*padded, strict=True), call.dtypes, strict=True)
        ]
        try:
            made = call.run(values, state=state)[output]
            found = np.asarray(tf.convert_to_tensor(made))
        except Exception as error:  # The layer is the user's, and raises what it likes.
            raise unmeasurable(call, f"it does not run by itself: {reason_of(error)}") from error
        yield from (_differs(found[0], one) for one in found[1 : len(chunk) + 1])


def _differs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where two outputs differ by more than rounding."""
    if first.dtype.kind in "biu":
        return np.asarray(first != second)
    coarse = first.dtype.itemsize < 4
    first, second = first.astype(np.complex128), second.astype(np.complex128)
    finite = np.isfinite(first) & np.isfinite(second)
    one, other = np.where(finite, first, 0), np.where(finite, second, 0)
    scale = max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))
    different = np.abs(one - other) > (2e-2 if coarse else 1e-4) * scale
    return np.asarray(different | (np.isfinite(first) != np.isfinite(second)))
