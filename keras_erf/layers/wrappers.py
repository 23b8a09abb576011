"""Layers that hold others: the inner layer's rule applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call, part_of
from keras_erf.dependence.chaining import ChainedView, chained
from keras_erf.dependence.measured import measured
from keras_erf.layers.conditions import AffineSite
from keras_erf.layers.entry import Entry
from keras_erf.types import Array

__all__ = ["ENTRIES", "lifted"]


def same_as_inner(call: Call) -> tuple[AnyView, ...]:
    """The inner layer with other weights (Miyato et al. 2018, "Spectral Normalization")."""
    inner = call.layer.layer
    rule = call.rule_of(inner)
    if rule is None:
        return measured(call)
    return rule(part_of(call, inner, call.inputs, call.outputs, call.run))


def time_distributed(call: Call) -> tuple[AnyView, ...]:
    """The inner layer on each step by itself: its views, and the axis of time before them."""
    inner = call.layer.layer
    rule = call.rule_of(inner)
    if rule is None:
        return measured(call)
    steps = call.inputs[0][0]

    def run(values: Sequence[Array], **options: Any) -> list[Array]:
        repeated = [ops.repeat(ops.expand_dims(value, 1), steps, axis=1) for value in values]
        return [made[:, 0] for made in call.run(repeated, **options)]

    shapes = [tuple(shape[1:] for shape in group) for group in (call.inputs, call.outputs)]
    found = rule(part_of(call, inner, shapes[0], shapes[1], run))
    over_time = [lifted(view, steps) for view in found]
    known = tuple(view for view in over_time if view is not None)
    return known if len(known) == len(found) else measured(call)


def pipeline(call: Call) -> tuple[AnyView, ...]:
    """Layers one after the other that leave the shape as it is, or change it in the last."""
    found: tuple[AnyView, ...] = ()
    *first, last = call.layer.layers
    for inner in (*first, last):
        rule = call.rule_of(inner)
        kept = inner is last or inner.compute_output_shape((None, *call.inputs[0])) == (
            None,
            *call.inputs[0],
        )
        if rule is None or len(call.inputs) > 1 or not kept:
            return measured(call)
        outputs = call.outputs if inner is last else call.inputs
        views = rule(part_of(call, inner, call.inputs, outputs))
        found = chained(found, call.inputs[0], views) if found else views
    return found


def lifted(view: AnyView, steps: int) -> AnyView | None:
    """The view on each of `steps` indices of a new first axis; `None` for an unknown kind."""
    if isinstance(view, View):
        links = (
            Link(None if link.axis is None else link.axis + 1, link.relation, link.clip)
            for link in view.links
        )
        return View((Link(0), *links), view.input, view.output, view.gathers, view.status)
    if isinstance(view, IndexedView):
        size = int(np.prod(view.shape))
        ahead = (np.arange(steps) * size).reshape(-1, *[1] * view.indices.ndim)
        indices = np.where(view.indices < 0, -1, view.indices + ahead)
        return IndexedView(indices, (steps, *view.shape), view.input, view.output, view.gathers)
    if isinstance(view, ChainedView):
        over_time = [lifted(step, steps) for step in view.steps]
        known = tuple(step for step in over_time if step is not None)
        between = tuple((steps, *shape) for shape in view.between)
        return ChainedView(known, between) if len(known) == len(over_time) else None
    return None


def as_inner_layer(site: AffineSite) -> bool:
    """Affine where the inner layer is."""
    return site.is_affine(replace(site, call=replace(site.call, layer=site.layer.layer)))


ENTRIES = (
    Entry(layers="SpectralNormalization", dependence=same_as_inner),
    Entry(layers="TimeDistributed", dependence=time_distributed, affine=as_inner_layer),
    Entry(layers="Pipeline", dependence=pipeline),
)
