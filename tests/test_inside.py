"""Layers inside of composite ones: addresses, fields and maps, against the same parts alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_erf as erf
from keras_erf.errors import InvalidInputError, UnknownLayerError
from keras_erf.measuring.plans import plan_of
from keras_erf.measuring.settings import Location, Settings
from keras_erf.measuring.setup import prepared
from keras_erf.reporting.content import around_of
from tests import jacobian
from tests.commands import run
from tests.models import state_of
from tests.pages import Page

SIZE = 12


class Block(layers.Layer):
    """Two convolutions of one name and a detour through tokens, which writes the batch down."""

    def __init__(self, dilation=1, **options):
        super().__init__(**options)
        self.first = layers.Conv2D(3, 3, padding="same", name="conv")
        self.second = layers.Conv2D(3, 3, padding="same", dilation_rate=dilation, name="conv")

    def tokens(self, x):
        batch, height, width, channels = ops.shape(x)
        return ops.reshape(x, (batch, height * width, channels))

    def call(self, x):
        y = self.second(ops.relu(self.first(x)))
        return x + ops.reshape(self.tokens(y), ops.shape(x))

    def compute_output_shape(self, shape):
        return shape


class Encoder(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [Block(1 + place, name=f"block_{place}") for place in range(2)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def compute_output_shape(self, shape):
        return shape


def model(size: int | None = SIZE) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((size, size, 2))
    y = layers.Conv2D(3, 1, name="stem")(x)
    y = Encoder(name="encoder")(y)
    return keras.Model(x, layers.Conv2D(2, 3, name="head")(y))


def alone(layer, x):
    """A call of a layer, in a model of its own: Keras refuses two layers of one name."""
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, layer(inner))(x)


def parts(whole: keras.Model) -> dict[str, keras.Model]:
    """Plain Functional models of the same layers, up to each of some addresses."""
    x = keras.Input(whole.input_shape[1:])
    y = whole.get_layer("stem")(x)
    one, two = whole.get_layer("encoder").blocks
    first = alone(one.first, y)
    middle = y + alone(one.second, ops.relu(first))
    third = alone(two.first, middle)
    last = alone(two.second, ops.relu(third))
    ends = {
        "encoder/block_0/conv": first,
        "encoder/block_0": middle,
        "encoder/block_1/conv": third,
        "encoder/block_1/relu": ops.relu(third),
        "encoder/block_1/conv_1": last,
    }
    return {name: keras.Model(x, end) for name, end in ends.items()}


ADDRESSES = list(parts(model()))


@pytest.mark.parametrize("address", ADDRESSES)
def test_fields_are_those_of_brute_force(address: str):
    with jacobian.precision():
        whole = jacobian.make_positive(model())
        part = parts(whole)[address]
        before = state_of(whole)
        field = erf.receptive_field(whole, address)
        assert (field.layer, field.status) == (address, "exact")
        units = jacobian.some_units((SIZE, SIZE))
        for unit, seen in zip(units, jacobian.supports(part, units), strict=True):
            np.testing.assert_array_equal(field.support(unit), seen)
        assert state_of(whole) == before


@pytest.mark.parametrize("options", [{}, {"cone": False}, {"training": True}])
@pytest.mark.parametrize("address", ADDRESSES)
def test_maps_are_those_of_the_part_alone(address: str, options):
    whole = model()
    part = parts(whole)[address]
    options = {"samples": 5, "batch_size": 2, **options}
    found = erf.probe(whole, address, **options)
    expected = erf.probe(part, part.output, **options)
    assert found.layer == address
    np.testing.assert_allclose(found.map, expected.map, rtol=1e-4, atol=1e-6)


def test_the_cone_runs_to_the_unit_alone():
    class Chain(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.convs = [layers.Conv2D(3, 3, padding="same", name=f"conv_{n}") for n in range(4)]

        def call(self, x):
            for conv in self.convs:
                x = conv(x)
            return x

    x = keras.Input((64, 64, 2))
    whole = keras.Model(x, layers.Conv2D(2, 3, name="head")(Chain(name="chain")(x)))
    ready = prepared(whole, ["chain/conv_1"], Settings(), Location())
    (target,) = ready.targets
    cone = plan_of(ready.targets, Settings()).cone
    # Two convolutions of 3x3, and none of what follows.
    assert [step.node.name for step in cone.steps] == ["chain/conv_0", "chain/conv_1"]
    sizes = [
        tuple(stop - start for start, stop in cone.parts[number][:2])
        for number in (target.input, *(step.node.outputs[0] for step in cone.steps))
    ]
    assert sizes == [(5, 5), (3, 3), (1, 1)]


def test_expected_fields_are_those_of_the_part_alone():
    whole = model()
    part = parts(whole)["encoder/block_1/conv"]
    found = erf.expected(whole, "encoder/block_1/conv", weights="given")
    other = erf.expected(part, part.output, weights="given")
    np.testing.assert_allclose(found.map, other.map, rtol=1e-4)


def test_the_table_lists_them_and_is_as_it_was_without():
    whole = model()
    plain, inside = erf.receptive_fields(whole), erf.receptive_fields(whole, inside=True)
    assert [field.layer for field in plain.fields] == ["stem", "encoder", "head"]
    names = [field.layer for field in inside.fields]
    assert [name for name in names if "/" not in name] == ["stem", "encoder", "head"]
    assert set(ADDRESSES) < set(names)
    # What is inside of a layer stands before it.
    assert names.index("encoder/block_1/conv") < names.index("encoder") < names.index("head")
    outer = {field.layer: field.size for field in inside.fields if "/" not in field.layer}
    assert outer == {field.layer: field.size for field in plain.fields}


def test_names_do_not_depend_on_what_was_made_before():
    names = []
    for _ in range(2):
        whole = model()
        ops.relu(keras.Input((1,)))
        for _ in range(2):
            table = erf.receptive_fields(whole, inside=True)
            names.append([field.layer for field in table.fields])
    assert names[0] == names[1] == names[2] == names[3]


def test_the_layer_object_is_an_address():
    whole = model()
    layer = whole.get_layer("encoder").blocks[1].first
    assert erf.receptive_field(whole, layer).layer == "encoder/block_1/conv"
    by_name, by_object = (
        erf.probe(whole, one, samples=2) for one in ("encoder/block_1/conv", layer)
    )
    np.testing.assert_array_equal(by_name.map, by_object.map)


def test_a_profile_has_them_in_the_graph_s_order():
    whole = model()
    some = erf.profile(whole, ["head", "encoder/block_1/conv", "encoder"], samples=2)
    assert [one.layer for one in some] == ["encoder/block_1/conv", "encoder", "head"]
    assert list(some.depths) == sorted(some.depths)
    every = erf.profile(whole, samples=2, inside=True)
    names = [one.layer for one in every]
    assert names == [one.layer for one in erf.receptive_fields(whole, inside=True).fields]
    one = erf.probe(whole, "encoder/block_1/conv", samples=2)
    np.testing.assert_allclose(every["encoder/block_1/conv"].map, one.map, rtol=1e-4, atol=1e-7)


def test_open_sizes_and_other_sizes():
    whole = model(None)
    address = "encoder/block_1/conv"
    assert erf.receptive_field(whole, address).size == (7, 7)
    assert erf.receptive_field(whole, address, input_shape=30).output_size == (30, 30)
    images = np.random.default_rng(0).normal(size=(3, 20, 20, 2)).astype("float32")
    assert erf.probe(whole, address, inputs=images).map.shape == (20, 20)


def test_half_precision_and_calibration_keep_the_address():
    class Normed(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(3, 3, name="conv")
            self.norm = layers.BatchNormalization(name="norm")

        def call(self, x, training=False):
            return ops.relu(self.norm(self.conv(x), training=training))

    x = keras.Input((SIZE, SIZE, 2))
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        whole = keras.Model(x, Normed(name="block")(x))
    finally:
        keras.config.set_dtype_policy(policy)
    plain = erf.probe(whole, "block/norm", samples=4)
    ready = erf.probe(whole, "block/norm", samples=4, calibrate=True)
    assert plain.layer == ready.layer == "block/norm"
    # A calibrated normalisation divides by the deviation it saw, not by 1.
    assert np.abs(plain.map - ready.map).max() > 1e-3 * plain.map.max()


def test_steps_of_a_time_distributed_layer():
    encoder = Encoder(name="encoder")
    encoder(np.zeros((1, 8, 8, 3)))
    x = keras.Input((3, 8, 8, 3))
    whole = keras.Model(x, layers.TimeDistributed(encoder, name="steps")(x))
    names = [field.layer for field in erf.receptive_fields(whole, inside=True).fields]
    address = next(name for name in names if name.endswith("block_1/conv"))
    found = erf.probe(whole, address, unit=(1, 4, 4), samples=3, inputs="zeros")
    y = keras.Input((8, 8, 3))
    one, two = encoder.blocks
    part = keras.Model(y, two.first(one(y)))
    expected = erf.probe(part, part.output, unit=(4, 4), samples=3, inputs="zeros")
    np.testing.assert_allclose(found.map[1], expected.map, rtol=1e-5)
    assert not found.map[[0, 2]].any()


def test_a_wrapped_model_of_its_own_code_has_addresses():
    class Network(keras.Model):
        def __init__(self):
            super().__init__(name="network")
            self.conv = layers.Conv2D(2, 3, name="conv")
            self.end = layers.Conv2D(2, 3, name="end")

        def call(self, x):
            return self.end(self.conv(x))

    x = keras.Input((9, 8, 1))
    wrapped = keras.Model(x, Network()(x))
    assert erf.receptive_field(wrapped, "network/conv").size == (3, 3)
    # The last call makes what the layer gives.
    assert erf.receptive_field(wrapped, "network/end").layer == "network"


def test_what_is_not_there_is_refused_with_the_nearest():
    whole = model()
    with pytest.raises(UnknownLayerError, match=r"Nearest names:.*encoder/block_1/conv"):
        erf.receptive_field(whole, "encoder/block_1/cnov")
    with pytest.raises(UnknownLayerError, match="`layer` must be a layer of the model"):
        erf.probe(whole, "decoder/block_1", samples=1)

    class Closed(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(2, 3, name="conv")

        def build(self, shape):
            self.conv.build(shape)

        def call(self, x):
            if keras.ops.convert_to_numpy(x).ndim:
                return self.conv(x)
            return x

        def compute_output_shape(self, shape):
            return (shape[0], shape[1] - 2, shape[2] - 2, 2)

        def compute_output_spec(self, x):
            return keras.KerasTensor(self.compute_output_shape(x.shape))

    x = keras.Input((9, 8, 1))
    closed = keras.Model(x, Closed(name="closed")(x))
    with pytest.raises(UnknownLayerError, match="is inside of 'closed', whose calls cannot be"):
        erf.receptive_field(closed, "closed/conv")


def test_the_first_input_with_space_is_the_one():
    ids, features = keras.Input((None,), name="a_ids"), keras.Input((16, 2), name="features")
    mixed = layers.Conv1D(2, 3, name="conv")(features)
    tokens = layers.Embedding(5, 2)(ids)
    whole = keras.Model([ids, features], [mixed, layers.LayerNormalization()(tokens + 1)])
    field = erf.receptive_field(whole)
    assert (field.layer, field.input, field.size) == ("conv", "features", (3,))
    # Nothing leads from the ids to it, whose number is open.
    assert erf.probe(whole, samples=2).map.shape == (16,)


# --- On the command line and on the page ---------------------------------------------------------


@pytest.mark.parametrize("command", ["trf", "profile", "report"])
def test_all_and_some_do_not_go_together(command: str):
    done = run(command, "plain", "--inside", "--layer", "conv1")
    assert done.exit_code == 2
    assert "--inside" in done.stderr
    assert "\n" not in done.stderr.strip()


def test_what_folds_on_the_page():
    names = ["stem", "encoder/block_0/conv", "encoder/block_0", "encoder", "other/conv", "head"]
    assert around_of(names) == [None, 3, 3, None, None, None]


def test_the_page_folds_them(tmp_path):
    profile = erf.profile(model(), samples=1, inside=True)
    page = Page(erf.report(profile, tmp_path / "page.html"))
    shown = page.data["models"][0]["layers"]
    names = [one["layer"] for one in shown]
    for one in shown:
        inside = one["layer"].startswith("encoder/")
        assert one["around"] == (names.index("encoder") if inside else None)
    count = sum(name.startswith("encoder/") for name in names)
    assert f'id="inside"> Layers inside of others ({count})' in page.text
    assert page.text.count('class="inside"') == count


def test_a_page_without_them_has_no_switch(tmp_path):
    page = Page(erf.report(erf.profile(model(), samples=1), tmp_path / "page.html"))
    assert 'id="inside"' not in page.text


def test_inside_is_true_or_false():
    with pytest.raises(InvalidInputError, match="`inside` must be True or False"):
        erf.receptive_fields(model(), inside="encoder")
