"""What a measurement needs before it starts: its cone, its inputs' parts, its batches' size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import keras
import tensorflow as tf

from keras_erf.algebra.boxes import elements, entire
from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone, cone_of, whole_cone
from keras_erf.errors import BackendError, InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.graph import Graph, build_graph
from keras_erf.measuring.calibrating import calibrated, has_batch_norm
from keras_erf.measuring.linearity import has_constant_gradient
from keras_erf.measuring.settings import Settings
from keras_erf.results.effective import BLOCKS
from keras_erf.samples.sources import InputSpec

__all__ = [
    "check",
    "check_backend",
    "chosen_batch_size",
    "input_parts",
    "input_specs",
    "is_linear",
    "made_ready",
    "planned",
    "shape_of_data",
]

# Activations of a batch, forward and backward, are kept below about this many bytes.
MEMORY = 2**30
# Maps of more have no metrics.
MOST_AXES = 3
# Larger batches pay only where activations are so small that calls cost more than sums.
BATCH, LARGE_BATCH, SMALL_MEMORY = BLOCKS, 64, 2**26


class _Sized(Protocol):
    """What is found in a model: it knows the graph at the size it was found for."""

    @property
    def graph(self) -> Graph: ...


Found = TypeVar("Found", bound=_Sized)


def made_ready(
    model: keras.Model,
    find: Callable[[keras.Model], Found],
    ends: Callable[[Found], Sequence[int]],
    settings: Settings,
) -> tuple[keras.Model, Found]:
    """The model that is measured, the one given or a calibrated copy, and what is found in it.

    Args:
        model: A model in full precision.
        find: What looks for it.
        ends: Gives the numbers of the tensors that are measured.
        settings: Whether to calibrate, and on what.
    """
    found = find(model)
    if not (settings.calibrate and has_batch_norm(model)):
        return model, found
    copy = calibrated(model, found.graph, ends(found), settings.inputs)
    return copy, find(copy)


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


def is_linear(target: Target, settings: Settings) -> bool:
    """Whether one sample tells all: the gradient does not depend on the input."""
    definition = settings.definition
    return definition.seed != "relu" and has_constant_gradient(target, training=settings.training)


def check(target: Target, settings: Settings) -> None:
    """Raises if the settings do not fit the model."""
    fixed = target.graph.batch
    if fixed and settings.batch_size not in (None, fixed):
        raise InvalidInputError(
            f"`batch_size` must be {fixed}, which the model is built for; leave it out. "
            f"Received: batch_size={settings.batch_size}"
        )
    axes = len(target.receptive_field.input_size)
    if axes > MOST_AXES:
        raise InvalidInputError(
            f"`input` must have one to {MOST_AXES} spatial axes to be measured; "
            "keras_erf.receptive_field takes any number. "
            f"Received: {axes} of input {target.receptive_field.input!r}"
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


def check_backend() -> None:
    """Raises a `BackendError` unless Keras runs on TensorFlow."""
    if keras.config.backend() != "tensorflow":
        raise BackendError(
            "Gradients need Keras on TensorFlow: set the environment variable "
            f"KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )


def shape_of_data(model: Any, input: str | None, inputs: Any) -> tuple[int, ...] | None:
    """Spatial shape for an input that leaves sizes undefined, from the array meant for it."""
    graph = build_graph(model)
    number = graph.input_number(input)
    name, own = graph.tensors[number].name, graph.tensors[number].shape
    if isinstance(inputs, Mapping):
        inputs = inputs.get(name)
    elif isinstance(inputs, (list, tuple)) and len(inputs) == len(graph.inputs) > 1:
        inputs = inputs[graph.inputs.index(number)]
    shape = tuple(getattr(inputs, "shape", ()))
    if None not in own or len(shape) != len(own) + 1:
        return None
    sizes = (own[axis] or shape[axis + 1] for axis in graph.spatial_axes(number))
    return tuple(int(size) for size in sizes)
