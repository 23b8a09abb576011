"""What a rule is told about one call of a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keras_erf.views import AnyView

__all__ = ["Call", "Rule", "channel_axis", "spatial_axes"]

Shape = tuple[int, ...]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Call:
    """One call of a layer on tensors of known shape; the batch axis is not counted.

    Args:
        name: Path of the layer in the model, for messages.
        layer: The layer or operation, read for its configuration only.
        inputs: Shape of each input tensor.
        outputs: Shape of each output tensor.
        dtypes: Name of the dtype of each input tensor.
        batch: Batch size the layer insists on, or `None`.
        filled: Gives the positional and keyword arguments it is called with; an
            input tensor is its place in `inputs`, as an `Argument`.
        run: Calls the layer by itself, in a stateless scope: `run(values,
            state=())` takes the input tensors' values, with a batch axis, and
            pairs of a variable and the value to read in its place; it gives the
            outputs' values.
    """

    name: str
    layer: Any
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    dtypes: tuple[str, ...] = ()
    batch: int | None = None
    filled: Callable[[], Arguments] = field(default=lambda: ((), {}), repr=False, compare=False)
    run: Callable[..., list[Any]] = field(default=lambda *_, **__: [], repr=False, compare=False)

    @property
    def arguments(self) -> Arguments:
        """Positional and keyword arguments of the call."""
        return self.filled()

    @property
    def output(self) -> Shape:
        """Shape of the first output tensor."""
        return self.outputs[0]


Rule = Callable[[Call], tuple[AnyView, ...]]


def channel_axis(layer: Any, rank: int) -> int:
    """Channel axis of a layer with a data format, on tensors of `rank` axes."""
    return 0 if layer.data_format == "channels_first" else rank - 1


def spatial_axes(layer: Any, rank: int) -> tuple[int, ...]:
    """The other axes, in order."""
    channel = channel_axis(layer, rank)
    return tuple(axis for axis in range(rank) if axis != channel)
