"""What has no gradient, and what is masked, in random chains: against changes, step by step.

Comparisons, rounding and stopped gradients, written in Keras and in TensorFlow, between
convolutions whose kernels have zeros. Each step is run by itself, with changes of single
positions at many draws; what a unit of the whole chain sees is the product of the steps'
tables. `make test` checks the same few chains everywhere, `make fuzz` many new ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st

from keras_erf import receptive_field
from tests import graphs, perturbation

Step = tuple[str, dict[str, Any]]
Shape = tuple[int, ...]

DRAWS = 160
# Chains of `make fuzz`, as a share of those that gradients answer for.
SHARE = 4


# --- Steps ---------------------------------------------------------------------------------------


def pooled(x: Any, kind: str, size: int) -> Any:
    """The largest value around each position, or the mean, in Keras or TensorFlow."""
    rank = len(x.shape) - 2
    if isinstance(x, keras.KerasTensor):
        pool = ops.max_pool if kind == "max" else ops.average_pool
        return pool(x, size, 1, padding="same")
    pool = tf.nn.max_pool if kind == "max" else tf.nn.avg_pool
    return pool(x, [size] * rank, 1, "SAME")


def peaks(x: Any, size: int, lib: Any) -> Any:
    return x * lib.cast(lib.equal(pooled(x, "max", size), x), x.dtype)


def above_mean(x: Any, size: int, lib: Any) -> Any:
    return lib.where(lib.greater(x, pooled(x, "mean", size)), x, 0.1 * x)


def straight_through(x: Any, size: int, lib: Any) -> Any:
    return x + lib.stop_gradient(lib.round(3 * pooled(x, "mean", size)) - x)


def signs(x: Any, size: int, lib: Any) -> Any:
    return lib.sign(x - 2 * pooled(x, "mean", size)) * pooled(x, "max", size)


def largest(x: Any, size: int, lib: Any) -> Any:
    place = lib.cast(lib.argmax(x, -1), x.dtype)
    return lib.floor(x) + lib.expand_dims(place, -1)


def shifted(x: Any, size: int, lib: Any) -> Any:
    """Each position compared with the one `size` before it, and with no other."""
    pads = [[0, 0], [size, 0]] + [[0, 0]] * (len(x.shape) - 2)
    return lib.where(lib.greater(x, lib.pad(x, pads)[:, :-size]), x, 0.0 * x)


HIDING: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (peaks, above_mean, straight_through, signs, largest, shifted)
}


class Written(layers.Layer):
    """A step in TensorFlow, which cannot be opened."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        self.step, self.size = HIDING[name], size

    def call(self, x):
        return self.step(x, self.size, tf)


def apply(step: Step, x: Any) -> Any:
    """A step on a tensor."""
    kind, options = step
    if kind == "written":
        return Written(**options)(x)
    if kind == "lambda":
        step = HIDING[options["name"]]
        return layers.Lambda(lambda x: step(x, options["size"], library(x)))(x)
    if kind == "operations":
        return HIDING[options["name"]](x, options["size"], ops)
    if kind == "assigned":
        taps = options["taps"]
        rank = len(x.shape) - 2
        layer = getattr(layers, f"Conv{rank}D")(2, taps.shape, padding="same")
        made = layer(x)
        layer.kernel.assign(layer.kernel * taps[..., None, None])
        return made
    return graphs.PARTS[kind](None, x, **options)


def library(x: Any) -> Any:
    return ops if isinstance(x, keras.KerasTensor) else tf


def model_of(steps: tuple[Step, ...], shape: Shape) -> tuple[keras.Model, list[keras.Model]]:
    """The chain, and each of its steps as a model of its own."""
    x = y = keras.Input(shape)
    parts = []
    for step in steps:
        made = apply(step, y)
        parts.append(keras.Model(y, made))
        y = made
    return keras.Model(x, y), parts


def table_of(part: keras.Model) -> np.ndarray:
    """Which positions of its input each position of a step's output depends on."""
    shape = tuple(part.input.shape[1:])

    def draw(rng: np.random.Generator, wanted: Shape) -> np.ndarray:
        scales = 10 ** rng.uniform(-1, 1, (wanted[0], *[1] * (len(wanted) - 1)))
        values = scales * rng.normal(size=wanted)
        # In half of the draws all values are alike: any change then makes a difference.
        values[::2] = (
            values[::2].reshape(len(values[::2]), -1)[:, :1].reshape(-1, *[1] * (values.ndim - 1))
        )
        return values.astype("float32")

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate([np.asarray(part(one)) for one in np.array_split(values[0], 8)])]

    (changed,) = perturbation.dependence(run, [shape], draws=DRAWS, draw=draw, tolerance=1e-5)
    rank = len(part.output.shape) - 1
    changed = changed.any(axis=(rank - 1, changed.ndim - 1))
    count = int(np.prod(part.output.shape[1:-1]))
    return changed.reshape(count, -1)


# --- Drawing -------------------------------------------------------------------------------------


@st.composite
def chains(draw: Any) -> tuple[Shape, tuple[Step, ...]]:
    rank = draw(st.integers(1, 2))
    sizes = [draw(st.integers(4, 9 if rank == 1 else 5)) for _ in range(rank)]
    shape = (*sizes, draw(st.integers(1, 2)))
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["written", "lambda", "operations", "masked", "assigned"]))
        seed = draw(st.integers(0, 999))
        if kind in ("masked", "assigned"):
            kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
            options = {"filters": 2, "kernel_size": kernel, "padding": "same", "seed": seed}
            if kind == "assigned":
                options = {"taps": graphs.drawn_mask(kernel, seed)}
        else:
            options = {"name": draw(st.sampled_from([*HIDING])), "size": draw(st.integers(2, 3))}
        steps.append((kind, options))
    return shape, tuple(steps)


def compare(chain: tuple[Shape, tuple[Step, ...]], counts: Counter[str]) -> None:
    """Asserts that units see what changes of their steps show."""
    shape, steps = chain
    keras.utils.set_random_seed(0)
    model, parts = model_of(steps, shape)
    seen = np.eye(int(np.prod(model.output.shape[1:-1])), dtype=bool)
    for part in reversed(parts):
        seen = (seen.astype(int) @ table_of(part).astype(int)) > 0
    units = list(np.ndindex(*model.output.shape[1:-1]))
    counts["graphs"] += 1
    counts["units"] += len(units)
    alive = [unit for unit, mask in zip(units, seen, strict=True) if mask.any()]
    if not alive:
        return
    field = receptive_field(model, model.output, unit=alive[len(alive) // 2])
    for unit, mask in zip(units, seen, strict=True):
        np.testing.assert_array_equal(field.support(unit).ravel(), mask, err_msg=f"unit {unit}")


FUZZING = hypothesis.settings.get_current_profile_name() == "fuzz"
COUNT = hypothesis.settings().max_examples // SHARE if FUZZING else 6
SEED = int(os.environ.get("FUZZ_SEED", "0"))


def test_random_chains(record_property: Callable[[str, object], None]) -> None:
    counts: Counter[str] = Counter(mismatches=0)
    passed: set[str] = set()

    @hypothesis.settings(max_examples=COUNT)
    @hypothesis.given(chains())
    def compare_drawn(chain: tuple[Shape, tuple[Step, ...]]) -> None:
        if repr(chain) not in passed:
            compare(chain, counts)
            passed.add(repr(chain))

    if FUZZING:
        compare_drawn = hypothesis.seed(SEED)(compare_drawn)
    try:
        compare_drawn()
    except BaseException as error:
        counts["mismatches"] += len(getattr(error, "exceptions", [error]))
        raise
    finally:
        record_property("fuzz", dict(counts))
