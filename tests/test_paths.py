"""Sizes over single paths, and layers that come too late, by hand arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import pytest
from keras import layers, ops

from keras_erf import path_sizes, receptive_field, unproductive_layers
from keras_erf.errors import InvalidInputError, UnknownLayerError, UnsupportedLayerError


def residual(blocks: int = 3, *, size: int = 32, stride: int = 1) -> keras.Model:
    """A stem of 5 pixels and blocks of two convolutions of 3 with an identity."""
    x = keras.Input((size, size, 3))
    y = layers.Conv2D(4, 5, padding="same", name="stem")(x)
    for block in range(blocks):
        z = layers.Conv2D(4, 3, stride, padding="same", name=f"conv{block}a")(y)
        z = layers.Conv2D(4, 3, padding="same", name=f"conv{block}b")(layers.ReLU()(z))
        if stride > 1:
            y = layers.Conv2D(4, 1, stride, name=f"shortcut{block}")(y)
        y = layers.Add(name=f"sum{block}")([y, z])
    return keras.Model(x, y)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_sizes_of_identities_and_of_all_convolutions(block):
    found = path_sizes(residual(), f"sum{block}")
    assert found.layer == f"sum{block}"
    # The stem alone, or four pixels more in each block.
    assert found.smallest == (5, 5)
    assert found.largest == (9 + 4 * block,) * 2


def test_sizes_inside_a_block_and_before_all():
    model = residual()
    inside = path_sizes(model, "conv2b")
    assert (inside.smallest, inside.largest) == ((9, 9), (17, 17))
    stem = path_sizes(model, "stem")
    assert stem.smallest == stem.largest == (5, 5)
    # The largest is the field itself.
    assert path_sizes(model).largest == receptive_field(model).size == (17, 17)


def test_sizes_where_shortcuts_stride():
    model = residual(stride=2)
    for block, largest in enumerate([5 + 2 + 4, 11 + 4 + 8, 23 + 8 + 16]):
        found = path_sizes(model, f"sum{block}")
        assert found.smallest == (5, 5)
        assert found.largest == (largest, largest)


def test_sizes_of_a_published_network():
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    found = path_sizes(model, "conv5_block3_out")
    # Stem of 7, pool of 3 two pixels apart; 483 is printed (Araujo et al. 2019).
    assert (found.smallest, found.largest) == ((11, 11), (483, 483))


def test_axes_are_distinguished():
    x = keras.Input((20, 20, 1))
    wide = layers.Conv2D(1, (1, 7), padding="same")(x)
    tall = layers.Conv2D(1, (5, 3), padding="same")(x)
    found = path_sizes(keras.Model(x, layers.Add(name="sum")([wide, tall])), "sum")
    assert (found.smallest, found.largest) == ((1, 3), (5, 7))


def test_paths_through_all_of_space_do_not_count():
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(3, 3, padding="same", name="conv")(x)
    gate = layers.Dense(3, name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    model = keras.Model(x, layers.Multiply(name="gated")([y, gate]))
    assert path_sizes(model, "gated").largest == (3, 3)
    with pytest.raises(InvalidInputError, match="'gate' is not reached without a layer") as caught:
        path_sizes(model, "gate")
    assert "Received: layer='gate'" in str(caught.value)
    with pytest.raises(UnknownLayerError):
        path_sizes(model, "nowhere")


# --- Layers that come too late -------------------------------------------------------------------


def too_late(stack: Sequence[tuple[str, int, int, bool]], size: int) -> tuple[str, ...]:
    """Layers with weights entered by fields larger than `size`: (name, kernel, stride, weights)."""
    field = jump = 1
    found = []
    for name, kernel, stride, weights in stack:
        if weights and kernel > 1 and field > size:
            found.append(name)
        field += (kernel - 1) * jump
        jump *= stride
    return tuple(found)


def vgg16() -> list[tuple[str, int, int, bool]]:
    stack = []
    for block, count in enumerate([2, 2, 3, 3, 3], start=1):
        stack += [(f"block{block}_conv{one + 1}", 3, 1, True) for one in range(count)]
        stack.append((f"block{block}_pool", 2, 2, False))
    return stack


@pytest.fixture(scope="module")
def vgg() -> Any:
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(None, None, 3))


# Fields that enter: 44, 60, 76 in block 4 and 100, 132, 164 in block 5, as the printed 212 of
# block5_pool has it (Araujo et al. 2019); border layers as in Richter et al. 2021.
LATE = {
    32: ["4_conv1", "4_conv2", "4_conv3", "5_conv1", "5_conv2", "5_conv3"],
    64: ["4_conv3", "5_conv1", "5_conv2", "5_conv3"],
    # A field as large as the input has not left it yet.
    100: ["5_conv2", "5_conv3"],
    99: ["5_conv1", "5_conv2", "5_conv3"],
    163: ["5_conv3"],
    164: [],
    224: [],
}


@pytest.mark.parametrize("size", LATE)
def test_late_layers_of_vgg16(vgg, size):
    expected = tuple(f"block{name}" for name in LATE[size])
    assert too_late(vgg16(), size) == expected
    assert unproductive_layers(vgg, input_shape=size) == expected


def test_late_layers_of_a_model_of_its_own_size():
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    # Dense layers do not look at neighbours.
    assert unproductive_layers(model) == tuple(f"block{name}" for name in LATE[32])


def plain(size: int | tuple[int, int], depth: int = 5) -> keras.Model:
    x = y = keras.Input((*((size, size) if isinstance(size, int) else size), 1))
    for layer in range(depth):
        y = layers.Conv2D(1, 5, padding="same", name=f"conv{layer}")(y)
    return keras.Model(x, y)


def test_every_axis_must_have_been_left():
    # Fields of 1, 5, 9, 13 and 17 enter.
    assert unproductive_layers(plain(8)) == ("conv2", "conv3", "conv4")
    assert unproductive_layers(plain((8, 14))) == ("conv4",)
    assert unproductive_layers(plain(8), input_shape=(14, 8)) == ("conv4",)
    assert unproductive_layers(plain(17)) == ()


def test_identities_keep_layers_productive():
    assert unproductive_layers(residual(6, size=8)) == ()
    # Without them the third block is late: 5, 7, 9, 11 and so on enter.
    x = y = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 5, padding="same", name="stem")(y)
    for conv in range(4):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv{conv}")(y)
    assert unproductive_layers(keras.Model(x, y)) == ("conv2", "conv3")


def test_windows_of_one_pixel_and_pools_are_not_late():
    x = y = keras.Input((4, 4, 3))
    y = layers.Conv2D(4, 5, padding="same", name="large")(y)
    y = layers.Conv2D(4, 1, name="point")(y)
    y = layers.MaxPooling2D(2, 1, padding="same", name="pool")(y)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Conv2D(4, (1, 3), padding="same", name="row")(y)
    assert unproductive_layers(keras.Model(x, y)) == ("row",)


def test_of_several_inputs_one_is_asked():
    a, b = keras.Input((4, 4, 3), name="a"), keras.Input((4, 4, 3), name="b")
    y = layers.Conv2D(4, 7, padding="same", name="first")(a)
    y = layers.Conv2D(4, 3, padding="same", name="second")(y)
    z = layers.Conv2D(4, 3, padding="same", name="third")(b)
    both = layers.Conv2D(4, 3, padding="same", name="both")(layers.Concatenate()([y, z]))
    model = keras.Model([a, b], both)
    assert unproductive_layers(model) == ("second", "both")
    assert unproductive_layers(model, input="b") == ()


def test_a_layer_that_cannot_be_measured_hides_only_what_is_behind():
    x = y = keras.Input((4, 4, 3))
    y = layers.Conv2D(4, 5, padding="same", name="large")(y)
    y = layers.Conv2D(4, 3, padding="same", name="late")(y)
    z = layers.Lambda(lambda x: ops.round(x), name="odd")(y)
    z = layers.Conv2D(4, 3, padding="same", name="behind")(z)

    def refused(call):
        raise UnsupportedLayerError(f"{call.name} cannot be measured")

    own = {layers.Lambda: refused}
    assert unproductive_layers(keras.Model(x, z), rules=own) == ("late",)
    assert unproductive_layers(keras.Model(x, z)) == ("late", "behind")


def test_a_model_of_open_size_needs_one():
    x = keras.Input((None, None, 1))
    model = keras.Model(x, layers.Conv2D(1, 3)(layers.Conv2D(1, 3)(x)))
    with pytest.raises(InvalidInputError, match="`input_shape` must be given"):
        unproductive_layers(model)
