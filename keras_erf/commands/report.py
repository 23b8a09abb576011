"""The command that writes an interactive page: `keras-erf report`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.console import print_json
from keras_erf.commands.json_rows import layer_rows, skipped_rows
from keras_erf.commands.option_types import (
    InsideOption,
    JsonOption,
    ModelArgument,
    in_panel,
    layer_option,
    output_option,
)
from keras_erf.commands.options import Options, takes_options
from keras_erf.commands.parsing import check_inside
from keras_erf.commands.tables import print_remedies
from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.files.writing import check_file

__all__ = ["report"]

second_option = in_panel("Comparison")


@takes_options
def report(
    *,
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("all with more than one position")] = None,
    inside: InsideOption = False,
    options: Options,
    compare: Annotated[
        str | None, second_option("--compare", metavar="MODEL", help="A second model, to compare.")
    ] = None,
    compare_weights: Annotated[
        str | None,
        second_option(
            "--compare-weights",
            metavar="NAME",
            help="Its weights, as --weights.",
            show_default="imagenet or trained",
        ),
    ] = None,
    title: Annotated[
        str | None, output_option("--title", metavar="TEXT", help="Title of the page.")
    ] = None,
    out: Annotated[Path, output_option("--out", metavar="FILE", help="The page, one file.")] = Path(
        "report.html"
    ),
    as_json: JsonOption = False,
) -> None:
    """Measure every layer, and write a page to explore them in a browser.

    The page is one file that works offline: maps, sizes over depth, all metrics.
    A second model can be compared with the first, layer by layer.

    [bold]Examples[/bold]

    keras-erf report ResNet50 --images photos --out resnet50.html

    keras-erf report cifar_resnet14 --weights initial --compare cifar_resnet14
    """
    with one_line_errors():
        if compare_weights is not None and compare is None:
            raise InvalidInputError(
                argument="--compare-weights",
                expected="is for a second model: name it with --compare",
                received=repr(compare_weights),
            )
        check_inside(inside, layer)
        # Before the long work: it must not be lost because the page cannot be written.
        check_file(out)
        requests = [options.open(model)]
        if compare is not None:
            # Options belong to the first model.
            option = options.option if compare == model else None
            second = replace(options, weights=compare_weights, option=option)
            try:
                requests.append(second.open(compare))
            except KerasERFError as error:
                raise error.renamed({"weights": "--compare-weights"}) from error
        from keras_erf import reporting

        # A layer that the second model lacks must not cost the measurement of the first.
        where = {"several": True, "inside": inside}
        located = [(request, request.located(layer or None, **where)) for request in requests]
        profiles = [request.profile(units) for request, units in located]
        if compare is not None and title is None:
            names = ((model, options.weights), (compare, compare_weights))
            title = " and ".join(
                f"{letter}: {Path(name).stem}" + (f" ({weights})" if weights else "")
                for letter, (name, weights) in zip("AB", names, strict=True)
            )
        reporting.report(
            profiles[0], out, compare=profiles[1] if compare is not None else None, title=title
        )

        if as_json:
            models = [
                {
                    "model": request.loaded.name,
                    "layers": layer_rows(profile),
                    "skipped": skipped_rows(profile.skipped),
                }
                for request, profile in zip(requests, profiles, strict=True)
            ]
            print_json(
                {**models[0], "compare": models[1] if models[1:] else None, "report": str(out)}
            )
        else:
            print_remedies([result for profile in profiles for result in profile.results])
            typer.echo(f"Report: {out}")
