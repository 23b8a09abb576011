"""Layers whose output at a position depends on that position only.

Activations, merges, scaling, dropout and the normalisations are here. A
normalisation over the channel axis mixes channels but not positions; one over
space sees its own position and, through its statistics, all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_erf.algebra.geometry import Blocks
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.errors import UnsupportedLayerError
from keras_erf.graph import Argument
from keras_erf.rules.call import Call, bound_arguments
from keras_erf.rules.measured import measured
from keras_erf.rules.operands import Label, labelled
from keras_erf.rules.reductions import without_low
from keras_erf.rules.refused import refused

__all__ = [
    "counted_axes",
    "dense",
    "dot",
    "einsum",
    "elementwise",
    "embedding",
    "group_normalization",
    "masking",
    "normalization",
    "one_by_one",
    "softmax",
]

wrong_shape = refused("Keras states another shape than it returns")


def elementwise(call: Call) -> tuple[View, ...]:
    """Element-wise layers and merges, with NumPy's broadcasting over axes of length 1."""
    views = []
    for number, shape in enumerate(call.inputs):
        missing = len(call.output) - len(shape)
        links = (
            Link(None) if size == 1 and call.output[axis + missing] > 1 else Link(axis + missing)
            for axis, size in enumerate(shape)
        )
        views.append(View(tuple(links), input=number))
    return tuple(views)


def dense(call: Call) -> tuple[AnyView, ...]:
    """A matrix on the last axis; what only zeros of it multiply is not seen."""
    rank = len(call.output)
    labels: list[Label] = [*range(rank), "in"]
    made: list[Label] = [*range(rank), "out"]
    kernel: list[Label] = ["in", "out"]
    given = [(Argument(0), labels), (getattr(call.layer, "kernel", None), kernel)]
    return labelled(call, given, made, multiplied=True)


def softmax(call: Call) -> tuple[AnyView, ...]:
    """Softmax over `axis`, without the scores that are known to have no weight."""
    return without_low(call, normalization(call))


def normalization(call: Call) -> tuple[View, ...]:
    """Softmax, and layer, unit and root-mean-square normalisation, over `axis`."""
    axis = call.layer.axis
    given = axis if isinstance(axis, (list, tuple)) else [axis]
    return _statistics_over(call, counted_axes(call, given))


def group_normalization(call: Call) -> tuple[View, ...]:
    """Group normalisation: statistics over all of space and the channels of a group.

    Reference: Wu and He 2018, "Group Normalization", equation 3.
    """
    (channel,) = counted_axes(call, [call.layer.axis])
    size = call.output[channel]
    groups = size if call.layer.groups == -1 else call.layer.groups
    block = Link(channel, Blocks(size // groups, size // groups))
    links = (block if axis == channel else Link(None) for axis in range(len(call.output)))
    return (_gathering(call, set()), View(tuple(links)))


def masking(call: Call) -> tuple[View, ...]:
    """A position is let through or not as a whole: its channels decide together."""
    return _statistics_over(call, {len(call.output) - 1})


def one_by_one(call: Call) -> tuple[AnyView, ...]:
    """As many outputs as inputs, each of them of its own input, element by element."""
    if call.inputs != call.outputs:
        return measured(call)
    return tuple(
        View(tuple(map(Link, range(len(shape)))), place, place)
        for place, shape in enumerate(call.inputs)
    )


def embedding(call: Call) -> tuple[AnyView, ...]:
    """A vector for each index; in reverse, a matrix on the last axis."""
    if bound_arguments(call).get("reverse", False):
        return dense(call)
    return (View(tuple(map(Link, range(len(call.inputs[0]))))),)


def dot(call: Call) -> tuple[View, ...]:
    """Sums of products over one axis of each input; the others stand one after the other."""
    axes = call.layer.axes
    pair = axes if isinstance(axes, (list, tuple)) else (axes, axes)
    views = []
    place = 0
    for number, (shape, axis) in enumerate(zip(call.inputs, pair, strict=True)):
        summed = axis % (len(shape) + 1) - 1
        links = []
        for own in range(len(shape)):
            links.append(Link(None) if own == summed else Link(place))
            place += own != summed
        views.append(View(tuple(links), input=number))
    return tuple(views)


def einsum(call: Call) -> tuple[AnyView, ...]:
    """`EinsumDense`: axes whose letter the output has stay, the others are summed over.

    Raises:
        UnsupportedLayerError: The samples of a batch are summed over or moved.
    """
    given, _, made = call.layer.equation.replace(" ", "").partition("->")
    own = given.partition(",")[0]
    free = len(call.inputs[0]) + 1 - len(own.replace("...", ""))
    # Axes that an ellipsis stands for get letters nobody uses.
    ellipsis = "".join(chr(0x2460 + number) for number in range(free))
    own, made = (letters.replace("...", ellipsis) for letters in (own, made))
    if len(set(own)) < len(own) or len(made) != len(call.output) + 1:
        return measured(call)
    if made.find(own[0]) != 0:
        raise UnsupportedLayerError(
            f"No rule tells the receptive field of layer {call.name!r}: its equation mixes the "
            "samples of a batch. Choose a layer before it, or pass a rule by `rules`. Received: "
            f"equation={call.layer.equation!r}"
        )
    followed = [made.index(one) - 1 if one in made else None for one in own[1:]]
    pairs = zip(followed, call.inputs[0], strict=True)
    if any(axis is not None and call.output[axis] != size for axis, size in pairs):
        # It turns round the axes of an ellipsis.
        return wrong_shape(call)
    kernel: Any = getattr(call.layer, "kernel", None)
    weights = given.partition(",")[2].replace("...", "")
    if call.zeros(kernel) is None or len(weights) != len(kernel.shape):
        return (View(tuple(map(Link, followed))),)
    factors = [(Argument(0), list(own)), (kernel, list(weights))]
    return labelled(call, factors, list(made), multiplied=True)


def counted_axes(call: Call, axes: Sequence[int]) -> set[int]:
    """Axes as Keras counts them, of the first input, as we do: without the batch.

    Raises:
        UnsupportedLayerError: One is the batch axis.
    """
    rank = len(call.inputs[0])
    counted = {axis % (rank + 1) - 1 for axis in axes}
    if -1 in counted:
        raise UnsupportedLayerError(
            f"No rule tells the receptive field of layer {call.name!r}: it mixes the samples of "
            "a batch. Choose a layer before it, or pass a rule by `rules`. Received: "
            f"{type(call.layer).__name__} with axis={list(axes)!r}"
        )
    return counted


def _gathering(call: Call, axes: set[int]) -> View:
    return View(tuple(Link(None if axis in axes else axis) for axis in range(len(call.output))))


def _statistics_over(call: Call, axes: set[int]) -> tuple[View, ...]:
    """The position itself, and all positions along `axes`."""
    return (_gathering(call, set()), _gathering(call, axes))
