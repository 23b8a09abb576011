"""The commands that measure: `keras-erf analyze` and `profile`.

Each checks all that was asked before it loads the model, and finds all units
before it measures one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from keras_erf.commands.arguments import check_writable
from keras_erf.commands.console import print_json, progress_bar
from keras_erf.commands.ending import one_line_errors
from keras_erf.commands.options import (
    DEFAULT_DEFINITION,
    OUT,
    JsonOption,
    ModelArgument,
    Noise,
    layer_option,
    out_option,
)
from keras_erf.commands.request import (
    Request,
    layer_rows,
    profile_of,
    result_row,
    skipped_rows,
    takes_request,
)
from keras_erf.commands.saving import free_stem, save_profile, save_result
from keras_erf.commands.tables import print_profile, print_results
from keras_erf.errors import GradientError
from keras_erf.wording import by

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["analyze", "profile"]


@takes_request
def analyze(
    *,
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("the last with more than one position")] = None,
    asked: Request,
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
        where, how = asked.where(), asked.how()
        check_writable(out)
        loaded = asked.load(model)
        from keras_erf.fields.theoretical import locate
        from keras_erf.measuring.probing import probe

        # All of them first: a mistake in the last one shall not cost the probes before it.
        chosen: list[str | None] = [*layer] if layer else [None]
        targets = [locate(loaded.model, one, **where) for one in chosen]
        inputs = asked.inputs(targets[0].graph, targets[0].input, loaded)
        results = []
        failed: dict[str, GradientError] = {}
        taken: set[str] = set()
        for one, target in zip(chosen, targets, strict=True):
            name = target.receptive_field.layer
            try:
                with progress_bar(f"Probing {name}", "samples") as bar:
                    result = probe(loaded.model, one, inputs=inputs, progress=bar, **where, **how)
            except GradientError as error:
                # Other layers are measured all the same.
                failed[name] = error
                continue
            stem = free_stem(_parts(loaded.name, result, asked), taken, out, result)
            results.append((result, *save_result(result, out, stem)))
        if not results:
            raise next(iter(failed.values()))
        skipped = [(name, str(error)) for name, error in failed.items()]

        if as_json:
            rows = [
                {
                    **result_row(result),
                    "picture": str(picture),
                    "result": str(file),
                }
                for result, picture, file in results
            ]
            print_json({"model": loaded.name, "layers": rows, "skipped": skipped_rows(skipped)})
        else:
            print_results(
                loaded.name,
                results,
                skipped,
                guessed=layer is None,
                centered=asked.unit == "center",
                tolerance=asked.tolerance,
            )


def _parts(model: str, result: EffectiveReceptiveField, asked: Request) -> list[str]:
    """What a result's files are named after: all that differs from the defaults."""
    parts = [model, *(asked.option or ())]
    if asked.weights is not None:
        parts.append(Path(asked.weights).stem)
    parts.append(result.layer)
    if asked.unit != "center":
        parts.append("unit" + "_".join(map(str, result.unit)))
    if asked.size is not None:
        parts.append(by(result.receptive_field.input_size, "x"))
    if asked.input is not None:
        parts.append(asked.input)
    if asked.grid is not None:
        parts.append(by(result.receptive_field.output_size, "x"))
    if asked.definition != DEFAULT_DEFINITION:
        parts.append(asked.definition.value)
    if asked.images is not None:
        parts.append(asked.images.resolve().name)
    for name in ("scale", "mean", "std"):
        value = getattr(asked, name)
        if value is not None:
            parts.append(name + value.replace("/", "_").replace(",", "_"))
    if asked.bgr:
        parts.append("bgr")
    if asked.noise != Noise.normal:
        parts.append(asked.noise.value)
    for name, ordinary in (("samples", None), ("tolerance", None), ("seed", 0)):
        value = getattr(asked, name)
        if value != ordinary:
            parts.append(f"{name}{value}")
    if asked.calibrate:
        parts.append("calibrated")
    return parts


@takes_request
def profile(
    *,
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("all with more than one position")] = None,
    asked: Request,
    out: Annotated[
        Path | None, out_option("Folder for picture, table and results.", f"{OUT}/MODEL-profile")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every layer: effective beside theoretical size, over depth.

    Writes a picture (profile.png), a table (profile.csv) and the result of each layer (.npz).
    Called again after an interruption, it resumes with what is there.

    [bold]Examples[/bold]

    keras-erf profile cifar_resnet14 --size 64 --out erf

    keras-erf profile ResNet50 --images photos --tolerance .05 --out erf
    """
    with one_line_errors("What was measured is kept; the same call resumes from there."):
        where, how = asked.where(), asked.how()
        check_writable(out or OUT)
        loaded = asked.load(model)
        folder = out or OUT / f"{loaded.name}-profile"
        found = profile_of(loaded, layer, asked, path=folder, **where, **how)
        picture, table = save_profile(found, folder)

        if as_json:
            print_json(
                {
                    "model": loaded.name,
                    "layers": layer_rows(found),
                    "skipped": skipped_rows(found.skipped),
                    "picture": str(picture),
                    "table": str(table),
                    "results": str(folder),
                }
            )
        else:
            print_profile(loaded.name, found, (picture, table), tolerance=asked.tolerance)
