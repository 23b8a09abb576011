"""Printed tables of receptive fields of whole families of models."""

from __future__ import annotations

import csv
from typing import Any

import keras
import pytest
from keras import layers

from keras_erf import receptive_field

# Koutini, Eghbal-zadeh and Widmer 2021, "Receptive Field Regularization Techniques for Audio
# Classification and Tagging with Deep Convolutional Neural Networks", arXiv 2105.12395: CP-ResNet
# in its three stages of four basic blocks. Kernels and pools by rho are those of the authors' code,
# kkoutini/cpjku_dcase19, models/cp_resnet.py, `get_model_based_on_rho`. Left out is what sees
# single positions alone: batch normalisation.
BLOCKS = 4
POOLED_BLOCKS = (1, 2, 4)
# Maximum receptive field for rho from 0 to 21.
MAXIMA = [23, 31, 39, 55, 71, 87, 103, 135, *range(167, 584, 32)]


def kernels(rho: int) -> list[int]:
    """Sizes of the two kernels of each of the twelve blocks: every step of rho adds one of 3."""
    # The first block's are fixed; those of stage 1 grow up to rho 6, the others from rho 7 on.
    return [3, 1, *(3 if place < rho else 1 for place in range(3 * 2 * BLOCKS - 2))]


def cp_resnet(rho: int) -> keras.Model:
    sizes = iter(kernels(rho))
    x = start = keras.Input((256, 256, 2))
    # PyTorch pads by 1 on both sides.
    x = layers.ZeroPadding2D(1)(x)
    x = layers.ReLU()(layers.Conv2D(1, 5, 2)(x))
    for stage, filters in enumerate((1, 2, 4)):
        for block in range(1, BLOCKS + 1):
            shortcut = x
            for last in (False, True):
                x = layers.Conv2D(filters, next(sizes), padding="same", use_bias=False)(x)
                x = x if last else layers.ReLU()(x)
            if shortcut.shape[-1] != filters:
                shortcut = layers.Conv2D(filters, 1, use_bias=False)(shortcut)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
            if stage == 0 and block in POOLED_BLOCKS:
                x = layers.MaxPooling2D(2)(x)
    return keras.Model(start, layers.Conv2D(10, 1)(x))


@pytest.mark.parametrize("rho", range(len(MAXIMA)))
def test_cp_resnet_by_rho(rho: int) -> None:
    field = receptive_field(cp_resnet(rho))
    assert field.size == (MAXIMA[rho],) * 2
    # Four halvings: the first convolution and three pools.
    assert field.stride == (16, 16)
    assert field.status == "exact"


def test_the_shared_table_has_the_same_numbers(shared_reference: Any) -> None:
    with open(shared_reference / "receptive_fields.csv", newline="", encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["network"].startswith("CP-ResNet")]
    assert list(map(int, row["size"].split())) == MAXIMA
