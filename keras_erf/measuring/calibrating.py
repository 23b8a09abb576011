"""Statistics for batch normalisations that were never trained.

In a fresh network at inference, batch normalisations hold mean 0 and variance
1 and normalise nothing. Here they get the statistics of given inputs, as in
training mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from keras_erf.cone import whole_cone
from keras_erf.errors import InvalidInputError, KerasERFError, reason_of
from keras_erf.fields.input_size import sized
from keras_erf.graph import Graph, build_graph, cloned, computing_layers, started
from keras_erf.inputs.sampling import InputSpec, Source, make_source
from keras_erf.measuring.data_sizes import sizes_of_data
from keras_erf.measuring.settings import check_whole
from keras_erf.types import Model

__all__ = ["calibrate_batch_norm", "calibrated", "has_batch_norm"]

# Activations of a batch are kept below about this many bytes.
MEMORY = 2**31

# Mean and variance of each channel, one pair for each call in each batch, with its samples.
Moments = tuple[int, np.ndarray, np.ndarray]


def calibrate_batch_norm(
    model: Model,
    inputs: Any = "normal",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    input_shape: int | Sequence[int] | None = None,
) -> keras.Model:
    """A copy of a model whose batch normalisations hold the statistics of given inputs.

    Every batch normalisation normalises by its batch, all other layers
    (dropout) run at inference. The statistics of the batches are combined:
    the mean is the mean of their means, the variance the mean of their
    variances plus the variance of their means, each batch weighed by its
    samples; variances are biased, as Keras's are. With one batch this is exact:
    the copy at inference gives on these inputs what training mode gives. Small
    batches normalise by statistics of their own, so take large ones.

    All batch normalisations are calibrated: frozen ones too, and those inside
    of custom layers; one that is called several times gets the statistics of
    all its calls together. To keep what a trained one learned, do not calibrate.

    Examples:
        >>> model = keras_erf.zoo.build("cifar_resnet14")
        >>> images = np.random.default_rng(0).normal(size=(16, 32, 32, 3))  # yours
        >>> ready = keras_erf.calibrate_batch_norm(model, images)
        >>> result = keras_erf.probe(ready, "stage1_block2_out", inputs=images)
        >>> result.count
        16

    Args:
        model: A Keras model: Functional, Sequential or subclassed; it is not changed.
        inputs: As in `probe`.
        samples: Number of samples; `None` takes all of an array, and 64 of
            anything else.
        batch_size: Samples per batch; `None` takes as many as memory allows. A
            model of fixed batch size takes no other; what fills none is left out.
        seed: Seed of noise and of the order of image files.
        input_shape: Spatial sizes for the inputs, as in `probe`. `None` keeps
            the model's; where they are undefined, those of an array are taken.

    Returns:
        The copy, not compiled.

    Raises:
        InvalidInputError: An argument does not fit the model; it has no batch
            normalisation, or cannot be copied.

    Reference:
        Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576,
        section 3 (PreciseBN); batches of different sizes as in `fvcore.nn.precise_bn`.
    """
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number is not None:
            check_whole(name, number, 1)
    check_whole("seed", seed, 0)
    start = started(model, input_shape=input_shape, inputs=inputs)
    model, input_shape = start.model, start.input_shape
    if not _norms(model):
        raise InvalidInputError(
            argument="model",
            expected="must have a batch normalisation to calibrate",
            remedy="without one it is ready as it is",
            received=f"model={model.name!r}",
        )
    copy = _copied(model)
    graph = _sized(build_graph(copy), inputs, input_shape)
    _calibrate(copy, graph, graph.outputs, inputs, samples, batch_size, seed)
    return copy


def has_batch_norm(layer: keras.Layer) -> bool:
    """Whether there is a batch normalisation to calibrate."""
    return bool(_norms(layer))


def calibrated(model: keras.Model, sized: Graph, ends: Sequence[int], inputs: Any) -> keras.Model:
    """The copy that `calibrate_batch_norm` makes, as far as some tensors depend on it.

    Args:
        model: The model; it is not changed.
        sized: Its graph at the size that it is to be measured at.
        ends: Numbers of the tensors that are measured: what is behind them is not run, such as
            a head that cannot run at this size.
        inputs: As in `calibrate_batch_norm`; noise is that of seed 0, so that one network is
            measured whatever the seed of its samples.
    """
    copy = _copied(model)
    graph = build_graph(copy)
    sizes = {
        number: [sized.tensors[number].shape[axis] for axis in graph.spatial_axes(number)]
        for number in graph.inputs
    }
    _calibrate(copy, graph.resized(sizes), ends, inputs)  # type: ignore[arg-type]
    return copy


def _copied(model: keras.Model) -> keras.Model:
    return cloned(model, remedy="Calibrate a model of layers with a `get_config`")


def _calibrate(
    copy: keras.Model,
    graph: Graph,
    ends: Sequence[int],
    inputs: Any,
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> None:
    """Gives a copy's batch normalisations the statistics of inputs, at the size of its graph."""
    source = make_source(inputs, _input_specs(graph), seed=seed)
    samples = source.samples if samples is None else samples
    wanted = min(samples, source.count or samples)
    size = _batch_size(graph, wanted, batch_size)
    statistics = _measured(graph, ends, _norms(copy), _batches(graph, source, size, wanted))
    for norm, moments in statistics:
        _set_statistics(norm, *_together(moments))


def _norms(model: keras.Layer) -> list[Any]:
    kind = keras.layers.BatchNormalization
    return [layer for layer in computing_layers(model) if isinstance(layer, kind)]


# --- Inputs --------------------------------------------------------------------------------------


def _sized(graph: Graph, inputs: Any, input_shape: int | Sequence[int] | None) -> Graph:
    """The graph at the size asked for, or at that of the arrays where it has none."""
    if input_shape is not None:
        return sized(graph, None, graph.inputs[0], input_shape, True, None).graph
    sizes = {
        number: own
        for number in graph.inputs
        if (own := sizes_of_data(graph, number, inputs)) is not None
    }
    return graph.resized(sizes) if sizes else graph


def _input_specs(graph: Graph) -> list[InputSpec]:
    specs = []
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if None in tensor.shape:
            raise InvalidInputError(
                argument="input_shape",
                expected="must give the spatial sizes that the model leaves open",
                received=f"input {tensor.name!r} of shape {tensor.shape} without the batch",
            )
        channel = graph.channel_axes[number]
        specs.append(InputSpec(tensor.name, tensor.shape, tensor.dtype, channel))  # type: ignore[arg-type]
    return specs


def _batch_size(graph: Graph, wanted: int, asked: int | None) -> int:
    """Samples per batch: the model's, or those asked for, or as many as fit into memory."""
    if graph.batch is not None:
        if asked not in (None, graph.batch) or wanted < graph.batch:
            raise InvalidInputError(
                argument="model",
                expected=f"is built for batches of {graph.batch}: leave out `batch_size` and give "
                "as many samples",
                received=f"batch_size={asked}, {wanted} samples",
            )
        return graph.batch
    if asked is not None:
        return asked
    sample = sum(
        np.dtype("float64" if tensor.dtype == "float64" else "float32").itemsize
        * math.prod(size or 1 for size in tensor.shape)
        for tensor in graph.tensors
    )
    return max(1, min(wanted, MEMORY // sample))


def _batches(graph: Graph, source: Source, size: int, wanted: int) -> Iterator[list[np.ndarray]]:
    done = 0
    for arrays in source.batches(size):
        valid = min(len(arrays[0]), wanted - done)
        if graph.batch is not None and valid < size:
            break
        done += valid
        yield [array[:valid] for array in arrays]
        if done >= wanted:
            break
    if not done:
        raise InvalidInputError(
            argument="inputs", expected="must hold at least one batch", received="none"
        )


# --- Statistics ----------------------------------------------------------------------------------


def _measured(
    graph: Graph, ends: Sequence[int], norms: Sequence[Any], batches: Iterator[list[np.ndarray]]
) -> list[tuple[Any, list[Moments]]]:
    """The moments of the inputs of each batch normalisation that is called before the ends."""
    moments_of: dict[int, list[Moments]] = {id(norm): [] for norm in norms}
    # A momentum of 0 leaves nothing of what they hold, unless that is not finite.
    finite_state = [
        (variable, keras.ops.zeros_like(variable))
        for norm in norms
        for variable in (norm.moving_mean, norm.moving_variance)
        if variable is not None and not np.isfinite(np.asarray(variable)).all()
    ]
    network = whole_cone(graph, ends)
    for arrays in batches:
        values = {
            number: keras.ops.convert_to_tensor(array)
            for number, array in zip(graph.inputs, arrays, strict=True)
        }
        recorded: dict[int, list[tuple[Any, Any]]] = {id(norm): [] for norm in norms}
        with ExitStack() as stack:
            for norm in norms:
                stack.enter_context(_by_the_batch(norm, recorded[id(norm)].append))
            try:
                network.run(values, state=finite_state, keep=())
            except KerasERFError:
                raise
            except Exception as error:  # A layer's own code may raise anything.
                raise InvalidInputError(
                    argument="model",
                    expected=f"cannot be run on `inputs`: {reason_of(error)}",
                    remedy="Fix it, or set `batch_size` lower if memory is short",
                    received=f"batches of {len(arrays[0])}",
                ) from error
        for norm in norms:
            for moments in recorded[id(norm)]:
                mean, variance = (_as_array(norm, tensor) for tensor in moments)
                moments_of[id(norm)].append((len(arrays[0]), mean, variance))
    return [(norm, moments_of[id(norm)]) for norm in norms if moments_of[id(norm)]]


@contextmanager
def _by_the_batch(norm: Any, record: Callable[[tuple[Any, Any]], None]) -> Iterator[None]:
    """Runs a batch normalisation in training mode wherever it is called, and records it.

    Custom layers call those inside of them by themselves, so it is the layer
    that is changed, and changed back.
    """
    call = norm.call
    # Of momentum 0 the moving statistics are the batch's.
    options = {"momentum": 0.0, "renorm": False, "trainable": True}
    before = {name: getattr(norm, name, value) for name, value in options.items()}

    def called(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **{**kwargs, "training": True})
        record((norm.moving_mean.value, norm.moving_variance.value))
        return output

    try:
        for name, value in {**options, "call": called}.items():
            setattr(norm, name, value)
        yield
    finally:
        del norm.call
        for name, value in before.items():
            setattr(norm, name, value)


def _as_array(norm: Any, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except Exception as error:  # A tensor of a compiled function has no value outside of it.
        raise InvalidInputError(
            argument="model",
            expected="must not call batch normalisations inside of compiled functions, where "
            "their statistics cannot be read",
            remedy="call them outside",
            received=f"layer {norm.name!r}",
        ) from error
    if not np.isfinite(array).all():
        raise InvalidInputError(
            argument="inputs",
            expected=f"must keep the model's values finite: layer {norm.name!r} is given infinity "
            "or NaN",
            remedy="Scale them, or check the weights before it",
            received=f"statistics of layer {norm.name!r} that are not finite",
        )
    return array


def _together(moments: Sequence[Moments]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of all batches together, from those of each."""
    counts, means, variances = (np.array(values) for values in zip(*moments, strict=True))
    mean = np.average(means, axis=0, weights=counts)
    within = np.average(variances, axis=0, weights=counts)
    between = np.average((means - mean) ** 2, axis=0, weights=counts)
    return mean, within + between


def _set_statistics(norm: Any, mean: np.ndarray, variance: np.ndarray) -> None:
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    if getattr(norm, "renorm", False):
        norm.renorm_mean.assign(mean)
        for deviation in (norm.moving_stddev, norm.renorm_stddev):
            deviation.assign(np.sqrt(variance + norm.epsilon))
