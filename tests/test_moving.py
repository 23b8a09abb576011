"""Strides where units move evenly, none where they do not, and the range of sizes over a map."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from typer.testing import CliRunner

from keras_erf import load, probe, profile, receptive_field, receptive_fields, report, tile_overlap
from keras_erf.cli import app
from keras_erf.errors import InvalidInputError
from tests.ranges import brute_range


def segnet(x: Any) -> Any:
    """An encoder and a decoder that goes back to half of the input's size (image-segmentation)."""
    y = x
    for _ in range(3):
        y = layers.Conv2D(2, 3)(layers.ZeroPadding2D(1)(y))
        y = layers.MaxPooling2D(2)(layers.BatchNormalization()(y))
    for _ in range(2):
        y = layers.ZeroPadding2D(1)(layers.UpSampling2D(2)(y))
        y = layers.Conv2D(2, 3)(y)
    return layers.Conv2D(3, 3, padding="same")(y)


def unet(up: Callable[[], layers.Layer]) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        fine = layers.Conv2D(2, 3, padding="same")(x)
        middle = layers.Conv2D(2, 3, padding="same")(layers.MaxPooling2D(2)(fine))
        coarse = layers.Conv2D(2, 3, padding="same")(layers.MaxPooling2D(2)(middle))
        y = layers.Concatenate()([up()(coarse), middle])
        y = layers.Concatenate()([up()(layers.Conv2D(2, 3, padding="same")(y)), fine])
        return layers.Conv2D(3, 3, padding="same")(y)

    return build


MAPS: dict[str, Callable[[Any], Any]] = {
    "strided": lambda x: layers.Conv2D(3, 3, 2, padding="same")(x),
    "valid": lambda x: layers.Conv2D(3, 5, (2, 1))(x),
    "dilated": lambda x: layers.Conv2D(3, 3, dilation_rate=2, padding="same")(x),
    "segnet": segnet,
    "nearest U-Net": unet(lambda: layers.UpSampling2D(2)),
    "bilinear U-Net": unet(lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "transposed U-Net": unet(lambda: layers.Conv2DTranspose(2, 2, 2)),
}


def rows(y: Any) -> Any:
    return layers.Reshape((-1, y.shape[-1]))(y)


def with_class_token(y: Any) -> Any:
    tokens = rows(y)
    return ops.concatenate([ops.ones_like(tokens[:, :1]), tokens], axis=1)


PIXELS: dict[str, Callable[[Any], Any]] = {
    "rows": rows,
    "softmax": lambda y: layers.Softmax()(layers.Dense(4)(rows(y))),
    "flattened": lambda y: layers.Reshape((-1, 3))(layers.Flatten()(y)),
    "channels first": lambda y: layers.Permute((2, 1))(
        layers.Reshape((3, -1))(layers.Permute((3, 1, 2))(y))
    ),
    "class token": with_class_token,
    "and back": lambda y: layers.Reshape(y.shape[1:])(rows(y)),
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("name", MAPS)
def test_pixels_in_a_row_have_the_field_of_their_map(name, pixels):
    x = keras.Input((32, 24, 1))
    y = MAPS[name](x)
    whole = receptive_field(keras.Model(x, y), y)
    row = receptive_field(keras.Model(x, PIXELS[pixels](y)), layer=None)
    for fact in ("unit", "output_size", "size", "stride", "padding", "size_range", "size_median"):
        assert getattr(row, fact) == getattr(whole, fact), fact
    for unit in np.ndindex(*whole.output_size):
        assert row.box(unit) == whole.box(unit)
    assert row.status == "exact"


@pytest.mark.parametrize("name", MAPS)
def test_the_stride_is_what_units_move_by(name):
    x = keras.Input((48, 40, 1))
    y = MAPS[name](x)
    field = receptive_field(keras.Model(x, rows(y)), layer=None)
    # After eight units every phase of two or three halvings has come round.
    first, last = (2, 3), (10, 11)
    for axis, stride in enumerate(field.stride):
        assert field.box(last)[axis][0] - field.box(first)[axis][0] == 8 * stride


def boxes_of_two_maps(x: Any) -> Any:
    fine = layers.Conv2D(4, 3, 2, padding="same")(x)
    coarse = layers.Conv2D(4, 3, 2, padding="same")(fine)
    return layers.Concatenate(axis=1)([rows(fine), rows(coarse)])


UNEVEN: dict[str, tuple[Callable[[Any], Any], tuple[Any, Any]]] = {
    "concatenated boxes": (boxes_of_two_maps, (None, None)),
    "choice": (lambda x: ops.take(x, [0, 3, 4, 9], axis=1), (None, 1)),
    "23 of 20": (lambda x: layers.Resizing(23, 31)(x), (None, None)),
    # 16 of 20 and 30 of 24: the phases come round.
    "4 of 5": (lambda x: layers.Resizing(16, 30)(x), (Fraction(5, 4), Fraction(4, 5))),
    "both axes in one": (lambda x: layers.Reshape((40, 12, 1))(x), (Fraction(1, 2), None)),
    "columns first": (lambda x: rows(layers.Permute((2, 1, 3))(x)), (None, Fraction(1, 20))),
    "reflected": (lambda x: layers.Conv2D(1, 5)(ops.pad(x, MIRROR, mode="reflect")), (1, 1)),
    "turned around": (lambda x: ops.flip(x, axis=1), (-1, 1)),
    "rolled": (lambda x: ops.roll(x, 3, axis=1), (None, 1)),
    "columns as channels": (lambda x: layers.Reshape((20, 24))(x), (1, 0)),
}
MIRROR = ((0, 0), (2, 2), (2, 2), (0, 0))


@pytest.mark.parametrize("name", UNEVEN)
def test_what_moves_unevenly_has_no_stride(name):
    build, strides = UNEVEN[name]
    x = keras.Input((20, 24, 1))
    model = keras.Model(x, build(x))
    field = receptive_field(model, model.output)
    assert field.stride == strides
    assert [one is None for one in field.padding] == [one is None for one in strides]


def test_where_a_field_grows_it_has_no_padding():
    x = keras.Input((20, 2))
    y = layers.LSTM(2, return_sequences=True)(layers.Conv1D(2, 3, 2, padding="same")(x))
    field = receptive_field(keras.Model(x, y))
    # Unit u sees pixels 0 to 2 u + 2: its own step moves, the field begins where it began.
    assert (field.box((3,)), field.box((7,))) == (((0, 9),), ((0, 17),))
    assert (field.stride, field.padding) == ((2,), (None,))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def uneven() -> keras.Model:
    x = keras.Input((16, 16, 1))
    return keras.Model(x, layers.Activation("relu", name="boxes")(boxes_of_two_maps(x)))


def test_uneven_is_shown_and_kept(tmp_path):
    model = uneven()
    field = receptive_field(model)
    assert "<td>uneven</td>" in field._repr_html_()
    assert receptive_fields(model).to_frame()["stride"].iloc[-1] == (None, None)
    result = probe(model, samples=2)
    assert result.summary()["trf_stride"] == [None, None]
    result.save(tmp_path / "boxes.npz")
    kept = load(tmp_path / "boxes.npz").receptive_field
    assert kept == field
    assert (kept.size_range, kept.size_median) == (field.size_range, field.size_median)
    with pytest.raises(InvalidInputError, match="`layer`"):
        tile_overlap(model)
    report(profile(model, "boxes", samples=2), tmp_path / "boxes.html")
    path = tmp_path / "boxes.keras"
    model.save(path)
    assert "uneven" in run("trf", path)
    last = json.loads(run("trf", path, "--json"))["layers"][-1]
    assert (last["stride"], last["padding"]) == ([None, None], [None, None])


# --- The range of sizes --------------------------------------------------------------------------

RANGES: dict[str, Callable[[Any], Any]] = {
    **MAPS,
    "boxes": boxes_of_two_maps,
    "reflected": UNEVEN["reflected"][0],
    "merged": lambda x: layers.Add()(
        [
            layers.UpSampling2D(3)(layers.AveragePooling2D(3, 3)(x)),
            layers.Conv2D(1, 5, padding="same")(x),
        ]
    ),
    "transposed": lambda x: layers.Conv2DTranspose(1, 3, 2)(layers.Conv2D(1, 3, 4)(x)),
    "holes": lambda x: layers.Conv2D(1, 2)(layers.Conv2DTranspose(1, 1, 3)(x)),
    "sum of rows": lambda x: ops.cumsum(layers.Conv2D(1, 3, padding="same")(x), axis=1),
    "gate by rows": lambda x: layers.Multiply()(
        [
            layers.Conv2D(1, 3, dilation_rate=4, padding="same")(x),
            ops.mean(layers.Conv2D(1, 3, padding="same")(x), axis=1, keepdims=True),
        ]
    ),
    "gate": lambda x: layers.Multiply()(
        [layers.Conv2D(1, 3, padding="same")(x), ops.mean(x, axis=(1, 2), keepdims=True)]
    ),
    "wide": lambda x: layers.Conv2D(1, 25, padding="same")(x),
}


@pytest.mark.parametrize("size", [(18, 24), (9, 15)])
@pytest.mark.parametrize("through_global", [True, False])
@pytest.mark.parametrize("name", RANGES)
def test_the_range_is_that_of_all_interior_units(name, through_global, size):
    if name in MAPS:
        size = (16, 24) if size == (18, 24) else (16, 8)
    x = keras.Input((*size, 1))
    y = RANGES[name](x)
    field = receptive_field(keras.Model(x, y), y, through_global=through_global)
    assert (field.size_range, field.size_median) == brute_range(field)


def test_a_small_input_has_the_largest_size_of_a_large_one():
    # On 24 px no box of the largest field lies inside the input, and some of the smallest do.
    fields = []
    for size in (24, 48, 96):
        x = keras.Input((size, size, 1))
        fields.append(receptive_field(keras.Model(x, MAPS["nearest U-Net"](x))))
    small, *_, large = fields
    assert small.size_range[0][1] == large.size_range[0][1] == brute_range(large)[0][0][1]


def test_a_range_costs_the_sides_and_not_the_area():
    ranges = []
    for size in (200, 20_000):
        x = keras.Input((size, size, 1))
        ranges.append(receptive_field(keras.Model(x, MAPS["nearest U-Net"](x))).size_range)
    assert ranges[0] == ranges[1]


def test_a_range_is_shown(tmp_path):
    x = keras.Input((64, 64, 1))
    model = keras.Model(x, layers.Activation("relu", name="out")(MAPS["nearest U-Net"](x)))
    field = receptive_field(model)
    (low, high), _ = field.size_range
    assert low < high
    assert f"{low}-{high} × {low}-{high} px" in field._repr_html_()
    assert f"size_range=(({low}, {high})" in repr(field)
    assert receptive_fields(model).to_frame()["size_range"].iloc[-1] == field.size_range
    model.save(tmp_path / "unet.keras")
    assert f"{low}-{high}x{low}-{high}" in run("trf", tmp_path / "unet.keras")
    last = json.loads(run("trf", tmp_path / "unet.keras", "--json"))["layers"][-1]
    assert last["size_range"] == [[low, high]] * 2
    assert last["size_median"] == list(field.size_median)
