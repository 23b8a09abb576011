"""Which units share one pass forwards: those whose cones overlap enough for it to pay.

Apart, a unit costs a pass forwards over its own cone and one back. Together,
the units of a group share the pass forwards over the hull of their cones, but
each goes back over that hull, which is wider than its own cone.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_erf.cone import multiply_adds
from keras_erf.fields.theoretical import Target
from keras_erf.measuring.plans import Plan, plan_of
from keras_erf.measuring.settings import Settings

__all__ = ["grouped"]

# Units of one group: their gradients are traced one by one, and kept side by side.
LARGEST = 8


def grouped(targets: Sequence[Target], settings: Settings) -> list[Plan]:
    """Plans of units that are best measured together, of the earliest layers first."""
    groups: list[Plan] = []
    cost = 0
    for target in targets[::-1]:
        plan = plan_of([target], settings)
        alone = _cost(plan)
        if groups and len(groups[-1].targets) < LARGEST:
            both = plan.joined(groups[-1], settings)
            together = _cost(both)
            if together <= cost + alone:
                groups[-1], cost = both, together
                continue
        groups.append(plan)
        cost = alone
    return groups[::-1]


def _cost(plan: Plan) -> int:
    """Multiply-adds of one sample: forwards once, and back for each unit."""
    tracing = plan.targets[0].tracing
    back = (
        multiply_adds(plan.cone, tracing, leading_to=[target.tensor]) for target in plan.targets
    )
    return multiply_adds(plan.cone, tracing) + sum(back)
