"""Fields along single paths: the smallest and the largest, and layers that add no context."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_erf.algebra.intervals import Reach
from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.fields.theoretical import Rules, locate, tracing_of
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Node, started
from keras_erf.types import KerasTensor, Layer, Model

__all__ = ["PathSizes", "path_sizes", "unproductive_layers"]


@dataclass(frozen=True)
class PathSizes:
    """Sizes of the fields of a layer's units over single paths, in input pixels.

    Args:
        layer: Name of the layer.
        smallest: Along each axis of the input, the smallest over all paths.
        largest: The largest.
    """

    layer: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]


def path_sizes(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    rules: Rules | None = None,
) -> PathSizes:
    """The smallest and the largest field of a layer's units over single paths.

    A residual network's units see far along one path and hardly anything along
    another. Paths through layers that gather the whole space do not count.

    Examples:
        >>> keras_erf.path_sizes(keras_erf.zoo.build("skip"))
        PathSizes(layer='block10_out', smallest=(3, 3), largest=(43, 43))

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        layer: As in `receptive_field`.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        rules: As in `receptive_field`.

    Returns:
        A `PathSizes`.

    Raises:
        InvalidInputError: No local path leads from the input to the layer.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule knows a layer on the path, and it cannot
            be measured.
    """
    target = locate(model, layer, input=input, input_shape=input_shape, rules=rules)
    name = target.receptive_field.layer
    paths = _paths(target.tracing).get(target.tensor)
    if paths is None:
        raise InvalidInputError(
            argument="layer",
            expected=f"{name!r} is not reached without a layer that gathers the whole space",
            remedy="Choose an earlier layer",
            received=f"layer={name!r}",
        )
    smallest, largest = (tuple(map(_extent, ends)) for ends in (paths.smallest, paths.largest))
    return PathSizes(name, smallest, largest)


def unproductive_layers(
    model: Model,
    *,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    rules: Rules | None = None,
) -> tuple[str, ...]:
    """Layers that look at neighbours when every position has seen the whole input already.

    On every path, the field of what enters the layer is larger than the input
    along each axis: a convolution there finds no new context. In residual
    networks the smallest path decides, as identity paths keep fields small.

    Reference: Richter, Schöning, Wiedenroth and Krumnack 2021, "Should You Go
    Deeper? Optimizing Convolutional Neural Network Architectures without
    Training", section III (border layers).

    Examples:
        >>> keras_erf.unproductive_layers(keras_erf.zoo.build("plain", depth=5), input_shape=6)
        ('conv4', 'conv5')

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        input: As in `receptive_field`.
        input_shape: Spatial shape of the input; `None` keeps the model's own, if it has one.
        rules: As in `receptive_field`.

    Returns:
        Names of the layers with weights that slide a window larger than 1, in
        graph order.

    Raises:
        InvalidInputError: An argument does not fit the model.
    """
    start = started(model, input_shape=input_shape)
    graph, input_shape = start.graph, start.input_shape
    if input_shape is None and None in graph.tensors[graph.input_number(input)].shape:
        raise InvalidInputError(
            argument="input_shape",
            expected="must be given where the model leaves it open: what has been seen "
            "already depends on it",
            received="input_shape=None",
        )
    tracing = tracing_of(graph, input=input, input_shape=input_shape, rules=rules)
    sizes = tracing.spatial_shape(tracing.input)
    paths = _paths(tracing)
    names = []
    for node in tracing.graph.nodes:
        leaving = paths.get(node.outputs[0])
        entering = [paths[source] for source in node.inputs if source in paths]
        if leaving is None or not entering or not getattr(node.operation, "weights", ()):
            continue
        before = [
            min(_extent(source.smallest[place]) for source in entering)
            for place in range(len(sizes))
        ]
        grows = any(
            _extent(after) > extent for after, extent in zip(leaving.smallest, before, strict=True)
        )
        if grows and all(extent > size for extent, size in zip(before, sizes, strict=True)):
            names.append(node.name)
    return tuple(names)


@dataclass(frozen=True)
class _Paths:
    """Reaches of a tensor's units along its smallest and its largest path, axis by axis."""

    smallest: tuple[Reach, ...]
    largest: tuple[Reach, ...]


def _paths(tracing: Tracing) -> Mapping[int, _Paths]:
    """Fields over local paths of all tensors that have any, by number."""
    start = tracing.known(tracing.input, through_global=False).reaches
    assert start is not None
    fields = {tracing.input: _Paths(start, start)}
    for node in _learned(tracing):
        ends: dict[int, list[_Paths]] = {}
        for view in tracing.views(node, through_global=False):
            output, source = node.outputs[view.output], node.inputs[view.input]
            if source in fields:
                shapes = tracing.shape(output), tracing.shape(source)
                before = fields[source]
                follow = [
                    tuple(view.follow(reach, *shapes) for reach in reaches)
                    for reaches in (before.smallest, before.largest)
                ]
                ends.setdefault(output, []).append(_Paths(*follow))
        for output, paths in ends.items():
            axes = range(len(start))
            fields[output] = _Paths(
                tuple(min((path.smallest[axis] for path in paths), key=_extent) for axis in axes),
                tuple(max((path.largest[axis] for path in paths), key=_extent) for axis in axes),
            )
    return fields


def _learned(tracing: Tracing) -> list[Node]:
    """The calls whose fields are known, in the order they run."""
    learned: list[Node] = []
    for node in tracing.graph.nodes:
        if any(tracing.is_reached(tensor) for tensor in node.inputs):
            with contextlib.suppress(KerasERFError):
                tracing.known(node.outputs[0], through_global=False)
                learned.extend(tracing.inside(node))
    return learned


def _extent(reach: Reach) -> int:
    """Pixels from the first to the last one seen, of the unit that sees most."""
    return int(np.max(np.asarray(reach.stops) - np.asarray(reach.starts)))
