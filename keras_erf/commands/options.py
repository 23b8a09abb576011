"""The options of the command line that several commands share.

Nothing heavy is imported: `--help` costs no TensorFlow.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf import zoo
from keras_erf.definitions import DEFINITIONS

__all__ = [
    "DEFAULT_DEFINITION",
    "OUT",
    "OUTPUT_PANEL",
    "UNIT_PANEL",
    "BatchSizeOption",
    "BgrOption",
    "BuilderOption",
    "DefinitionName",
    "DefinitionOption",
    "GridOption",
    "ImagesOption",
    "InputOption",
    "JsonOption",
    "MeanOption",
    "ModelArgument",
    "NoConeOption",
    "Noise",
    "NoiseOption",
    "SamplesOption",
    "ScaleOption",
    "SeedOption",
    "SizeOption",
    "StdOption",
    "ToleranceOption",
    "UnitOption",
    "UnsafeOption",
    "WeightsOption",
    "layer_option",
    "out_option",
]

OUT = Path("keras-erf-output")
DefinitionName = Enum("DefinitionName", {name: name for name in DEFINITIONS}, type=str)  # type: ignore[misc]
DEFAULT_DEFINITION = DefinitionName["luo2016"]


class Noise(str, Enum):
    """Kinds of noise a model can be probed with."""

    normal = "normal"
    uniform = "uniform"
    zeros = "zeros"


MODEL_PANEL, UNIT_PANEL, INPUT_PANEL, OUTPUT_PANEL = "Model", "Unit", "Inputs", "Output"
SAMPLING_PANEL = "Sampling"


def layer_option(default: str) -> Any:
    """`--layer`; commands differ in what they do without it."""
    return typer.Option(
        "--layer",
        "-l",
        metavar="NAME",
        help="Layer, or path in nested models; repeatable.",
        show_default=default,
        rich_help_panel=UNIT_PANEL,
    )


def out_option(help: str, default: str | bool = True) -> Any:
    """`--out`; commands differ in what they put there."""
    return typer.Option(
        "--out", metavar="DIR", help=help, show_default=default, rich_help_panel=OUTPUT_PANEL
    )


def _unit(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=UNIT_PANEL, **options)


def _input(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=INPUT_PANEL, **options)


def _sampling(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=SAMPLING_PANEL, **options)


def _model(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=MODEL_PANEL, **options)


def _models(incomplete: str) -> list[str]:
    """What the shell offers for a model: names of the zoo, model files, and folders."""
    start = Path(incomplete)
    folder = start if incomplete.endswith("/") else start.parent
    here = sorted(folder.glob("*")) if folder.is_dir() else []
    files = [f"{one}/" if one.is_dir() else str(one) for one in here]
    fitting = [one for one in files if one.endswith((".keras", ".h5", "/"))]
    return [one for one in (*zoo.available(), *fitting) if one.startswith(incomplete)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .keras or .h5 file, a network of keras.applications, or one of the zoo.",
        show_default=False,
        autocompletion=_models,
    ),
]

# Which unit of which layer, and what is asked of it.
UnitOption = Annotated[str, _unit("Unit of the layer's map, or 'center'.", "--unit", metavar="I,J")]
SizeOption = Annotated[
    str | None,
    _unit(
        "Spatial size of the input, e.g. 512x512.",
        "--size",
        metavar="HxW",
        show_default="the model's own",
    ),
]
InputOption = Annotated[
    str | None,
    _unit(
        "Input, of several, that is looked at and takes the images; noise for others.",
        "--input",
        metavar="NAME",
        show_default="the first",
    ),
]
GridOption = Annotated[
    str | None,
    _unit(
        "Rows and columns of a layer of tokens.",
        "--grid",
        metavar="HxW",
        show_default="found, or a square",
    ),
]
DefinitionOption = Annotated[
    DefinitionName,
    _unit(f"What counts as effective field: {', '.join(DEFINITIONS)}.", metavar="NAME"),
]

# What the model is given.
ImagesOption = Annotated[Path | None, _input("Folder of images.", metavar="DIR")]
NoiseOption = Annotated[Noise, _input("Without images: normal, uniform or zeros.", metavar="KIND")]
ScaleOption = Annotated[
    str | None, _input("Factor of the pixel values 0 to 255, e.g. 1/255.", metavar="X")
]
MeanOption = Annotated[
    str | None, _input("Taken off next; one value or one per channel.", metavar="X,..")
]
StdOption = Annotated[
    str | None, _input("Divisor last; one value or one per channel.", metavar="X,..")
]
BgrOption = Annotated[bool, _input("Channels as blue, green, red.", "--bgr")]

# How much of it, and how.
SamplesOption = Annotated[
    int | None,
    _sampling(
        "Number of samples, at most.",
        metavar="N",
        min=1,
        show_default="64; with --tolerance 4096",
    ),
]
ToleranceOption = Annotated[
    float | None,
    _sampling(
        "Stop when the size is known to this share, e.g. 0.02 for 2 %, by its 95 % interval.",
        metavar="X",
        show_default="all samples",
    ),
]
SeedOption = Annotated[
    int, _sampling("Seed of noise and of the order of images.", metavar="N", min=0)
]
BatchSizeOption = Annotated[
    int | None, _sampling("Samples per batch.", metavar="N", min=1, show_default="by memory")
]
NoConeOption = Annotated[
    bool,
    _sampling("Run the whole input, not the unit's field alone: slower, the same.", "--no-cone"),
]

# The model.
WeightsOption = Annotated[
    str | None,
    _model(
        "keras.applications: imagenet, none or a file; zoo: trained, initial or none.",
        metavar="NAME",
        show_default="imagenet or trained",
    ),
]
BuilderOption = Annotated[
    list[str] | None,
    _model("Option of a zoo model; repeatable.", "--option", "-o", metavar="NAME=VALUE"),
]
UnsafeOption = Annotated[
    bool, _model("Let a model file run the Python code it carries.", "--unsafe")
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, no table.", rich_help_panel=OUTPUT_PANEL)
]
