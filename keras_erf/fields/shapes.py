"""Definite shapes of a graph's tensors, and of the tensors inside of opened layers."""

from __future__ import annotations

from keras_erf.errors import InvalidInputError
from keras_erf.graph import Graph

__all__ = ["Shapes"]


class Shapes:
    """Shapes by number of the tensor, the batch not counted.

    Args:
        graph: A graph at a definite input size.
    """

    def __init__(self, graph: Graph) -> None:
        self.tensors = list(graph.tensors)
        self._failures = graph.failures

    def is_open(self, tensor: int) -> bool:
        """Whether a tensor has no definite shape although the layers before it fit."""
        return tensor not in self._failures and None in self.tensors[tensor].shape

    def of(self, tensor: int) -> tuple[int, ...]:
        """Definite shape of a tensor.

        Raises:
            InvalidInputError: It has none at the current input size.
        """
        name, shape = self.tensors[tensor].name, self.tensors[tensor].shape
        if tensor in self._failures:
            raise InvalidInputError(
                argument="input_shape",
                expected=f"does not fit the model: {self._failures[tensor]}",
                remedy="Give another size or choose an earlier layer",
                received=f"layer={name!r}",
            )
        if self.is_open(tensor):
            raise InvalidInputError(
                argument="layer",
                expected=f"{name!r} must have a definite shape at a definite input size; a layer "
                "before it, or itself, leaves it open",
                remedy="State it (`output_shape` of a Lambda, `compute_output_shape`) or name an "
                "earlier layer",
                received=f"layer={name!r} of shape {shape} without the batch",
            )
        return shape  # type: ignore[return-value]
