"""A Keras model as a flat, ordered list of calls on tensors.

Nested Functional and Sequential models are unrolled, shared layers appear once
per call, and every tensor has a number. This package reads Keras's private
structures (`_nodes_by_depth`, `_functional`, `_keras_history`, the nodes'
`arguments` and the layers' lists of nodes); `legacy`, which builds models, reads
some of them too. `tests/test_graph.py` fails loudly when they change.

Running the graph calls the user's own layers on plain tensors in a stateless
scope: no node is added to a layer, no variable is written, no loss recorded.
"""

from keras_erf.graph.architecture_table import architecture
from keras_erf.graph.building import Start, build_graph, build_in_place, started
from keras_erf.graph.calls import LINEAR, Argument, Node, Tensor, kind_of, plain_call
from keras_erf.graph.cloning import cloned, computing_layers, copied
from keras_erf.graph.constants import LOW, has_zeros, is_operand, random_weights, settled
from keras_erf.graph.function_calls import FunctionCalls, calls_of_function
from keras_erf.graph.graph import PAIR, Graph
from keras_erf.graph.linear import split_activation
from keras_erf.graph.running import (
    called,
    differentiable,
    layers_inside,
    learned_weights,
    own_weights,
    stateless,
)
from keras_erf.graph.weight_count import built_from, count_made, count_weights

__all__ = [
    "LINEAR",
    "LOW",
    "PAIR",
    "Argument",
    "FunctionCalls",
    "Graph",
    "Node",
    "Start",
    "Tensor",
    "architecture",
    "build_graph",
    "build_in_place",
    "built_from",
    "called",
    "calls_of_function",
    "cloned",
    "computing_layers",
    "copied",
    "count_made",
    "count_weights",
    "differentiable",
    "has_zeros",
    "is_operand",
    "kind_of",
    "layers_inside",
    "learned_weights",
    "own_weights",
    "plain_call",
    "random_weights",
    "settled",
    "split_activation",
    "started",
    "stateless",
]
