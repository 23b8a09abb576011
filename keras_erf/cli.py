"""The command line: `keras-erf analyze`, `trf` and `zoo`.

Nothing heavy is imported before a command runs. The exit status is 0, 2 for a
user's mistake (one line, no traceback), 130 for an interruption, and 1 for a
fault of this program.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_erf import zoo as zoo_index
from keras_erf.definitions import DEFINITIONS
from keras_erf.errors import InvalidInputError, KerasERFError

if TYPE_CHECKING:
    from keras_erf.effective import EffectiveReceptiveField
    from keras_erf.loading import LoadedModel

__all__ = ["main"]

app = typer.Typer(
    name="keras-erf",
    help="What a Keras network really looks at: its theoretical and effective receptive fields.",
    no_args_is_help=True,
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
    definition: Annotated[
        DefinitionName,
        typer.Option(
            metavar="NAME",
            help=f"What counts as effective field: {', '.join(DEFINITIONS)}.",
            rich_help_panel=UNIT_PANEL,
        ),
    ] = DefinitionName.luo2016,  # type: ignore[attr-defined]
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
        _check_writable(out)
        preprocess = _preprocess(scale, mean, std, bgr)
        if preprocess and images is None:
            raise InvalidInputError(
                "`--scale`, `--mean`, `--std` and `--bgr` are for images; name a folder with "
                "--images. Received: no images"
            )
        loaded = _load(model, weights, option, unsafe)
        from keras_erf.probing import probe
        from keras_erf.sampling import ImageFolder

        results = []
        for one in layer or [None]:
            inputs: Any = noise.value
            if images is not None:
                inputs = ImageFolder(images, preprocess or loaded.preprocess)
            with _progress_bar(one) as progress:
                result = probe(
                    loaded.model,
                    one,
                    unit=_unit(unit),
                    inputs=inputs,
                    samples=samples,
                    definition=definition.value,
                    batch_size=batch_size,
                    seed=seed,
                    input_shape=_size(size),
                    progress=progress,
                )
            results.append((result, *_write(result, loaded, out)))
        from keras_erf.console import print_json, print_results

        if as_json:
            rows = [
                {"model": loaded.name, **result.summary(), "picture": str(picture), "result": str(file)}
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
        loaded = _load(model, weights, option, unsafe, need_weights=False)
        from keras_erf.console import field_row, print_fields, print_json
        from keras_erf.theoretical import receptive_field, receptive_fields

        skipped: Sequence[tuple[str, str]] = ()
        if layer:
            fields = [
                receptive_field(
                    loaded.model, one, unit=_unit(unit), input_shape=_size(size),
                    through_global=not local,
                )
                for one in layer
            ]
        else:
            if unit != "center":
                raise InvalidInputError(
                    f"`--unit` needs a layer it is in; name it with --layer. Received: --unit {unit}"
                )
            table = receptive_fields(
                loaded.model, input_shape=_size(size), through_global=not local
            )
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
        from keras_erf.console import print_json

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
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        typer.echo("Interrupted. Nothing was left half written.", err=True)
        raise typer.Exit(130) from None


def _load(
    model: str,
    weights: str | None,
    option: Sequence[str] | None,
    unsafe: bool,
    *,
    need_weights: bool = True,
) -> LoadedModel:
    from keras_erf.loading import load_model

    _import_quietly()
    options = {}
    for text in option or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInputError(f"`--option` must be NAME=VALUE. Received: {text!r}")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return load_model(
        model, weights=weights, options=options, unsafe=unsafe, need_weights=need_weights
    )


def _import_quietly() -> None:
    """Imports TensorFlow without its word on missing GPUs, which no setting silences."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except ImportError:
            pass  # Loading the model says why, in one line.
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _unit(text: str) -> Any:
    if text == "center":
        return text
    return _integers(text, "--unit", "a unit such as 7,7, or 'center'")


def _size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    return _integers(text, "--size", "a size such as 512 or 360x480")


def _integers(text: str, name: str, expected: str) -> tuple[int, ...]:
    parts = re.split(r"[x,]", text.replace(" ", ""))
    if not all(part.isdecimal() for part in parts):
        raise InvalidInputError(f"`{name}` must be {expected}. Received: {text!r}")
    return tuple(int(part) for part in parts)


def _numbers(text: str | None, name: str) -> list[float] | None:
    """`0.5`, `1/255` or `.485,.456,.406`."""
    if text is None:
        return None
    numbers = []
    for part in text.split(","):
        above, slash, below = part.partition("/")
        try:
            numbers.append(float(above) / (float(below) if slash else 1.0))
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidInputError(
                f"`{name}` must be numbers such as 0.5, 1/255 or .485,.456,.406. Received: {text!r}"
            ) from error
    return numbers


def _preprocess(
    scale: str | None, mean: str | None, std: str | None, bgr: bool
) -> Callable[[Any], Any] | None:
    """`(pixels * scale - mean) / std`, channels in the order the model takes them."""
    factor, offset, divisor = (
        _numbers(text, name)
        for text, name in ((scale, "--scale"), (mean, "--mean"), (std, "--std"))
    )
    if not (factor or offset or divisor or bgr):
        return None
    if divisor and 0 in divisor:
        raise InvalidInputError(f"`--std` must not be zero. Received: {std!r}")

    def preprocess(batch: Any) -> Any:
        channels = batch.shape[-1]
        for name, values in (("--scale", factor), ("--mean", offset), ("--std", divisor)):
            if values and len(values) not in (1, channels):
                raise InvalidInputError(
                    f"`{name}` must be one value or {channels}, one per channel. "
                    f"Received: {len(values)} values"
                )
        ready = batch[..., ::-1] if bgr else batch
        return (ready * (factor or 1.0) - (offset or 0.0)) / (divisor or 1.0)

    return preprocess


def _check_writable(folder: Path) -> None:
    """Fails before the long work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"`--out` must be a folder that can be written: {error.strerror}. "
            f"Received: {str(folder)!r}"
        ) from error


def _write(
    result: EffectiveReceptiveField, loaded: LoadedModel, folder: Path
) -> tuple[Path, Path]:
    """Saves picture and result of one layer; returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from keras_erf.writing import written_whole

    stem = re.sub(r"[^\w.-]+", "_", f"{loaded.name}-{result.layer}")
    picture, file = folder / f"{stem}.png", folder / f"{stem}.npz"
    figure = result.plot().figure
    with written_whole(picture) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
    result.save(file)
    return picture, file


@contextmanager
def _progress_bar(layer: str | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, so that standard output can be piped on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("Probing {task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("samples"), TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(layer or "the last map", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main() -> None:
    """Entry point of the `keras-erf` command."""
    # TensorFlow's start-up messages would drown the table; a user's own setting stays.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"Warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
