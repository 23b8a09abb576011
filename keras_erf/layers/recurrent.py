"""Recurrent layers: a step sees itself and, through the state, all steps before it.

The own step is the local path; the state is a path through all of time. Cells mix all their
channels, so that a step is seen as a whole.

A convolutional LSTM (Shi et al. 2015, "Convolutional LSTM Network", equation 3) puts its state, a
map, through a convolution of its own in every step: what was n steps ago is seen through n of
them, as through one of n (k - 1) + 1 taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, tree

from keras_erf.algebra.geometry import Ranges, Relation, Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import channel_axis
from keras_erf.dependence.call import Call, bound_arguments, part_of
from keras_erf.dependence.chaining import ChainedView, chained
from keras_erf.dependence.measured import measured
from keras_erf.graph import Argument
from keras_erf.layers.entry import Entry, ranks
from keras_erf.layers.single_elements import mixes_last_axis, on_single_elements
from keras_erf.layers.windows import windows_of
from keras_erf.types import Layer

__all__ = ["ENTRIES"]

Shape = tuple[int, ...]
# Number and shape of an output tensor.
Made = tuple[int, Shape]


def recurrent(call: Call) -> tuple[AnyView, ...]:
    """`SimpleRNN`, `GRU`, `LSTM`, and `RNN` over their cells."""
    given = bound_arguments(call)
    states = _places(given["initial_state"])
    stacked = type(call.layer.cell) is layers.StackedRNNCells
    if not _known(call, call.layer.cell) or given["mask"] is not None or (stacked and states):
        return measured(call)
    place = given["sequences"].place
    return _run(call, call.layer, place, tuple(enumerate(call.outputs)), states)


def convolutional_lstm(call: Call) -> tuple[AnyView, ...]:
    """`ConvLSTM1D`, `ConvLSTM2D` and `ConvLSTM3D`."""
    given = bound_arguments(call)
    states = _places(given["initial_state"])
    if not _plain_activations(call.layer) or given["mask"] is not None or states:
        return measured(call)
    place = given["sequences"].place
    return _run(call, call.layer, place, tuple(enumerate(call.outputs)))


def bidirectional(call: Call) -> tuple[AnyView, ...]:
    """Two recurrent layers, one of them backwards; their outputs are merged or stand apart."""
    layer, given = call.layer, bound_arguments(call)
    pair = (layer.forward_layer, layer.backward_layer)
    rules = {call.rule_of(one) for one in pair}
    convolves = rules == {convolutional_lstm}
    if not (
        (rules == {recurrent} and all(_known(call, one.cell) for one in pair))
        or (convolves and all(map(_plain_activations, pair)))
    ):
        return measured(call)
    places = _places(given["initial_state"])
    stacked = any(type(one.cell) is layers.StackedRNNCells for one in pair)
    if given["mask"] is not None or (places and (convolves or stacked)):
        return measured(call)
    place = given["sequences"].place
    apart = layer.merge_mode is None
    states = call.outputs[1 + apart :]
    half = len(states) // 2
    found: list[AnyView] = []
    offset = 0
    for number, one in enumerate(pair):
        target = number * apart
        width = call.outputs[target][-1] // (2 if layer.merge_mode == "concat" else 1)
        own = (*call.outputs[target][:-1], width)
        first = 1 + apart + number * half
        made = [(first + k, shape) for k, shape in enumerate(states[number * half :][:half])]
        given_states = places[number * len(places) // 2 :][: len(places) // 2]
        # The backward layer's sequence is turned round again.
        runs = _run(call, one, place, ((-1, own), *made), given_states, flipped=number == 1)
        # Side by side along the last axis, or one upon the other.
        join = [Link(axis) for axis in range(len(own))]
        if layer.merge_mode == "concat":
            join[-1] = Link(len(own) - 1, Window(padding=offset), clip=True)
            offset += width
        merged = [run for run in runs if run.output < 0]
        found += chained(merged, own, [View(tuple(join), 0, target)])
        found += [run for run in runs if run.output >= 0]
    return tuple(found)


def cell(call: Call) -> tuple[AnyView, ...]:
    """One step: everything sees all channels, but an LSTM's carry goes channel by channel."""
    # What the input is called differs from cell to cell.
    source, states, *_ = bound_arguments(call).values()
    places = [source.place, *_places(states)]
    carried = isinstance(call.layer, layers.LSTMCell)
    return tuple(
        View((Link(0 if carried and order == 2 else None),), place, output)
        for order, place in enumerate(places)
        for output in range(len(call.outputs))
    )


def _known(call: Call, inner: Layer) -> bool:
    """Whether a cell, or all of a stack of them, are Keras's own."""
    if type(inner) is layers.StackedRNNCells:
        return all(_known(call, one) for one in inner.cells)
    return call.rule_of(inner) is cell


def _plain_activations(layer: Layer) -> bool:
    """Whether the activations of a convolutional LSTM keep to a position."""
    both = (layer.activation, layer.recurrent_activation)
    last = layer.data_format == "channels_last"
    return all(on_single_elements(one) or (last and mixes_last_axis(one)) for one in both)


def _places(state: Any) -> list[int]:
    """Places of the tensors among the initial states."""
    return [one.place for one in tree.flatten(state) if isinstance(one, Argument)]


def _from_state(place: int, made: Made, done: np.ndarray, *, sequence: bool, carry: bool) -> Any:
    """What outputs see of a vector of initial state: all, but of a carry first its own channel."""
    number, _ = made
    if not carry:
        return [View((Link(None),), place, number)]
    feature = 1 if sequence else 0
    own = View((Link(feature),), place, number)
    later = done > 1
    if not later.any():
        return [own]
    if later.all():
        return [View((Link(None),), place, number)]
    there = Ranges((0,) * len(done), tuple(later.astype(int).tolist()))
    spread = View((Link(0, there), Link(None)), 0, number)
    return [own, ChainedView((View((Link(1),), place), spread), ((1, made[1][-1]),))]


def _run(
    call: Call,
    layer: Layer,
    place: int,
    made: Sequence[Made],
    states: Sequence[int] = (),
    *,
    flipped: bool = False,
) -> tuple[AnyView, ...]:
    """The views of one recurrent layer, of known cells.

    Args:
        call: The call it is part of, or that is its own.
        layer: The layer.
        place: Place of the sequence among the call's inputs.
        made: What its output, and then its states, are of the call.
        states: Places of its initial states.
        flipped: Whether a sequence it returns is turned round.
    """
    length = call.inputs[place][0]
    runs = _convolutions if call.rule_of(layer) is convolutional_lstm else _steps
    found: list[AnyView] = []
    for order, one in enumerate(made):
        sequence = order == 0 and layer.return_sequences
        # Steps done when the output is made, for each index of it.
        done = np.arange(1, length + 1) if sequence else np.array([length])
        if flipped:
            done = done[::-1]
        found += runs(call, layer, place, one, done, sequence)
        for position, state in enumerate(states):
            carry = position == 1 and isinstance(layer.cell, layers.LSTMCell)
            found += _from_state(state, one, done, sequence=sequence, carry=carry)
    return tuple(found)


def _step(layer: Layer, length: int, done: np.ndarray, lag: int = 0) -> Relation:
    """The step that was done `lag` before the last one; nothing where there was none."""
    index = done - 1 - lag
    there = index >= 0
    index = np.where(there, length - 1 - index if layer.go_backwards else index, 0)
    return Ranges(tuple(index.tolist()), tuple((index + there).tolist()))


def _steps(
    call: Call, layer: Layer, place: int, made: Made, done: np.ndarray, sequence: bool
) -> list[AnyView]:
    """The last step done, and all steps done."""
    length, *features = call.inputs[place]
    rest = [Link(None) for _ in features]
    own = _step(layer, length, done)
    if not sequence:
        # The output has no axis of time: it is dropped, of length 1.
        take = View((Link(0, own), *(Link(axis + 1) for axis in range(len(features)))), place)
        drop = View((Link(None), *rest), 0, made[0])
        last = chained([take], (1, *features), [drop])
        return [*last, View((Link(None), *rest), place, made[0], gathers=True)]
    starts, stops = np.zeros_like(done), done
    if layer.go_backwards:
        starts, stops = length - done, np.full_like(done, length)
    before = Ranges(tuple(starts.tolist()), tuple(stops.tolist()))
    return [
        View((Link(0, own), *rest), place, made[0]),
        View((Link(0, before), *rest), place, made[0], gathers=True),
    ]


def _convolutions(
    call: Call, layer: Layer, place: int, made: Made, done: np.ndarray, sequence: bool
) -> list[AnyView]:
    """The convolution of each step's input, and those of the state on the way from there."""
    length, *shape = call.inputs[place]
    number, output = made
    state = output[1:] if sequence else output
    windows = windows_of(part_of(call, layer, (tuple(shape),), (state,)))
    channel = channel_axis(layer, len(shape))
    spatial = [axis for axis in range(len(shape)) if axis != channel]
    # A step's channels are mixed by each of the convolutions.
    mixed = [Link(None) for _ in range(len(shape) + 1)]
    first = Link(0) if sequence else Link(None)
    shift = 1 if sequence else 0
    found: list[AnyView] = []
    for lag in range(length):
        take = [Link(0, _step(layer, length, done, lag)), *mixed[1:]]
        carry = [first, *mixed[1:]]
        for axis, window, kernel in zip(spatial, windows, layer.kernel_size, strict=True):
            through = Window(lag * (kernel - 1) + 1, padding=lag * ((kernel - 1) // 2))
            take[axis + 1] = Link(axis + 1, window)
            carry[axis + 1] = Link(axis + shift, through)
        if lag == 0:
            carry[channel + 1] = Link(channel + shift)
        found += chained(
            [View(tuple(take), place, gathers=lag > 0)],
            (len(done), *state),
            [View(tuple(carry), 0, number)],
        )
    return found


ENTRIES = (
    Entry(layers="GRU LSTM RNN SimpleRNN", dependence=recurrent),
    Entry(layers=ranks("ConvLSTM{}D"), dependence=convolutional_lstm),
    Entry(layers="Bidirectional", dependence=bidirectional),
    Entry(layers="GRUCell LSTMCell SimpleRNNCell", dependence=cell),
    Entry(layers="StackedRNNCells", dependence=measured),
)
