"""Fresh weights for every run: the effective receptive field of an architecture.

The paper averages over networks as well as inputs (Luo et al. 2016, section 3).
The first network is compiled with its weights as arguments; the weights of
the others are passed to it, so that nothing is compiled twice.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_erf.definitions import Definition, get_definition
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Rules
from keras_erf.graph import Graph, architecture, build_graph
from keras_erf.inputs.sampling import make_source
from keras_erf.inputs.sources import InputSpec
from keras_erf.inputs.streaming import streamed
from keras_erf.legacy.in_memory import modern_model
from keras_erf.measuring.accumulating import Accumulator
from keras_erf.measuring.batch_size import chosen_batch_size
from keras_erf.measuring.cancelling import check_sums
from keras_erf.measuring.measurement import filled, noted, provenance, result_of
from keras_erf.measuring.plans import check, input_specs, is_linear, plan_of
from keras_erf.measuring.precision import in_full_precision
from keras_erf.measuring.sample_mixing import check_mixing
from keras_erf.measuring.settings import Location, Settings, check_whole
from keras_erf.measuring.setup import calibrated_for, check_backend, fingerprint, located
from keras_erf.measuring.untrained import UNTRAINED, notes_of
from keras_erf.progress import Progress, shown
from keras_erf.results.effective import BLOCKS, EffectiveReceptiveField
from keras_erf.results.merging import ONE_PER_RUN
from keras_erf.types import Model

__all__ = ["ensemble"]

Build = Callable[[int], Model]


def ensemble(
    build: Build,
    layer: str | None = None,
    *,
    runs: int = 20,
    samples: int = 1,
    unit: tuple[int, ...] | Literal["center"] = "center",
    inputs: Any = "normal",
    definition: str | Definition = "luo2016",
    batch_size: int | None = None,
    seed: int = 0,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    cone: bool = True,
    training: bool = False,
    calibrate: bool = False,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
    progress: bool | Progress | None = None,
) -> EffectiveReceptiveField:
    """Measures a unit of many networks of one architecture, each with weights of its own.

    Run `r` takes the network `build(seed + r)`, and noise of that seed. Errors are
    those of the spread between runs. Two ensembles merge: one of 10 runs and one of 10
    with `seed=10` are that of 20.

    Examples:
        >>> def build(seed):
        ...     return keras_erf.zoo.build("plain", depth=5, activation="relu", seed=seed)
        >>> keras_erf.ensemble(build, runs=4).count
        4

    Args:
        build: Function from a seed to a model; always the same architecture. Batch
            normalisation of an untrained network normalises nothing yet: set
            `calibrate` where it should.
        layer: Name or path of the layer in the first model; `None` is the last one
            with more than one position.
        runs: Number of networks.
        samples: Number of samples of each.
        unit: As in `probe`.
        inputs: As in `probe`; arrays, datasets and images must hold
            `runs * samples` samples, and each run takes the next ones.
        definition: As in `probe`.
        batch_size: As in `probe`; no more than `samples`.
        seed: Seed of the first run.
        input: As in `probe`.
        input_shape: As in `probe`.
        cone: As in `probe`.
        training: As in `probe`.
        calibrate: As in `probe`, for each network.
        grid: As in `probe`.
        rules: As in `probe`.
        progress: `True` shows a bar; a function is called with the number of runs
            done and wanted.

    Returns:
        The merged result, with a sample count of `runs * samples`.

    Raises:
        InvalidInputError: An argument does not fit, or `build` made a network of
            another architecture, or of the same weights as before.
        UnknownLayerError: As `probe`.
        UnsupportedLayerError: As `probe`.
        GradientError: As `probe`.
        BackendError: As `probe`.
    """
    check_backend()
    if not callable(build) or isinstance(build, keras.Model):
        raise InvalidInputError(
            argument="build",
            expected="must be a function from a seed to a model",
            received=f"build={build!r}",
        )
    if layer is not None and not isinstance(layer, str):
        raise InvalidInputError(
            argument="layer",
            expected="must be a name or a path: each run has layers of its own",
            received=f"layer={layer!r}",
        )
    runs, samples = check_whole("runs", runs, 1), check_whole("samples", samples, 1)
    seed = check_whole("seed", seed, 0)
    settings = Settings(
        inputs=inputs,
        samples=samples,
        definition=get_definition(definition),
        batch_size=batch_size,
        seed=seed,
        cone=cone,
        training=training,
        calibrate=calibrate,
    )
    location = Location(unit, input, input_shape, grid, rules)
    units = located(build(seed), [layer], inputs, location, assigned=False)
    built, ready = units.model, units.calibrated(settings)
    first, (target,) = ready.model, ready.targets
    check(target, settings)
    # What was seen inside a layer may hold on to the first network's weights.
    plan = plan_of([target], settings, inside=False)
    specs = input_specs(target, plan.cone)
    linear = is_linear(target, settings)
    each = 1 if linear else samples
    size = target.graph.batch or batch_size or chosen_batch_size(target, plan.cone, each)
    run = Accumulator(
        [target],
        plan.parts,
        plan.cone,
        settings.definition,
        training=training,
        seed=seed,
        variables=first.weights,
    )
    about: list[dict[str, Any]] = []
    batches = _Batches(settings, specs, size, each, runs)
    model = first
    # Networks of fresh weights are what was asked for.
    (notes,) = notes_of([target], inputs)
    notes = [note for note in notes if note != UNTRAINED]
    with shown(progress, f"Probing {target.receptive_field.layer}") as report:
        for number in range(runs):
            if number:
                built = in_full_precision(modern_model(build(seed + number)))
                _check_alike(built, target.graph)
                model = calibrated_for(built, [target], settings)
            mark = fingerprint(built)
            if about and mark == about[-1]["weights"]:
                raise InvalidInputError(
                    argument="build",
                    expected="must give each run weights of its own: set them by the seed it is "
                    "called with",
                    received=f"the same for seeds {seed + number - 1} and {seed + number}",
                )
            weights = [tf.convert_to_tensor(variable.value) for variable in model.weights]
            missing = each
            for tensors in batches.of(seed + number):
                batch, valid = filled(target.graph, tensors, target.graph.batch)
                missing -= valid
                is_first = not run.done
                if is_first and training:
                    check_mixing([target], plan.cone, batch)
                blocks = np.full(len(batch[target.input]), (seed + number) % BLOCKS)
                run.feed(batch, valid, blocks=blocks, weights=weights)
                if is_first:
                    check_sums(run.suspects, plan.cone, batch, settings, valid=valid)
            if missing:
                raise batches.too_few((number + 1) * each - missing)
            about.append(
                {
                    "inputs": batches.source.description,
                    "seed": seed + number,
                    "samples": each,
                    "weights": mark,
                    "stopped_by": "samples",
                    "skipped": [],
                }
            )
            report(number + 1, runs)
    run.finish(batch)
    about[-1]["skipped"] = batches.skipped()
    facts = noted(provenance(target, ONE_PER_RUN, settings, about), notes)
    facts["model"] = _uncounted(facts["model"], "Functional", "Sequential")
    result = result_of(run, run.sums[0], facts)
    field = result.receptive_field
    kinds = [type(node.operation).__name__ for node in target.graph.nodes]
    layer, source = _uncounted(field.layer, *kinds), _uncounted(field.input, "KerasTensor")
    return replace(result, receptive_field=replace(field, layer=layer, input=source))


def _uncounted(name: str, *kinds: str) -> str:
    """A name without the number Keras counts things of a kind by, which differ from run to run."""
    plain = re.sub(r"_\d+$", "", name)
    own = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower() for kind in kinds}
    return plain if plain in own else name


class _Batches:
    """The samples of each run: noise of the run's own seed, or the next ones of a source."""

    def __init__(
        self, settings: Settings, specs: Sequence[InputSpec], size: int, each: int, runs: int
    ) -> None:
        self.inputs, self.specs = settings.inputs, specs
        self.each, self.runs = each, runs
        # Batches end where runs do.
        self.size = max(n for n in range(1, min(size, each) + 1) if each % n == 0)
        self.source = source = make_source(settings.inputs, specs, seed=settings.seed)
        needed = runs * each
        if source.count is not None and source.count < needed:
            raise self.too_few(source.count)
        noise = isinstance(settings.inputs, str) and source.count is None
        self.shared = None if noise else streamed(source, specs, self.size, samples=needed)

    def too_few(self, count: int) -> InvalidInputError:
        """The error of a source that holds only `count` samples."""
        skipped = self.source.skipped
        more = f", and {len(skipped)} that cannot be read, {skipped[0]!r} first" if skipped else ""
        return InvalidInputError(
            argument="inputs",
            expected=f"must hold {self.runs * self.each} samples, {self.each} for each of "
            f"{self.runs} runs",
            received=f"{count}{more}",
        )

    def skipped(self) -> list[str]:
        """What the runs together could not read."""
        if self.shared is not None:
            self.shared.close()
        return list(self.source.skipped)

    def of(self, seed: int) -> Iterator[list[Any]]:
        """The batches of the run of a seed."""
        turns = self.each // self.size
        if self.shared is not None:
            yield from itertools.islice(self.shared, turns)
        else:
            source = make_source(self.inputs, self.specs, seed=seed)
            yield from streamed(source, self.specs, self.size, samples=self.each)


def _check_alike(model: Model, first: Graph) -> None:
    """Raises unless a model is the first one with other weights."""
    graph = build_graph(model)
    expected, received = architecture(first), architecture(graph)
    if expected == received:
        return
    where = f"it had {len(expected)} calls of layers and has {len(received)}"
    if len(expected) == len(received):
        pairs = zip(first.nodes, expected, received, strict=True)
        where = next(f"layer {node.name!r} differs" for node, call, other in pairs if call != other)
    raise InvalidInputError(
        argument="build",
        expected=f"must make one architecture, of other weights for each seed: {where}",
        received=f"models {first.name!r} and {graph.name!r}",
    )
