"""The commands that measure: `keras-erf analyze` and `profile`.

Each checks all that was asked before it loads the model, and finds all units
before it measures one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keras_erf.commands.arguments import (
    Preprocess,
    check_writable,
    read_grid,
    read_inputs,
    read_options,
    read_preprocess,
    read_size,
    read_unit,
)
from keras_erf.commands.console import print_json, progress_bar
from keras_erf.commands.ending import one_line_errors
from keras_erf.commands.options import (
    DEFAULT_DEFINITION,
    OUT,
    BatchSizeOption,
    BgrOption,
    BuilderOption,
    DefinitionOption,
    GridOption,
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
    out_option,
)
from keras_erf.commands.saving import free_stem, save_profile, save_result
from keras_erf.commands.tables import print_profile, print_results
from keras_erf.errors import InvalidInputError
from keras_erf.loading import LoadedModel, load_quietly

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile

__all__ = ["analyze", "checked_settings", "profile", "profile_of"]


def analyze(
    model: ModelArgument,
    layer: Annotated[list[str] | None, layer_option("the last with spatial axes")] = None,
    unit: UnitOption = "center",
    size: SizeOption = None,
    grid: GridOption = None,
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
        where: dict[str, Any] = {
            "unit": read_unit(unit),
            "input_shape": read_size(size),
            "grid": read_grid(grid),
            "input": input,
        }
        how = checked_settings(
            samples=samples,
            tolerance=tolerance,
            definition=definition.value,
            batch_size=batch_size,
            seed=seed,
            cone=not no_cone,
        )
        check_writable(out)
        preprocess = read_preprocess(scale, mean, std, bgr, images)
        loaded = load_quietly(model, weights, read_options(option), unsafe)
        from keras_erf.fields.theoretical import locate
        from keras_erf.measuring.probing import probe

        # All of them first: a mistake in the last one shall not cost the probes before it.
        chosen: list[str | None] = [*layer] if layer else [None]
        targets = [locate(loaded.model, one, **where) for one in chosen]
        inputs = read_inputs(
            targets[0].graph,
            targets[0].input,
            noise.value,
            images,
            preprocess or loaded.preprocess,
        )
        results = []
        taken: set[str] = set()
        for one, target in zip(chosen, targets, strict=True):
            with progress_bar(f"Probing {target.receptive_field.layer}", "samples") as progress:
                result = probe(loaded.model, one, inputs=inputs, progress=progress, **where, **how)
            parts = [loaded.name, result.layer]
            if unit != "center":
                parts.append("unit" + "_".join(map(str, result.unit)))
            if size is not None:
                parts.append("x".join(map(str, result.receptive_field.input_size)))
            if input is not None:
                parts.append(input)
            if definition != DEFAULT_DEFINITION:
                parts.append(definition.value)
            results.append((result, *save_result(result, out, free_stem(parts, taken))))

        if as_json:
            rows = [
                {
                    "model": loaded.name,
                    **result.summary(),
                    "stopped_by": result.stopped_by,
                    "picture": str(picture),
                    "result": str(file),
                }
                for result, picture, file in results
            ]
            print_json(rows)
        else:
            print_results(loaded.name, results, guessed=layer is None, tolerance=tolerance)


def profile(
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
    out: Annotated[
        Path | None, out_option("Folder for picture, table and results.", f"{OUT}/MODEL-profile")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every layer: effective beside theoretical size, over depth.

    Writes a picture (profile.png), a table (profile.csv) and the result of each layer (.npz).
    Called again after an interruption, it goes on with what is there.

    [bold]Examples[/bold]

    keras-erf profile cifar_resnet14 --size 64 --out erf

    keras-erf profile ResNet50 --images photos --tolerance .05 --out erf
    """
    with one_line_errors("What was measured is kept; the same call goes on from there."):
        where: dict[str, Any] = {
            "unit": read_unit(unit),
            "input_shape": read_size(size),
            "input": input,
        }
        how = checked_settings(
            samples=samples,
            tolerance=tolerance,
            definition=definition.value,
            batch_size=batch_size,
            seed=seed,
            cone=not no_cone,
        )
        check_writable(out or OUT)
        preprocess = read_preprocess(scale, mean, std, bgr, images)
        loaded = load_quietly(model, weights, read_options(option), unsafe)
        folder = out or OUT / f"{loaded.name}-profile"
        found = profile_of(loaded, layer, noise, images, preprocess, path=folder, **where, **how)
        picture, table = save_profile(found, folder)

        if as_json:
            layers = [
                {**one.summary(), "depth": depth, "stopped_by": one.stopped_by}
                for one, depth in zip(found.results, found.depths, strict=True)
            ]
            print_json(
                {
                    "model": loaded.name,
                    "layers": layers,
                    "skipped": [{"layer": name, "reason": text} for name, text in found.skipped],
                    "picture": str(picture),
                    "table": str(table),
                    "results": str(folder),
                }
            )
        else:
            print_profile(loaded.name, found, (picture, table), tolerance=tolerance)


def profile_of(
    loaded: LoadedModel,
    layer: list[str] | None,
    noise: Noise,
    images: Path | None,
    preprocess: Preprocess | None,
    *,
    input: str | None,
    **options: Any,
) -> Profile:
    """Profiles a model, with a bar that shows how far it is.

    Args:
        loaded: The model.
        layer: Layers' names; none is all.
        noise: What the model is given without images.
        images: A folder of them.
        preprocess: What is done to images; `None` is what the model's family does.
        input: As in `keras_erf.profile`.
        **options: Likewise.

    Raises:
        InvalidInputError: No layer can be measured, or an option does not fit the model.
    """
    from keras_erf.graph import build_graph
    from keras_erf.measuring import profiling

    graph = build_graph(loaded.model)
    inputs = read_inputs(
        graph, graph.input_number(input), noise.value, images, preprocess or loaded.preprocess
    )
    with progress_bar(f"Profiling {loaded.name}", "layers") as progress:
        found = profiling.profile(
            loaded.model, layer or None, inputs=inputs, progress=progress, input=input, **options
        )
    if not found.results:
        reasons = [f", {name} first: {text}" for name, text in found.skipped[:1]]
        raise InvalidInputError(
            f"No layer of the model can be measured{reasons[0] if reasons else ''}"
        )
    return found


def checked_settings(**options: Any) -> dict[str, Any]:
    """Options of a measurement, checked before the model is loaded and not after it."""
    from keras_erf.measuring.settings import Settings

    Settings(**options)
    return options
