"""What was measured during a training: points in order of training steps, kept in a folder."""

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

__all__ = ["Logbook", "Point"]

TABLE = "erf.csv"


@dataclass(frozen=True)
class Point:
    """One layer's figures after some training steps; lengths in input pixels.

    Args:
        step: Training steps done.
        epoch: Epochs done, the one that runs not counted.
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
        self._results: dict[tuple[int, str], EffectiveReceptiveField] = {}

    @property
    def steps(self) -> list[int]:
        """The steps of which there are points."""
        return sorted({point.step for point in self.points})

    @property
    def frame(self) -> Any:
        """The points as a `pandas.DataFrame`."""
        import pandas as pd

        columns = [one.name for one in fields(Point)]
        return pd.DataFrame([asdict(point) for point in self.points], columns=columns)

    @property
    def results(self) -> Mapping[tuple[int, str], EffectiveReceptiveField]:
        """The results by step and layer."""
        for point in self.points:
            key = point.step, point.layer
            there = self.folder is not None and self._file(*key).exists()
            if key not in self._results and there:
                self._results[key] = load(self._file(*key))
        return dict(self._results)

    def at(self, step: int) -> list[Point]:
        """The points of a step."""
        return [point for point in self.points if point.step == step]

    def read(self) -> None:
        """Takes up the points that an earlier run left in the folder."""
        if self.folder is None or self.points or not (self.folder / TABLE).exists():
            return
        kinds = {one.name: one.type for one in fields(Point)}
        read = {"int": int, "float": float, "str": str}
        try:
            with (self.folder / TABLE).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            points = [
                Point(**{name: read[str(kinds[name])](row[name]) for name in kinds}) for row in rows
            ]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InvalidInputError(
                f"`path` must be a folder of `ERFLogger`: {TABLE} cannot be read ({error}). "
                f"Received: path={str(self.folder)!r}"
            ) from error
        self.points = points

    def check(self, step: int, layers: Sequence[str], weights: str) -> None:
        """Raises unless a run of these layers, with these weights at its first step, goes on here.

        Of the steps before, weights tell nothing: a run has others there.
        """
        known = {point.layer for point in self.points if point.step <= step}
        if known and known != set(layers):
            differ = f"of {', '.join(sorted(known))} in place of {', '.join(layers)}"
        elif any(point.weights != weights for point in self.at(step)):
            differ = f"of other weights at step {step}"
        else:
            return
        raise InvalidInputError(
            f"`path` holds another run's points, {differ}: give another folder, or empty it. "
            f"Received: path={str(self.folder)!r}"
        )

    def drop_after(self, step: int) -> None:
        """Forgets what was logged after a step: a run that goes on from there comes again."""
        later = [point for point in self.points if point.step > step]
        if not later:
            return
        self.points = [point for point in self.points if point.step <= step]
        self._write()
        self._forget(later)

    def add(
        self,
        step: int,
        epoch: int,
        fields: Sequence[ReceptiveField],
        results: Sequence[EffectiveReceptiveField | None],
        weights: str,
    ) -> list[Point]:
        """Adds the results of a step, in place of any that are there; `None` is a point of NaN."""
        points = [
            _point(step, epoch, field, one, weights)
            for field, one in zip(fields, results, strict=True)
        ]
        self.points = [point for point in self.points if point.step != step] + points
        for point, result in zip(points, results, strict=True):
            if result is None:
                self._forget([point])
                continue
            self._results[step, point.layer] = result
            if self.folder is not None:
                result.save(self._file(step, point.layer))
        # The table comes last: what it lists is there.
        self._write()
        return points

    def _forget(self, points: Sequence[Point]) -> None:
        """Does away with the results of points."""
        for point in points:
            self._results.pop((point.step, point.layer), None)
            if self.folder is not None:
                self._file(point.step, point.layer).unlink(missing_ok=True)

    def _file(self, step: int, layer: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{file_name(layer)}-step-{step:07d}.npz"

    def _write(self) -> None:
        if self.folder is None:
            return
        with (
            written_whole(self.folder / TABLE) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, [one.name for one in fields(Point)])
            writer.writeheader()
            writer.writerows(asdict(point) for point in self.points)


def _point(
    step: int,
    epoch: int,
    field: ReceptiveField,
    result: EffectiveReceptiveField | None,
    weights: str,
) -> Point:
    size = float(math.prod(field.size) ** (1 / len(field.size)))
    if result is None:
        nothing = (math.nan,) * 7
        return Point(
            step, epoch, field.layer, *nothing, dead=1.0, samples=0, trf_size=size, weights=weights
        )
    sigma, error = result.sigma, result.sigma_error
    mean = float(np.exp(np.mean(np.log(sigma))))
    return Point(
        step=step,
        epoch=epoch,
        layer=field.layer,
        erf_size=result.size,
        erf_size_error=result.size_error,
        ratio=result.ratio,
        ratio_error=result.ratio_error,
        sigma=mean,
        sigma_error=float(mean * np.mean(error / sigma)),
        r_squared=result.compare().r_squared,
        dead=result.dead,
        samples=result.count,
        trf_size=size,
        weights=weights,
    )
