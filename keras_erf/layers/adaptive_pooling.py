"""Adaptive pools: bins of about equal size that cover an axis."""

from __future__ import annotations

from keras_erf.algebra.views import AnyView, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.simple import refused
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.interpolation import bins, per_axis
from keras_erf.layers.windows import as_layer

__all__ = ["ENTRIES"]

# --- Rules ---------------------------------------------------------------------------------------


def adaptive_pooling(call: Call) -> tuple[View]:
    """Adaptive pools: bins of about equal size that cover the axis, overlapping where they must.

    Formula: He et al. 2014, "Spatial Pyramid Pooling", section 2.3 (floor and ceiling of bins).
    """
    return (per_axis(call, bins),)


# Keras 3.15 gives adaptive pools of channels-last maps an axis too many.
WRONG_SHAPE = refused("Keras states a shape for its output that it does not have; use the layer")


def adaptive_pooling_operation(call: Call) -> tuple[AnyView, ...]:
    """Adaptive pools, as the layer."""
    if len(call.output) != len(call.inputs[0]):
        return WRONG_SHAPE(call)
    return adaptive_pooling(as_layer(call))


ENTRIES = (
    Entry(
        layers=ranks("AdaptiveAveragePooling{}D"), dependence=adaptive_pooling, affine=in_one_tensor
    ),
    Entry(layers=ranks("AdaptiveMaxPooling{}D"), dependence=adaptive_pooling),
    Entry(
        operations="AdaptiveAveragePool",
        dependence=adaptive_pooling_operation,
        affine=in_one_tensor,
    ),
    Entry(operations="AdaptiveMaxPool", dependence=adaptive_pooling_operation),
)
