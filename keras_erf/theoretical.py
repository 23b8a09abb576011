"""Theoretical receptive fields: which input a unit can see.

Boxes go backwards from a concrete unit, in exact integers (`tracing`); size,
stride, padding and centre are read off them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.geometry import Box, ReceptiveField
from keras_erf.graph import Graph, build_graph
from keras_erf.tracing import Course, Seen, Tracing

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


@dataclass(frozen=True, eq=False)
class _UnitTracer:
    """Answers for the units of one tensor; see `geometry.Tracer`."""

    tracing: Tracing = field(repr=False)
    tensor: int
    through_global: bool

    @property
    def name(self) -> str:
        return self.tracing.graph.tensors[self.tensor].name

    def trace(self, unit: Unit) -> tuple[Seen, str]:
        """What a unit inside the map sees, and the status of that."""
        tracing = self.tracing
        seen = tracing.see(self.tensor, unit, through_global=self.through_global)
        if seen is None:
            how = "" if self.through_global else " without the layers that gather the whole space"
            raise InvalidInputError(
                f"`unit` {unit} of layer {self.name!r} sees nothing of the input{how}. Choose "
                f"another unit or layer. Received: through_global={self.through_global}"
            )
        entire = tuple((0, size) for size in tracing.spatial_shape(tracing.input))
        full = [a <= 0 and b >= size for (a, b), (_, size) in zip(seen.box, entire, strict=True)]
        if seen.gathered and all(full):
            return replace(seen, box=entire), "whole"
        # What a layer takes in whole has no padding around it.
        box = tuple(
            entire[place] if full[place] and axis in seen.gathered else seen.box[place]
            for place, axis in enumerate(tracing.input_axes)
        )
        return replace(seen, box=box), "exact"

    def box(self, unit: Unit) -> Box:
        return self.trace(self.checked(unit))[0].box

    def visible(self, unit: Unit) -> Box:
        support = self.support(unit)
        lines = (
            np.flatnonzero(support.any(axis=tuple(set(range(support.ndim)) - {axis})))
            for axis in range(support.ndim)
        )
        return tuple((int(line[0]), int(line[-1]) + 1) if line.size else (0, 0) for line in lines)

    def support(self, unit: Unit) -> np.ndarray:
        return self.tracing.mask(
            self.tensor, self.checked(unit), through_global=self.through_global
        )

    def checked(self, unit: Any) -> Unit:
        """`unit` as a tuple of ints inside the map.

        Raises:
            InvalidInputError: It is not.
        """
        sizes = self.tracing.spatial_shape(self.tensor)
        given = unit if isinstance(unit, (tuple, list)) else (unit,)
        if len(given) != len(sizes) or not all(
            isinstance(index, (int, np.integer)) and 0 <= index < size
            for index, size in zip(given, sizes, strict=True)
        ):
            raise InvalidInputError(
                "`unit` must be 'center' or an index for each axis, inside the map of layer "
                f"{self.name!r}, whose shape is {sizes}. Received: unit={unit!r}"
            )
        return tuple(int(index) for index in given)

    def center_unit(self) -> Unit:
        """The unit whose field's centre is nearest the input's.

        Of two as near it is the later one; of more, which up-sampling makes, the
        middle one. Local paths decide: a unit that sees everything is centred wherever it is.
        """
        tracing = self.tracing
        sizes = tracing.spatial_shape(self.tensor)
        axes = tracing.spatial_axes(self.tensor)
        courses = tracing.follows(self.tensor)
        moves = [  # Place in the unit, place in the input, course.
            (axes.index(courses[axis].axis), place, courses[axis])
            for place, axis in enumerate(tracing.input_axes)
            if axis in courses and courses[axis].axis in axes
        ]
        # A field moves by its stride, so one jump leads there; the second allows for clipping.
        unit = self._seeing([size // 2 for size in sizes], moves)
        for _ in range(2):
            found = self._offsets(unit)
            if found is None:
                break
            for place, axis, course in moves:
                steps = math.ceil(Fraction(found[axis]) / (2 * course.stride) - Fraction(1, 2))
                unit[place] = min(max(unit[place] - steps, 0), sizes[place] - 1)
            unit = self._seeing(unit, moves)
        # Where fields do not move evenly, one that is near may be nearer.
        for place, axis, course in moves:
            around = _around(course, unit[place], sizes[place])
            nearest: dict[int, list[int]] = {}
            for index in around if len(around) > 1 else ():
                found = self._offsets([*unit[:place], index, *unit[place + 1 :]])
                if found is not None:
                    nearest.setdefault(abs(found[axis]), []).append(index)
            if nearest:
                equals = nearest[min(nearest)]
                unit[place] = equals[len(equals) // 2]
        return tuple(unit)

    def _offsets(self, unit: Sequence[int]) -> list[int] | None:
        """Twice the distance of the field's centre from the input's, per input axis."""
        seen = self.tracing.see(self.tensor, tuple(unit), through_global=False)
        if seen is None:
            return None
        extents = self.tracing.spatial_shape(self.tracing.input)
        return [a + b - size for (a, b), size in zip(seen.box, extents, strict=True)]

    def _seeing(self, unit: list[int], moves: Iterable[tuple[int, int, Course]]) -> list[int]:
        """The unit, or the nearest around it that sees anything; up-sampling may leave holes."""
        if self._offsets(unit) is not None:
            return unit
        sizes = self.tracing.spatial_shape(self.tensor)
        around = [range(index, index + 1) for index in unit]
        for place, _, course in moves:
            around[place] = _around(course, unit[place], sizes[place])
        near = sorted(itertools.product(*around), key=lambda one: math.dist(one, unit))
        return list(next((one for one in near if self._offsets(one) is not None), unit))


def _around(course: Course, index: int, size: int) -> range:
    """The indices among which the best is sought, near one that is about right."""
    if not course.steady:
        return range(size)
    # Fields repeat after a period: those as near as the best are within two.
    reach = 0 if course.period == 1 else 2 * course.period
    return range(max(index - reach, 0), min(index + reach + 1, size))


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
    tracer = _UnitTracer(tracing, tensor, through_global)
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
