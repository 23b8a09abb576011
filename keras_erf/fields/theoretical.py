"""Theoretical receptive fields: which input a unit can see.

What the units of a layer see is carried to it in exact integers (`tracing`);
size, stride, padding and centre are read off that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from keras_erf.algebra.geometry import ReceptiveField, as_index
from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.fields.choosing import by_place, is_place, only_one
from keras_erf.fields.input_size import Rules, default_layer, maps, sized
from keras_erf.fields.inside import check_inside, enclosing, find_inside, found
from keras_erf.fields.size_range import size_ranges
from keras_erf.fields.tokens import TokenGrid, checked_grid, found_grid, given_grid
from keras_erf.fields.tracing import Tracing
from keras_erf.fields.units import UnitTracer
from keras_erf.graph import Graph, started
from keras_erf.types import KerasTensor, Layer, Model

__all__ = [
    "FieldTable",
    "Rules",
    "Target",
    "locate",
    "receptive_field",
    "receptive_fields",
    "target_of",
    "tracing_of",
]

Unit = tuple[int, ...]


def receptive_field(
    model: Model,
    layer: str | int | Layer | KerasTensor | None = None,
    *,
    unit: Unit | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
) -> ReceptiveField:
    """The exact theoretical receptive field of one unit of a layer.

    Examples:
        >>> model = keras_erf.zoo.build("cifar_resnet14")
        >>> field = keras_erf.receptive_field(model, "stage2_block2_out")
        >>> field.size, field.stride, field.padding, field.status
        ((25, 25), (2, 2), (12, 12), 'exact')
        >>> field.unit, field.box(), field.visible()
        ((8, 8), ((4, 29), (4, 29)), ((4, 29), (4, 29)))

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        layer: Layer name, path in nested models and inside of composite layers
            (`"encoder/block_3/mlp"`), `Layer` or `KerasTensor`; an output of several
            (`"fpn:P3"`, `"lstm:0"`), the value before an activation (`"conv:linear"`); a
            place in the table of layers (-1 is the last) or a pattern (`"*_out"`).
            `None` is the last layer with more than one position at the model's own size.
        unit: Index of the unit in the layer's map, one entry per spatial axis,
            or `"center"`: the unit whose field's centre is nearest the input's
            centre (of two equally near the later, of more the middle one). A
            vector, as global pooling makes it, is one unit, `()`.
        input: Name of the input; `None` is the first with spatial axes.
        input_shape: Spatial shape to give the inputs, for fully convolutional
            models; one number stands for all axes. `None` keeps the model's
            own, and where that is undefined one large enough to hold the field
            is taken.
        through_global: Whether paths through layers that gather the whole
            space (global pooling, squeeze-excite gates, attention, recurrent
            states) count. `False` gives the field of the local paths.
        grid: Rows and columns of a layer of tokens, whose units are then named
            by both. `None` finds them where the tokens come from a map, and
            takes a square for a `unit` of as many indices as the input has
            axes. Tokens in front of the grid's (a class token) are left out.
        rules: Rules for unknown layers, or other ones for those that are
            known: `{MyLayer: rule}`; see `keras_erf.rules`. Without one an
            unknown layer is traced, or else measured by itself.

    Returns:
        A `ReceptiveField`; lengths in input pixels.

    Raises:
        InvalidInputError: An argument does not fit the model.
        UnknownLayerError: `layer` is not in the model; the nearest are listed.
        UnsupportedLayerError: No rule knows a layer on the path, and it cannot
            be measured.
    """
    return locate(
        model,
        layer,
        unit=unit,
        input=input,
        input_shape=input_shape,
        through_global=through_global,
        grid=grid,
        rules=rules,
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

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"<FieldTable of {len(self.fields)} layers{skipped}>"

    def _repr_html_(self) -> str:
        """What notebooks show: the table."""
        return str(self.to_frame().to_html(index=False, border=0, max_rows=20))

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with one row per layer; sizes are tuples, one entry per axis."""
        import pandas as pd

        columns = ["layer", "output_size", "size", "size_range", "size_median"]
        columns += ["stride", "padding", "center", "status"]
        rows = [
            [f.center() if name == "center" else getattr(f, name) for name in columns]
            for f in self.fields
        ]
        return pd.DataFrame(rows, columns=columns)


def receptive_fields(
    model: Model,
    *,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    inside: bool = False,
    rules: Rules | None = None,
) -> FieldTable:
    """The theoretical receptive field of every layer with more than one position.

    Layers behind one that no rule knows, and layers the chosen size does not
    fit, are listed in the table's `skipped` with the reason.

    Examples:
        >>> table = keras_erf.receptive_fields(
        ...     keras_erf.zoo.build("subsample", depth=3, positions=(2,))
        ... )
        >>> print(table.to_frame()[["layer", "size", "stride"]].to_string(index=False))
            layer   size stride
            conv1 (3, 3) (1, 1)
        conv2_pad (3, 3) (1, 1)
            conv2 (5, 5) (2, 2)
            conv3 (9, 9) (2, 2)

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        through_global: As in `receptive_field`.
        inside: Whether layers inside of composite ones have rows of their own, under paths such
            as `"encoder/block_3/mlp"`.
        rules: As in `receptive_field`.

    Returns:
        A `FieldTable`.

    Raises:
        InvalidInputError: An argument does not fit the model.
    """
    check_inside(inside)
    tracing = tracing_of(
        model, input=input, input_shape=input_shape, through_global=through_global, rules=rules
    )
    if inside:
        tracing = tracing.unfolded(lambda node: True)
    fields = []
    tensors, skipped = maps(tracing)
    for tensor in tensors:
        try:
            fields.append(_field(tracing, tensor, "center", through_global)[0])
        except KerasERFError as error:
            skipped.append((tracing.graph.tensors[tensor].name, str(error)))
    return FieldTable(tuple(fields), tuple(skipped))


def tracing_of(
    model: Model,
    *,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    rules: Rules | None = None,
) -> Tracing:
    """The fields of a model's graph at the size asked for; arguments as `receptive_fields`."""
    _check_rules(rules)
    start = started(model, input_shape=input_shape)
    graph, input_shape = start.graph, start.input_shape
    return sized(graph, None, graph.input_number(input), input_shape, through_global, rules)


@dataclass(frozen=True, eq=False)
class Target:
    """A unit of a layer, found in a graph of definite sizes.

    Args:
        tracing: Fields of the model's graph at the current input size.
        tensor: Number of the layer's tensor.
        spatial_axes: Spatial axes of the layer's tensor, the batch not counted.
        position: The unit's index along each of them; of a unit on a grid of
            tokens, that of its token.
        receptive_field: Theoretical field of the unit.
        grid: Rows and columns of the layer's tokens, if units are named by them.
    """

    tracing: Tracing
    tensor: int
    spatial_axes: tuple[int, ...]
    position: Unit
    receptive_field: ReceptiveField
    grid: TokenGrid | None = None

    @property
    def graph(self) -> Graph:
        """The model's graph at the current input size."""
        return self.tracing.graph

    @property
    def input(self) -> int:
        """Number of the analysed input tensor."""
        return self.tracing.input


def locate(
    model: Model,
    layer: str | int | Layer | KerasTensor | None = None,
    *,
    unit: Unit | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
    tensor: int | None = None,
    assigned: bool = True,
    runnable: bool = False,
) -> Target:
    """Finds a unit in a model, and its receptive field; arguments as `receptive_field`.

    `tensor` is the number of the layer's tensor, in place of `layer`; `assigned=False`
    is for models whose weights will change, and so will zeros among them; `runnable=True` for
    units that will be computed.
    """
    _check_rules(rules)
    start = started(model, input_shape=input_shape, assigned=assigned)
    graph, input_shape = start.graph, start.input_shape
    layer = only_one(graph, start.named(layer, model))
    if isinstance(layer, int) and is_place(layer):
        place = graph.input_number(input)
        tensor = by_place(layer, lambda: sized(graph, None, place, input_shape, True, rules))
        layer = None
    wanted = tensor if layer is None else found(graph, layer)
    around = None if layer is None or wanted is not None else enclosing(graph, layer)
    if around is not None:
        wanted = around.outputs[0]
    number = graph.input_number(input)
    tracing = sized(graph, wanted, number, input_shape, through_global, rules, assigned=assigned)
    if around is not None:
        tracing, wanted = find_inside(tracing, layer, runnable=runnable)
    if wanted is None:
        wanted = default_layer(graph, tracing, input_shape, rules)
    return target_of(tracing, wanted, unit=unit, through_global=through_global, grid=grid)


def target_of(
    tracing: Tracing,
    tensor: int,
    *,
    unit: Unit | Literal["center"] = "center",
    through_global: bool = True,
    grid: Sequence[int] | None = None,
) -> Target:
    """A unit of a tensor whose number is known; arguments as `receptive_field`."""
    field, tracer = _field(tracing, tensor, unit, through_global, grid)
    return Target(tracing, tensor, tracer.axes, tracer.position(field.unit), field, tracer.grid)


def _field(
    tracing: Tracing,
    tensor: int,
    unit: Unit | Literal["center"],
    through_global: bool,
    grid: Sequence[int] | None = None,
) -> tuple[ReceptiveField, UnitTracer]:
    """The field of a unit of a tensor, and what traces the tensor's units."""
    graph = tracing.graph
    name, input_name = graph.tensors[tensor].name, graph.tensors[tracing.input].name
    if not tracing.is_reached(tensor):
        raise InvalidInputError(
            argument="layer",
            expected=f"{name!r} does not depend on input {input_name!r}",
            remedy="Name another input or another layer",
            received=f"layer={name!r}, input={input_name!r}",
        )
    tracer = UnitTracer(tracing, tensor, through_global)
    # A layer without a shape at this size is named before one that it depends on.
    _ = tracer.shape
    if not tracing.input_axes:
        raise InvalidInputError(
            argument="input",
            expected="must have spatial axes and a channel axis",
            remedy="Name another input, or give a wave form a channel axis, "
            "keras.Input((length, 1)), and take of token ids a model that "
            "starts behind their embedding",
            received=f"input={input_name!r} of shape {tracing.shape(tracing.input)} "
            "without the batch",
        )
    tracer = replace(tracer, grid=_token_grid(tracer, unit, grid))
    centered = isinstance(unit, str) and unit == "center"
    unit_index = tracer.center_unit() if centered else tracer.checked(unit)
    trace = tracer.trace(unit_index)
    strides = tracer.strides()
    padding: list[int | None] = []
    for place, ((start, _), stride) in enumerate(zip(trace.box, strides, strict=True)):
        index = tracer.index_along(place, unit_index)
        if stride is None or not (
            trace.gathered[place] or tracer.moves_so(place, unit_index, start)
        ):
            padding.append(None)
            continue
        # Unit u starts at u * stride - padding; what is gathered starts there for every unit.
        moved = 0 if trace.gathered[place] else math.floor(index * stride)
        padding.append(moved - start)
    size = tuple(stop - start for start, stop in trace.box)
    size_range, size_median = size_ranges(tracer, size)
    field = ReceptiveField(
        layer=name,
        input=input_name,
        unit=unit_index,
        input_size=tracer.extents,
        output_size=tracer.sizes,
        size=size,
        stride=tuple(
            int(step) if step is not None and step.denominator == 1 else step for step in strides
        ),
        padding=tuple(padding),
        status=trace.status,
        tracer=tracer,
        size_range=size_range,
        size_median=size_median,
    )
    return field, tracer


def _token_grid(
    tracer: UnitTracer, unit: Unit | Literal["center"], grid: Sequence[int] | None
) -> TokenGrid | None:
    """The grid of a tensor of tokens, by which its units are named; `None` for other tensors."""
    axes, rank = tracer.axes, len(tracer.extents)
    count = 0 if isinstance(unit, str) else len(as_index(unit))
    if grid is not None and len(axes) != 1:
        raise InvalidInputError(
            argument="grid",
            expected="is for a layer of tokens, with one spatial axis",
            received=f"grid={grid!r} for a map of {tracer.sizes}",
        )
    if not len(axes) == 1 < rank or count == 1:
        return None
    reaches = tracer.known(through_global=False).reaches
    tokens = found_grid(reaches, axes[0], tracer.shape) if reaches is not None else None
    if tokens is None and (grid is not None or count == rank):
        return given_grid(grid, tracer.shape[axes[0]], rank)
    if tokens is not None and grid is not None:
        checked_grid(grid, tokens)
    return tokens


def _check_rules(rules: Any) -> None:
    """Raises unless `rules` are functions by class."""
    known = rules is None or (
        isinstance(rules, Mapping)
        and all(isinstance(kind, type) and callable(rule) for kind, rule in rules.items())
    )
    if not known:
        raise InvalidInputError(
            argument="rules",
            expected="must be functions by layer class, such as {MyLayer: rule}",
            received=f"rules={rules!r}",
        )
