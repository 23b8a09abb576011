"""Products of matrices and tensors, read as Einstein's summation.

Each axis of an operand has a label. The output sees, of each operand, the index it shares a
label with and all indices of the axes that are summed, but for those that a factor which is
known beforehand multiplies by zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Marks
from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.dependence.axes import own_axes, rank_of
from keras_erf.dependence.call import Call, Rule, bound_arguments
from keras_erf.dependence.chaining import ChainedView
from keras_erf.dependence.labelled_axes import Label, labelled
from keras_erf.graph import Argument
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry
from keras_erf.layers.operation_parts import multiplied_on_part

__all__ = ["ENTRIES", "operand_shape", "two_operands"]


def dot_layer(call: Call) -> tuple[View, ...]:
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
    first, second = two_operands(call)
    ranks = [rank_of(call, operand) for operand in (first, second)]
    leading = [list(range(2 - max(rank, 2), 0)) for rank in ranks]
    rows, columns = ["row"] * (ranks[0] > 1), ["column"] * (ranks[1] > 1)
    given = [(first, [*leading[0], *rows, "sum"]), (second, [*leading[1], "sum", *columns])]
    made = [*max(leading, key=len), *rows, *columns]
    return labelled(call, given, made, multiplied=True)


def dot(call: Call) -> tuple[AnyView, ...]:
    """The product over the last axis and the last but one; all other axes stand side by side."""
    ranks = [rank_of(call, operand) for operand in two_operands(call)]
    if 0 in ranks:
        return _contracted(call, [], [])
    return _contracted(call, [ranks[0] - 1], [max(ranks[1] - 2, 0)])


def inner(call: Call) -> tuple[AnyView, ...]:
    """The product over both last axes."""
    ranks = [rank_of(call, operand) for operand in two_operands(call)]
    if 0 in ranks:
        return _contracted(call, [], [])
    return _contracted(call, [ranks[0] - 1], [ranks[1] - 1])


def tensordot(call: Call) -> tuple[AnyView, ...]:
    """The product over the axes named, or over N last and N first ones."""
    axes = call.layer.axes
    ranks = [rank_of(call, operand) for operand in two_operands(call)]
    if isinstance(axes, int):
        return _contracted(call, list(range(ranks[0] - axes, ranks[0])), list(range(axes)))
    first, second = (np.atleast_1d(one).tolist() for one in axes)
    return _contracted(call, [one % ranks[0] for one in first], [one % ranks[1] for one in second])


def _contracted(call: Call, first: list[int], second: list[int]) -> tuple[AnyView, ...]:
    """Two operands summed over pairs of axes; the other axes stand side by side."""
    given: list[tuple[Any, list[Label]]] = []
    made: list[Label] = []
    for number, (operand, summed) in enumerate(
        zip(two_operands(call), (first, second), strict=True)
    ):
        labels: list[Label] = [(number, axis) for axis in range(rank_of(call, operand))]
        made += [label for axis, label in enumerate(labels) if axis not in summed]
        for place, axis in enumerate(summed):
            labels[axis] = ("sum", place)
        given.append((operand, labels))
    return labelled(call, given, made, multiplied=True)


def pairs(call: Call) -> tuple[AnyView, ...]:
    """Distances between all pairs of vectors."""
    first, second = two_operands(call)
    leading = range(max(rank_of(call, first), rank_of(call, second)) - 2)
    given = [(first, [*leading, "one", "sum"]), (second, [*leading, "other", "sum"])]
    return labelled(call, given, [*leading, "one", "other"])


def cross(call: Call) -> tuple[AnyView, ...]:
    """Component i of a vector product sees component j through 3 - i - j of the other vector.

    A vector of two components lies in the plane; two of them make a single number.
    """
    layer, both = call.layer, two_operands(call)
    axes = (layer.axisa % rank_of(call, both[0]), layer.axisb % rank_of(call, both[1]))
    sizes = [operand_shape(call, operand)[axis] for operand, axis in zip(both, axes, strict=True)]
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


def two_operands(call: Call) -> list[Any]:
    """The operands of an operation that has two."""
    return list(bound_arguments(call).values())


def operand_shape(call: Call, operand: Any) -> tuple[int, ...]:
    """Shape of an operand; the batch of a tensor counts as one."""
    if isinstance(operand, Argument):
        return (1, *call.inputs[operand.place])
    return tuple(np.shape(operand))


def trace(call: Call) -> tuple[AnyView, ...]:
    """The sum of a diagonal, which goes to the last axis first."""
    layer, shape = call.layer, call.inputs[0]
    first, second = own_axes(call, [layer.axis1, layer.axis2], len(shape))
    ids = np.arange(math.prod(shape)).reshape(shape)
    diagonal = np.diagonal(ids, layer.offset, first, second)
    rank = diagonal.ndim - 1
    total = View((*map(Link, range(rank)), Link(None)))
    return (ChainedView((IndexedView(diagonal, shape), total), (diagonal.shape,)),)


def matrix(status: Status = "exact") -> Rule:
    """A rule for functions of the matrices in the last two axes.

    Args:
        status: `"bound"` for factors with zeros by construction (triangular ones).
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        leading = len(call.inputs[0]) - 1
        labels = [*range(leading), "row", "column"]
        views: list[AnyView] = []
        for output, shape in enumerate(call.outputs):
            made = [*range(leading), *("made", "too")[: len(shape) + 1 - leading]]
            views += labelled(call, [(Argument(0), labels)], made, output=output, status=status)
        return tuple(views)

    return rule


def solve(status: Status = "exact") -> Rule:
    """A rule for solutions of linear systems: columns of the right side are by themselves.

    Args:
        status: `"bound"` for triangular systems, whose solution sees a part.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        first, second = two_operands(call)
        ranks = rank_of(call, first), rank_of(call, second)
        columns = ["column"] * (ranks[0] == ranks[1])
        leading = range(ranks[0] - 2)
        given = [(first, [*leading, "i", "j"]), (second, [*leading, "k", *columns])]
        return labelled(call, given, [*leading, "made", *columns], status=status)

    return rule


# Triangular factors and systems have zeros that no label knows.


ENTRIES = (
    Entry(layers="Dot", dependence=dot_layer),
    Entry(operations="Einsum", dependence=einsum, affine=in_one_tensor),
    Entry(operations="Matmul", dependence=matmul, part=multiplied_on_part, affine=in_one_tensor),
    Entry(operations="Dot", dependence=dot, affine=in_one_tensor),
    Entry(operations="Inner", dependence=inner, affine=in_one_tensor),
    Entry(operations="Tensordot", dependence=tensordot, affine=in_one_tensor),
    Entry(operations="Cross", dependence=cross),
    Entry(operations="CDist", dependence=pairs),
    Entry(operations="Trace", dependence=trace, affine=in_one_tensor),
    Entry(operations="Det Eig Inv MatrixRank Pinv SVD Slogdet", dependence=matrix()),
    Entry(
        operations="Cholesky CholeskyInverse Eigh Logdet LuFactor Qr", dependence=matrix("bound")
    ),
    Entry(operations="Lstsq Solve", dependence=solve()),
    Entry(operations="SolveTriangular", dependence=solve("bound")),
)
