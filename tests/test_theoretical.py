"""Theoretical fields of whole models: printed numbers, closed forms and hand-made cases."""

from __future__ import annotations

import csv
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import (
    expected,
    path_sizes,
    probe,
    projective_field,
    receptive_field,
    receptive_fields,
    tile_overlap,
)
from keras_erf.algebra.geometry import bounding_box
from keras_erf.errors import (
    InvalidInputError,
    KerasERFError,
    UnknownLayerError,
    UnsupportedLayerError,
)
from keras_erf.fields.theoretical import locate

# --- Printed numbers -----------------------------------------------------------------------------

# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
# 2019, table of section "Receptive fields of ... popular convnets": size, stride, padding.
PRINTED = {
    ("VGG16", "block5_pool"): (212, 32, 90),
    ("ResNet50", "conv5_block3_out"): (483, 32, 241),
    ("MobileNet", "conv_pw_13_relu"): (315, 32, 126),
}

# Rows of receptive_fields.csv of this shape; a row that is not in the file shows as a skip.
APPLICATIONS = [
    ("VGG16", "block4_conv3"),
    ("VGG16", "block5_conv3"),
    ("VGG16", "block5_pool"),
    ("VGG19", "block5_pool"),
    ("MobileNet", "conv_pw_13_relu"),
    ("ResNet50", "conv2_block3_out"),
    ("ResNet50", "conv3_block4_out"),
    ("ResNet50", "conv4_block6_out"),
    ("ResNet50", "conv5_block3_out"),
    ("ResNet101", "conv5_block3_out"),
    ("ResNet50V2", "post_relu"),
    ("InceptionV3", "mixed10"),
]
TCNS = [
    "tcn k=3 dilations=1-3-5 stacks=1",
    "tcn k=4 dilations=1-2-4-8-16-32 stacks=1",
    "tcn k=3 dilations=1-2-4-8-16 stacks=1",
    "tcn k=3 dilations=1-2-4 stacks=2",
    "tcn k=5 dilations=1-2 stacks=1",
]


def reversed_batch(x):
    """What no unit has a field of: another sample is seen."""
    return ops.flip(x, 0)


@pytest.fixture(scope="module")
def application() -> Iterator[Any]:
    """Builds a model of `keras.applications` once, without weights and without its head."""

    @cache
    def build(name: str, size: int | None) -> keras.Model:
        make = getattr(keras.applications, name)
        return make(weights=None, include_top=False, input_shape=(size, size, 3))

    yield build
    build.cache_clear()


@pytest.fixture(scope="module")
def table(shared_reference) -> list[dict[str, str]]:
    with open(shared_reference / "receptive_fields.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_table_is_tested(table):
    prefix = "keras.applications."
    rows = {(row["network"].removeprefix(prefix), row["layer"]) for row in table}
    ours = {*APPLICATIONS, *((name, "last step") for name in TCNS)}
    # The audio networks of the last row are no Keras models.
    assert {row for row in rows if not row[0].startswith("CP-ResNet")} == ours


@pytest.mark.parametrize(("name", "layer"), APPLICATIONS)
def test_applications_against_the_reference_table(table, application, name, layer):
    network = f"keras.applications.{name}"
    (row,) = [row for row in table if (row["network"], row["layer"]) == (network, layer)]
    field = receptive_field(application(name, int(row["resolution"])), layer)
    assert field.size == (int(row["size"]),) * 2
    assert field.stride == (int(row["stride"]),) * 2
    if row["padding"]:
        assert field.padding == (int(row["padding"]),) * 2
    assert field.status == "exact"


@pytest.mark.parametrize(("name", "layer"), PRINTED)
def test_applications_against_printed_numbers(application, name, layer):
    field = receptive_field(application(name, 224), layer)
    size, stride, padding = PRINTED[name, layer]
    assert (field.size, field.stride, field.padding) == ((size,) * 2, (stride,) * 2, (padding,) * 2)
    # Section "Computing receptive field region" there: unit u covers -P + u S and what follows.
    for unit in ((0, 0), (6, 3)):
        expected = tuple((u * stride - padding, u * stride - padding + size) for u in unit)
        assert field.box(unit) == expected


def test_the_size_of_the_input_does_not_matter(application):
    # Even and odd sizes put the padding of strided layers in other places.
    for size in (224, 321):
        field = receptive_field(application("ResNet50", size), "conv5_block3_out")
        assert (field.size, field.stride) == ((483, 483), (32, 32))


def tcn(kernel: int, dilations: Sequence[int], stacks: int, length: int | None) -> keras.Model:
    """Residual blocks of two causal convolutions, as in Bai, Kolter and Koltun 2018, figure 1."""
    x = start = keras.Input((length, 2))
    for dilation in list(dilations) * stacks:
        y = x
        for _ in range(2):
            y = layers.Conv1D(3, kernel, padding="causal", dilation_rate=dilation)(y)
            y = layers.SpatialDropout1D(0.1)(layers.ReLU()(y))
        x = layers.ReLU()(layers.Add()([y, layers.Conv1D(3, 1)(x)]))
    return keras.Model(start, x)


@pytest.mark.parametrize("name", TCNS)
def test_tcn_against_its_closed_form_and_the_table(table, name):
    kernel, *dilations, stacks = map(int, re.findall(r"\d+", name))
    expected = 1 + 2 * (kernel - 1) * stacks * sum(dilations)
    (row,) = [row for row in table if row["network"] == name]
    assert expected == int(row["size"])
    length = 500
    field = receptive_field(tcn(kernel, dilations, stacks, length), unit=length - 1)
    assert (field.size, field.stride) == ((expected,), (1,))
    # Causal: the last step sees itself and what was before.
    assert field.box() == ((length - expected, length),)
    assert field.padding == (expected - 1,)


def test_tcn_sees_the_future_nowhere():
    field = receptive_field(tcn(3, (1, 2, 4), 1, 40))
    for step in range(40):
        assert field.visible((step,)) == ((max(step - 28, 0), step + 1),)


# --- The centre unit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        "conv1_relu",
        "pool1_pool",
        "conv2_block3_out",
        "conv3_block4_out",
        "conv4_block6_out",
        "conv5_block3_out",
    ],
)
def test_the_centre_unit_of_resnet_is_near_the_image_s_centre(application, layer):
    field = receptive_field(application("ResNet50", 224), layer)
    for center, stride in zip(field.center(), field.stride, strict=True):
        assert abs(center - 111.5) <= stride / 2
    middle = tuple(size // 2 for size in field.output_size)
    for here, there in zip(field.center(), field.center(middle), strict=True):
        assert abs(here - 111.5) <= abs(there - 111.5)


@pytest.mark.parametrize(
    ("name", "layer", "center"),
    [
        ("ResNet50", "conv5_block3_out", 96.0),
        ("MobileNet", "conv_pw_13_relu", 127.0),
        ("VGG16", "block5_pool", 111.5),
    ],
)
def test_the_middle_unit_is_not_at_the_image_s_centre(application, name, layer, center):
    field = receptive_field(application(name, 224), layer, unit=(3, 3))
    assert field.center() == (center, center)


def nearest(model: keras.Model, layer: Any = None) -> tuple[int, ...]:
    """The centre unit by trying all; along one axis only."""
    field = receptive_field(model, layer)
    (size,), (output,) = field.input_size, field.output_size
    far = [abs(sum(field.box((unit,))[0]) - size) for unit in range(output)]
    equals = [unit for unit in range(output) if far[unit] == min(far)]
    return (equals[len(equals) // 2],)


def line(*made: Any, length: int = 24) -> keras.Model:
    x = y = keras.Input((length, 2))
    for layer in made:
        y = layer(y)
    return keras.Model(x, y)


@pytest.mark.parametrize("length", [23, 24, 25])
@pytest.mark.parametrize(
    "made",
    [
        [layers.Conv1D(2, 3, 2, padding="same"), layers.Conv1D(2, 2, 3, padding="same")],
        [layers.Conv1D(2, 5, padding="causal"), layers.AveragePooling1D(2)],
        [layers.Cropping1D((7, 0)), layers.ZeroPadding1D((0, 4))],
        [layers.AveragePooling1D(2), layers.UpSampling1D(3)],
        [layers.Conv1D(2, 1, 2, padding="same"), layers.Conv1DTranspose(2, 3, 2)],
        [layers.Conv1D(2, 4, 2, padding="same"), layers.UpSampling1D(2), layers.Conv1D(2, 3, 2)],
    ],
)
def test_the_centre_unit_is_the_nearest_of_all(made, length):
    # Fresh layers: those of the table are shared by its rows.
    model = line(*(type(one).from_config(one.get_config()) for one in made), length=length)
    assert receptive_field(model).unit == nearest(model)


def test_of_two_units_as_near_the_later_is_the_centre():
    # Fields of two pixels at 0-1, 2-3, 4-5, 6-7: the input's centre is between the middle ones.
    assert receptive_field(line(layers.AveragePooling1D(2), length=8)).unit == (2,)


def test_of_more_units_as_near_the_middle_one_is_the_centre():
    # Pixels 3 and 4 are as near; units 9 to 14 copy them.
    assert receptive_field(line(layers.UpSampling1D(3), length=8)).unit == (12,)
    # Units 12 to 15 copy the mean of the pixels around the centre.
    x = keras.Input((28, 2))
    y = layers.UpSampling1D(4)(layers.AveragePooling1D(4)(x))
    assert receptive_field(keras.Model(x, y)).unit == (14,)


def test_the_centre_unit_where_paths_move_at_different_speed():
    x = keras.Input((24, 2))
    fast = layers.Cropping1D((0, 1))(layers.Conv1D(2, 1, 3)(x))
    slow = layers.Cropping1D((0, 17))(x)
    model = keras.Model(x, layers.Add()([slow, fast]))
    # Unit u sees pixels u and 3 u: its centre is 2 u, and 12 is as near 11.5 as it gets.
    field = receptive_field(model)
    assert field.unit == nearest(model) == (6,)
    assert field.box() == ((6, 19),)


def test_the_centre_unit_of_pieces_put_side_by_side():
    x = keras.Input((20, 2))
    pieces = [layers.Cropping1D((10, 0))(x), layers.Cropping1D((0, 10))(x)]
    model = keras.Model(x, layers.Concatenate(axis=1)(pieces))
    # The halves have changed places: pixel 10 is unit 0, pixel 9 is unit 19.
    assert receptive_field(model).unit == nearest(model) == (19,)


def test_the_centre_unit_of_an_up_sampled_map_of_two_axes():
    x = keras.Input((6, 6, 1))
    model = keras.Model(x, layers.Conv2DTranspose(2, 1, 2)(x))
    field = receptive_field(model)
    # Odd units fall between the pixels and see nothing.
    assert field.unit == (6, 6)
    assert field.box() == ((3, 4), (3, 4))
    with pytest.raises(InvalidInputError, match="sees nothing"):
        field.box((5, 6))


# --- Global paths --------------------------------------------------------------------------------


def squeeze_excite(size: int = 9) -> keras.Model:
    x = keras.Input((size, size, 3))
    y = layers.Conv2D(3, 3, padding="same", name="conv")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(y)
    gate = layers.Conv2D(3, 1, activation="sigmoid", name="excite")(gate)
    y = layers.Multiply(name="gated")([y, gate])
    return keras.Model(x, layers.Conv2D(3, 3, padding="same", name="last")(y))


def test_a_global_path_makes_the_field_the_whole_input():
    field = receptive_field(squeeze_excite(), "last")
    assert field.status == "whole"
    assert field.box() == field.box((0, 8)) == ((0, 9), (0, 9))
    assert field.size == (9, 9)
    assert field.padding == (0, 0)
    assert field.stride == (1, 1)
    assert field.unit == (4, 4)
    assert field.support().all()
    assert field.visible((0, 0)) == ((0, 9), (0, 9))


def test_without_global_paths_the_local_field_is_left():
    model = squeeze_excite()
    field = receptive_field(model, "last", through_global=False)
    assert (field.status, field.size, field.padding) == ("exact", (5, 5), (2, 2))
    assert field.box((0, 4)) == ((-2, 3), (2, 7))
    assert field.visible((0, 4)) == ((0, 3), (2, 7))
    assert field.support().sum() == 25
    assert receptive_field(model, "conv").status == "exact"


def test_a_layer_behind_a_global_one_has_no_local_field():
    model = squeeze_excite()
    assert receptive_field(model, "excite").status == "whole"
    with pytest.raises(InvalidInputError, match="sees nothing of the input without the layers"):
        receptive_field(model, "excite", through_global=False)


def test_an_axis_that_is_gathered_alone():
    x = keras.Input((7, 9, 3))
    y = layers.Conv2D(4, 3, padding="same")(x)
    model = keras.Model(x, layers.LayerNormalization(axis=1)(y))
    field = receptive_field(model, unit=(2, 5))
    # All rows, whatever the unit; columns as the convolution has them.
    assert field.box() == field.box((6, 5)) == ((0, 7), (4, 7))
    assert (field.size, field.padding, field.stride) == ((7, 3), (0, 1), (1, 1))
    assert field.status == "exact"
    local = receptive_field(model, unit=(2, 5), through_global=False)
    assert local.box() == ((1, 4), (4, 7))


def test_a_kernel_larger_than_the_input_is_no_global_path():
    x = keras.Input((7, 7, 1))
    field = receptive_field(keras.Model(x, layers.Conv2D(1, 15, padding="same")(x)))
    assert (field.status, field.box()) == ("exact", ((-4, 11), (-4, 11)))
    assert field.support().all()


def summary(x: Any) -> Any:
    """A token of everything in front of the others."""
    return layers.Concatenate(axis=1)([layers.GlobalAveragePooling1D(keepdims=True)(x), x])


def single_steps(x: Any) -> Any:
    return layers.Concatenate(axis=1)(
        [layers.Cropping1D((0, 19))(x), layers.Cropping1D((5, 14))(x)]
    )


def tangled(x: Any) -> Any:
    """Steps in an order of no rule; what surrounds them is padding."""
    chosen = layers.Lambda(lambda x: ops.take(x, np.array([0, 9, 1, 2, 4]), axis=1))(x)
    return layers.Conv1D(2, 3, padding="same")(chosen)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (summary, [(0, 20), (0, 1), (1, 2), (2, 3)]),
        # Pieces of one step are not taken for each other.
        (single_steps, [(0, 1), (5, 6)]),
        (tangled, [None, (0, 10), (1, 10), (1, 5), (2, 5)]),
        # Around what is gathered, and between what is spread, there is nothing.
        (
            lambda x: layers.ZeroPadding1D(1)(layers.GlobalAveragePooling1D(keepdims=True)(x)),
            ["nothing", (0, 20), "nothing"],
        ),
        (
            lambda x: layers.Conv1DTranspose(2, 1, 2)(
                layers.Conv1DTranspose(2, 2, 2)(layers.GlobalAveragePooling1D(keepdims=True)(x))
            ),
            [(0, 20), "nothing", (0, 20), "nothing"],
        ),
    ],
)
def test_a_unit_has_the_field_it_sees_and_no_other_s(build, expected):
    x = keras.Input((20, 2))
    model = keras.Model(x, build(x))
    for index, box in enumerate(expected):
        if box == "nothing":
            with pytest.raises(InvalidInputError, match="sees nothing"):
                receptive_field(model, model.output, unit=(index,))
            continue
        field = receptive_field(model, model.output, unit=(index,))
        if box is not None:
            assert field.box() == field.visible() == (box,)
        assert (field.status == "whole") == (box == (0, 20))


def by_columns(x: Any) -> Any:
    """All rows together, every second column by itself."""
    return layers.Dense(3)(ops.mean(layers.Conv2D(4, 3, strides=2, padding="same")(x), axis=1))


def space_to_depth(x: Any) -> Any:
    y = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((8, 2, 16, 2, 3))(x))
    return layers.Reshape((8, 16, 12))(y)


@pytest.mark.parametrize(
    ("build", "unit", "box", "stride", "padding"),
    [
        (by_columns, (3,), ((0, 16), (6, 9)), (0, 2), (0, 0)),
        (space_to_depth, (3, 4), ((6, 8), (8, 10)), (2, 2), (0, 0)),
        (
            lambda x: layers.Conv2D(2, 3, padding="same")(space_to_depth(x)),
            (0, 4),
            ((-2, 4), (6, 12)),
            (2, 2),
            (2, 2),
        ),
    ],
    ids=["columns", "space to depth", "convolution behind it"],
)
def test_each_axis_has_the_figures_of_its_own(build, unit, box, stride, padding):
    x = keras.Input((16, 32, 3))
    field = receptive_field(keras.Model(x, build(x)), unit=unit)
    assert (field.box(), field.stride, field.padding) == (box, stride, padding)
    # Where all rows are seen, the columns alone tell which unit is the centre one.
    center = receptive_field(keras.Model(x, build(x)))
    assert abs(center.center()[1] - 15.5) <= stride[1] / 2


def test_what_a_recurrence_sees_entirely_is_whole():
    x = keras.Input((12, 2))
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
    assert receptive_field(keras.Model(x, both(x)), unit=(3,)).status == "whole"
    model = keras.Model(x, layers.LSTM(2, return_sequences=True)(x))
    assert receptive_field(model, unit=(11,)).status == "whole"
    assert receptive_field(model, unit=(3,)).status == "exact"


@pytest.mark.parametrize("wrong", [[1], {layers.Conv2D: 3}, {"conv": len}, 3])
def test_rules_are_functions_by_class(wrong):
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, layers.Conv2D(2, 3)(x))
    with pytest.raises(InvalidInputError, match="`rules` must be functions by layer class"):
        receptive_field(model, rules=wrong)
    with pytest.raises(InvalidInputError, match="`rules` must give the views"):
        receptive_field(model, rules={layers.Conv2D: lambda call: None})


def two_kernels(x: Any) -> Any:
    """Channels 0 and 1 see three steps, 2 and 3 seven."""
    return layers.Concatenate()(
        [layers.Conv1D(2, 3, padding="same")(x), layers.Conv1D(2, 7, padding="same")(x)]
    )


@pytest.mark.parametrize(
    ("chosen", "size"), [(slice(0, 2), 3), (slice(2, 4), 7), (slice(1, 3), 7), (slice(0, 1), 3)]
)
def test_of_channels_that_see_more_than_others_only_the_chosen_ones_count(chosen, size):
    x = keras.Input((16, 2))
    model = keras.Model(x, layers.ReLU()(two_kernels(x)[..., chosen]))
    field = receptive_field(model, unit=(8,))
    reach = size // 2
    assert field.box() == field.visible() == ((8 - reach, 8 + reach + 1),)
    assert (field.size, field.status) == ((size,), "exact")
    # At the edge, how far it continues into the padding is not known.
    edge = receptive_field(model, unit=(0,))
    assert edge.visible() == ((0, reach + 1),)
    assert edge.status == ("exact" if size == 7 else "bound")
    # All channels together are wide again.
    both = keras.Model(x, layers.Conv1D(1, 1)(two_kernels(x)))
    assert (receptive_field(both, unit=(0,)).size, receptive_field(both).status) == ((7,), "exact")


def test_columns_side_by_side_of_a_map_of_gathered_columns():
    x = keras.Input((6, 6, 2))
    means = layers.AveragePooling2D((1, 2))(layers.AveragePooling2D((1, 3))(x))
    piece = layers.Cropping2D(((0, 0), (2, 3)))(x)
    model = keras.Model(x, layers.Concatenate(axis=2)([means, piece]))
    assert receptive_field(model, unit=(4, 0)).box() == ((4, 5), (0, 6))
    assert receptive_field(model, unit=(4, 1)).box() == ((4, 5), (2, 3))


# --- Sizes ---------------------------------------------------------------------------------------


def convolutional(*spatial: int | None, padding: str = "same", depth: int = 3) -> keras.Model:
    rank = len(spatial)
    x = y = keras.Input((*spatial, 1))
    for number in range(depth):
        conv = getattr(layers, f"Conv{rank}D")
        y = conv(1, 5, 2, padding=padding, name=f"conv{number}")(y)
    return keras.Model(x, y)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (lambda: convolutional(None, None), 29),
        (lambda: convolutional(None, depth=6), 253),
        (lambda: convolutional(None, None, None, depth=2), 13),
        (lambda: convolutional(None, None, depth=7), 509),
        (lambda: convolutional(None, None, padding="valid", depth=5), 125),
        (lambda: tcn(4, (1, 2, 4, 8, 16, 32), 1, None), 379),
    ],
)
def test_undefined_sizes_are_made_to_hold_the_field(model, size):
    field = receptive_field(model())
    assert set(field.size) == {size}
    for (start, stop), extent in zip(field.box(), field.input_size, strict=True):
        assert 0 <= start < stop <= extent
    # Not wastefully so.
    assert max(field.input_size) < 3 * size + 100


def test_the_last_layer_is_not_lost_to_a_small_input():
    # 509 pixels are the least that gives one position, and 64 is where the search begins.
    model = convolutional(None, None, padding="valid", depth=7)
    field = receptive_field(model)
    assert field.layer == "conv6"
    assert min(field.output_size) > 1
    names = [one.layer for one in receptive_fields(model).fields]
    assert names == [f"conv{number}" for number in range(7)]


def test_sizes_that_are_defined_stay():
    x = keras.Input((None, 20, 1))
    field = receptive_field(keras.Model(x, layers.Conv2D(1, 3, padding="same")(x)))
    assert field.input_size[1] == 20


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "most"),
    [((None, 64, 80), (5, 3, 3), 1, 8), ((None, 513), (7, 9), 1, 16), ((40, None), 5, 4, 16)],
)
def test_an_undefined_size_beside_definite_ones_is_as_small_as_the_field_allows(
    shape, kernel, stride, most
):
    x = keras.Input((*shape, 1))
    conv = getattr(layers, f"Conv{len(shape)}D")
    y = conv(1, kernel, stride, padding="same")(x)
    field = receptive_field(keras.Model(x, y))
    axis = shape.index(None)
    start, stop = field.box()[axis]
    assert 0 <= start < stop <= field.input_size[axis] <= most
    assert [size for place, size in enumerate(field.input_size) if place != axis] == [
        size for size in shape if size is not None
    ]


def test_undefined_sizes_with_a_global_path():
    x = keras.Input((None, None, 3))
    y = layers.Multiply()([x, layers.Dense(3)(layers.GlobalAveragePooling2D(keepdims=True)(x))])
    field = receptive_field(keras.Model(x, y))
    assert field.status == "whole"
    assert field.box() == tuple((0, size) for size in field.input_size)


def test_undefined_sizes_of_inputs_of_different_rank():
    image, steps = keras.Input((None, None, 3), name="image"), keras.Input((None, 2), name="steps")
    code = layers.GlobalAveragePooling1D()(layers.Conv1D(3, 3)(steps))
    model = keras.Model([image, steps], layers.Multiply()([layers.Conv2D(3, 3)(image), code]))
    assert receptive_field(model).size == (3, 3)
    assert receptive_field(model, input="steps").status == "whole"


@pytest.mark.parametrize("given", [(40, 30), [40, 30], (np.int64(40), 30)])
def test_another_size_may_be_asked_for(given):
    model = convolutional(16, 16)
    field = receptive_field(model, input_shape=given)
    assert field.input_size == (40, 30)
    assert field.output_size == (5, 4)
    assert field.size == receptive_field(model).size
    assert receptive_field(model).input_size == (16, 16)


def test_one_number_stands_for_every_axis():
    assert receptive_field(convolutional(16, 16), input_shape=40).input_size == (40, 40)


def pyramid(left: Sequence[int | None], right: Sequence[int | None]) -> keras.Model:
    """An image, and a second one of another size that is brought to the first one's."""
    a, b = keras.Input((*left, 3), name="a"), keras.Input((*right, 3), name="b")
    fine = layers.Conv2D(4, 3, 2, padding="same", name="fine")(a)
    coarse = layers.UpSampling2D((2, 1), name="coarse")(layers.Conv2D(4, 3, padding="same")(b))
    return keras.Model([a, b], layers.Add(name="sum")([fine, coarse]))


def test_other_inputs_keep_their_proportion():
    model = pyramid((32, 24), (8, 12))
    field = receptive_field(model, input_shape=(64, 36))
    assert field.input_size == (64, 36)
    assert field.output_size == (32, 18)
    other = receptive_field(model, input="b", input_shape=(16, 18))
    assert other.input_size == (16, 18)
    assert other.output_size == (32, 18)
    assert (other.size, other.stride) == ((3, 3), (Fraction(1, 2), 1))
    # One number is for the analysed input; the other one follows.
    assert receptive_field(model, input_shape=48).output_size == (24, 24)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"input_shape": (34, 24)}, "'b' has 8 pixels where the analysed one has 32"),
        ({"input_shape": (32, 25)}, "'b' has 12 pixels where the analysed one has 24"),
    ],
)
def test_a_proportion_that_is_not_whole_is_refused(options, sizes):
    with pytest.raises(InvalidInputError, match=sizes) as caught:
        receptive_field(pyramid((32, 24), (8, 12)), **options)
    message = str(caught.value)
    assert message.startswith("`input_shape` must keep the inputs' proportions in whole pixels")
    assert message.endswith(f"Received: input_shape={options['input_shape']!r}")


def test_inputs_of_undefined_size_get_the_same_one():
    a, b = keras.Input((None, None, 3), name="a"), keras.Input((16, None, 3), name="b")
    y = layers.Add()([layers.Conv2D(3, 3, padding="same")(a), b])
    field = receptive_field(keras.Model([a, b], y), input_shape=(16, 20))
    assert field.input_size == field.output_size == (16, 20)
    field = receptive_field(keras.Model([a, b], y), input="b", input_shape=(24, 20))
    assert field.output_size == (24, 20)


# --- Inputs, layers and nesting ------------------------------------------------------------------


def two_inputs() -> keras.Model:
    left, right = keras.Input((20, 20, 3), name="left"), keras.Input((20, 20, 3), name="right")
    a = layers.Conv2D(4, 3, padding="same", name="a")(left)
    b = layers.Conv2D(4, 7, padding="same", name="b")(right)
    return keras.Model([left, right], layers.Add(name="sum")([a, b]))


def test_each_input_has_its_own_field():
    model = two_inputs()
    assert receptive_field(model).input == "left"
    assert receptive_field(model).size == (3, 3)
    assert receptive_field(model, input="right").size == (7, 7)
    with pytest.raises(InvalidInputError, match=r"`layer` 'b' does not depend on input 'left'"):
        receptive_field(model, "b")
    table = receptive_fields(model, input="right")
    assert [one.layer for one in table.fields] == ["b", "sum"]


def test_an_unknown_layer_behind_another_input_does_no_harm():
    left, right = keras.Input((8, 2), name="left"), keras.Input((8, 2), name="right")
    strange = layers.Lambda(reversed_batch, name="strange")(right)
    y = layers.Concatenate(name="both")([strange, layers.Conv1D(2, 3, padding="same")(left)])
    model = keras.Model([left, right], layers.Conv1D(2, 3, padding="same")(y))
    assert receptive_field(model).size == (5,)
    with pytest.raises(UnsupportedLayerError, match="'strange'"):
        receptive_field(model, model.output, input="right")


def backbone(name: str = "backbone") -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(3, 3, 2, padding="same", name="conv1"),
            layers.Conv2D(3, 3, padding="same", name="conv2"),
        ],
        name=name,
    )


def test_nested_models_are_looked_into():
    x = keras.Input((32, 32, 3))
    inner = backbone()
    middle_x = keras.Input((32, 32, 3))
    middle = keras.Model(middle_x, layers.ReLU(name="relu")(inner(middle_x)), name="middle")
    model = keras.Model(x, layers.Conv2D(1, 3, name="head")(middle(x)))
    for layer in ("middle/backbone/conv2", inner.get_layer("conv2"), inner.layers[-1].output):
        field = receptive_field(model, layer)
        assert (field.layer, field.size) == ("middle/backbone/conv2", (7, 7))
    for layer in ("middle", middle, "middle/relu"):
        assert receptive_field(model, layer).size == (7, 7)
    assert receptive_field(model, "head").size == (11, 11)
    assert receptive_field(model, "middle/backbone/conv1").size == (3, 3)


def test_a_layer_called_twice_has_a_field_for_each_call():
    x = keras.Input((16, 2), name="x")
    conv = layers.Conv1D(2, 3, padding="same", name="conv")
    model = keras.Model(x, conv(conv(x)))
    assert receptive_field(model, "conv:0").size == (3,)
    assert receptive_field(model, "conv:1").size == (5,)
    with pytest.raises(UnknownLayerError, match="called 2 times: name one of conv:0, conv:1"):
        receptive_field(model, conv)
    assert receptive_field(model, model.output).size == (5,)


def test_a_model_called_twice_has_a_field_for_each_call():
    x = keras.Input((16, 16, 3), name="x")
    inner = backbone()
    model = keras.Model(x, inner(inner(x)))
    assert receptive_field(model, "backbone:0/conv2").size == (7, 7)
    assert receptive_field(model, "backbone:1/conv2").size == (7 + 2 * 6, 7 + 2 * 6)
    assert receptive_field(model, "backbone:1/conv2").stride == (4, 4)


def test_an_input_layer_sees_itself():
    field = receptive_field(two_inputs(), "left", unit=(3, 4))
    assert field.box() == ((3, 4), (4, 5))
    assert (field.size, field.stride, field.padding) == ((1, 1), (1, 1), (0, 0))


def test_without_a_layer_it_is_the_last_with_more_than_one_position():
    model = keras.applications.MobileNet(weights=None, input_shape=(96, 96, 3), classes=7)
    assert receptive_field(model).layer == "conv_pw_13_relu"
    flat = keras.Model(model.input, layers.Flatten()(model.get_layer("conv_pw_13_relu").output))
    assert receptive_field(flat).layer == "conv_pw_13_relu"


def test_misaligned_branches_are_united():
    x = keras.Input((16, 1))
    # SAME puts nothing before an even axis of stride 2 and 3 taps; the pool starts 2 before.
    right = layers.Conv1D(1, 3, 2, padding="same")(x)
    left = layers.AveragePooling1D(2, 2)(layers.ZeroPadding1D((2, 0))(x))
    left = layers.Cropping1D((0, 1))(left)
    field = receptive_field(keras.Model(x, layers.Concatenate()([right, left])), unit=(4,))
    assert field.box() == ((6, 11),)
    assert (field.size, field.stride, field.padding) == ((5,), (2,), (2,))
    # Pixels 6 and 7 by the pool, 8 to 10 by the convolution.
    assert np.flatnonzero(field.support()).tolist() == [6, 7, 8, 9, 10]
    assert field.visible((0,)) == ((0, 3),)


def test_the_stride_of_an_up_sampled_map_is_a_fraction():
    field = receptive_field(line(layers.UpSampling1D(3), layers.Conv1D(2, 1, 2)))
    assert field.stride == (Fraction(2, 3),)
    assert receptive_field(line(layers.AveragePooling1D(4), layers.UpSampling1D(2))).stride == (2,)


def test_sequences_as_images_of_one_channel():
    # A layer that adds the channel axis; the convolution says which axis that is.
    x = keras.Input((12, 8))
    y = layers.Conv2D(4, 3, name="conv")(layers.Reshape((12, 8, 1))(x))
    field = receptive_field(keras.Model(x, y), unit=(2, 3))
    assert field.output_size == (10, 6)
    # The input's last axis counts as its channels.
    assert field.box() == ((2, 5),)


def test_a_deep_model_of_nested_models():
    # Deeper than Python's stack.
    parts = [[layers.MaxPooling1D(3, 1, "same") for _ in range(400)] for _ in range(3)]
    inner = [keras.Sequential([keras.Input((8, 1)), *part]) for part in parts]
    model = keras.Sequential([keras.Input((8, 1)), *inner])
    assert receptive_field(model).size == (2401,)


def test_locate_finds_the_tensor_and_the_axes():
    x = keras.Input((3, 16, 12))
    conv = layers.Conv2D(4, 3, data_format="channels_first", name="conv")
    target = locate(keras.Model(x, conv(x)), "conv", unit=(1, 2))
    assert target.spatial_axes == (1, 2)
    assert target.graph.tensors[target.tensor].shape == (4, 14, 10)
    assert target.input == target.graph.inputs[0]
    assert target.receptive_field.box() == ((1, 4), (2, 5))


# --- Units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [(2, 3), [2, 3], (np.int32(2), np.int64(3))])
def test_a_unit_is_an_index_for_each_axis(unit):
    field = receptive_field(convolutional(32, 32, depth=1), unit=unit)
    assert field.unit == (2, 3)
    assert all(type(index) is int for index in field.unit)
    assert field.box() == ((3, 8), (5, 10))
    assert field.box((0, 0)) == ((-1, 4), (-1, 4))


@pytest.mark.parametrize(
    "unit", [(16, 0), (-1, 0), (1,), (1, 2, 3), (1.0, 2), 3, (True, 2), "middle", None]
)
def test_a_unit_outside_the_map_is_refused(unit):
    model = convolutional(32, 32, depth=1)
    with pytest.raises(InvalidInputError, match=r"`unit`.*'center'.*\(16, 16\).*Received: unit="):
        receptive_field(model, unit=unit)
    if unit is not None:
        with pytest.raises(InvalidInputError, match="`unit`"):
            receptive_field(model).support(unit)


# --- The table -----------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_map_in_order():
    model = squeeze_excite()
    table = receptive_fields(model)
    assert [one.layer for one in table.fields] == ["conv", "gated", "last"]
    assert table.skipped == ()
    for row in table.fields:
        assert row == receptive_field(model, row.layer)
    local = receptive_fields(model, through_global=False)
    assert [one.size for one in local.fields] == [(3, 3), (3, 3), (5, 5)]


def test_the_table_as_a_frame():
    frame = receptive_fields(convolutional(32, 24, depth=2)).to_frame()
    assert frame.to_dict("records") == [
        {
            "layer": f"conv{number}",
            "output_size": output,
            "size": (size, size),
            "size_range": ((size, size), (size, size)),
            "size_median": (size, size),
            "stride": (stride, stride),
            "padding": (padding, padding),
            "center": center,
            "status": "exact",
        }
        for number, output, size, stride, padding, center in [
            (0, (16, 12), 5, 2, 1, (15.0, 11.0)),
            (1, (8, 6), 13, 4, 3, (15.0, 11.0)),
        ]
    ]


def test_the_table_says_what_it_skipped_and_why():
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(3, 3, name="first")(x)
    y = layers.Lambda(reversed_batch, name="strange")(y)
    y = layers.Conv2D(3, 3, name="behind")(y)
    table = receptive_fields(keras.Model(x, y))
    assert [one.layer for one in table.fields] == ["first"]
    assert [name for name, _ in table.skipped] == ["strange", "behind"]
    assert all("'strange'" in reason for _, reason in table.skipped)


def test_the_table_at_a_size_some_layers_do_not_fit():
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(1, 3, name="conv")(x)
    y = layers.Reshape((6, 1, 6, 1), name="fixed")(y)
    table = receptive_fields(keras.Model(x, y), input_shape=(20, 20))
    assert [one.layer for one in table.fields] == ["conv"]
    assert [name for name, _ in table.skipped] == ["fixed"]
    assert "`input_shape` does not fit" in table.skipped[0][1]


# --- Mistakes ------------------------------------------------------------------------------------


class Subclassed(keras.Model):
    """A model without a graph."""

    def call(self, x):
        return x


def headed() -> keras.Model:
    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, name="conv_first")(x)
    y = layers.Conv2D(4, 3, name="conv_second")(y)
    return keras.Model(x, layers.Dense(2, name="head")(layers.Flatten(name="flat")(y)))


def odd(layer: layers.Layer) -> keras.Model:
    x = keras.Input((8, 8, 3))
    return keras.Model(x, layers.Conv2D(2, 1, name="after")(layer(x)))


def resizing() -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = layers.Reshape((6, 6, 4, 1), name="fixed")(layers.Conv2D(4, 3)(x))
    return keras.Model(x, layers.Conv3D(2, 1, name="after")(y))


def vector() -> keras.Model:
    x = keras.Input((8,), name="features")
    return keras.Model(x, layers.Dense(3, name="dense")(x))


MISTAKES = {
    "unknown layer": (
        headed,
        {"layer": "conv_frist"},
        UnknownLayerError,
        r"`layer`.*Nearest names: conv_first.*layer='conv_frist'",
    ),
    "layer of another model": (
        headed,
        {"layer": layers.ReLU(name="foreign")},
        UnknownLayerError,
        r"`layer`.*The last: .*'foreign'",
    ),
    "unknown input": (headed, {"input": "picture"}, InvalidInputError, r"`input`.*: image\. "),
    "too few sizes": (
        headed,
        {"input_shape": (8,)},
        InvalidInputError,
        "`input_shape`.*2 positive",
    ),
    "sizes with channels": (
        headed,
        {"input_shape": (8, 8, 3)},
        InvalidInputError,
        r"without batch and channels.*\(8, 8, 3\)",
    ),
    "size of zero": (headed, {"input_shape": (8, 0)}, InvalidInputError, "`input_shape`"),
    "size that is no integer": (
        headed,
        {"input_shape": (8.0, 8)},
        InvalidInputError,
        "`input_shape`",
    ),
    "size of text": (headed, {"input_shape": "88"}, InvalidInputError, "`input_shape`"),
    "size that is a boolean": (
        headed,
        {"input_shape": True},
        InvalidInputError,
        "`input_shape` must give 2 positive.*input_shape=True",
    ),
    "sizes that are booleans": (
        headed,
        {"input_shape": (True, 8)},
        InvalidInputError,
        "`input_shape`",
    ),
    "size too small": (
        headed,
        {"input_shape": (3, 3), "layer": "conv_second"},
        InvalidInputError,
        "`input_shape` does not fit the model: conv_second",
    ),
    "size that does not fit": (
        resizing,
        {"input_shape": (20, 20), "layer": "after"},
        InvalidInputError,
        "`input_shape` does not fit the model: fixed: .*an earlier layer.*layer='after'",
    ),
    "no map at all": (
        vector,
        {},
        InvalidInputError,
        "`layer` must be a layer with more than one position",
    ),
    "input without axes": (
        vector,
        {"layer": "dense"},
        InvalidInputError,
        r"`input` must have spatial axes.*input='features' of shape \(8,\)",
    ),
    "no model": (lambda: 50, {}, InvalidInputError, "`model` must be a Keras 3 model"),
    "no model's name": (lambda: "ResNet5O", {}, InvalidInputError, "`model` must be a model file"),
    "subclassed model": (Subclassed, {}, InvalidInputError, "`model` must be built"),
    "model not built": (
        lambda: keras.Sequential([layers.Conv2D(2, 3)]),
        {},
        InvalidInputError,
        "`model` must be built",
    ),
    "lambda": (
        lambda: odd(layers.Lambda(reversed_batch, name="odd")),
        {"layer": "after"},
        UnsupportedLayerError,
        r"'odd' is unknown and cannot be measured: it mixes.*Pass a rule by `rules=",
    ),
    "no layer that is known": (
        lambda: odd(layers.Lambda(reversed_batch, name="odd")),
        {},
        UnsupportedLayerError,
        "'odd' is unknown and cannot be measured",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_with_the_remedy(name):
    make, options, error, expected = MISTAKES[name]
    with pytest.raises(error, match=expected) as caught:
        receptive_field(make(), **options)
    assert isinstance(caught.value, KerasERFError)
    message = str(caught.value)
    assert "\n" not in message
    assert "Received: " in message


def test_a_vector_has_a_field_beside_a_layer_without_a_rule():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, name="conv")(x)
    z = layers.Lambda(reversed_batch, name="strange")(y)
    model = keras.Model(x, [z, layers.Dense(2, name="head")(layers.Flatten()(y))])
    field = receptive_field(model, "head")
    assert (field.size, field.unit, field.status) == ((8, 8), (), "whole")


# --- Shapes that are left open -------------------------------------------------------------------


def opened(call: Any, *, size: int | None = 32) -> keras.Model:
    """A 3x3 convolution, a `Lambda` that leaves its shape open, and a 5x5 convolution."""
    x = keras.Input((size, size, 1))
    y = layers.Conv2D(2, 3, padding="same", name="first")(x)
    y = layers.Lambda(call, output_shape=(None, None, 2), name="open")(y)
    return keras.Model(x, layers.Conv2D(2, 5, padding="same", name="last")(y))


def test_a_shape_left_open_is_found_by_a_run():
    model = opened(lambda y: 2 * y, size=16)
    named = receptive_field(model, "last")
    # 3 + 4: both convolutions.
    assert (named.size, named.padding) == ((7, 7), (3, 3))
    assert receptive_field(model) == named
    assert path_sizes(model).layer == "last"
    assert path_sizes(model).largest == (7, 7)
    overlap = tile_overlap(model)
    assert (overlap.layer, overlap.before, overlap.after) == ("last", (3, 3), (3, 3))
    assert projective_field(model, pixel=(0, 0)).box == ((0, 4), (0, 4))
    for result in (probe(model, samples=2), expected(model)):
        assert (result.layer, result.receptive_field.size) == ("last", (7, 7))
    # Half of the map: its own shape, not that of what it is called on.
    half = opened(lambda y: y[:, ::2, ::2], size=None)
    assert receptive_field(half, input_shape=16).stride == (2, 2)


def test_a_shape_that_stays_open_is_named_and_nothing_else_is_answered_for():
    import tensorflow as tf

    def chosen(y):
        rows = tf.reduce_any(y != 0, axis=(0, 2, 3))
        return tf.boolean_mask(y, rows, axis=1)

    model = opened(chosen)
    for ask in (receptive_field, path_sizes, tile_overlap, expected, probe):
        with pytest.raises(
            InvalidInputError, match="`layer` 'last' must have a definite shape"
        ) as e:
            ask(model)
        assert "\n" not in str(e.value)
    # The remedy.
    assert receptive_field(model, "first").size == (3, 3)


# --- Cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [40, 20_000])
def test_what_a_unit_sees_costs_its_field_and_not_the_image(size):
    x = keras.Input((size, size, 1))
    y = layers.Conv2D(2, 3, 2, padding="same")(layers.Conv2D(2, 3, dilation_rate=2)(x))
    pooled = layers.Cropping2D(((0, 2), (1, 1)))(layers.AveragePooling2D(3, 2, padding="same")(x))
    y = layers.Concatenate()([y, pooled])
    model = keras.Model(x, layers.Conv2D(1, 3, padding="same")(y))
    field = receptive_field(model, unit=(3, 4))
    tracemalloc.start()
    visible = field.visible()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # As much as on a small image, where the mask by itself says so.
    small = receptive_field(model, unit=(3, 4), input_shape=40)
    assert visible == small.visible() == bounding_box(small.support())
    assert peak < 1e6
    if size < 100:
        assert field.support().shape == (size, size)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: ops.expand_dims(ops.max(y, -1), -1),
        lambda y: ops.mean(y, -1)[..., None] * y,
        lambda y: ops.stack([ops.mean(y, -1), ops.max(y, -1)], -1),
        lambda y: ops.one_hot(ops.argmax(y, -1), 3),
        lambda y: ops.expand_dims(ops.abs(ops.sum(y, -1)), 1),
    ],
    ids=["expand_dims", "index", "stack", "one_hot", "in_front"],
)
def test_an_axis_added_where_channels_were_summed_away_is_theirs(make):
    x = keras.Input((9, 11, 3))
    model = keras.Model(x, make(layers.Conv2D(3, 3, padding="same")(x)))
    field = receptive_field(model)
    assert field.output_size == (9, 11)
    assert field.unit == (4, 5)

    # Every pixel that changes the unit when it is changed.
    random = np.random.default_rng(0)
    changed = np.zeros((9, 11), dtype=bool)
    for _ in range(30):
        images = np.tile(random.normal(size=(9, 11, 3)).astype("float32"), (100, 1, 1, 1))
        images.reshape(100, 99, 3)[np.arange(99), np.arange(99)] += random.normal(0, 5, (99, 3))
        shown = model(images).numpy().reshape(100, 9, 11, -1)[:, 4, 5]
        changed |= np.any(shown[:99] != shown[99], axis=-1).reshape(9, 11)
    np.testing.assert_array_equal(field.support(), changed)
    assert field.size == (3, 3)


@pytest.mark.parametrize(
    ("key", "stride"),
    [
        (np.s_[:, 2::2], (2, 1)),
        (np.s_[:, 3:, 1::5], (1, 5)),
        (np.s_[..., 3::4, :], (1, 4)),
        (np.s_[:, :, ::7, None], (1, 7)),
        (np.s_[:, ::4, 1], (4, 0)),
    ],
)
def test_slices_that_leave_one_position_keep_their_step(key, stride):
    def sliced(size):
        x = keras.Input((size, size, 1))
        y = keras.layers.Conv2D(1, 3, padding="same")(x)[key]
        return receptive_field(keras.Model(x, y), y, unit=(0,) * (len(y.shape) - 2))

    one, many = sliced(4), sliced(20)
    assert 1 in one.output_size
    assert one.stride == many.stride == stride
    assert one.padding == many.padding
