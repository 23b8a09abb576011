"""Gradients by the cone against those of the whole model, on random functional graphs.

`make test` compares the same few graphs everywhere; `make fuzz` a quarter as many as it
draws for fields.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

hypothesis = pytest.importorskip("hypothesis")

from keras_erf.cone.parts import entire
from keras_erf.errors import KerasERFError
from keras_erf.fields.theoretical import locate
from tests import cones, graphs, jacobian

# Relative to the largest gradient, in double precision.
TOLERANCE = 1e-12


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
            (whole,) = cones.by_model(model, [target], values, description.analysed)
            found = cones.by_cone(target.tracing, target.tensor, target.position, values)
            expected, error = whole.gradient, np.abs(found.gradient - whole.gradient).max()
            tolerance = max(TOLERANCE, description.tolerance) * np.abs(expected).max()
            if "3D" in str(description.steps) and "Pooling" in str(description.steps):
                # TensorFlow's 3-D pools have no kernel in double precision.
                tolerance = 1e-6 * np.abs(expected).max()
            assert error <= tolerance, (unit, error, np.abs(expected).max())
            counts["units"] += 1
            shapes = target.tracing.shape
            parts = found.cone.parts
            counts["narrow"] += any(parts[one] != entire(shapes(one)) for one in parts)
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
