"""Gradients of some units for one sample: several in one pass, and in another precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.algebra.boxes import entire
from keras_erf.cone import Cone
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.graph import Graph, copied
from keras_erf.measuring.gradients import unit_channels
from keras_erf.measuring.plans import planned
from keras_erf.measuring.settings import Settings
from keras_erf.results.framing import reframed

__all__ = ["OtherPrecision", "Row", "State", "gradient_rows"]

# Rows of one pass: each is a unit, its channels summed or under random weights.
ROWS = 16
# The dtypes of the copy, by the unit's own.
OTHER = {
    "float32": {"float32": "float64", "float16": "float64", "bfloat16": "float64"},
    "float64": {"float64": "float32"},
}

State = Sequence[tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Row:
    """Gradients of one unit for one sample.

    Args:
        gradient: Over the part of the input that was there.
        peaks: Largest absolute value of the gradient of each tensor on the path, by number.
    """

    gradient: np.ndarray
    peaks: Mapping[int, float]

    @property
    def peak(self) -> float:
        """The largest absolute value at the input."""
        return float(np.abs(self.gradient).max(initial=0))


def gradient_rows(
    wanted: Sequence[tuple[Target, bool]],
    cone: Cone,
    sample: Mapping[int, Any],
    settings: Settings,
    state: State,
) -> list[Row]:
    """Gradients of units for one sample, several in one pass: each has a row of a batch."""
    size = wanted[0][0].graph.batch or min(len(wanted), ROWS)
    rows = []
    for start in range(0, len(wanted), size):
        group = wanted[start : start + size]
        values = {number: tf.repeat(value, size, axis=0) for number, value in sample.items()}
        rows += _pass(group, cone, values, settings, state)
    return rows


def _pass(
    wanted: Sequence[tuple[Target, bool]],
    cone: Cone,
    values: Mapping[int, Any],
    settings: Settings,
    state: State,
) -> list[Row]:
    first = wanted[0][0]
    watched = values[first.input]
    with tf.name_scope("probe"), tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        known = cone.run(values, training=settings.training, state=state)
        seeded = 0.0
        for row, (target, signed) in enumerate(wanted):
            channels = unit_channels(known[target.tensor], target, settings.definition, cone)[row]
            weights = _weights(channels.shape[-1]) if signed else np.ones(channels.shape[-1])
            if settings.definition.seed == "mean":
                weights = weights / len(weights)
            seeded += tf.reduce_sum(channels * tf.constant(weights, channels.dtype))
    path = [number for number, value in known.items() if value.dtype.is_floating]
    gradients = tape.gradient(seeded, [watched, *(known[number] for number in path)])
    rows = []
    for row in range(len(wanted)):
        peaks = {
            number: float(np.abs(np.asarray(gradient[row], np.float64)).max(initial=0))
            for number, gradient in zip(path, gradients[1:], strict=True)
            if gradient is not None and len(gradient) == len(watched)
        }
        gradient = (
            np.zeros(watched.shape[1:]) if gradients[0] is None else np.asarray(gradients[0][row])
        )
        rows.append(Row(gradient.astype(np.float64), peaks))
    return rows


def _weights(count: int) -> np.ndarray:
    """Random weights of channels, of one mean square; the same in each call."""
    weights = np.random.default_rng(count).normal(size=count)
    return np.asarray(weights / np.sqrt(np.mean(weights**2)))


class OtherPrecision:
    """The same units in another precision, on a copy that is made when it is needed."""

    def __init__(self, targets: Sequence[Target], settings: Settings, state: State) -> None:
        self.targets, self.settings, self.state = targets, settings, state
        graph, first = targets[0].graph, targets[0]
        self.dtype = "float64" if graph.tensors[first.tensor].dtype == "float64" else "float32"
        self.is_random = settings.training and bool(graph.random_states())

    @cached_property
    def graph(self) -> Graph | None:
        """The copy; `None` where there can be none."""
        tensors = [target.tensor for target in self.targets]
        try:
            return copied(self.targets[0].graph, *tensors, dtypes=OTHER[self.dtype])
        except InvalidInputError:
            return None

    @cached_property
    def values(self) -> State:
        """The `state`, of the copy's variables."""
        assert self.graph is not None
        own = {id(variable): value for variable, value in self.state}
        operations = {tuple(node.outputs): node.operation for node in self.targets[0].graph.nodes}
        pairs = {}
        for node in self.graph.nodes:
            before = operations[tuple(node.outputs)]
            if isinstance(before, keras.Layer):
                for weight, copy in zip(before.weights, node.operation.weights, strict=True):
                    if id(weight) in own:
                        pairs[id(copy)] = (copy, tf.cast(own[id(weight)], copy.dtype))
        return list(pairs.values())

    def row(self, target: Target, cone: Cone, sample: Mapping[int, Any]) -> Row | None:
        """Gradients of a unit for one sample, over the input's part that `cone` has."""
        if self.graph is None:
            return None
        tracing = target.tracing.over(self.graph)
        moved_target = replace(target, tracing=tracing)
        plan = planned([moved_target], self.settings, inside=False)
        values = {}
        taken = {number for step in plan.steps for number in step.node.inputs}
        for number, value in sample.items():
            if number not in taken:
                continue
            whole = entire(tracing.shape(number))
            held, wanted = cone.parts.get(number, whole), plan.parts.get(number, whole)
            dtype = self.graph.tensors[number].dtype
            values[number] = tf.cast(reframed(np.asarray(value), held, wanted), dtype)
        try:
            (row,) = gradient_rows(
                [(moved_target, False)], plan, values, self.settings, self.values
            )
        except Exception:  # Layers are the user's: one may know a single dtype.
            return None
        whole = entire(tracing.shape(target.input))
        held, wanted = plan.parts.get(target.input, whole), cone.parts.get(target.input, whole)
        return replace(row, gradient=reframed(row.gradient, held, wanted))
