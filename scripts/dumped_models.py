"""The models that `dump_answers.py` asks about, each built in the same way in every run."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import hypothesis
import keras
import numpy as np

import keras_erf
from tests import graphs

__all__ = ["prepared", "subjects"]

# Tables of cases by their module in `tests/`; a shape is of the inputs of cases without one.
TABLES: tuple[tuple[str, str, tuple[int, ...] | None], ...] = (
    *(("test_rules", name, None) for name in ("CASES", "MIRRORED")),
    ("test_layer_rules", "CASES", None),
    *(("test_operation_rules", name, None) for name in ("CASES", "REFUSED", "NETWORKS")),
    ("test_cone", "CASES", None),
    ("test_cone_cost", "COSTS", (20, 18, 4)),
    ("test_cone_running", "BLIND", (9, 8, 3)),
    ("test_expected", "SINGLE", None),
    *(("test_linearity", name, None) for name in ("AFFINE", "OTHER", "CONVOLUTIONS")),
    ("test_linearity", "TRAINING", (8, 7, 4)),
    ("test_masked", "KERNELS", None),
    ("test_measured", "CASES", None),
    ("test_moving", "MAPS", (16, 24, 3)),
    ("test_moving", "UNEVEN", (20, 24, 1)),
    ("test_moving", "RANGES", (16, 24, 3)),
    ("test_precision", "MODELS", None),
    ("test_projecting", "BUILD", (8, 21, 2)),
    ("test_random_graphs", "NAMED", None),
)
# Applications that are measured, and random graphs.
MEASURED = ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny")
GRAPHS = 200


def subjects() -> Iterator[tuple[str, str, Callable[[], keras.Model], bool]]:
    """Names of models, their precision, functions that build them, and whether to measure them."""
    options = {"weights": None, "include_top": False, "input_shape": (128, 128, 3)}
    for name, build in sorted(vars(keras.applications).items()):
        if inspect.isfunction(build):
            yield f"applications/{name}", "float32", partial(build, **options), name in MEASURED
    for name in keras_erf.zoo.available():
        yield f"zoo/{name}", "float32", partial(keras_erf.zoo.build, name), True
    keras.utils.set_random_seed(0)
    for module, table, shape in TABLES:
        known = set[str]()
        for name, case in getattr(importlib.import_module(f"tests.{module}"), table).items():
            # One case of each layer is measured.
            kind = name.partition("-")[0]
            precision = getattr(case, "dtype", "float64")
            build = partial(model_of, case, shape)
            yield f"{module}.{table}/{name}", precision, build, kind not in known
            known.add(kind)
    for number, graph in enumerate(random_graphs()):
        yield f"graph/{number:03}", "float64", partial(model_of, graph, None), number % 5 == 0


def random_graphs() -> list[graphs.Description]:
    """The same random graphs in every run."""
    drawn: list[graphs.Description] = []
    options: dict[str, Any] = {"database": None, "deadline": None, "max_examples": GRAPHS}
    options |= {"phases": [hypothesis.Phase.generate]}
    options |= {"suppress_health_check": list(hypothesis.HealthCheck)}
    draw = hypothesis.given(graphs.descriptions())(lambda graph: drawn.append(graph))
    hypothesis.seed(0)(hypothesis.settings(**options)(draw))()
    return drawn


def model_of(case: Any, shape: tuple[int, ...] | None) -> keras.Model:
    """The model of a case: a description, a dataclass, a function, or a tuple with shapes."""
    if isinstance(case, graphs.Description):
        return graphs.weigh(graphs.build(case)[0])
    first, *shapes = case if isinstance(case, tuple) else (case,)
    build = first if callable(first) else getattr(first, "build", None) or first.layer
    shapes += getattr(first, "shapes", None) or [getattr(first, "shape", None)]
    shapes = [size for size in shapes if size is not None] if shape is None else []
    if shapes and shapes[0] and isinstance(shapes[0][0], tuple):
        shapes = list(shapes[0])
    count = 1
    if not isinstance(build, keras.Layer):
        kinds = [parameter.kind for parameter in inspect.signature(build).parameters.values()]
        count = sum(kind is not inspect.Parameter.VAR_KEYWORD for kind in kinds)
        build = build if count else build()
    if isinstance(build, keras.Model):
        return build
    shapes = shapes if shape is None else [shape] * max(count, 1)
    dtypes = getattr(first, "dtypes", None)
    dtypes = dtypes if isinstance(dtypes, tuple) else (dtypes,) * len(shapes)
    batch = getattr(first, "batch", None)
    inputs = [keras.Input(sizes, batch, kind) for sizes, kind in zip(shapes, dtypes, strict=True)]
    return keras.Model(inputs, build(*inputs))


def prepared(build: Callable[[], keras.Model], precision: str) -> keras.Model:
    """A model of seeded weights, whose layers' names do not depend on those built before."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    model, rng = build(), np.random.default_rng(0)
    for weight in model.weights:
        # Gains, offsets and statistics other than the initial ones.
        if len(weight.shape) == 1 and "float" in str(weight.dtype):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model
