"""The command that measures the poster's panels: `keras-erf reproduce`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf import experiments
from keras_erf._version import __version__
from keras_erf.commands.arguments import check_writable
from keras_erf.commands.console import print_json, print_verdict, progress_bar
from keras_erf.commands.ending import one_line_errors
from keras_erf.commands.options import (
    OUT,
    JsonOption,
    out_option,
    output_option,
    sampling_option,
)
from keras_erf.commands.saving import save_panel
from keras_erf.errors import InvalidInputError
from keras_erf.experiments import PANELS
from keras_erf.files.writing import written_whole
from keras_erf.loading import import_quietly

__all__ = ["reproduce"]

ALL = "all"
FOLDER = OUT / "poster"


def reproduce(
    panel: Annotated[
        str,
        typer.Argument(
            metavar="PANEL",
            help=f"{', '.join(PANELS)}; or {ALL}.",
            show_default=False,
            autocompletion=lambda incomplete: [
                one for one in (*PANELS, ALL) if one.startswith(incomplete)
            ],
        ),
    ],
    runs: Annotated[
        int,
        sampling_option(
            "--runs",
            metavar="N",
            help="Networks for each condition, with fresh weights and inputs.",
        ),
    ] = 20,
    seed: Annotated[
        int, sampling_option("--seed", metavar="N", help="Seed of the first network.")
    ] = 0,
    again: Annotated[
        bool, output_option("--again", help="Measure again, and replace, what is there already.")
    ] = False,
    out: Annotated[Path, out_option("Folder for pictures, tables and verdicts.")] = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Measure panels of the poster: what it says, what is measured, what theory predicts.

    Writes of each a picture (.png), tables (.csv) and the verdict (.txt).
    Called again, it keeps the panels that are there, of the same runs and seed.

    [bold]Examples[/bold]

    keras-erf reproduce growth --out poster

    keras-erf reproduce all --runs 20 --out poster
    """
    with one_line_errors("Panels that were finished are kept; the same call goes on from there."):
        names = PANELS if panel == ALL else (_checked(panel),)
        for name, number, least in (("--runs", runs, 2), ("--seed", seed, 0)):
            if number < least:
                raise InvalidInputError(
                    f"`{name}` must be a whole number of at least {least}. Received: {number}"
                )
        check_writable(out)
        if not again:
            for name in names:
                _refuse_others(out, {"panel": name, "runs": runs, "seed": seed})
        reports = []
        for name in names:
            about = {"panel": name, "runs": runs, "seed": seed, "keras_erf": __version__}
            found = None if again else _kept(out, about)
            if found is None:
                found = _measured(out, about)
            reports.append(found)
            if not as_json:
                print_verdict(found)
        if as_json:
            print_json(reports)


def _measured(out: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Measures a panel and writes its files; that which tells of the others comes last."""
    import_quietly()
    name = about["panel"]
    with progress_bar(f"Measuring {name}", "conditions") as progress:
        panel = experiments.run(name, runs=about["runs"], seed=about["seed"], progress=progress)
    _manifest(out, name).unlink(missing_ok=True)
    files = save_panel(panel, out)
    report = {
        **about,
        "title": panel.title,
        "verdict": panel.verdict,
        "files": {kind: path.name for kind, path in files.items()},
    }
    with written_whole(_manifest(out, name)) as temporary:
        temporary.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return _placed(report, out, kept=False)


def _kept(out: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """What is known of a panel that is there, measured in the same way; or `None`."""
    report = _read(out, about["panel"])
    try:
        same = all(report[key] == value for key, value in about.items())
        there = all((out / name).exists() for name in report["files"].values())
    except (KeyError, TypeError, AttributeError):
        return None
    return _placed(report, out, kept=True) if same and there else None


def _read(out: Path, name: str) -> dict[str, Any]:
    """A panel's manifest; empty if there is none that can be read."""
    try:
        return dict(json.loads(_manifest(out, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _refuse_others(out: Path, about: dict[str, Any]) -> None:
    """Raises if a panel of other runs or another seed is there, whose files would be lost."""
    report = _read(out, about["panel"])
    for key, value in about.items():
        if report and report.get(key) != value:
            raise InvalidInputError(
                f"`--out` holds {about['panel']} of --{key} {report.get(key)}: give another "
                f"folder, or --again to replace it. Received: --{key} {value}"
            )


def _placed(report: dict[str, Any], out: Path, *, kept: bool) -> dict[str, Any]:
    files = {kind: str(out / name) for kind, name in report["files"].items()}
    return {**report, "files": files, "kept": kept}


def _manifest(out: Path, name: str) -> Path:
    return out / f"{name}.json"


def _checked(panel: str) -> str:
    """The name of a panel."""
    if panel in PANELS:
        return panel
    near = difflib.get_close_matches(panel, PANELS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InvalidInputError(
        f"`PANEL` must be {ALL} or one of {', '.join(PANELS)} (trainings are made by "
        f"`keras-erf train`).{hint} Received: {panel!r}"
    )
