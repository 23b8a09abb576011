"""A layer that ends in an activation, as two calls: all before it, and the activation."""

from __future__ import annotations

from dataclasses import replace

import keras

from keras_erf.graph.calls import LINEAR, Node, plain_call

__all__ = ["split_activation"]


def split_activation(node: Node, between: int) -> tuple[Node, Node]:
    """A call without its layer's activation, and the call of the activation.

    The layer stays as it is: the first call is of a twin that has the same variables.

    Args:
        node: The call, of a layer whose output is what its `activation` makes of one tensor.
        between: Number of that tensor.
    """
    layer = node.operation
    twin = object.__new__(type(layer))
    vars(twin).update(vars(layer), activation=keras.activations.linear)
    activation = layer.activation
    if not isinstance(activation, keras.Layer):
        activation = keras.layers.Activation(activation, name=layer.name, dtype=layer.compute_dtype)
    before = replace(node, name=f"{node.name}{LINEAR}", operation=twin, outputs=(between,))
    after = plain_call(node.name, activation, (between,), node.outputs[0])
    return before, replace(after, lead=node.lead)
