"""Activations, by themselves or at the end of another layer, behind its bias.

Most activations work on single elements (`single_elements`); softmax and similar ones mix the last
axis. A layer with any other function is traced or measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers, ops

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call, Rule, part_of
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.measured import measured
from keras_erf.layers.conditions import without_activation
from keras_erf.layers.elementwise import elementwise, elementwise_squares, on_entries
from keras_erf.layers.parts import PartSite, Restricted, called_on_part
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.layers.single_elements import (
    mixes_last_axis,
    on_single_elements,
    runs_in_double,
)
from keras_erf.types import Array, Layer

__all__ = [
    "ENTRIES",
    "ON_SINGLE_ELEMENTS",
    "Activated",
    "activated_on_part",
    "finished",
    "is_finished_by_position",
]

# Layers, given as activations, that work on single elements and have no weights.
ON_SINGLE_ELEMENTS = (layers.ELU, layers.LeakyReLU, layers.ReLU)


@dataclass(frozen=True)
class Activated:
    """The rule of a layer that ends in its `activation`.

    Args:
        rule: That of all before it.
    """

    rule: Rule

    def knows(self, layer: Layer) -> bool:
        """Whether the layer's activation is a layer, or a known function."""
        given = layer.activation
        known = on_single_elements(given) or mixes_last_axis(given)
        return known or isinstance(given, layers.Layer)

    def __call__(self, call: Call) -> tuple[AnyView, ...]:
        """The views of the layer."""
        activation = call.layer.activation
        if on_single_elements(activation):
            return self.rule(call)
        if isinstance(activation, layers.Layer):
            inner = part_of(call, activation, call.outputs, call.outputs)
            after = inner.rule_of(activation)
            return chained(self.rule(call), call.output, after(inner)) if after else measured(call)
        if not mixes_last_axis(activation):
            return measured(call)
        found = self.rule(call)
        last = len(call.output) - 1
        if all(view.follows[-1] is None and last not in view.follows for view in found):
            # The layer takes in the axis whole already.
            return found
        others = [Link(axis) for axis in range(last)]
        mixed = [View((*others, end)) for end in (Link(last), Link(None))]
        return chained(found, call.output, mixed)


def is_finished_by_position(layer: Layer) -> bool:
    """Whether a layer's activation is known to need no more than its own position."""
    activation = layer.activation
    if on_single_elements(activation) or type(activation) in ON_SINGLE_ELEMENTS:
        return True
    channels_last = getattr(layer, "data_format", None) != "channels_first"
    return mixes_last_axis(activation) and channels_last


def finished(layer: Layer, value: Array) -> Array:
    """Behind a convolution: the layer's bias and activation."""
    if layer.use_bias:
        shape = [1] * len(value.shape)
        shape[channel_axis(layer, len(shape) - 1) + 1] = -1
        bias = ops.cast(layer.bias, layer.compute_dtype)
        # Not by `ops.add`, which takes them for those of the last axis if that has as many indices.
        value = value + ops.reshape(bias, shape)
    return value if layer.activation is None else layer.activation(value)


def activated_on_part(site: PartSite) -> Restricted | None:
    """Layers that end in an activation; one that is unknown, or has weights, runs whole."""
    return called_on_part(site) if is_finished_by_position(site.layer) else None


def activation_squares(site: SquareSite) -> Recipe | None:
    """Layers that are an activation and nothing else."""
    activation = site.layer.activation
    if not on_single_elements(activation) or not runs_in_double(activation):
        return None
    return elementwise_squares(site)


ENTRIES = (
    on_entries(
        layers="Activation",
        dependence=Activated(elementwise),
        part=activated_on_part,
        squares=activation_squares,
        affine=without_activation,
    ),
)
