"""Where the channels of each tensor are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_erf.algebra.views import AnyView
from keras_erf.graph import Node

__all__ = ["ChannelAxes"]


class ChannelAxes:
    """Channel axis by number of the tensor, the batch not counted.

    Args:
        inputs: Those of the graph's inputs.
    """

    def __init__(self, inputs: Mapping[int, int]) -> None:
        self.axes = dict(inputs)
        # Tensors whose channels were summed away; their last axis is used in their place.
        self._flat: set[int] = set()

    def forget(self, tensor: int) -> None:
        """Drops what was found for a tensor."""
        self.axes.pop(tensor, None)
        self._flat.discard(tensor)

    def carry(self, node: Node, output: int, rank: int, views: Sequence[AnyView]) -> int:
        """Finds the channel axis of an output of `rank` axes: the layer's, or where they went.

        Args:
            node: The call.
            output: Number of the output.
            rank: Its number of axes.
            views: How it sees the tensors that the analysed input leads to.
        """
        own = node.channel_axis(rank)
        axis = self._followed(node, output, rank, views) if own is None else own
        self.axes[output] = axis
        return axis

    def _followed(self, node: Node, output: int, rank: int, views: Sequence[AnyView]) -> int:
        for view in sorted(views, key=lambda view: node.inputs[view.input] in self._flat):
            source = node.inputs[view.input]
            before = self.axes[source]
            followed = view.follows[before]
            axes = [axis for axis in view.follows if axis is not None]
            if source in self._flat and len(axes) == len(view.follows):
                # The axis that is added to a map without channels is theirs.
                added = sorted(set(range(rank)) - set(axes))
                if added:
                    return added[-1]
                self._flat.add(output)
            elif followed is None and sorted(axes) == list(range(rank)):
                self._flat.add(output)
                return rank - 1
            if followed is not None:
                return followed
            if rank == len(view.follows):
                return before
        return rank - 1
