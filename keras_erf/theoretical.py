"""Theoretical receptive fields: which input a unit can see.

Boxes go backwards from a concrete unit, in exact integers (`tracing`); size,
stride, padding and centre are read off them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.geometry import Box, ReceptiveField
from keras_erf.graph import Graph, build_graph
from keras_erf.tracing import Tracing

__all__ = ["FieldTable", "Target", "locate", "receptive_field", "receptive_fields"]

Unit = tuple[int, ...]

# Undefined sizes are tried at this many pixels, and then at multiples of the step.
FIRST_SIZE, SIZE_STEP, WHOLE_SIZE, MAXIMUM_TRIALS = 64, 32, 256, 8


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
            centre (of two equally near, the later one).
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

    def trace(self, unit: Unit) -> tuple[Box, str]:
        """Box and status of a unit inside the map."""
        tracing = self.tracing
        box, opened = tracing.box(self.tensor, unit, through_global=self.through_global)
        if box is None:
            how = "" if self.through_global else " without the layers that gather the whole space"
            raise InvalidInputError(
                f"`unit` {unit} of layer {self.name!r} sees nothing of the input{how}. Choose "
                f"another unit or layer. Received: through_global={self.through_global}"
            )
        entire = tuple((0, size) for size in tracing.spatial_shape(tracing.input))
        pairs = zip(box, entire, strict=True)
        if opened and all(start <= 0 and stop >= size for (start, stop), (_, size) in pairs):
            return entire, "whole"
        return box, "exact"

    def box(self, unit: Unit) -> Box:
        return self.trace(self.checked(unit))[0]

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
        """The unit whose field's centre is nearest the input's; of two, the later one.

        Local paths decide: a unit that sees everything is centred wherever it is.
        """
        tracing = self.tracing
        sizes = tracing.spatial_shape(self.tensor)
        extents = tracing.spatial_shape(tracing.input)
        axes = tracing.spatial_axes(self.tensor)
        unit = [size // 2 for size in sizes]
        follows = tracing.follows(self.tensor)
        moves = [  # Place in the unit, place in the input, stride.
            (axes.index(follows[axis][0]), place, follows[axis][1])
            for place, axis in enumerate(tracing.input_axes)
            if axis in follows and follows[axis][0] in axes
        ]

        def offsets() -> list[int] | None:
            """Twice the distance of the field's centre from the input's, per input axis."""
            box, _ = tracing.box(self.tensor, tuple(unit), through_global=False)
            return box and [sum(pair) - size for pair, size in zip(box, extents, strict=True)]

        # A field moves by its stride, so one jump leads there; the second allows for clipping.
        for _ in range(2):
            found = offsets()
            for place, axis, stride in moves if found else ():
                steps = math.ceil(Fraction(found[axis]) / (2 * stride) - Fraction(1, 2))
                unit[place] = min(max(unit[place] - steps, 0), sizes[place] - 1)
        # Between two pixels the field of an up-sampled map moves in jumps: look around.
        for place, axis, stride in moves:
            if stride.denominator == 1:
                continue
            reach, start = 2 * math.ceil(1 / stride), unit[place]
            nearest: tuple[int, int] | None = None
            for index in range(max(start - reach, 0), min(start + reach + 1, sizes[place])):
                unit[place] = index
                found = offsets()
                if found is not None:
                    candidate = (abs(found[axis]), -index)
                    nearest = candidate if nearest is None else min(nearest, candidate)
            unit[place] = start if nearest is None else -nearest[1]
        return tuple(unit)


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
    axes = tracing.spatial_axes(tensor)
    if not axes or not tracing.input_axes:
        maps = [graph.tensors[t].name for n in graph.nodes for t in n.outputs if _is_map(tracing, t)]
        raise InvalidInputError(
            f"`layer` must have spatial axes, and so must the input. Layers that do: "
            f"{', '.join(maps[-4:]) or 'none'}. Received: layer={name!r} of shape "
            f"{tracing.shape(tensor)} without the batch"
        )
    tracer = _UnitTracer(tracing, tensor, through_global)
    chosen = tracer.center_unit() if unit == "center" else tracer.checked(unit)
    box, status = tracer.trace(chosen)
    follows = tracing.follows(tensor)
    strides, padding = [], []
    for (start, _), axis in zip(box, tracing.input_axes, strict=True):
        own, stride = follows.get(axis, (None, Fraction(0)))
        index = chosen[axes.index(own)] if own in axes else 0
        strides.append(stride if stride.denominator != 1 else int(stride))
        # Unit u starts at u * stride - padding; a whole field starts at 0 for every unit.
        padding.append(0 if status == "whole" else math.floor(index * stride) - start)
    return ReceptiveField(
        layer=name,
        input=input_name,
        unit=chosen,
        input_size=tracing.spatial_shape(tracing.input),
        output_size=tracing.spatial_shape(tensor),
        size=tuple(stop - start for start, stop in box),
        stride=tuple(strides),
        padding=tuple(padding),
        status=status,
        tracer=tracer,
    )


def _is_map(tracing: Tracing, tensor: int) -> bool:
    """Whether a tensor depends on the input and has more than one spatial position."""
    return tracing.reaches(tensor) and math.prod(tracing.spatial_shape(tensor)) > 1


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
        sizes = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,) * rank
        if len(sizes) != rank or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
            raise InvalidInputError(
                f"`input_shape` must give {rank} positive spatial sizes, without batch and "
                f"channels. Received: input_shape={input_shape!r}"
            )
        return Tracing(graph.resized(_for_inputs(graph, sizes)), input)
    if all(None not in graph.tensors[number].shape for number in graph.inputs):
        defined = all(None not in tensor.shape for tensor in graph.tensors)
        return Tracing(graph if defined else graph.resized({}), input)
    size = FIRST_SIZE
    for _ in range(MAXIMUM_TRIALS):
        tracing = Tracing(graph.resized(_for_inputs(graph, (size,) * rank, keep=True)), input)
        tensor = _last_map(tracing) if wanted is None else wanted
        if tensor in tracing.graph.failures:
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


def _for_inputs(
    graph: Graph, sizes: Sequence[int], *, keep: bool = False
) -> dict[int, tuple[int, ...]]:
    """`sizes` for every input of that many spatial axes; with `keep` defined ones stay."""
    chosen = {}
    for number in graph.inputs:
        own = [graph.tensors[number].shape[axis] for axis in graph.spatial_axes(number)]
        if len(own) == len(sizes):
            pairs = zip(own, sizes, strict=True)
            chosen[number] = tuple(
                known if keep and known is not None else int(new) for known, new in pairs
            )
    return chosen
