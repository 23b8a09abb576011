"""Layers that move elements about: reshaping, slicing, concatenation, padding.

Which element goes where is not worked out from the layer's options but read off
the layer itself: it is run on the numbers of its input's elements (`traced`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from keras import tree

from keras_erf.algebra.gathering import rearranged
from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.errors import UnsupportedLayerError
from keras_erf.graph import Argument
from keras_erf.rules.call import Call, Rule, bound_arguments
from keras_erf.rules.pointwise import counted_axes
from keras_erf.rules.refused import ACROSS_BATCH

__all__ = [
    "concatenation",
    "joined",
    "permute",
    "permuted",
    "repeat_vector",
    "reshape",
    "sliced",
    "traced",
]


def permute(call: Call) -> tuple[View]:
    """Output axis i is input axis `dims[i]`; Keras counts `dims` from 1."""
    source = [axis - 1 for axis in call.layer.dims]
    return (View(tuple(Link(source.index(axis)) for axis in range(len(source)))),)


def permuted(permute: Callable[[Any, np.ndarray], np.ndarray]) -> Rule:
    """A rule for operations that put axes into another order, the batch counted.

    Args:
        permute: Does to an array what the operation, its first argument, does.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        rank = len(call.output)
        # Axes are told apart by their lengths.
        order = permute(call.layer, np.empty(range(rank + 1))).shape
        if order[0] != 0:
            return ACROSS_BATCH(call)
        return (View(tuple(Link(order.index(axis + 1) - 1) for axis in range(rank))),)

    return rule


def joined(call: Call) -> tuple[AnyView, ...]:
    """Tensors side by side; traced where constants are among them."""
    args, kwargs = call.arguments
    given = tree.flatten((args, kwargs))
    tensors = sum(isinstance(one, Argument) for one in given)
    if tensors < len(given) or call.layer.axis % (len(call.output) + 1) == 0:
        return traced(call)
    return concatenation(call)


def concatenation(call: Call) -> tuple[View, ...]:
    """Inputs side by side along `axis`."""
    rank = len(call.output)
    (along,) = counted_axes(call, [call.layer.axis])
    views = []
    offset = 0
    for number, shape in enumerate(call.inputs):
        shifted = Link(along, Window(padding=offset), clip=True)
        links = tuple(shifted if axis == along else Link(axis) for axis in range(rank))
        views.append(View(links, input=number))
        offset += shape[along]
    return tuple(views)


def repeat_vector(call: Call) -> tuple[View]:
    """The vector at each of `n` new positions."""
    return (View((Link(1),)),)


def reshape(call: Call) -> tuple[AnyView, ...]:
    """A reshape: by itself where it only adds or drops axes of length 1, else traced."""
    shape = call.inputs[0]
    longer = [axis for axis, size in enumerate(call.output) if size != 1]
    if [size for size in shape if size != 1] != [call.output[axis] for axis in longer]:
        return traced(call)
    following = iter(longer)
    return (View(tuple(Link(None) if size == 1 else Link(next(following)) for size in shape)),)


def sliced(call: Call) -> tuple[AnyView, ...]:
    """A slice: traced, but a single position that is left does not show the step to the next."""
    key = bound_arguments(call)["key"]
    steps = _steps(key if isinstance(key, tuple) else (key,), len(call.inputs[0]) + 1)
    return tuple(_spaced(view, steps, call.output) for view in traced(call))


def _steps(key: tuple[Any, ...], rank: int) -> dict[int, tuple[int, int]]:
    """For each axis of the input that is sliced in steps, its axis of the output and the step."""
    indexed = sum(one is not None and one is not Ellipsis for one in key)
    steps: dict[int, tuple[int, int]] = {}
    # The batch counts in a key.
    place = axis = -1
    for one in key:
        if isinstance(one, slice) and (one.step or 1) > 1:
            steps[place] = axis, one.step
        place += rank - indexed if one is Ellipsis else one is not None
        axis += rank - indexed if one is Ellipsis else one is None or isinstance(one, slice)
    return steps


def _spaced(
    view: AnyView, steps: Mapping[int, tuple[int, int]], output: tuple[int, ...]
) -> AnyView:
    """The view of a slice, with the steps along the axes that have one position left."""
    if not isinstance(view, View):
        return view
    links = list(view.links)
    for place, (axis, step) in steps.items():
        link = links[place]
        if link.axis == axis and output[axis] == 1 and isinstance(link.relation, Window):
            links[place] = replace(link, relation=replace(link.relation, stride=step))
    return replace(view, links=tuple(links))


def traced(call: Call) -> tuple[AnyView, ...]:
    """Any layer whose outputs are copies of inputs, or constants.

    The layer is run on integers that number the elements of all inputs, and
    once more with all numbers raised by the same amount: what is raised by it
    is a copy of the element it names, what stays is a constant.

    Raises:
        UnsupportedLayerError: The layer computes something, mixes the samples
            of a batch, or does not run on integers.
    """
    batch = call.batch or 2
    counts = [math.prod(shape) for shape in call.inputs]
    total = sum(counts) + 1
    firsts = list(itertools.accumulate(counts, initial=1))
    numbered = [
        first
        + np.arange(count).reshape(1, *shape)
        + total * np.arange(batch).reshape(-1, *[1] * len(shape))
        for first, count, shape in zip(firsts, counts, call.inputs, strict=False)
    ]
    raised = batch * total
    try:
        runs = [
            [np.asarray(made) for made in call.run([ids + more for ids in numbered])]
            for more in (0, raised)
        ]
    except Exception as error:  # A layer raises what it likes.
        raise _refused(call, f"it does not run on integers ({type(error).__name__})") from error
    views: list[AnyView] = []
    for output, shape in enumerate(call.outputs):
        once, again = (run[output] for run in runs)
        if once.shape != (batch, *shape):
            raise _refused(call, f"it makes {once.shape[0]} samples of {batch}")
        with np.errstate(invalid="ignore"):
            # Constants may be infinite.
            copied = again - once == raised
        # Sample by sample the numbers go up by the total.
        samples = total * np.arange(batch).reshape(-1, *[1] * len(shape))
        sources = np.where(copied, once - samples, 0)[0].astype(np.int64)
        alike = np.array_equal(once, np.where(copied, sources + samples, once[0]))
        if not (copied | (again == once)).all() or (sources >= total).any() or not alike:
            raise _refused(call, "its outputs are not copies of its sample's inputs")
        for place, (first, count) in enumerate(zip(firsts, counts, strict=False)):
            indices = np.where((sources >= first) & (sources < first + count), sources - first, -1)
            if (indices >= 0).any():
                views.append(
                    rearranged(
                        indices,
                        call.inputs[place],
                        input=place,
                        output=output,
                        alone=len(call.inputs) == 1,
                    )
                )
    return tuple(views)


def _refused(call: Call, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"No rule tells the receptive field of layer {call.name!r}: {reason}. Choose a layer "
        f"before it, or pass a rule by `rules`. Received: {type(call.layer).__name__} from "
        f"{call.inputs} to {call.outputs}"
    )
