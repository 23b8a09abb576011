"""The nodes of an old graph, and the tensors that they refer to.

A node is a structure of references: `[layer, node, tensor]` or `[layer, node, tensor, arguments]`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation.values import plain

__all__ = ["References", "Tensors"]

# Tensors by the layer and the number of its node.
Tensors = Mapping[tuple[str, int], list[Any]]
# In place of a layer's name, before a value.
CONSTANT = "_CONSTANT_VALUE"


@dataclass(frozen=True)
class References:
    """References to the layers of one graph.

    Args:
        layers: Names of the layers.
    """

    layers: Collection[str]

    def _is_reference(self, value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and isinstance(value[1], int)
            and (value[0] in self.layers or value[0] == CONSTANT)
            and (len(value) == 3 or isinstance(value[3], Mapping))
            and (value[0] == CONSTANT or isinstance(value[2], int))
        )

    def decoded(self, value: Any, tensors: Tensors) -> Any:
        """A structure with tensors in place of references.

        Raises:
            KeyError: A tensor is not computed yet.
        """
        if self._is_reference(value):
            if value[0] == CONSTANT:
                return plain(value[2])
            return tensors[value[0], value[1]][value[2]]
        if isinstance(value, list | tuple):
            return [self.decoded(item, tensors) for item in value]
        if isinstance(value, Mapping):
            return {key: self.decoded(item, tensors) for key, item in value.items()}
        return value

    def arguments(self, node: Any) -> Config:
        """Arguments of a node's call, which stand with each of its inputs."""
        if self._is_reference(node):
            return dict(node[3]) if len(node) == 4 else {}
        items = node.values() if isinstance(node, Mapping) else node
        for item in items if isinstance(node, Mapping | list | tuple) else ():
            found = self.arguments(item)
            if found:
                return found
        return {}

    def first_nodes(self, structures: Any) -> dict[str, int]:
        """The lowest number of a node of each layer: 1 in most nested models.

        Args:
            structures: All nodes of the graph and its outputs.
        """
        first: dict[str, int] = {}

        def visit(value: Any) -> None:
            if self._is_reference(value):
                if value[0] != CONSTANT:
                    first[value[0]] = min(first.get(value[0], value[1]), value[1])
                if len(value) == 4:
                    visit(value[3])
            elif isinstance(value, list | tuple):
                for item in value:
                    visit(item)
            elif isinstance(value, Mapping):
                for item in value.values():
                    visit(item)

        visit(structures)
        return first
