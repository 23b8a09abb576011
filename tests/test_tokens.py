"""Tokens by row and column, on transformers that look at images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import (
    ERFLogger,
    ensemble,
    growth,
    probe,
    profile,
    projective_field,
    receptive_field,
    rules,
)
from keras_erf.algebra.geometry import bounding_box
from keras_erf.errors import InvalidInputError


class Prefix(layers.Layer):
    """Tokens of its own in front of the others: a class token, registers."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="zeros")

    def call(self, x):
        own = ops.broadcast_to(self.tokens, (ops.shape(x)[0], self.count, x.shape[-1]))
        return ops.concatenate([own, x], axis=1)


def transformer(
    rows: int = 3, columns: int = 4, *, patch: int = 4, prefix: int = 0, blocks: int = 2
) -> keras.Model:
    """Patches, tokens in front, and blocks of attention with residual paths (ViT)."""
    width = 4
    x = keras.Input((rows * patch, columns * patch, 3))
    y = layers.Conv2D(width, patch, patch, name="patches")(x)
    y = layers.Reshape((rows * columns, width), name="tokens")(y)
    if prefix:
        y = Prefix(prefix, name="prefixed")(y)
    for block in range(blocks):
        z = layers.LayerNormalization()(y)
        z = layers.Attention(name=f"attention{block}")([z, z])
        y = layers.Add(name=f"mixed{block}")([y, z])
        z = layers.Dense(width)(layers.Dense(2 * width, activation="gelu")(y))
        y = layers.Add(name=f"block{block}")([y, z])
    return keras.Model(x, y)


def patch_of(row: int, column: int, size: int = 4) -> tuple[tuple[int, int], ...]:
    return (row * size, (row + 1) * size), (column * size, (column + 1) * size)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (3, 4), (5, 2), (1, 4), (4, 1)])
def test_a_token_sees_its_patch(rows, columns, prefix):
    model = transformer(rows, columns, prefix=prefix, blocks=0)
    grid = {"grid": (rows, columns)} if 1 in (rows, columns) else {}
    for row, column in np.ndindex(rows, columns):
        field = receptive_field(model, model.output, unit=(row, column), **grid)
        assert field.unit == (row, column)
        assert field.output_size == (rows, columns)
        assert field.box() == field.visible() == patch_of(row, column)
        assert field.support().sum() == 16


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_figures_of_a_grid_found(prefix):
    model = transformer(3, 4, prefix=prefix)
    field = receptive_field(model, "block1", through_global=False)
    assert field.output_size == (3, 4)
    # Of two columns as near the middle the later.
    assert field.unit == (1, 2)
    assert (field.size, field.stride, field.padding) == ((4, 4), (4, 4), (0, 0))
    assert field.center() == (5.5, 9.5)
    assert field.status in ("exact", "measured")
    for row, column in np.ndindex(3, 4):
        assert field.box((row, column)) == patch_of(row, column)
    # Attention sees everything.
    whole = receptive_field(model, "block1")
    assert whole.unit == (1, 2)
    assert whole.support().all()
    assert whole.box() == ((0, 12), (0, 16))


def test_a_plain_token_goes_by_its_index():
    model = transformer(3, 4, prefix=1)
    # Token 0 belongs to no patch, token 1 to the first.
    field = receptive_field(model, "prefixed", unit=(1,), through_global=False)
    assert field.output_size == (13,)
    assert field.box() == patch_of(0, 0)
    assert field.box((12,)) == patch_of(2, 3)
    assert field.box((6,)) == patch_of(1, 1)
    with pytest.raises(InvalidInputError, match="sees nothing"):
        field.box((0,))
    # The class token sees everything once there was attention.
    assert receptive_field(model, "block0", unit=(0,)).support().all()


def test_overlapping_patches_and_convolutions_before_them():
    x = keras.Input((14, 18, 3))
    y = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.Conv2D(4, 6, 4)(y)
    model = keras.Model(x, layers.Reshape((12, 4))(y))
    field = receptive_field(model, unit=(2, 1))
    assert field.output_size == (3, 4)
    assert (field.size, field.stride, field.padding) == ((8, 8), (4, 4), (1, 1))
    assert field.box() == ((7, 15), (3, 11))
    assert field.visible() == ((7, 14), (3, 11))


def test_a_map_rebuilt_from_tokens():
    model = transformer(4, 5, blocks=0)
    y = layers.Reshape((4, 5, 4), name="map")(model.output)
    y = layers.Conv2D(2, 3, padding="same", name="conv")(y)
    model = keras.Model(model.input, y)
    field = receptive_field(model, "map", unit=(3, 2))
    assert field.box() == patch_of(3, 2)
    assert (field.stride, field.status) == ((4, 4), "exact")
    field = receptive_field(model, "conv", unit=(2, 1))
    assert field.box() == field.visible() == ((4, 16), (0, 12))
    assert (field.size, field.stride) == ((12, 12), (4, 4))
    assert receptive_field(model, "conv", unit=(0, 4)).visible() == ((0, 8), (12, 20))


def test_tokens_of_a_permuted_map_are_on_no_grid_of_rows():
    # Column by column: the first index of a token's grid is the column.
    x = keras.Input((8, 12, 3))
    y = layers.Permute((2, 1, 3))(layers.Conv2D(2, 4, 4)(x))
    model = keras.Model(x, layers.Reshape((6, 2))(y))
    assert receptive_field(model, unit=(4,)).box() == patch_of(0, 2)
    field = receptive_field(model, unit=(2, 1), grid=(3, 2))
    assert field.box() == patch_of(1, 2)


def square(tokens: int) -> keras.Model:
    """Tokens whose grid nothing tells, as all of them see everything."""
    x = keras.Input((8, 8, 1))
    y = layers.Dense(tokens * 2)(layers.Flatten()(x))
    return keras.Model(x, layers.Reshape((tokens, 2))(y))


@pytest.mark.parametrize(
    ("tokens", "side"), [(9, 3), (10, 3), (15, 3), (16, 4), (17, 4), (197, 14)]
)
def test_without_a_grid_it_is_the_largest_square(tokens, side):
    model = square(tokens)
    field = receptive_field(model, model.output, unit=(side - 1, 0))
    assert field.output_size == (side, side)
    with pytest.raises(InvalidInputError, match="`unit`"):
        receptive_field(model, model.output, unit=(side, 0))


def test_a_stated_grid_takes_the_last_tokens_where_none_is_found():
    model = transformer(3, 4, prefix=1, blocks=0)
    # Behind a layer that tells nothing of places.
    own = {layers.Reshape: rules.whole}
    field = receptive_field(model, "prefixed", unit=(1, 0), grid=(2, 6), rules=own)
    assert (field.output_size, field.unit, field.status) == ((2, 6), (1, 0), "whole")
    assert receptive_field(model, "prefixed", grid=(2, 6), rules=own).unit == (1, 3)
    assert receptive_field(model, "prefixed", unit=(1, 1), rules=own).output_size == (3, 3)
    # The grid that is found may be stated, and no other one.
    field = receptive_field(model, "prefixed", grid=(3, 4))
    assert (field.unit, field.output_size) == ((1, 2), (3, 4))
    with pytest.raises(InvalidInputError, match=r"`grid` must be \(3, 4\), the map"):
        receptive_field(model, "prefixed", grid=(2, 6))
    for wrong in ((4, 5), (13,), (0, 4), (4, 3.0), 7, "ab"):
        with pytest.raises(InvalidInputError, match=r"`grid` must be 2 whole numbers.* 13 tokens"):
            receptive_field(model, "prefixed", grid=wrong, rules=own)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"grid": (4, 5)}, r"`grid` must be \(3, 4\).*\(4, 5\)"),
        ({"grid": (0, 4)}, "`grid` must be"),
        ({"grid": ()}, "`grid` must be"),
        ({"grid": (3, 4), "unit": (3, 0)}, r"`unit` must be .*\(3, 4\)"),
        ({"grid": (3, 4), "unit": (0, 0, 0)}, "`unit` must be"),
        ({"unit": (13,)}, r"`unit` must be .*\(13,\)"),
        ({"unit": (0, 4)}, r"`unit` must be .*\(3, 4\)"),
        ({"layer": "patches", "grid": (3, 4)}, r"`grid` is for a layer of tokens.*\(3, 4\)"),
    ],
)
def test_a_mistake_gets_one_line(options, expected):
    model = transformer(3, 4, prefix=1, blocks=0)
    with pytest.raises(InvalidInputError, match=expected) as caught:
        receptive_field(model, **{"layer": "prefixed", **options})
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


def test_volumes_have_grids_of_three_axes():
    x = keras.Input((4, 6, 8, 1))
    y = layers.Conv3D(2, 2, 2)(x)
    model = keras.Model(x, layers.Reshape((24, 2))(y))
    field = receptive_field(model, unit=(1, 2, 0))
    assert field.output_size == (2, 3, 4)
    assert field.box() == ((2, 4), (4, 6), (0, 2))
    assert field.stride == (2, 2, 2)


@pytest.mark.parametrize("prefix", [0, 2])
def test_a_pixel_is_seen_by_the_token_of_its_patch(prefix):
    model = transformer(3, 4, prefix=prefix, blocks=0)
    found = projective_field(model, model.output, pixel=(5, 15))
    assert found.mask.shape == (3, 4)
    assert found.box == ((1, 2), (3, 4))
    # Of tokens without places every one sees all pixels.
    blind = square(7)
    assert projective_field(blind, blind.output, pixel=(0, 0)).mask.shape == (7,)
    assert projective_field(blind, blind.output, pixel=(0, 0), grid=(2, 3)).mask.shape == (2, 3)


def test_a_grid_is_stated_to_whatever_measures():
    own = {layers.Reshape: rules.whole}
    options = {"unit": (1, 4), "grid": (2, 6), "rules": own, "inputs": "normal", "samples": 2}

    def build(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return transformer(3, 4, prefix=1, blocks=0)

    seen = patch_of(2, 2)  # the eleventh of the twelve tokens
    for result in (
        probe(build(0), "prefixed", **options),
        ensemble(build, "prefixed", runs=2, **options),
    ):
        assert (result.unit, result.receptive_field.output_size) == ((1, 4), (2, 6))
        assert bounding_box(result.map > 0) == seen
    model, where = build(0), {one: options[one] for one in ("unit", "grid", "rules")}
    for found in (profile(model, "prefixed", samples=2, **where), growth(model, **where)):
        assert found["prefixed"].receptive_field.output_size == (2, 6)
        assert bounding_box(found["prefixed"].map > 0) == seen
    model.compile("sgd", "mse")
    logger = ERFLogger("prefixed", **options)
    model.fit(np.zeros((2, 12, 16, 3)), np.zeros((2, 13, 4)), verbose=0, callbacks=[logger])
    assert [layer for _, layer in logger.results] == ["prefixed", "prefixed"]
    assert all(bounding_box(one.map > 0) == seen for one in logger.results.values())


def test_a_folder_keeps_units_of_other_grids_apart(tmp_path):
    model = transformer(3, 4, prefix=1, blocks=0)
    options = {"unit": (1, 0), "samples": 2, "rules": {layers.Reshape: rules.whole}}
    for grid, seen in (
        ((2, 6), patch_of(1, 2)),
        ((3, 4), patch_of(1, 0)),
        ((2, 6), patch_of(1, 2)),
    ):
        found = profile(model, "prefixed", grid=grid, path=tmp_path, **options)
        assert bounding_box(found["prefixed"].map > 0) == seen
    assert len(list(tmp_path.glob("*.npz"))) == 2
