"""Operations that copy elements to other places, or put constants between them.

Which element goes where is not derived from the options but read off the operation itself: it
runs on the numbers of its inputs' elements (`traced`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from keras import layers

from keras_erf.algebra.gathering import rearranged
from keras_erf.algebra.views import AnyView
from keras_erf.dependence.call import Call
from keras_erf.errors import UnsupportedLayerError
from keras_erf.layers.conditions import in_all_tensors, in_first_operand, in_one_tensor
from keras_erf.layers.entry import Entry
from keras_erf.layers.recipes import Recipe, SquareSite, in_double
from keras_erf.layers.resampled import space_of
from keras_erf.signals.profiles import passed

__all__ = ["ENTRIES", "moved_squares", "traced"]


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
        raise _refused(call, f"it does not run on integers ({type(error).__name__})") from error
    views: list[AnyView] = []
    for output, shape in enumerate(call.outputs):
        once, again = (run[output] for run in runs)
        if once.shape != (batch, *shape):
            raise _refused(call, f"it makes {once.shape[0]} samples of {batch}")
        with np.errstate(invalid="ignore"):
            # Constants may be infinite.
            copied = again - once == raised
        # Sample by sample the numbers go up by the total.
        samples = total * np.arange(batch).reshape(-1, *[1] * len(shape))
        sources = np.where(copied, once - samples, 0)[0].astype(np.int64)
        alike = np.array_equal(once, np.where(copied, sources + samples, once[0]))
        if not (copied | (again == once)).all() or (sources >= total).any() or not alike:
            raise _refused(call, "its outputs are not copies of its sample's inputs")
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


def _refused(call: Call, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"No rule tells the receptive field of layer {call.name!r}: {reason}. Choose a layer "
        f"before it, or pass a rule by `rules`. Received: {type(call.layer).__name__} from "
        f"{call.inputs} to {call.outputs}"
    )


# They put zeros around an image, or cut it.
FRAMING = (
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D,
    layers.Cropping1D, layers.Cropping2D, layers.Cropping3D, layers.CenterCrop,
)  # fmt: skip


def moved_squares(site: SquareSite) -> Recipe | None:
    """Copies of entries, zeros and nothing else: padding, cropping, rearranging."""
    layer, made = in_double(site.layer), replace(site.signal, profile=None, sizes=())
    if isinstance(layer, FRAMING):
        profile, gain = passed(layer, site.signal.profile, space_of(site))
        # A channel's mean over space falls with its entries.
        made = site.signal.changed(gain, gain**2, profile)
        steps = (1.0,) * len(space_of(site))
        return Recipe(layer, (made,), common=1.0, steps=steps, as_called=True)
    return Recipe(layer, (made,), common=1.0, as_called=True)


ENTRIES = (
    Entry(
        operations="DepthToSpace SpaceToDepth Split Unstack",
        dependence=traced,
        squares=moved_squares,
        alike=False,
        affine=in_one_tensor,
    ),
    Entry(
        operations="Flip Roll",
        dependence=traced,
        squares=moved_squares,
        alike=False,
        affine=in_one_tensor,
        keeps_known=True,
    ),
    Entry(
        operations="GetItem Pad Repeat",
        dependence=traced,
        squares=moved_squares,
        alike=False,
        affine=in_first_operand,
        keeps_known=True,
    ),
    Entry(
        operations="Stack",
        dependence=traced,
        squares=moved_squares,
        alike=False,
        affine=in_all_tensors,
        keeps_known=True,
    ),
    Entry(
        operations="ArraySplit CropImages Diagonal Dsplit Fliplr Hsplit PadImages Rot90",
        dependence=traced,
        affine=in_one_tensor,
    ),
    Entry(operations="Tile Tril Triu", dependence=traced, affine=in_one_tensor, keeps_known=True),
    Entry(operations="Append", dependence=traced, affine=in_all_tensors, keeps_known=True),
    Entry(operations="Dstack Hstack", dependence=traced, affine=in_all_tensors),
    Entry(operations="BroadcastTo Ravel Slice", dependence=traced, keeps_known=True),
    Entry(
        operations="ExtractSequences Flipud Rearrange SliceUpdate Vsplit Vstack", dependence=traced
    ),
)
