"""Which units share one pass forwards: those whose cones overlap enough for it to pay.

Apart, a unit costs a pass forwards over its own cone and one back. Together,
the units of a group share the pass forwards over the hull of their cones, but
each goes back over that hull, which is wider than its own cone.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_erf.cone import multiply_adds
from keras_erf.fields.theoretical import Target
from keras_erf.measuring.preparing import planned
from keras_erf.measuring.settings import Settings

__all__ = ["grouped"]

# Units of one group: their gradients are traced one by one, and kept side by side.
LARGEST = 8


def grouped(targets: Sequence[Target], settings: Settings) -> list[list[Target]]:
    """Groups of units that are best measured together, of the earliest layers first.

    Args:
        targets: Units of one graph and one input, in the order of the graph.
        settings: How they are measured.
    """
    groups: list[list[Target]] = []
    cost = 0
    for one in reversed(targets):
        alone = _cost([one], settings)
        if groups and len(groups[-1]) < LARGEST:
            together = _cost([*groups[-1], one], settings)
            if together <= cost + alone:
                groups[-1].append(one)
                cost = together
                continue
        groups.append([one])
        cost = alone
    return [group[::-1] for group in reversed(groups)]


def _cost(group: Sequence[Target], settings: Settings) -> int:
    """Multiply-adds of one sample: forwards once, and back for each unit."""
    cone, tracing = planned(group, settings), group[0].tracing
    back = (multiply_adds(cone, tracing, leading_to=[one.tensor]) for one in group)
    return multiply_adds(cone, tracing) + sum(back)
