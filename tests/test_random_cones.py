"""Gradients by the cone against those of the whole model, on random functional graphs.

`make test` compares the same few graphs everywhere; `make fuzz` a quarter as many as it
draws for fields.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

hypothesis = pytest.importorskip("hypothesis")

from keras_erf.cone import cone_of
from keras_erf.cone.parts import entire
from keras_erf.errors import KerasERFError
from keras_erf.theoretical import Target, locate
from tests import graphs, jacobian

# Relative to the largest gradient, in double precision.
TOLERANCE = 1e-12


def cone_gradient(target: Target, values: list[Any]) -> tuple[np.ndarray, bool]:
    """The unit's gradient, at the size of the input, and whether the cone is narrower than that."""
    tracing = target.tracing
    part = list(entire(tracing.shape(target.tensor)))
    for axis, position in zip(target.spatial_axes, target.position, strict=True):
        part[axis] = (position, position + 1)
    cone = cone_of(tracing, {target.tensor: tuple(part)})
    held = {
        number: tuple(slice(*one) for one in cone.parts[number])
        for number in target.graph.inputs
        if number in cone.parts
    }
    known = {
        number: value[(slice(None), *held[number])]
        for number, value in zip(target.graph.inputs, values, strict=True)
        if number in held
    }
    watched = known[target.input]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        made = cone.run(known)[target.tensor]
        first = cone.parts[target.tensor]
        index = [slice(None)] * made.shape.rank
        for axis, position in zip(target.spatial_axes, target.position, strict=True):
            index[axis + 1] = position - first[axis][0]
        seeded = tf.reduce_sum(made[tuple(index)])
    found = tape.gradient(seeded, watched)
    gradient = np.zeros(values[target.graph.inputs.index(target.input)].shape)
    if found is not None:
        gradient[(slice(None), *held[target.input])] = found
    narrow = any(cone.parts[one] != entire(tracing.shape(one)) for one in cone.parts)
    return gradient, narrow


def whole_gradient(
    model: keras.Model, unit: tuple[int, ...], values: list[Any], number: int
) -> Any:
    """The same by the model itself."""
    watched = values[number]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        made = model(values if len(values) > 1 else values[0], training=False)
        seeded = tf.reduce_sum(made[(slice(None), *unit)])
    found = tape.gradient(seeded, watched)
    return np.zeros(watched.shape) if found is None else np.asarray(tf.convert_to_tensor(found))


def compare(description: graphs.Description, counts: Counter[str]) -> None:
    """Asserts that the cone of some units of a graph has the model's gradients."""
    with jacobian.precision():
        # Keras's adaptive maxima pool windows longer than the axis, whose gradient is whatever
        # happens to lie in memory.
        smooth = any("AdaptiveMax" in kind for kind in graphs.kinds(description.steps))
        model, _ = graphs.build(description, smooth=smooth)
        rng = np.random.default_rng(0)
        graphs.weigh(model)
        values = [
            tf.constant(rng.uniform(0.5, 1.5, (2, *shape)), model.dtype)
            for shape in description.inputs
        ]
        input = model.inputs[description.analysed].name
        for unit in jacobian.some_units(model.output_shape[1:-1]):
            try:
                target = locate(model, model.output, unit=unit, input=input)
            except KerasERFError:
                counts["units that see nothing"] += 1
                continue
            expected = whole_gradient(model, unit, values, description.analysed)
            gradient, narrow = cone_gradient(target, values)
            error = np.abs(gradient - expected).max()
            tolerance = max(TOLERANCE, description.tolerance) * np.abs(expected).max()
            if "3D" in str(description.steps) and "Pooling" in str(description.steps):
                # TensorFlow's 3-D pools have no kernel in double precision.
                tolerance = 1e-6 * np.abs(expected).max()
            assert error <= tolerance, (unit, error, np.abs(expected).max())
            counts["units"] += 1
            counts["narrow"] += narrow
        counts["graphs"] += 1


PARTS = 4
FUZZING = "FUZZ_GRAPHS" in os.environ
# Outside `make fuzz` a few; in it a quarter of what the fields get, as each graph is run.
GRAPHS = max(int(os.environ.get("FUZZ_GRAPHS", "160")) // 4 // PARTS, 1)
SEED = int(os.environ.get("FUZZ_SEED", "0"))


@pytest.mark.parametrize("part", range(PARTS))
def test_cones_have_the_models_gradients(part, record_property):
    counts: Counter[str] = Counter()

    @hypothesis.seed(SEED * PARTS + part)
    @hypothesis.settings(max_examples=GRAPHS)
    @hypothesis.given(graphs.descriptions())
    def check(description: graphs.Description) -> None:
        compare(description, counts)

    check()
    record_property("fuzz", {f"cones: {what}": number for what, number in counts.items()})
    assert counts["narrow"] > counts["units"] / 4
