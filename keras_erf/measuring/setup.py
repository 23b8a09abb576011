"""Finds the units that are measured, in a model of full precision, calibrated if asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_erf.errors import BackendError, InvalidInputError, KerasERFError
from keras_erf.fields.sizing import Rules, maps
from keras_erf.fields.theoretical import Target, locate, target_of, tracing_of
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Graph, build_graph
from keras_erf.legacy.in_memory import modern_model
from keras_erf.measuring.calibrating import calibrated, has_batch_norm
from keras_erf.measuring.data_sizes import sizes_of_data
from keras_erf.measuring.precision import in_full_precision
from keras_erf.measuring.settings import Settings

__all__ = [
    "Prepared",
    "calibrated_for",
    "check_backend",
    "fingerprint",
    "prepared",
]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Units of a model, found once for all that is done with them.

    Args:
        model: What is measured: the model given, or a copy in full precision, or calibrated.
        weights: Fingerprint of the model's weights, before they are calibrated.
        targets: The units, all of one graph and one input.
        skipped: Pairs of a layer that has no such unit and the reason.
    """

    model: keras.Model
    weights: str
    targets: list[Target]
    skipped: list[tuple[str, str]]


def prepared(
    model: Any,
    layers: Any,
    settings: Settings,
    *,
    unit: tuple[int, ...] | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
    several: bool = False,
    assigned: bool = True,
) -> Prepared:
    """Finds the units that are to be measured; arguments as `probe`.

    Args:
        model: The user's model, whose layers and tensors may be what names a layer.
        layers: Layers, `None` among them for the last map; with `several` one layer or some, and
            `None` for every map.
        settings: Whether to calibrate, and on what.
        unit: The unit of each layer.
        input: Name of the input.
        input_shape: Spatial sizes for the inputs.
        grid: Rows and columns of layers of tokens.
        rules: Rules for unknown layers.
        several: Whether layers without such a unit are skipped.
        assigned: Whether zeros among the weights will stay.
    """
    model = modern_model(model)
    graph = build_graph(model)
    numbers = numbers_of(graph, layers) if several and layers is not None else None
    each = [] if several else [None if layer is None else graph.find(layer) for layer in layers]
    ready = in_full_precision(model, graph)
    if ready is not model:
        graph = build_graph(ready)
    if input_shape is None:
        input_shape = sizes_of_data(graph, graph.input_number(input), settings.inputs)
    weights = fingerprint(model)
    options: dict[str, Any] = {"input": input, "input_shape": input_shape, "rules": rules}

    def find(graph: Graph) -> tuple[list[Target], list[tuple[str, str]]]:
        if several:
            return targets_of(tracing_of(graph, **options), numbers, unit, grid)
        unit_options: dict[str, Any] = {"unit": unit, "grid": grid, "assigned": assigned}
        return [locate(graph, tensor=tensor, **options, **unit_options) for tensor in each], []

    targets, skipped = find(graph)
    copy = calibrated_for(ready, targets, settings)
    if copy is not ready:
        targets, skipped = find(build_graph(copy))
    return Prepared(copy, weights, targets, skipped)


def calibrated_for(
    model: keras.Model, targets: Sequence[Target], settings: Settings
) -> keras.Model:
    """The model, or a copy calibrated for some units if the settings ask for one."""
    if not (targets and settings.calibrate and has_batch_norm(model)):
        return model
    tensors = [target.tensor for target in targets]
    return calibrated(model, targets[0].graph, tensors, settings.inputs)


def targets_of(
    tracing: Tracing,
    chosen: Sequence[int] | None,
    unit: tuple[int, ...] | Literal["center"],
    grid: Sequence[int] | None,
) -> tuple[list[Target], list[tuple[str, str]]]:
    """A unit of each of some tensors, or of every map; of maps without one the reason why."""
    tensors, skipped = maps(tracing) if chosen is None else (chosen, [])
    one_axis = {tensor for tensor in tensors if len(tracing.spatial_axes(tensor)) == 1}
    tokens = one_axis if len(tracing.input_axes) > 1 else set()
    if grid is not None and not tokens:
        raise InvalidInputError(
            f"`grid` is for layers of tokens, with one spatial axis. Received: grid={grid!r} for a "
            "model that has none"
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
            "Gradients need Keras on TensorFlow: set the environment variable "
            f"KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )


def numbers_of(graph: Graph, layers: Any) -> list[int]:
    """Tensors' numbers of the layers that were asked for, one or some, in the graph's order."""
    if not isinstance(layers, (list, tuple)):
        layers = [layers]
    numbers = sorted({graph.find(layer) for layer in layers})
    if not numbers:
        raise InvalidInputError("`layers` must name at least one layer. Received: none")
    return numbers


def fingerprint(model: Any) -> str:
    """Short hash of the model's weights, so that results name the network they are of."""
    digest = hashlib.blake2b(digest_size=8)
    for variable in model.weights:
        digest.update(np.ascontiguousarray(np.asarray(variable)).tobytes())
    return digest.hexdigest()
