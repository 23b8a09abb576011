"""Whether a unit's gradient is the same for every sample, so that one sample is enough.

It is where every call on the path from the input is affine in the tensors that the model's
inputs make. `layers` describes when a layer or operation is; any other counts as not affine.
"""

from __future__ import annotations

import inspect

from keras import layers

from keras_erf.fields.theoretical import Target
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Node, kind_of
from keras_erf.layers.conditions import AffineSite
from keras_erf.layers.table import described, is_patched, is_unknown
from keras_erf.types import Operation

__all__ = ["has_constant_gradient"]


def has_constant_gradient(target: Target, *, training: bool) -> bool:
    """Whether a layer's tensor is an affine function of the analysed input.

    Its gradient is then the same for every sample, whatever the other inputs
    are. What a definition makes of the tensor (such as a ReLU) does not count.

    Returns:
        `True` only where it is certain.
    """
    tracing = target.tracing
    nodes = tracing.ancestors(target.tensor)
    own = set(target.graph.nodes)
    everything = (*nodes, *target.graph.ancestors(target.tensor))
    masked = any(_may_mask(node.operation) for node in everything)
    for node in nodes:
        if not any(map(tracing.is_reached, node.inputs)):
            continue
        if is_patched(node.operation):
            return False
        inside = node not in own
        # Layers are opened at inference; in training they may do something else.
        if (inside and training) or not _is_affine(_site(tracing, node, training, inside, masked)):
            return False
    return True


def _site(tracing: Tracing, node: Node, training: bool, inside: bool, masked: bool) -> AffineSite:
    call = tracing.call(node)
    args, kwargs = call.arguments
    named = inspect.signature(node.operation.call).bind(*args, **kwargs).arguments
    # A call inside of a layer may ask for training mode by itself.
    asks_training = bool(named.get("training"))
    return AffineSite(call, named, training or asks_training, inside, masked, _is_affine)


def _is_affine(site: AffineSite) -> bool:
    layer = site.layer
    if isinstance(layer, layers.Layer) and layer.quantization_mode is not None:
        return False
    entry = described(kind_of(layer))
    return entry is not None and entry.affine is not None and entry.affine(site)


def _may_mask(operation: Operation) -> bool:
    """Whether a layer may set a mask, which follows its tensor unseen in the graph."""
    return (
        isinstance(operation, layers.Masking)
        or bool(getattr(operation, "mask_zero", False))
        or is_unknown(operation)
    )
