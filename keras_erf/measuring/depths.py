"""How deep the tensors of a graph lie, and which of some depend on which."""

from __future__ import annotations

from collections.abc import Sequence

from keras_erf.graph import Graph

__all__ = ["depths_of", "edges_of"]


def depths_of(graph: Graph) -> dict[int, int]:
    """For each tensor, the number of calls on the longest way to it."""
    depths = dict.fromkeys(graph.inputs, 0)
    for node in graph.nodes:
        depth = 1 + max((depths[number] for number in node.inputs), default=0)
        depths.update(dict.fromkeys(node.outputs, depth))
    return depths


def edges_of(graph: Graph, tensors: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of places in `tensors`, from each to those that depend on it past no other of them."""
    places = {tensor: place for place, tensor in enumerate(tensors)}
    # For each tensor the nearest of `tensors`: itself, or those its call depends on.
    nearest: dict[int, set[int]] = {}
    edges = set()
    for node in graph.nodes:
        before = set().union(*(nearest.get(number, set()) for number in node.inputs))
        for output in node.outputs:
            edges |= {(place, places[output]) for place in before if output in places}
            nearest[output] = {places[output]} if output in places else before
    return tuple(sorted(edges))
