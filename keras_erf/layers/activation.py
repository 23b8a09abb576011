"""Activations that are layers or operations of their own."""

from __future__ import annotations

from keras_erf.layers.activated import Activated, is_finished_by_position, on_single_elements
from keras_erf.layers.conditions import without_activation
from keras_erf.layers.elementwise import elementwise, elementwise_squares, on_entries
from keras_erf.layers.parts import PartSite, Restricted
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.layers.same_everywhere import called_on_part, stretched_on_part

__all__ = ["ENTRIES", "activated_on_part"]


def activated_on_part(site: PartSite) -> Restricted | None:
    """Layers that end in an activation; one that is unknown, or has weights, runs whole."""
    return called_on_part(site) if is_finished_by_position(site.layer) else None


def activation_squares(site: SquareSite) -> Recipe | None:
    """Layers that are an activation and nothing else."""
    if not on_single_elements(site.layer.activation):
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
    on_entries(
        layers="ELU LeakyReLU ReLU",
        operations="Celu Elu Gelu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu LogSigmoid "
        "Relu Relu6 Selu Sigmoid Silu SoftShrink Softplus Softsign Tanh TanhShrink",
        squares=elementwise_squares,
    ),
    on_entries(layers="PReLU", part=stretched_on_part),
    on_entries(operations="SparsePlus SparseSigmoid Squareplus Threshold"),
)
