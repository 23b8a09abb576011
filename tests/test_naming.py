"""Naming what one means: outputs of several, values before an activation, vectors, defaults."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_erf as erf
from keras_erf.errors import GradientError, InvalidInputError, UnknownLayerError
from keras_erf.graph import build_graph
from tests import jacobian
from tests.commands import run
from tests.models import state_of


class Pyramid(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.fine = layers.Conv2D(2, 3, padding="same", name="fine")
        self.coarse = layers.Conv2D(2, 3, strides=2, padding="same", name="coarse")

    def call(self, x):
        fine = self.fine(x)
        return {"P3": fine, "P4": self.coarse(fine)}


def pyramid() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((12, 12, 2))
    maps = Pyramid(name="fpn")(x)
    heads = [layers.Conv2D(1, 3, name=f"head{level}")(one) for level, one in maps.items()]
    return keras.Model(x, heads)


def lstm() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((7, 2))
    return keras.Model(x, layers.LSTM(2, return_sequences=True, return_state=True, name="lstm")(x))


# --- Several outputs -----------------------------------------------------------------------------


OUTPUTS = {
    "fpn:P3": (pyramid, "fpn:P3", 0),
    "fpn:P4": (pyramid, "fpn:P4", 1),
    "fpn:0": (pyramid, "fpn:P3", 0),
    "fpn:1": (pyramid, "fpn:P4", 1),
    "lstm:0": (lstm, "lstm:0", 0),
    "lstm:2": (lstm, "lstm:2", 2),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_named(name: str):
    make, own, place = OUTPUTS[name]
    with jacobian.precision():
        model = jacobian.make_positive(make())
        layer = model.layers[1]
        made = keras.tree.flatten(layer(model.input))[place]
        alone = keras.Model(model.input, made)
        field = erf.receptive_field(model, name)
        assert field.layer == own
        shape = made.shape[1:-1]
        for unit in jacobian.some_units(shape) if shape else [()]:
            (seen,) = jacobian.supports(alone, [unit])
            np.testing.assert_array_equal(field.support(unit), seen)
        ours, theirs = (
            erf.probe(one, layer, samples=3) for one, layer in ((model, name), (alone, made))
        )
        np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-6)


@pytest.mark.parametrize("make", [pyramid, lstm])
def test_the_choices_are_in_the_error(make):
    model = make()
    layer = model.layers[1]
    names = [name for name, (maker, own, _) in OUTPUTS.items() if maker is make and name == own]
    for one in (layer, layer.name):
        with pytest.raises(UnknownLayerError) as caught:
            erf.receptive_field(model, one)
        text = str(caught.value)
        assert f"{layer.name!r} has {2 if make is pyramid else 3} outputs: name one of" in text
        assert all(name in text for name in names)


def test_a_nested_model_of_several_outputs_names_them():
    x = keras.Input((12, 12, 2))
    fine = layers.Conv2D(2, 3, name="fine")(x)
    inner = keras.Model(
        x, {"a": fine, "b": layers.Conv2D(2, 5, name="coarse")(fine)}, name="network"
    )
    y = keras.Input((12, 12, 2))
    made = inner(y)
    model = keras.Model(y, [made["a"], made["b"]])
    assert erf.receptive_field(model, "network:b").size == (7, 7)
    assert erf.receptive_field(model, "network:0").layer == "network/fine"
    with pytest.raises(
        UnknownLayerError, match="'network' has 2 outputs: name one of network:a, network:b"
    ):
        erf.receptive_field(model, "network")


def test_a_layer_called_twice_still_says_so():
    x = keras.Input((12, 12, 2))
    conv = layers.Conv2D(2, 3, name="conv")
    model = keras.Model(x, conv(conv(x)))
    with pytest.raises(UnknownLayerError, match="is called 2 times: name one of conv:0, conv:1"):
        erf.receptive_field(model, "conv")


def test_the_table_and_the_command_line_name_them():
    names = [field.layer for field in erf.receptive_fields(pyramid()).fields]
    assert [name for name in names if name.startswith("fpn")] == ["fpn:P3", "fpn:P4"]


# --- Before an activation ------------------------------------------------------------------------


class Block(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(2, 3, activation="tanh", name="conv")

    def call(self, x):
        return ops.relu(self.conv(x))


def activated(**options) -> tuple[keras.Model, keras.Model, str]:
    """A model, one that ends before its activation, and the address of that value."""
    keras.utils.set_random_seed(0)
    x = keras.Input((9, 8, 2))
    layer = options.pop("layer")
    y = layers.Conv2D(2, 3, name="first")(x)
    model = keras.Model(x, layer(y))
    inner = getattr(layer, "conv", layer)
    inner = getattr(inner, "layer", inner)
    plain = type(inner).from_config({**inner.get_config(), "activation": "linear"})
    alone = keras.Model(x, plain(y))
    plain.set_weights(inner.get_weights())
    return model, alone, f"{layer.name}{'/conv' if inner is not layer else ''}:linear"


LAYERS = {
    "softmax": lambda: layers.Conv2D(3, 1, activation="softmax", name="end"),
    "relu": lambda: layers.Conv2D(3, 3, activation="relu", name="end"),
    "dense": lambda: layers.Dense(3, activation="sigmoid", name="end"),
    "layer": lambda: layers.Conv2D(3, 3, activation=layers.LeakyReLU(), name="end"),
    "separable": lambda: layers.SeparableConv2D(3, 3, activation="tanh", name="end"),
    "inside": lambda: Block(name="block"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_value_before_an_activation(name: str):
    model, alone, address = activated(layer=LAYERS[name]())
    before = state_of(model)
    activations = [getattr(layer, "activation", None) for layer in model._flatten_layers()]
    field = erf.receptive_field(model, address)
    assert field.layer == address
    assert field.size == erf.receptive_field(alone, alone.output).size
    for options in ({}, {"cone": False}):
        ours = erf.probe(model, address, samples=3, **options)
        theirs = erf.probe(alone, alone.output, samples=3, **options)
        np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-5, atol=1e-7)
        assert ours.linear
    (one,) = erf.profile(model, address, samples=3).results
    np.testing.assert_array_equal(one.map, erf.probe(model, address, samples=3).map)
    assert state_of(model) == before
    assert activations == [getattr(layer, "activation", None) for layer in model._flatten_layers()]


def test_of_a_layer_without_one_it_is_its_output():
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, layers.Conv2D(2, 3, name="conv")(x))
    assert erf.receptive_field(model, "conv:linear").layer == "conv"


@pytest.mark.parametrize("name", ["pool:linear", "none:linear", "act:linear"])
def test_what_does_not_end_in_one_is_refused(name: str):
    x = keras.Input((9, 8, 2))
    y = layers.Activation("relu", name="act")(layers.MaxPooling2D(name="pool")(x))
    with pytest.raises(UnknownLayerError, match=f"Received: layer='{name}'"):
        erf.receptive_field(keras.Model(x, y), name)


def test_the_logger_follows_it():
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, layers.Conv2D(2, 3, activation="sigmoid", name="conv")(x))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    images = np.random.default_rng(0).normal(size=(4, 9, 8, 2)).astype("float32")
    logger = erf.ERFLogger("conv:linear", inputs=images)
    model.fit(images, np.ones((4, 7, 6, 2)), verbose=0, callbacks=[logger])
    maps = [logger.results[step, "conv:linear"].map for step in (0, 1)]
    assert np.abs(maps[0] - maps[1]).max() > 1e-3 * maps[0].max()
    after = erf.probe(model, "conv:linear", inputs=images)
    np.testing.assert_allclose(maps[1], after.map, rtol=1e-5)


def test_the_error_of_a_softmax_names_it():
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, layers.Conv2D(2, 3, activation="softmax", name="conv")(x))
    with pytest.raises(GradientError, match="Choose 'conv:linear', the value before its softmax"):
        erf.probe(model, samples=2)
    assert erf.probe(model, "conv:linear", samples=2).size == 3


# --- The layer that `analyze` takes --------------------------------------------------------------


# The end of a network, and the value that is taken in its place.
ENDS = {
    "layer": (lambda y: layers.Conv2D(3, 1, activation="softmax", name="end")(y), "end:linear"),
    "activation": (lambda y: layers.Activation("softmax", name="end")(y), "conv"),
    "softmax": (lambda y: layers.Softmax(name="end")(y), "conv"),
    "behind": (lambda y: layers.UpSampling2D(name="end")(layers.Softmax(name="mid")(y)), "conv"),
    "normalised": (lambda y: layers.LayerNormalization(name="end")(y), "conv"),
    "sigmoid": (lambda y: layers.Activation("sigmoid", name="end")(y), None),
    "over space": (lambda y: layers.Softmax(axis=1, name="end")(y), None),
    "scaled": (lambda y: layers.UpSampling2D(name="end")(layers.ReLU()(y)), None),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_constant_sum_is_passed_over(name: str, tmp_path):
    keras.utils.set_random_seed(0)
    end, taken = ENDS[name]
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, end(layers.Conv2D(3, 3, name="conv")(x)))
    model.save(tmp_path / "network.keras")
    done = run("analyze", tmp_path / "network.keras", "--samples", 2, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    text = " ".join(done.stdout.split())
    if taken is None:
        assert "of end (the last layer with more than one position)" in text
        erf.probe(model, samples=2)
    else:
        assert f"of {taken} (taken in place of end, whose channels sum to a constant)" in text
        # It is right to pass over it.
        with pytest.raises(GradientError, match="sum to a constant"):
            erf.probe(model, samples=2)


# --- Vectors -------------------------------------------------------------------------------------


VECTORS = {
    "pool": lambda y: layers.GlobalAveragePooling2D(name="end")(y),
    "dense": lambda y: layers.Dense(3, name="end")(layers.Flatten()(y)),
    "flat": lambda y: layers.Flatten(name="end")(y),
    "last state": lambda y: layers.GRU(2, name="end")(layers.Reshape((42, 3))(y)),
    "crop": lambda y: layers.Flatten(name="end")(layers.Cropping2D(2)(y)),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_has_a_field(name: str):
    with jacobian.precision():
        x = keras.Input((9, 8, 2))
        model = keras.Model(x, VECTORS[name](layers.Conv2D(3, 3, name="conv")(x)))
        if name != "last state":  # Its gates would be shut.
            jacobian.make_positive(model)
        field = erf.receptive_field(model, "end")
        assert (field.unit, field.output_size) == ((), ())
        (seen,) = jacobian.supports(model, [()])
        np.testing.assert_array_equal(field.support(), seen)
        assert field.visible() == jacobian.bounding_box(seen)
        if name in ("pool", "dense", "last state"):
            assert (field.status, field.size) == ("whole", (9, 8))
        result = erf.probe(model, "end", samples=2)
        assert result.map.shape == (9, 8)
        assert not result.map[~seen].any()
        assert result.map[seen].all()


def test_a_vector_has_one_unit():
    x = keras.Input((9, 8, 2))
    model = keras.Model(x, layers.GlobalMaxPooling2D(name="end")(layers.Conv2D(3, 3)(x)))
    assert erf.receptive_field(model, "end", unit=()).unit == ()
    with pytest.raises(InvalidInputError, match="`unit` must be 'center' or an index"):
        erf.receptive_field(model, "end", unit=(0,))
    # It is no map: tables and defaults are of maps.
    assert [field.layer for field in erf.receptive_fields(model).fields] != ["end"]
    assert erf.receptive_field(model).layer != "end"


def test_outputs_have_keys_by_number_and_object():
    graph = build_graph(pyramid())
    assert graph.find("fpn:0") == graph.find("fpn:P3") != graph.find("fpn:1")
