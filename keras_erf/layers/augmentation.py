"""Augmentation of images.

The network is taken as it runs when it is not trained: most of these layers then return the
image unchanged.
"""

from __future__ import annotations

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.simple import refused
from keras_erf.layers.elementwise import one_by_one
from keras_erf.layers.entry import Entry

__all__ = ["ENTRIES"]

_unbatched = refused("it takes the batch for an image's rows")


def augmentation(call: Call) -> tuple[AnyView, ...]:
    """Augmentation: nothing is done but in training."""
    return one_by_one(call)


def auto_contrast(call: Call) -> tuple[AnyView, ...]:
    """Each channel stretched between its darkest and its brightest pixel.

    Keras takes the first two axes for space in either data format.
    """
    if len(call.inputs[0]) != 3:
        return _unbatched(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None), Link(None), Link(2))))


def equalisation_by_parts(call: Call) -> tuple[AnyView, ...]:
    """Adaptive histogram equalisation: each pixel by histograms of parts around it.

    Reference: Zuiderveld 1994, "Contrast Limited Adaptive Histogram
    Equalization". How far the parts reach is not worked out: the whole image
    contains them.
    """
    if len(call.inputs[0]) != 3:
        return _unbatched(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None),) * 3, status="bound"))


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
)
