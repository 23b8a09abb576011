"""What was measured during a training: points in order of training steps, kept in a folder.

A history has phases: training that continues with an optimizer of its own, which counts its steps
from 0, is another phase of it. Nothing that was measured is deleted: points that training went
back behind are set aside.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.errors import InvalidInputError
from keras_erf.files.naming import file_name
from keras_erf.files.writing import written_whole
from keras_erf.results.effective import EffectiveReceptiveField, load

__all__ = ["Logbook", "Phase", "Point"]

TABLE = "erf.csv"
# The folder, inside of the history's, of points that training went back behind.
SUPERSEDED = "superseded"
# What tables of versions without phases leave out.
FORMER = {"phase": "0", "definition": ""}


@dataclass(frozen=True)
class Point:
    """One layer's metrics after some training steps; lengths in input pixels.

    Args:
        step: Training steps done, in all phases.
        epoch: Epochs done, the current one not counted.
        layer: Name of the layer.
        erf_size: ERF size by the paper's rule.
        erf_size_error: Its standard error.
        ratio: Size over the theoretical one.
        ratio_error: Its standard error.
        sigma: Spread of the fitted Gaussian, the geometric mean over the axes.
        sigma_error: Its standard error.
        r_squared: Share of the map that the Gaussian explains.
        dead: Share of samples without any gradient.
        samples: Number of samples.
        trf_size: Size of the theoretical field.
        weights: Fingerprint of the network's weights.
        phase: Number of the phase, from 0.
        iterations: Steps that the phase's optimizer had counted.
        definition: Name of the definition that was measured.
    """

    step: int
    epoch: int
    layer: str
    erf_size: float
    erf_size_error: float
    ratio: float
    ratio_error: float
    sigma: float
    sigma_error: float
    r_squared: float
    dead: float
    samples: int
    trf_size: float
    weights: str
    phase: int
    iterations: int
    definition: str


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer.

    Args:
        number: From 0.
        start: Training steps done when its optimizer had counted none.
    """

    number: int = 0
    start: int = 0


class Logbook:
    """Points and results, in memory and, if a folder is given, in a table and a file each.

    Args:
        folder: Where they are kept, or `None`.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InvalidInputError(f"`path` must be a folder. Received: path={str(folder)!r}")
        self.points: list[Point] = []
        self._results: dict[tuple[int, int, str], EffectiveReceptiveField] = {}
        # Without a folder these are kept in memory.
        self._aside: list[tuple[Point, EffectiveReceptiveField | None]] = []

    @property
    def steps(self) -> list[int]:
        """The steps of which there are points."""
        return sorted({point.step for point in self.points})

    @property
    def frame(self) -> Any:
        """The points as a `pandas.DataFrame`."""
        return _frame([asdict(point) for point in self.points])

    @property
    def superseded(self) -> Any:
        """The points that training went back behind, as a `pandas.DataFrame`, the first ones first.

        With a folder it has the column `file` too: the result's, in the folder `superseded`.
        """
        if self.folder is None:
            return _frame([asdict(point) for point, _ in self._aside])
        return _frame(self._archived(), "file")

    @property
    def results(self) -> Mapping[tuple[int, str], EffectiveReceptiveField]:
        """The results by step and layer; of a step that ends a phase and begins one, the last."""
        found = {}
        for point in self.points:
            key = _key(point)
            if key not in self._results and self.folder is not None and self._file(point).exists():
                self._results[key] = load(self._file(point))
            if key in self._results:
                found[point.step, point.layer] = self._results[key]
        return found

    def at(self, step: int) -> list[Point]:
        """The points of a step, of the last phase that has any there."""
        points = [point for point in self.points if point.step == step]
        return [point for point in points if point.phase == points[-1].phase]

    def read(self) -> None:
        """Reads the points that an earlier run left in the folder."""
        if self.folder is None or self.points or not (self.folder / TABLE).exists():
            return
        kinds = {one.name: one.type for one in fields(Point)}
        read = {"int": int, "float": float, "str": str}
        try:
            rows = [
                {**FORMER, "iterations": row["step"], **row}
                for row in _read_rows(self.folder / TABLE)
            ]
            points = [
                Point(**{name: read[str(kinds[name])](row[name]) for name in kinds}) for row in rows
            ]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InvalidInputError(
                f"`path` must be a folder of `ERFLogger`: {TABLE} cannot be read ({error}). "
                f"Received: path={str(self.folder)!r}"
            ) from error
        self.points = points

    def place(self, count: int, layers: Sequence[str], definition: str, weights: str) -> Phase:
        """The phase in which a training continues here: one that is there, or the next.

        Weights tell: those of a point at the step are of a run that was interrupted there; those
        of the last point, or of any for an optimizer that begins, are of the next phase. Where
        there is no point at the step, nothing speaks against the last phase.

        Args:
            count: Steps that the training's optimizer has counted.
            layers: Names of the layers that are measured.
            definition: Name of the definition.
            weights: Fingerprint of the weights.

        Raises:
            InvalidInputError: The points are another run's.
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
            f"`path` holds another run's points, {differ}: give another folder, or empty it. "
            f"Received: path={str(self.folder)!r}"
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
        phases = {one.phase: Phase(one.phase, one.step - one.iterations) for one in self.points}
        for phase in sorted(phases.values(), key=lambda one: -one.number):
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
        """The phase that begins at a step, for an optimizer that has already counted that many."""
        if not self.points:
            return Phase()
        last = self._last_phase()
        # A phase without a step of its own has not begun.
        begun = any(one.phase == last.number and one.step > last.start for one in self.points)
        return Phase(last.number + begun, step - count)

    def return_to(self, phase: Phase, step: int) -> None:
        """Sets aside what comes after a step of a phase: training goes on from there."""
        self.supersede([one for one in self.points if one.step > step or one.phase > phase.number])

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
        """Adds the results of a step; `None` is a point of NaN. What was there is set aside."""
        when: dict[str, Any] = {
            "step": step,
            "epoch": epoch,
            "weights": weights,
            "phase": phase.number,
            "iterations": step - phase.start,
            "definition": definition,
        }
        points = [
            Point(**when, **_figures(field, one))
            for field, one in zip(fields, results, strict=True)
        ]
        self.supersede(
            [one for one in self.points if (one.phase, one.step) == (phase.number, step)]
        )
        self.points = self.points + points
        for point, result in zip(points, results, strict=True):
            if result is None:
                continue
            self._results[_key(point)] = result
            if self.folder is not None:
                result.save(self._file(point))
        # The table comes last: what it lists is there.
        self._write()
        return points

    def supersede(self, points: Sequence[Point]) -> None:
        """Takes points out of the history and sets them aside, with their results."""
        if not points:
            return
        gone = {id(point) for point in points}
        self.points = [point for point in self.points if id(point) not in gone]
        if self.folder is None:
            self._aside += [(point, self._results.pop(_key(point), None)) for point in points]
            return
        # They are there twice before they go, whatever interrupts it.
        self._archive(points)
        self._write()
        for point in points:
            self._results.pop(_key(point), None)
            self._file(point).unlink(missing_ok=True)

    def _archive(self, points: Sequence[Point]) -> None:
        assert self.folder is not None
        folder, rows = self.folder / SUPERSEDED, self._archived()
        folder.mkdir(exist_ok=True)
        for point in points:
            file, name = self._file(point), ""
            if file.exists():
                target = _free(folder / file.name)
                with written_whole(target) as temporary:
                    temporary.write_bytes(file.read_bytes())
                name = target.name
            rows.append({**asdict(point), "file": name})
        _write_rows(folder / TABLE, rows, "file")

    def _archived(self) -> list[dict[str, Any]]:
        assert self.folder is not None
        table = self.folder / SUPERSEDED / TABLE
        return _read_rows(table) if table.exists() else []

    def _file(self, point: Point) -> Path:
        assert self.folder is not None
        phase = f"-phase-{point.phase}" if point.phase else ""
        return self.folder / f"{file_name(point.layer)}{phase}-step-{point.step:07d}.npz"

    def _write(self) -> None:
        if self.folder is not None:
            _write_rows(self.folder / TABLE, [asdict(point) for point in self.points])


def _key(point: Point) -> tuple[int, int, str]:
    return point.phase, point.step, point.layer


def _columns(*more: str) -> list[str]:
    return [*(one.name for one in fields(Point)), *more]


def _frame(rows: Sequence[Mapping[str, Any]], *more: str) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=_columns(*more))


def _read_rows(table: Path) -> list[dict[str, Any]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(table: Path, rows: Sequence[Mapping[str, Any]], *more: str) -> None:
    with (
        written_whole(table) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, _columns(*more))
        writer.writeheader()
        writer.writerows(rows)


def _free(path: Path) -> Path:
    """A path that no file has, with a number if need be."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _figures(field: ReceptiveField, result: EffectiveReceptiveField | None) -> dict[str, Any]:
    """What a point has of its layer."""
    size = float(math.prod(field.size) ** (1 / len(field.size)))
    if result is None:
        names = ("erf_size", "ratio", "sigma")
        nothing = [*names, *(f"{name}_error" for name in names), "r_squared"]
        none = dict.fromkeys(nothing, math.nan)
        return {"layer": field.layer, **none, "dead": 1.0, "samples": 0, "trf_size": size}
    sigma, error = result.sigma, result.sigma_error
    mean = float(np.exp(np.mean(np.log(sigma))))
    return {
        "layer": field.layer,
        "erf_size": result.size,
        "erf_size_error": result.size_error,
        "ratio": result.ratio,
        "ratio_error": result.ratio_error,
        "sigma": mean,
        "sigma_error": float(mean * np.mean(error / sigma)),
        "r_squared": result.compare().r_squared,
        "dead": result.dead,
        "samples": result.count,
        "trf_size": size,
    }
