"""What every command that measures can be asked: its options as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from keras_erf.commands.arguments import (
    read_grid,
    read_inputs,
    read_options,
    read_preprocess,
    read_size,
    read_unit,
)
from keras_erf.commands.console import progress_bar
from keras_erf.commands.options import (
    DEFAULT_DEFINITION,
    BatchSizeOption,
    BgrOption,
    BuilderOption,
    CalibrateOption,
    DefinitionOption,
    GridOption,
    ImagesOption,
    InputOption,
    MeanOption,
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
)
from keras_erf.definitions import DEFINITIONS
from keras_erf.loading import LoadedModel, load_quietly

if TYPE_CHECKING:
    from keras_erf.graph import Graph
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = [
    "Request",
    "layer_rows",
    "profile_of",
    "result_row",
    "skipped_rows",
    "takes_request",
]


@dataclass(frozen=True)
class Request:
    """Which unit of which model is measured, on what and how exactly; a field for each option."""

    unit: UnitOption = "center"
    size: SizeOption = None
    input: InputOption = None
    grid: GridOption = None
    definition: DefinitionOption = DEFAULT_DEFINITION
    images: ImagesOption = None
    noise: NoiseOption = Noise.normal
    scale: ScaleOption = None
    mean: MeanOption = None
    std: StdOption = None
    bgr: BgrOption = False
    samples: SamplesOption = None
    tolerance: ToleranceOption = None
    seed: SeedOption = 0
    calibrate: CalibrateOption = False
    batch_size: BatchSizeOption = None
    no_cone: NoConeOption = False
    weights: WeightsOption = None
    option: BuilderOption = None
    unsafe: UnsafeOption = False

    def where(self) -> dict[str, Any]:
        """The unit, as arguments of the library's functions."""
        return {
            "unit": read_unit(self.unit),
            "input_shape": read_size(self.size),
            "input": self.input,
            "grid": read_grid(self.grid),
        }

    def how(self) -> dict[str, Any]:
        """The settings likewise, checked before the model is loaded and not after it."""
        from keras_erf.measuring.settings import Settings

        settings: dict[str, Any] = {
            "samples": self.samples,
            "tolerance": self.tolerance,
            "definition": DEFINITIONS[self.definition.value],
            "batch_size": self.batch_size,
            "seed": self.seed,
            "calibrate": self.calibrate,
            "cone": not self.no_cone,
        }
        Settings(**settings)
        return settings

    def load(self, model: str) -> LoadedModel:
        """The model of that name, with what was asked to be done to its images."""
        preprocess = read_preprocess(self.scale, self.mean, self.std, self.bgr, self.images)
        loaded = load_quietly(model, self.weights, read_options(self.option), self.unsafe)
        return replace(loaded, preprocess=preprocess or loaded.preprocess)

    def inputs(self, graph: Graph, looked_at: int, loaded: LoadedModel) -> Any:
        """What the model is given, the images at that number of its input tensors."""
        return read_inputs(graph, looked_at, self.noise.value, self.images, loaded.preprocess)


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command of keyword-only parameters a `Request`'s options instead of `asked`."""
    hints = get_type_hints(Request, include_extras=True)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in fields(Request)
    ]

    @functools.wraps(command)
    def spread(**given: Any) -> None:
        asked = Request(**{one.name: given.pop(one.name) for one in options})
        command(asked=asked, **given)

    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options if one.name == "asked" else [one]
    # Typer reads both.
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {one.name: one.annotation for one in parameters}
    return spread


def profile_of(
    loaded: LoadedModel,
    layer: list[str] | None,
    asked: Request,
    *,
    input: str | None,
    **options: Any,
) -> Profile:
    """Profiles a model, with a bar that shows how far it is.

    Args:
        loaded: The model.
        layer: Layers' names; none is all.
        asked: What the model is given.
        input: As in `keras_erf.profile`.
        **options: Likewise.

    Raises:
        KerasERFError: As `keras_erf.profile`.
    """
    from keras_erf.graph import build_graph
    from keras_erf.measuring import profiling

    graph = build_graph(loaded.model)
    inputs = asked.inputs(graph, graph.input_number(input), loaded)
    with progress_bar(f"Profiling {loaded.name}", "layers") as progress:
        return profiling.profile(
            loaded.model, layer or None, inputs=inputs, progress=progress, input=input, **options
        )


def result_row(result: EffectiveReceptiveField) -> dict[str, Any]:
    """A result as JSON: its metrics, and how they were obtained."""
    field, about = result.receptive_field, result.provenance
    run = about["runs"][0]
    return {
        **result.summary(),
        "input": field.input,
        "input_size": list(field.input_size),
        "inputs": run["inputs"],
        "seed": run["seed"],
        "calibrated": bool(about.get("calibrated")),
        "stopped_by": result.stopped_by,
    }


def layer_rows(found: Profile) -> list[dict[str, Any]]:
    """The layers of a profile as JSON."""
    return [
        {**result_row(one), "depth": depth}
        for one, depth in zip(found.results, found.depths, strict=True)
    ]


def skipped_rows(skipped: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Layers that were left out, and why, as JSON."""
    return [{"layer": name, "reason": reason} for name, reason in skipped]
