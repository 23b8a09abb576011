"""Measures some units of one graph together: feeds samples, decides when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf._version import __version__
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.fields.without_gradient import unseen
from keras_erf.graph import Graph
from keras_erf.inputs.sampling import InputSpec, Source, make_source
from keras_erf.inputs.streaming import streamed
from keras_erf.measuring.accumulating import Accumulator, Sums
from keras_erf.measuring.batch_size import chosen_batch_size
from keras_erf.measuring.calibrating import has_batch_norm
from keras_erf.measuring.cancelling import check_sums
from keras_erf.measuring.plans import Plan, check, input_specs, is_linear
from keras_erf.measuring.sample_mixing import check_mixing
from keras_erf.measuring.settings import Settings
from keras_erf.measuring.untrained import notes_of
from keras_erf.progress import Progress
from keras_erf.results.effective import BLOCKS, EffectiveReceptiveField

__all__ = ["Measurement", "filled", "measure", "noted", "provenance", "result_of"]

# With a tolerance: the most samples, and the fewest before it is checked.
MOST_SAMPLES, FEWEST_SAMPLES = 4096, 2 * BLOCKS
# Samples between two checks, as a share of those before.
BETWEEN_CHECKS = 0.25


def measure(
    plan: Plan, settings: Settings, *, weights: str, report: Progress = lambda done, wanted: None
) -> list[EffectiveReceptiveField]:
    """One run of a `Measurement`; arguments and errors are its own."""
    return Measurement(plan, settings).run(weights=weights, report=report)


class Measurement:
    """A measurement of some units, compiled once; each `run` uses the current weights.

    Raises:
        InvalidInputError: The settings do not fit the model.
    """

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.targets, self.settings = plan.targets, settings
        first, cone = self.targets[0], plan.cone
        check(first, settings)
        self.specs = input_specs(first, cone)
        self.linear = [is_linear(target, settings) for target in self.targets]
        self.source = make_source(settings.inputs, self.specs, seed=settings.seed)
        # How many samples are asked for, and how many of these there are.
        self.asked = 1 if all(self.linear) else _asked(self.source, settings)
        self.wanted = min(self.asked, self.source.count or self.asked)
        self.size = (
            first.graph.batch or settings.batch_size or chosen_batch_size(first, cone, self.wanted)
        )
        self._accumulator = Accumulator(
            self.targets,
            plan.parts,
            cone,
            settings.definition,
            training=settings.training,
            seed=settings.seed,
        )
        self._checked = False

    def run(
        self, *, weights: str, report: Progress = lambda done, wanted: None
    ) -> list[EffectiveReceptiveField]:
        """Measures the units on the same samples, in one pass; returns one result per unit.

        Raises:
            GradientError: As `probe`.
        """
        run, source, settings = self._accumulator, self.source, self.settings
        run.clear()
        one_is_enough = all(self.linear)
        tolerance = None if one_is_enough else settings.tolerance
        is_precise = _feed(
            run,
            source,
            self.specs,
            self.size,
            self.wanted,
            tolerance,
            report,
            before=self._check_mixing,
            after=self._check_sums,
        )
        ends = "tolerance" if is_precise else "samples" if run.done >= self.asked else "inputs"
        facts = {
            "inputs": source.description,
            "seed": settings.seed,
            "samples": run.done,
            "stopped_by": "linear" if one_is_enough else ends,
            "skipped": list(source.skipped),
        }
        notes = notes_of(self.targets, settings.inputs)
        return [
            result_of(
                run,
                sums,
                noted(provenance(sums.target, weights, settings, [facts]), own_notes),
                linear=linear,
            )
            for sums, own_notes, linear in zip(run.sums, notes, self.linear, strict=True)
        ]

    def _check_mixing(self, batch: Mapping[int, Any]) -> None:
        """Refuses layers that mix samples in training mode."""
        if self.settings.training and not self._checked:
            check_mixing(self.targets, self._accumulator.cone, batch)

    def _check_sums(self, batch: Mapping[int, Any], valid: int) -> None:
        """Refuses units whose channels sum to a constant, once for all runs."""
        if not self._checked:
            run = self._accumulator
            check_sums(run.suspects, run.cone, batch, self.settings, valid=valid)
            self._checked = True


def provenance(
    target: Target, weights: str, settings: Settings, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How results were obtained, and through which layers a gradient does not see."""
    hidden = unseen(target.tracing, target.tensor)
    layers = (node.operation for node in target.graph.nodes)
    calibrated = settings.calibrate and any(
        has_batch_norm(layer) for layer in layers if isinstance(layer, keras.Layer)
    )
    return {
        "model": target.graph.name,
        "weights": weights,
        "training": settings.training,
        **({"calibrated": True} if calibrated else {}),
        "runs": list(runs),
        "versions": {
            "keras_erf": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        **({"unseen": hidden} if hidden else {}),
    }


def noted(about: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """A provenance with its notes, if there are any."""
    return {**about, "notes": list(notes)} if notes else dict(about)


def result_of(
    run: Accumulator, sums: Sums, about: Mapping[str, Any], *, linear: bool = False
) -> EffectiveReceptiveField:
    """The result of one unit, as far as it has been measured."""
    return EffectiveReceptiveField(
        block_sums=sums.maps.numpy(),
        block_counts=run.counts.copy(),
        dead_count=int(sums.dead.numpy()),
        receptive_field=sums.target.receptive_field,
        definition=run.definition,
        provenance=about,
        part=sums.part,
        linear=linear,
    )


def _asked(source: Source, settings: Settings) -> int:
    """How many samples are asked for, at most; the source may hold fewer."""
    if settings.samples is not None:
        return settings.samples
    if settings.tolerance is not None:
        return MOST_SAMPLES
    return source.samples


def _feed(
    run: Accumulator,
    source: Source,
    specs: Sequence[InputSpec],
    size: int,
    wanted: int,
    tolerance: float | None,
    report: Progress,
    *,
    before: Callable[[Mapping[int, Any]], None],
    after: Callable[[Mapping[int, Any], int], None],
) -> bool:
    """Runs batches of `size` samples until `wanted` are done or the source ends.

    `before` and `after` are called with the first batch, and how many of it count.

    Returns:
        Whether the sizes' tolerance was reached.
    """
    graph = run.targets[0].graph
    batch: dict[int, Any] = {}
    next_check = FEWEST_SAMPLES
    for tensors in streamed(source, specs, size, samples=wanted):
        fill = size if run.done else graph.batch
        batch, valid = filled(graph, tensors, fill, most=wanted - run.done)
        is_first = not run.done
        if is_first:
            before(batch)
        run.feed(batch, valid)
        if is_first:
            after(batch, valid)
        report(run.done, wanted)
        if tolerance is not None and run.done >= next_check:
            next_check = math.ceil(run.done * (1 + BETWEEN_CHECKS))
            if all(_is_precise(run, sums, tolerance) for sums in run.sums):
                run.finish(batch)
                return True
        if run.done >= wanted:
            break
    if not run.done:
        raise InvalidInputError(
            argument="inputs", expected="must hold at least one sample", received="none"
        )
    run.finish(batch)
    return False


def filled(
    graph: Graph, tensors: Sequence[Any], size: int | None, *, most: int | None = None
) -> tuple[dict[int, Any], int]:
    """A batch by tensor number, and how many of its samples count.

    Args:
        graph: Of the model.
        tensors: Samples of each input.
        size: Samples to fill the batch up to, with copies: the model's own size, or
            that of the batches before, since another one is compiled again. `None`
            fills nothing up.
        most: At most this many count.
    """
    count = len(tensors[0])
    valid = count if most is None else min(count, most)
    wanted = valid if size is None else size
    if not valid == wanted == count:
        rows = np.minimum(np.arange(wanted), valid - 1)
        tensors = [tf.gather(tensor, rows) for tensor in tensors]
    return dict(zip(graph.inputs, tensors, strict=True)), valid


def _is_precise(run: Accumulator, sums: Sums, tolerance: float) -> bool:
    """Whether the 95 % interval of a unit's size is within the tolerance, to either side."""
    if not sums.maps.numpy().any():
        return False
    size = result_of(run, sums, {"runs": []}).estimate("size")
    return bool((size.high - size.low) / 2 <= tolerance * size.value)
