"""Positions of layers in a drawing of a network: a row for each, branches side by side."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["lanes_of"]


def lanes_of(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The lane of each layer, from 0, such that no edge passes through another layer.

    A layer keeps its lane until the last layer that depends on it, which takes the lowest
    lane that becomes free.

    Args:
        count: Number of layers; each depends on earlier ones only.
        edges: Pairs of a layer and another one that depends on it.
    """
    last = list(range(count))
    for start, stop in edges:
        last[start] = max(last[start], stop)
    lanes: list[int] = []
    for place in range(count):
        held = {lanes[before] for before in range(place) if last[before] > place}
        lanes.append(next(lane for lane in range(count) if lane not in held))
    return lanes
