"""Preprocessing: augmentation of images, indices of classes.

The network is taken as it runs when it is not trained: most of these layers then return the
image unchanged.
"""

from __future__ import annotations

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.simple import UNBATCHED, WRONG_SHAPE, refused
from keras_erf.layers.elementwise import one_by_one
from keras_erf.layers.entry import Entry

__all__ = ["ENTRIES"]


def augmentation(call: Call) -> tuple[AnyView, ...]:
    """Augmentation: nothing is done but in training."""
    return one_by_one(call)


def auto_contrast(call: Call) -> tuple[AnyView, ...]:
    """Each channel stretched between its darkest and its brightest pixel.

    Keras takes the first two axes for space in either data format.
    """
    if len(call.inputs[0]) != 3:
        return UNBATCHED(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None), Link(None), Link(2))))


def equalisation_by_parts(call: Call) -> tuple[AnyView, ...]:
    """Adaptive histogram equalisation: each pixel by histograms of parts around it.

    Reference: Zuiderveld 1994, "Contrast Limited Adaptive Histogram
    Equalization". How far the parts reach is not worked out: the whole image
    contains them.
    """
    if len(call.inputs[0]) != 3:
        return UNBATCHED(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None),) * 3, status="bound"))


_counts_batch = refused("it counts over the whole batch")


def encoding(call: Call) -> tuple[AnyView, ...]:
    """Indices, and what encodes them: one by one, or all along an axis counted."""
    mode = getattr(call.layer, "output_mode", "int")
    rank = len(call.inputs[0])
    shape = call.inputs[0]
    kept = [Link(axis) for axis in range(rank)]
    if mode not in ("int", "one_hot"):
        if not rank:
            return _counts_batch(call)
        if call.output[:-1] != shape[1:]:
            return WRONG_SHAPE(call)
        # Keras counts along the first axis.
        kept = [Link(None), *map(Link, range(rank - 1))]
    elif mode == "one_hot" and rank and shape[-1] == 1:
        # An axis of length 1 gives way to that of the classes.
        kept[-1] = Link(None)
    return tuple(View(tuple(kept), place) for place in range(len(call.inputs)))


ENTRIES = (
    Entry(
        layers="AugMix CutMix Equalization MaxNumBoundingBoxes MixUp RandAugment RandomBrightness "
        "RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform "
        "RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
        "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness "
        "RandomShear RandomTranslation RandomZoom Solarization",
        dependence=augmentation,
    ),
    Entry(layers="AutoContrast", dependence=auto_contrast),
    Entry(layers="ContrastLimitedAdaptiveHistogramEqualization", dependence=equalisation_by_parts),
    Entry(
        layers="CategoryEncoding Discretization HashedCrossing Hashing IntegerLookup",
        dependence=encoding,
    ),
)
