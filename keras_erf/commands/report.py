"""The command that makes a page to explore: `keras-erf report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf.commands.analyze import checked_settings, profile_of
from keras_erf.commands.arguments import read_options, read_preprocess, read_size, read_unit
from keras_erf.commands.console import print_json
from keras_erf.commands.ending import one_line_errors
from keras_erf.commands.options import (
    DEFAULT_DEFINITION,
    OUTPUT_PANEL,
    BatchSizeOption,
    BgrOption,
    BuilderOption,
    DefinitionOption,
    ImagesOption,
    InputOption,
    JsonOption,
    MeanOption,
    ModelArgument,
    NoConeOption,
    Noise,
    NoiseOption,
    SamplesOption,
    ScaleOption,
    SeedOption,
    SizeOption,
    StdOption,
    ToleranceOption,
    UnitOption,
    UnsafeOption,
    WeightsOption,
    layer_option,
)
from keras_erf.errors import InvalidInputError
from keras_erf.files.writing import check_file
from keras_erf.loading import load_quietly

__all__ = ["report"]


def _second(help: str, name: str, metavar: str, default: str | bool = True) -> Any:
    return typer.Option(
        name, metavar=metavar, help=help, show_default=default, rich_help_panel="Comparison"
    )


def _output(help: str, name: str, metavar: str, default: str | bool = True) -> Any:
    return typer.Option(
        name, metavar=metavar, help=help, show_default=default, rich_help_panel=OUTPUT_PANEL
    )


def report(
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("all with more than one position")] = None,
    unit: UnitOption = "center",
    size: SizeOption = None,
    input: InputOption = None,
    definition: DefinitionOption = DEFAULT_DEFINITION,
    images: ImagesOption = None,
    noise: NoiseOption = Noise.normal,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bgr: BgrOption = False,
    samples: SamplesOption = None,
    tolerance: ToleranceOption = None,
    seed: SeedOption = 0,
    batch_size: BatchSizeOption = None,
    no_cone: NoConeOption = False,
    weights: WeightsOption = None,
    option: BuilderOption = None,
    unsafe: UnsafeOption = False,
    compare: Annotated[
        str | None, _second("A second model, named as the first.", "--compare", "MODEL")
    ] = None,
    compare_weights: Annotated[
        str | None,
        _second("Its weights, as --weights.", "--compare-weights", "NAME", "imagenet or trained"),
    ] = None,
    title: Annotated[str | None, _output("Title of the page.", "--title", "TEXT")] = None,
    out: Annotated[Path, _output("The page, one file.", "--out", "FILE")] = Path("report.html"),
    as_json: JsonOption = False,
) -> None:
    """Measure every layer, and write a page to explore them in a browser.

    One file that needs no network: maps, sizes over depth, all figures.
    A second model stands beside the first, layer by layer.

    [bold]Examples[/bold]

    keras-erf report ResNet50 --images photos --out resnet50.html

    keras-erf report cifar_resnet14 --weights initial --compare cifar_resnet14
    """
    with one_line_errors():
        how: dict[str, Any] = {
            "unit": read_unit(unit),
            "input_shape": read_size(size),
            "input": input,
            **checked_settings(
                samples=samples,
                tolerance=tolerance,
                definition=definition.value,
                batch_size=batch_size,
                seed=seed,
                cone=not no_cone,
            ),
        }
        preprocess = read_preprocess(scale, mean, std, bgr, images)
        built = read_options(option)
        if compare_weights is not None and compare is None:
            raise InvalidInputError(
                "`--compare-weights` is for a second model: name it with --compare. "
                f"Received: {compare_weights!r}"
            )
        # Before the long work: a page that cannot be written shall not cost it.
        check_file(out)
        loaded = [load_quietly(model, weights, built, unsafe)]
        if compare is not None:
            # Options are of the model they were given for.
            same = built if compare == model else {}
            loaded.append(load_quietly(compare, compare_weights, same, unsafe))
        from keras_erf import reporting

        found = [profile_of(one, layer, noise, images, preprocess, **how) for one in loaded]
        reporting.report(
            found[0], out, compare=found[1] if compare is not None else None, title=title
        )

        if as_json:
            layers = [
                {**one.summary(), "depth": depth, "stopped_by": one.stopped_by}
                for one, depth in zip(found[0].results, found[0].depths, strict=True)
            ]
            print_json({"model": loaded[0].name, "layers": layers, "report": str(out)})
        else:
            typer.echo(f"Report: {out}")
