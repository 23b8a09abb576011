"""The commands that measure: `keras-erf analyze` and `profile`.

Each checks its options before it loads the model, and locates all units before it
measures the first one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.console import print_json, progress_bar
from keras_erf.commands.json_rows import layer_rows, result_row, skipped_rows
from keras_erf.commands.option_types import (
    DEFAULT_DEFINITION,
    OUT,
    JsonOption,
    ModelArgument,
    Noise,
    layer_option,
    out_option,
)
from keras_erf.commands.options import Options, takes_options
from keras_erf.commands.outputs import free_stem, save_profile, save_result
from keras_erf.commands.parsing import check_writable
from keras_erf.commands.tables import print_profile, print_results
from keras_erf.errors import GradientError
from keras_erf.wording import by

if TYPE_CHECKING:
    from keras_erf.loading import LoadedModel
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["analyze", "profile", "profile_of"]


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
        where, how = options.where(), options.how()
        check_writable(out)
        loaded = options.load(model)
        from keras_erf.fields.theoretical import locate
        from keras_erf.measuring.probing import probe

        # All of them first: an error in the last one must not cost the probes before it.
        chosen: list[str | None] = [*layer] if layer else [None]
        targets = [locate(loaded.model, one, **where) for one in chosen]
        inputs = options.inputs(targets[0].graph, targets[0].input, loaded)
        results = []
        failed: dict[str, GradientError] = {}
        taken: set[str] = set()
        for one, target in zip(chosen, targets, strict=True):
            name = target.receptive_field.layer
            try:
                with progress_bar(f"Probing {name}", "samples") as bar:
                    result = probe(loaded.model, one, inputs=inputs, progress=bar, **where, **how)
            except GradientError as error:
                # Other layers are still measured.
                failed[name] = error
                continue
            stem = free_stem(_parts(loaded.name, result, options), taken, out, result)
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
                centered=options.unit == "center",
                tolerance=options.tolerance,
            )


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
        where, how = options.where(), options.how()
        check_writable(out or OUT)
        loaded = options.load(model)
        folder = out or OUT / f"{loaded.name}-profile"
        found = profile_of(loaded, layer, options, path=folder, **where, **how)
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
            print_profile(loaded.name, found, (picture, table), tolerance=options.tolerance)


def profile_of(
    loaded: LoadedModel,
    layer: list[str] | None,
    own: Options,
    *,
    input: str | None,
    **options: Any,
) -> Profile:
    """Profiles a model with a progress bar.

    Args:
        loaded: The model.
        layer: Names of layers; all of them if there is none.
        own: The options of the call.
        input: As in `keras_erf.profile`.
        **options: As there.

    Raises:
        KerasERFError: As `keras_erf.profile`.
    """
    from keras_erf.graph import build_graph
    from keras_erf.measuring import profiling

    graph = build_graph(loaded.model)
    inputs = own.inputs(graph, graph.input_number(input), loaded)
    with progress_bar(f"Profiling {loaded.name}", "layers") as progress:
        return profiling.profile(
            loaded.model, layer or None, inputs=inputs, progress=progress, input=input, **options
        )
