"""What probing a unit costs: the cone against the tapes a user writes, on ResNet50.

    python benchmarks/probing_speed.py [--only small large eager sizes] [--rounds N]

`small` and `large`: at 224 and 1024 px, per sample, against a compiled tape over the whole
image; both are given the same images and differ in nothing else. Each contender takes the
batch size that serves it best; rounds alternate, and medians are compared. Tracing is not
counted, and XLA is tried for both.
`eager`: the profile of the 16 block outputs with 64 images, tracing included, against an eager
tape, one image at a time, of which some are timed for each layer.
`sizes`: what a sample of noise costs at an early layer of images from 256 to 4096 px.

A ratio below its goal makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from recording import parse, record

import keras_erf
from keras_erf.cone import multiply_adds, whole_cone
from keras_erf.definitions import get_definition
from keras_erf.fields.theoretical import Target, locate
from keras_erf.measuring.accumulating import Accumulator
from keras_erf.measuring.plans import plan_of
from keras_erf.measuring.settings import Settings

LAYERS = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
# Times faster than the compiled tape over the whole image, by layer.
GOALS = {224: (50, 7, 0.95, 0.95), 1024: (300, 100, 15, 5)}
# Batches that are tried for each; the whole image of 1024 px takes much memory.
BATCHES = {224: ((8, 16, 32), (16, 64)), 1024: ((1, 2), (4, 16, 64))}
EAGER_GOAL, SIZES_GOAL = 5, 1.2
SIZES = (256, 512, 1024, 2048, 4096)

Contender = Callable[[], Any]


def medians(contenders: Sequence[Contender], rounds: int) -> list[float]:
    """Seconds of each contender: medians over rounds that take them in turn."""
    for contender in contenders:
        contender()
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, taken in zip(contenders, times, strict=True):
            start = time.perf_counter()
            contender()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def matmul_rate(rounds: int) -> float:
    """Multiply-adds per second of the machine's own matrix product, in float32."""
    size = 2048
    matrix = tf.random.normal((size, size))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
    (seconds,) = medians([lambda: product().numpy()], rounds)
    return size**3 / seconds


def tape_of(model: keras.Model, target: Target, *, jit: bool = False) -> Callable[[Any], Any]:
    """What a user writes: a compiled tape over the whole image, and the mean of |gradient|."""
    part = keras.Model(model.input, model.get_layer(target.receptive_field.layer).output)
    row, column = target.position

    def maps(images: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            seeded = tf.reduce_sum(part(images, training=False)[:, row, column])
        gradient = tf.cast(tape.gradient(seeded, images), tf.float64)
        return tf.reduce_sum(tf.reduce_mean(tf.abs(gradient), axis=-1), axis=0)

    return tf.function(maps, autograph=False, jit_compile=jit)


class Cone:
    """The library's own function for one unit, on the part of the images it needs."""

    def __init__(self, target: Target, *, jit: bool = False) -> None:
        settings = Settings()
        plan = plan_of([target], settings)
        self.target, self.cone = target, plan.cone
        self.run = Accumulator([target], plan.parts, plan.cone, get_definition("luo2016"))
        if jit:
            self.run.add = tf.function(self.run._add, autograph=False, jit_compile=True)

    def part_of(self, images: np.ndarray) -> Any:
        """The part of the images that is needed."""
        part = self.cone.parts[self.target.input]
        return tf.constant(images[(slice(None), *(slice(*interval) for interval in part))])

    def feed(self, images: Any) -> None:
        """Adds a batch."""
        self.run.feed({self.target.input: images}, len(images))


def best(make: Callable[[int], Contender], batches: Sequence[int], rounds: int) -> tuple[int, Any]:
    """The batch size that costs least per sample, and its contender."""
    functions = {size: make(size) for size in batches}
    taken = medians(list(functions.values()), rounds)
    cost = {size: seconds / size for size, seconds in zip(functions, taken, strict=True)}
    size = min(cost, key=cost.__getitem__)
    return size, functions[size]


def tried(jitted: Callable[[], Contender], rounds: int, size: int) -> str:
    """Milliseconds per sample under XLA, or that it does not compile."""
    try:
        (seconds,) = medians([jitted()], rounds)
    except Exception as error:
        return type(error).__name__
    return f"{1e3 * seconds / size:.2f}"


def against_whole(model: keras.Model, pixels: int, rounds: int, metrics: dict[str, Any]) -> bool:
    """The table of one image size; whether all goals are met."""
    rng = np.random.default_rng(0)
    count = max(max(both) for both in zip(*BATCHES[pixels], strict=False))
    count = max(count, max(BATCHES[pixels][1]))
    rate = matmul_rate(rounds)
    print(f"\n{pixels} px; matrix product: {rate / 1e9:.0f}e9 multiply-adds/s")
    print(
        f"{'layer':18} {'field':>6} {'share':>7} {'whole ms':>9} {'cone ms':>8} {'ratio':>7} "
        f"{'limit':>7} {'goal':>6} {'whole, cone of product':>23} {'XLA ms: whole, cone':>21}"
    )
    passed = True
    for layer, goal in zip(LAYERS, GOALS[pixels], strict=True):
        target = locate(model, layer, input_shape=None if pixels == 224 else pixels)
        cone = Cone(target)
        # Images as large as the field are enough for the cone; the tape takes whole ones.
        images = rng.standard_normal((max(BATCHES[pixels][0]), pixels, pixels, 3), np.float32)
        few = np.resize(cone.part_of(images).numpy(), (count, *cone.part_of(images).shape[1:]))
        tape = tape_of(model, target)

        def whole(size: int, tape: Any = tape, images: Any = images) -> Contender:
            batch = tf.constant(images[:size])
            return lambda: tape(batch).numpy()

        def narrow(size: int, cone: Cone = cone, few: Any = few) -> Contender:
            batch = tf.constant(few[:size])
            return lambda: cone.feed(batch)

        # The last layers of large images take seconds: fewer rounds choose the batch.
        wide_size, wide = best(whole, BATCHES[pixels][0], 2)
        narrow_size, thin = best(narrow, BATCHES[pixels][1], 2)
        slow, fast = medians([wide, thin], rounds)
        slow, fast = slow / wide_size, fast / narrow_size
        counts = [
            multiply_adds(cone_run, target.tracing)
            for cone_run in (whole_cone(target.graph, [target.tensor]), cone.cone)
        ]
        reached = [2 * n / t / rate for n, t in zip(counts, (slow, fast), strict=True)]
        xla = "-"
        if pixels == 224:
            jitted, narrower = tape_of(model, target, jit=True), Cone(target, jit=True)
            batches = tf.constant(images[:wide_size]), tf.constant(few[:narrow_size])
            xla = ", ".join(
                (
                    tried(lambda f=jitted, x=batches[0]: lambda: f(x).numpy(), 2, wide_size),
                    tried(lambda c=narrower, x=batches[1]: lambda: c.feed(x), 2, narrow_size),
                )
            )
        ratio = slow / fast
        passed &= ratio >= goal
        metrics[f"{layer}, {pixels} px"] = {
            "whole_ms": 1e3 * slow, "cone_ms": 1e3 * fast, "ratio": ratio
        }  # fmt: skip
        print(
            f"{layer:18} {target.receptive_field.size[0]:>6} {counts[1] / counts[0]:>7.2%} "
            f"{1e3 * slow:>9.1f} {1e3 * fast:>8.3f} {ratio:>6.1f}x "
            f"{counts[0] / counts[1]:>6.1f}x {goal:>5}x "
            f"{f'{reached[0]:.0%}, {reached[1]:.0%}':>23} {xla:>21}",
            flush=True,
        )
    return passed


def against_eager(model: keras.Model, timed: int, metrics: dict[str, Any]) -> bool:
    """The profile of all block outputs, tracing included; whether the goal is met."""
    layers = [layer.name for layer in model.layers if layer.name.endswith("_out")]
    images = np.random.default_rng(0).standard_normal((64, 224, 224, 3), np.float32)
    start = time.perf_counter()
    profile = keras_erf.profile(model, layers, inputs=images)
    taken = time.perf_counter() - start
    total = 0.0
    worst = 0.0
    for layer, result in zip(layers, profile.results, strict=True):
        part = keras.Model(model.input, model.get_layer(layer).output)
        row, column = result.unit

        def one(number: int, part: Any = part, row: int = row, column: int = column) -> Any:
            image = tf.constant(images[number : number + 1])
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(image)
                seeded = tf.reduce_sum(part(image, training=False)[:, row, column])
            return np.abs(tape.gradient(seeded, image).numpy()).mean(axis=(0, -1))

        one(0)
        start = time.perf_counter()
        maps = [one(number) for number in range(timed)]
        total += (time.perf_counter() - start) * 64 / timed
        if timed == 64:
            mean = np.mean(maps, axis=0)
            worst = max(worst, float(np.abs(mean - result.map).max() / mean.max()))
    ratio = total / taken
    metrics["profile"] = {"eager_s": total, "profile_s": taken, "ratio": ratio}
    how = "" if timed == 64 else f", scaled from {timed} of 64 images a layer"
    print(f"\n{len(layers)} layers, 64 images of 224 px")
    print(f"eager {total:.0f} s{how}; profile {taken:.1f} s with tracing: {ratio:.1f}x, goal 5x")
    if timed == 64:
        print(f"largest difference of the maps: {worst:.1e} of the peak")
    return ratio >= EAGER_GOAL


def over_sizes(model: keras.Model, rounds: int, metrics: dict[str, Any]) -> bool:
    """What a sample of noise costs at an early layer, by the size of the image."""
    costs: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size, cost in costs.items():
            marks: list[tuple[int, float]] = []
            keras_erf.probe(
                model,
                LAYERS[0],
                input_shape=size,
                samples=2048,
                progress=lambda done, _, marks=marks: marks.append((done, time.perf_counter())),
            )
            # Without the first quarter, in which it is compiled.
            (first, start), (last, end) = marks[len(marks) // 4], marks[-1]
            cost.append((end - start) / (last - first))
    typical = {size: statistics.median(cost) for size, cost in costs.items()}
    ratio = max(typical.values()) / min(typical.values())
    metrics["sizes"] = {
        "ms": {str(size): 1e3 * cost for size, cost in typical.items()},
        "ratio": ratio,
    }
    print(f"\n{LAYERS[0]}, noise drawn and taken back, by the size of the image")
    print(", ".join(f"{size} px: {1e3 * cost:.3f} ms" for size, cost in typical.items()))
    print(f"largest over smallest: {ratio:.2f}, goal {SIZES_GOAL}")
    return ratio <= SIZES_GOAL


def main() -> int:
    """Runs what is asked for; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = ("small", "large", "eager", "sizes")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=7, help="times each contender runs")
    parser.add_argument("--timed", type=int, default=6, help="images a layer of the eager tape")
    options = parse(parser)
    metrics: dict[str, Any] = {}
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None)
    passed = True
    if "small" in options.only:
        passed &= against_whole(model, 224, options.rounds, metrics)
    if "eager" in options.only:
        passed &= against_eager(model, options.timed, metrics)
    if "sizes" in options.only:
        passed &= over_sizes(model, options.rounds, metrics)
    if "large" in options.only:
        # A network of any size, so that the tape can take large images.
        free = keras.applications.ResNet50(weights=None, include_top=False)
        passed &= against_whole(free, 1024, options.rounds, metrics)
    return record(options, passed, **metrics)


if __name__ == "__main__":
    sys.exit(main())
