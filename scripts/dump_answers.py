"""Writes down what the library answers, so that a refactoring can be seen to change nothing.

    python scripts/dump_answers.py before.json
    ... the refactoring ...
    python scripts/dump_answers.py after.json
    python scripts/dump_answers.py --compare before.json after.json

The questions are about the models of `keras.applications` and of the zoo, the tables of cases
in `tests/`, and random graphs. The file is JSON with one answer a line, in order, so that `diff`
reads it too. A map or mask is given by its type, shape and SHA-256; an error is an answer.
`--only fields,cones` and `--subjects "zoo/*"` ask some questions only: their answers replace
those in the file, the others stay. Run it from the root of a checkout, with one version of
Keras, TensorFlow and hypothesis.
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

# Sums must be taken in one order: before TensorFlow is loaded.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hypothesis
import keras
import numpy as np
import pytest

import keras_erf

# The only modules that are not public: where a refactoring moves them, change these lines.
from keras_erf.cone import cone_of, multiply_adds
from keras_erf.fields.theoretical import target_of, tracing_of
from keras_erf.measuring.linearity import has_constant_gradient
from tests import graphs

Shape = tuple[int, ...]
Answers = dict[str, Any]

# Tables of cases in `tests/`: module, table, and the shape of the inputs where it has none.
TABLES: tuple[tuple[str, str, Shape | None], ...] = (
    ("test_rules", "CASES", None),
    ("test_rules", "MIRRORED", None),
    ("test_layer_rules", "CASES", None),
    ("test_operation_rules", "CASES", None),
    ("test_operation_rules", "REFUSED", None),
    ("test_operation_rules", "NETWORKS", None),
    ("test_cone", "CASES", None),
    ("test_cone_cost", "COSTS", (20, 18, 4)),
    ("test_cone_running", "BLIND", (9, 8, 3)),
    ("test_expected", "SINGLE", None),
    ("test_linearity", "AFFINE", None),
    ("test_linearity", "OTHER", None),
    ("test_linearity", "CONVOLUTIONS", None),
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
# Suites that ask for `keras_erf.expected` of models that stand in no table.
RECORDED = ("tests/test_squaring.py", "tests/test_expected.py")
GRAPHS = 200
# Of the largest models only these are measured, and of all only some layers.
MEASURED = ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny")
MANY_LAYERS, SOME_LAYERS = 60, 4


# --- Subjects ------------------------------------------------------------------------------------


def subjects() -> Iterator[tuple[str, str, Callable[[], keras.Model], bool]]:
    """Names of models, their precision, functions that build them, and whether to measure them."""
    for name, builder in sorted(vars(keras.applications).items()):
        if inspect.isfunction(builder):
            options = {"weights": None, "include_top": False, "input_shape": (128, 128, 3)}
            yield f"applications/{name}", "float32", partial(builder, **options), name in MEASURED
    for name in keras_erf.zoo.available():
        yield f"zoo/{name}", "float32", partial(keras_erf.zoo.build, name), True
    for module, table, shape in TABLES:
        kinds = set[str]()
        for name, case in getattr(importlib.import_module(f"tests.{module}"), table).items():
            kind = name.partition("-")[0]
            precision = getattr(case, "dtype", "float64")
            yield (
                f"{module}.{table}/{name}",
                precision,
                partial(model_of, case, shape),
                (kind not in kinds),
            )
            kinds.add(kind)
    for number, description in enumerate(random_graphs()):
        yield f"graph/{number:03}", "float64", partial(model_of, description, None), number % 5 == 0


def random_graphs() -> list[graphs.Description]:
    """The same random graphs in every run."""
    drawn: list[graphs.Description] = []

    @hypothesis.seed(0)
    @hypothesis.settings(
        max_examples=GRAPHS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(graphs.descriptions())
    def draw(description: graphs.Description) -> None:
        drawn.append(description)

    draw()
    return drawn


def model_of(case: Any, shape: Shape | None) -> keras.Model:
    """The model of a case: a description, a dataclass, a function, or a tuple with shapes."""
    if isinstance(case, graphs.Description):
        return graphs.weigh(graphs.build(case)[0])
    first, *rest = case if isinstance(case, tuple) else (case,)
    build = first if callable(first) else getattr(first, "build", None) or first.layer
    named = getattr(first, "shapes", None) or [getattr(first, "shape", None)]
    shapes = [one for one in (*rest, *named) if one is not None]
    if shapes and isinstance(shapes[0][0], tuple):
        shapes = list(shapes[0])
    plain = isinstance(build, keras.layers.Layer)
    parameters = [] if plain else inspect.signature(build).parameters.values()
    count = sum(one.kind in (one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL) for one in parameters)
    if not plain and not count:
        build = build()
    if isinstance(build, keras.Model):
        return build
    if shape is not None:
        shapes = [shape] * max(count, 1)
    dtypes = getattr(first, "dtypes", None)
    dtypes = dtypes if isinstance(dtypes, tuple) else (dtypes,) * len(shapes)
    batch = getattr(first, "batch", None)
    inputs = [
        keras.Input(one, batch, dtype=dtype) for one, dtype in zip(shapes, dtypes, strict=True)
    ]
    return keras.Model(inputs, build(*inputs))


def prepared(build: Callable[[], keras.Model], precision: str) -> keras.Model:
    """A model of seeded weights, and of layer names that do not depend on what was built before."""
    keras.utils.clear_session()
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        # Gains, offsets and statistics as training leaves them.
        if len(weight.shape) == 1 and "float" in keras.backend.standardize_dtype(weight.dtype):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


# --- Answers -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON keeps it; arrays by their hash."""
    if isinstance(value, np.ndarray) and value.ndim:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def answer(ask: Callable[[], Any]) -> Any:
    """What is answered, or the error; addresses in it differ from run to run."""
    try:
        return plain(ask())
    except (Exception, pytest.skip.Exception) as error:
        return re.sub(r"0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}")


def some(count: int) -> list[int]:
    """Places of all layers, or of some of many, the last one among them."""
    if count <= MANY_LAYERS:
        return list(range(count))
    return sorted({(count - 1) * (place + 1) // SOME_LAYERS for place in range(SOME_LAYERS)})


def fields(model: keras.Model) -> Answers:
    """Theoretical fields of all layers, by each input and with the local paths alone."""
    answers: Answers = {}
    names = ("unit", "input_size", "output_size", "size", "stride", "padding", "status")
    names += ("size_range", "size_median")
    for number, tensor in enumerate(model.inputs):
        for globally in (True, False):
            options = {"input": tensor.name, "through_global": globally}
            start = f"input {number}{'' if globally else ' local'}"
            try:
                table = keras_erf.receptive_fields(model, **options)
            except Exception:
                answers[start] = answer(lambda o=options: keras_erf.receptive_fields(model, **o))
                continue
            answers[f"{start} skipped"] = plain(table.skipped)
            for place, field in enumerate(table.fields):
                found = {name: getattr(field, name) for name in names}
                found |= {"center": field.center(), "box": field.box()}
                if globally and place in some(len(table.fields)):
                    corner = (0,) * len(field.unit)
                    found["visible"] = answer(field.visible)
                    found["support"] = answer(field.support)
                    found["corner"] = answer(lambda f=field, c=corner: f.support(c))
                answers[f"{start} {place:03} {field.layer}"] = plain(found)
    return answers


def located(model: keras.Model) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that find the centre units of all layers, or of some of many."""
    for number, tensor in enumerate(model.inputs):
        tracing = tracing_of(model, input=tensor.name)
        graph = tracing.graph
        ends = [node.outputs[0] for node in graph.nodes if tracing.reaches(node.outputs[0])]
        for place in some(len(ends)):
            name = f"input {number} {place:03} {graph.tensors[ends[place]].name}"
            yield name, partial(target_of, tracing, ends[place])


def cones(model: keras.Model) -> Answers:
    """Parts and multiply-adds of the cones of centre units."""

    def cone(find: Callable[[], Any]) -> dict[str, Any]:
        target = find()
        part = [(0, size) for size in target.tracing.shape(target.tensor)]
        for axis, index in zip(target.spatial_axes, target.position, strict=True):
            part[axis] = (index, index + 1)
        found = cone_of(target.tracing, {target.tensor: tuple(part)})
        steps = [
            (step.node.name, step.inputs, [found.parts.get(one) for one in step.node.outputs])
            for step in found.steps
        ]
        return {"adds": multiply_adds(found, target.tracing), "steps": steps}

    return {name: answer(partial(cone, find)) for name, find in located(model)}


def affine(model: keras.Model) -> Answers:
    """Whether the gradients of units depend on the input, at inference and in training."""

    def verdicts(find: Callable[[], Any]) -> list[bool]:
        return [has_constant_gradient(find(), training=training) for training in (False, True)]

    return {name: answer(partial(verdicts, find)) for name, find in located(model)}


def summary(result: keras_erf.EffectiveReceptiveField) -> dict[str, Any]:
    """Numbers of a measured or expected map, and the notes about it."""
    found = {"map": result.map, "size": result.size, "trf_size": result.trf_size}
    found |= {"unit": result.unit, "notes": result.notes, "unseen": result.unseen}
    return {**found, "expected": result.provenance.get("expected")}


def expected(model: keras.Model) -> Answers:
    """Expected maps of random and of given weights."""
    return {
        weights: answer(lambda w=weights: summary(keras_erf.expected(model, weights=w)))
        for weights in ("random", "given")
    }


def probes(model: keras.Model) -> Answers:
    """A map of four seeded samples."""
    return {"normal": answer(lambda: summary(keras_erf.probe(model, samples=4, seed=0)))}


KINDS = {one.__name__: one for one in (fields, cones, affine, expected, probes)}
EVERYWHERE = ("fields", "cones", "affine")


class Recorder:
    """A plugin of pytest that keeps what `keras_erf.expected` answers in each test."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked = keras_erf.expected
        self.test = ""
        self.count = 0

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.test, self.count = item.nodeid, 0
        keras.utils.clear_session()

    def expected(self, *args: Any, **options: Any) -> Any:
        """Stands in for `keras_erf.expected`."""
        self.count += 1
        key = key_of("suites", self.test, f"call {self.count}")
        try:
            result = self.asked(*args, **options)
        except Exception as error:
            self.answers[key] = f"{type(error).__name__}: {error}"
            raise
        self.answers[key] = answer(lambda: summary(result))
        return result


def suites() -> Answers:
    """Expected maps of models that suites build."""
    recorder = Recorder()
    vars(keras_erf)["expected"] = recorder.expected
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", "0"]
    pytest.main([*options, *RECORDED], plugins=[recorder])
    vars(keras_erf)["expected"] = recorder.asked
    return recorder.answers


# --- The command ---------------------------------------------------------------------------------


def key_of(kind: str, subject: str, detail: str) -> str:
    """The name of an answer."""
    return f"{kind} | {subject} | {detail}"


def ask(kinds: list[str], pattern: str) -> Iterator[Answers]:
    """Answers of some kinds about the models whose names fit a pattern, one by one."""
    for name, precision, build, measured in subjects():
        wanted = [kind for kind in KINDS if kind in kinds and (measured or kind in EVERYWHERE)]
        if not wanted or not fnmatch(name, pattern):
            continue
        try:
            model = prepared(build, precision)
        except (Exception, pytest.skip.Exception) as error:
            message = f"{type(error).__name__}: {error}"
            yield {key_of(kind, name, "build"): message for kind in wanted}
            continue
        for kind in wanted:
            try:
                found = KINDS[kind](model)
            except Exception as error:
                found = {"all": f"{type(error).__name__}: {error}"}
            yield {key_of(kind, name, detail): value for detail, value in found.items()}
    if "suites" in kinds and fnmatch("tests/", pattern):
        yield suites()


def save(answers: Answers, path: Path) -> None:
    """Writes answers in order, one a line."""
    lines = [f"{json.dumps(key)}: {json.dumps(answers[key])}" for key in sorted(answers)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def compare(before: Path, after: Path) -> int:
    """Prints each answer that is not the same in two files; 1 if there are any."""
    one, other = json.loads(before.read_text()), json.loads(after.read_text())
    keys = [key for key in sorted({*one, *other}) if one.get(key, "-") != other.get(key, "-")]
    for key in keys:
        print(f"{key}: {json.dumps(one.get(key, '-'))} -> {json.dumps(other.get(key, '-'))}")
    print(f"{len(keys)} of {len({*one, *other})} answers differ")
    return bool(keys)


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
        parser.error(f"name a file, and kinds among {', '.join(kinds)}")
    answers: Answers = json.loads(given.out.read_text()) if given.out.exists() else {}
    for key in list(answers):
        kind, subject, _ = key.split(" | ", 2)
        if kind in chosen and fnmatch("tests/" if kind == "suites" else subject, given.subjects):
            del answers[key]
    warnings.simplefilter("ignore")
    saved = time.monotonic()
    for found in ask(chosen, given.subjects):
        answers.update(found)
        if time.monotonic() - saved > 30:
            save(answers, given.out)
            print(f"{len(answers)} answers, the last of {list(found)[-1:]}", file=sys.stderr)
            saved = time.monotonic()
    save(answers, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
