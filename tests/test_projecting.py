"""Projective fields, against the receptive fields of all units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_erf import projective_field, receptive_field, rules
from keras_erf.errors import InvalidInputError
from tests import jacobian


def gated(x: Any) -> Any:
    y = layers.Conv2D(2, 3, padding="same")(x)
    gate = layers.Dense(2)(layers.GlobalAveragePooling2D(keepdims=True)(y))
    return layers.Multiply()([y, gate])


def branches(x: Any) -> Any:
    left = layers.Cropping2D(((3, 0), (0, 4)))(x)
    right = layers.Conv2D(2, (1, 3), dilation_rate=(1, 2))(layers.Cropping2D(((0, 3), (0, 0)))(x))
    return layers.Concatenate(axis=2)([left, right])


BUILD: dict[str, Callable[[Any], Any]] = {
    "convolution": lambda x: layers.Conv2D(2, 3, padding="same")(x),
    "strides": lambda x: layers.Conv2D(2, (2, 3), 3)(layers.ZeroPadding2D(1)(x)),
    "dilation": lambda x: layers.Conv2D(2, 3, dilation_rate=2, padding="same")(x),
    "holes": lambda x: layers.Conv2DTranspose(2, (1, 2), (2, 3))(x),
    "up and down": lambda x: layers.UpSampling2D((2, 1))(layers.MaxPooling2D((2, 2))(x)),
    "transposition": lambda x: layers.Permute((2, 1, 3))(layers.Conv2D(2, (3, 1))(x)),
    "reshape": lambda x: layers.Reshape((4, 21, 2))(layers.Conv2D(2, (2, 1), (2, 1))(x)),
    "branches": branches,
    "gate": gated,
    "diagonal": lambda x: layers.Lambda(lambda x: x[:, 1:, 1:] + x[:, :-1, :-1])(x),
}


@pytest.mark.parametrize("through_global", [True, False])
@pytest.mark.parametrize("name", BUILD)
def test_a_unit_is_in_the_field_of_each_pixel_it_sees(name, through_global):
    x = keras.Input((8, 14 if name == "branches" else 21, 2))
    if name == "diagonal":
        x = keras.Input((5, 6, 2))
    model = keras.Model(x, BUILD[name](x))
    field = receptive_field(model, model.output, through_global=through_global)
    seen = np.stack([field.support(unit) for unit in np.ndindex(*field.output_size)])
    seen = seen.reshape(*field.output_size, *field.input_size)
    for pixel in jacobian.some_units(field.input_size, count=5):
        found = projective_field(model, model.output, pixel=pixel, through_global=through_global)
        expected = seen[(..., *pixel)]
        np.testing.assert_array_equal(found.mask, expected, err_msg=f"pixel {pixel}")
        assert found.box == jacobian.bounding_box(expected)
        assert (found.layer, found.input) == (field.layer, field.input)
        assert (found.pixel, found.status) == (pixel, field.status)


def test_of_a_measured_layer_that_sees_no_box_all_that_may_see_a_pixel_are_given():
    x = keras.Input((5, 6, 2))
    model = keras.Model(x, BUILD["diagonal"](x))
    own = {layers.Lambda: rules.measured}
    exact = projective_field(model, pixel=(2, 3))
    found = projective_field(model, pixel=(2, 3), rules=own)
    assert (exact.status, found.status) == ("exact", "bound")
    assert np.argwhere(exact.mask).tolist() == [[1, 2], [2, 3]]
    assert (found.mask | ~exact.mask).all()
    assert receptive_field(model, rules=own).status == "measured"


def test_a_field_by_hand():
    x = keras.Input((12, 2))
    y = layers.Conv1D(2, 3, 2, padding="valid", name="down")(x)
    y = layers.Conv1D(2, 3, padding="same", name="wide")(y)
    model = keras.Model(x, y)
    # Pixel 4 is the last of unit 1 and the first of unit 2.
    found = projective_field(model, "down", pixel=(4,))
    assert np.flatnonzero(found.mask).tolist() == [1, 2]
    assert projective_field(model, pixel=[4]).box == ((0, 4),)
    # The last pixel is seen by no one.
    unseen = projective_field(model, pixel=(11,))
    assert not unseen.mask.any()
    assert unseen.box == ((0, 0),)


def test_one_of_several_inputs():
    a, b = keras.Input((9, 1), name="a"), keras.Input((9, 1), name="b")
    y = layers.Add()([layers.Conv1D(1, 3, padding="same")(a), layers.ReLU()(b)])
    model = keras.Model([a, b], y)
    assert projective_field(model, pixel=(4,)).box == ((3, 6),)
    assert projective_field(model, pixel=(4,), input="b").box == ((4, 5),)
    assert projective_field(model, pixel=(14,), input_shape=20).box == ((13, 16),)


@pytest.mark.parametrize("pixel", [(9, 0), (-1, 0), (1,), (1, 2, 3), (1.0, 2), 3, "center", None])
def test_a_pixel_outside_the_input_is_refused(pixel):
    x = keras.Input((9, 8, 1))
    model = keras.Model(x, layers.Conv2D(1, 3)(x))
    with pytest.raises(InvalidInputError, match=r"`pixel`.*\(9, 8\).*Received: pixel=") as caught:
        projective_field(model, pixel=pixel)
    assert "\n" not in str(caught.value)


def test_booleans_are_no_index():
    x = keras.Input((9, 8, 1))
    with pytest.raises(InvalidInputError, match="`pixel`"):
        projective_field(keras.Model(x, layers.Conv2D(1, 3)(x)), pixel=(True, 2))


def test_rules_of_one_s_own_are_followed():
    from keras_erf.rules import whole

    x = keras.Input((9, 1))
    model = keras.Model(x, layers.Lambda(lambda x: ops.round(x))(x))
    assert projective_field(model, pixel=(4,), rules={layers.Lambda: whole}).mask.all()
