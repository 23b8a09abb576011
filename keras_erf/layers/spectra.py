"""Discrete Fourier transforms.

Output o of a transform of length n weighs input k by cos(2 pi o k / n) and sin(2 pi o k / n): the
cosine is zero where 4 o k is an odd multiple of n, the sine where 2 o k is a multiple of n. A real
part of the output sees real inputs by the cosine and imaginary ones by the sine; an imaginary part
the other way round.
"""

from __future__ import annotations

import math

import keras
import numpy as np

from keras_erf.algebra.geometry import Blocks, Marks, Ranges, Window
from keras_erf.algebra.indexing import IndexedView
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import ChainedView, chained
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import WRONG_SHAPE
from keras_erf.layers.entry import Entry
from keras_erf.types import Layer

__all__ = ["ENTRIES"]

# Entries of a table of weights; longer signals are taken to see all of the axis.
LARGEST_TABLE = 2**22
# Of a window, in single precision.
SMALLEST_WEIGHT = 2e-7


def fourier(call: Call) -> tuple[AnyView, ...]:
    """Transforms along the last axis: of complex signals, and of real ones."""
    length = getattr(call.layer, "fft_length", None) or call.inputs[0][-1]
    return tuple(
        _along_last(call, length, length, place, output)
        for place in range(len(call.inputs))
        for output in range(len(call.outputs))
    )


def inverse_real_fourier(call: Call) -> tuple[AnyView, ...]:
    """From the lower half of a spectrum to a real signal."""
    length = call.layer.fft_length or 2 * (call.inputs[0][-1] - 1)
    return tuple(
        _along_last(call, length, length // 2 + 1, place, 0) for place in range(len(call.inputs))
    )


def plane_fourier(call: Call) -> tuple[AnyView, ...]:
    """Transforms along the last two axes: all of both, but for weights that happen to be zero."""
    rank = len(call.output)
    links = tuple(Link(None if axis >= rank - 2 else axis) for axis in range(rank))
    return tuple(
        View(links, place, output, status="bound") for place in range(2) for output in range(2)
    )


def short_time_fourier(call: Call) -> tuple[AnyView, ...]:
    """Frames of the signal, mirrored at its ends, and the transform of each."""
    layer, shape = call.layer, call.inputs[0]
    length = layer.fft_length
    *leading, size = shape
    places = np.arange(size)
    if layer.center:
        places = np.pad(places, length // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(places, length)[:: layer.sequence_stride]
    offsets = np.arange(math.prod(leading)).reshape(*leading, 1, 1) * size
    framed = IndexedView(np.where(_counted(layer), frames + offsets, -1), shape)
    rank = len(leading)
    views = []
    for output in range(2):
        weights = Marks(_weights(call.output[-1], length, length, sine=output == 1))
        links = (*map(Link, range(rank + 1)), Link(rank + 1, weights))
        views.append(
            ChainedView((framed, View(links, output=output)), ((*leading, *frames.shape),))
        )
    return tuple(views)


def _counted(layer: Layer) -> np.ndarray:
    """Which samples of a frame have a weight in the window.

    Read off the operation itself, as backends place and end windows in their own
    ways: the sum of a frame that is zero but for one sample is that sample's weight.
    """
    ones = np.eye(layer.fft_length, dtype="float32")
    frames = keras.ops.stft(
        ones, layer.sequence_length, 1, layer.fft_length, layer.window, center=False
    )
    return np.abs(np.asarray(frames[0])[:, 0, 0]) > SMALLEST_WEIGHT


def _along_last(call: Call, length: int, used: int, place: int, output: int) -> View:
    axis = len(call.output) - 1
    outputs, inputs = call.output[-1], call.inputs[place][-1]
    leading = map(Link, range(axis))
    if outputs * inputs > LARGEST_TABLE:
        return View((*leading, Link(None)), place, output, status="bound")
    weights = _weights(outputs, inputs, length, sine=place != output)
    weights[:, used:] = False
    return View((*leading, Link(axis, Marks(weights))), place, output, gathers=True)


def _weights(outputs: int, inputs: int, length: int, *, sine: bool) -> np.ndarray:
    """Which inputs have a weight for which outputs."""
    o, k = np.ogrid[:outputs, :inputs]
    zero = (2 * o * k) % length == 0 if sine else ((4 * o * k) % (2 * length) == length)
    return ~zero


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
    then everything is seen, too.
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
        return WRONG_SHAPE(call)
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


ENTRIES = (
    Entry(operations="FFT RFFT", dependence=fourier),
    Entry(operations="IRFFT", dependence=inverse_real_fourier),
    Entry(operations="FFT2 IFFT2", dependence=plane_fourier),
    Entry(operations="STFT", dependence=short_time_fourier),
    Entry(layers="STFTSpectrogram", dependence=spectrogram),
    Entry(layers="MelSpectrogram", dependence=mel_spectrogram),
)
