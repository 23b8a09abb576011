"""Checks of fields: right ones pass, wrong ones are found out, and models stay as they are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf import check, rules
from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.errors import InvalidInputError, UnknownLayerError


def residual(size: int = 20) -> keras.Model:
    """Strides, padding, misaligned branches, a gate and an up-sampling."""
    x = keras.Input((size, size, 3))
    y = layers.Conv2D(4, 3, 2, padding="same", name="stem")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.ReLU(name="relu")(y)
    side = layers.MaxPooling2D(3, 1, padding="same", name="pool")(y)
    y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, name="wide")(y)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(y)
    y = layers.Multiply(name="gated")([y, layers.Dense(4, name="excite")(gate)])
    y = layers.Add(name="sum")([y, side])
    y = layers.Conv2DTranspose(2, 2, 2, name="up")(y)
    return keras.Model(x, y)


@pytest.mark.parametrize("unit", ["center", (0, 0), (7, 19)])
def test_a_right_field_passes(unit):
    found = check(residual(), unit=unit)
    assert found.verdict == "pass"
    assert (found.differences, found.unmeasured) == ((), ())
    assert found.checked == 10
    assert found.receptive_field.layer == "up"
    unit = found.receptive_field.unit
    assert str(found) == f"pass: unit {unit} of up, 10 layers compared"


def test_only_layers_on_the_way_are_compared():
    assert check(residual(), "relu").checked == 3


def test_a_real_network_passes(shared_models):
    model = keras.models.load_model(shared_models / "resnet20_cifar10.keras", compile=False)
    found = check(model)
    assert found.verdict == "pass", str(found)
    assert found.checked > 60


# A window of one step more, and of one less, at the layer `wide`, whose taps are 2 apart.
def windowed(size: int, padding: int, dilation: int = 2) -> rules.Rule:
    def rule(call: rules.Call) -> tuple[View, ...]:
        window = Window(size, dilation=dilation, padding=padding)
        return (View((Link(0, window), Link(1, window), Link(2))),)

    return rule


@pytest.mark.parametrize(
    ("rule", "missing", "surplus"),
    [
        (windowed(3, 2), 0, 0),
        # Of 9 places in each of 4 channels.
        (windowed(1, 0), 32, 0),
        (windowed(5, 4), 0, 64),
        (windowed(5, 2, 1), 0, 64),
        (windowed(3, 1), 36, 36),
        (windowed(2, 2), 20, 0),
    ],
)
def test_a_wrong_rule_is_found_out(rule, missing, surplus):
    x = keras.Input((13, 13, 3))
    y = layers.Conv2D(4, 1, name="before")(x)
    y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, name="wide")(y)
    model = keras.Model(x, y)
    found = check(model, unit=(6, 6), rules={layers.DepthwiseConv2D: rule})
    wrong = [(one.layer, one.missing, one.surplus) for one in found.differences]
    if missing or surplus:
        assert found.verdict == "fail"
        assert wrong == [("wide", missing, surplus)]
        text = f"not as the rule says: wide ({missing} missing, {surplus} too many)"
        assert str(found) == f"fail: unit (6, 6) of wide, 2 layers compared; {text}"
    else:
        assert (found.verdict, wrong) == ("pass", [])


def test_a_rule_that_forgets_an_input_is_found_out():
    def first_only(call: rules.Call) -> tuple[View, ...]:
        return (View((Link(0), Link(1))),)

    x = keras.Input((9, 2))
    y = layers.Conv1D(2, 3, padding="same", name="branch")(x)
    model = keras.Model(x, layers.Subtract(name="difference")([x, y]))
    found = check(model, unit=(4,), rules={layers.Subtract: first_only})
    assert found.verdict == "fail"
    assert [(one.layer, one.missing) for one in found.differences] == [("difference", 2)]


def test_a_layer_without_a_gradient_is_seen_by_changes():
    x = keras.Input((9, 2))
    y = layers.Conv1D(2, 3, padding="same", name="before")(x)
    y = layers.Lambda(lambda x: tf.round(x), name="odd")(y)
    model = keras.Model(x, layers.Conv1D(2, 3, padding="same", name="behind")(y))
    found = check(model, unit=(4,), rules={layers.Lambda: windowed_line(1, 0)})
    assert (found.verdict, found.checked, found.unmeasured) == ("pass", 3, ())
    found = check(model, unit=(4,), rules={layers.Lambda: windowed_line(3, 1)})
    # Of 3 steps and the two next to them, each of 2 channels.
    assert [(one.layer, one.missing, one.surplus) for one in found.differences] == [("odd", 0, 4)]


def test_a_layer_that_draws_at_random_without_a_gradient_cannot_tell():
    def near(call: rules.Call) -> tuple[View, ...]:
        return (View((Link(0), Link(None))),)

    x = keras.Input((9, 2))
    y = layers.Conv1D(2, 3, padding="same", name="before")(x)
    y = layers.Lambda(lambda x: tf.round(x + tf.random.normal(tf.shape(x))), name="odd")(y)
    model = keras.Model(x, layers.Conv1D(2, 3, padding="same", name="behind")(y))
    found = check(model, unit=(4,), rules={layers.Lambda: near})
    assert found.verdict == "undecided"
    assert found.receptive_field.box() == ((2, 7),)
    assert found.checked == 2
    assert [name for name, _ in found.unmeasured] == ["odd"]
    assert "cannot tell: odd" in str(found)
    # A layer that is wrong weighs more than one that cannot tell.
    wrong = {layers.Lambda: near, layers.Conv1D: windowed_line(5, 2)}
    assert check(model, unit=(4,), rules=wrong).verdict == "fail"


def windowed_line(size: int, padding: int) -> rules.Rule:
    def rule(call: rules.Call) -> tuple[View, ...]:
        return (View((Link(0, Window(size, padding=padding)), Link(None))),)

    return rule


def test_a_layer_that_does_not_run_alone_cannot_tell():
    def raising(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            raise RuntimeError("out of order")
        return x

    x = keras.Input((9, 2))
    y = layers.Lambda(raising, name="odd", output_shape=lambda s: s)(x)
    model = keras.Model(x, layers.Conv1D(2, 3, name="behind")(y))
    found = check(model, rules={layers.Lambda: windowed_line(1, 0)})
    assert found.verdict == "undecided"
    ((name, reason),) = found.unmeasured
    assert name == "odd"
    assert "out of order" in reason


def test_tokens_are_checked_by_row_and_column():
    x = keras.Input((12, 16, 3))
    y = layers.Conv2D(4, 4, 4, name="patches")(x)
    model = keras.Model(x, layers.Reshape((12, 4), name="tokens")(y))
    found = check(model, unit=(2, 1))
    assert found.verdict == "pass"
    assert found.receptive_field.box() == ((8, 12), (4, 8))
    assert check(model, unit=(1, 3), grid=(3, 4)).receptive_field.unit == (1, 3)


def test_the_model_is_left_as_it_was():
    model = residual()
    before = [np.array(one) for one in model.variables]
    trainable = [one.trainable for one in model.variables]
    nodes = [(len(one._inbound_nodes), len(one._outbound_nodes)) for one in model.layers]
    assert check(model).verdict == "pass"
    for kept, now in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(kept, now)
    assert [one.trainable for one in model.variables] == trainable
    assert [(len(one._inbound_nodes), len(one._outbound_nodes)) for one in model.layers] == nodes


@pytest.mark.parametrize(
    ("options", "error"),
    [({"layer": "nowhere"}, UnknownLayerError), ({"unit": (99, 99)}, InvalidInputError)],
)
def test_mistakes_are_those_of_the_field(options, error):
    with pytest.raises(error):
        check(residual(), **options)
