"""The expected field without sampling, against an ensemble of random networks.

Of each architecture the map of `keras_erf.expected` is compared with that of
`keras_erf.ensemble` of g^2 over many networks, and the times of both, model building
and compiling included. Exits with 1 where the maps' correlation is not above 0.99, sizes
differ by more than 3 %, or the prediction takes more than a hundredth of the time.
Networks with a known limit, of `docs/limitations.md`, are measured on demand, and no failure.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_erf as erf

CORRELATION, DIFFERENCE, SPEED = 0.99, 0.03, 100
Build = Callable[[int], keras.Model]


class Draws:
    """Layers with weights of their own: each takes the next seed."""

    def __init__(self, seed: int) -> None:
        self.seeds = iter(np.random.SeedSequence(seed).generate_state(200))

    def start(self, scale: float = 2.0) -> Any:
        """He's initialiser for ReLUs (scale 2), LeCun's for linear layers (scale 1)."""
        seed = int(next(self.seeds)) % 2**31
        return keras.initializers.VarianceScaling(scale, "fan_in", "normal", seed=seed)

    def conv(self, x: Any, filters: int, size: int = 3, **options: Any) -> Any:
        """Convolution and ReLU."""
        x = layers.Conv2D(
            filters, size, padding="same", kernel_initializer=self.start(), **options
        )(x)
        return layers.ReLU()(x)


def plain(seed: int, width: int) -> keras.Model:
    """Twelve convolutions with ReLUs."""
    draws, inputs = Draws(seed), keras.Input((48, 48, 8))
    x = inputs
    for _ in range(12):
        x = draws.conv(x, width)
    return _ended(draws, inputs, x)


def residual(seed: int, width: int) -> keras.Model:
    """Six residual blocks with batch normalisation, calibrated on noise."""
    draws, inputs = Draws(seed), keras.Input((48, 48, 8))
    x = draws.conv(inputs, width)
    for _ in range(6):
        y = layers.BatchNormalization()(_plain_conv(draws, x, width))
        y = layers.BatchNormalization()(_plain_conv(draws, layers.ReLU()(y), width))
        x = layers.ReLU()(layers.Add()([x, y]))
    return erf.calibrate_batch_norm(_ended(draws, inputs, x), samples=16, seed=seed)


def separable(seed: int, width: int) -> keras.Model:
    """Depthwise and 1x1 convolutions in turn, two of stride 2."""
    draws, inputs = Draws(seed), keras.Input((96, 96, 8))
    x = draws.conv(inputs, width)
    for stride in (1, 2, 1, 1, 2, 1):
        x = layers.DepthwiseConv2D(
            3,
            strides=stride,
            padding="same",
            depthwise_initializer=keras.initializers.RandomNormal(
                stddev=1 / 3, seed=int(next(draws.seeds)) % 2**31
            ),
        )(x)
        x = draws.conv(x, width, 1)
    return _ended(draws, inputs, x)


def dilated(seed: int, width: int) -> keras.Model:
    """Convolutions of dilation 1, 2, 4 and 8."""
    draws, inputs = Draws(seed), keras.Input((96, 96, 8))
    x = inputs
    for rate in (1, 1, 2, 4, 8, 1):
        x = draws.conv(x, width, dilation_rate=rate)
    return _ended(draws, inputs, x)


def encoder_decoder(seed: int, width: int) -> keras.Model:
    """A small U-Net: max pools, transposed convolutions, concatenated skips."""
    draws, inputs = Draws(seed), keras.Input((96, 96, 8))
    high = draws.conv(draws.conv(inputs, width), width)
    middle = draws.conv(layers.MaxPooling2D()(high), width)
    x = draws.conv(layers.MaxPooling2D()(middle), width)
    for skip in (middle, high):
        x = layers.Conv2DTranspose(
            width, 2, strides=2, kernel_initializer=draws.start(8.0), activation="relu"
        )(x)
        x = draws.conv(layers.Concatenate()([x, skip]), width)
    return _ended(draws, inputs, x)


def inception(seed: int, width: int) -> keras.Model:
    """Blocks of four branches: 1x1, 3x3, two 3x3, average pool; concatenated."""
    draws, inputs = Draws(seed), keras.Input((64, 64, 8))
    x = draws.conv(inputs, width)
    for _ in range(3):
        part = width // 4
        branches = [
            draws.conv(x, part, 1),
            draws.conv(draws.conv(x, part, 1), part),
            draws.conv(draws.conv(draws.conv(x, part, 1), part), part),
            draws.conv(layers.AveragePooling2D(3, 1, padding="same")(x), part, 1),
        ]
        x = layers.Concatenate()(branches)
    return _ended(draws, inputs, x)


ARCHITECTURES = {
    one.__name__: one for one in (plain, residual, separable, dilated, encoder_decoder, inception)
}


def overlapping_pools(seed: int, width: int) -> keras.Model:
    """Five pairs of a linear convolution and an average pool of 3x3 with stride 1."""
    draws, inputs = Draws(seed), keras.Input((48, 48, 8))
    x = inputs
    for _ in range(5):
        start = draws.start(1.0)
        x = layers.Conv2D(width, 3, padding="same", kernel_initializer=start)(x)
        x = layers.AveragePooling2D(3, 1, padding="same")(x)
    return _ended(draws, inputs, x)


def resnet50(seed: int, width: int) -> keras.Model:
    """The whole of it, calibrated on noise; of one width."""
    keras.utils.set_random_seed(seed)
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(224, 224, 3))
    return erf.calibrate_batch_norm(model, samples=16, seed=seed)


STAGES = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out")
# What is measured of each network with a known limit.
LIMITS = {overlapping_pools: ("measured",), resnet50: STAGES}
LIMITED = {one.__name__: one for one in LIMITS}


def _plain_conv(draws: Draws, x: Any, width: int) -> Any:
    return layers.Conv2D(
        width, 3, padding="same", use_bias=False, kernel_initializer=draws.start()
    )(x)


def _ended(draws: Draws, inputs: Any, x: Any) -> keras.Model:
    """The network with a linear last layer: a ReLU there would shut half of the runs off."""
    start = draws.start(1.0)
    x = layers.Conv2D(8, 3, padding="same", kernel_initializer=start, name="measured")(x)
    return keras.Model(inputs, x)


def compared(
    name: str, runs: int, width: int, layer: str = "measured", samples: int = 1
) -> dict[str, Any]:
    """Figures of one layer of an architecture."""
    build: Build = lambda seed: {**ARCHITECTURES, **LIMITED}[name](seed, width)  # noqa: E731
    started = time.perf_counter()
    predicted = erf.expected(build(0), layer)
    own = time.perf_counter() - started
    started = time.perf_counter()
    sampled = erf.ensemble(build, layer, runs=runs, samples=samples, definition="luo2016-squared")
    theirs = time.perf_counter() - started
    both = predicted.map.ravel(), sampled.map.ravel()
    seen = (both[0] > 0) | (both[1] > 0)
    return {
        "correlation": float(np.corrcoef(both[0][seen], both[1][seen])[0, 1]),
        "predicted": predicted.size,
        "sampled": sampled.size,
        "error": sampled.size_error,
        "difference": predicted.size / sampled.size - 1,
        "sigma": _sigma(predicted) / _sigma(sampled) - 1,
        "seconds": own,
        "times": theirs / own,
    }


def show(name: str, found: dict[str, Any], note: str = "") -> None:
    """Prints a line."""
    sampled = f"{found['sampled']:.2f} ± {found['error']:.2f}"
    print(
        f"{name:<17}{found['correlation']:>11.4f}{found['predicted']:>10.2f}{sampled:>16}"
        f"{found['difference']:>12.1%}{found['sigma']:>10.1%}{found['seconds']:>9.2f}"
        f"{found['times']:>7.0f}{note}",
        flush=True,
    )


def _sigma(result: Any) -> float:
    return float(np.exp(np.mean(np.log(result.sigma))))


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each architecture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", choices=[*ARCHITECTURES, *LIMITED]
    )
    parser.add_argument("--runs", type=int, default=200, help="networks of an ensemble")
    parser.add_argument("--width", type=int, default=64, help="channels of each layer")
    options = parser.parse_args(arguments)
    print(f"{'network':<16}{'correlation':>12}{'expected':>10}{'ensemble (px)':>16}", end="")
    print(f"{'difference':>12}{'of sigma':>10}{'seconds':>9}{'times':>7}")
    failed = 0
    # TensorFlow's own start is nobody's.
    compared("plain", 1, 8)
    for name in options.only or ARCHITECTURES:
        if name in LIMITED:
            for layer in LIMITS[LIMITED[name]]:
                show(layer, compared(name, options.runs, options.width, layer, samples=8))
            continue
        found = compared(name, options.runs, options.width)
        bad = (
            found["correlation"] <= CORRELATION
            or abs(found["difference"]) > DIFFERENCE
            or found["times"] < SPEED
        )
        failed += bad
        show(name, found, "  FAILED" if bad else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
