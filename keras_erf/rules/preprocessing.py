"""Layers that prepare data: augmentation, spectrograms, indices of words and classes.

The network is taken as it runs when it is not trained: augmentation then hands
the image on as it is.
"""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Blocks, Ranges, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.rules import pointwise
from keras_erf.rules.call import Call
from keras_erf.rules.chain import chained
from keras_erf.rules.measured import measured
from keras_erf.rules.refused import refused

__all__ = [
    "augmentation",
    "auto_contrast",
    "encoding",
    "equalisation_by_parts",
    "mel_spectrogram",
    "spectrogram",
]

unbatched = refused("it takes the batch for an image's rows")
wrong_shape = refused("Keras states another shape than it returns")
counts_batch = refused("it counts over the whole batch")


def augmentation(call: Call) -> tuple[AnyView, ...]:
    """Augmentation: nothing is done but in training."""
    return pointwise.one_by_one(call)


def auto_contrast(call: Call) -> tuple[AnyView, ...]:
    """Each channel stretched between its darkest and its brightest pixel.

    Keras takes the first two axes for space in either data format.
    """
    if len(call.inputs[0]) != 3:
        return unbatched(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None), Link(None), Link(2))))


def equalisation_by_parts(call: Call) -> tuple[AnyView, ...]:
    """Adaptive histogram equalisation: each pixel by histograms of parts around it.

    Reference: Zuiderveld 1994, "Contrast Limited Adaptive Histogram
    Equalization". How far the parts reach is not worked out: the whole image
    contains them.
    """
    if len(call.inputs[0]) != 3:
        return unbatched(call)
    own = View((Link(0), Link(1), Link(2)))
    return (own, View((Link(None),) * 3, status="bound"))


def spectrogram(call: Call) -> tuple[AnyView, ...]:
    """`STFTSpectrogram`: a strided convolution of each channel, one output per frequency."""
    layer = call.layer
    first = layer.data_format == "channels_first"
    time, channel = (1, 0) if first else (0, 1)
    length, channels = call.inputs[0][time], call.inputs[0][channel]
    frame, step = layer.frame_length, layer.frame_step or layer.frame_length // 2
    before = 0
    if layer.padding == "same":
        before = max((-(-length // step) - 1) * step + frame - length, 0) // 2
    links = [Link(time, Window(frame, step, padding=before))] * 2
    if layer.expand_dims:
        links[channel] = Link(0 if first else 2)
    else:
        links[channel] = Link(channel, Blocks(call.output[channel] // channels, 1))
    return (View(tuple(links)),)


def mel_spectrogram(call: Call) -> tuple[AnyView, ...]:
    """`MelSpectrogram`: frames around the multiples of the stride, the signal's ends mirrored.

    In decibels the loudest value of all, of the whole batch, limits the others:
    then everything is seen besides.
    """
    layer = call.layer
    (length,) = call.inputs[0]
    if layer.window not in ("hann", "hamming", None):
        return measured(call)
    # Mirrored about the first and the last sample, which are not doubled.
    mirrored = np.pad(np.arange(length), layer.fft_length // 2, mode="reflect")
    starts = tuple(mirrored.tolist())
    signal = View((Link(0, Ranges(starts, tuple(one + 1 for one in starts))),))
    if call.output[1] != 1 + (len(mirrored) - layer.fft_length) // layer.sequence_stride:
        return wrong_shape(call)
    # The window stands in the middle of the frame. Hann's is zero at its first sample; of an odd
    # number of samples at the last one too. Without one Keras takes the frame as it is.
    taps = layer.sequence_length if layer.window else layer.fft_length
    first = (layer.fft_length - taps) // 2
    if layer.window == "hann" and taps > 1:
        first, taps = first + 1, taps - 1 - taps % 2
    window = Window(taps, layer.sequence_stride, padding=-first)
    frames = chained([signal], mirrored.shape, [View((Link(1, window, clip=True),))])
    if not layer.power_to_db:
        return frames
    return (*frames, View((Link(None),), gathers=True))


def encoding(call: Call) -> tuple[AnyView, ...]:
    """Indices, and what encodes them: one by one, or all along an axis counted."""
    mode = getattr(call.layer, "output_mode", "int")
    rank = len(call.inputs[0])
    shape = call.inputs[0]
    kept = [Link(axis) for axis in range(rank)]
    if mode not in ("int", "one_hot"):
        if not rank:
            return counts_batch(call)
        if call.output[:-1] != shape[1:]:
            return wrong_shape(call)
        # Keras counts along the first axis.
        kept = [Link(None), *map(Link, range(rank - 1))]
    elif mode == "one_hot" and rank and shape[-1] == 1:
        # An axis of length 1 gives way to that of the classes.
        kept[-1] = Link(None)
    return tuple(View(tuple(kept), place) for place in range(len(call.inputs)))
