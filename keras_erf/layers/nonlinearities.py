"""Activations that are layers or operations by themselves, on single entries."""

from __future__ import annotations

from keras_erf.layers.elementwise import elementwise_squares, on_entries
from keras_erf.layers.entry import Entry
from keras_erf.layers.parts import stretched_on_part

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    on_entries(
        layers="ELU LeakyReLU ReLU",
        # `ReLU` and `Mish` are defined next to the functions of `keras.activations`.
        operations="Celu Elu Gelu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu LogSigmoid "
        "Mish ReLU Relu Relu6 Selu Sigmoid Silu SoftShrink Softplus Softsign Tanh TanhShrink",
        squares=elementwise_squares,
    ),
    on_entries(layers="PReLU", part=stretched_on_part),
    on_entries(operations="SparsePlus SparseSigmoid Squareplus Threshold"),
    # Its bounds may differ from channel to channel, along an axis that it does not keep.
    on_entries(operations="FakeQuantWithMinMaxVars", part=None),
)
