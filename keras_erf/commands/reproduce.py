"""The command that measures the poster's panels: `keras-erf reproduce`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf import experiments
from keras_erf._version import __version__
from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.console import print_json, print_verdict, progress_bar
from keras_erf.commands.option_types import (
    OUT,
    JsonOption,
    out_option,
    output_option,
    sampling_option,
)
from keras_erf.commands.outputs import save_panel
from keras_erf.commands.parsing import check_writable
from keras_erf.errors import InvalidInputError
from keras_erf.experiments import PANELS
from keras_erf.files.writing import write_json
from keras_erf.quiet import import_quietly

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
                name for name in (*PANELS, ALL) if name.startswith(incomplete)
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
        bool, output_option("--again", help="Measure finished panels again, and replace them.")
    ] = False,
    out: Annotated[Path, out_option("Folder for pictures, tables and verdicts.")] = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Measure panels of the poster, and compare poster, measurement and theory.

    Writes a picture (.png), tables (.csv) and the verdict (.txt) of each
    panel. Called again, it resumes: finished panels with the same runs and seed are kept.

    [bold]Examples[/bold]

    keras-erf reproduce growth --out poster

    keras-erf reproduce all --runs 20 --out poster
    """
    with one_line_errors("Panels that were finished are kept; the same call resumes from there."):
        names = PANELS if panel == ALL else (_checked(panel),)
        for name, number, least in (("--runs", runs, 2), ("--seed", seed, 0)):
            if number < least:
                raise InvalidInputError(
                    argument=name,
                    expected=f"must be a whole number of at least {least}",
                    received=f"{number}",
                )
        check_writable(out)
        kept = {} if again else {name: _kept(out, name, runs, seed) for name in names}
        reports = []
        for name in names:
            report = kept.get(name) or _measured(out, name, runs, seed)
            report["files"] = {kind: str(out / file) for kind, file in report["files"].items()}
            reports.append(report)
            if not as_json:
                print_verdict(report)
        if as_json:
            print_json(reports)


def _measured(out: Path, name: str, runs: int, seed: int) -> dict[str, Any]:
    """Measures a panel and writes its files; the manifest comes last."""
    import_quietly()
    from keras_erf.result_folders import CHECK_SUMS, check_sum

    with progress_bar(f"Measuring {name}", "conditions") as progress:
        panel = experiments.run(name, runs=runs, seed=seed, progress=progress)
    manifest = out / f"{name}.json"
    manifest.unlink(missing_ok=True)
    files = save_panel(panel, out)
    about = {"panel": name, "runs": runs, "seed": seed, "keras_erf": __version__}
    report = {**about, "title": panel.title, "verdict": panel.verdict}
    report["files"] = {kind: path.name for kind, path in files.items()}
    sums = {path.name: check_sum(path.read_bytes()) for path in files.values()}
    write_json(manifest, {**report, CHECK_SUMS: sums})
    return {**report, "kept": False}


def _kept(out: Path, name: str, runs: int, seed: int) -> dict[str, Any] | None:
    """The report of a finished panel; `None` if it must be measured.

    Raises:
        InvalidInputError: It has other runs or another seed, and its files would be overwritten.
    """
    from keras_erf.result_folders import CHECK_SUMS, intact, read_json

    try:
        report = read_json(out / f"{name}.json", "panels", {})
    except InvalidInputError:
        return None
    for option, value in (("runs", runs), ("seed", seed)):
        if report and report.get(option) != value:
            raise InvalidInputError(
                argument="--out",
                expected=f"holds {name} of --{option} {report.get(option)}: give another "
                "folder, or --again to replace it",
                received=f"--{option} {value}",
            )
    try:
        sums = report.pop(CHECK_SUMS, {})
        same = report["panel"] == name and report["keras_erf"] == __version__
        there = all(intact(out / file, sums.get(file)) for file in report["files"].values())
        return {**report, "kept": True} if same and there else None
    except (KeyError, TypeError, AttributeError):
        return None


def _checked(panel: str) -> str:
    """The name of a panel."""
    if panel in PANELS:
        return panel
    near = difflib.get_close_matches(panel, PANELS, n=1, cutoff=0.4)
    raise InvalidInputError(
        argument="PANEL",
        expected=f"must be {ALL} or one of {', '.join(PANELS)} (trainings are made by "
        "`keras-erf train`)",
        remedy=f"Did you mean {near[0]!r}?" if near else None,
        received=repr(panel),
    )
