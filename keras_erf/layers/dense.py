"""Matrices on an axis of features: dense layers and embeddings."""

from __future__ import annotations

from typing import Any

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call, bound_arguments, unsupported
from keras_erf.dependence.labelled_axes import Label, labelled
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import WRONG_SHAPE
from keras_erf.graph import Argument
from keras_erf.layers.activation import Activated, activated_on_part
from keras_erf.layers.conditions import without_activation
from keras_erf.layers.entry import Entry
from keras_erf.layers.kernels import kernel_at_outputs, kernel_recipe, kernel_squares
from keras_erf.layers.parts import called_on_part
from keras_erf.layers.recipes import Recipe, SquareSite

__all__ = ["ENTRIES"]


def dense(call: Call) -> tuple[AnyView, ...]:
    """A matrix on the last axis; what only zeros of it multiply is not seen."""
    rank = len(call.output)
    labels: list[Label] = [*range(rank), "in"]
    made: list[Label] = [*range(rank), "out"]
    kernel: list[Label] = ["in", "out"]
    given = [(Argument(0), labels), (getattr(call.layer, "kernel", None), kernel)]
    return labelled(call, given, made, multiplied=True)


def einsum_dense(call: Call) -> tuple[AnyView, ...]:
    """`EinsumDense`: axes whose letter the output has stay, the others are summed over.

    Raises:
        UnsupportedLayerError: The samples of a batch are summed over or moved.
    """
    given, _, made = call.layer.equation.replace(" ", "").partition("->")
    own = given.partition(",")[0]
    free = len(call.inputs[0]) + 1 - len(own.replace("...", ""))
    # Axes that an ellipsis stands for get unused letters.
    ellipsis = "".join(chr(0x2460 + number) for number in range(free))
    own, made = (letters.replace("...", ellipsis) for letters in (own, made))
    if len(set(own)) < len(own) or len(made) != len(call.output) + 1:
        return measured(call)
    if made.find(own[0]) != 0:
        received = f"equation={call.layer.equation!r}"
        raise unsupported(call, "its equation mixes the samples of a batch", received)
    followed = [made.index(one) - 1 if one in made else None for one in own[1:]]
    pairs = zip(followed, call.inputs[0], strict=True)
    if any(axis is not None and call.output[axis] != size for axis, size in pairs):
        # It turns round the axes of an ellipsis.
        return WRONG_SHAPE(call)
    kernel: Any = getattr(call.layer, "kernel", None)
    weights = given.partition(",")[2].replace("...", "")
    if call.zeros(kernel) is None or len(weights) != len(kernel.shape):
        return (View(tuple(map(Link, followed))),)
    factors = [(Argument(0), list(own)), (kernel, list(weights))]
    return labelled(call, factors, list(made), multiplied=True)


def embedding(call: Call) -> tuple[AnyView, ...]:
    """A vector for each index; in reverse, a matrix on the last axis."""
    if bound_arguments(call).get("reverse", False):
        return dense(call)
    return (View(tuple(map(Link, range(len(call.inputs[0]))))),)


def dense_squares(site: SquareSite) -> Recipe | None:
    """Dense layers."""
    kernel = kernel_squares(site, "kernel")
    return kernel_recipe(site, [kernel], kernel.sum(axis=0).mean(), units=1)


ENTRIES = (
    Entry(
        layers="Dense",
        dependence=Activated(dense),
        part=activated_on_part,
        squares=dense_squares,
        affine=without_activation,
        multiply_adds=kernel_at_outputs,
    ),
    Entry(layers="EinsumDense", dependence=Activated(einsum_dense), affine=without_activation),
    Entry(layers="Embedding", dependence=embedding, part=called_on_part),
    Entry(layers="ReversibleEmbedding", dependence=embedding),
)
