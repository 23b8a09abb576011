"""A view that is several in a row: an operation that does one thing after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_erf.algebra.intervals import Reach
from keras_erf.algebra.views import AnyView, Status, least_sure

__all__ = ["ChainedView", "chained"]

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ChainedView:
    """Steps from an input tensor over tensors that only the operation itself knows.

    Args:
        steps: A view for each step; the first one names the layer's input, the
            last one its output.
        between: Shapes of the tensors between the steps.
    """

    steps: tuple[AnyView, ...]
    between: tuple[Shape, ...]

    @property
    def input(self) -> int:
        """Which of the layer's inputs is seen."""
        return self.steps[0].input

    @property
    def output(self) -> int:
        """Which of the layer's outputs sees it."""
        return self.steps[-1].output

    @property
    def gathers(self) -> bool:
        """Whether some step gathers; see `View`."""
        return any(step.gathers for step in self.steps)

    @property
    def status(self) -> Status:
        """How sure the least sure step is."""
        return least_sure(step.status for step in self.steps)

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Output axis that each input axis follows over all steps."""
        axes = self.steps[0].follows
        for step in self.steps[1:]:
            axes = tuple(None if axis is None else step.follows[axis] for axis in axes)
        return axes

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, given that of the input; see `AnyView`."""
        shapes = (shape, *self.between, output)
        for step, before, after in zip(self.steps, shapes, shapes[1:], strict=False):
            reach = step.follow(reach, after, before)
        return reach

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the input seen by the mask `seen` of the output; see `AnyView`."""
        shapes = (shape, *self.between, output)
        pairs = zip(self.steps, shapes, shapes[1:], strict=False)
        for step, before, after in reversed(list(pairs)):
            seen = step.mask(seen, after, before)
        return seen

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the output that sees any `marked` input; see `AnyView`."""
        shapes = (shape, *self.between, output)
        for step, before, after in zip(self.steps, shapes, shapes[1:], strict=False):
            marked = step.spread(marked, after, before)
        return marked


def chained(
    first: Sequence[AnyView], shape: Shape, second: Sequence[AnyView]
) -> tuple[AnyView, ...]:
    """The views of two steps one after the other, as of one layer.

    Args:
        first: Views of the step that runs first.
        shape: Shape of the one tensor between them.
        second: Views of the other step, of that tensor.
    """
    return tuple(
        ChainedView((*_steps(one), *_steps(two)), (*_between(one), shape, *_between(two)))
        for one in first
        for two in second
    )


def _steps(view: AnyView) -> tuple[AnyView, ...]:
    return view.steps if isinstance(view, ChainedView) else (view,)


def _between(view: AnyView) -> tuple[Shape, ...]:
    return view.between if isinstance(view, ChainedView) else ()
