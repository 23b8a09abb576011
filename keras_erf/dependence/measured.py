"""The rule for unknown layers: the layer is measured by itself.

It runs alone, at its real size, on random inputs and with random weights in place of its own,
and gradients are taken back from single units: it is one layer, so nothing underflows. Changes
of the inputs show what no gradient does (`perturbation`). What units on a few lines through the
map see gives a window, or a table, per axis; units drawn at random then check it. Where what is
seen is no box of such sets, its mask is measured each time it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from keras_erf.algebra.geometry import Marks, Relation, Window
from keras_erf.algebra.intervals import Reach
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call
from keras_erf.dependence.gradient_support import (
    Unsettled,
    check_samples,
    is_smooth,
    seen_alone,
    unmeasurable,
)
from keras_erf.dependence.perturbation import Seen, beyond

__all__ = ["MeasuredView", "measured"]

Shape = tuple[int, ...]
Unit = tuple[int, ...]
# Units drawn at random that must bear out what the lines say.
CHECKED_UNITS = 8


def measured(call: Call) -> tuple[AnyView, ...]:
    """Measures which inputs a layer's outputs depend on.

    Channels are taken together: a unit is one position with all its channels
    (the last axis, or the first where the layer says `channels_first`).

    Raises:
        UnsupportedLayerError: Nothing the layer returns depends on its inputs, it
            cannot be run by itself, or it mixes the samples of a batch.
    """
    if keras.config.backend() != "tensorflow":
        raise unmeasurable(call, f"the Keras backend is {keras.config.backend()}, not TensorFlow")
    smooth = [place for place, dtype in enumerate(call.dtypes) if is_smooth(dtype)]
    if not smooth:
        raise unmeasurable(call, "none of its inputs is of a floating type")
    check_samples(call)
    views: list[AnyView] = []
    for output in range(len(call.outputs)):
        try:
            views.extend(_views_of(call, output))
        except Unsettled:
            # Positions are computed: no draw shows where they end.
            views.extend(
                View((Link(None),) * len(shape), place, output, status="bound")
                for place, shape in enumerate(call.inputs)
            )
    if not any(view.input in smooth for view in views):
        raise unmeasurable(call, "nothing it returns depends on its inputs")
    return tuple(views)


@dataclass(frozen=True, eq=False)
class MeasuredView:
    """A view whose masks are measured when they are asked for.

    Args:
        call: The layer.
        hull: Gives the hull of what is seen, axis by axis.
        status: `"measured"` if the hull was borne out, else `"bound"`.
    """

    call: Call = field(repr=False)
    hull: View
    status: Status
    gathers: bool = False

    @property
    def input(self) -> int:
        """Which of the layer's inputs is seen."""
        return self.hull.input

    @property
    def output(self) -> int:
        """Which of the layer's outputs sees it."""
        return self.hull.output

    @property
    def hidden(self) -> bool:
        """Whether some of what is seen has no gradient."""
        return self.hull.hidden

    @property
    def follows(self) -> tuple[int | None, ...]:
        """Output axis that each input axis follows."""
        return self.hull.follows

    def follow(self, reach: Reach, output: Shape, shape: Shape) -> Reach:
        """Reach of the output, given that of the input; see `views.AnyView`."""
        return self.hull.follow(reach, output, shape)

    def spread(self, marked: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the outputs that may see `marked` inputs; see `views.AnyView`."""
        return self.hull.spread(marked, output, shape)

    def mask(self, seen: np.ndarray, output: Shape, shape: Shape) -> np.ndarray:
        """Mask of the input seen by the mask `seen` of the output; see `views.AnyView`."""
        asked = np.broadcast_to(seen, output)[None]
        return _seen(self.call, self.output, asked).masks[self.input][0]


def _views_of(call: Call, output: int) -> Iterator[AnyView]:
    """The views of all inputs by one output."""
    shape = call.outputs[output]
    axes = _unit_axes(call, shape)
    middle = tuple(shape[axis] // 2 for axis in axes)
    rng = np.random.default_rng(0)
    lines = {place: sorted(_spots(shape[axis], rng)) for place, axis in enumerate(axes)}
    on_lines = [
        tuple(index if one == place else at for one, at in enumerate(middle))
        for place, line in lines.items()
        for index in line
    ]
    drawn = [tuple(int(rng.integers(shape[axis])) for axis in axes) for _ in range(CHECKED_UNITS)]
    units = sorted({middle, *on_lines, *drawn})
    found = _seen_by_units(call, output, axes, units)
    masks = dict(zip(units, zip(*found.masks, strict=True), strict=True))
    for place, own in enumerate(call.inputs):
        everything = View(
            (Link(None),) * len(own), place, output, status="bound", hidden=found.hidden
        )
        if not all(map(is_smooth, call.dtypes)):
            # What an integer does is unknown: it may decide which of the others are read.
            yield everything
            continue
        seen = {unit: masks[unit][place] for unit in units}
        if not any(mask.any() for mask in seen.values()):
            continue
        links, sure = _links(call, output, place, axes, middle, lines, seen)
        view = View(links, place, output, status="measured", hidden=found.hidden)
        predicted = {unit: view.mask(_asked(shape, axes, unit), shape, own) for unit in units}
        channel = channel_axis(call.layer, len(own))
        predicted = {
            unit: np.broadcast_to(mask.any(channel, keepdims=True), seen[unit].shape)
            for unit, mask in predicted.items()
        }
        if not found.sure:
            yield replace(view, status="bound")
        elif all(np.array_equal(predicted[unit], seen[unit]) for unit in units):
            yield view
        elif all((predicted[unit] | ~seen[unit]).all() for unit in units):
            yield MeasuredView(call, view, "measured" if sure else "bound")
        else:
            yield MeasuredView(call, everything, "bound")


def _links(
    call: Call,
    output: int,
    place: int,
    axes: Sequence[int],
    middle: Unit,
    lines: dict[int, list[int]],
    seen: dict[Unit, np.ndarray],
) -> tuple[tuple[Link, ...], bool]:
    """A link for each axis, from units on lines through the middle; and which are hulls."""
    links: list[Link] = []
    constant: dict[int, np.ndarray] = {}
    sure = True
    channel = channel_axis(call.layer, len(call.inputs[place]))
    for axis in range(len(call.inputs[place])):
        if axis == channel:
            links.append(Link(None))
            continue
        shadow = {unit: _shadow(mask, axis) for unit, mask in seen.items()}
        along: dict[int, dict[int, np.ndarray]] = {}
        for one, line in lines.items():
            found = {index: shadow[_moved(middle, one, index)] for index in line}
            # A unit that sees nothing does not show along which axis it moves.
            looked = [place for place in found.values() if place.any()]
            if any(not np.array_equal(place, looked[0]) for place in looked):
                along[one] = found
        usual = next((place for place in shadow.values() if place.any()), shadow[middle])
        if len(along) > 1:
            # Near an edge taps of other axes are lost: a window moves along one of them.
            moving = {one: found for one, found in along.items() if _window(found, middle[one])}
            along = moving if len(moving) == 1 else along
        if len(along) != 1:
            links.append(Link(None))
            if along:
                sure = False
            elif not usual.all():
                constant[axis] = usual
            continue
        ((followed, found),) = along.items()
        relation = _window(found, middle[followed]) or _table(
            call, output, place, axis, axes, middle, followed
        )
        links.append(Link(axes[followed], relation))
    # What every unit sees alike, and is not all, is tied to an output axis nothing else follows.
    free = set(range(len(call.outputs[output]))) - {link.axis for link in links}
    for axis, marked in constant.items():
        if not free:
            return tuple(links), False
        follows = free.pop()
        links[axis] = Link(follows, Marks(np.tile(marked, (call.outputs[output][follows], 1))))
    return tuple(links), sure


def _window(found: dict[int, np.ndarray], middle: int) -> Window | None:
    """The window that makes all the shadows `found`, by index along one axis, or `None`."""
    places = {index: np.flatnonzero(shadow) for index, shadow in found.items()}
    here, after = places[middle], places.get(middle + 1)
    if after is None or not here.size or here.size != after.size:
        return None
    stride = int(after[0] - here[0])
    gaps = np.diff(here)
    dilation = int(gaps[0]) if gaps.size else 1
    if stride < 1 or (gaps != dilation).any():
        return None
    window = Window(here.size, stride, dilation, padding=middle * stride - int(here[0]))
    size = len(found[middle])
    for index, expected in places.items():
        taps, _ = window.taps(np.array([index]))
        inside = taps[(taps >= 0) & (taps < size)]
        if not np.array_equal(inside, expected):
            return None
    return window


def _table(
    call: Call, output: int, place: int, axis: int, axes: Sequence[int], middle: Unit, followed: int
) -> Relation:
    """What every unit on a line through the middle sees along one input axis."""
    count = call.outputs[output][axes[followed]]
    units = [_moved(middle, followed, index) for index in range(count)]
    masks = _seen_by_units(call, output, axes, units).masks[place]
    return Marks(np.stack([_shadow(mask, axis) for mask in masks]))


def _seen_by_units(call: Call, output: int, axes: Sequence[int], units: Sequence[Unit]) -> Seen:
    """Masks of each input, one per unit."""
    shape = call.outputs[output]
    asked = np.stack([np.broadcast_to(_asked(shape, axes, unit), shape) for unit in units])
    return _seen(call, output, asked)


def _seen(call: Call, output: int, asked: np.ndarray) -> Seen:
    """Masks of each input by gradients, and by changes."""
    return beyond(call, output, asked, seen_alone(call, output, asked, together=True))


def _unit_axes(call: Call, shape: Shape) -> tuple[int, ...]:
    """Axes of an output that distinguish its units: all but the channels."""
    channel = channel_axis(call.layer, len(shape))
    return tuple(axis for axis in range(len(shape)) if axis != channel)


def _spots(size: int, rng: np.random.Generator) -> set[int]:
    """Indices on a line: its ends, some around its middle and a few more."""
    middle = size // 2
    wanted = {0, 1, middle - 1, middle, middle + 1, middle + 2, size - 2, size - 1}
    wanted |= set(rng.integers(size, size=4).tolist())
    return {index for index in wanted if 0 <= index < size}


def _asked(shape: Shape, axes: Sequence[int], unit: Unit) -> np.ndarray:
    """Mask of one unit; its channels are of length 1."""
    asked = np.zeros([n if axis in axes else 1 for axis, n in enumerate(shape)], dtype=bool)
    index = dict(zip(axes, unit, strict=True))
    asked[tuple(index.get(axis, 0) for axis in range(len(shape)))] = True
    return asked


def _moved(unit: Unit, place: int, index: int) -> Unit:
    return (*unit[:place], index, *unit[place + 1 :])


def _shadow(mask: np.ndarray, axis: int) -> np.ndarray:
    """The indices along an axis at which anything is seen."""
    return np.asarray(mask.any(axis=tuple(one for one in range(mask.ndim) if one != axis)))
