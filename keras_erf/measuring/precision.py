"""Models that compute in half precision, made to compute in full precision.

Gradients of float16 fall to zero, and those of either half precision are
rounded to two or three digits: their maps would show rounding.
"""

from __future__ import annotations

from keras_erf.errors import InvalidInputError
from keras_erf.graph import Graph, build_graph, cloned, computing_layers
from keras_erf.types import Model

__all__ = ["in_full_precision"]

HALF = {"float16": "float32", "bfloat16": "float32"}


def in_full_precision(model: Model, graph: Graph | None = None) -> Model:
    """The model itself, or a copy in float32 where it computes in float16 or bfloat16.

    Layers of the copy that computed in half precision compute in float32, with
    the same weights; others, those of float64 too, are as they were. Tensors
    have the same numbers in the graphs of both.

    Returns:
        `model` if nothing in it is of half precision, else a copy.

    Raises:
        InvalidInputError: `model` has no graph; a layer is quantized; or it is
            of half precision and cannot be copied.
    """
    graph = graph or build_graph(model)
    layers = computing_layers(model)
    for layer in layers:
        mode = layer.quantization_mode
        if mode is not None:
            raise InvalidInputError(
                argument="model",
                expected="must not be quantized: what is rounded to whole numbers has no "
                "gradient of its own",
                remedy="Probe the model before `quantize`",
                received=f"layer {layer.name!r} quantized to {mode}",
            )
    dtypes = {layer.compute_dtype for layer in layers} | {tensor.dtype for tensor in graph.tensors}
    if dtypes.isdisjoint(HALF):
        return model
    return cloned(
        model,
        dtypes=HALF,
        remedy='It computes in half precision: build or load it with dtype="float32"',
    )
