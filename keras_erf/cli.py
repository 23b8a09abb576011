"""The command line, `keras-erf`: its commands, and how it starts.

Nothing heavy is imported before a command runs. The exit status is 0, 2 for a
user's mistake (one line, no traceback), 130 for an interruption, and 1 if tasks of a study
failed, or for a bug of this program (a traceback).
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from keras_erf import zoo as zoo_index
from keras_erf._version import __version__
from keras_erf.commands.analyze import analyze, profile
from keras_erf.commands.cli_errors import OneLineGroup, one_line_errors
from keras_erf.commands.console import print_json, print_zoo, show_warning
from keras_erf.commands.convert import convert
from keras_erf.commands.file_options import CustomOption, LambdaOption
from keras_erf.commands.json_rows import field_row, skipped_rows
from keras_erf.commands.option_types import (
    BuilderOption,
    GridOption,
    InsideOption,
    JsonOption,
    ModelArgument,
    SizeOption,
    UnitOption,
    UnsafeOption,
    layer_option,
    named_input_option,
    unit_option,
    weights_option,
)
from keras_erf.commands.parsing import check_inside, read_grid, read_options, read_size, read_unit
from keras_erf.commands.report import report
from keras_erf.commands.reproduce import reproduce
from keras_erf.commands.study import app as study
from keras_erf.commands.tables import print_fields
from keras_erf.commands.train import train
from keras_erf.custom_code import read_opening
from keras_erf.errors import InvalidInputError
from keras_erf.named_models import load_quietly

__all__ = ["main"]

# Headings of the list of commands.
MODEL, PAPER, STUDIES = "A model's fields", "The paper and its models", "Many models"

app = typer.Typer(
    name="keras-erf",
    cls=OneLineGroup,
    help="What a Keras network really looks at: its theoretical and effective receptive fields.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keras-erf {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    """Takes what is no command's option."""


app.command(rich_help_panel=MODEL)(analyze)
app.command("profile", rich_help_panel=MODEL)(profile)
app.command(rich_help_panel=MODEL)(report)
app.command(rich_help_panel=MODEL)(convert)


@app.command(rich_help_panel=MODEL)
def trf(
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("all with more than one position")] = None,
    unit: UnitOption = "center",
    size: SizeOption = None,
    grid: GridOption = None,
    input: Annotated[str | None, named_input_option("Input, of several, to analyze.")] = None,
    local: Annotated[
        bool,
        unit_option("--local", help="Ignore paths through layers that mix all positions."),
    ] = False,
    inside: InsideOption = False,
    weights: Annotated[str | None, weights_option("none or trained")] = None,
    option: BuilderOption = None,
    custom: CustomOption = None,
    stand_in: LambdaOption = None,
    unsafe: UnsafeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print theoretical receptive fields: which input each layer can see.

    [bold]Examples[/bold]

    keras-erf trf ResNet50 --weights none

    keras-erf trf my.h5 -l conv3_block4_out --size 512
    """
    with one_line_errors():
        at: dict[str, Any] = {"unit": read_unit(unit), "grid": read_grid(grid)}
        where: dict[str, Any] = {
            "input_shape": read_size(size),
            "input": input,
            "through_global": not local,
        }
        for name, value in (("--unit", unit if unit != "center" else None), ("--grid", grid)):
            if value is not None and not layer:
                raise InvalidInputError(
                    argument=name,
                    expected="needs the layer it is of: name it with --layer",
                    received=repr(value),
                )
        check_inside(inside, layer)
        opening = read_opening(custom, stand_in, unsafe)
        loaded = load_quietly(model, weights, read_options(option), opening, need_weights=False)
        from keras_erf.fields.choosing import matching
        from keras_erf.fields.theoretical import receptive_field, receptive_fields
        from keras_erf.graph import started

        skipped: Sequence[tuple[str, str]] = ()
        if layer:
            layers = matching(started(loaded.model, input_shape=read_size(size)).graph, layer)
            fields = [receptive_field(loaded.model, one, **at, **where) for one in layers]
        else:
            table = receptive_fields(loaded.model, inside=inside, **where)
            fields, skipped = list(table.fields), table.skipped
        if as_json:
            print_json(
                {
                    "model": loaded.name,
                    "layers": [field_row(field) for field in fields],
                    "skipped": skipped_rows(skipped),
                }
            )
        else:
            print_fields(loaded.name, fields, skipped)


@app.command("zoo", rich_help_panel=PAPER)
def list_zoo(as_json: JsonOption = False) -> None:
    """List the models of the zoo; the numbers are for default options."""
    models = {name: zoo_index.facts(name) for name in zoo_index.available()}
    if as_json:
        print_json({name: asdict(one) for name, one in models.items()})
    else:
        print_zoo(models)


app.command(rich_help_panel=PAPER)(reproduce)
app.command(rich_help_panel=PAPER)(train)
app.add_typer(study, name="study", rich_help_panel=STUDIES)


def main() -> None:
    """Entry point of the `keras-erf` command."""
    # TensorFlow's start-up messages would hide the table; a user's own setting is kept.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = show_warning
    for stream in (sys.stdout, sys.stderr):
        # A character that a terminal lacks must not lose the measurement.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
