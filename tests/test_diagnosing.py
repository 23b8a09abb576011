"""A unit without a usable gradient is refused, and the layer to blame is named."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_erf.definitions import Definition
from keras_erf.errors import GradientError
from keras_erf.measuring.probing import probe

SIZE = (7, 8)
DEAD = "dead ReLU"


def chain(*steps, dtype: str = "float32") -> keras.Model:
    """Layers one after the other, on an input of one channel; the unit is the last one's."""
    x = y = keras.Input((*SIZE, 1), dtype=dtype, name="image")
    for step in steps:
        y = step(y)
    return keras.Model(x, y)


def conv(name: str, weight: float = 1.0, bias: float = 0.0, **options) -> keras.layers.Layer:
    """A 3x3 convolution whose weights are all the same."""
    layer = layers.Conv2D(options.pop("filters", 2), 3, padding="same", name=name, **options)

    def build(x):
        y = layer(x)
        layer.set_weights([np.full(w.shape, f) for w, f in zip(layer.weights, (weight, bias))])  # noqa: B905
        return y

    return build


def refusal(model: keras.Model, layer: str | None = None, **options) -> str:
    """The one line said about the unit in the middle."""
    with pytest.raises(GradientError) as caught:
        probe(model, layer, unit=(3, 3), **{"samples": 3, **options})
    message = str(caught.value)
    assert "\n" not in message
    assert "unit (3, 3) of layer " in message
    return message


# -- zero --


@pytest.mark.parametrize(
    "rectify",
    [
        layers.ReLU(name="guilty"),
        layers.Activation("relu", name="guilty"),
        layers.ReLU(max_value=6, name="guilty"),
        lambda x: keras.layers.PReLU(name="guilty")(x),  # starts with a slope of 0
        lambda x: keras.ops.relu(x),
    ],
    ids=["ReLU", "Activation", "relu6", "PReLU", "operation"],
)
def test_a_dead_relu_is_named(rectify):
    model = chain(conv("first"), conv("shifted", bias=-100), rectify, conv("last"))
    message = refusal(model)
    # Operations are named by Keras.
    assert f"is zero: it ends in layer {model.operations[3].name!r}" in message
    assert DEAD in message


@pytest.mark.parametrize("name", ["guilty", "_guilty"])
@pytest.mark.parametrize("training", [False, True])
def test_a_dead_relu_inside_a_convolution(name, training):
    # TensorFlow refuses names that start with an underscore where they come first.
    model = chain(conv("first"), conv(name, bias=-100, activation="relu"), conv("last"))
    message = refusal(model, training=training)
    assert f"ends in layer {name!r}" in message
    assert DEAD in message


def test_a_layer_of_a_nested_model_is_named_by_its_path():
    inner = chain(conv("shifted", bias=-100), layers.ReLU(name="guilty"))
    x = keras.Input((*SIZE, 1))
    model = keras.Model(x, conv("last")(inner(x)))
    assert f"ends in layer '{inner.name}/guilty'" in refusal(model)


@pytest.mark.parametrize(
    "steps",
    [
        [conv("guilty", weight=0.0)],
        [conv("guilty", weight=0.0, bias=1.0, activation="relu")],
        [conv("shifted", bias=100), layers.ReLU(max_value=6, name="guilty")],
        [conv("shifted", bias=1e4), layers.Activation("sigmoid", name="guilty")],
    ],
    ids=["zero weights", "zero weights below a live ReLU", "full relu6", "full sigmoid"],
)
def test_a_gradient_lost_otherwise_is_not_blamed_on_a_dead_relu(steps):
    message = refusal(chain(conv("first"), *steps, conv("last")), inputs="uniform")
    assert "is zero: it ends in layer 'guilty'" in message
    assert "weights or factors are zero" in message
    assert "saturated" in message
    assert DEAD not in message


def test_underflow_is_named_and_the_remedy_works():
    def network(dtype: str) -> keras.Model:
        # 1e-25 squared is below the smallest float32, 1.4e-45.
        steps = [conv(name, weight=1e-25, dtype=dtype) for name in ("first", "second", "third")]
        return chain(*steps, dtype=dtype)

    message = refusal(network("float32"))
    assert "ends in layer 'second'" in message
    assert "underflow" in message
    assert "float64" in message
    assert probe(network("float64"), unit=(3, 3), samples=1).map[3, 3] > 0


def test_a_layer_that_cannot_be_differentiated_is_named():
    model = chain(
        conv("first"),
        lambda x: keras.ops.cast(x, "int32"),
        lambda x: keras.ops.cast(x, "float32"),
        conv("last"),
    )
    message = refusal(model, inputs="uniform")
    assert f"layer {model.operations[2].name!r} cannot be differentiated" in message


def test_the_layer_that_kills_every_path_is_named_rather_than_one_branch():
    # The branch starts at zero, as many residual networks do; that alone would not matter.
    x = keras.Input((*SIZE, 1))
    y = layers.ReLU(name="guilty")(conv("first", bias=-100)(x))
    branch = conv("branch", weight=0.0)(conv("before")(y))
    model = keras.Model(x, layers.Add(name="sum")([y, branch]))
    assert "ends in layer 'guilty'" in refusal(model)


def test_a_factor_of_zero_from_another_input_is_named():
    a, b = (keras.Input((*SIZE, 1), name=name) for name in "ab")
    product = layers.Multiply(name="guilty")([conv("upper")(a), conv("lower")(b)])
    model = keras.Model([a, b], conv("last")(product))
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(3, *SIZE, 1)), np.zeros((3, *SIZE, 1))]
    assert "ends in layer 'guilty'" in refusal(model, inputs=inputs, input="a")
    # The other way round the gradient arrives.
    assert probe(model, unit=(3, 3), inputs=inputs, input="b").dead == 0


# -- not finite --


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("measure", ["abs", "relu"])
def test_a_weight_that_is_no_number_is_named(value, measure):
    model = chain(conv("first"), conv("guilty", weight=value), conv("last"))
    message = refusal(model, definition=Definition("own", measure=measure))
    assert "is not finite: layer 'guilty' gives values that are not" in message
    assert "weight that is NaN" in message


def test_the_layer_that_overflows_first_is_named():
    model = chain(*[conv(name, weight=1e30) for name in ("first", "guilty", "third")])
    assert "layer 'guilty' gives values that are not" in refusal(model)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("measure", ["abs", "square", "relu", "signed"])
def test_a_gradient_that_overflows_on_the_way_back(sign, measure):
    # On zeros all values are zero; gradients grow by 1e30 per layer, and float32 ends at 3e38.
    steps = [conv("first", sign), conv("guilty", 1e30), conv("third", 1e30), conv("last")]
    message = refusal(chain(*steps), inputs="zeros", definition=Definition("own", measure=measure))
    assert "is not finite: it overflows behind layer 'guilty'" in message


def test_an_overflow_is_not_taken_for_a_branch_of_zeros():
    x = keras.Input((*SIZE, 1))
    y = conv("third", 1e30)(conv("guilty", 1e30)(conv("first")(x)))
    branch = conv("branch", weight=0.0)(conv("before")(y))
    model = keras.Model(x, layers.Add()([y, branch]))
    assert "overflows behind layer 'guilty'" in refusal(model, inputs="zeros")


def test_minus_infinity_is_not_clamped_away():
    # The middle pixel's gradient is -1e60, its neighbours' 1e30: a ReLU would leave only these.
    model = chain(conv("first", filters=1), conv("guilty", filters=1))
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1e30
    model.get_layer("first").set_weights([kernel, np.zeros(1)])
    model.get_layer("guilty").set_weights([np.where(kernel > 0, -1e30, 1), np.zeros(1)])
    message = refusal(model, inputs="zeros", definition=Definition("own", measure="relu"))
    assert "overflows behind layer 'first'" in message


def test_one_sample_that_overflows_is_enough():
    # In a later batch than the first: it must not end up in a mean.
    model = chain(conv("first"), layers.Activation("exponential", name="guilty"), conv("last"))
    inputs = np.zeros((10, *SIZE, 1))
    assert probe(model, unit=(3, 3), inputs=inputs, batch_size=2).count == 10
    inputs[9] = 100
    message = refusal(model, inputs=inputs, samples=None, batch_size=2)
    assert "layer 'guilty' gives values that are not" in message
    assert probe(model, unit=(3, 3), inputs=inputs, samples=9, batch_size=2).count == 9


# -- the definition's own doing --


def test_a_seed_behind_a_relu_may_be_negative():
    message = refusal(chain(conv("last", bias=-100)), definition="replknet")
    assert "definition 'replknet' seeds the ReLU of the unit" in message


@pytest.mark.parametrize("name", ["replknet", "openerf"])
def test_a_definition_that_leaves_nothing_of_the_gradient(name):
    # The gradient is negative everywhere, which these definitions clamp at zero.
    model = chain(conv("last", weight=-1.0, bias=100))
    message = refusal(model, definition=name)
    assert "though its gradient is neither" in message
    assert f"definition {name!r}" in message
    assert probe(model, samples=2).dead == 0


def test_a_square_that_overflows():
    model = chain(conv("last", weight=1e200, dtype="float64"), dtype="float64")
    message = refusal(model, inputs="zeros", definition="luo2016-squared")
    assert "measure 'square'" in message
    assert probe(model, inputs="zeros", samples=1).map.max() == pytest.approx(2e200)


# -- TensorFlow itself --


def test_what_the_device_cannot_run_is_one_line():
    # Which operations a device lacks differs: what TensorFlow says of one is raised here.
    model = chain(conv("last"))
    message = "Graph execution error:\n\nonly supports the NHWC format\n\t [[{{node Conv2D}}]]"
    error = tf.errors.UnimplementedError(None, None, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_erf.measuring.accumulating.channels_and_gradients", raising(error))
        with pytest.raises(
            GradientError, match=r"cannot run the model as far as layer 'last'.*NHWC format$"
        ) as caught:
            probe(model, samples=2)
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_fit_into_memory():
    model = chain(conv("last"))
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_erf.measuring.accumulating.channels_and_gradients", raising(error))
        with pytest.raises(GradientError, match="set `batch_size` lower"):
            probe(model, samples=3)


def raising(error: Exception):
    def raises(*args, **options):
        raise error

    return raises
