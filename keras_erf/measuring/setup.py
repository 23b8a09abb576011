"""Finds the units that are measured, in a model of full precision, calibrated if asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from keras_erf.errors import BackendError, InvalidInputError, KerasERFError
from keras_erf.fields.choosing import matching, only_one
from keras_erf.fields.constant_sums import before_constant_sum
from keras_erf.fields.input_size import maps
from keras_erf.fields.inside import address, check_inside, find_inside, holds
from keras_erf.fields.theoretical import Target, locate, target_of, tracing_of
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, started
from keras_erf.measuring.calibrating import calibrated, has_batch_norm
from keras_erf.measuring.data_sizes import sizes_of_data
from keras_erf.measuring.precision import in_full_precision
from keras_erf.measuring.settings import Location, Settings
from keras_erf.types import Model

__all__ = ["Prepared", "calibrated_for", "check_backend", "fingerprint", "located", "prepared"]

# Units of a graph, and pairs of a layer that has none and the reason.
Units: TypeAlias = tuple[list[Target], list[tuple[str, str]]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Units of a model, found once for all that is done with them.

    Args:
        model: What is measured: the model given, or a copy in full precision, or calibrated.
        weights: Fingerprint of the model's weights, before they are calibrated.
        targets: The units, all of one graph and one input.
        skipped: Pairs of a layer that has no such unit and the reason.
        find: Finds both in a graph of the model or of a copy of it.
        passed: Names of the last maps that were passed over, as their channels sum to a constant.
    """

    model: Model
    weights: str
    targets: list[Target]
    skipped: list[tuple[str, str]]
    find: Callable[[Graph], Units] = field(repr=False)
    passed: Sequence[str] = ()

    def calibrated(self, settings: Settings) -> Prepared:
        """The same units of a copy calibrated for them, if the settings ask for one."""
        copy = calibrated_for(self.model, self.targets, settings)
        if copy is self.model:
            return self
        targets, skipped = self.find(started(copy).graph)
        return replace(self, model=copy, targets=targets, skipped=skipped)


def prepared(
    model: Model,
    layers: Any,
    settings: Settings,
    location: Location,
    *,
    several: bool = False,
    inside: bool = False,
    assigned: bool = True,
) -> Prepared:
    """Finds the units that are to be measured, and calibrates; arguments as `located`."""
    units = located(
        model,
        layers,
        settings.inputs,
        location,
        several=several,
        inside=inside,
        assigned=assigned,
    )
    return units.calibrated(settings)


def located(
    model: Model,
    layers: Any,
    inputs: Any,
    location: Location,
    *,
    graph: Graph | None = None,
    several: bool = False,
    inside: bool = False,
    past_constants: bool = False,
    assigned: bool = True,
) -> Prepared:
    """Finds units in a model of full precision.

    Args:
        model: The user's model, whose layers and tensors may be what names a layer.
        layers: Layers, `None` among them for the last map; with `several` one layer or some, and
            `None` for every map.
        inputs: As in `probe`; arrays give sizes to a model that leaves them open.
        location: The unit of each layer.
        graph: The model's graph, if it is built already.
        several: Whether layers without such a unit are skipped.
        inside: Whether every map is one inside of composite layers too.
        past_constants: Whether the last map, if its channels sum to a constant, stands for what is
            before the softmax that makes it so.
        assigned: Whether zeros among the weights will stay.

    Raises:
        BackendError: Keras does not run on TensorFlow.
    """
    check_backend()
    check_inside(inside)
    options: dict[str, Any] = {"input_shape": location.input_shape, "assigned": assigned}
    start = started(graph or model, inputs=inputs, **options)
    given, graph = model, start.graph
    model = model if isinstance(start.model, Graph) else start.model
    if several and not isinstance(layers, (list, tuple)):
        layers = None if layers is None else [layers]
    if layers is not None:
        layers = [start.named(layer, given) for layer in layers]
        layers = matching(graph, layers) if several else [only_one(graph, one) for one in layers]
    if several and layers is not None and not layers:
        raise InvalidInputError(
            argument="layers", expected="must name at least one layer", received="none"
        )
    # Objects are those of this model: of a copy, numbers and paths are the same.
    where: dict[str, Any] = {"input": location.input, "rules": location.rules}
    where["input_shape"] = start.input_shape
    each = [None if layer is None else address(graph, layer, **where) for layer in layers or ()]
    full = in_full_precision(model, graph)
    if full is not model:
        graph = started(full, assigned=assigned).graph
    weights = fingerprint(model)
    shape = start.input_shape
    if shape is None:
        shape = sizes_of_data(graph, graph.input_number(location.input), inputs)
    options = {
        "input": location.input,
        "input_shape": shape,
        "rules": location.rules,
    }
    unit, grid = location.unit, location.grid

    passed: list[str] = []

    def find(graph: Graph) -> Units:
        if several:
            tracing = tracing_of(graph, **options)
            paths = [path for path in each if isinstance(path, str)]
            if inside or paths:
                chosen = holds(*paths) if each else lambda node: True
                tracing = tracing.unfolded(chosen, runnable=True)
            for path in paths:
                tracing, _ = find_inside(tracing, path, runnable=True)
            chosen_ones = numbers_of(tracing, each) if each else None
            return targets_of(tracing, chosen_ones, unit, grid)
        how: dict[str, Any] = {
            "unit": unit,
            "grid": grid,
            "assigned": assigned,
            "runnable": True,
            **options,
        }
        targets = [_located(graph, one, how) for one in each]
        if each == [None] and past_constants:
            (target,) = targets
            instead = before_constant_sum(target.tracing, target.tensor)
            if instead is not None:
                passed[:] = [target.receptive_field.layer]
                targets = [_located(graph, instead, how)]
        return targets, []

    return Prepared(full, weights, *find(graph), find, passed)


def _located(graph: Graph, one: int | str | None, how: Mapping[str, Any]) -> Target:
    """A unit of a tensor by its number or address, or of the last map."""
    return locate(graph, one, **how) if isinstance(one, str) else locate(graph, tensor=one, **how)


def calibrated_for(model: Model, targets: Sequence[Target], settings: Settings) -> Model:
    """The model, or a copy calibrated for some units if the settings ask for one."""
    if not (targets and settings.calibrate and has_batch_norm(model)):
        return model
    tensors = [target.tracing.outer(target.tensor) for target in targets]
    return calibrated(model, targets[0].graph, tensors, settings.inputs)


def targets_of(
    tracing: Tracing,
    chosen: Sequence[int] | None,
    unit: tuple[int, ...] | Literal["center"],
    grid: Sequence[int] | None,
) -> Units:
    """A unit of each of some tensors, or of every map; of maps without one the reason why."""
    tensors, skipped = maps(tracing) if chosen is None else (chosen, [])
    one_axis = {tensor for tensor in tensors if len(tracing.spatial_axes(tensor)) == 1}
    tokens = one_axis if len(tracing.input_axes) > 1 else set()
    if grid is not None and not tokens:
        raise InvalidInputError(
            argument="grid",
            expected="is for layers of tokens, with one spatial axis",
            received=f"grid={grid!r} for a model that has none",
        )
    targets = []
    for tensor in tensors:
        try:
            shape = grid if tensor in tokens else None
            targets.append(target_of(tracing, tensor, unit=unit, grid=shape))
        except KerasERFError as error:
            if chosen is not None:
                raise
            skipped.append((tracing.graph.tensors[tensor].name, str(error)))
    return targets, skipped


def check_backend() -> None:
    """Raises a `BackendError` unless Keras runs on TensorFlow."""
    if keras.config.backend() != "tensorflow":
        raise BackendError(
            expected="Gradients need Keras on TensorFlow: set the environment variable "
            "KERAS_BACKEND=tensorflow",
            received=f"backend={keras.config.backend()!r}",
        )


def numbers_of(tracing: Tracing, each: Sequence[int | str | None]) -> list[int]:
    """Tensors' numbers of the layers that were asked for, in the graph's order."""
    numbers = {tracing.graph.find(one) if isinstance(one, str) else one for one in each}
    graph = tracing.graph
    order = [*graph.inputs, *(number for node in graph.nodes for number in node.outputs)]
    return [number for number in order if number in numbers]


def fingerprint(model: Model) -> str:
    """Short hash of the model's weights, so that results name the network they are of."""
    digest = hashlib.blake2b(digest_size=8)
    for variable in model.weights:
        digest.update(np.ascontiguousarray(np.asarray(variable)).tobytes())
    return digest.hexdigest()
