"""The command line: `keras-erf analyze`, `trf` and `zoo`.

Nothing heavy is imported before a command runs. The exit status is 0, 2 for a
user's mistake (one line, no traceback), 130 for an interruption, and 1 for a
fault of this program (a traceback).
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from keras_erf import zoo as zoo_index
from keras_erf.arguments import (
    check_writable,
    in_options,
    read_grid,
    read_options,
    read_preprocess,
    read_size,
    read_unit,
)
from keras_erf.console import (
    field_row,
    import_quietly,
    print_fields,
    print_json,
    print_results,
    progress_bar,
    show_warning,
)
from keras_erf.definitions import DEFINITIONS
from keras_erf.errors import InvalidInputError, KerasERFError

if TYPE_CHECKING:
    from keras_erf.effective import EffectiveReceptiveField
    from keras_erf.loading import LoadedModel
    from keras_erf.theoretical import Target

__all__ = ["main"]

DEFAULT_DEFINITION = "luo2016"
# Of click, or of typer's own copy of it; typer gives no name of its own to it.
UsageError: Any = typer.BadParameter.__mro__[1]


class OneLineGroup(TyperGroup):
    """Commands whose mistakes in the call are told in one line, as all others are."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **options: Any
    ) -> Any:
        """Runs a command; ends the process with its status, or returns that."""
        given = sys.argv[1:] if args is None else list(args)
        try:
            status = super().main(given or ["--help"], standalone_mode=False, **options)
        except UsageError as error:
            typer.echo(f"Error: {' '.join(error.format_message().split())}", err=True)
            status = 2
        except typer.Abort:
            status = _interrupted()
        if standalone_mode:
            sys.exit(status)
        return status


def _interrupted() -> int:
    typer.echo("Interrupted. Nothing was left half written.", err=True)
    return 130


app = typer.Typer(
    name="keras-erf",
    cls=OneLineGroup,
    help="What a Keras network really looks at: its theoretical and effective receptive fields.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode="rich",
)

DefinitionName = Enum("DefinitionName", {name: name for name in DEFINITIONS}, type=str)  # type: ignore[misc]


class Noise(str, Enum):
    """Kinds of noise a model can be probed with."""

    normal = "normal"
    uniform = "uniform"
    zeros = "zeros"


MODEL_PANEL, UNIT_PANEL, INPUT_PANEL, OUTPUT_PANEL = "Model", "Unit", "Inputs", "Output"

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .keras or .h5 file, a network of keras.applications, or one of the zoo.",
        show_default=False,
    ),
]
UnitOption = Annotated[
    str,
    typer.Option(
        "--unit",
        metavar="I,J",
        help="Unit of the layer's map, or 'center'.",
        rich_help_panel=UNIT_PANEL,
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Spatial size of the input, e.g. 512x512.",
        show_default="the model's own",
        rich_help_panel=UNIT_PANEL,
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="NAME",
        help="Input, of several, that is looked at and takes the images; noise for others.",
        show_default="the first",
        rich_help_panel=UNIT_PANEL,
    ),
]
GridOption = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="HxW",
        help="Rows and columns of a layer of tokens.",
        show_default="found, or a square",
        rich_help_panel=UNIT_PANEL,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="keras.applications: imagenet, none or a file; zoo: trained, initial or none.",
        show_default="imagenet or trained",
        rich_help_panel=MODEL_PANEL,
    ),
]
BuilderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="Option of a zoo model; repeatable.",
        rich_help_panel=MODEL_PANEL,
    ),
]
UnsafeOption = Annotated[
    bool,
    typer.Option(
        "--unsafe",
        help="Let a model file run the Python code it carries.",
        rich_help_panel=MODEL_PANEL,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, no table.", rich_help_panel=OUTPUT_PANEL)
]


def _layer_option(default: str) -> Any:
    return typer.Option(
        "--layer",
        "-l",
        metavar="NAME",
        help="Layer, or path in nested models; repeatable.",
        show_default=default,
        rich_help_panel=UNIT_PANEL,
    )


def _input_option(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=INPUT_PANEL, **options)


@app.command()
def analyze(
    model: ModelArgument,
    layer: Annotated[list[str] | None, _layer_option("the last with spatial axes")] = None,
    unit: UnitOption = "center",
    size: SizeOption = None,
    grid: GridOption = None,
    input: InputOption = None,
    definition: Annotated[
        DefinitionName,
        typer.Option(
            metavar="NAME",
            help=f"What counts as effective field: {', '.join(DEFINITIONS)}.",
            rich_help_panel=UNIT_PANEL,
        ),
    ] = DefinitionName[DEFAULT_DEFINITION],
    images: Annotated[Path | None, _input_option("Folder of images.", metavar="DIR")] = None,
    noise: Annotated[
        Noise, _input_option("Without images: normal, uniform or zeros.", metavar="KIND")
    ] = Noise.normal,
    samples: Annotated[int, _input_option("Number of samples.", metavar="N", min=1)] = 64,
    scale: Annotated[
        str | None,
        _input_option("Factor of the pixel values 0 to 255, e.g. 1/255.", metavar="X"),
    ] = None,
    mean: Annotated[
        str | None,
        _input_option("Taken off next; one value or one per channel.", metavar="X,.."),
    ] = None,
    std: Annotated[
        str | None, _input_option("Divisor last; one value or one per channel.", metavar="X,..")
    ] = None,
    bgr: Annotated[bool, _input_option("Channels as blue, green, red.", "--bgr")] = False,
    seed: Annotated[
        int, _input_option("Seed of noise and of the order of images.", metavar="N", min=0)
    ] = 0,
    batch_size: Annotated[
        int | None,
        _input_option("Samples per batch.", metavar="N", min=1, show_default="by memory"),
    ] = None,
    weights: WeightsOption = None,
    option: BuilderOption = None,
    unsafe: UnsafeOption = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for pictures and results.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = Path("keras-erf-output"),
    as_json: JsonOption = False,
) -> None:
    """Measure how much of its theoretical field a unit really uses.

    Writes a picture (.png) and the result (.npz) for each layer, and prints a table.

    [bold]Examples[/bold]

    keras-erf analyze cifar_resnet14 --out erf

    keras-erf analyze ResNet50 -l conv3_block4_out --images photos --out erf

    keras-erf analyze my.keras --images photos --scale 1/255 --mean .5 --std .5
    """
    with _one_line_errors():
        where: dict[str, Any] = {
            "unit": read_unit(unit),
            "input_shape": read_size(size),
            "grid": read_grid(grid),
            "input": input,
        }
        check_writable(out)
        preprocess = read_preprocess(scale, mean, std, bgr)
        if preprocess and images is None:
            raise InvalidInputError(
                "`--scale`, `--mean`, `--std` and `--bgr` are for images; name a folder with "
                "--images. Received: no images"
            )
        loaded = _load(model, weights, option, unsafe)
        from keras_erf.probing import probe
        from keras_erf.sampling import ImageFolder
        from keras_erf.theoretical import locate

        # All of them first: a mistake in the last one shall not cost the probes before it.
        chosen: list[str | None] = [*layer] if layer else [None]
        targets = [locate(loaded.model, one, **where) for one in chosen]
        inputs: Any = noise.value
        if images is not None:
            folder = ImageFolder(images, preprocess or loaded.preprocess)
            tensors = targets[0].graph.tensors
            names = [tensors[number].name for number in targets[0].graph.inputs]
            taking = tensors[targets[0].input].name
            inputs = {name: folder if name == taking else noise.value for name in names}
            inputs = inputs if len(names) > 1 else folder
        if preprocess:
            preprocess.check(_channels(targets[0]))
        results = []
        taken: set[str] = set()
        for one, target in zip(chosen, targets, strict=True):
            with progress_bar(target.receptive_field.layer) as progress:
                result = probe(
                    loaded.model,
                    one,
                    inputs=inputs,
                    samples=samples,
                    definition=definition.value,
                    batch_size=batch_size,
                    seed=seed,
                    progress=progress,
                    **where,
                )
            parts = [loaded.name, result.layer]
            if unit != "center":
                parts.append("unit" + "_".join(map(str, result.unit)))
            if size is not None:
                parts.append("x".join(map(str, result.receptive_field.input_size)))
            if input is not None:
                parts.append(input)
            if definition.value != DEFAULT_DEFINITION:
                parts.append(definition.value)
            results.append((result, *_write(result, out, _free_stem(parts, taken))))

        if as_json:
            rows = [
                {
                    "model": loaded.name,
                    **result.summary(),
                    "picture": str(picture),
                    "result": str(file),
                }
                for result, picture, file in results
            ]
            print_json(rows)
        else:
            print_results(loaded.name, results, guessed=layer is None)


@app.command()
def trf(
    model: ModelArgument,
    layer: Annotated[list[str] | None, _layer_option("all with spatial axes")] = None,
    unit: UnitOption = "center",
    size: SizeOption = None,
    grid: GridOption = None,
    input: InputOption = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Leave out layers that gather the whole space.",
            rich_help_panel=UNIT_PANEL,
        ),
    ] = False,
    weights: WeightsOption = None,
    option: BuilderOption = None,
    unsafe: UnsafeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print theoretical receptive fields: which input each layer can see.

    [bold]Examples[/bold]

    keras-erf trf ResNet50 --weights none

    keras-erf trf my.h5 -l conv3_block4_out --size 512
    """
    with _one_line_errors():
        at: dict[str, Any] = {"unit": read_unit(unit), "grid": read_grid(grid)}
        where: dict[str, Any] = {
            "input_shape": read_size(size),
            "input": input,
            "through_global": not local,
        }
        for name, value in (("--unit", unit if unit != "center" else None), ("--grid", grid)):
            if value is not None and not layer:
                raise InvalidInputError(
                    f"`{name}` needs the layer it is of: name it with --layer. Received: {value!r}"
                )
        loaded = _load(model, weights, option, unsafe, need_weights=False)
        from keras_erf.theoretical import receptive_field, receptive_fields

        skipped: Sequence[tuple[str, str]] = ()
        if layer:
            fields = [receptive_field(loaded.model, one, **at, **where) for one in layer]
        else:
            table = receptive_fields(loaded.model, **where)
            fields, skipped = list(table.fields), table.skipped
        if as_json:
            print_json(
                {
                    "model": loaded.name,
                    "layers": [field_row(field) for field in fields],
                    "skipped": [{"layer": name, "reason": reason} for name, reason in skipped],
                }
            )
        else:
            print_fields(loaded.name, fields, skipped)


@app.command("zoo")
def list_zoo(as_json: JsonOption = False) -> None:
    """List the models of the zoo."""
    names = {name: zoo_index.describe(name) for name in zoo_index.available()}
    if as_json:
        print_json(names)
    else:
        width = max(map(len, names))
        for name, description in names.items():
            typer.echo(f"{name:<{width}}  {description}")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns a user's mistake into one line and status 2, an interruption into 130."""
    try:
        yield
    except KerasERFError as error:
        typer.echo(f"Error: {in_options(str(error))}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted()) from None


def _load(
    model: str,
    weights: str | None,
    option: Sequence[str] | None,
    unsafe: bool,
    *,
    need_weights: bool = True,
) -> LoadedModel:
    from keras_erf.loading import load_model

    import_quietly()
    # Keras tells of downloads on standard output, which is the result's.
    with redirect_stdout(sys.stderr):
        return load_model(
            model,
            weights=weights,
            options=read_options(option),
            unsafe=unsafe,
            need_weights=need_weights,
        )


def _channels(target: Target) -> int:
    """Channels of the input that a unit looks at."""
    graph = target.graph
    return int(graph.tensors[target.input].shape[graph.channel_axes[target.input]] or 0)


def _free_stem(parts: Sequence[str], taken: set[str]) -> str:
    """A file name of these parts that no other result of this run has."""
    plain = re.sub(r"[^\w.-]+", "_", "-".join(parts))
    stem, number = plain, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{plain}-{number}"
    taken.add(stem.casefold())
    return stem


def _write(result: EffectiveReceptiveField, folder: Path, stem: str) -> tuple[Path, Path]:
    """Saves picture and result of one layer; returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from keras_erf.writing import written_whole

    picture, file = folder / f"{stem}.png", folder / f"{stem}.npz"
    figure = result.plot().figure
    with written_whole(picture) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
    result.save(file)
    return picture, file


def main() -> None:
    """Entry point of the `keras-erf` command."""
    # TensorFlow's start-up messages would drown the table; a user's own setting stays.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = show_warning
    app()


if __name__ == "__main__":
    main()
