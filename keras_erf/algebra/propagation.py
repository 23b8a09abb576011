"""One step forwards: what the units of a tensor see, given what those before it see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.intervals import Line, Reach, Table, simplified, table, united
from keras_erf.algebra.views import AnyView, Shape, Status, View, least_sure

__all__ = ["TensorField", "ViewStep", "carried", "is_global"]


@dataclass(frozen=True)
class TensorField:
    """What is known of the units of a tensor.

    Args:
        reaches: Their reach along each spatial axis of the input; `None` where
            no path leads to it.
        status: How sure the least sure rule on the way is.
        uneven: Whether some channels see more than others; a unit has them all.
        loose: Whether channels that see more were left out on the way, so that
            the reaches may be too wide.
    """

    reaches: tuple[Reach, ...] | None
    status: Status = "exact"
    uneven: bool = False
    loose: bool = False


@dataclass(frozen=True, eq=False)
class ViewStep:
    """One view on the way, and where it starts.

    Args:
        view: How the tensor is seen.
        known: What is known of its units.
        shape: Its shape, the batch not counted.
        channel: Its channel axis.
        output: Shape of the tensor it leads to.
    """

    view: AnyView
    known: TensorField
    shape: Shape
    channel: int
    output: Shape

    @cached_property
    def path(self) -> tuple[Reach, ...]:
        """Reach of the tensor it leads to, along each axis of the network's input."""
        reaches = self.known.reaches or ()
        return tuple(self.view.follow(one, self.output, self.shape) for one in reaches)


def is_global(step: ViewStep) -> bool:
    """Whether a step takes in all of space where it is still spread out."""
    reaches = step.known.reaches
    if reaches is None:
        return False
    return step.view.gathers or any(map(_gathered, step.path, reaches))


def carried(
    steps: Sequence[ViewStep], output: Shape, channel: int, sizes: Sequence[int]
) -> TensorField:
    """What is known of the units of a tensor that sees others by several steps.

    Args:
        steps: One for each view; they are united.
        output: Shape of the tensor, the batch not counted.
        channel: Its channel axis.
        sizes: Sizes of the network input's spatial axes.
    """
    used = [step for step in steps if step.known.reaches is not None]
    if not used:
        return TensorField(None)
    paths = [_path(step) for step in used]
    status = least_sure(one for step in used for one in (step.view.status, step.known.status))
    differ = any(path != paths[0] for path in paths[1:])
    uneven = differ and any(_covers_in_part(step.view, channel) for step in used)
    for step in used:
        kept = not isinstance(step.view, View) or step.view.follows[step.channel] is not None
        uneven = uneven or (step.known.uneven and kept)
    loose = any(step.known.loose or (step.known.uneven and _leaves_out(step)) for step in used)
    return TensorField(united(paths, output, sizes), status, uneven, loose)


def _path(step: ViewStep) -> tuple[Reach, ...]:
    """The reach by one step, empty for units that see nothing by it."""
    path, output = step.path, step.output
    if isinstance(step.view, View) and step.view.is_same(output, step.shape):
        return path
    if step.view.gathers:
        path = tuple(replace(reach, gathered=True) for reach in path)
    still = [place for place, reach in enumerate(path) if not _axes(reach)]
    emptied = list(path)
    if not isinstance(step.view, View):
        if not still:
            return path
        blind = ~step.view.spread(np.ones((1,) * len(step.shape), dtype=bool), output, step.shape)
        if blind.any():
            emptied[still[0]] = simplified(table(path[still[0]], output).without(blind))
        return tuple(emptied)
    # Along the axes that reaches follow, those know it themselves.
    followed = {step.channel}.union(*(_axes(reach) for reach in step.known.reaches or ()))
    blind_axes = step.view.blind(set(range(len(step.shape))) - followed, output, step.shape)
    # Empty along one axis is empty; one that does not move loses nothing by being a table.
    places = still or [0]
    for turn, (axis, missing) in enumerate(blind_axes.items()):
        place = places[turn % len(places)]
        line = missing.reshape([-1 if one == axis else 1 for one in range(len(output))])
        emptied[place] = table(emptied[place], output).without(line)
    return tuple(emptied)


def _axes(reach: Reach) -> tuple[int, ...]:
    """Axes of a tensor that make a difference to a reach."""
    if isinstance(reach, Table):
        return reach.axes
    return () if reach.axis is None else (reach.axis,)


def _covers_in_part(view: AnyView, channel: int) -> bool:
    """Whether only some of the output's channels see the input by a view."""
    if isinstance(view, IndexedView):
        return bool((view.indices < 0).any())
    return isinstance(view, View) and any(link.axis == channel and link.clip for link in view.links)


def _leaves_out(step: ViewStep) -> bool:
    """Whether some of the channels of what is seen are seen by no output."""
    everything = np.ones((1,) * len(step.output), dtype=bool)
    seen = step.view.mask(everything, step.output, step.shape)
    others = tuple(axis for axis in range(len(step.shape)) if axis != step.channel)
    return not np.any(seen, axis=others).all()


def _gathered(new: Reach, old: Reach) -> bool:
    """Whether a view took in whole what units saw in different places."""
    return isinstance(new, Line) and new.axis is None and new.gathered and not old.gathered
