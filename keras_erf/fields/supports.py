"""Exact supports of units: masks carried backwards to the input, and forwards from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_erf.algebra.geometry import Box
from keras_erf.algebra.masks import BoxedMask, seen_by, together
from keras_erf.fields.tracing import Tracing

__all__ = ["masks_on_path", "seeing_units", "support", "visible_box"]


def support(
    tracing: Tracing, tensor: int, position: Sequence[int], *, through_global: bool
) -> np.ndarray:
    """Exact support, over the input's spatial axes, of the unit at a spatial position."""
    shape = tracing.spatial_shape(tracing.input)
    boxed = _support(tracing, tensor, position, through_global)
    if boxed is None:
        return np.zeros(shape, dtype=bool)
    mask = boxed.full(shape)
    return mask if mask.shape == shape else np.array(np.broadcast_to(mask, shape))


def visible_box(
    tracing: Tracing, tensor: int, position: Sequence[int], *, through_global: bool
) -> Box:
    """Tight box of the support of the unit at a spatial position."""
    shape = tracing.spatial_shape(tracing.input)
    boxed = _support(tracing, tensor, position, through_global)
    return ((0, 0),) * len(shape) if boxed is None else boxed.box(shape)


def masks_on_path(
    tracing: Tracing, tensor: int, position: Sequence[int], *, through_global: bool
) -> dict[int, np.ndarray]:
    """What the unit at a spatial position sees of each tensor on the path to the input.

    An axis of length 1 stands for a whole axis whose entries agree.
    """
    boxed = _boxed_masks(tracing, tensor, position, through_global)
    return {tensor: mask.full(tracing.shape(tensor)) for tensor, mask in boxed.items()}


def seeing_units(
    tracing: Tracing, tensor: int, pixel: Sequence[int], *, through_global: bool
) -> np.ndarray:
    """Mask over the spatial axes of `tensor` of the units that see a pixel of the input."""
    nodes, channel = tracing.ancestors(tensor), tracing.channel_axis(tensor)
    start = np.zeros(tracing.spatial_shape(tracing.input), dtype=bool)
    start[tuple(pixel)] = True
    masks = {tracing.input: np.expand_dims(start, tracing.channel_axis(tracing.input))}
    for node in nodes:
        if masks.keys().isdisjoint(node.inputs):
            continue
        for view in tracing.views(node, through_global=through_global):
            output, source = node.outputs[view.output], node.inputs[view.input]
            if source in masks:
                mask = view.spread(masks[source], tracing.shape(output), tracing.shape(source))
                masks[output] = mask | masks[output] if output in masks else mask
    shape = tracing.shape(tensor)
    mask = np.broadcast_to(masks.get(tensor, np.zeros(shape, dtype=bool)), shape)
    return np.any(mask, axis=channel)


def _support(
    tracing: Tracing, tensor: int, position: Sequence[int], through_global: bool
) -> BoxedMask | None:
    boxed = _boxed_masks(tracing, tensor, position, through_global).get(tracing.input)
    return boxed and boxed.without(tracing.channel_axis(tracing.input))


def _boxed_masks(
    tracing: Tracing, tensor: int, position: Sequence[int], through_global: bool
) -> dict[int, BoxedMask]:
    """The masks of `masks_on_path`, each over a box that holds what is marked."""
    starts: list[int | None] = [int(place) for place in position]
    starts.insert(tracing.channel_axis(tensor), None)
    boxed = {tensor: BoxedMask(np.ones((1,) * len(starts), dtype=bool), tuple(starts))}
    for node in reversed(tracing.ancestors(tensor)):
        if boxed.keys().isdisjoint(node.outputs):
            continue
        for view in tracing.views(node, through_global=through_global):
            output, source = node.outputs[view.output], node.inputs[view.input]
            if output in boxed:
                shape = tracing.shape(source)
                seen = seen_by(view, boxed[output], tracing.shape(output), shape)
                boxed[source] = together(seen, boxed[source], shape) if source in boxed else seen
    return boxed
