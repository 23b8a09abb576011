"""The options that every command that measures has, as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from keras_erf.commands.console import progress_bar
from keras_erf.commands.file_options import CustomOption, LambdaOption
from keras_erf.commands.option_types import (
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
from keras_erf.commands.parsing import (
    read_grid,
    read_inputs,
    read_options,
    read_preprocess,
    read_size,
    read_unit,
)
from keras_erf.custom_code import read_opening
from keras_erf.definitions import DEFINITIONS
from keras_erf.named_models import LoadedModel, load_quietly

if TYPE_CHECKING:
    from keras_erf.graph import Graph
    from keras_erf.measuring.profiling import Profile
    from keras_erf.measuring.settings import Location, Settings
    from keras_erf.measuring.setup import Prepared
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["Options", "Request", "takes_options"]


@dataclass(frozen=True)
class Options:
    """The unit, model, inputs and precision of a measurement; one field for each option."""

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
    custom: CustomOption = None
    stand_in: LambdaOption = None
    unsafe: UnsafeOption = False

    def open(self, model: str) -> Request:
        """Loads the model of that name, once all options are known to be right."""
        from keras_erf.measuring.settings import Location, Settings

        settings = Settings(
            samples=self.samples,
            tolerance=self.tolerance,
            definition=DEFINITIONS[self.definition.value],
            batch_size=self.batch_size,
            seed=self.seed,
            calibrate=self.calibrate,
            cone=not self.no_cone,
        )
        location = Location(
            unit=read_unit(self.unit),
            input=self.input,
            input_shape=read_size(self.size),
            grid=read_grid(self.grid),
        )
        preprocess = read_preprocess(self.scale, self.mean, self.std, self.bgr, self.images)
        opening = read_opening(self.custom, self.stand_in, self.unsafe)
        loaded = load_quietly(model, self.weights, read_options(self.option), opening)
        from keras_erf.graph import started

        start = started(loaded.model, input_shape=location.input_shape)
        graph, loaded = start.graph, replace(loaded, model=start.model)
        location = replace(location, input_shape=start.input_shape)
        inputs = read_inputs(
            graph,
            graph.input_number(self.input),
            self.noise.value,
            self.images,
            preprocess or loaded.preprocess,
        )
        return Request(loaded, graph, location, replace(settings, inputs=inputs))


@dataclass(frozen=True, eq=False)
class Request:
    """A model that was loaded, and what is measured in it."""

    loaded: LoadedModel
    graph: Graph
    location: Location
    settings: Settings

    def located(self, layers: Any, *, several: bool = False, inside: bool = False) -> Prepared:
        """Finds the unit of one or more layers; arguments and errors as `measuring.setup`."""
        from keras_erf.measuring.setup import located

        return located(
            self.loaded.model,
            layers,
            self.settings.inputs,
            self.location,
            graph=self.graph,
            several=several,
            inside=inside,
            past_constants=True,
        )

    def matching(self, layers: Sequence[str]) -> list[Any]:
        """Layers, with the names that a pattern stands for in its place."""
        from keras_erf.fields.choosing import matching

        return matching(self.graph, layers)

    def probe(self, unit: Prepared) -> EffectiveReceptiveField:
        """Measures one unit, with a progress bar; errors as `keras_erf.probe`."""
        from keras_erf.measuring.probing import probed

        with progress_bar(f"Probing {unit.targets[0].receptive_field.layer}", "samples") as bar:
            return probed(unit.calibrated(self.settings), self.settings, bar)

    def profile(self, units: Prepared, path: Path | None = None) -> Profile:
        """Measures many units, with a progress bar; errors as `keras_erf.profile`."""
        from keras_erf.measuring.profiling import profiled

        with progress_bar(f"Profiling {self.loaded.name}", "layers") as bar:
            ready = units.calibrated(self.settings)
            return profiled(ready, self.settings, path=path, progress=bar)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces the keyword-only parameter `options` of a command by the fields of `Options`."""
    hints = get_type_hints(Options, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(Options)
    ]

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        own = Options(**{option.name: values.pop(option.name) for option in options})
        command(options=own, **values)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options if parameter.name == "options" else [parameter]
    # Typer reads both.
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread
