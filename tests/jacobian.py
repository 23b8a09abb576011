"""Brute force: what a unit sees, read off the gradient of a real Keras model.

Nothing here imports the library. Every unit of a layer is one sample of a
batch whose seed is that unit alone, so one backward pass gives all supports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

Unit = tuple[int, ...]

# Samples of one backward pass.
BATCH = 4096


@contextmanager
def precision(dtype: str = "float64") -> Iterator[None]:
    """Keras in the precision of `dtype`, for as long as the context lasts."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def make_positive(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Gives `model` weights from (0.5, 1.5), so that no two paths cancel; statistics stay."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def units_of(shape: Sequence[int]) -> list[Unit]:
    """Every index of a map of that shape."""
    return list(np.ndindex(*shape))


def some_units(shape: Sequence[int], *, count: int = 4, seed: int = 0) -> list[Unit]:
    """Corners, the middle and a few more units of a map of that shape."""
    rng = np.random.default_rng(seed)
    corners = set(np.ndindex(*[min(size, 2) for size in shape]))
    ends = {tuple(bool(e) * (s - 1) for e, s in zip(end, shape, strict=True)) for end in corners}
    drawn = {tuple(int(rng.integers(size)) for size in shape) for _ in range(count)}
    return sorted(ends | drawn | {tuple(size // 2 for size in shape)})


def supports(
    model: keras.Model,
    units: Iterable[Unit],
    *,
    input: int = 0,
    channels: tuple[int, int] = (-1, -1),
    draws: int = 1,
    tolerance: float = 0.0,
    compiled: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Pixels with a gradient, for each unit of the only output of `model`.

    Args:
        model: A model of double precision; all inputs have definite shapes.
        units: Spatial indices in the output.
        input: Place of the analysed input; the others are held fixed.
        channels: Channel axes of that input and of the output, the batch counted.
        draws: Random inputs whose supports are united: a maximum sees one pixel per draw.
        tolerance: Share of the largest gradient that still counts as nothing.
        compiled: Whether to run by XLA, for what TensorFlow has no kernel on a CPU.
        seed: Of the inputs, drawn from (0.5, 1.5), and of the channels' weights.

    Returns:
        Boolean array of shape `(units, *input's spatial shape)`.
    """
    units = list(units)
    rng = np.random.default_rng(seed)
    repeated = [unit for unit in units for _ in range(draws)]
    found = [
        _gradients(model, repeated[start : start + BATCH], input, channels, compiled, rng)
        for start in range(0, len(repeated), BATCH)
    ]
    gradients = np.concatenate(found)
    seen = gradients > tolerance * gradients.max()
    return seen.reshape(len(units), draws, *seen.shape[1:]).any(axis=1)


def _gradients(
    model: keras.Model,
    units: Sequence[Unit],
    input: int,
    channels: tuple[int, int],
    compiled: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    values = [
        tf.constant(rng.uniform(0.5, 1.5, (len(units), *tensor.shape[1:])), tensor.dtype)
        for tensor in model.inputs
    ]
    # Channels weigh differently, or the sum over a softmax's would be constant.
    seed = np.zeros((len(units), *model.output_shape[1:]))
    lines = np.moveaxis(seed, channels[1], -1)
    for sample, unit in enumerate(units):
        lines[(sample, *unit)] = rng.uniform(0.5, 1.5, lines.shape[-1])

    def differentiate() -> tf.Tensor | None:
        with tf.GradientTape() as tape:
            tape.watch(values[input])
            output = model(values if len(values) > 1 else values[0])
            score = tf.reduce_sum(output * tf.constant(seed, output.dtype))
        return tape.gradient(score, values[input])

    if compiled:
        differentiate = tf.function(differentiate, autograph=False, jit_compile=True)
    gradient = differentiate()
    if gradient is None:
        return np.zeros(np.delete(values[input].shape, channels[0]))
    return np.abs(gradient.numpy()).sum(axis=channels[0])


def bounding_box(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Smallest box of the marked pixels; `(0, 0)` per axis where none is."""
    places = np.argwhere(mask)
    if not len(places):
        return ((0, 0),) * mask.ndim
    return tuple(
        (int(low), int(high) + 1)
        for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True)
    )
