"""One layer run by itself: which of its inputs have a gradient.

Inputs are random, and random numbers replace the weights it learned, so that nothing is zero
by chance; what depends on the draw shows over many draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.errors import UnsupportedLayerError, reason_of
from keras_erf.graph import Argument, learned_weights, random_weights

__all__ = [
    "MEMORY",
    "Unsettled",
    "check_samples",
    "is_smooth",
    "seen_alone",
    "stand_ins",
    "unmeasurable",
]

Shape = tuple[int, ...]
# Draws of inputs and weights are doubled until they show nothing new: few if all of them are
# alike, and at least the first number of them where they are not.
SETTLED_DRAWS, MAXIMUM_DRAWS = 64, 512
# Draws after which the hulls of what is seen no longer grow, but where positions are computed (a
# gather); of a large maximum the hull is seen long before all that lies inside.
HULL_DRAWS, GROWING_SHARE = 32, 0.4
# Bytes of one backward pass's inputs and outputs, roughly.
MEMORY = 2**27


def seen_alone(
    call: Call,
    output: int,
    asked: np.ndarray,
    *,
    together: bool = False,
    expected: Mapping[int, np.ndarray] | None = None,
) -> list[np.ndarray]:
    """For each input, the mask that each of the masks `asked` of an output sees, by gradients.

    Draws are united and doubled in number until nothing is added: a maximum
    shows one of its inputs at a time.

    Args:
        call: The layer, run by itself.
        output: Which of its outputs.
        asked: Boolean masks of the output, shape `(masks, *output shape)`.
        together: Whether the channels of an input are taken together, as an
            axis of length 1.
        expected: Masks of some inputs, by place, of what should be seen; once
            it is, no more draws are made.

    Returns:
        A boolean array `(masks, *input shape)` for each input.

    Raises:
        UnsupportedLayerError: The layer does not run, or the draws do not settle.
    """
    rng = np.random.default_rng(1)
    seen = [
        np.zeros((len(asked), *_together(call, shape, together)), dtype=bool)
        for shape in call.inputs
    ]
    values = [call.fixed(Argument(place)) for place in range(len(call.inputs))]
    draws, alike = 1, True
    while draws <= MAXIMUM_DRAWS:
        grown, before = False, seen
        state = stand_ins(call, rng)
        for draw in range(draws):
            found = [np.zeros_like(mask) for mask in seen]
            for rows in _chunks(call, len(asked)):
                gradients = _gradients(call, output, asked[rows], state, rng)
                for mask, gradient, shape, known in zip(
                    found, gradients, call.inputs, values, strict=True
                ):
                    if gradient is not None:
                        nonzero = gradient[: len(rows)] != 0
                        if known is not None:
                            # What is known beforehand does not change.
                            nonzero = nonzero & np.isnan(known)
                        if together:
                            nonzero = nonzero.any(
                                channel_axis(call.layer, len(shape)) + 1, keepdims=True
                            )
                        mask[rows] = nonzero
            first = draws == 1 and draw == 0
            alike = first or (alike and all(map(np.array_equal, found, seen)))
            grown = grown or any((one & ~mask).any() for one, mask in zip(found, seen, strict=True))
            seen = [one | mask for one, mask in zip(found, seen, strict=True)]
            if expected and all(np.array_equal(seen[place], expected[place]) for place in expected):
                return seen
        # What differs from draw to draw must have shown itself in many.
        if not grown and draws > 1 and ((alike and not expected) or draws >= SETTLED_DRAWS):
            return seen
        if draws >= HULL_DRAWS and not expected and _growing(before, seen) >= GROWING_SHARE:
            raise Unsettled(str(unmeasurable(call, "what its units see keeps growing")))
        draws *= 2
    reason = f"what its units see does not settle in {MAXIMUM_DRAWS} draws"
    raise Unsettled(str(unmeasurable(call, reason)))


class Unsettled(UnsupportedLayerError):
    """What a layer sees depends on its values, and every draw shows more of it."""


def _growing(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """The share of masks whose box grew, of the input where most did."""
    shares = [0.0]
    for old, new in zip(before, after, strict=True):
        grown = np.zeros(len(new), dtype=bool)
        for axis in range(1, new.ndim):
            others = tuple(one for one in range(1, new.ndim) if one != axis)
            lines = [np.asarray(mask.any(axis=others)) for mask in (old, new)]
            for turn in (slice(None), slice(None, None, -1)):
                first, now = (line[:, turn].argmax(axis=1) for line in lines)
                grown |= now < first
        shares.append(float(grown.mean()))
    return max(shares)


def _together(call: Call, shape: Shape, together: bool) -> Shape:
    """The shape of an input's mask, whose channels are of length 1 if they are taken together."""
    channel = channel_axis(call.layer, len(shape))
    return tuple(1 if together and axis == channel else size for axis, size in enumerate(shape))


def _gradients(
    call: Call, output: int, asked: np.ndarray, state: Sequence[Any], rng: np.random.Generator
) -> list[np.ndarray | None]:
    """Gradients of randomly weighted sums over `asked`, one sample each, for each input."""
    import tensorflow as tf

    missing = (call.batch or len(asked)) - len(asked)
    asked = np.concatenate([asked, np.zeros((missing, *asked.shape[1:]), dtype=bool)])
    # All samples are alike: it is what is asked of them that differs.
    values = [
        tf.repeat(
            tf.constant(_drawn(call, place, rng)[None], dtype)
            if is_smooth(dtype)
            else tf.ones((1, *call.inputs[place]), dtype),
            len(asked),
            axis=0,
        )
        for place, dtype in enumerate(call.dtypes)
    ]
    weights = tf.constant(rng.uniform(0.5, 1.5, asked.shape[1:]), tf.float32)
    try:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([value for value in values if value.dtype.is_floating])
            made = tf.convert_to_tensor(call.run(values, state=state)[output])
            if not made.dtype.is_floating:
                return [None] * len(values)
            seed = tf.where(asked, tf.cast(weights, made.dtype), tf.zeros((), made.dtype))
            score = tf.reduce_sum(made * seed)
        found = tape.gradient(score, values)
    except Exception as error:  # The layer is the user's, and raises what it likes.
        raise unmeasurable(call, f"it does not run by itself: {reason_of(error)}") from error
    return [None if one is None else np.asarray(tf.convert_to_tensor(one)) for one in found]


def _drawn(call: Call, place: int, rng: np.random.Generator) -> np.ndarray:
    """Random values of an input, with what is known of it in its place."""
    values = rng.standard_normal(call.inputs[place], np.float32)
    known = call.fixed(Argument(place))
    if known is None:
        return values
    return np.where(np.isnan(known), values, known).astype(np.float32)


def stand_ins(call: Call, rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """Random values to stand in for the weights the layer learned; its statistics stay."""
    weights = learned_weights(call.layer) if isinstance(call.layer, keras.Layer) else []
    state = random_weights(weights, rng, assigned=call.assigned)
    known = [call.drawn.get(id(weight)) for weight, _ in state]
    return [
        pair if zeros is None else (pair[0], keras.ops.where(zeros == 0, 0, pair[1]))
        for pair, zeros in zip(state, known, strict=True)
    ]


def check_samples(call: Call) -> None:
    """Raises if a sample of a batch sees another one."""
    rows = max(call.batch or 2, 1)
    if rows < 2:
        return
    rng = np.random.default_rng(2)
    for output, shape in enumerate(call.outputs):
        asked = np.zeros((rows, *shape), dtype=bool)
        asked[0] = True
        for gradient in _gradients(call, output, asked, (), rng):
            if gradient is not None and (len(gradient) != rows or np.any(gradient[1:])):
                raise unmeasurable(call, "it mixes the samples of a batch")


def _chunks(call: Call, count: int) -> list[np.ndarray]:
    """Rows of each backward pass, as many as fit into memory or into the fixed batch."""
    sample = 8 * sum(math.prod(shape) for shape in (*call.inputs, *call.outputs))
    size = call.batch or max(1, min(count, MEMORY // max(sample, 1)))
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def is_smooth(dtype: str) -> bool:
    """Whether a tensor of that dtype can have a gradient."""
    return dtype.startswith(("float", "bfloat"))


def unmeasurable(call: Call, reason: str) -> UnsupportedLayerError:
    """The error of a layer that does not tell, and what to do."""
    kind = type(call.layer).__name__
    return UnsupportedLayerError(
        expected=f"Layer {call.name!r} is unknown and cannot be measured: {reason}",
        remedy=f"Pass a rule by `rules={{{kind}: rule}}`, `keras_erf.rules.whole` "
        "to have it see all of its input, or choose a layer before it",
        received=f"{kind} from {call.inputs} to {call.outputs}",
    )
