"""What trainings did to the effective field: tables and a verdict of some finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.result_folders import read_json
from keras_erf.results.effective import EffectiveReceptiveField, load
from keras_erf.wording import with_error

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Summary", "summarise"]

WHEN = {"before": "before", "before-calibrated": "before, calibrated", "after": "after"}
# Files of a finished training.
OUTCOME, TABLE = "result.json", "erf/erf.csv"
# Standard errors by which sizes must differ to count as different.
SURE = 2.0


@dataclass(frozen=True, eq=False)
class Summary:
    """A comparison of trainings.

    Args:
        frame: A `pandas.DataFrame` with a row per run and moment: sizes with errors.
        history: A `pandas.DataFrame` with a row per run and epoch: the logged metrics.
        results: The results by run and moment.
        verdict: Where the field grew and where it did not, in words.
    """

    frame: pd.DataFrame = field(repr=False)
    history: pd.DataFrame = field(repr=False)
    results: Mapping[tuple[str, str], EffectiveReceptiveField] = field(repr=False)
    verdict: str

    def plot(self) -> Any:
        """Draws the runs; see `keras_erf.plotting.plot_training`. Returns a matplotlib `Figure`."""
        from keras_erf import plotting

        return plotting.plot_training(self)


def summarise(folders: Mapping[str, str | Path]) -> Summary:
    """Compares finished trainings.

    Args:
        folders: Folders that `train` wrote, by names of the runs.

    Raises:
        InvalidInputError: A folder holds no finished training.
    """
    import pandas as pd

    if not folders:
        raise InvalidInputError(
            argument="folders", expected="must name at least one training", received="none"
        )
    rows, histories = [], []
    results: dict[tuple[str, str], EffectiveReceptiveField] = {}
    for run, folder in folders.items():
        where = Path(folder)
        for needed in (OUTCOME, TABLE):
            if not (where / needed).exists():
                raise InvalidInputError(
                    argument="folders",
                    expected="must hold finished trainings: call `train` again for it",
                    received=f"no {needed} in {str(where)!r}",
                )
        outcome = read_json(where / OUTCOME, "a training", {})
        judged = {name: value for name, value in outcome.items() if name.startswith("test_")}
        for name, when in WHEN.items():
            if not (where / f"{name}.npz").exists():
                continue
            result = load(where / f"{name}.npz")
            results[run, when] = result
            rows.append(
                {
                    "run": run,
                    "when": when,
                    "trf_size": result.trf_size,
                    "erf_size": result.size,
                    "erf_size_error": result.size_error,
                    "ratio": result.ratio,
                    "sigma": float(np.exp(np.mean(np.log(result.sigma)))),
                    "r_squared": result.compare().r_squared,
                    **judged,
                }
            )
        table = pd.read_csv(where / TABLE)
        histories.append(table.assign(run=run))
    if not rows:
        raise InvalidInputError(
            argument="folders",
            expected="must hold the fields before or after: before.npz, after.npz",
            received=f"none in {', '.join(map(str, folders.values()))}",
        )
    frame, history = pd.DataFrame(rows), pd.concat(histories, ignore_index=True)
    return Summary(frame, history, results, _verdict(frame, history))


def _verdict(frame: pd.DataFrame, history: pd.DataFrame) -> str:
    lines = []
    for run, rows in frame.groupby("run", sort=False):
        of = {row["when"]: row for _, row in rows.iterrows()}
        if WHEN["after"] not in of:
            lines.append(f"{run}: no gradient is left after training.")
            continue
        after = of[WHEN["after"]]
        changes = []
        for when in (WHEN["before"], WHEN["before-calibrated"]):
            if when not in of:
                continue
            one = of[when]
            both = float(np.hypot(one["erf_size_error"], after["erf_size_error"]))
            change = after["erf_size"] - one["erf_size"]
            verb = (
                "grew" if change > SURE * both else "shrank" if change < -SURE * both else "stayed"
            )
            changes.append(
                f"{verb} from {with_error(one['erf_size'], one['erf_size_error'])} px ({when})"
            )
        line = (
            f"{run}: the field {', and '.join(changes)} to "
            f"{with_error(after['erf_size'], after['erf_size_error'])} px of "
            f"{after['trf_size']:.0f} px."
        )
        points = history[(history["run"] == run) & history["erf_size"].notna()]
        least = points.loc[points["erf_size"].idxmin()]
        if points["epoch"].min() < least["epoch"] < points["epoch"].max():
            line += (
                f" On the way it was smallest after epoch {least['epoch']:.0f}: "
                f"{with_error(least['erf_size'], least['erf_size_error'])} px."
            )
        lines.append(line)
    return "\n".join(lines)
