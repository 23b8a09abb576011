"""The options that every command that measures has, as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from keras_erf.commands.opening import CustomOption, LambdaOption
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
from keras_erf.loading import LoadedModel, load_quietly

if TYPE_CHECKING:
    from keras_erf.graph import Graph

__all__ = ["Options", "takes_options"]


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

    def where(self) -> dict[str, Any]:
        """The unit, as arguments of the library's functions."""
        return {
            "unit": read_unit(self.unit),
            "input_shape": read_size(self.size),
            "input": self.input,
            "grid": read_grid(self.grid),
        }

    def how(self) -> dict[str, Any]:
        """The settings as such arguments; mistakes are found before the model is loaded."""
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
        """Loads the model of that name, with the preprocessing that the options ask for."""
        preprocess = read_preprocess(self.scale, self.mean, self.std, self.bgr, self.images)
        opening = read_opening(self.custom, self.stand_in, self.unsafe)
        loaded = load_quietly(model, self.weights, read_options(self.option), opening)
        return replace(loaded, preprocess=preprocess or loaded.preprocess)

    def inputs(self, graph: Graph, tensor: int, loaded: LoadedModel) -> Any:
        """The model's inputs; images go to the input tensor of that number."""
        return read_inputs(graph, tensor, self.noise.value, self.images, loaded.preprocess)


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
