"""The rules, against the gradients of the layers they are about.

Each case of `network_cases` has all properties of `networks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import receptive_field
from keras_erf.layers.table import RULES, find_rule
from tests.cases import Case, check_all
from tests.network_cases import CASES
from tests.networks import PROPERTIES, check_box, check_support, check_visible, solve
from tests.ruling import box_of


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    check_all(PROPERTIES, solve(CASES[name]))


# --- What has no rule ----------------------------------------------------------------------------


class Renamed(layers.Conv2D):
    """Computes what its parent does."""

    def build(self, input_shape):
        super().build(input_shape)


class Recalled(layers.Conv2D):
    def call(self, inputs):
        return super().call(ops.flip(inputs, axis=1))


class Reconvolved(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(ops.flip(inputs, axis=1), kernel)


def test_a_subclass_keeps_the_rule_only_if_it_computes_the_same() -> None:
    assert find_rule(Renamed) is RULES[layers.Conv2D]
    assert find_rule(Recalled) is None
    assert find_rule(Reconvolved) is None


# --- Channels first ------------------------------------------------------------------------------

FIRST = {"data_format": "channels_first"}
MIRRORED: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "Conv1D": (lambda **o: layers.Conv1D(4, 3, 2, padding="causal", **o), (11, 2)),
    "Conv2D": (lambda **o: layers.Conv2D(4, (3, 2), (2, 1), padding="same", **o), (9, 8, 3)),
    "Conv3D": (lambda **o: layers.Conv3D(4, (3, 2, 1), (2, 1, 3), **o), (5, 6, 7, 2)),
    "Conv2D-groups": (lambda **o: layers.Conv2D(4, (3, 2), groups=2, **o), (5, 8, 2)),
    "DepthwiseConv1D": (lambda **o: layers.DepthwiseConv1D(3, 2, **o), (11, 2)),
    "DepthwiseConv2D": (
        lambda **o: layers.DepthwiseConv2D((3, 2), 2, depth_multiplier=3, **o),
        (9, 8, 3),
    ),
    "SeparableConv1D": (lambda **o: layers.SeparableConv1D(5, 4, 3, padding="same", **o), (11, 2)),
    "SeparableConv2D": (
        lambda **o: layers.SeparableConv2D(5, (4, 3), dilation_rate=(1, 2), **o),
        (9, 8, 3),
    ),
    "Conv1DTranspose": (lambda **o: layers.Conv1DTranspose(4, 4, 3, padding="same", **o), (5, 2)),
    "Conv2DTranspose": (lambda **o: layers.Conv2DTranspose(4, (2, 3), (3, 2), **o), (3, 4, 2)),
    "Conv3DTranspose": (
        lambda **o: layers.Conv3DTranspose(4, (2, 3, 1), (1, 2, 2), **o),
        (3, 2, 4, 2),
    ),
    "MaxPooling1D": (lambda **o: layers.MaxPooling1D(3, 2, "same", **o), (8, 2)),
    "AveragePooling2D": (lambda **o: layers.AveragePooling2D((3, 2), (2, 3), **o), (8, 7, 2)),
    "MaxPooling3D": (
        lambda **o: layers.MaxPooling3D((3, 2, 1), (2, 3, 1), "same", **o),
        (5, 6, 4, 2),
    ),
    "ZeroPadding1D": (lambda **o: layers.ZeroPadding1D((2, 1), **o), (8, 3)),
    "ZeroPadding2D": (lambda **o: layers.ZeroPadding2D(((2, 1), (0, 3)), **o), (8, 7, 3)),
    "ZeroPadding3D": (
        lambda **o: layers.ZeroPadding3D(((2, 1), (0, 3), (1, 1)), **o),
        (4, 5, 3, 2),
    ),
    "Cropping2D": (lambda **o: layers.Cropping2D(((2, 1), (0, 3)), **o), (8, 7, 3)),
    "Cropping3D": (lambda **o: layers.Cropping3D(((2, 1), (0, 3), (1, 1)), **o), (4, 5, 3, 2)),
    "UpSampling2D": (
        lambda **o: layers.UpSampling2D((2, 3), interpolation="bilinear", **o),
        (4, 3, 2),
    ),
    "UpSampling3D": (lambda **o: layers.UpSampling3D((2, 3, 1), **o), (2, 3, 2, 2)),
    "GlobalAveragePooling2D": (
        lambda **o: layers.GlobalAveragePooling2D(keepdims=True, **o),
        (4, 3, 2),
    ),
    "GlobalMaxPooling3D": (lambda **o: layers.GlobalMaxPooling3D(keepdims=True, **o), (4, 3, 2, 2)),
}


@pytest.mark.parametrize("name", MIRRORED)
def test_channels_first_is_the_mirror_of_channels_last(name: str) -> None:
    make, shape = MIRRORED[name]
    last, first = keras.Input(shape), keras.Input((shape[-1], *shape[:-1]))
    expected = keras.Model(last, make(data_format="channels_last")(last))
    mirrored = keras.Model(first, make(**FIRST)(first))
    fields = [receptive_field(model, model.output) for model in (expected, mirrored)]
    assert fields[0].input_size == fields[1].input_size == shape[:-1]
    assert fields[0].output_size == fields[1].output_size == mirrored.output_shape[2:]
    assert [one.unit for one in fields] == [fields[0].unit] * 2
    assert fields[0].size == fields[1].size
    assert fields[0].stride == fields[1].stride
    for unit in np.ndindex(*fields[0].output_size):
        assert box_of(fields[0], unit) == box_of(fields[1], unit)
        np.testing.assert_array_equal(fields[0].support(unit), fields[1].support(unit))


# Those that TensorFlow runs on a CPU with channels first.
@pytest.mark.parametrize(
    "build",
    [
        lambda x: layers.ZeroPadding2D(((2, 1), (0, 3)), **FIRST)(x),
        lambda x: layers.Cropping2D(((1, 1), (0, 2)), **FIRST)(x),
        lambda x: layers.UpSampling2D((2, 3), **FIRST)(x),
        lambda x: layers.DepthwiseConv2D((3, 2), padding="same", **FIRST)(x),
        lambda x: layers.SeparableConv2D(4, (3, 2), padding="same", **FIRST)(x),
        lambda x: layers.AveragePooling2D((3, 2), (1, 2), **FIRST)(x),
        lambda x: layers.GlobalAveragePooling2D(keepdims=True, **FIRST)(x),
        lambda x: layers.BatchNormalization(axis=1)(layers.ZeroPadding2D(1, **FIRST)(x)),
        lambda x: layers.Concatenate(axis=1)([x, layers.UpSampling2D(1, **FIRST)(x)]),
    ],
    ids=[
        "padding",
        "cropping",
        "up-sampling",
        "depthwise",
        "separable",
        "pooling",
        "global",
        "batch",
        "concatenate",
    ],
)
def test_rule_with_channels_first(build: Callable[[Any], Any]) -> None:
    case = Case(build, ((3, 5, 6),), channels=(1, 1), tolerance=0.0)
    check_all((check_support, check_visible, check_box), solve(case))
