"""Views of operands whose axes have labels, as in Einstein's summation.

An output sees one index of the axes whose label it has, and all indices of the others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_erf.algebra.decomposition import products
from keras_erf.algebra.geometry import Marks, Relation, Window
from keras_erf.algebra.indexing import IndexedView, other_axes
from keras_erf.algebra.masking import MaskedView
from keras_erf.algebra.views import AnyView, Link, Status, View, least_sure
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import ChainedView, chained
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import Argument

__all__ = ["Label", "labelled"]

Label = Hashable
# Views, at most, of an operand next to a factor with zeros.
MOST_PARTS = 256


def labelled(
    call: Call,
    given: Iterable[tuple[Any, Sequence[Label]]],
    made: Sequence[Label],
    *,
    output: int = 0,
    relations: Mapping[Label, Relation] | None = None,
    gathers: bool = False,
    status: Status = "exact",
    multiplied: bool = False,
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
        multiplied: Whether the operands are factors: what is multiplied by a
            known zero is not seen.

    Raises:
        UnsupportedLayerError: The first label of a tensor is not the output's,
            or stands for another of its axes, too.
    """
    relations = relations or {}
    views: list[AnyView] = []
    given = list(given)
    for number, (operand, labels) in enumerate(given):
        if not isinstance(operand, Argument):
            continue
        if not made or labels[0] != made[0] or labels[0] in labels[1:]:
            ACROSS_BATCH(call)
        shape = call.inputs[operand.place]
        kept = tuple(dict.fromkeys(labels[1:]))
        sizes = tuple(shape[labels.index(label) - 1] for label in kept)
        stretched = {
            label
            for label, size in zip(kept, sizes, strict=True)
            if label in made and size < call.outputs[output][made.index(label) - 1]
        }
        factors = [other for place, other in enumerate(given) if multiplied and place != number]
        for one in _seen_through(call, kept, [*made], factors, stretched):
            links = []
            for label in kept:
                to, relation = one.relations.get(label, (label, relations.get(label, Window())))
                if to not in made or (label in stretched and label not in relations):
                    # Summed, or stretched along the output's axis.
                    links.append(Link(None))
                else:
                    links.append(Link(made.index(to) - 1, relation))
            sure = least_sure((status, one.status))
            view: AnyView = View(tuple(links), operand.place, output, gathers, sure)
            if len(kept) != len(labels) - 1:
                names = [kept.index(label) for label in labels[1:]]
                ids = np.arange(math.prod(shape)).reshape(shape)
                diagonal = np.einsum(ids, names, list(range(len(kept))))
                view = ChainedView((IndexedView(diagonal, shape, operand.place), view), (sizes,))
            elif one.summed:
                holes = MaskedView(_outer(kept, one.summed), operand.place)
                view = ChainedView((holes, view), (shape,))
            if one.made:
                holes = MaskedView(_outer(made[1:], one.made), output=output)
                view = chained([view], call.outputs[output], [holes])[0]
            views.append(view)
    return tuple(views)


@dataclass(frozen=True)
class _Part:
    """What of an operand a part of the output sees, through factors with zeros.

    Args:
        relations: By label of the operand: the output's label that it follows, and how.
        summed: Indices that count along the operand's other labels.
        made: Indices that see anything along the output's other labels.
        status: How sure that is.
    """

    relations: Mapping[Label, tuple[Label, Relation]] = field(default_factory=dict)
    summed: Mapping[Label, np.ndarray] = field(default_factory=dict)
    made: Mapping[Label, np.ndarray] = field(default_factory=dict)
    status: Status = "exact"


def _seen_through(
    call: Call,
    own: Sequence[Label],
    made: Sequence[Label],
    factors: Sequence[tuple[Any, Sequence[Label]]],
    stretched: Collection[Label],
) -> list[_Part]:
    """Parts that are seen of an operand with the labels `own`, next to the other factors."""
    sparse = [found for one in factors if (found := _support(call, *one, made[0])) is not None]
    if not sparse:
        return [_Part()]
    mask, labels = sparse[0]
    status: Status = "exact" if len(sparse) == 1 else "bound"
    usable = {one for one in labels if one in (set(own) - set(stretched)) | set(made[1:])}
    alone = tuple(place for place, one in enumerate(labels) if one not in usable)
    mask = np.asarray(mask.any(axis=alone))
    labels = [one for one in labels if one in usable]
    summed = [one for one in labels if one not in made]
    shared = [one for one in labels if one in made and one in own]
    free = [one for one in labels if one in made and one not in own]
    # Each summed label follows one of the output's that only the factor has.
    pairs = list(zip(free, summed, strict=False))
    others = [*shared, *free[len(pairs) :], *summed[len(pairs) :]]
    order = [labels.index(one) for pair in pairs for one in pair]
    mask = np.transpose(mask, [*order, *(labels.index(one) for one in others)])
    lengths = [mask.shape[2 * place : 2 * place + 2] for place in range(len(pairs))]
    mask = mask.reshape(*map(math.prod, lengths), *mask.shape[2 * len(pairs) :])
    if not mask.ndim or mask.all():
        return [_Part(status=status)]
    terms = products(mask)
    if len(terms) > MOST_PARTS:
        ranks = range(mask.ndim)
        terms = [tuple(np.asarray(mask.any(axis=other_axes(axis, mask.ndim))) for axis in ranks)]
        status = "bound"
    parts = []
    for sets in terms:
        relations: dict[Label, tuple[Label, Relation]] = {}
        for (to, label), shape, marked in zip(pairs, lengths, sets, strict=False):
            relations[label] = (to, Marks(marked.reshape(shape)))
        lines = dict(zip(others, sets[len(pairs) :], strict=True))
        for label in shared:
            if not lines[label].all():
                relations[label] = (label, Marks(np.diag(lines[label])))
        parts.append(
            _Part(
                relations,
                {one: lines[one] for one in summed[len(pairs) :]},
                {one: lines[one] for one in free[len(pairs) :]},
                status,
            )
        )
    return parts


def _support(
    call: Call, operand: Any, labels: Sequence[Label], batch: Label
) -> tuple[np.ndarray, list[Label]] | None:
    """Where a factor is not zero, along the labels that make a difference; `None` if anywhere."""
    zeros = call.zeros(operand)
    if zeros is None or len(set(labels)) < len(labels):
        return None
    mask, kept = ~zeros, list(labels[1:] if isinstance(operand, Argument) else labels)
    for axis in reversed(range(mask.ndim)):
        if kept[axis] == batch:
            mask = np.asarray(mask.any(axis=axis))
        elif (mask == mask.take([0], axis)).all():
            mask = mask.take(0, axis)
        else:
            continue
        del kept[axis]
    return mask, kept


def _outer(labels: Sequence[Label], lines: Mapping[Label, np.ndarray]) -> np.ndarray:
    """The places whose index along each label is marked in its line."""
    marked = np.ones((1,) * len(labels), dtype=bool)
    for label, line in lines.items():
        marked = marked & line.reshape([-1 if one == label else 1 for one in labels])
    return marked
