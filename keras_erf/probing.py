"""The gradient probe: back-propagates from one unit to the input, sample by sample.

A gradient of 1 is put at one unit, 0 elsewhere, and taken back to the input
(Luo, Li, Urtasun and Zemel 2016, section 2). Samples are processed in batches
by one compiled function that keeps running sums on the device, so memory does
not grow with their number. The user's model is only called, never changed.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_erf._version import __version__
from keras_erf.definitions import Definition, get_definition
from keras_erf.diagnosing import explain_gradient
from keras_erf.effective import BLOCKS, EffectiveReceptiveField
from keras_erf.errors import BackendError, GradientError, InvalidInputError, reason_of
from keras_erf.gradients import sample_maps, unit_gradient
from keras_erf.graph import build_graph
from keras_erf.sampling import DEFAULT_SAMPLES, InputSpec, Source, make_source
from keras_erf.theoretical import Rules, Target, locate

__all__ = ["probe"]

# Activations of a batch, forward and backward, are kept below about this many bytes.
MEMORY = 2**30
MAXIMUM_BATCH = 64

Progress = Callable[[int, int], None]


def probe(
    model: Any,
    layer: Any = None,
    *,
    unit: tuple[int, ...] | Literal["center"] = "center",
    inputs: Any = "normal",
    samples: int | None = None,
    definition: str | Definition = "luo2016",
    batch_size: int | None = None,
    seed: int = 0,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    training: bool = False,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
    progress: bool | Progress | None = None,
) -> EffectiveReceptiveField:
    """Measures the effective receptive field of one unit of a layer.

    Example:

    ```python
    model = keras_erf.zoo.load("cifar_resnet14")
    result = keras_erf.probe(model, "stage2_block2_out", inputs=images)
    result.size, result.size_error, result.ratio
    ```

    Args:
        model: A Functional or Sequential Keras model, on the TensorFlow backend.
        layer: As in `receptive_field`: `None` is the last layer with spatial axes.
        unit: Index of the unit, or `"center"`: the unit whose field's centre is
            nearest the input's centre.
        inputs: `"normal"`, `"uniform"` or `"zeros"`; an array of shape
            `(samples, *input shape)`, or a list or dict of them for several
            inputs; a `tf.data.Dataset`; an `ImageFolder` or the path of one; a
            dict of any of these, one for each input.
        samples: Number of samples; `None` takes all of an array, and 64 of
            anything else. Fewer are used where `inputs` holds fewer.
        definition: Name of a definition, or a `Definition`; see `DEFINITIONS`.
        batch_size: Samples per batch; `None` chooses by memory. A model of fixed batch
            size takes no other.
        seed: Seed of noise, of the order of image files and of random layers.
        input: Name of the input the map is over; `None` is the first.
        input_shape: Spatial sizes for the inputs, without batch and channels.
            `None` keeps the model's; where they are undefined, those of an
            array are taken, or sizes large enough for the field.
        training: Whether layers run in training mode (dropout active). No
            statistics are updated. Refused where a batch normalisation that is
            not frozen lies on the way: by the statistics of the batch a unit
            depends on every pixel of every sample, and has no field of its own.
        grid: Rows and columns of a layer of tokens, as in `receptive_field`.
        rules: Rules for unknown layers, as in `receptive_field`.
        progress: `True` shows a bar; a function is called with the number of
            samples done and wanted.

    Returns:
        An `EffectiveReceptiveField`.

    Raises:
        InvalidInputError: An argument does not fit the model.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule tells the field of a layer on the way.
        GradientError: The gradient is zero for every sample, or not finite, or
            the model cannot be run; the layer that is to blame is named.
        BackendError: Keras does not run on TensorFlow.
    """
    if keras.config.backend() != "tensorflow":
        raise BackendError(
            "Probing needs Keras on TensorFlow: set the environment variable "
            f"KERAS_BACKEND=tensorflow. Received: backend={keras.config.backend()!r}"
        )
    definition = get_definition(definition)
    _check_whole("seed", seed, 0)
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number is not None:
            _check_whole(name, number, 1)
    if not isinstance(training, bool):
        raise InvalidInputError(
            f"`training` must be True or False. Received: training={training!r}"
        )
    if input_shape is None:
        input_shape = _shape_of_data(model, input, inputs)
    target = locate(
        model,
        layer,
        unit=unit,
        input=input,
        input_shape=input_shape,
        grid=grid,
        rules=rules,
    )
    if training:
        _check_statistics(target)
    fixed = target.graph.batch
    if fixed and batch_size not in (None, fixed):
        raise InvalidInputError(
            f"`batch_size` must be {fixed}, which the model is built for; leave it out. "
            f"Received: batch_size={batch_size}"
        )
    source = make_source(inputs, _input_specs(target), seed=seed)
    if samples is None:
        entire = source.description.startswith("array")
        samples = source.count if entire and source.count else DEFAULT_SAMPLES
    wanted = min(samples, source.count or samples)
    size = fixed or batch_size or _batch_size(target, wanted)
    run = _Run(target, definition, training, seed)
    with _progress(progress, wanted, target.receptive_field.layer) as report:
        _feed(run, source, size, wanted, report)
    made = {"inputs": source.description, "seed": seed, "samples": run.done}
    return EffectiveReceptiveField(
        block_sums=run.sums.numpy(),
        block_counts=run.counts,
        dead_count=int(run.dead.numpy()),
        receptive_field=target.receptive_field,
        definition=definition,
        provenance={
            "model": target.graph.name,
            "weights": _fingerprint(model),
            "training": training,
            "runs": [{**made, "skipped": list(source.skipped)}],
            "versions": {
                "keras_erf": __version__,
                "keras": keras.__version__,
                "tensorflow": tf.__version__,
            },
        },
    )


def _check_whole(name: str, number: Any, least: int) -> None:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < least:
        raise InvalidInputError(
            f"`{name}` must be a whole number of at least {least}. Received: {name}={number!r}"
        )


def _check_statistics(target: Target) -> None:
    """Refuses layers that mix samples: their units see the whole batch, and no field is true."""
    for node in target.graph.ancestors(target.tensor):
        layer = node.operation
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise InvalidInputError(
                f"`training` must be False: in training mode layer {node.name!r} normalises by the "
                "whole batch, so that a unit sees every pixel of every sample. Set its trainable "
                "to False to have dropout alone. Received: training=True"
            )


def _shape_of_data(model: Any, input: str | None, inputs: Any) -> tuple[int, ...] | None:
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


def _input_specs(target: Target) -> list[InputSpec]:
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
        specs.append(InputSpec(tensor.name, tensor.shape, tensor.dtype, channel))  # type: ignore[arg-type]
    return specs


def _batch_size(target: Target, wanted: int) -> int:
    """Samples per batch that keep the activations within the memory allowed."""
    graph = target.graph
    made = [
        graph.tensors[tensor] for node in graph.ancestors(target.tensor) for tensor in node.outputs
    ]
    sample = 2 * sum(
        tf.as_dtype(tensor.dtype).size * math.prod(size or 1 for size in tensor.shape)
        for tensor in made
    )
    return max(1, min(MAXIMUM_BATCH, wanted, MEMORY // max(sample, 1)))


def _fingerprint(model: Any) -> str:
    """Short hash of the model's weights, so that results tell which net they are of."""
    digest = hashlib.blake2b(digest_size=8)
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


class _Run:
    """Running sums of one probe, and the compiled function that adds a batch to them."""

    def __init__(self, target: Target, definition: Definition, training: bool, seed: int) -> None:
        self.target, self.definition, self.training = target, definition, training
        self.done = 0
        # Dropout and its kin draw from states that stay the user's: fresh ones stand in for them.
        self.states = target.graph.random_states() if training else []
        # A stream apart from those of noise.
        self.random = np.random.default_rng((seed, 1))
        shape = (BLOCKS, *target.receptive_field.input_size)
        self.sums = tf.Variable(tf.zeros(shape, tf.float64), trainable=False)
        self.counts = np.zeros(BLOCKS, dtype=np.int64)
        self.dead = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.finite = tf.Variable(True, trainable=False)
        # TensorFlow warns of retracing by code object; a partial makes each run one of its own.
        add = functools.partial(self._add)
        self.add = tf.function(add, autograph=False, reduce_retracing=True)

    def feed(self, batch: Mapping[int, Any], valid: int) -> None:
        """Adds the first `valid` samples of a batch, whose other ones only fill it up."""
        count = len(batch[self.target.input])
        blocks = np.where(np.arange(count) < valid, (self.done + np.arange(count)) % BLOCKS, -1)
        seeds = [tf.constant(self.random.integers(2**31, size=2), tf.uint32) for _ in self.states]
        try:
            self.add(batch, tf.constant(blocks), seeds)
        except tf.errors.OpError as error:
            raise GradientError(_failure(error, self.target, count)) from error
        except Exception as error:  # A layer's own code may raise anything.
            name = self._failing_layer(batch)
            if name is None:  # None of the layers' faults.
                raise
            raise GradientError(
                f"The model cannot be run: layer {name!r} fails: {reason_of(error)}. Mend it, or "
                "choose a layer before it"
            ) from error
        self.counts += np.bincount(blocks[:valid], minlength=BLOCKS)
        self.done += valid
        if not self.finite.numpy():
            raise GradientError(self._explanation(batch))

    def finish(self, batch: Mapping[int, Any]) -> None:
        """Checks that something was measured; `batch` is any of those fed."""
        sums = self.sums.numpy()
        if not (sums.any() and np.isfinite(sums).all()):
            raise GradientError(self._explanation(batch))

    def _explanation(self, batch: Mapping[int, Any]) -> str:
        return explain_gradient(self.target, batch, self.definition, training=self.training)

    def _failing_layer(self, batch: Mapping[int, Any]) -> str | None:
        """Name of the first layer that cannot be called, if there is one."""
        graph = self.target.graph
        nodes = graph.ancestors(self.target.tensor)

        def fails(last: int) -> bool:
            wanted = [tensor for node in nodes[: last + 1] for tensor in node.outputs]
            call = functools.partial(graph.run, batch, wanted, training=self.training)
            try:
                tf.function(call, autograph=False).get_concrete_function()
            except Exception:
                return True
            return False

        first = bisect.bisect_left(range(len(nodes)), True, key=fails)
        return nodes[first].name if first < len(nodes) else None

    def _add(self, batch: Mapping[int, Any], blocks: Any, seeds: Sequence[Any]) -> None:
        gradient = unit_gradient(
            self.target,
            batch,
            self.definition,
            training=self.training,
            state=list(zip(self.states, seeds, strict=True)),
        )
        if gradient is None:
            gradient = tf.zeros_like(batch[self.target.input])
        maps = sample_maps(gradient, self.target, self.definition)
        # A block of -1 is none: the samples that only fill the batch up.
        self.sums.assign_add(tf.math.unsorted_segment_sum(maps, blocks, BLOCKS))
        dead = tf.reduce_all(gradient == 0, axis=list(range(1, gradient.shape.rank)))
        self.dead.assign_add(tf.math.count_nonzero(dead & (blocks >= 0)))
        # Not of the maps: there a ReLU turns minus infinity into an innocent zero.
        self.finite.assign(self.finite & tf.reduce_all(tf.math.is_finite(gradient)))


def _failure(error: tf.errors.OpError, target: Target, count: int) -> str:
    """One line on what TensorFlow could not do."""
    where = f"layer {target.receptive_field.layer!r}"
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return (
            f"The gradient of {where} does not fit into memory: set `batch_size` lower. "
            f"Received: batches of {count}"
        )
    # The last line that is not the graph's own bookkeeping says what is wrong.
    lines = [line.strip() for line in error.message.splitlines()]
    reasons = [line for line in lines if line and not line.startswith("[[")]
    return (
        f"TensorFlow cannot run the model as far as {where} on this device: "
        f"{reasons[-1] if reasons else type(error).__name__}"
    )


def _feed(run: _Run, source: Source, size: int, wanted: int, report: Progress) -> None:
    """Runs batches of `size` samples until `wanted` are done or the source ends."""
    numbers = run.target.graph.inputs
    batch: dict[int, Any] = {}
    for arrays in source.batches(size):
        valid = min(len(arrays[0]), wanted - run.done)
        # A fixed batch is filled up with copies that do not count.
        fill = size if run.target.graph.batch else valid
        rows = np.minimum(np.arange(fill), valid - 1)
        batch = {
            number: tf.constant(array[rows]) for number, array in zip(numbers, arrays, strict=True)
        }
        run.feed(batch, valid)
        report(run.done, wanted)
        if run.done >= wanted:
            break
    if not run.done:
        raise InvalidInputError("`inputs` must hold at least one sample. Received: none")
    run.finish(batch)


@contextmanager
def _progress(progress: bool | Progress | None, wanted: int, layer: str) -> Iterator[Progress]:
    """The function that is told how many samples are done."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"Probing {escape(layer)}", total=wanted)
            yield lambda done, total: bar.update(task, completed=done)
