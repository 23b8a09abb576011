"""Theoretical receptive fields: which input a unit can see.

Boxes go backwards from a concrete unit, in exact integers (`tracing`); size,
stride, padding and centre are read off them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.geometry import ReceptiveField
from keras_erf.graph import Graph, build_graph
from keras_erf.tracing import Tracing
from keras_erf.units import UnitTracer

__all__ = ["FieldTable", "Target", "locate", "receptive_field", "receptive_fields"]

Unit = tuple[int, ...]

# Undefined sizes are tried at this many pixels, and then at multiples of the step.
FIRST_SIZE, SIZE_STEP, WHOLE_SIZE, MAXIMUM_TRIALS = 64, 32, 256, 12
# Sizes at which every layer should have a map, for finding the last one.
AMPLE_SIZES = (1024, 8192)


def receptive_field(
    model: Any,
    layer: Any = None,
    *,
    unit: Unit | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
) -> ReceptiveField:
    """The exact theoretical receptive field of one unit of a layer.

    Example:

    ```python
    model = keras.applications.ResNet50(weights=None)
    field = keras_erf.receptive_field(model, "conv3_block4_out")
    field.size, field.stride, field.padding  # (99, 99), (8, 8), (49, 49)
    ```

    Args:
        model: A Functional or Sequential Keras model.
        layer: Layer name, path (`"backbone/conv1"`), `Layer` or `KerasTensor`;
            `None` is the last layer with spatial axes.
        unit: Index of the unit in the layer's map, one entry per spatial axis,
            or `"center"`: the unit whose field's centre is nearest the input's
            centre (of two equally near the later, of more the middle one).
        input: Name of the input; `None` is the first.
        input_shape: Spatial shape to give the inputs, for fully convolutional
            models; one number stands for all axes. `None` keeps the model's
            own, and where that is undefined one large enough to hold the field
            is taken.
        through_global: Whether paths through layers that gather the whole
            space (global pooling, squeeze-excite gates) count. `False` gives
            the field of the local paths.

    Returns:
        A `ReceptiveField`; lengths in input pixels.

    Raises:
        InvalidInputError: An argument does not fit the model.
        UnknownLayerError: `layer` is not in the model; the nearest are listed.
        UnsupportedLayerError: No rule knows a layer on the way.
    """
    return locate(
        model,
        layer,
        unit=unit,
        input=input,
        input_shape=input_shape,
        through_global=through_global,
    ).receptive_field


@dataclass(frozen=True)
class FieldTable:
    """Receptive fields of the centre units of a model's layers, in graph order.

    Args:
        fields: One field per layer with more than one spatial position.
        skipped: Pairs of a layer and the reason it has no field here.
    """

    fields: tuple[ReceptiveField, ...]
    skipped: tuple[tuple[str, str], ...]

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with one row per layer; sizes are tuples, one entry per axis."""
        import pandas as pd

        columns = ["layer", "output_size", "size", "stride", "padding", "center", "status"]
        rows = [
            (f.layer, f.output_size, f.size, f.stride, f.padding, f.center(), f.status)
            for f in self.fields
        ]
        return pd.DataFrame(rows, columns=columns)


def receptive_fields(
    model: Any,
    *,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
) -> FieldTable:
    """The theoretical receptive field of every layer with spatial axes.

    Layers behind one that no rule knows, and layers the chosen size does not
    fit, are listed in the table's `skipped` with the reason.

    Args:
        model: A Functional or Sequential Keras model.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        through_global: As in `receptive_field`.

    Returns:
        A `FieldTable`.

    Raises:
        InvalidInputError: An argument does not fit the model.
    """
    graph = build_graph(model)
    tracing = _sized(graph, None, graph.input_number(input), input_shape, through_global)
    fields, skipped = [], []
    for node in tracing.graph.nodes:
        for tensor in node.outputs:
            try:
                if _is_map(tracing, tensor):
                    fields.append(_field(tracing, tensor, "center", through_global))
            except KerasERFError as error:
                skipped.append((node.name, str(error)))
    return FieldTable(tuple(fields), tuple(skipped))


@dataclass(frozen=True, eq=False)
class Target:
    """A unit of a layer, found in a graph of definite sizes.

    Args:
        graph: The model's graph at the input size in force.
        input: Number of the analysed input tensor.
        tensor: Number of the layer's tensor.
        spatial_axes: Spatial axes of the layer's tensor, the batch not counted.
        receptive_field: Theoretical field of the unit.
    """

    graph: Graph
    input: int
    tensor: int
    spatial_axes: tuple[int, ...]
    receptive_field: ReceptiveField


def locate(
    model: Any,
    layer: Any = None,
    *,
    unit: Unit | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
) -> Target:
    """Finds a unit in a model, and its receptive field; arguments as `receptive_field`."""
    graph = build_graph(model)
    wanted = None if layer is None else graph.find(layer)
    tracing = _sized(graph, wanted, graph.input_number(input), input_shape, through_global)
    tensor = _last_map(tracing) if wanted is None else wanted
    found = _field(tracing, tensor, unit, through_global)
    return Target(tracing.graph, tracing.input, tensor, tracing.spatial_axes(tensor), found)


def _field(
    tracing: Tracing, tensor: int, unit: Unit | Literal["center"], through_global: bool
) -> ReceptiveField:
    """The field of a unit of a tensor, with the figures derived from its box."""
    graph = tracing.graph
    name, input_name = graph.tensors[tensor].name, graph.tensors[tracing.input].name
    if not tracing.reaches(tensor):
        raise InvalidInputError(
            f"`layer` {name!r} does not depend on input {input_name!r}. Name another input or "
            f"another layer. Received: layer={name!r}, input={input_name!r}"
        )
    shape, axes = tracing.shape(tensor), tracing.spatial_axes(tensor)
    if not tracing.input_axes:
        raise InvalidInputError(
            "`input` must have spatial axes. Name another input of the model, if it has one. "
            f"Received: input={input_name!r} of shape {tracing.shape(tracing.input)} without the "
            "batch"
        )
    if not axes:
        maps = [graph.tensors[one].name for one in _maps(tracing)]
        raise InvalidInputError(
            f"`layer` must have spatial axes. Layers that do: {', '.join(maps[-4:]) or 'none'}. "
            f"Received: layer={name!r} of shape {shape} without the batch"
        )
    tracer = UnitTracer(tracing, tensor, through_global)
    centered = isinstance(unit, str) and unit == "center"
    chosen = tracer.center_unit() if centered else tracer.checked(unit)
    seen, status = tracer.trace(chosen)
    courses = tracing.follows(tensor)
    strides: list[int | Fraction] = []
    padding = []
    for (start, _), axis in zip(seen.box, tracing.input_axes, strict=True):
        course = courses.get(axis)
        stride = course.stride if course else Fraction(0)
        moving = course is not None and course.axis in axes and axis not in seen.gathered
        index = chosen[axes.index(course.axis)] if course and moving else 0
        strides.append(stride if stride.denominator != 1 else int(stride))
        # Unit u starts at u * stride - padding; what is gathered starts there for every unit.
        padding.append(math.floor(index * stride) - start)
    return ReceptiveField(
        layer=name,
        input=input_name,
        unit=chosen,
        input_size=tracing.spatial_shape(tracing.input),
        output_size=tracing.spatial_shape(tensor),
        size=tuple(stop - start for start, stop in seen.box),
        stride=tuple(strides),
        padding=tuple(padding),
        status=status,
        tracer=tracer,
    )


def _is_map(tracing: Tracing, tensor: int) -> bool:
    """Whether a tensor depends on the input and has more than one spatial position."""
    return tracing.reaches(tensor) and math.prod(tracing.spatial_shape(tensor)) > 1


def _maps(tracing: Tracing) -> list[int]:
    """The tensors with more than one position whose field is known, in graph order."""
    found = []
    for node in tracing.graph.nodes:
        for tensor in node.outputs:
            with contextlib.suppress(KerasERFError):
                if _is_map(tracing, tensor):
                    found.append(tensor)
    return found


def _last_map(tracing: Tracing) -> int:
    """The last tensor with spatial axes whose field is known."""
    reason = ""
    for node in reversed(tracing.graph.nodes):
        for tensor in node.outputs:
            try:
                if _is_map(tracing, tensor):
                    return tensor
            except KerasERFError as error:
                reason = reason or f" ({error})"
    raise InvalidInputError(
        "`layer` must be a layer with spatial axes and a known field; the model has none"
        f"{reason}. Received: layer=None for model {tracing.graph.name!r}"
    )


def _sized(
    graph: Graph,
    wanted: int | None,
    input: int,
    input_shape: int | Sequence[int] | None,
    through_global: bool,
) -> Tracing:
    """The graph at `input_shape`; sizes nobody defines are made large enough for the field."""
    rank = len(graph.spatial_axes(input))
    if input_shape is not None:
        sizes: tuple[Any, ...] = (input_shape,) * rank
        if isinstance(input_shape, (tuple, list)):
            sizes = tuple(input_shape)
        if len(sizes) != rank or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
            raise InvalidInputError(
                f"`input_shape` must give {rank} positive spatial sizes, without batch and "
                f"channels. Received: input_shape={input_shape!r}"
            )
        chosen = {n: sizes for n in graph.inputs if len(graph.spatial_axes(n)) == rank}
        return Tracing(graph.resized(chosen), input)
    if all(None not in graph.tensors[number].shape for number in graph.inputs):
        defined = all(None not in tensor.shape for tensor in graph.tensors)
        return Tracing(graph if defined else graph.resized({}), input)
    last = wanted is None
    tensor = _ample_last_map(graph, input) if wanted is None else wanted
    size = FIRST_SIZE
    for _ in range(MAXIMUM_TRIALS):
        tracing = Tracing(graph.resized(_filled(graph, size)), input)
        if tensor in tracing.graph.failures or (last and not _is_map(tracing, tensor)):
            size *= 2
            continue
        found = _field(tracing, tensor, "center", through_global)
        inside = zip(found.box(), found.input_size, strict=True)
        if found.status == "whole" and size < WHOLE_SIZE:
            size = WHOLE_SIZE
        elif found.status == "whole" or all(a >= 0 and b <= extent for (a, b), extent in inside):
            break
        else:
            room = max(found.size) + 2 * max(math.ceil(stride) for stride in found.stride)
            size = max(size + SIZE_STEP, math.ceil(room / SIZE_STEP) * SIZE_STEP)
    return tracing


def _ample_last_map(graph: Graph, input: int) -> int:
    """The last layer with spatial axes of a model of undefined sizes; small inputs may lose it."""
    for size in AMPLE_SIZES:
        tracing = Tracing(graph.resized(_filled(graph, size)), input)
        if not tracing.graph.failures:
            break
    return _last_map(tracing)


def _filled(graph: Graph, size: int) -> dict[int, tuple[int, ...]]:
    """Spatial shapes of the inputs, `size` where undefined."""
    shapes = {}
    for number in graph.inputs:
        own = (graph.tensors[number].shape[axis] for axis in graph.spatial_axes(number))
        shapes[number] = tuple(size if known is None else known for known in own)
    return shapes
