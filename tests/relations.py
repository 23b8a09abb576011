"""Relations of two axes drawn at random, and what they mean, word for word.

The meaning is written down a second time here, for single pairs of indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from keras_erf.algebra.geometry import Blocks, Marks, Ranges, Relation, Window

# Wide enough for every index the strategies below can lead to.
HORIZON = range(-150, 151)


def sees(relation: Relation, output: int, position: int) -> bool:
    """Whether output index `output` sees input index `position`, by the definition."""
    if isinstance(relation, Blocks):
        return output // relation.outputs == position // relation.inputs
    if isinstance(relation, Ranges):
        listed = 0 <= output < len(relation.starts)
        return listed and relation.starts[output] <= position < relation.stops[output]
    if isinstance(relation, Marks):
        outputs, inputs = relation.table.shape
        inside = 0 <= output < outputs and 0 <= position < inputs
        return inside and bool(relation.table[output, position])
    assert isinstance(relation, Window)
    return any(
        relation.up * position
        == output * relation.stride - relation.padding + tap * relation.dilation
        for tap in range(relation.size)
    )


def seen_of(relation: Relation, output: int) -> list[int]:
    """All input indices seen by an output index, inside the axis and around it."""
    return [i for i in HORIZON if sees(relation, output, i)]


@st.composite
def windows(draw: Any) -> Window:
    up = draw(st.integers(1, 4))
    return Window(
        size=draw(st.integers(1, 5)),
        stride=draw(st.integers(1, 4)) if up == 1 else 1,
        dilation=draw(st.integers(1, 4)),
        padding=draw(st.integers(-6, 9)),
        up=up,
    )


blocks = st.builds(Blocks, outputs=st.integers(1, 3), inputs=st.integers(1, 3))


@st.composite
def ranges(draw: Any, outputs: int | None = None, inputs: int = 8) -> Ranges:
    count = draw(st.integers(1, 6)) if outputs is None else outputs
    starts = [draw(st.integers(0, inputs - 1)) for _ in range(count)]
    stops = [draw(st.integers(start, inputs)) for start in starts]
    return Ranges(tuple(starts), tuple(stops))


@st.composite
def marks(draw: Any, outputs: int | None = None, inputs: int | None = None) -> Marks:
    shape = (outputs or draw(st.integers(1, 6)), inputs or draw(st.integers(1, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Marks(rng.random(shape) < 0.4)


def reached(relation: Relation, output: int) -> set[int]:
    """`seen_of` without a search: windows and blocks are solved for the input index."""
    if isinstance(relation, Window):
        taps = range(
            output * relation.stride - relation.padding,
            output * relation.stride - relation.padding + relation.size * relation.dilation,
            relation.dilation,
        )
        return {tap // relation.up for tap in taps if tap % relation.up == 0}
    if isinstance(relation, Blocks):
        block = output // relation.outputs
        return set(range(block * relation.inputs, (block + 1) * relation.inputs))
    return set(seen_of(relation, output))
