"""Layers of old Keras, worked out in NumPy from their formulas.

Nothing here imports Keras or the library. Arrays are (batch, *space, channels), kernels
(*window, in, out).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    """That of Keras 1 and 2: slope 0.2, from 0 to 1."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def relu(x: Array) -> Array:
    """The positive part."""
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    power = np.exp(x - x.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def dense(x: Array, kernel: Array, bias: Array | float = 0.0) -> Array:
    """An affine map of the last axis."""
    return x @ kernel + bias


def padded(
    x: Array, window: Sequence[int], strides: Sequence[int], padding: str, value: float = 0.0
) -> Array:
    """The input with the margins that TensorFlow adds: as many outputs as strides begin."""
    margins = [(0, 0)]
    for size, width, stride in zip(x.shape[1:-1], window, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        margins.append((total // 2, total - total // 2) if padding == "same" else (0, 0))
    return np.pad(x, [*margins, (0, 0)], constant_values=value)


def windows(
    x: Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int] | None = None
) -> tuple[Array, tuple[int, ...]]:
    """Windows as (batch, *outputs, *window, channels), and the sizes of the output."""
    dilation = dilation or (1,) * len(window)
    reach = [(width - 1) * gap + 1 for width, gap in zip(window, dilation, strict=True)]
    sizes = tuple(
        (size - width) // stride + 1
        for size, width, stride in zip(x.shape[1:-1], reach, strides, strict=True)
    )
    out = np.empty((len(x), *sizes, *window, x.shape[-1]))
    for place in itertools.product(*map(range, sizes)):
        part = tuple(
            slice(at * stride, at * stride + width, gap)
            for at, stride, width, gap in zip(place, strides, reach, dilation, strict=True)
        )
        out[(slice(None), *place)] = x[(slice(None), *part)]
    return out, sizes


def convolution(
    x: Array,
    kernel: Array,
    bias: Array | float = 0.0,
    strides: Sequence[int] | None = None,
    padding: str = "valid",
    dilation: Sequence[int] | None = None,
) -> Array:
    """What all frameworks call a convolution: the kernel is not turned around."""
    rank = kernel.ndim - 2
    strides, dilation = strides or (1,) * rank, dilation or (1,) * rank
    window = kernel.shape[:-2]
    reach = [(width - 1) * gap + 1 for width, gap in zip(window, dilation, strict=True)]
    parts, sizes = windows(padded(x, reach, strides, padding), window, strides, dilation)
    flat = parts.reshape(len(x), *sizes, -1)
    return flat @ kernel.reshape(-1, kernel.shape[-1]) + bias


def transposed(
    x: Array, kernel: Array, bias: Array | float, strides: Sequence[int], sizes: Sequence[int]
) -> Array:
    """Adds the kernel, (*window, out, in), at every input; of given sizes, cut from the start."""
    window, filters = kernel.shape[:-2], kernel.shape[-2]
    whole = [
        (size - 1) * stride + width
        for size, stride, width in zip(x.shape[1:-1], strides, window, strict=True)
    ]
    out = np.zeros((len(x), *whole, filters))
    for place in itertools.product(*map(range, x.shape[1:-1])):
        part = tuple(
            slice(at * stride, at * stride + width)
            for at, stride, width in zip(place, strides, window, strict=True)
        )
        out[(slice(None), *part)] += np.einsum("bi,...oi->b...o", x[(slice(None), *place)], kernel)
    before = [max(all_ - size, 0) // 2 for all_, size in zip(whole, sizes, strict=True)]
    part = tuple(slice(at, at + size) for at, size in zip(before, sizes, strict=True))
    return out[(slice(None), *part)] + bias


def pool(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "valid",
    reduce: Callable[..., Array] = np.nanmax,
) -> Array:
    """The largest value of each window, or with `np.nanmean` the mean of those inside."""
    strides = strides or window
    parts, _ = windows(padded(x, window, strides, padding, np.nan), window, strides)
    axes = tuple(range(len(window) + 1, 2 * len(window) + 1))
    return reduce(parts, axis=axes)


def batch_normalization(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> Array:
    """With the moving statistics, over the last axis."""
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def lstm(
    x: Array,
    gates: dict[str, tuple[Array, Array, Array]],
    inner: Callable[[Array], Array] = hard_sigmoid,
) -> Array:
    """All hidden states of an LSTM.

    Args:
        x: Shape (batch, time, channels).
        gates: Kernel, recurrent kernel and bias of the gates i, f, c and o.
        inner: Activation of i, f and o.
    """
    hidden = cell = np.zeros((len(x), gates["i"][2].size))
    states = []
    for step in np.swapaxes(x, 0, 1):
        sums = {name: step @ w + hidden @ u + b for name, (w, u, b) in gates.items()}
        cell = inner(sums["f"]) * cell + inner(sums["i"]) * np.tanh(sums["c"])
        hidden = inner(sums["o"]) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states, 1)


def gru(
    x: Array,
    gates: dict[str, tuple[Array, Array, Array]],
    inner: Callable[[Array], Array] = hard_sigmoid,
) -> Array:
    """All hidden states of a GRU whose gate r comes before the product: z, r and h as in `lstm`."""
    hidden = np.zeros((len(x), gates["z"][2].size))
    states = []
    for step in np.swapaxes(x, 0, 1):
        z, r = (inner(step @ w + hidden @ u + b) for w, u, b in (gates["z"], gates["r"]))
        w, u, b = gates["h"]
        fresh = np.tanh(step @ w + (r * hidden) @ u + b)
        hidden = z * hidden + (1 - z) * fresh
        states.append(hidden)
    return np.stack(states, 1)


def simple_rnn(x: Array, w: Array, u: Array, b: Array) -> Array:
    """All hidden states of a recurrence with tanh."""
    hidden = np.zeros((len(x), b.size))
    states = []
    for step in np.swapaxes(x, 0, 1):
        hidden = np.tanh(step @ w + hidden @ u + b)
        states.append(hidden)
    return np.stack(states, 1)


def first(x: Array) -> Array:
    """(batch, *space, channels) to (batch, channels, *space)."""
    return np.moveaxis(x, -1, 1)


def last(x: Array) -> Array:
    """(batch, channels, *space) to (batch, *space, channels)."""
    return np.moveaxis(x, 1, -1)


def flat(x: Array) -> Array:
    """One row for each sample."""
    return x.reshape(len(x), -1)
