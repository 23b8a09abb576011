"""Models of channels first, against the same networks of channels last."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf as erf

FIRST, LAST = "channels_first", "channels_last"
# Layers between two convolutions, by the number of spatial axes, made for a data format.
CASES: dict[str, tuple[int, Callable[[str], Any]]] = {
    "strided": (2, lambda data: layers.Conv2D(4, 3, strides=2, data_format=data)),
    "grouped": (2, lambda data: layers.Conv2D(4, 3, groups=2, data_format=data)),
    "depthwise": (2, lambda data: layers.DepthwiseConv2D(3, data_format=data)),
    "separable": (1, lambda data: layers.SeparableConv1D(4, 3, data_format=data)),
    "transposed": (2, lambda data: layers.Conv2DTranspose(4, 3, 2, data_format=data)),
    "transposed volume": (3, lambda data: layers.Conv3DTranspose(4, 3, 2, data_format=data)),
    "maximum pool": (3, lambda data: layers.MaxPooling3D(2, data_format=data)),
}


def network(case: str, data: str) -> keras.Model:
    """Three layers; weights of both data formats are the same."""
    rank, make = CASES[case]
    shape = (9, 11, 8)[:rank]
    keras.utils.set_random_seed(0)
    convolution = getattr(layers, f"Conv{rank}D")
    return keras.Sequential(
        [
            keras.Input((3, *shape) if data == FIRST else (*shape, 3)),
            convolution(4, 3, padding="same", activation="relu", data_format=data),
            make(data),
            convolution(4, 3, padding="same", data_format=data, name="out"),
        ]
    )


def check(case: str, *, cone: bool = True) -> None:
    """Raises unless maps, measured and expected, are the same in both data formats."""
    first, last = network(case, FIRST), network(case, LAST)
    first.set_weights(last.get_weights())
    samples = np.random.default_rng(0).normal(size=(3, *last.input_shape[1:]))
    one = erf.probe(first, "out", inputs=np.moveaxis(samples, -1, 1), cone=cone)
    other = erf.probe(last, "out", inputs=samples)
    assert one.map.max() > 0
    np.testing.assert_allclose(one.map, other.map, rtol=0, atol=1e-5 * other.map.max())
    one, other = erf.expected(first, "out"), erf.expected(last, "out")
    np.testing.assert_allclose(one.map, other.map, rtol=0, atol=1e-5 * other.map.max())


@pytest.mark.parametrize("case", CASES)
def test_maps_are_those_of_channels_last(case):
    check(case)
    check(case, cone=False)


@pytest.mark.slow
def test_maps_where_the_device_has_no_gradients_of_channels_first():
    """TensorFlow without oneDNN, as on ARM, differentiates convolutions of channels last alone."""
    run = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["transposed", "depthwise", "False"]


if __name__ == "__main__":
    from keras_erf.graph.running import _differentiates_channels_first

    for name in ("transposed", "depthwise"):
        check(name)
        check(name, cone=False)
        print(name)
    print(_differentiates_channels_first())
