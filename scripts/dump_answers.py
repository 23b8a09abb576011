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
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import Any

# One order of sums. TensorFlow reads it when it is loaded.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import pytest
from dumped_models import prepared, subjects

import keras_erf

# The only imports that are not public: follow a refactoring here.
from keras_erf.cone import cone_of, multiply_adds
from keras_erf.fields.theoretical import target_of, tracing_of
from keras_erf.measuring.linearity import has_constant_gradient

Answers = dict[str, Any]

# Suites whose models stand in no table: what `keras_erf.expected` answers in them is recorded.
SUITES = ("tests/test_squaring.py", "tests/test_expected.py")
# Of models with many layers some are asked about.
MANY_LAYERS, SOME_LAYERS = 20, 6


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


def answer(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What is answered, or the error, without addresses in memory."""
    try:
        return plain(ask(*arguments))
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
            facts = {name: getattr(field, name) for name in names}
            facts |= {"center": field.center(), "box": field.box()}
            if through_global and place in some(len(table.fields)):
                corner = (0,) * len(field.unit)
                facts["visible"] = answer(field.visible)
                facts["support"] = [answer(field.support, unit) for unit in (None, corner)]
            yield f"{start} {place:03} {field.layer}", plain(facts)


def located(model: keras.Model) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that find the centre units of layers."""
    for number, tensor in enumerate(model.inputs):
        tracing = tracing_of(model, input=tensor.name)
        nodes = [node for node in tracing.graph.nodes if tracing.is_reached(node.outputs[0])]
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
        plan = cone_of(target.tracing, {target.tensor: tuple(part)})
        parts = [[plan.parts.get(tensor) for tensor in step.node.outputs] for step in plan.steps]
        steps = [(step.node.name, step.inputs) for step in plan.steps]
        return [multiply_adds(plan, target.tracing), *zip(steps, parts, strict=True)]

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


KINDS = {kind.__name__: kind for kind in (fields, cones, affine, expected, probes)}


def about_models(kinds: list[str], pattern: str) -> Iterator[Answers]:
    """Answers about the models whose names fit a pattern, of one model and kind at a time."""
    for name, precision, build, measured in subjects():
        wanted = (
            kinds if measured else [kind for kind in kinds if kind not in ("expected", "probes")]
        )
        if not wanted or not fnmatch(name, pattern):
            continue
        models: list[keras.Model] = []
        failed = answer(lambda b=build, p=precision, m=models: m.append(prepared(b, p)))
        for kind in wanted:
            answers: list[tuple[str, Any]] = [("built", failed)]
            if models:
                error = answer(lambda k=kind, m=models, f=answers: f.extend(KINDS[k](m[0])))
                answers.append(("asked", error))
            # No error is no answer.
            yield {f"{kind} | {name} | {key}": value for key, value in answers if value is not None}


def about_suites() -> Answers:
    """What `keras_erf.expected` answers in the tests."""
    answers: Answers = {}
    asked = keras_erf.expected

    def record(*arguments: Any, **options: Any) -> Any:
        start = f"suites | {os.environ['PYTEST_CURRENT_TEST']} | "
        call = sum(key.startswith(start) for key in answers)
        ask = cache(partial(asked, *arguments, **options))
        answers[f"{start}{call}"] = answer(summary, ask)
        # The same result, or the error once more.
        return ask()

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
    options = parser.parse_args()
    if options.compare:
        return compare(*options.compare)
    chosen = options.only.split(",")
    if options.out is None or not set(chosen) <= set(kinds):
        parser.error(f"give a file, and kinds among {', '.join(kinds)}")
    answers: Answers = json.loads(options.out.read_text()) if options.out.exists() else {}
    for key in list(answers):
        kind, subject = key.split(" | ")[:2]
        if kind in chosen and (kind == "suites" or fnmatch(subject, options.subjects)):
            del answers[key]
    warnings.simplefilter("ignore")
    modelled = [kind for kind in KINDS if kind in chosen]
    for number, new in enumerate(about_models(modelled, options.subjects)):
        answers |= new
        if number % 100 == 99:
            save(answers, options.out)
            print(f"{time.process_time():.0f} s: {list(new)[-1:]}", file=sys.stderr)
    if "suites" in chosen:
        answers |= about_suites()
    save(answers, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
