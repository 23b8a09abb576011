"""Gradients of the cones of single units against those of whole networks.

    python benchmarks/cone_exactness.py [--only NAME ...] [--float64]

The networks are those of `keras.applications` at their own sizes. Kernels are random as Keras makes
them; biases and gains are drawn again, and batch normalisations hold the statistics of the one
image, so that activations keep their size. Of each network the last layer of every map size is
taken, and of it the centre, a corner and an edge unit. An error is the largest difference of the
two gradients by the image, relative to the largest gradient. A ReLU whose input is within rounding
of zero may open in one and stay shut in the other: such a unit, above the limit in single
precision, is computed again with the same weights in double precision, where cone and whole network
have to agree up to the limit of that. Otherwise the exit status is 1.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from recording import parse, record

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box
from keras_erf.cone import cone_of, multiply_adds, whole_cone
from keras_erf.fields.theoretical import tracing_of
from keras_erf.fields.tracing import Tracing

LIMITS = {"float32": 1e-5, "float64": 1e-12}
# What only moves maps around belongs to no stage.
BETWEEN = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Cropping2D)

Unit = tuple[int, ...]


@dataclass(frozen=True)
class Gradients:
    """One unit's gradient, twice.

    Args:
        layer: Name of the layer.
        unit: The unit.
        share: Multiply-adds of the cone, as a share of those of all calls that lead to the layer.
        whole: Gradient by the image, by the whole network.
        cone: The same by the cone.
    """

    layer: str
    unit: Unit
    share: float
    whole: np.ndarray
    cone: np.ndarray

    @property
    def scale(self) -> float:
        """Largest gradient."""
        return float(np.abs(self.whole).max())

    @property
    def error(self) -> float:
        """Largest difference, relative to the largest gradient."""
        return distance(self.cone, self.whole)


@dataclass(frozen=True)
class Row:
    """One network's figures."""

    name: str
    layers: int
    found: tuple[Gradients, ...]
    seconds: float

    @property
    def worst(self) -> Gradients:
        """The unit of the largest error; one that is not a number comes first."""
        return max(self.found, key=lambda unit: (math.isnan(unit.error), unit.error))


def distance(gradient: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest entry of `other`; not a number where that is 0."""
    scale = float(np.abs(other).max())
    return float(np.abs(gradient - other).max()) / scale if scale > 0 else math.nan


def applications() -> dict[str, Callable[..., Any]]:
    """The networks of `keras.applications`."""
    return dict(inspect.getmembers(keras.applications, inspect.isfunction))


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Keras in the precision of `dtype`."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def build(make: Callable[..., Any], dtype: str) -> keras.Model:
    """The network with random weights."""
    with precision(dtype):
        keras.utils.set_random_seed(0)
        return make(weights=None)


def image_for(model: keras.Model) -> np.ndarray:
    """One image of noise, of the network's own size; 224 where it has none."""
    shape = [size or 224 for size in model.input_shape[1:]]
    # Within the range of pixels, for networks that begin with a scaling of their own.
    return np.random.default_rng(1).uniform(0, 255, (1, *shape)).astype("float32")


def weigh(model: keras.Model, image: np.ndarray) -> None:
    """Draws biases and gains; batch normalisations learn the statistics of the image."""
    rng = np.random.default_rng(2)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for weight in model.trainable_variables:
        name = weight.path.rpartition("/")[2]
        if name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif len(weight.shape) == 1:
            weight.assign(rng.normal(0, 0.1, weight.shape))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(tf.constant(image, model.dtype), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        # A map of one pixel has no variance.
        norm.moving_variance.assign(tf.maximum(norm.moving_variance, 1e-2))


def layers_of(model: keras.Model, tracing: Tracing) -> dict[int, Any]:
    """The last layer of each stage, a halving of the map, and its tensor's number."""
    (height, *_) = image = tracing.spatial_shape(tracing.input)
    last: dict[int, tuple[int, Any]] = {}
    for layer in model.layers:
        tensor = tracing.graph.find(layer)
        if len(tracing.shape(tensor)) != len(image) + 1 or isinstance(layer, BETWEEN):
            continue
        size = tracing.spatial_shape(tensor)
        if 1 < math.prod(size) < math.prod(image):
            last[round(math.log2(height / size[0]))] = tensor, layer
    return dict(last.values())


def units_of(size: Sequence[int]) -> list[Unit]:
    """The centre of a map, its last corner, and the middle of its first edge."""
    centre = tuple(side // 2 for side in size)
    return [centre, tuple(side - 1 for side in size), (0, *centre[1:])]


def part_of(tracing: Tracing, tensor: int, unit: Unit) -> Box:
    """The unit with all of its channels, as a part of its tensor."""
    part = list(entire(tracing.shape(tensor)))
    for axis, index in zip(tracing.spatial_axes(tensor), unit, strict=True):
        part[axis] = (index, index + 1)
    return tuple(part)


def slices(part: Box) -> tuple[slice, ...]:
    """A part as an index, the batch counted."""
    return (slice(None), *(slice(*interval) for interval in part))


def whole_gradients(
    model: keras.Model, tracing: Tracing, units: Sequence[tuple[int, Unit]], image: np.ndarray
) -> list[np.ndarray]:
    """Gradients of units, channels summed, by the network as Keras runs it."""
    names = [tracing.graph.tensors[tensor].name for tensor, _ in units]
    network = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    value = tf.constant(image, model.dtype)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
        tape.watch(value)
        outputs = network(value, training=False)
        scores = [
            tf.reduce_sum(outputs[name][slices(part_of(tracing, tensor, unit))])
            for name, (tensor, unit) in zip(names, units, strict=True)
        ]
    del outputs
    return [tape.gradient(score, value).numpy()[0] for score in scores]


def cone_gradient(
    tracing: Tracing, tensor: int, unit: Unit, image: np.ndarray, dtype: str
) -> tuple[np.ndarray, float]:
    """The same by the cone, at the size of the image; and the share of multiply-adds."""
    cone = cone_of(tracing, {tensor: part_of(tracing, tensor, unit)})
    held = slices(cone.parts[tracing.input])
    value = tf.constant(image[held], dtype)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(value)
        output = cone.run({tracing.input: value})[tensor]
        inside = [
            (start - first, stop - first)
            for (start, stop), (first, _) in zip(
                part_of(tracing, tensor, unit), cone.parts[tensor], strict=True
            )
        ]
        score = tf.reduce_sum(output[slices(tuple(inside))])
        del output
    gradient = np.zeros(image.shape, dtype)
    gradient[held] = tape.gradient(score, value).numpy()
    whole = multiply_adds(whole_cone(tracing.graph, [tensor]), tracing)
    return gradient[0], multiply_adds(cone, tracing) / whole


def measure(name: str, make: Callable[..., Any], dtype: str) -> tuple[Row, keras.Model]:
    """Both gradients of all units of one network."""
    begin = time.perf_counter()
    model = build(make, dtype)
    image = image_for(model)
    weigh(model, image)
    tracing = tracing_of(model, input_shape=image.shape[1:-1])
    tensors = layers_of(model, tracing)
    units = [
        (tensor, unit) for tensor in tensors for unit in units_of(tracing.spatial_shape(tensor))
    ]
    wholes = whole_gradients(model, tracing, units, image)
    gradients = []
    for (tensor, unit), whole in zip(units, wholes, strict=True):
        gradient, share = cone_gradient(tracing, tensor, unit, image, dtype)
        layer = tracing.graph.tensors[tensor].name
        gradients.append(Gradients(layer, unit, share, whole, gradient))
    return Row(name, len(tensors), tuple(gradients), time.perf_counter() - begin), model


def in_double(
    make: Callable[..., Any], model: keras.Model, wanted: Gradients
) -> tuple[np.ndarray, np.ndarray]:
    """A unit's gradient by the whole network and by the cone, of the same weights in double."""
    image = image_for(model)
    twin = build(make, "float64")
    twin.set_weights(model.get_weights())
    tracing = tracing_of(twin, input_shape=image.shape[1:-1])
    tensor = tracing.graph.find(twin.get_layer(wanted.layer))
    (whole,) = whole_gradients(twin, tracing, [(tensor, wanted.unit)], image)
    cone, _ = cone_gradient(tracing, tensor, wanted.unit, image, "float64")
    return whole, cone


def judged(row: Row, make: Callable[..., Any], model: keras.Model, dtype: str) -> bool:
    """Whether a network passes; says why where that is not plain."""
    passed = True
    for gradient in sorted(row.found, key=lambda gradient: -gradient.error):
        where = f"    {gradient.layer}{list(gradient.unit)}"
        if not (math.isfinite(gradient.scale) and gradient.scale > 0):
            print(f"{where}: the largest gradient is {gradient.scale}", flush=True)
            passed = False
        elif not gradient.error <= LIMITS[dtype]:
            if dtype == "float64":
                passed = False
                continue
            truth, cone = in_double(make, model, gradient)
            error = distance(cone, truth)
            fits = error <= LIMITS["float64"]
            print(
                f"{where}: error {gradient.error:.1e}; {error:.1e} in double precision, from "
                f"which the cone is {distance(gradient.cone, truth):.1e} away, the whole "
                f"network {distance(gradient.whole, truth):.1e}{'' if fits else ' FAILED'}",
                flush=True,
            )
            passed &= fits
    return passed


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names to measure")
    parser.add_argument("--float64", action="store_true", help="in double precision, up to 1e-12")
    options = parse(parser, arguments)
    dtype = "float64" if options.float64 else "float32"
    models = applications()
    unknown = set(options.only) - set(models)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(models)}")

    print(
        f"{'network':<22}{'layers':>7}{'units':>6}{'worst error':>13}{'least cost':>12}"
        f"{'largest':>9}{'gradients':>21}{'s':>7}"
    )
    failed, worst, units = [], 0.0, 0
    for name in options.only or models:
        row, model = measure(name, models[name], dtype)
        shares = [gradient.share for gradient in row.found]
        scales = [gradient.scale for gradient in row.found]
        print(
            f"{name:<22}{row.layers:>7}{len(row.found):>6}{row.worst.error:>13.1e}"
            f"{min(shares):>12.2%}{max(shares):>9.2%}{min(scales):>12.0e}{max(scales):>9.0e}"
            f"{row.seconds:>7.0f}",
            flush=True,
        )
        worst, units = max(worst, row.worst.error), units + len(row.found)
        if not judged(row, models[name], model, dtype):
            failed.append(name)
        del row, model
        keras.utils.clear_session()
        gc.collect()
    print(
        f"{len(options.only or models)} networks, limit {LIMITS[dtype]:.0e}, failed: {failed or 0}"
    )
    return record(
        options,
        not failed,
        networks=len(options.only or models),
        units=units,
        worst_error=worst,
        failed=failed,
    )


if __name__ == "__main__":
    sys.exit(main())
