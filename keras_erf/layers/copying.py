"""Operations that copy elements to other places, and concatenations.

Which element goes where is not derived from the options but read off the operation itself: it
runs on the numbers of its inputs' elements (`traced`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
from keras import Layer, tree

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.indexing import rearranged
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import counted_axes
from keras_erf.dependence.call import Call, unsupported
from keras_erf.graph import Argument
from keras_erf.layers.conditions import in_all_tensors, in_first_operand, in_one_tensor
from keras_erf.layers.entry import Entry
from keras_erf.layers.normalisation import axis_of
from keras_erf.layers.operation_parts import moved_on_part
from keras_erf.layers.parts import called_on_part
from keras_erf.layers.recipes import Recipe, SquareSite, in_double
from keras_erf.signals.signal_moments import Signal, mixed

__all__ = ["ENTRIES", "concatenated_squares", "copied_squares", "copies", "traced"]


def traced(call: Call) -> tuple[AnyView, ...]:
    """Any layer whose outputs are copies of inputs, or constants.

    The layer is run on integers that number the elements of all inputs, and
    once more with all numbers raised by the same amount: what is raised by it
    is a copy of the element it names, what stays is a constant.

    Raises:
        UnsupportedLayerError: The layer computes something, mixes the samples
            of a batch, or does not run on integers.
    """
    batch = call.batch or 2
    counts = [math.prod(shape) for shape in call.inputs]
    total = sum(counts) + 1
    firsts = list(itertools.accumulate(counts, initial=1))
    numbered = [
        first
        + np.arange(count).reshape(1, *shape)
        + total * np.arange(batch).reshape(-1, *[1] * len(shape))
        for first, count, shape in zip(firsts, counts, call.inputs, strict=False)
    ]
    raised = batch * total
    try:
        runs = [
            [np.asarray(made) for made in call.run([ids + more for ids in numbered])]
            for more in (0, raised)
        ]
    except Exception as error:  # A layer raises what it likes.
        raise unsupported(call, f"it does not run on integers ({type(error).__name__})") from error
    views: list[AnyView] = []
    for output, shape in enumerate(call.outputs):
        once, again = (run[output] for run in runs)
        if once.shape != (batch, *shape):
            raise unsupported(call, f"it makes {once.shape[0]} samples of {batch}")
        with np.errstate(invalid="ignore"):
            # Constants may be infinite.
            copied = again - once == raised
        # Sample by sample the numbers go up by the total.
        samples = total * np.arange(batch).reshape(-1, *[1] * len(shape))
        sources = np.where(copied, once - samples, 0)[0].astype(np.int64)
        alike = np.array_equal(once, np.where(copied, sources + samples, once[0]))
        if not (copied | (again == once)).all() or (sources >= total).any() or not alike:
            raise unsupported(call, "its outputs are not copies of its sample's inputs")
        for place, (first, count) in enumerate(zip(firsts, counts, strict=False)):
            indices = np.where((sources >= first) & (sources < first + count), sources - first, -1)
            if (indices >= 0).any():
                views.append(
                    rearranged(
                        indices,
                        call.inputs[place],
                        input=place,
                        output=output,
                        alone=len(call.inputs) == 1,
                    )
                )
    return tuple(views)


def padded(call: Call) -> tuple[AnyView, ...]:
    """What is put around a tensor: a constant moves it, whatever the constant; the rest is traced.

    A constant may be no whole number, on which tracing runs.
    """
    layer, rank = call.layer, len(call.output)
    widths = np.broadcast_to(layer.pad_width, (rank + 1, 2))
    if layer.mode != "constant" or widths[0].any() or len(call.inputs) > 1:
        return traced(call)
    starts = widths[1:, 0].tolist()
    links = (Link(axis, Window(padding=before)) for axis, before in enumerate(starts))
    return (View(tuple(links)),)


def copied_squares(site: SquareSite) -> Recipe:
    """Copies of entries, zeros and nothing else: rearranging, cutting, putting together."""
    sources = _sources(site)
    signals = tuple(_copied(site, found) for found in sources)
    return Recipe(in_double(site.layer), signals, common=1.0, as_called=True)


def _sources(site: SquareSite) -> list[np.ndarray]:
    """For each entry of each output the place of the input it is a copy of; -1 for constants."""
    call = site.call
    # Numbers that no constant is.
    marks = [np.asarray(math.pi + place, dtype) for place, dtype in enumerate(call.dtypes)]
    values = [
        np.full((call.batch or 1, *shape), mark)
        for shape, mark in zip(call.inputs, marks, strict=True)
    ]
    outputs = [np.asarray(output)[0] for output in call.run(values)]
    places = [np.where(output == marks[0], 0, -1) for output in outputs]
    for place, mark in enumerate(marks[1:], 1):
        places = [
            np.where(output == mark, place, known)
            for output, known in zip(outputs, places, strict=True)
        ]
    return places


def _copied(site: SquareSite, places: np.ndarray) -> Signal:
    """The signal of an output whose entries are copies from inputs at `places`."""
    counts = [np.count_nonzero(places == place) for place in range(len(site.signals))]
    known = [(one, size) for one, size in zip(site.signals, counts, strict=True) if size]
    if len(known) > 1:
        signals, sizes = zip(*known, strict=True)
        made = mixed(signals, sizes)
    else:
        made = known[0][0] if known else site.signal
    made = replace(made, profile=None, sizes=())
    if (places >= 0).all():
        return made
    # A channel's mean falls with the share of its entries that are copies.
    axes = tuple(axis for axis in range(places.ndim) if axis != site.channels)
    shares = (places >= 0).mean(axis=axes)
    return made.changed(float(shares.mean()), float(np.square(shares).mean()), None)


# Layers and operations that copy entries: channels may become space.
copies = partial(Entry, dependence=traced, squares=copied_squares, alike=False, keeps_known=True)


def concatenation(call: Call) -> tuple[View, ...]:
    """Inputs side by side along `axis`."""
    rank = len(call.output)
    (along,) = counted_axes(call, [call.layer.axis])
    views = []
    offset = 0
    for number, shape in enumerate(call.inputs):
        shifted = Link(along, Window(padding=offset), clip=True)
        links = tuple(shifted if axis == along else Link(axis) for axis in range(rank))
        views.append(View(links, input=number))
        offset += shape[along]
    return tuple(views)


def joined(call: Call) -> tuple[AnyView, ...]:
    """Tensors side by side; traced where constants are among them."""
    args, kwargs = call.arguments
    given = tree.flatten((args, kwargs))
    tensors = sum(isinstance(one, Argument) for one in given)
    if tensors < len(given) or call.layer.axis % (len(call.output) + 1) == 0:
        return traced(call)
    return concatenation(call)


def concatenated_squares(site: SquareSite) -> Recipe | None:
    """Tensors next to each other; narrow, those next to each other along channels are alike."""
    axis = axis_of(site)
    sizes = [shape[axis] for shape in site.call.inputs]
    made = mixed(site.signals, sizes)
    if axis != site.channels:
        made = replace(made, profile=None, sizes=())
    joins = isinstance(site.layer, Layer)
    if site.narrow:
        # Each channel of an input is one of the output's, and sees what that one sees.
        return Recipe(None, (made,), common=1.0, joins=joins) if axis == site.channels else None
    return Recipe(in_double(site.layer), (made,), common=1.0, joins=joins, as_called=True)


joins = partial(Entry, squares=concatenated_squares, affine=in_all_tensors, keeps_known=True)


ENTRIES = (
    copies(
        operations="ArraySplit CropImages DepthToSpace Diagonal Dsplit "
        "ExtractSequences Flip Fliplr Hsplit PadImages Rearrange Roll Rot90 "
        "SpaceToDepth Split Tile Tril Triu Unstack",
        affine=in_one_tensor,
    ),
    copies(operations="Pad", dependence=padded, part=moved_on_part, affine=in_first_operand),
    copies(operations="Repeat", affine=in_first_operand),
    copies(operations="Append Dstack Hstack Stack", affine=in_all_tensors),
    # Their arguments state the size of the batch, which differs in the second-moment network.
    copies(operations="BroadcastTo Slice", squares=None),
    # Most of these move samples.
    copies(operations="Flipud Ravel SliceUpdate Vsplit Vstack"),
    joins(layers="Concatenate", dependence=concatenation, part=called_on_part),
    joins(operations="Concatenate", dependence=joined, part=called_on_part),
)
