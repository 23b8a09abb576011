"""The commands that measure: `keras-erf analyze` and `profile`.

Each checks its options before it loads the model, and locates all units before it
measures the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.console import print_json
from keras_erf.commands.json_rows import layer_rows, result_row, skipped_rows
from keras_erf.commands.option_types import (
    DEFAULT_DEFINITION,
    OUT,
    InsideOption,
    JsonOption,
    ModelArgument,
    Noise,
    layer_option,
    out_option,
)
from keras_erf.commands.options import Options, takes_options
from keras_erf.commands.outputs import free_stem, save_profile, save_result
from keras_erf.commands.parsing import check_inside, check_writable
from keras_erf.commands.tables import print_profile, print_results
from keras_erf.errors import GradientError
from keras_erf.wording import by

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["analyze", "profile"]


@takes_options
def analyze(
    *,
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("the last with more than one position")] = None,
    options: Options,
    out: Annotated[Path, out_option("Folder for pictures and results.")] = OUT,
    as_json: JsonOption = False,
) -> None:
    """Measure how much of its theoretical field a unit really uses.

    Writes a picture (.png) and the result (.npz) for each layer, and prints a table.

    [bold]Examples[/bold]

    keras-erf analyze cifar_resnet14 --out erf

    keras-erf analyze ResNet50 -l conv3_block4_out --images photos --out erf

    keras-erf analyze my.keras --images photos --scale 1/255 --mean .5 --std .5
    """
    with one_line_errors():
        check_writable(out)
        request = options.open(model)
        # All of them first: an error in the last one must not cost the probes before it.
        names = request.matching(layer) if layer else [None]
        units = [request.located([name]) for name in names]
        name = request.loaded.name
        results = []
        failed: dict[str, GradientError] = {}
        taken: set[str] = set()
        for unit in units:
            try:
                result = request.probe(unit)
            except GradientError as error:
                # Other layers are still measured.
                failed[unit.targets[0].receptive_field.layer] = error
                continue
            stem = free_stem(_parts(name, result, options), taken, out, result)
            results.append((result, *save_result(result, out, stem)))
        if not results:
            raise next(iter(failed.values()))
        skipped = [(failing, str(error)) for failing, error in failed.items()]

        if as_json:
            rows = [
                {**result_row(result), "picture": str(picture), "result": str(file)}
                for result, picture, file in results
            ]
            print_json({"model": name, "layers": rows, "skipped": skipped_rows(skipped)})
        else:
            print_results(
                name,
                results,
                skipped,
                guessed=None if layer else _chosen(units[0].passed),
                centered=options.unit == "center",
                tolerance=options.tolerance,
            )


def _chosen(passed: Sequence[str]) -> str:
    """How a layer was chosen that the user did not name."""
    if not passed:
        return "the last layer with more than one position"
    return f"taken in place of {passed[0]}, whose channels sum to a constant"


def _parts(model: str, result: EffectiveReceptiveField, options: Options) -> list[str]:
    """The parts of a result's file names: the model, the layer and all non-default options."""
    parts = [model, *(options.option or ())]
    if options.weights is not None:
        parts.append(Path(options.weights).stem)
    parts.append(result.layer)
    if options.unit != "center":
        parts.append("unit" + "_".join(map(str, result.unit)))
    if options.size is not None:
        parts.append(by(result.receptive_field.input_size, "x"))
    if options.input is not None:
        parts.append(options.input)
    if options.grid is not None:
        parts.append(by(result.receptive_field.output_size, "x"))
    if options.definition != DEFAULT_DEFINITION:
        parts.append(options.definition.value)
    if options.images is not None:
        parts.append(options.images.resolve().name)
    for name in ("scale", "mean", "std"):
        value = getattr(options, name)
        if value is not None:
            parts.append(name + value.replace("/", "_").replace(",", "_"))
    if options.bgr:
        parts.append("bgr")
    if options.noise != Noise.normal:
        parts.append(options.noise.value)
    for name, ordinary in (("samples", None), ("tolerance", None), ("seed", 0)):
        value = getattr(options, name)
        if value != ordinary:
            parts.append(f"{name}{value}")
    if options.calibrate:
        parts.append("calibrated")
    return parts


@takes_options
def profile(
    *,
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("all with more than one position")] = None,
    inside: InsideOption = False,
    options: Options,
    out: Annotated[
        Path | None, out_option("Folder for picture, table and results.", f"{OUT}/MODEL-profile")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every layer: effective and theoretical sizes over depth.

    Writes a picture (profile.png), a table (profile.csv) and the result of each layer (.npz).
    Called again after an interruption, it resumes with the missing layers.

    [bold]Examples[/bold]

    keras-erf profile cifar_resnet14 --size 64 --out erf

    keras-erf profile ResNet50 --images photos --tolerance .05 --out erf
    """
    with one_line_errors("What was measured is kept; the same call resumes from there."):
        check_inside(inside, layer)
        check_writable(out or OUT)
        request = options.open(model)
        name = request.loaded.name
        folder = out or OUT / f"{name}-profile"
        units = request.located(layer or None, several=True, inside=inside)
        result = request.profile(units, folder)
        picture, table = save_profile(result, folder)

        if as_json:
            print_json(
                {
                    "model": name,
                    "layers": layer_rows(result),
                    "skipped": skipped_rows(result.skipped),
                    "picture": str(picture),
                    "table": str(table),
                    "results": str(folder),
                }
            )
        else:
            print_profile(name, result, (picture, table), tolerance=options.tolerance)
