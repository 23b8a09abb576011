"""Layers that mix the samples of a batch in training mode: behind them no unit has a field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.cone import Cone
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.graph import Graph

__all__ = ["check_mixing"]

# Samples of the batch that is tried.
SAMPLES = 3
# Layers that an error names.
NAMED = 3
# A gradient by another sample counts from this share of the peak on.
ROUNDING = 1e-6


def check_mixing(targets: Sequence[Target], cone: Cone, batch: Mapping[int, Any]) -> None:
    """Raises if, in training mode, a unit depends on another sample of its batch.

    Raises:
        InvalidInputError: It does; the layers that mix samples are named.
    """
    first = targets[0]
    graph, size = first.graph, first.graph.batch or SAMPLES
    normalising = _normalising(graph, [target.tensor for target in targets])
    if size == 1:
        # There is no other sample: its own pixels are what it is normalised by.
        mixing = normalising
    else:
        mixing = _mixing(targets, cone, batch, size)
        mixing = mixing and (normalising or mixing)
    if not mixing:
        return
    more = f" and {len(mixing) - NAMED} more" if len(mixing) > NAMED else ""
    names = ", ".join(map(repr, mixing[:NAMED])) + more
    single = len(mixing) == 1
    verb, what = (
        ("normalise", "by the whole batch") if normalising else ("mix", "the samples of a batch")
    )
    who = f"layer {names} {verb}{'s' if verb == 'normalise' else 'es'}"
    who = who if single else f"layers {names} {verb}"
    remedy = (
        f"Set `trainable` of {'it' if single else 'all of them'} to False to have dropout alone"
        if normalising
        else "Measure at inference"
    )
    raise InvalidInputError(
        argument="training",
        expected=f"must be False: in training mode {who} {what}, so that a unit sees every pixel "
        f"of every sample. {remedy}",
        received="training=True",
    )


def _mixing(
    targets: Sequence[Target], cone: Cone, batch: Mapping[int, Any], size: int
) -> list[str]:
    """Name of the last layer through which a unit sees another sample, if there is one."""
    watched = targets[0].input
    values = {
        number: tf.gather(samples, np.arange(size) % min(len(samples), size))
        for number, samples in batch.items()
    }
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(values[watched])
        known = cone.run(values, training=True)
        seeds = [
            tf.reduce_sum(sum(_scattered(known[target.tensor][row]) for target in targets))
            for row in range(2)
        ]
    path = [number for number, value in known.items() if value.dtype.is_floating]
    for row, seed in enumerate(seeds):
        gradients = tape.gradient(seed, [known[number] for number in path])
        shares = {
            number: _share(np.asarray(gradient), row)
            for number, gradient in zip(path, gradients, strict=True)
            if gradient is not None and len(gradient) == size
        }
        if shares.get(watched, 0) <= ROUNDING:
            continue
        for step in reversed(cone.steps):
            after = max((shares.get(tensor, 0) for tensor in step.node.outputs), default=0)
            before = max((shares.get(tensor, 0) for tensor in step.node.inputs), default=0)
            if after <= ROUNDING < before:
                return [step.node.name]
        return [targets[-1].receptive_field.layer]
    return []


def _scattered(values: Any) -> Any:
    """Values under random weights: their plain sum may not depend on anything."""
    weights = np.random.default_rng(0).normal(size=values.shape)
    return tf.reduce_sum(values * tf.constant(weights, values.dtype))


def _share(gradient: np.ndarray, row: int) -> float:
    """Peak of a gradient by other samples than its own, as a share of the whole peak."""
    size = np.abs(gradient.astype(np.float64)).reshape(len(gradient), -1).max(axis=1, initial=0)
    return float(np.delete(size, row).max() / size.max()) if size.max() else 0.0


def _normalising(graph: Graph, tensors: Sequence[int]) -> list[str]:
    """Names of the batch normalisations, inside of other layers too, that are not frozen."""
    names = []
    for node in graph.ancestors(*tensors):
        if isinstance(node.operation, keras.Layer):
            for inner in node.operation._flatten_layers():
                if isinstance(inner, keras.layers.BatchNormalization) and inner.trainable:
                    own = inner is node.operation
                    names.append(node.name if own else f"{node.name}/{inner.name}")
    return list(dict.fromkeys(names))
