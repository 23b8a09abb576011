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

from keras_erf.algebra.boxes import entire
from keras_erf.errors import KerasERFError
from keras_erf.fields.theoretical import locate
from tests import cones, graphs, jacobian

# Relative to the largest gradient, in double precision.
TOLERANCE = 1e-12


def misread(part: object) -> bool:
    """Whether TensorFlow itself reads other pixels than it should.

    In double precision its 3-D convolution with SAME padding does, of strides beyond the kernel.
    """
    if isinstance(part, tuple) and len(part) == 2 and part[0] == "Conv3D":
        options = part[1]
        strides = options.get("strides", (1, 1, 1))
        beyond = zip(strides, options["kernel_size"], strict=True)
        return options.get("padding") == "same" and any(step > size for step, size in beyond)
    parts = part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else ()
    return any(map(misread, parts))


def compare(description: graphs.Description, counts: Counter[str]) -> None:
    """Asserts that the cone of some units of a graph has the model's gradients."""
    if misread(description.steps):
        counts["misread by TensorFlow"] += 1
        return
    with jacobian.precision():
        # Keras's adaptive maxima pool windows longer than the axis, whose gradient is whatever
        # happens to lie in memory.
        smooth = any("AdaptiveMax" in kind for kind in graphs.kinds(description.steps))
        model, _ = graphs.build(description, smooth=smooth)
        rng = np.random.default_rng(0)
        graphs.weigh(model)
        if graphs.normalises_equals(model):
            # All gradients are rounding.
            counts["graphs that normalise equals"] += 1
            return
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


def test_what_tensorflow_misreads_is_known():
    options = {"kernel_size": (1, 1, 1), "strides": (3, 1, 1), "padding": "same"}
    assert misread((("shared", {"step": ("Conv3D", options), "shift": 0}),))
    assert not misread((("shared", {"step": ("Conv3D", {**options, "padding": "valid"})}),))
    values = np.random.default_rng(0).uniform(size=(1, 6, 2, 2, 1))
    taken = tf.nn.conv3d(values, np.ones((1, 1, 1, 1, 1)), [1, 3, 1, 1, 1], "SAME").numpy()
    if np.allclose(taken, values[:, ::3]):
        pytest.skip("this TensorFlow reads them right: `misread` can go")
