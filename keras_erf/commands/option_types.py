"""The options of the command line that several commands share.

Nothing heavy is imported: `--help` costs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_erf import zoo
from keras_erf.definitions import DEFINITIONS

__all__ = [
    "DEFAULT_DEFINITION",
    "OUT",
    "BatchSizeOption",
    "BgrOption",
    "BuilderOption",
    "CalibrateOption",
    "DefinitionName",
    "DefinitionOption",
    "GridOption",
    "ImagesOption",
    "InputOption",
    "InsideOption",
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
    "in_panel",
    "layer_option",
    "named_input_option",
    "out_option",
    "output_option",
    "sampling_option",
    "unit_option",
    "weights_option",
]

OUT = Path("keras-erf-output")
DefinitionName = Enum("DefinitionName", {name: name for name in DEFINITIONS}, type=str)  # type: ignore[misc]
DEFAULT_DEFINITION = DefinitionName["luo2016"]


class Noise(str, Enum):
    """Kinds of noise a model can be probed with."""

    normal = "normal"
    uniform = "uniform"
    zeros = "zeros"


def in_panel(panel: str) -> Callable[..., Any]:
    """`typer.Option` for an option in that panel of `--help`."""
    return partial(typer.Option, rich_help_panel=panel)


model_option, unit_option, input_option = map(in_panel, ("Model", "Unit", "Inputs"))
sampling_option, output_option = map(in_panel, ("Sampling", "Output"))


def layer_option(default: str) -> Any:
    """`--layer`; commands differ in the default."""
    return unit_option(
        "--layer",
        "-l",
        metavar="NAME",
        help="Layer, path inside of one, pattern, or place (-1 is the last); repeatable.",
        show_default=default,
    )


def weights_option(default: str) -> Any:
    """`--weights`; theoretical fields need none."""
    return model_option(
        "--weights",
        metavar="NAME",
        help="keras.applications: imagenet, none or a file; zoo: trained, initial or none; "
        "a model file: none, or a file of weights.",
        show_default=default,
    )


def named_input_option(help: str) -> Any:
    """`--input`; for measurements it also selects the input that takes the images."""
    return unit_option("--input", metavar="NAME", help=help, show_default="the first")


def out_option(help: str, default: str | bool = True) -> Any:
    """`--out`; commands differ in what they write there."""
    return output_option("--out", metavar="DIR", help=help, show_default=default)


def _models(incomplete: str) -> list[str]:
    """Completions of a model: names of the zoo, model files, and folders."""
    start = Path(incomplete)
    folder = start if incomplete.endswith("/") else start.parent
    here = sorted(folder.glob("*")) if folder.is_dir() else []
    files = [f"{path}/" if path.is_dir() else str(path) for path in here]
    fitting = [path for path in files if path.endswith((".keras", ".h5", "/"))]
    return [name for name in (*zoo.available(), *fitting) if name.startswith(incomplete)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Model file of any age, network of keras.applications, or name of the zoo.",
        show_default=False,
        autocompletion=_models,
    ),
]

# The unit, and the definition of its field.
UnitOption = Annotated[
    str, unit_option("--unit", metavar="I,J", help="Unit of the layer's map, or 'center'.")
]
SizeOption = Annotated[
    str | None,
    unit_option(
        "--size",
        metavar="HxW",
        help="Spatial size of the input, e.g. 512x512.",
        show_default="the model's own",
    ),
]
InputOption = Annotated[
    str | None,
    named_input_option("Input, of several, to measure and to feed images; others take noise."),
]
GridOption = Annotated[
    str | None,
    unit_option(
        "--grid",
        metavar="HxW",
        help="Rows and columns of a layer of tokens.",
        show_default="found, or a square",
    ),
]
InsideOption = Annotated[
    bool,
    unit_option("--inside", help="Layers inside of composite ones too, under paths like enc/conv."),
]
DefinitionOption = Annotated[
    DefinitionName,
    unit_option(
        "--definition",
        metavar="NAME",
        help=f"What counts as effective field: {', '.join(DEFINITIONS)}.",
    ),
]

# The model's inputs.
ImagesOption = Annotated[
    Path | None, input_option("--images", metavar="DIR", help="Folder of images.")
]
NoiseOption = Annotated[
    Noise, input_option("--noise", metavar="KIND", help="Without images: normal, uniform or zeros.")
]
ScaleOption = Annotated[
    str | None,
    input_option("--scale", metavar="X", help="Factor of the pixel values 0 to 255, e.g. 1/255."),
]
MeanOption = Annotated[
    str | None,
    input_option(
        "--mean",
        metavar="X,..",
        help="Mean, subtracted after --scale; one value or one per channel.",
    ),
]
StdOption = Annotated[
    str | None,
    input_option("--std", metavar="X,..", help="Divisor last; one value or one per channel."),
]
BgrOption = Annotated[bool, input_option("--bgr", help="Channels as blue, green, red.")]

# Samples and precision.
SamplesOption = Annotated[
    int | None,
    sampling_option(
        "--samples",
        metavar="N",
        help="Number of samples, at most.",
        min=1,
        show_default="64; with --tolerance 4096",
    ),
]
ToleranceOption = Annotated[
    float | None,
    sampling_option(
        "--tolerance",
        metavar="X",
        help="Stop once the 95 % interval of the size is within this share of it, e.g. 0.02.",
        show_default="all samples",
    ),
]
SeedOption = Annotated[
    int,
    sampling_option("--seed", metavar="N", help="Seed of noise and of the order of images.", min=0),
]
CalibrateOption = Annotated[
    bool,
    sampling_option(
        "--calibrate",
        help="Give batch normalisations the inputs' statistics first, for untrained networks.",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    sampling_option(
        "--batch-size", metavar="N", help="Samples per batch.", min=1, show_default="by memory"
    ),
]
NoConeOption = Annotated[
    bool,
    sampling_option(
        "--no-cone", help="Run on the whole input, not the unit's field alone: slower, same result."
    ),
]

# The model.
WeightsOption = Annotated[str | None, weights_option("imagenet or trained")]
BuilderOption = Annotated[
    list[str] | None,
    model_option("--option", "-o", metavar="NAME=VALUE", help="Option of a zoo model; repeatable."),
]
UnsafeOption = Annotated[
    bool, model_option("--unsafe", help="Load a model file unchecked: it may run code.")
]

JsonOption = Annotated[bool, output_option("--json", help="Print JSON, no table.")]
