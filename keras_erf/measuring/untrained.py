"""Signs in a network's weights that it was never trained.

Fresh layers hold constants: offsets 0, gains 1, statistics 0 and 1. Training
changes all of them, so exact constants are a sign; only short vectors are read for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_erf.fields.theoretical import Target
from keras_erf.graph import Node, layers_inside, own_weights

__all__ = ["REMEDIES", "SWITCHED_OFF", "UNCALIBRATED", "UNTRAINED", "notes_of"]

UNCALIBRATED = "batch norms uncalibrated"
UNTRAINED = "network looks untrained"
SWITCHED_OFF = "branches switched off"

# What each note means and what to do, in a sentence.
REMEDIES = {
    UNCALIBRATED: (
        "Batch normalisations hold their initial statistics and normalise nothing: pass "
        "{calibrate} to give a copy those of the inputs"
    ),
    UNTRAINED: (
        "All gains and offsets hold their initial values: load trained weights, unless the fresh "
        "network is what you ask about"
    ),
    SWITCHED_OFF: (
        "Residual branches start with a gain of nearly 0 and carry next to nothing until they are "
        "trained: load trained weights, or build the network with larger initial gains"
    ),
}

# Gains of at most this, all alike, switch a residual branch off.
SMALL_GAIN = 1e-3
OFFSETS = ("bias", "beta")
# Names of gains whose initial value may be exactly 0; of a PReLU it is no gain of the branch.
GAINS = ("gamma", "scale", "gain", "alpha", "layer_scale", "residual_gain", "res_weight")


@dataclass(frozen=True)
class _State:
    """What one operation's weights show.

    Args:
        uncalibrated: Whether a batch normalisation in it holds its initial statistics.
        initial: Whether all its vectors hold initial values; `None` without vectors.
        small: Whether it multiplies by a gain of nearly 0.
        alone: Whether it has no layers inside.
    """

    uncalibrated: bool
    initial: bool | None
    small: bool
    alone: bool


def notes_of(targets: Sequence[Target], inputs: Any) -> list[list[str]]:
    """Short notes about the weights on the path to each of some units of one graph."""
    graph = targets[0].graph
    paths = [graph.ancestors(target.tensor) for target in targets]
    operations = {id(node.operation): node.operation for path in paths for node in path}
    states = {
        key: _state(operation)
        for key, operation in operations.items()
        if isinstance(operation, keras.Layer)
    }
    # Noise of mean 0 and variance 1 has the initial statistics.
    fitting = set(graph.inputs) if isinstance(inputs, str) and inputs == "normal" else set()
    return [
        _notes(target, path, lambda node: states.get(id(node.operation)), fitting)
        for target, path in zip(targets, paths, strict=True)
    ]


def _notes(
    target: Target,
    path: Sequence[Node],
    state_of: Callable[[Node], _State | None],
    fitting: set[int],
) -> list[str]:
    known = [(node, state) for node in path if (state := state_of(node)) is not None]
    notes = []
    if any(
        state.uncalibrated and not (state.alone and fitting.issuperset(node.inputs))
        for node, state in known
    ):
        notes.append(UNCALIBRATED)
    vectors = [state.initial for _, state in known if state.initial is not None]
    if vectors and all(vectors):
        notes.append(UNTRAINED)
    if any(
        state.small and not (state.alone and _all_pass(target, path, node)) for node, state in known
    ):
        notes.append(SWITCHED_OFF)
    return notes


def _all_pass(target: Target, path: Sequence[Node], gate: Node) -> bool:
    """Whether all paths from the input to the unit lead through one call."""
    reached = {target.input}
    for node in path:
        if node is not gate and reached.intersection(node.inputs):
            reached.update(node.outputs)
    return target.tensor not in reached


def _state(operation: keras.Layer) -> _State:
    layers = layers_inside(operation)
    norms = [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.moving_mean is not None
    ]
    fresh = [_holds_initial_statistics(norm) for norm in norms]
    vectors, small = list(fresh), False
    # `adapt` sets what a `Normalization` holds; training does not.
    for layer in (layer for layer in layers if not isinstance(layer, keras.layers.Normalization)):
        for weight in own_weights(layer):
            if len(weight.shape) <= 1 or weight.name in OFFSETS:
                values = _values(weight)
                vectors.append(_is_initial(values))
                small = small or _is_small(layer, weight.name, values)
            elif weight.name == "kernel":
                small = small or _is_zero(weight)
    return _State(any(fresh), all(vectors) if vectors else None, small, len(layers) == 1)


def _holds_initial_statistics(norm: Any) -> bool:
    pairs = (
        (norm.moving_mean, norm.moving_mean_initializer),
        (norm.moving_variance, norm.moving_variance_initializer),
    )
    return all(
        np.all(_values(statistics) == _constant(initializer)) for statistics, initializer in pairs
    )


def _constant(initializer: Any) -> Any:
    """The constant that an initialiser sets; NaN, which nothing equals, if it sets none."""
    known = {keras.initializers.Zeros: 0.0, keras.initializers.Ones: 1.0}
    if isinstance(initializer, keras.initializers.Constant):
        return initializer.value
    return known.get(type(initializer), np.nan)


def _is_initial(values: np.ndarray) -> bool:
    """Whether a vector is as layers make it: all alike, or ones (of a forget gate) among zeros."""
    alike = values.size > 1 and np.all(values == values.flat[0])
    return bool(alike or np.isin(values, (0.0, 1.0)).all())


def _is_small(layer: keras.Layer, name: str, values: np.ndarray) -> bool:
    """Whether a vector is a gain of nearly 0."""
    if name in OFFSETS or isinstance(layer, keras.layers.PReLU) or not values.size:
        return False
    value = abs(values.flat[0])
    least = 0.0 if name in GAINS else np.finfo(np.float32).tiny
    return bool(np.all(values == values.flat[0]) and least <= value <= SMALL_GAIN)


def _is_zero(weight: Any) -> bool:
    """Whether a kernel is zero everywhere; of others no more than one number is read."""
    first = keras.ops.reshape(weight.value, (-1,))[:1]
    return not _values(first).any() and not _values(weight).any()


def _values(tensor: Any) -> np.ndarray:
    return np.asarray(tensor)
