"""Breaks the package on purpose, many times over, and counts how often the tests notice.

    pip install cosmic-ray
    python scripts/mutants.py geometry rules analysis --sample 200 --out mutants.jsonl

Cosmic Ray makes the mutants: a number one larger, another operator, a condition turned round. A
sample of them, spread evenly over the files of each part, meets the tests of that part which reach
its line. Coverage tells which those are. Every mutant lives in a process of its own, forked from
one that has TensorFlow imported and has not run it yet; no file is written over.

Left out is what no test can or should tell: annotations, type aliases, protocols, `__all__`, texts
of errors, the decorator of a dataclass, and `is` for `==`. A mutant that takes too long counts as
killed. The results are lines of JSON. Called again with the same `--out`, the script runs mutants
that are missing there; with `--again`, those that survived too.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import cosmic_ray.plugins
import coverage
import hypothesis
import hypothesis.extra.numpy
import keras
import pytest
import scipy.optimize
import scipy.stats
import tensorflow
from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code

IMPORTED_BEFORE_FORKING = (hypothesis.extra.numpy, keras, scipy.optimize, scipy.stats, tensorflow)
ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "geometry": (["keras_erf/algebra/geometry.py"], ["test_geometry.py", "test_views.py"]),
    "rules": (
        ["keras_erf/dependence/*.py", "keras_erf/layers/*.py"],
        [
            "test_reference_tables.py",
            "test_rules.py",
            "test_layer_rules.py",
            "test_operation_rules.py",
            "test_measured.py",
        ],
    ),
    "analysis": (["keras_erf/analysis/*.py"], ["test_analysis_*.py", "test_growth_law.py"]),
}
# Alike for small numbers and interned strings, which are all that is compared here.
ALIKE = re.compile("_(Eq_Is|Is_Eq|NotEq_IsNot|IsNot_NotEq)$")
SIX_GIGABYTES = 6 * 2**30

Place = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change of one file; `start` is its line and column."""

    part: str
    path: str
    operator: str
    occurrence: int
    start: Place

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from all others."""
        return self.path, self.operator, self.occurrence

    def code(self) -> str:
        """The changed source."""
        operator = cosmic_ray.plugins.get_operator(self.operator)()
        return mutate_code((ROOT / self.path).read_text(), operator, self.occurrence)

    def is_python(self) -> bool:
        """Whether the changed source is Python at all."""
        try:
            compile(self.code(), self.path, "exec", dont_inherit=True)
        except SyntaxError:
            return False
        return True

    def change(self) -> str:
        """The changed lines, before and behind."""
        before, after = (ROOT / self.path).read_text().splitlines(), self.code().splitlines()
        changed = [(a, b) for a, b in zip(before, after, strict=False) if a != b]
        return " | ".join(f"{a.strip()} -> {b.strip()}" for a, b in changed[:2])


# --- Which mutants there are ---------------------------------------------------------------------


def mutants_of(part: str) -> tuple[list[Mutant], int]:
    """All mutants of a part that a test could tell, and how many others there are."""
    paths = sorted(path for pattern in PARTS[part][0] for path in ROOT.glob(pattern))
    kept, left_out = [], 0
    for path in paths:
        tells = _telling(path.read_text())
        for item in _all_work_items([path], {}):
            (mutation,) = item.mutations
            if ALIKE.search(mutation.operator_name) or not tells(mutation.start_pos):
                left_out += 1
                continue
            name = str(path.relative_to(ROOT))
            kept.append(
                Mutant(part, name, mutation.operator_name, mutation.occurrence, mutation.start_pos)
            )
    return kept, left_out


def _telling(text: str) -> Callable[[Place], bool]:
    """Whether a change at a place of a source could matter."""
    lines, tree = text.splitlines(), ast.parse(text)

    def place(line: int, offset: int) -> Place:
        return line, len(lines[line - 1].encode()[:offset].decode())

    def span(node: Any) -> tuple[Place, Place]:
        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)

    mute, telling = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            marks = node.decorator_list
            if any("dataclass" in ast.unparse(mark) for mark in marks):
                # From the @ on.
                mute.append(((marks[0].lineno, 0), (node.lineno, 0)))
            if "Protocol" in map(ast.unparse, node.bases):
                mute.append(span(node))
        elif isinstance(node, ast.FunctionDef):
            mute.append((span(node)[0], span(node.body[0])[0]))
            telling += [
                span(default)
                for default in (*node.args.defaults, *node.args.kw_defaults)
                if default
            ]
        elif isinstance(node, ast.AnnAssign):
            mute.append(span(node.annotation))
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            mute.append(span(node.exc))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            mute.append(span(node))
    for node in tree.body:
        # Types have their names in CamelCase.
        if isinstance(node, ast.Assign) and re.match(
            r"__all__$|[A-Z]\w*[a-z]", ast.unparse(node.targets[0])
        ):
            mute.append(span(node))

    def inside(at: Place, spans: list[tuple[Place, Place]]) -> bool:
        return any(start <= at < stop for start, stop in spans)

    return lambda at: inside(at, telling) or not inside(at, mute)


def sample_of(mutants: list[Mutant], size: int, rng: random.Random) -> list[Mutant]:
    """Every n-th mutant in the order of files and operators, from a random first on."""
    size = min(size, len(mutants))
    first = rng.random()
    return [mutants[int((first + place) * len(mutants) / size)] for place in range(size)]


# --- Which tests reach a line --------------------------------------------------------------------


@dataclass
class Tests:
    """The tests of a part, how long each took, and which of them ran a line of which file."""

    files: list[str]
    seconds: dict[str, float]
    reached: dict[str, dict[int, list[str]]]

    def of(self, mutant: Mutant) -> list[str]:
        """Tests that reach the statement of a mutant; all if it runs at import."""
        by_line = self.reached.get(mutant.path, {})
        found = {one.partition("|")[0] for line in _lines(mutant) for one in by_line.get(line, [])}
        if "" in found:
            return list(self.seconds)
        return [test for test in self.seconds if test in found]


def _lines(mutant: Mutant) -> range:
    """Lines of the smallest statement around a mutant, without the block it may head."""
    line = mutant.start[0]
    heads = []
    for node in ast.walk(ast.parse((ROOT / mutant.path).read_text())):
        if isinstance(node, ast.stmt):
            block = getattr(node, "body", None)
            decorators = getattr(node, "decorator_list", [])
            first = min(part.lineno for part in (node, *decorators))
            stop = block[0].lineno if isinstance(block, list) and block else node.end_lineno + 1
            if first <= line < max(stop, first + 1):
                heads.append(range(first, max(stop, first + 1)))
    return min(heads, key=len, default=range(line, line + 1))


def tests_of(part: str) -> Tests:
    """The tests of a part, all of which have to pass."""
    names = [path for pattern in PARTS[part][1] for path in (ROOT / "tests").glob(pattern)]
    files = sorted(str(path.relative_to(ROOT)) for path in names)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "coverage"
        os.environ["COVERAGE_FILE"] = str(data)
        options = ["--cov=keras_erf", "--cov-context=test", "--cov-report="]
        process, answer = _start(None, [*options, *files], None)
        report = _report(process, answer)
        if report["code"] != 0:
            raise SystemExit(f"The tests of {part} do not pass by themselves: {report}")
        read = coverage.CoverageData(str(data))
        read.read()
        reached = {
            str(Path(file).relative_to(ROOT)): read.contexts_by_lineno(file)
            for file in read.measured_files()
        }
    return Tests(files, report["seconds"], reached)


# --- One mutant against the tests ----------------------------------------------------------------


class Changed(SourceFileLoader):
    """Imports one module from a changed source, and leaves the file alone."""

    def __init__(self, path: str, text: str) -> None:
        self._name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        super().__init__(self._name, str(ROOT / path))
        self._text = text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The changed module's, and none for any other."""
        return spec_from_file_location(name, self.path, loader=self) if name == self._name else None

    def get_code(self, fullname: str) -> Any:
        """Compiles the changed source; stored bytecode would be the old one's."""
        with warnings.catch_warnings():
            # `is` with a number is a warning, which the tests would take for an error.
            warnings.simplefilter("ignore")
            return compile(self._text, self.path, "exec", dont_inherit=True)


class Watch:
    """A plugin of pytest: runs the chosen tests alone, and keeps who failed first."""

    def __init__(self, chosen: list[str] | None) -> None:
        self.chosen = None if chosen is None else set(chosen)
        self.failed = ""
        self.seconds: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Leaves the tests that were chosen."""
        if self.chosen is not None:
            items[:] = [item for item in items if item.nodeid in self.chosen]

    def pytest_collectreport(self, report: Any) -> None:
        """Keeps a module of tests that could not be imported."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Takes the time."""
        self.seconds[report.nodeid] += report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _start(
    mutant: Mutant | None, arguments: list[str], chosen: list[str] | None
) -> tuple[Any, Connection]:
    """Forks a process that runs pytest on a mutant, or on the code as it is."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(send, mutant, arguments, chosen))
    process.start()
    send.close()
    return process, receive


def _report(process: Any, answer: Connection) -> dict[str, Any]:
    """What a process has to say, once it has ended."""
    try:
        report = answer.recv()
    except EOFError:
        report = None
    process.join()
    return report or {"code": process.exitcode, "by": f"fell over, exit code {process.exitcode}"}


def _run(
    send: Connection, mutant: Mutant | None, arguments: list[str], chosen: list[str] | None
) -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (SIX_GIGABYTES, SIX_GIGABYTES))
    if mutant is not None:
        loader: Any = Changed(mutant.path, mutant.code())
        sys.meta_path.insert(0, loader)
    # Failures are not to be made small.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, deadline=None, database=None, phases=phases
    )
    watch = Watch(chosen)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    # Hypothesis is imported already.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*options, *arguments], plugins=[watch])
    send.send({"code": int(code), "by": watch.failed, "seconds": dict(watch.seconds)})


def verdicts(
    mutants: list[Mutant], tests: dict[str, Tests], jobs: int
) -> Iterator[tuple[Mutant, dict[str, Any]]]:
    """What became of each mutant, as they end; `jobs` of them run at a time."""
    waiting, running = list(reversed(mutants)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            part = tests[mutant.part]
            chosen = part.of(mutant)
            if not chosen:
                yield mutant, {"end": "survived", "by": "no test reaches it", "seconds": 0.0}
                continue
            limit = 30 + 4 * sum(part.seconds[test] for test in chosen)
            files = [file for file in part.files if any(name.startswith(file) for name in chosen)]
            process, answer = _start(mutant, files, chosen)
            running[answer] = mutant, process, time.monotonic(), limit
        ended = set(wait(list(running), timeout=0.2))
        for answer, (mutant, process, began, limit) in list(running.items()):
            seconds = time.monotonic() - began
            if answer in ended:
                report = _report(process, answer)
                by = report["by"]
                if report["code"] != 0 and not by:
                    raise SystemExit(f"pytest itself failed on {mutant}: {report}")
                end = "killed" if by else "survived"
            elif seconds > limit:
                process.kill()
                process.join()
                end, by = "killed", "time"
            else:
                continue
            del running[answer]
            yield mutant, {"end": end, "by": by, "seconds": round(seconds, 1)}


# --- The run -------------------------------------------------------------------------------------


def share(killed: int, count: int, total: int) -> tuple[float, float]:
    """Share of the killed, and its standard error when `count` of `total` were drawn."""
    part = killed / count
    return part, math.sqrt(part * (1 - part) / count * (1 - count / total))


def table(results: list[dict[str, Any]], totals: dict[str, int]) -> str:
    """Killed and survived by part, and over all mutants there are."""
    ends = defaultdict(Counter)
    for result in results:
        ends[result["part"]][result["end"]] += 1
    lines, every, variance = [], 0.0, 0.0
    everything = sum(totals[part] for part in ends)
    for part, count in ends.items():
        rate, error = share(count["killed"], count.total(), totals[part])
        every += rate * totals[part] / everything
        variance += (error * totals[part] / everything) ** 2
        lines.append(
            f"{part}: {count['killed']} of {count.total()} killed, {rate:.1%} ± {error:.1%}"
            f" ({totals[part]} mutants in all)"
        )
    lines.append(f"all: {every:.1%} ± {math.sqrt(variance):.1%}, each part by its mutants")
    return "\n".join(lines)


def main() -> None:
    """Draws the sample, runs it and tells the shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--sample", type=int, default=200, help="mutants of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--again", action="store_true", help="run the survivors again")
    parser.add_argument("--out", type=Path, required=True, help="file of results, added to")
    options = parser.parse_args()

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    known = {
        (result["path"], result["operator"], result["occurrence"]): result
        for result in map(json.loads, lines)
    }
    totals, drawn = {}, []
    for part in options.parts:
        mutants, left_out = mutants_of(part)
        totals[part] = len(mutants)
        print(f"{part}: {len(mutants)} mutants, {left_out} left out", flush=True)
        some = sample_of(mutants, options.sample, random.Random(f"{options.seed} {part}"))
        drawn += [mutant for mutant in some if mutant.is_python()]
    random.Random(options.seed).shuffle(drawn)
    ends = {mutant.key: known.get(mutant.key, {"end": "missing"})["end"] for mutant in drawn}
    wanted = {"missing", "survived"} if options.again else {"missing"}
    todo = [mutant for mutant in drawn if ends[mutant.key] in wanted]

    tests = {part: tests_of(part) for part in {mutant.part for mutant in todo}}
    for part, part_tests in tests.items():
        print(
            f"{part}: {len(part_tests.seconds)} tests, {sum(part_tests.seconds.values()):.0f} s",
            flush=True,
        )
    with options.out.open("a") as file:
        for mutant, verdict in verdicts(todo, tests, options.jobs):
            known[mutant.key] = {**asdict(mutant), **verdict, "change": mutant.change()}
            file.write(json.dumps(known[mutant.key]) + "\n")
            file.flush()
    print(table([known[mutant.key] for mutant in drawn], totals))


if __name__ == "__main__":
    main()
