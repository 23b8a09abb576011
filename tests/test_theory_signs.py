"""Random weights, one by one: every sign of small networks, every gate, every mask.

The mean over all signs of given magnitudes is what theory states about E[g^2], with no error left.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from keras_erf import theory
from tests import oracles

# Magnitudes that no sum of a few makes zero, so that no gate stands on its edge.
MAGNITUDES = np.sqrt([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61]) / 3


def kernels(shapes, magnitudes=None):
    """Kernels `(signs, taps, inputs, outputs)` of every choice of signs."""
    sizes = [math.prod(shape) for shape in shapes]
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=sum(sizes))))
    parts = np.split(
        signs * (MAGNITUDES[: sum(sizes)] if magnitudes is None else magnitudes),
        np.cumsum(sizes)[:-1],
        axis=1,
    )
    return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


def forward(line, layers):
    """Gates `(signs, positions, channels)` of ReLUs behind all layers but the last."""
    gates, signal = [], np.broadcast_to(line, (len(layers[0]), *line.shape))
    for kernel in layers[:-1]:
        count = signal.shape[1] - kernel.shape[1] + 1
        signal = sum(
            np.einsum("bxi,bio->bxo", signal[:, tap : tap + count], kernel[:, tap])
            for tap in range(kernel.shape[1])
        )
        gates.append((signal > 0).astype(float))
        signal = signal * gates[-1]
    return gates


def backward(layers, gates=None, *, strides=None, skip=False):
    """Gradient `(signs, positions, channels)` of one unit, tap by tap."""
    gradient = np.ones((len(layers[0]), 1, 1))
    for number in reversed(range(len(layers))):
        kernel, stride = layers[number], 1 if strides is None else strides[number]
        if gates is not None and number < len(gates):
            gradient = gradient * gates[number]
        taps, count = kernel.shape[1], gradient.shape[1]
        below = np.zeros((len(kernel), (count - 1) * stride + taps, kernel.shape[2]))
        for tap in range(taps):
            part = np.einsum("bxo,bio->bxi", gradient, kernel[:, tap])
            below[:, tap : tap + (count - 1) * stride + 1 : stride] += part
        if skip:
            below[:, taps // 2 : taps // 2 + count] += gradient
        gradient = below
    return gradient


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_the_mean_square_is_that_of_squared_kernels(strides):
    # Two channels between two layers: cross terms of different paths have mean zero.
    first, second = (0.5, 2.0, 1.25), (1.5, 0.25, 0.75)
    magnitudes = np.concatenate([np.repeat(first, 2), np.repeat(second, 2)])
    layers = kernels([(3, 1, 2), (3, 2, 1)], magnitudes)
    found = np.mean(backward(layers, strides=strides)[..., 0] ** 2, axis=0)
    chain = [
        theory.Step(tuple(np.square(taps)), stride)
        for taps, stride in zip((first, second), strides, strict=True)
    ]
    np.testing.assert_allclose(found, 2 * theory.impact(chain), rtol=1e-12)


def test_of_alike_weights_it_is_the_uniform_map():
    layers = kernels([(3, 1, 2), (3, 2, 1)], 1.0)
    found = np.mean(backward(layers)[..., 0] ** 2, axis=0)
    np.testing.assert_allclose(found, 2 * np.array(oracles.binomial_row(2, 3)), rtol=1e-13)
    np.testing.assert_allclose(found / found.max(), theory.uniform_map(2, ndim=1), rtol=1e-13)


@pytest.mark.parametrize("shapes", [[(3, 1, 2), (3, 2, 1)], [(2, 1, 2), (2, 2, 2), (2, 2, 1)]])
def test_a_layer_of_relus_halves_the_mean_square_of_every_pixel(shapes):
    layers = kernels(shapes)
    line = np.array([[0.9], [-0.4], [1.7], [0.3], [-1.1]])[: sum(s[0] - 1 for s in shapes) + 1]
    gated = np.mean(backward(layers, forward(line, layers))[..., 0] ** 2, axis=0)
    linear = np.mean(backward(layers)[..., 0] ** 2, axis=0)
    # Exact at a width of two: not a limit of wide networks.
    np.testing.assert_allclose(gated, theory.relu_factor(len(shapes) - 1) * linear, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.25, 0.6])
@pytest.mark.parametrize("shapes", [[(2, 1, 2), (2, 2, 1)], [(2, 1, 1), (2, 1, 1), (2, 1, 1)]])
def test_dropout_multiplies_the_mean_square_of_every_pixel(shapes, rate):
    layers, kept = kernels(shapes), 1 - rate
    # Values of the layers between that the unit sees, each kept or dropped.
    seen = [
        (1 + sum(later[0] - 1 for later in shapes[number + 1 :]), shape[2])
        for number, shape in enumerate(shapes[:-1])
    ]
    ends = np.cumsum([math.prod(one) for one in seen])
    found = 0.0
    for mask in itertools.product((0.0, 1.0), repeat=int(ends[-1])):
        chance = math.prod(kept if one else rate for one in mask)
        parts = np.split(np.array(mask) / kept, ends[:-1])
        gates = [part.reshape(1, *one) for part, one in zip(parts, seen, strict=True)]
        found = found + chance * np.mean(backward(layers, gates)[..., 0] ** 2, axis=0)
    linear = np.mean(backward(layers)[..., 0] ** 2, axis=0)
    wanted = theory.dropout_factor(rate, len(shapes) - 1) * linear
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("energy", [0.5, 1.0, 3.0])
def test_shortcuts_give_the_mixture_over_all_signs(energy):
    layers = kernels([(3, 1, 1)] * 3, math.sqrt(energy / 3))
    found = np.mean(backward(layers, skip=True)[..., 0] ** 2, axis=0)
    wanted = theory.skip_map(3, energy, ndim=1)
    np.testing.assert_allclose(found, (1 + energy) ** 3 * wanted, rtol=1e-12)
    at = np.arange(-3, 4)
    variance = found @ at**2 / found.sum()
    assert theory.skip_variance(3, energy) == pytest.approx(variance, rel=1e-12)
