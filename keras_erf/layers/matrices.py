"""Functions of the matrices in the last two axes, and solutions of linear systems."""

from __future__ import annotations

import math

import numpy as np

from keras_erf.algebra.gathering import Gather
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.dependence.axes import own_axes, rank_of
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.chain import Chain
from keras_erf.dependence.labels import labelled
from keras_erf.graph import Argument
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry
from keras_erf.layers.products import two_operands

__all__ = ["ENTRIES"]


def trace(call: Call) -> tuple[AnyView, ...]:
    """The sum of a diagonal, which goes to the last axis first."""
    layer, shape = call.layer, call.inputs[0]
    first, second = own_axes(call, [layer.axis1, layer.axis2], len(shape))
    ids = np.arange(math.prod(shape)).reshape(shape)
    diagonal = np.diagonal(ids, layer.offset, first, second)
    rank = diagonal.ndim - 1
    total = View((*map(Link, range(rank)), Link(None)))
    return (Chain((Gather(diagonal, shape), total), (diagonal.shape,)),)


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
    Entry(operations="Trace", dependence=trace, affine=in_one_tensor),
    Entry(operations="Det Eig Inv MatrixRank Pinv SVD Slogdet", dependence=matrix()),
    Entry(
        operations="Cholesky CholeskyInverse Eigh Logdet LuFactor Qr", dependence=matrix("bound")
    ),
    Entry(operations="Lstsq Solve", dependence=solve()),
    Entry(operations="SolveTriangular", dependence=solve("bound")),
)
