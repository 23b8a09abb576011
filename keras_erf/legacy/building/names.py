"""Names in a built model: those of the file, made such that Keras 3 takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_erf.legacy.building.structures import flat
from keras_erf.legacy.translation.configurations import allowed_name

__all__ = ["Names"]


class Names:
    """The names of one model: without slashes, and each given once.

    Args:
        old: Names of the layers in the file.
    """

    def __init__(self, old: Sequence[str]) -> None:
        self._taken: set[str] = set()
        self._named: set[int] = set()
        # Keras 0.3 called all layers of a class alike.
        self.in_order = [self.free(allowed_name(name)) for name in old]
        self.by_old: dict[str, str] = dict(zip(old, self.in_order, strict=True))

    def free(self, wanted: str) -> str:
        """A name that nothing has yet."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def name_operations(self, result: Any, wanted: str) -> None:
        """Gives the new operations behind a result the name in the file, numbered if several."""
        waiting = [tensor for tensor in flat(result) if isinstance(tensor, keras.KerasTensor)]
        name = wanted
        while waiting:
            operation = waiting.pop()._keras_history.operation
            if isinstance(operation, keras.Layer) or id(operation) in self._named:
                continue
            self._named.add(id(operation))
            operation.name = name
            name = self.free(wanted)
            for node in operation._inbound_nodes:
                waiting.extend(node.input_tensors)
