"""Products of matrices and tensors, read as Einstein's summation.

Each axis of an operand has a label. The output sees, of each operand, the index
it shares a label with and all indices of the axes that are summed, but for those
that a factor which is known beforehand multiplies by zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Blocks, Marks, Relation
from keras_erf.algebra.views import AnyView, Status
from keras_erf.graph import LOW, Argument
from keras_erf.rules.call import Call, Rule, bound_arguments
from keras_erf.rules.operands import Label, labelled, rank_of
from keras_erf.rules.refused import ACROSS_BATCH

__all__ = ["attention", "cross", "dot", "einsum", "inner", "matmul", "pairs", "solve", "tensordot"]


def einsum(call: Call) -> tuple[AnyView, ...]:
    """Any sum of products by its subscripts; without `->` the labels used once, in order."""
    given = bound_arguments(call)["operands"]
    subscripts = call.layer.subscripts.replace(" ", "")
    terms, arrow, right = subscripts.partition("->")
    labels = [
        _spelled(term, rank_of(call, operand))
        for term, operand in zip(terms.split(","), given, strict=True)
    ]
    if arrow:
        dots = max((sum(isinstance(one, int) for one in term) for term in labels), default=0)
        plain = len(right.replace("...", ""))
        made = _spelled(right, plain + dots if "..." in right else plain)
    else:
        every = [label for term in labels for label in term]
        dotted = sorted({label for label in every if isinstance(label, int)})
        letters = sorted({label for label in every if isinstance(label, str)})
        made = [*dotted, *(label for label in letters if every.count(label) == 1)]
    return labelled(call, zip(given, labels, strict=True), made, multiplied=True)


def _spelled(term: str, rank: int) -> list[Label]:
    """Labels of a term; those of an ellipsis are counted from its end, as in broadcasting."""
    before, dots, after = term.partition("...")
    if not dots:
        return list(before)
    return [*before, *range(len(before) + len(after) - rank, 0), *after]


def matmul(call: Call) -> tuple[AnyView, ...]:
    """The product over the last axis and the last but one; what stands before is broadcast."""
    first, second = _two(call)
    ranks = [rank_of(call, operand) for operand in (first, second)]
    leading = [list(range(2 - max(rank, 2), 0)) for rank in ranks]
    rows, columns = ["row"] * (ranks[0] > 1), ["column"] * (ranks[1] > 1)
    given = [
        (first, [*leading[0], *rows, "sum"]),
        (second, [*leading[1], "sum", *columns]),
    ]
    made = [*max(leading, key=len), *rows, *columns]
    return labelled(call, given, made, multiplied=True)


def dot(call: Call) -> tuple[AnyView, ...]:
    """The product over the last axis and the last but one; all other axes stand side by side."""
    ranks = [rank_of(call, operand) for operand in _two(call)]
    if 0 in ranks:
        return _contracted(call, [], [])
    return _contracted(call, [ranks[0] - 1], [max(ranks[1] - 2, 0)])


def inner(call: Call) -> tuple[AnyView, ...]:
    """The product over both last axes."""
    ranks = [rank_of(call, operand) for operand in _two(call)]
    if 0 in ranks:
        return _contracted(call, [], [])
    return _contracted(call, [ranks[0] - 1], [ranks[1] - 1])


def tensordot(call: Call) -> tuple[AnyView, ...]:
    """The product over the axes named, or over so many last and first ones."""
    axes = call.layer.axes
    ranks = [rank_of(call, operand) for operand in _two(call)]
    if isinstance(axes, int):
        return _contracted(call, list(range(ranks[0] - axes, ranks[0])), list(range(axes)))
    first, second = (np.atleast_1d(one).tolist() for one in axes)
    return _contracted(call, [one % ranks[0] for one in first], [one % ranks[1] for one in second])


def _contracted(call: Call, first: list[int], second: list[int]) -> tuple[AnyView, ...]:
    """Two operands summed over pairs of axes; the other axes stand side by side."""
    given: list[tuple[Any, list[Label]]] = []
    made: list[Label] = []
    for number, (operand, summed) in enumerate(zip(_two(call), (first, second), strict=True)):
        labels: list[Label] = [(number, axis) for axis in range(rank_of(call, operand))]
        made += [label for axis, label in enumerate(labels) if axis not in summed]
        for place, axis in enumerate(summed):
            labels[axis] = ("sum", place)
        given.append((operand, labels))
    return labelled(call, given, made, multiplied=True)


def pairs(call: Call) -> tuple[AnyView, ...]:
    """Distances between all pairs of vectors."""
    first, second = _two(call)
    leading = range(max(rank_of(call, first), rank_of(call, second)) - 2)
    given = [(first, [*leading, "one", "sum"]), (second, [*leading, "other", "sum"])]
    return labelled(call, given, [*leading, "one", "other"])


def solve(status: Status = "exact") -> Rule:
    """A rule for solutions of linear systems: columns of the right side are by themselves.

    Args:
        status: `"bound"` for triangular systems, whose solution sees a part.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        first, second = _two(call)
        ranks = rank_of(call, first), rank_of(call, second)
        columns = ["column"] * (ranks[0] == ranks[1])
        leading = range(ranks[0] - 2)
        given = [(first, [*leading, "i", "j"]), (second, [*leading, "k", *columns])]
        return labelled(call, given, [*leading, "made", *columns], status=status)

    return rule


def cross(call: Call) -> tuple[AnyView, ...]:
    """Component i of a vector product sees component j through 3 - i - j of the other vector.

    A vector of two components lies in the plane; two of them make a single number.
    """
    layer, both = call.layer, _two(call)
    axes = (layer.axisa % rank_of(call, both[0]), layer.axisb % rank_of(call, both[1]))
    sizes = [_shape(call, operand)[axis] for operand, axis in zip(both, axes, strict=True)]
    rank = max(rank_of(call, operand) for operand in both)
    made: list[Label] = list(range(1 - rank, 0))
    if max(sizes) == 3:
        made.insert(layer.axisc % rank, "component")
    views: list[AnyView] = []
    for operand, axis, size, other in zip(both, axes, sizes, sizes[::-1], strict=True):
        labels: list[Label] = list(range(1 - rank_of(call, operand), 0))
        labels.insert(axis, "component")
        i, j = np.ogrid[:3, :size]
        parts = Marks((i != j) & (3 - i - j < other))
        views += labelled(call, [(operand, labels)], made, relations={"component": parts})
    return tuple(views)


def attention(call: Call) -> tuple[AnyView, ...]:
    """Attention of queries of shape (T, N, H) to keys and values of shape (S, K, H).

    Output t of a head sees its own query and, by their weights, the keys and
    values that the constant mask and causality leave to it. A softmax over one
    key is 1, whatever the key and the query are. With fewer heads of keys than
    of queries, groups of queries share one. Reference: Vaswani et al. 2017,
    "Attention Is All You Need", section 3.2.
    """
    given = bound_arguments(call)
    steps, heads, _ = call.output
    keys, key_heads, _ = _shape(call, given["key"])[1:]
    visible, status = _visible(call, given["mask"], given["bias"], steps, keys)
    weighed = visible & (visible.sum(axis=1, keepdims=True) > 1)
    head: dict[Label, Relation] = {}
    if key_heads not in (1, heads):
        head["n"] = Blocks(heads // key_heads, 1)
    own = Marks(np.eye(steps, dtype=bool) & weighed.any(axis=1)) if not weighed.all() else None
    made = ["b", "t", "n", "h"]
    options: dict[str, Any] = {"gathers": True, "status": status}
    views = [
        *labelled(
            call,
            [(given["query"], ["b", "t", "n", "sum"])],
            made,
            relations={"t": own} if own else {},
            status=status,
        ),
        *labelled(
            call,
            [(given["key"], ["b", "t", "n", "sum"])],
            made,
            relations={"t": Marks(weighed), **head},
            **options,
        ),
        *labelled(
            call,
            [(given["value"], ["b", "t", "n", "h"])],
            made,
            relations={"t": Marks(visible), **head},
            **options,
        ),
    ]
    scores = [(given[name], ["b", "n", "t", "s"]) for name in ("bias", "mask")]
    if any(isinstance(one, Argument) and rank_of(call, one) != 4 for one, _ in scores):
        return ACROSS_BATCH(call)
    # Of the scores of its own row an output sees no more than the visible ones.
    bound: Status = "exact" if weighed.all() else "bound"
    views += labelled(call, scores, made, gathers=True, status=bound)
    return tuple(views)


def _visible(call: Call, mask: Any, bias: Any, steps: int, keys: int) -> tuple[np.ndarray, Status]:
    """Which keys each step may see, and how sure that is for each head of each sample."""
    visible = np.ones((steps, keys), dtype=bool)
    status: Status = "exact"
    for known, closed in ((call.fixed(mask), 0.0), (call.fixed(bias), LOW)):
        if known is None or (closed == 0 and np.isnan(known).any()):
            continue
        table = ~(known == 0) if closed == 0 else ~(known <= closed)
        table = np.broadcast_to(table, (*table.shape[:-2], steps, keys)).reshape(-1, steps, keys)
        visible &= table.any(axis=0)
        status = status if (table == table[0]).all() else "bound"
    if call.layer.is_causal:
        visible &= np.tri(steps, keys, dtype=bool)
    return visible, status


def _two(call: Call) -> list[Any]:
    """The operands of an operation that has two."""
    return list(bound_arguments(call).values())


def _shape(call: Call, operand: Any) -> tuple[int, ...]:
    """Shape of an operand; the batch of a tensor counts as one."""
    if isinstance(operand, Argument):
        return (1, *call.inputs[operand.place])
    return tuple(np.shape(operand))
