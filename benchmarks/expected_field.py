"""The expected field without sampling, against many random networks of each architecture.

Of each architecture the map of `keras_erf.expected` is compared with the mean of g^2 over
networks with fresh weights, by a plain tape (`random_networks.py`). Exits with 1 where the maps'
correlation is not above 0.99 or sizes differ by more than 3 %, and, with `--speed`, where the
prediction takes more than a hundredth of the time of `keras_erf.ensemble` of 400, building and
compiling included.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import keras
import numpy as np
from random_networks import ARCHITECTURES, mean_square
from recording import parse, record

import keras_erf as erf

CORRELATION, DIFFERENCE, SPEED = 0.99, 0.03, 100
# The threshold of a size, of the peak.
LEVEL = 0.0455
# Those whose time is compared with that of an ensemble of 400, of which 20 are timed.
TIMED, TIMED_RUNS, ENSEMBLE = (
    ("plain", "residual", "separable", "dilated", "encoder_decoder", "inception"),
    20,
    400,
)
# Resamples of the networks, for the error of a size.
RESAMPLES = 50


def size_of(values: np.ndarray) -> float:
    """Root of the number of pixels above 4.55 % of the peak."""
    return float(np.sqrt((values > LEVEL * values.max()).sum()))


def sigma_of(values: np.ndarray) -> float:
    """Geometric mean of the standard deviations along both axes."""
    spreads = []
    for axis in (0, 1):
        line, places = values.sum(axis=axis) / values.sum(), np.arange(values.shape[1 - axis])
        spreads.append((line * places**2).sum() - (line * places).sum() ** 2)
    return float(np.prod(spreads) ** 0.25)


def compared(name: str, runs: int, width: int) -> dict[str, Any]:
    """Numbers of one architecture."""

    def build() -> keras.Model:
        return ARCHITECTURES[name](width)

    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    predicted = erf.expected(build(), "measured")
    seconds = time.perf_counter() - started
    maps = mean_square(build, "measured", predicted.unit, runs)
    mean, random = maps.mean(axis=0), np.random.default_rng(0)
    visible = (predicted.map > 0) | (mean > 0)
    sizes = [size_of(maps[random.integers(runs, size=runs)].mean(axis=0)) for _ in range(RESAMPLES)]
    return {
        "correlation": float(np.corrcoef(predicted.map[visible], mean[visible])[0, 1]),
        "predicted": size_of(predicted.map),
        "sampled": size_of(mean),
        "error": float(np.std(sizes)),
        "difference": size_of(predicted.map) / size_of(mean) - 1,
        "sigma": sigma_of(predicted.map) / sigma_of(mean) - 1,
        "strength": predicted.map.sum() / mean.sum() - 1,
        "seconds": seconds,
    }


def times_faster(name: str, seconds: float, width: int) -> float:
    """How many times longer an ensemble takes."""

    def build(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        model = ARCHITECTURES[name](width)
        if any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
            return erf.calibrate_batch_norm(model, samples=16, seed=seed)
        return model

    started = time.perf_counter()
    erf.ensemble(build, "measured", runs=TIMED_RUNS, samples=1, definition="luo2016-squared")
    return (time.perf_counter() - started) * ENSEMBLE / TIMED_RUNS / seconds


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each architecture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(ARCHITECTURES))
    parser.add_argument("--runs", type=int, default=200, help="networks of each architecture")
    parser.add_argument("--width", type=int, default=48, help="channels of each layer")
    parser.add_argument("--speed", action="store_true", help="time ensembles of six, too")
    options = parse(parser, arguments)
    print(
        "| network | expected | sampled | difference | sigma | strength | correlation | seconds |"
        " times faster |\n|---|---|---|---|---|---|---|---|---|"
    )
    failed, networks = 0, {}
    # TensorFlow's own start is not counted.
    erf.expected(ARCHITECTURES["plain"](8), "measured")
    for name in options.only or ARCHITECTURES:
        row = compared(name, options.runs, options.width)
        bad = row["correlation"] <= CORRELATION or abs(row["difference"]) > DIFFERENCE
        faster, networks[name] = "-", row
        if options.speed and name in TIMED:
            times = times_faster(name, row["seconds"], options.width)
            faster, bad = f"{times:.0f}", bad or times < SPEED
            row["times_faster"] = times
        failed += bad
        print(
            f"| {name}{' FAILED' if bad else ''} | {row['predicted']:.2f} px "
            f"| {row['sampled']:.2f} ± {row['error']:.2f} px | {row['difference']:+.1%} "
            f"| {row['sigma']:+.1%} | {row['strength']:+.1%} | {row['correlation']:.4f} "
            f"| {row['seconds']:.2f} | {faster} |",
            flush=True,
        )
    return record(options, not failed, networks=networks)


if __name__ == "__main__":
    sys.exit(main())
