"""The commands of studies: `keras-erf study run`, `status` and `export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_erf.commands.cli_errors import OneLineGroup, one_line_errors
from keras_erf.commands.console import print_json, print_study, progress_bar
from keras_erf.commands.option_types import OUT, JsonOption, out_option
from keras_erf.commands.parsing import check_writable
from keras_erf.errors import InvalidInputError
from keras_erf.wording import counted

if TYPE_CHECKING:
    from keras_erf.studies import StudyStore

__all__ = ["app"]

FOLDER = OUT / "study"
SUFFIXES = (".csv", ".parquet")
# These commands' names of arguments; the other arguments are keys of the study's file.
OPTIONS = {"path": "--out", "workers": "--workers"}

app = typer.Typer(
    cls=OneLineGroup,
    help="Measure many models, layers, units and seeds, safe against interruptions.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class Engine(str, Enum):
    """Where tasks are measured."""

    local = "local"
    dask = "dask"
    ray = "ray"


FolderOption = Annotated[Path, out_option("Folder of the study's results.")]


@app.command()
def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The study, in TOML.", show_default=False)
    ],
    engine: Annotated[
        Engine, typer.Option("--engine", help="Processes of this machine, or a cluster.")
    ] = Engine.local,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Tasks to work on at a time.")
    ] = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat failed tasks.")
    ] = False,
    out: FolderOption = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Measure the missing tasks of a study.

    Results are saved one by one. Called again after an interruption, it resumes;
    several processes may work on one folder. The exit status is 1 if any task in the
    folder has failed.

    [bold]Examples[/bold]

    keras-erf study run study.toml --workers 2 --out results

    keras-erf study status --out results

    keras-erf study export results.csv --out results
    """
    says = "What was measured is kept; the same call resumes from there."
    with one_line_errors(says, options=OPTIONS):
        check_writable(out)
        from keras_erf.studies import read_study, run_study

        with _about_file():
            study = read_study(file)
        with progress_bar("Measuring", "tasks") as progress:
            store = run_study(
                study,
                out,
                engine=engine.value,
                workers=workers,
                retry_failed=retry_failed,
                progress=progress,
            )
        _show(store, as_json)
        if store.counts()["failed"]:
            raise typer.Exit(1)


@app.command()
def status(out: FolderOption = FOLDER, as_json: JsonOption = False) -> None:
    """Show how many tasks are done, and which failed and why."""
    with one_line_errors(options=OPTIONS):
        _show(_there(out), as_json)


@app.command()
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .csv or .parquet file.", show_default=False)
    ],
    out: FolderOption = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Write the metrics of all results to one table.

    [bold]Example[/bold]

    keras-erf study export results.parquet --out results
    """
    with one_line_errors(options=OPTIONS):
        if file.suffix.lower() not in SUFFIXES:
            raise InvalidInputError(
                argument="FILE",
                expected=f"must end in {' or '.join(SUFFIXES)}",
                received=repr(str(file)),
            )
        store = _there(out)
        with _about_file():
            rows = store.export(file)
        if as_json:
            print_json({"rows": rows, "file": str(file)})
        else:
            typer.echo(f"{counted(rows, 'row')} written to {file}")


@contextmanager
def _about_file() -> Iterator[None]:
    """Makes errors inside name the command's FILE."""
    try:
        yield
    except InvalidInputError as error:
        raise error.renamed({"path": "FILE"}) from error


def _there(out: Path) -> StudyStore:
    """The store in a folder; it must exist."""
    from keras_erf.studies import StudyStore

    if not StudyStore.exists(out):
        raise InvalidInputError(
            argument="--out",
            expected="must be a folder of `keras-erf study run`",
            received=repr(str(out)),
        )
    return StudyStore(out)


def _show(store: StudyStore, as_json: bool) -> None:
    counts, failures = store.counts(), store.failures()
    report = {
        "done": counts["done"],
        "failed": counts["failed"],
        "folder": str(store.folder),
        "failures": [
            {**{name: task[name] for name in ("name", "layer", "unit", "seed")}, "reason": reason}
            for task, reason in failures
        ],
    }
    if as_json:
        print_json(report)
    else:
        print_study(report)
