"""The files that commands write: pictures, results, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.files.naming import plain_name
from keras_erf.files.writing import write_table, write_text, written_whole

if TYPE_CHECKING:
    from keras_erf.experiments import Panel
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField
    from keras_erf.training import Summary

__all__ = ["free_stem", "save_panel", "save_profile", "save_result", "save_training"]


# Maps of the same call differ by less than this share of their peak, even across machines.
ALIKE = 1e-3


def free_stem(
    parts: Sequence[str], taken: set[str], folder: Path, result: EffectiveReceptiveField
) -> str:
    """Returns a file name made of these parts that no other result has.

    Args:
        parts: The parts of the name.
        taken: Names of this run, in lower case; the new one is added.
        folder: Where the files will be.
        result: The result that will be saved there: it may replace an earlier result with the
            same settings, but no other.
    """
    plain = plain_name("-".join(parts))
    stem, number = plain, 1
    while stem.casefold() in taken or _is_of_others(folder / f"{stem}.npz", result):
        number += 1
        stem = f"{plain}-{number}"
    taken.add(stem.casefold())
    return stem


def _is_of_others(file: Path, result: EffectiveReceptiveField) -> bool:
    """Whether the file exists and is not a result with the same settings; weights may differ."""
    from keras_erf.results.effective import load

    if not file.exists():
        return False
    try:
        other = load(file)
    except InvalidInputError:
        return True
    if _settings(other) != _settings(result):
        return True
    # The same network on other images, whose folder has the same name, gives another map.
    peak = np.abs(result.map).max()
    alike = other.count == result.count and np.abs(other.map - result.map).max() < ALIKE * peak
    return other.provenance["weights"] == result.provenance["weights"] and not alike


def _settings(result: EffectiveReceptiveField) -> Any:
    """The settings of a result, as far as it records them."""
    field, about = result.receptive_field, result.provenance
    runs = [
        {
            key: value
            for key, value in run.items()
            if key not in ("skipped", "stopped_by", "samples")
        }
        for run in about["runs"]
    ]
    where = field.layer, field.unit, field.input, field.input_size, field.output_size
    calibrated = bool(about.get("calibrated"))
    return where, result.definition, about["model"], about["training"], calibrated, runs


def save_result(result: EffectiveReceptiveField, folder: Path, stem: str) -> tuple[Path, Path]:
    """Saves picture and result of one layer; returns their paths."""
    picture, file = folder / f"{stem}.png", folder / f"{stem}.npz"
    _save_picture(result, picture)
    result.save(file)
    return picture, file


def save_profile(profile: Profile, folder: Path) -> tuple[Path, Path]:
    """Saves picture and table of a profile; returns their paths."""
    picture, table = folder / "profile.png", folder / "profile.csv"
    _save_picture(profile, picture)
    write_table(table, profile.frame)
    return picture, table


def save_panel(panel: Panel, folder: Path) -> dict[str, Path]:
    """Saves picture, tables and verdict of a panel; returns their paths by kind."""
    tables = {"table": panel.frame, "fits": panel.fits, "maps": panel.maps}
    files = {"picture": folder / f"{panel.name}.png", "verdict": folder / f"{panel.name}.txt"}
    _save_picture(panel, files["picture"])
    for kind, frame in tables.items():
        if frame is not None:
            suffix = "" if kind == "table" else f"-{kind}"
            files[kind] = folder / f"{panel.name}{suffix}.csv"
            write_table(files[kind], frame, float_format="%.6g")
    write_text(files["verdict"], f"{panel.title}\n\n{panel.verdict}\n")
    return files


def save_training(summary: Summary, folder: Path) -> tuple[Path, Path]:
    """Saves picture and verdict of a training; returns their paths."""
    picture, verdict = folder / "training.png", folder / "training.txt"
    _save_picture(summary, picture)
    write_text(verdict, f"{summary.verdict}\n")
    return picture, verdict


def _save_picture(result: Any, path: Path) -> None:
    """Saves what `result.plot()` draws."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    drawn = result.plot()
    # Some return axes, others a figure.
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
