"""Layers that make spectrograms of sounds."""

from __future__ import annotations

import numpy as np

from keras_erf.algebra.geometry import Blocks, Ranges, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call
from keras_erf.dependence.chain import chained
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import refused
from keras_erf.layers.entry import Entry

__all__ = ["ENTRIES", "wrong_spectrum_shape"]

wrong_spectrum_shape = refused("Keras states another shape than it returns")


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
        return wrong_spectrum_shape(call)
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
    Entry(layers="STFTSpectrogram", dependence=spectrogram),
    Entry(layers="MelSpectrogram", dependence=mel_spectrogram),
)
