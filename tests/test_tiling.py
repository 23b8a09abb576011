"""Overlaps of tiles, proven by running networks on tiles."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import probe, receptive_field, tile_overlap
from keras_erf.errors import InvalidInputError
from keras_erf.fields.tiling import TileOverlap
from tests import jacobian


def unet(x: Any) -> Any:
    kind = {"padding": "same", "activation": "relu"}
    high = layers.Conv2D(3, 3, **kind)(x)
    middle = layers.Conv2D(3, 3, **kind)(layers.MaxPooling2D(2)(high))
    low = layers.Conv2D(3, 3, **kind)(layers.MaxPooling2D(2)(middle))
    y = layers.Concatenate()([layers.Conv2DTranspose(3, 2, 2)(low), middle])
    y = layers.UpSampling2D(2)(layers.Conv2D(3, 3, **kind)(y))
    return layers.Conv2D(2, 3, **kind)(layers.Concatenate()([y, high]))


def strided(x: Any) -> Any:
    y = layers.Conv2D(3, 3, 2, padding="same")(x)
    y = layers.Conv2D(3, (2, 3), padding="same", activation="relu")(y)
    return layers.AveragePooling2D((3, 2), (2, 1), padding="same")(y)


def dilated(x: Any) -> Any:
    y = layers.Conv2D(3, (3, 2), padding="same", dilation_rate=(2, 1))(x)
    return layers.Conv2D(3, 3, padding="same")(y)


def bilinear(x: Any) -> Any:
    y = layers.Conv2D(3, 3, 4, padding="same")(x)
    return layers.UpSampling2D(2, interpolation="bilinear")(y)


# With the size of the image and of the part of the output each tile answers for, odd enough for
# parts to begin and end at units of every phase.
NETWORKS: dict[str, tuple[Callable[[Any], Any], tuple[int, int], int]] = {
    "unet": (unet, (56, 48), 7),
    "strided": (strided, (32, 24), 2),
    "dilated": (dilated, (21, 17), 5),
    "bilinear": (bilinear, (40, 32), 3),
}


def made(name: str) -> keras.Model:
    """The network for images of any size, with positive weights: nothing cancels or saturates."""
    x = keras.Input((None, None, 2))
    return jacobian.make_positive(keras.Model(x, NETWORKS[name][0](x)))


def run(model: keras.Model, image: np.ndarray) -> np.ndarray:
    return np.asarray(model(image[None]))[0]


def stitched(
    model: keras.Model,
    image: np.ndarray,
    overlap: TileOverlap,
    strides: tuple[Fraction, ...],
    part: int,
) -> np.ndarray:
    """The output put together from tiles that start and end at multiples of the step."""
    sizes = image.shape[:2]
    outputs = [int(size / stride) for size, stride in zip(sizes, strides, strict=True)]
    result = np.zeros((*outputs, model.output_shape[-1]), dtype=np.float32)
    for corner in itertools.product(*(range(0, count, part) for count in outputs)):
        cut, into, out_of = [], [], []
        for axis, first in enumerate(corner):
            last, step, stride = first + part, overlap.step[axis], strides[axis]
            last = min(last, outputs[axis])
            start = math.floor(first * stride) - overlap.before[axis]
            stop = math.ceil(last * stride) + overlap.after[axis]
            start = max(start // step * step, 0)
            stop = min(-(-stop // step) * step, sizes[axis])
            cut.append(slice(start, stop))
            into.append(slice(first, last))
            skipped = Fraction(start) / stride
            assert skipped.denominator == 1
            out_of.append(slice(first - int(skipped), last - int(skipped)))
        result[tuple(into)] = run(model, image[tuple(cut)])[tuple(out_of)]
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_are_seamless(name):
    _, sizes, part = NETWORKS[name]
    model = made(name)
    image = np.random.default_rng(0).uniform(0.5, 1.5, (*sizes, 2)).astype("float32")
    overlap = tile_overlap(model, input_shape=sizes)
    strides = tuple(map(Fraction, receptive_field(model, input_shape=sizes).stride))
    whole = run(model, image)
    together = stitched(model, image, overlap, strides, part)
    assert together.shape == whole.shape
    np.testing.assert_allclose(together, whole, rtol=1e-5)
    assert (overlap.mass, overlap.status) == (None, "exact")


@pytest.mark.parametrize("name", ["unet", "strided", "dilated", "bilinear"])
def test_one_step_less_leaves_seams(name):
    _, sizes, part = NETWORKS[name]
    model = made(name)
    image = np.random.default_rng(0).uniform(0.5, 1.5, (*sizes, 2)).astype("float32")
    overlap = tile_overlap(model, input_shape=sizes)
    strides = tuple(map(Fraction, receptive_field(model, input_shape=sizes).stride))
    whole = run(model, image)
    for side, axis in itertools.product(("before", "after"), (0, 1)):
        ends = {"before": list(overlap.before), "after": list(overlap.after)}
        if not ends[side][axis]:
            continue
        # Tiles start a step later, or end a step earlier.
        ends[side][axis] = max(ends[side][axis] - overlap.step[axis], 0)
        less = replace(overlap, before=tuple(ends["before"]), after=tuple(ends["after"]))
        together = stitched(model, image, less, strides, part)
        assert np.abs(together / whole - 1).max() > 1e-4, (side, axis)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_overlap_is_the_least_to_the_pixel(name):
    _, sizes, _ = NETWORKS[name]
    model = made(name)
    rng = np.random.default_rng(0)
    image = rng.uniform(0.5, 1.5, (*sizes, 2)).astype("float32")
    overlap = tile_overlap(model, input_shape=sizes)
    field = receptive_field(model, input_shape=sizes)
    strides = tuple(map(Fraction, field.stride))
    middle = [count // 2 for count in field.output_size]
    for axis in (0, 1):
        needed = {"before": set(), "after": set()}
        # Units of every phase.
        phases = 2 * max(int(overlap.step[axis] / strides[axis]), 1)
        for phase, side in itertools.product(range(phases), needed):
            unit = list(middle)
            unit[axis] = middle[axis] - phases // 2 + phase
            own = math.floor(unit[axis] * strides[axis])
            own_end = math.ceil((unit[axis] + 1) * strides[axis]) - 1
            margin = getattr(overlap, side)[axis]
            for extra in (0, 1):
                changed = np.moveaxis(image.copy(), axis, 0)
                if side == "before":
                    changed[: max(own - margin - extra + 1, 0)] += 9
                else:
                    changed[own_end + margin + extra :] += 9
                changed = np.moveaxis(changed, 0, axis)
                moved = run(model, changed)[tuple(unit)] != run(model, image)[tuple(unit)]
                if moved.any():
                    needed[side].add(margin + extra)
        # Some unit sees the last pixel of the overlap, and none sees the next one.
        for side in needed:
            margin = getattr(overlap, side)[axis]
            assert needed[side] <= {margin}, (side, axis)
            assert needed[side] or not margin, (side, axis)


def test_overlaps_by_hand():
    x = keras.Input((32, 1))
    y = layers.Conv1D(1, 5, padding="causal", name="causal")(x)
    y = layers.Conv1D(1, 4, 2, padding="same", name="down")(y)
    model = keras.Model(x, y)
    found = tile_overlap(model, "causal")
    assert found == TileOverlap("causal", (4,), (0,), (1,), (32,), None, "exact")
    # Unit u answers for pixels 2 u and 2 u + 1 and sees 2 u - 5 to 2 u + 2.
    assert tile_overlap(model) == TileOverlap("down", (5,), (1,), (2,), (32,), None, "exact")
    assert tile_overlap(model, "down") == tile_overlap(model, model.output)
    up = layers.UpSampling1D(4)(y)
    # Four units share a field, -5 to 2, and answer for pixel 0 or 1 each.
    found = tile_overlap(keras.Model(x, up))
    assert (found.before, found.after, found.step) == ((6,), (2,), (2,))


def gated() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(3, 3, padding="same", name="conv")(x)
    gate = layers.Dense(3)(layers.GlobalAveragePooling2D(keepdims=True)(y))
    return keras.Model(x, layers.Multiply(name="gated")([y, gate]))


def test_a_field_of_everything_has_no_seamless_tiles():
    with pytest.raises(InvalidInputError, match="'gated' sees as much of the input") as caught:
        tile_overlap(gated())
    assert "`through_global=False`" in str(caught.value)
    assert "\n" not in str(caught.value)
    local = tile_overlap(gated(), through_global=False)
    assert (local.before, local.after, local.step) == ((1, 1), (1, 1), (1, 1))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: layers.LSTM(2, return_sequences=True)(x),
        lambda x: layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x),
        lambda x: ops.cumsum(x, axis=1),
        lambda x: layers.Lambda(lambda x: x - ops.mean(x, axis=1, keepdims=True))(x),
        lambda x: layers.MultiHeadAttention(1, 2)(x, x, use_causal_mask=True),
    ],
    ids=["recurrence", "both ways", "sum", "mean", "attention"],
)
def test_a_history_that_never_ends_has_no_seamless_tiles(build):
    x = keras.Input((40, 2))
    with pytest.raises(InvalidInputError, match="no tiles are seamless"):
        tile_overlap(keras.Model(x, build(x)))


def test_a_row_of_tokens_has_no_tiles():
    x = keras.Input((12, 16, 3))
    tokens = layers.Reshape((12, 4))(layers.Conv2D(4, 4, 4)(x))
    with pytest.raises(InvalidInputError, match="an axis for each axis of the input"):
        tile_overlap(keras.Model(x, tokens))


# --- Sizes ---------------------------------------------------------------------------------------


def stem(x: Any) -> Any:
    y = layers.Conv1D(2, 7, 2)(layers.ZeroPadding1D(3)(x))
    return layers.Conv1D(2, 1, 2)(layers.MaxPooling1D(3, 2)(layers.ZeroPadding1D(1)(y)))


def same_stem(x: Any) -> Any:
    y = layers.Conv1D(2, 7, 2, padding="same")(x)
    return layers.MaxPooling1D(3, 2, padding="same")(y)


def around(down: Callable[..., Any], *up: layers.Layer) -> Callable[[Any], Any]:
    """Down and up again, through layers made for each call."""

    def build(x: Any) -> Any:
        y = down(x)
        for layer in up:
            y = type(layer).from_config(layer.get_config())(y)
        return y

    return build


def halved(x: Any) -> Any:
    return layers.Conv1D(2, 3, 2, padding="same")(x)


def smooth(x: Any) -> Any:
    rows = layers.Reshape((-1, 1, 2))(halved(x))
    y = layers.UpSampling2D((2, 1), interpolation="bilinear")(rows)
    return layers.Conv2D(2, (3, 1), padding="same")(y)[:, :, 0]


def slid(kind: type[layers.Layer]) -> dict[str, Callable[[Any], Any]]:
    """Windows of every parity, by stride and padding."""
    options = {"filters": 2} if "Conv" in kind.__name__ else {}
    size = "kernel_size" if options else "pool_size"
    return {
        f"{kind.__name__} {k} stride {s} {padding}": around(
            lambda x: x, kind(**options, **{size: k}, strides=s, padding=padding)
        )
        for k, s in ((3, 2), (2, 2), (4, 2), (3, 3), (5, 3))
        for padding in ("same", "valid")
    }


TILED: dict[str, Callable[[Any], Any]] = {
    **slid(layers.Conv1D),
    **slid(layers.AveragePooling1D),
    "average": lambda x: layers.AveragePooling1D(3, 1, padding="same")(x),
    "stem": stem,
    "stem of SAME": same_stem,
    "transposed": lambda x: layers.Conv1DTranspose(2, 3, 2, padding="same")(x),
    "down and transposed": around(halved, layers.Conv1DTranspose(2, 4, 2, padding="same")),
    "down and nearest": around(halved, layers.UpSampling1D(2), layers.Conv1D(2, 3)),
    "down and bilinear": smooth,
    "every third": lambda x: layers.Conv1D(2, 2)(x)[:, ::3],
    "reflected": lambda x: layers.Conv1D(2, 3, 2)(
        ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="reflect")
    ),
    "one size": lambda x: ops.image.resize(x[:, :, None], (32, 1))[:, :, 0],
}


@pytest.mark.parametrize("name", TILED)
def test_tiles_of_any_size_are_seamless_or_refused(name):
    seamless = []
    for size in (64, 65, 66, 67, 72):
        x = keras.Input((None, 2))
        model = jacobian.make_positive(keras.Model(x, TILED[name](x)))
        try:
            overlap = tile_overlap(model, input_shape=size)
        except InvalidInputError as error:
            if name != "one size":
                (advised,) = re.findall(r"Pad or crop .* size, (\d+) for one", str(error))
                assert tile_overlap(model, input_shape=int(advised)).step[0] > 1
            continue
        stride = Fraction(receptive_field(model, input_shape=size).stride[0])
        image = np.random.default_rng(0).uniform(0.5, 1.5, (size, 2)).astype("float32")
        whole, part = run(model, image), max(int(13 / stride), 1)
        together = np.zeros_like(whole)
        for first in range(0, len(whole), part):
            last, step = min(first + part, len(whole)), overlap.step[0]
            start = max((math.floor(first * stride) - overlap.before[0]) // step * step, 0)
            stop = math.ceil(last * stride) + overlap.after[0]
            tile = run(model, image[start : min(-(-stop // step) * step, size)])
            skipped = int(start / stride)
            together[first:last] = tile[first - skipped : last - skipped]
        np.testing.assert_allclose(together, whole, rtol=1e-5, err_msg=f"{name}, {size}")
        seamless.append(size)
    assert seamless or name == "one size"


def test_a_size_that_shifts_padding_is_refused_in_one_line():
    x = keras.Input((None, None, 1))
    model = keras.Model(x, layers.Conv2D(1, 3, 2, padding="same", name="down")(x))
    with pytest.raises(
        InvalidInputError, match="`input_shape` must be a multiple of 2x2"
    ) as caught:
        tile_overlap(model, input_shape=(65, 64))
    assert "66x64 for one" in str(caught.value)
    assert "'down'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tile_overlap(model, input_shape=(66, 64)).input_size == (66, 64)
    # So it is where little is used: tiles would be a pixel off.
    erf = probe(model, samples=1, input_shape=(65, 64))
    with pytest.raises(InvalidInputError, match="`input_shape` must be a multiple of 2x2"):
        tile_overlap(model, erf=erf, input_shape=(65, 64))


# --- Effective overlaps --------------------------------------------------------------------------


def chain() -> keras.Model:
    x = y = keras.Input((34, 32, 1))
    for layer in range(4):
        y = layers.Conv2D(2, 5, 2 if layer == 1 else 1, padding="same", name=f"conv{layer}")(y)
    return jacobian.make_positive(keras.Model(x, y))


@pytest.mark.parametrize("unit", ["center", (0, 3)])
@pytest.mark.parametrize("mass", [0.2, 0.5, 0.9, 0.99, 1.0])
def test_the_effective_overlap_is_the_least_that_holds_the_mass(unit, mass):
    model = chain()
    erf = probe(model, unit=unit, samples=2)
    found = tile_overlap(model, erf=erf, mass=mass)
    weights = np.abs(erf.map) / np.abs(erf.map).sum()
    shares = []
    for halo in range(max(weights.shape)):
        inside = tuple(slice(max(2 * index - halo, 0), 2 * index + 2 + halo) for index in erf.unit)
        shares.append(weights[inside].sum())
    (halo,) = {*found.before, *found.after}
    assert shares[halo] >= mass - 1e-9
    assert halo == 0 or shares[halo - 1] < mass
    assert found.mass == pytest.approx(shares[halo])
    assert (found.step, found.status) == ((2, 2), "exact")


def test_the_field_of_a_token_by_number_has_no_tiles_of_rows_and_columns():
    x = keras.Input((8, 8, 1))
    tokens = layers.Reshape((4, 2))(layers.Conv2D(2, 4, 4)(x))
    model = keras.Model(x, layers.Dense(2, name="end")(tokens))
    by_number = probe(model, "end", unit=(1,), samples=2)
    with pytest.raises(InvalidInputError, match=r"`erf`|`layer`"):
        tile_overlap(model, "end", erf=by_number)


def test_most_of_a_field_lies_nearer_than_its_edge():
    model = chain()
    erf = probe(model, samples=1)
    assert max(tile_overlap(model, erf=erf, mass=0.9).before) < min(tile_overlap(model).before)
    exact = tile_overlap(model)
    assert max(tile_overlap(model, erf=erf, mass=1).before) <= max(exact.before + exact.after)


@pytest.mark.parametrize("mass", [0, -0.1, 1.01, float("nan")])
def test_a_mass_that_is_no_share_is_refused(mass):
    with pytest.raises(InvalidInputError, match=r"`mass` must be a share.*Received: mass="):
        tile_overlap(chain(), mass=mass)


def test_the_result_of_another_layer_is_refused():
    model = chain()
    erf = probe(model, "conv2", samples=1)
    with pytest.raises(InvalidInputError, match="`erf` must be of the layer 'conv3'"):
        tile_overlap(model, erf=erf)
    assert tile_overlap(model, "conv2", erf=erf).mass >= 0.99


def test_the_step_is_that_of_the_strides_on_the_way():
    x = keras.Input((12, 2))
    coarse = layers.UpSampling1D(2)(layers.AveragePooling1D(2)(x))
    y = layers.Add()([coarse, layers.Conv1D(2, 3, padding="same")(x)])
    assert tile_overlap(keras.Model(x, y)).step == (2,)
    # There and back: behind it no two units show a stride any more.
    back = ops.flip(ops.flip(y, axis=1), axis=1)
    assert tile_overlap(keras.Model(x, back)).step == (2,)
