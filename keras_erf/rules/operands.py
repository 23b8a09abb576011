"""What operations have in common: named operands, Keras's axes, and axes with labels.

Operations, unlike layers, count the batch as axis 0 and may act across it: they
are refused then. The axes of an operation's operands and outputs are written
with labels, as in Einstein's summation: an output sees one index of the axes
whose label it has, and all of the others.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_erf.algebra.gathering import Gather
from keras_erf.algebra.geometry import Relation, Window
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.graph import Argument
from keras_erf.rules.call import Call
from keras_erf.rules.chain import Chain
from keras_erf.rules.refused import ACROSS_BATCH

__all__ = ["Label", "constant", "labelled", "own_axes", "rank_of"]

Label = Hashable


def rank_of(call: Call, operand: Any) -> int:
    """Number of axes of an operand, the batch counted."""
    if isinstance(operand, Argument):
        return len(call.inputs[operand.place]) + 1
    return len(operand.shape) if hasattr(operand, "shape") else np.ndim(operand)


def own_axes(call: Call, axis: Any, rank: int) -> tuple[int, ...]:
    """Axes as Keras names them, of a tensor of `rank` axes, with the batch not counted.

    Raises:
        UnsupportedLayerError: The batch is among them, as it is in `axis=None`.
    """
    given = range(rank + 1) if axis is None else np.atleast_1d(axis).tolist()
    axes = tuple(one % (rank + 1) - 1 for one in given)
    if -1 in axes:
        ACROSS_BATCH(call)
    return axes


def labelled(
    call: Call,
    given: Iterable[tuple[Any, Sequence[Label]]],
    made: Sequence[Label],
    *,
    output: int = 0,
    relations: Mapping[Label, Relation] | None = None,
    gathers: bool = False,
    status: Status = "exact",
) -> tuple[AnyView, ...]:
    """Views of operands whose axes, the batch first, have labels.

    Args:
        call: The call.
        given: Pairs of an operand and its labels; constants are passed over. A
            label that stands twice in an operand takes its diagonal.
        made: Labels of the output, none of them twice.
        output: Which output.
        relations: How an axis of a label follows the output's; by the same
            index if not named here.
        gathers: As in `View`.
        status: As in `View`.

    Raises:
        UnsupportedLayerError: The first label of a tensor is not the output's,
            or stands for another of its axes, too.
    """
    relations = relations or {}
    views: list[AnyView] = []
    for operand, labels in given:
        if not isinstance(operand, Argument):
            continue
        if not made or labels[0] != made[0] or labels[0] in labels[1:]:
            ACROSS_BATCH(call)
        shape = call.inputs[operand.place]
        kept = tuple(dict.fromkeys(labels[1:]))
        sizes = tuple(shape[labels.index(label) - 1] for label in kept)
        links = []
        for label, size in zip(kept, sizes, strict=True):
            if label not in made or (
                label not in relations and size < call.outputs[output][made.index(label) - 1]
            ):
                # Summed, or stretched along the output's axis.
                links.append(Link(None))
            else:
                links.append(Link(made.index(label) - 1, relations.get(label, Window())))
        view = View(tuple(links), operand.place, output, gathers, status)
        if len(kept) == len(labels) - 1:
            views.append(view)
        else:
            names = [kept.index(label) for label in labels[1:]]
            ids = np.arange(math.prod(shape)).reshape(shape)
            diagonal = np.einsum(ids, names, list(range(len(kept))))
            views.append(Chain((Gather(diagonal, shape, operand.place), view), (sizes,)))
    return tuple(views)


def constant(call: Call) -> tuple[AnyView, ...]:
    """Outputs that see nothing of the inputs but their shape."""
    return ()
