"""The measurements of a training: points in order of training steps, stored in a folder.

A history has phases: training that continues with a new optimizer, which counts its steps from 0,
is a new phase. No measurement is deleted: points that a resumed run replaces are moved aside.
"""

from __future__ import annotations

import csv
import itertools
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.errors import InvalidInputError
from keras_erf.files.naming import file_name
from keras_erf.files.writing import write_table, written_whole
from keras_erf.result_folders import Store, reading
from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["Logbook", "Phase", "Point"]

TABLE, MANIFEST, KIND = "erf.csv", "erf.json", "an `ERFLogger`"
# The folder, inside of the history's, for points that a resumed run replaced.
SUPERSEDED = "superseded"
# Defaults for columns that older versions did not write.
FORMER = {"phase": "0", "definition": ""}
# Metrics that need a gradient.
METRICS = (
    "erf_size", "erf_size_error", "ratio", "ratio_error", "sigma", "sigma_error", "r_squared",
)  # fmt: skip
# Readers of a table's text, by the type of the field.
READERS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True)
class Point:
    """One layer's metrics after some training steps; lengths in input pixels."""

    step: int  # Training steps done, in all phases.
    epoch: int  # Epochs done, the current one not counted.
    layer: str
    erf_size: float  # By the paper's rule.
    erf_size_error: float  # Its standard error.
    ratio: float  # Size over the theoretical one.
    ratio_error: float
    sigma: float  # Spread of the fitted Gaussian, the geometric mean over the axes.
    sigma_error: float
    r_squared: float  # Share of the map that the Gaussian explains.
    dead: float  # Share of samples without any gradient.
    samples: int
    trf_size: float  # Of the theoretical field.
    weights: str  # Fingerprint of the network's.
    phase: int  # From 0.
    iterations: int  # Steps that the phase's optimizer had counted.
    definition: str  # Name of the one that was measured.


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer."""

    number: int = 0
    start: int = 0  # Training steps done when its optimizer had counted none.


class Logbook:
    """Points and results, in memory and, if a folder is given, in a table and a file each."""

    def __init__(self, folder: Path | None) -> None:
        self.store = None if folder is None else Store(folder, MANIFEST, KIND)
        self.points: list[Point] = []
        # By names of files.
        self._results: dict[str, EffectiveReceptiveField] = {}
        # Superseded points, if there is no folder.
        self._aside: list[Point] = []

    @property
    def steps(self) -> list[int]:
        """The steps that have points."""
        return sorted({point.step for point in self.points})

    @property
    def frame(self) -> Any:
        """The points as a `pandas.DataFrame`."""
        return _frame([asdict(point) for point in self.points])

    @property
    def superseded(self) -> Any:
        """The points that resumed runs replaced, as a `pandas.DataFrame`, the oldest first.

        With a folder, it also has the column `file`: the result's file in the folder `superseded`.
        """
        if self.store is None:
            return _frame([asdict(point) for point in self._aside])
        return _frame(_read_rows(self.store.folder / SUPERSEDED), "file")

    @property
    def results(self) -> Mapping[tuple[int, str], EffectiveReceptiveField]:
        """The results by step and layer; at a step between two phases, those of the later phase."""
        found = {}
        for point in self.points:
            name = _file(point)
            result = self._results.get(name)
            if result is None and self.store is not None:
                result = self.store.load(name)
            if result is not None:
                found[point.step, point.layer] = self._results[name] = result
        return found

    def at(self, step: int) -> list[Point]:
        """The points of a step, in the last phase that has some."""
        points = [point for point in self.points if point.step == step]
        return [point for point in points if point.phase == points[-1].phase]

    def read(self) -> None:
        """Reads the points that an earlier run left in the folder."""
        if self.store is None or self.points:
            return
        with reading(self.store.folder / TABLE, KIND):
            self.points = [_point(row) for row in _read_rows(self.store.folder)]

    def place(self, count: int, layers: Sequence[str], definition: str, weights: str) -> Phase:
        """The phase in which a training continues: an existing one, or the next one.

        The weights decide. Those of a point at the step belong to a run that was interrupted there;
        those of the last point, or of any point for a new optimizer, begin the next phase. If
        there is no point at the step, the last phase continues.

        Raises:
            InvalidInputError: The points belong to another run.
        """
        phase = self._phase_of(count, weights)
        step = (phase or self._last_phase()).start + count
        known = {point.layer for point in self.points if point.step <= step}
        names = {point.definition for point in self.points} - {definition, ""}
        if known and known != set(layers):
            differ = f"of {', '.join(sorted(known))} in place of {', '.join(layers)}"
        elif known and names:
            differ = f"of definition {min(names)} in place of {definition}"
        elif phase is None:
            differ = f"of other weights at step {step}"
        else:
            return phase
        raise InvalidInputError(
            argument="path",
            expected=f"holds another run's points, {differ}: give another folder, or empty it",
            received=f"path={str(self.store and self.store.folder)!r}",
        )

    def _phase_of(self, count: int, weights: str) -> Phase | None:
        if not self.points:
            return Phase()
        alike = {(point.phase, point.step) for point in self.points if point.weights == weights}
        last, end = self._last_phase(), self.points[-1]
        ends_alike = (end.phase, end.step) in alike
        if count == 0 and ends_alike:
            return self.next_phase(end.step, count)
        steps = {step for _, step in alike}
        phases = {
            point.phase: Phase(point.phase, point.step - point.iterations) for point in self.points
        }
        for phase in sorted(phases.values(), key=lambda phase: -phase.number):
            if phase.start + count in steps:
                return phase
        if ends_alike or (count == 0 and alike):
            return self.next_phase(end.step, count)
        return None if self.at(last.start + count) else last

    def _last_phase(self) -> Phase:
        if not self.points:
            return Phase()
        end = self.points[-1]
        return Phase(end.phase, end.step - end.iterations)

    def next_phase(self, step: int, count: int) -> Phase:
        """The phase that begins at a step, for an optimizer that has counted `count` steps."""
        if not self.points:
            return Phase()
        last = self._last_phase()
        # A phase without a step has not begun.
        begun = any(point.phase == last.number and point.step > last.start for point in self.points)
        return Phase(last.number + begun, step - count)

    def return_to(self, phase: Phase, step: int) -> None:
        """Moves the points after a step of a phase aside, as training resumes there."""
        self.supersede(
            [point for point in self.points if point.step > step or point.phase > phase.number]
        )

    def add(
        self,
        phase: Phase,
        step: int,
        epoch: int,
        fields: Sequence[ReceptiveField],
        results: Sequence[EffectiveReceptiveField | None],
        weights: str,
        definition: str,
    ) -> list[Point]:
        """Adds the results of a step; `None` is a point of NaN. Existing points are moved aside."""
        points = [
            Point(
                step=step,
                epoch=epoch,
                weights=weights,
                phase=phase.number,
                iterations=step - phase.start,
                definition=definition,
                **_metrics(field, result),
            )
            for field, result in zip(fields, results, strict=True)
        ]
        self.supersede(
            [point for point in self.points if (point.phase, point.step) == (phase.number, step)]
        )
        self.points = self.points + points
        pairs = zip(points, results, strict=True)
        new = {_file(point): result for point, result in pairs if result is not None}
        self._results.update(new)
        if self.store is not None:
            self.store.save(new)
            # The table comes last, so that all results it lists exist.
            _write(self.store.folder, self.frame)
        return points

    def supersede(self, points: Sequence[Point]) -> None:
        """Moves points and their results from the history aside."""
        if not points:
            return
        gone = {id(point) for point in points}
        self.points = [point for point in self.points if id(point) not in gone]
        for point in points:
            self._results.pop(_file(point), None)
        if self.store is None:
            self._aside += points
            return
        # Copied before they are deleted, so that an interruption loses nothing.
        folder = self.store.folder
        _archive(folder, points)
        _write(folder, self.frame)
        for point in points:
            (folder / _file(point)).unlink(missing_ok=True)


def _file(point: Point) -> str:
    """The name of the file of a point's result."""
    phase = f"-phase-{point.phase}" if point.phase else ""
    return f"{file_name(point.layer)}{phase}-step-{point.step:07d}.npz"


def _point(row: Mapping[str, str]) -> Point:
    texts = {**FORMER, "iterations": row["step"], **row}
    return Point(
        **{column.name: READERS[str(column.type)](texts[column.name]) for column in fields(Point)}
    )


def _archive(folder: Path, points: Sequence[Point]) -> None:
    """Copies points and their results to the folder of superseded ones."""
    aside = folder / SUPERSEDED
    rows = _read_rows(aside)
    for point in points:
        file, name = folder / _file(point), ""
        if file.exists():
            name = _free(aside, file)
            with written_whole(aside / name) as temporary:
                shutil.copyfile(file, temporary)
        rows.append({**asdict(point), "file": name})
    _write(aside, _frame(rows, "file"))


def _frame(rows: Sequence[Mapping[str, Any]], *more: str) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=[*(column.name for column in fields(Point)), *more])


def _write(folder: Path, frame: Any) -> None:
    write_table(folder / TABLE, frame, na_rep="nan", lineterminator="\r\n")


def _read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's table; none if it has no table."""
    if not (folder / TABLE).exists():
        return []
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _free(folder: Path, file: Path) -> str:
    """The name of a file, with a number if the folder has one of that name."""
    numbered = (f"{file.stem}-{number}{file.suffix}" for number in itertools.count(2))
    names = itertools.chain([file.name], numbered)
    return next(name for name in names if not (folder / name).exists())


def _metrics(field: ReceptiveField, result: EffectiveReceptiveField | None) -> dict[str, Any]:
    """What a point states of its layer."""
    about = {"layer": field.layer, "trf_size": math.prod(field.size) ** (1 / len(field.size))}
    if result is None:
        return {**about, **dict.fromkeys(METRICS, math.nan), "dead": 1.0, "samples": 0}
    sigma = float(np.exp(np.mean(np.log(result.sigma))))
    error = float(sigma * np.mean(result.sigma_error / result.sigma))
    size, ratio = (result.size, result.size_error), (result.ratio, result.ratio_error)
    values = (*size, *ratio, sigma, error, result.compare().r_squared)
    metrics = dict(zip(METRICS, values, strict=True))
    return {**about, **metrics, "dead": result.dead, "samples": result.count}
