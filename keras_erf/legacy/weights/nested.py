"""Weights of a nested model, whose arrays a file keeps in one list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_erf.legacy.weights.fitting import Pairs, WeightsError, fitted, own_variables, variables
from keras_erf.legacy.weights.layouts import array_count
from keras_erf.legacy.weights.stored import StoredLayer
from keras_erf.legacy.weights.targets import Target

__all__ = ["nested_pairs"]


@dataclass(frozen=True)
class _Run:
    """Arrays that follow each other in a nested model: of one layer, trained or not."""

    target: Target
    trained: bool
    count: int


def nested_pairs(target: Target, stored: StoredLayer, backend: str) -> Pairs:
    """The weights of a nested model, whose arrays the file keeps in one list.

    Keras lists all weights that are trained, then the others. Which are frozen is not always in the
    file, so the order that fits best is taken: by shape, then by name.
    """
    best: Pairs | None = None
    most, reason = -1, None
    for order in _orders(target):
        try:
            pairs, named = _in_order(order, stored, backend)
        except WeightsError as error:
            reason = reason or error
            continue
        if named > most:
            best, most = pairs, named
    if best is None:
        raise reason or WeightsError(f"the weights of {target.name[:60]!r} do not fit")
    return best


def _orders(target: Target) -> Iterator[list[_Run]]:
    for obey in (True, False):
        trained, others = _runs(target, obey)
        yield [*trained, *others]
    yield [run for leaf in _leaves(target) for run in (*_leaf_runs(leaf),)]


def _leaves(target: Target) -> Iterator[Target]:
    for inner in target.inner:
        yield from _leaves(inner) if inner.inner else (inner,)


def _leaf_runs(target: Target) -> tuple[_Run, _Run]:
    if target.class_name.endswith("WeightNormalization"):
        # The lengths of the kernels, and whether they were set from data.
        return _Run(target, True, len(variables(target.layer)) + 1), _Run(target, False, 1)
    trained = len(own_variables(target.layer, "_trainable_variables"))
    others = len(own_variables(target.layer, "_non_trainable_variables"))
    total = array_count(target.class_name, target.config, trained + others)
    if others == 0:
        return _Run(target, True, total), _Run(target, False, 0)
    return _Run(target, True, trained), _Run(target, False, total - trained)


def _runs(target: Target, obey: bool) -> tuple[list[_Run], list[_Run]]:
    """Runs of the trained weights and of the others; frozen ones are others, if `obey`."""
    if target.inner:
        both = [_runs(inner, obey) for inner in target.inner]
        trained = [run for first, _ in both for run in first]
        others = [run for _, second in both for run in second]
    else:
        first, second = _leaf_runs(target)
        trained, others = [first], [second]
    if obey and target.config.get("trainable") is False:
        return [], [*trained, *others]
    return trained, others


def _in_order(order: list[_Run], stored: StoredLayer, backend: str) -> tuple[Pairs, int]:
    """The weights in that order, and how many have the name of their layer in the file."""
    if sum(run.count for run in order) != len(stored.arrays):
        raise WeightsError(
            f"{stored.name[:60]!r} has {sum(run.count for run in order)} weights, "
            f"and the file holds {len(stored.arrays)}"
        )
    place, named = 0, 0
    shares: dict[int, tuple[Target, dict[bool, list[np.ndarray]]]] = {}
    for run in order:
        target, share = shares.setdefault(id(run.target), (run.target, {True: [], False: []}))
        for name, array in zip(
            stored.names[place : place + run.count],
            stored.arrays[place : place + run.count],
            strict=True,
        ):
            named += bool(re.search(rf"(^|/){re.escape(target.name)}[/_]", name))
            share[run.trained].append(array)
        place += run.count
    pairs = [
        pair
        for target, share in shares.values()
        for pair in fitted(target, [*share[True], *share[False]], backend)
    ]
    return pairs, named
