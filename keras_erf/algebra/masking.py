"""A view of elements of the same place, some of which see nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_erf.algebra.intervals import Reach, simplified, table
from keras_erf.algebra.views import Shape, Status

__all__ = ["MaskedView"]


@dataclass(frozen=True, eq=False)
class MaskedView:
    """Each element sees that of the same place, or nothing.

    Args:
        present: Which elements see anything; of the tensor's rank, of length 1
            along axes that make no difference.
        input: Which of the layer's inputs is seen.
        output: Which of the layer's outputs sees it.
        gathers: As in `View`.
        status: As in `View`.
    """

    present: np.ndarray
    input: int = 0
    output: int = 0
    gathers: bool = False
    status: Status = "exact"

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Every axis follows itself."""
        return tuple(range(self.present.ndim))

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, given that of the input; see `AnyView`."""
        return simplified(table(reach, shape).without(~self.present))

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the input seen by the mask `seen` of the output; see `AnyView`."""
        return np.asarray(seen & self.present)

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the output that sees any `marked` input; see `AnyView`."""
        return np.broadcast_to(marked & self.present, output)
