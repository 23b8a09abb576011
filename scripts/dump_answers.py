"""Writes down what the library answers, so that a refactoring can be seen to change nothing.

    python scripts/dump_answers.py before.json    # and after.json, after the refactoring
    python scripts/dump_answers.py --compare before.json after.json

It asks about the models of `keras.applications` and of the zoo, the tables of cases in `tests/`,
and random graphs. The file is JSON with one sorted answer a line, so that `diff` reads it too. An
array is given by its type, shape and SHA-256; an error is an answer. `--only fields,cones` and
`--subjects "zoo/*"` renew some answers and keep the others. Compare files of one machine, with
one version of Keras and TensorFlow.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

# One order of sums. TensorFlow reads it when it is loaded.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hypothesis
import keras
import numpy as np
import pytest

import keras_erf

# The only imports that are not public: follow a refactoring here.
from keras_erf.cone import cone_of, multiply_adds
from keras_erf.fields.theoretical import target_of, tracing_of
from keras_erf.measuring.linearity import has_constant_gradient
from tests import graphs

Answers = dict[str, Any]

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
    ("test_moving", "RANGES", (18, 24, 3)),
    ("test_precision", "MODELS", None),
    ("test_projecting", "BUILD", (8, 21, 2)),
    ("test_random_graphs", "NAMED", None),
)
# Suites whose models stand in no table: what `keras_erf.expected` answers in them is recorded.
SUITES = ("tests/test_squaring.py", "tests/test_expected.py")
# Applications that are measured, random graphs, and layers of one model that are asked about.
MEASURED = ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny")
GRAPHS, MANY_LAYERS, SOME_LAYERS = 200, 60, 4


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
    options = {"database": None, "deadline": None, "phases": [hypothesis.Phase.generate]}
    checks = list(hypothesis.HealthCheck)
    draw = hypothesis.given(graphs.descriptions())(lambda graph: drawn.append(graph))
    draw = hypothesis.settings(max_examples=GRAPHS, suppress_health_check=checks, **options)(draw)
    hypothesis.seed(0)(draw)()
    return drawn


def model_of(case: Any, shape: tuple[int, ...] | None) -> keras.Model:
    """The model of a case: a description, a dataclass, a function, or a tuple with shapes."""
    if isinstance(case, graphs.Description):
        return graphs.weigh(graphs.build(case)[0])
    first, *shapes = case if isinstance(case, tuple) else (case,)
    build = first if callable(first) else getattr(first, "build", None) or first.layer
    shapes += getattr(first, "shapes", None) or [getattr(first, "shape", None)]
    shapes = [one for one in shapes if one is not None]
    if shapes and isinstance(shapes[0][0], tuple):
        shapes = list(shapes[0])
    count = 1
    if not isinstance(build, keras.Layer):
        kinds = [one.kind for one in inspect.signature(build).parameters.values()]
        count = sum(kind is not inspect.Parameter.VAR_KEYWORD for kind in kinds)
        build = build if count else build()
    if isinstance(build, keras.Model):
        return build
    shapes = shapes if shape is None else [shape] * max(count, 1)
    dtypes = getattr(first, "dtypes", None)
    dtypes = dtypes if isinstance(dtypes, tuple) else (dtypes,) * len(shapes)
    batch = getattr(first, "batch", None)
    inputs = [keras.Input(one, batch, kind) for one, kind in zip(shapes, dtypes, strict=True)]
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


def plain(value: Any) -> Any:
    """A value as JSON keeps it; arrays by their hash."""
    if isinstance(value, np.ndarray) and value.ndim:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def answer(ask: Callable[..., Any], *given: Any) -> Any:
    """What is answered, or the error, without addresses in memory."""
    try:
        return plain(ask(*given))
    except (Exception, pytest.skip.Exception) as error:
        return re.sub(r"0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}")


def some(count: int) -> list[int]:
    """Places of all layers, or of some of many with the last."""
    if count <= MANY_LAYERS:
        return list(range(count))
    return [(count - 1) * place // SOME_LAYERS for place in range(1, SOME_LAYERS + 1)]


def fields(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Theoretical fields of all layers, of all paths and of the local ones alone."""
    names = ["unit", "input_size", "output_size", "size", "stride", "padding", "status"]
    names += ["size_range", "size_median"]
    for number, through_global in np.ndindex(len(model.inputs), 2):
        start = f"input {number} {'all' if through_global else 'local'} paths"
        table = keras_erf.receptive_fields(
            model, input=model.inputs[number].name, through_global=bool(through_global)
        )
        yield f"{start} skipped", plain(table.skipped)
        for place, field in enumerate(table.fields):
            found = {name: getattr(field, name) for name in names}
            found |= {"center": field.center(), "box": field.box()}
            if through_global and place in some(len(table.fields)):
                corner = (0,) * len(field.unit)
                found["visible"] = answer(field.visible)
                found["support"] = [answer(field.support, unit) for unit in (None, corner)]
            yield f"{start} {place:03} {field.layer}", plain(found)


def located(model: keras.Model) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that find the centre units of layers."""
    for number, tensor in enumerate(model.inputs):
        tracing = tracing_of(model, input=tensor.name)
        nodes = [one for one in tracing.graph.nodes if tracing.reaches(one.outputs[0])]
        for place in some(len(nodes)):
            find = partial(target_of, tracing, nodes[place].outputs[0])
            yield f"input {number} {place:03} {nodes[place].name}", find


def cones(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Parts and multiply-adds of the cones of centre units."""

    def cone(find: Callable[[], Any]) -> list[Any]:
        target = find()
        part = [(0, size) for size in target.tracing.shape(target.tensor)]
        for axis, index in zip(target.spatial_axes, target.position, strict=True):
            part[axis] = (index, index + 1)
        found = cone_of(target.tracing, {target.tensor: tuple(part)})
        parts = [[found.parts.get(one) for one in step.node.outputs] for step in found.steps]
        steps = [(step.node.name, step.inputs) for step in found.steps]
        return [multiply_adds(found, target.tracing), *zip(steps, parts, strict=True)]

    yield from ((name, answer(cone, find)) for name, find in located(model))


def affine(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Whether gradients are the same for every sample, at inference and in training."""
    for name, find in located(model):
        verdict = partial(lambda find, mode: has_constant_gradient(find(), training=mode), find)
        yield name, [answer(verdict, mode) for mode in (False, True)]


def summary(measure: Callable[[], keras_erf.EffectiveReceptiveField]) -> dict[str, Any]:
    """Map and size of a result, and the notes about it."""
    result = measure()
    names = ("map", "size", "trf_size", "unit", "notes", "unseen")
    listed = {"expected": result.provenance.get("expected")}
    return {name: getattr(result, name) for name in names} | listed


def expected(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Expected maps of random and of given weights."""
    for weights in ("random", "given"):
        yield weights, answer(summary, partial(keras_erf.expected, model, weights=weights))


def probes(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """A map of four seeded samples."""
    yield "normal", answer(summary, partial(keras_erf.probe, model, samples=4, seed=0))


KINDS = {one.__name__: one for one in (fields, cones, affine, expected, probes)}


def about_models(kinds: list[str], pattern: str) -> Iterator[Answers]:
    """Answers about the models whose names fit a pattern, of one model and kind at a time."""
    for name, precision, build, measured in subjects():
        wanted = kinds if measured else [one for one in kinds if one not in ("expected", "probes")]
        if not wanted or not fnmatch(name, pattern):
            continue
        models: list[keras.Model] = []
        failed = answer(lambda b=build, p=precision, m=models: m.append(prepared(b, p)))
        for kind in wanted:
            found: list[tuple[str, Any]] = [("built", failed)]
            if models:
                error = answer(lambda k=kind, m=models, f=found: f.extend(KINDS[k](m[0])))
                found.append(("asked", error))
            # No error is no answer.
            yield {f"{kind} | {name} | {one}": value for one, value in found if value is not None}


def about_suites() -> Answers:
    """What `keras_erf.expected` answers in the tests."""
    answers: Answers = {}
    asked = keras_erf.expected

    def record(*given: Any, **options: Any) -> Any:
        start = f"suites | {os.environ['PYTEST_CURRENT_TEST']} | "
        call = sum(key.startswith(start) for key in answers)
        results: list[Any] = []
        answers[f"{start}{call}"] = answer(
            summary, lambda: results.append(asked(*given, **options)) or results[0]
        )
        return results[0] if results else asked(*given, **options)

    vars(keras_erf)["expected"] = record
    pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", *SUITES])
    vars(keras_erf)["expected"] = asked
    return answers


def compare(before: Path, after: Path) -> int:
    """Prints each answer that is not the same in two files; 1 if there are any."""
    one, other = ({**json.loads(path.read_text())} for path in (before, after))
    pairs = {key: [json.dumps(a.get(key)) for a in (one, other)] for key in sorted({*one, *other})}
    lines = [f"{key}: {a} -> {b}" for key, (a, b) in pairs.items() if a != b]
    print(*lines, f"{len(lines)} of {len(pairs)} answers differ", sep="\n")
    return bool(lines)


def save(answers: Answers, path: Path) -> None:
    """Writes the answers, one a line."""
    lines = [f"{json.dumps(key)}: {json.dumps(answers[key])}" for key in sorted(answers)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> int:
    """Runs the command."""
    kinds = [*KINDS, "suites"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", help="file of the answers")
    parser.add_argument("--only", default=",".join(kinds), help=f"some of {','.join(kinds)}")
    parser.add_argument("--subjects", default="*", help='pattern of models, such as "zoo/*"')
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    given = parser.parse_args()
    if given.compare:
        return compare(*given.compare)
    chosen = given.only.split(",")
    if given.out is None or not set(chosen) <= set(kinds):
        parser.error(f"give a file, and kinds among {', '.join(kinds)}")
    answers: Answers = json.loads(given.out.read_text()) if given.out.exists() else {}
    for key in list(answers):
        kind, subject = key.split(" | ")[:2]
        if kind in chosen and (kind == "suites" or fnmatch(subject, given.subjects)):
            del answers[key]
    warnings.simplefilter("ignore")
    modelled = [kind for kind in KINDS if kind in chosen]
    for number, found in enumerate(about_models(modelled, given.subjects)):
        answers |= found
        if number % 100 == 99:
            save(answers, given.out)
            print(f"{time.process_time():.0f} s: {list(found)[-1:]}", file=sys.stderr)
    if "suites" in chosen:
        answers |= about_suites()
    save(answers, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
