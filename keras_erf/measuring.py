"""Measuring some units of one graph together: samples in, results out, and when to stop."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf._version import __version__
from keras_erf.accumulating import Accumulator, Sums
from keras_erf.cone import Cone, cone_of, whole_cone
from keras_erf.cone.parts import elements, entire
from keras_erf.definitions import get_definition
from keras_erf.effective import BLOCKS, EffectiveReceptiveField
from keras_erf.errors import InvalidInputError
from keras_erf.geometry import Box
from keras_erf.graph import Graph
from keras_erf.linearity import has_constant_gradient
from keras_erf.progress import Progress
from keras_erf.sampling import DEFAULT_SAMPLES, InputSpec, Source, make_source
from keras_erf.settings import Settings
from keras_erf.streaming import streamed
from keras_erf.theoretical import Target

__all__ = ["fingerprint", "measure", "planned"]

# Activations of a batch, forward and backward, are kept below about this many bytes.
MEMORY = 2**30
# Larger batches pay only where activations are so small that calls cost more than sums.
BATCH, LARGE_BATCH, SMALL_MEMORY = BLOCKS, 64, 2**26
# With a tolerance: the most samples, and how many there must be before it is looked at.
MOST_SAMPLES, FEWEST_SAMPLES = 4096, 2 * BLOCKS
# Samples, as a share of those there are, between two looks.
BETWEEN_LOOKS = 0.25


def planned(targets: Sequence[Target], settings: Settings, *, inside: bool = True) -> Cone:
    """The calls that compute some units of one graph together.

    Args:
        targets: The units.
        settings: Whether of their cone alone, and whether in training mode.
        inside: Whether the calls inside opened layers may be run, of the weights at hand.
    """
    if not settings.cone:
        return whole_cone(targets[0].graph, [one.tensor for one in targets])
    wanted: dict[int, Box] = {}
    for one in targets:
        part = list(entire(one.tracing.shape(one.tensor)))
        for axis, position in zip(one.spatial_axes, one.position, strict=True):
            start, stop = position, position + 1
            if one.tensor in wanted:
                before = wanted[one.tensor][axis]
                start, stop = min(start, before[0]), max(stop, before[1])
            part[axis] = (start, stop)
        wanted[one.tensor] = tuple(part)
    # What was seen inside a layer is what it does at inference.
    return cone_of(targets[0].tracing, wanted, inside=inside and not settings.training)


def input_parts(targets: Sequence[Target], cone: Cone, settings: Settings) -> list[Box]:
    """The part of the analysed input that each unit can see, over its spatial axes."""
    parts = []
    for one in targets:
        own = cone if len(targets) == 1 else planned([one], settings)
        part = own.parts.get(one.input, entire(one.tracing.shape(one.input)))
        parts.append(tuple(part[axis] for axis in one.tracing.input_axes))
    return parts


def measure(
    targets: Sequence[Target],
    settings: Settings,
    *,
    weights: str,
    report: Progress = lambda done, wanted: None,
) -> list[EffectiveReceptiveField]:
    """Measures some units of one graph and one input, on the same samples, in one pass.

    Args:
        targets: The units.
        settings: How.
        weights: Fingerprint of the model's weights.
        report: Told the number of samples done and wanted.

    Raises:
        InvalidInputError: The settings do not fit the model.
        GradientError: As `probe`.
    """
    first = targets[0]
    check(first, settings)
    cone = planned(targets, settings)
    specs = input_specs(first, cone)
    source = make_source(settings.inputs, specs, seed=settings.seed)
    linear = is_linear(targets, settings)
    asked = 1 if linear else _asked(source, settings)
    wanted = min(asked, source.count or asked)
    size = first.graph.batch or settings.batch_size or chosen_batch_size(first, cone, wanted)
    parts = input_parts(targets, cone, settings)
    definition = get_definition(settings.definition)
    run = Accumulator(
        targets, parts, cone, definition, training=settings.training, seed=settings.seed
    )
    tolerance = None if linear else settings.tolerance
    reached = _feed(run, source, specs, size, wanted, tolerance, report)
    ends = "tolerance" if reached else "samples" if run.done >= asked else "inputs"
    made = {
        "inputs": source.description,
        "seed": settings.seed,
        "samples": run.done,
        "stopped_by": "linear" if linear else ends,
        "skipped": list(source.skipped),
    }
    about = provenance(first, weights, settings, [made])
    return [result_of(run, one, about, linear=linear) for one in run.sums]


def provenance(
    target: Target, weights: str, settings: Settings, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How results were obtained."""
    return {
        "model": target.graph.name,
        "weights": weights,
        "training": settings.training,
        "runs": list(runs),
        "versions": {
            "keras_erf": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


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


def fingerprint(model: Any) -> str:
    """Short hash of the model's weights, so that results tell which net they are of."""
    digest = hashlib.blake2b(digest_size=8)
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def is_linear(targets: Sequence[Target], settings: Settings) -> bool:
    """Whether one sample tells all: no gradient depends on the input."""
    definition = get_definition(settings.definition)
    return definition.seed != "relu" and all(
        has_constant_gradient(one, training=settings.training) for one in targets
    )


def check(target: Target, settings: Settings) -> None:
    """Raises if the settings do not fit the model."""
    fixed = target.graph.batch
    if fixed and settings.batch_size not in (None, fixed):
        raise InvalidInputError(
            f"`batch_size` must be {fixed}, which the model is built for; leave it out. "
            f"Received: batch_size={settings.batch_size}"
        )
    if not settings.training:
        return
    # Layers that mix samples: their units see the whole batch, and no field is true.
    for node in target.graph.ancestors(target.tensor):
        layer = node.operation
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise InvalidInputError(
                f"`training` must be False: in training mode layer {node.name!r} normalises by the "
                "whole batch, so that a unit sees every pixel of every sample. Set its trainable "
                "to False to have dropout alone. Received: training=True"
            )


def input_specs(target: Target, cone: Cone) -> list[InputSpec]:
    """What the model's inputs take, and the parts of them that the cone needs."""
    graph = target.graph
    specs = []
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if number == target.input and not tensor.dtype.startswith(("float", "bfloat")):
            raise InvalidInputError(
                f"`input` must be of a floating type to have a gradient; probe a model that starts "
                f"behind it. Received: input {tensor.name!r} of dtype {tensor.dtype}"
            )
        if None in tensor.shape:
            raise InvalidInputError(
                f"`model` must have inputs of definite shape; `input_shape` sets spatial sizes. "
                f"Received: input {tensor.name!r} of shape {tensor.shape} without the batch"
            )
        channel = graph.channel_axes[number]
        part = cone.parts.get(number)
        if cone.parts and part is None:
            # Nothing leads from this input to the units.
            part = ((0, 1),) * len(tensor.shape)
        specs.append(InputSpec(tensor.name, tensor.shape, tensor.dtype, channel, part))  # type: ignore[arg-type]
    return specs


def chosen_batch_size(target: Target, cone: Cone, wanted: int) -> int:
    """Samples per batch that keep the activations within the memory allowed."""
    tensors = target.graph.tensors
    sample = 0
    for step in cone.steps:
        for number in step.node.outputs:
            # Inside an opened layer tensors are parts of their own.
            part = cone.parts.get(number) or entire([size or 1 for size in tensors[number].shape])
            dtype = tensors[number].dtype if number < len(tensors) else "float32"
            sample += 2 * elements(part) * tf.as_dtype(dtype).size
    sample = max(sample, 1)
    fitting = max(min(BATCH, MEMORY // sample), min(LARGE_BATCH, SMALL_MEMORY // sample))
    return max(1, min(fitting, wanted))


def _asked(source: Source, settings: Settings) -> int:
    """How many samples are asked for, at most; the source may hold fewer."""
    if settings.samples is not None:
        return settings.samples
    if settings.tolerance is not None:
        return MOST_SAMPLES
    entire_array = source.description.startswith("array")
    return source.count if entire_array and source.count else DEFAULT_SAMPLES


def _feed(
    run: Accumulator,
    source: Source,
    specs: Sequence[InputSpec],
    size: int,
    wanted: int,
    tolerance: float | None,
    report: Progress,
) -> bool:
    """Runs batches of `size` samples until `wanted` are done or the source ends.

    Returns:
        Whether the sizes' tolerance was reached.
    """
    graph = run.targets[0].graph
    batch: dict[int, Any] = {}
    look = FEWEST_SAMPLES
    for tensors in streamed(source, specs, size, samples=wanted):
        fill = size if run.done else graph.batch
        batch, valid = filled(graph, tensors, fill, most=wanted - run.done)
        run.feed(batch, valid)
        report(run.done, wanted)
        if tolerance is not None and run.done >= look:
            look = math.ceil(run.done * (1 + BETWEEN_LOOKS))
            if all(_is_precise(run, one, tolerance) for one in run.sums):
                run.finish(batch)
                return True
        if run.done >= wanted:
            break
    if not run.done:
        raise InvalidInputError("`inputs` must hold at least one sample. Received: none")
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
            that of the batches before, since another one is compiled anew. `None`
            fills nothing up.
        most: No more than so many count.
    """
    count = len(tensors[0])
    valid = count if most is None else min(count, most)
    if size not in (None, count):
        rows = np.minimum(np.arange(size), valid - 1)
        tensors = [tf.gather(one, rows) for one in tensors]
    return dict(zip(graph.inputs, tensors, strict=True)), valid


def _is_precise(run: Accumulator, sums: Sums, tolerance: float) -> bool:
    """Whether the 95 % interval of a unit's size is within the tolerance, to either side."""
    if not sums.maps.numpy().any():
        return False
    size = result_of(run, sums, {"runs": []}).estimate("size")
    return bool((size.high - size.low) / 2 <= tolerance * size.value)
