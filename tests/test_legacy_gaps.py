"""Old files that leave something out, and what is found in its place, against NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import keras_erf as erf
from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Architecture
from keras_erf.legacy.building import build
from tests import numpy_layers as by_hand
from tests.keras1_files import OldLayer, chain, graph, save
from tests.numpy_layers import first, last

TOLERANCE = 1e-5
RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def convolution2d(filters: int, rows: int, columns: int, **more: Any) -> dict[str, Any]:
    """Arguments of Keras 1 that change what is computed."""
    return {"nb_filter": filters, "nb_row": rows, "nb_col": columns, "border_mode": "same",
            "subsample": [1, 1], "bias": True, "activation": "linear"} | more  # fmt: skip


def assert_predicts(model: Any, x: np.ndarray, expected: np.ndarray) -> None:
    result = np.asarray(model(x.astype("float32"), training=False))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


# --- The order of axes ---------------------------------------------------------------------------


def test_layers_without_an_order_have_that_of_the_others(tmp_path):
    """UpSampling2D of Keras 1 states none, in a nested model either."""
    kernel, bias = draw(4, 3, 3, 3), draw(4)
    inner = [
        OldLayer("UpSampling2D", {"size": [2, 1], "batch_input_shape": [None, 3, 4, 5]}),
        OldLayer("ZeroPadding2D", {"padding": [0, 1]}),
    ]
    convolution = convolution2d(4, 3, 3, dim_ordering="th", border_mode="valid")
    layer = OldLayer("Convolution2D", convolution, {"W:0": kernel, "b:0": bias})
    config = {"class_name": "Sequential", "config": [chain(inner), *chain([layer])["config"]]}
    model = erf.load_model(save(tmp_path / "old.h5", config, [layer]))
    x = draw(2, 3, 4, 5)
    y = np.pad(np.repeat(last(x), 2, axis=1), ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = by_hand.convolution(y, np.transpose(kernel, (2, 3, 1, 0)), bias)
    assert_predicts(model, x, first(expected))


# --- The padding of Theano -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "step", "gap"),
    [((3, 3), 1, 1), ((4, 2), 1, 1), ((3, 3), 2, 1), ((4, 3), 3, 1), ((2, 3), 1, 2)],
)
@pytest.mark.parametrize("size", [(8, 9), (9, 8)])
def test_theano_pads_half_a_window_on_either_side(window, step, gap, size, tmp_path):
    # Keras 3 adds the bias along the last axis where both have a size, without a graph.
    kernel, bias = draw(6, 3, *window), draw(6)
    config = convolution2d(6, *window, dim_ordering="th", subsample=[step, step])
    config |= {"atrous_rate": [gap, gap], "batch_input_shape": [None, 3, *size]}
    kind = "Convolution2D" if gap == 1 else "AtrousConvolution2D"
    layers = [OldLayer(kind, config, {"W": kernel, "b": bias})]
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers, backend="theano"))
    x = draw(2, 3, *size)
    # The mode "half" of Theano; where windows are even, there is an output too many.
    margins = [(gap * (width - 1) + 1) // 2 for width in window]
    y = np.pad(last(x), ((0, 0), *((margin, margin) for margin in margins), (0, 0)))
    turned = np.transpose(kernel[:, :, ::-1, ::-1], (2, 3, 1, 0))
    y = by_hand.convolution(y, turned, bias, (step, step), dilation=(gap, gap))
    rows, columns = (-(-length // step) for length in size)
    assert_predicts(model, x, first(y[:, :rows, :columns]))


def test_other_backends_pad_as_tensorflow(tmp_path):
    kernel, bias = draw(4, 4, 3, 2), draw(2)
    config = convolution2d(2, 4, 4, dim_ordering="tf") | {"batch_input_shape": [None, 7, 6, 3]}
    layers = [OldLayer("Convolution2D", config, {"W:0": kernel, "b:0": bias})]
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers))
    x = draw(2, 7, 6, 3)
    assert_predicts(model, x, by_hand.convolution(x, kernel, bias, padding="same"))


# --- The shape of the input ----------------------------------------------------------------------


def conv(filters: int, window: int, **more: Any) -> dict[str, Any]:
    """Arguments of Keras 2."""
    return {"filters": filters, "kernel_size": [window], "strides": [1], "padding": "valid",
            "activation": "relu"} | more  # fmt: skip


def shapeless(size: int) -> list[OldLayer]:
    """Layers of tf.keras 2.0 that were built by a series of that size, with two channels."""
    rows = (size - 2) // 2 * 3
    return [
        OldLayer("Conv1D", conv(3, 3), {"kernel:0": draw(3, 2, 3), "bias:0": draw(3)}),
        OldLayer("MaxPooling1D", {"pool_size": [2], "strides": [2], "padding": "valid"}),
        OldLayer("Flatten"),
        OldLayer("Dense", {"units": 2}, {"kernel:0": draw(rows, 2), "bias:0": draw(2)}),
    ]


@pytest.mark.parametrize("size", [4, 20, 33])
def test_the_shape_of_an_input_follows_from_the_weights(size, tmp_path):
    layers = shapeless(size)
    file = save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4-tf")
    model = erf.load_model(file)
    # Two sizes give as many outputs where pooling leaves a rest: the smaller one counts.
    assert model.input_shape == (None, size - size % 2, 2)
    x = draw(2, size - size % 2, 2)
    convolved, dense = layers[0].arrays, layers[3].arrays
    y = by_hand.relu(by_hand.convolution(x, convolved["kernel:0"], convolved["bias:0"]))
    y = by_hand.pool(y, (2,)).reshape(2, -1)
    assert_predicts(model, x, by_hand.dense(y, dense["kernel:0"], dense["bias:0"]))


def test_sizes_stay_open_where_nothing_needs_them(tmp_path):
    kernel, bias = draw(3, 3, 5, 4), draw(4)
    arguments = conv(4, 3) | {"kernel_size": [3, 3], "strides": [1, 1]}
    layers = [
        OldLayer("Dropout", {"rate": 0.5}),
        OldLayer("Conv2D", arguments, {"kernel:0": kernel, "bias:0": bias}),
        OldLayer("GlobalMaxPooling2D"),
    ]
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4-tf"))
    assert model.input_shape == (None, None, None, 5)
    x = draw(2, 6, 7, 5)
    expected = by_hand.relu(by_hand.convolution(x, kernel, bias)).max((1, 2))
    assert_predicts(model, x, expected)


def test_a_shape_that_fits_no_weights_is_not_made_up(tmp_path):
    layers = shapeless(20)
    layers[3].arrays["kernel:0"] = draw(28, 2)
    file = save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4-tf")
    with pytest.raises(ModelLoadError, match="does not state the shape of its input"):
        erf.load_model(file)


# --- Operands ------------------------------------------------------------------------------------


def operation(function: str, inbound: list[Any]) -> dict[str, Any]:
    """A model of one operation of TensorFlow."""
    inputs = {"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
              "config": {"name": "x", "batch_input_shape": [None, 4, 3]}}  # fmt: skip
    layer = {"class_name": "TFOpLambda", "name": "op", "inbound_nodes": inbound,
             "config": {"name": "op", "function": function}}  # fmt: skip
    config = {"name": "m", "layers": [inputs, layer], "input_layers": [["x", 0, 0]],
              "output_layers": [["op", 0, 0]]}  # fmt: skip
    return {"class_name": "Functional", "config": config}


@pytest.mark.parametrize(
    ("function", "inbound", "says"),
    [
        ("__operators__.ne", [["x", 0, 0, {}]], "'op'.*does not hold its second operand"),
        ("__operators__.eq", [["x", 0, 0, {}]], "'op'.*does not hold its second operand"),
        (
            "einsum",
            [["_CONSTANT_VALUE", -1, "bij,bjk->bik", {}]],
            "'op'.*does not hold the operands of einsum",
        ),
        ("nn.relu", [["x", 0, 0, {"unheard_of": 1}]], "'op'.*unheard_of"),
        ("math.reduce_sum", [["x", 0, 0, {"unheard_of": 1}]], "'op'.*unheard_of"),
        ("norm", [["x", 0, 0, {"ord": 3}]], "'op'.*a norm of order 3"),
    ],
)
def test_operations_without_their_operands_are_refused(function, inbound, says):
    """Not computed with others, in silence."""
    with pytest.raises(ModelLoadError, match=says):
        build(Architecture(operation(function, inbound)))


def test_operations_with_known_arguments_are_computed():
    inbound = [["x", 0, 0, {"keep_dims": True, "reduction_indices": 1, "name": "sum"}]]
    model = build(Architecture(operation("math.reduce_sum", inbound))).model
    x = draw(2, 4, 3).astype("float32")
    np.testing.assert_allclose(model(x), x.sum(1, keepdims=True), rtol=1e-5)


# --- Arguments that some classes do not take -----------------------------------------------------


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape", "more"),
    [
        ("SpatialDropout1D", (4, 3), {"rate": 0.5}),
        ("SpatialDropout2D", (4, 4, 3), {"rate": 0.5}),
        ("SpatialDropout3D", (4, 4, 4, 3), {"rate": 0.5}),
        ("Discretization", (3,), {"bin_boundaries": [0.0, 1.0]}),
    ],
)
def test_layers_may_be_frozen(kind, shape, more, trainable):
    start = {"batch_input_shape": [None, *shape], "trainable": trainable}
    model = build(Architecture(chain([OldLayer(kind, start | more, name="one")]))).model
    assert model.get_layer("one").trainable is trainable


# --- Arrays that Keras 3 has no use for ----------------------------------------------------------


@pytest.mark.parametrize("scale", [True, False])
def test_batch_renormalisation_is_batch_normalisation_outside_of_training(scale, tmp_path):
    names = [*["gamma"] * scale, "beta", "moving_mean", "moving_variance"]
    arrays = {name: np.abs(draw(3)) + 0.2 for name in names}
    more = {f"{name}:0": np.full((3,), 9.0) for name in ("stddev", "renorm_mean", "renorm_stddev")}
    config = {"axis": [3], "epsilon": 1e-3, "scale": scale, "renorm": True, "momentum": 0.9,
              "renorm_clipping": {}, "renorm_momentum": 0.99, "fused": False}  # fmt: skip
    start = {"batch_input_shape": [None, 4, 5, 3]}
    stored = {f"{name}:0": array for name, array in arrays.items()} | more
    layers = [OldLayer("BatchNormalizationV1", start | config, stored)]
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4-tf"))
    x = draw(2, 4, 5, 3)
    expected = by_hand.batch_normalization(
        x, arrays.get("gamma", 1.0), arrays["beta"], arrays["moving_mean"],
        arrays["moving_variance"], 1e-3,
    )  # fmt: skip
    assert_predicts(model, x, expected)


# --- Layers of other packages --------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, -1, 1])
@pytest.mark.parametrize("scale", [True, False])
def test_instance_normalisation_of_keras_contrib(axis, scale, tmp_path):
    x = draw(2, 4, 5, 3)
    count = 1 if axis is None else x.shape[axis]
    arrays = {"gamma:0": draw(count), "beta:0": draw(count)} if scale else {"beta:0": draw(count)}
    config = {"axis": axis, "epsilon": 0.1, "center": True, "scale": scale,
              "batch_input_shape": [None, 4, 5, 3]}  # fmt: skip
    layers = [OldLayer("InstanceNormalization", config, arrays)]
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4"))
    over = {None: (1, 2, 3), -1: (1, 2), 1: (2, 3)}[axis]
    shape = (1, 4, 1, 1) if axis == 1 else (1, 1, 1, count)
    y = (x - x.mean(over, keepdims=True)) / (x.std(over, keepdims=True) + 0.1)
    if scale:
        y = y * arrays["gamma:0"].reshape(shape)
    assert_predicts(model, x, y + arrays["beta:0"].reshape(shape))


def test_a_pixel_shuffler_turns_channels_into_places(tmp_path):
    config = {"size": [2, 2], "batch_input_shape": [None, 3, 4, 8]}
    layers = [OldLayer("PixelShuffler", config), OldLayer("FixedDropout", {"rate": 0.2,
              "noise_shape": [None, 1, 1, None], "seed": None})]  # fmt: skip
    model = erf.load_model(save(tmp_path / "old.h5", chain(layers), layers, version="2.2.4"))
    x = draw(2, 3, 4, 8)
    expected = x.reshape(2, 3, 4, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 8, 2)
    assert_predicts(model, x, expected)


# --- Lambdas of keras.applications ---------------------------------------------------------------


def scaled(name: str, arguments: dict[str, Any]) -> list[OldLayer]:
    start = {"batch_input_shape": [None, 4, 4, 3], "input_dtype": "float32"}
    code = {"function": ["4wEAAAA=", None, None], "function_type": "lambda"}
    return [
        OldLayer("InputLayer", start, name="a"),
        OldLayer("InputLayer", start, name="b"),
        OldLayer("Lambda", code | {"arguments": arguments}, name=name, inbound=[["a", "b"]]),
    ]


def test_the_lambdas_of_inception_resnet_are_known(tmp_path):
    layers = scaled("block35_1", {"scale": 0.17})
    config = graph(layers, ["a", "b"], ["block35_1"])
    model = build(Architecture(config)).model
    a, b = (draw(2, 4, 4, 3).astype("float32") for _ in range(2))
    np.testing.assert_allclose(model([a, b]), a + b * np.float32(0.17), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments"), [("block35_1", {}), ("blocks", {"scale": 0.17}), ("block9_1", {})]
)
def test_other_lambdas_are_not_taken_for_them(name, arguments):
    config = graph(scaled(name, arguments), ["a", "b"], [name])
    with pytest.raises(
        ModelLoadError, match=f"Lambda layers, whose Python code is not run: {name}"
    ):
        build(Architecture(config))


# --- Files of Keras 3 ----------------------------------------------------------------------------


def test_attention_in_hdf5_of_keras_3(tmp_path):
    """Its score mode is the name of a function there, for which Keras's own reader takes it."""
    query, value = keras.Input((4, 3)), keras.Input((5, 3))
    inner = keras.Model([query, value], keras.layers.Attention(use_scale=True)([query, value]))
    x = keras.layers.Dense(3)(query)
    model = keras.Model([query, value], keras.layers.Dense(2)(inner([x, value])))
    for weight in model.weights:
        weight.assign(draw(*weight.shape))
    model.save(tmp_path / "attention.h5")
    with h5py.File(tmp_path / "attention.h5") as file:
        assert '"score_mode": "dot"' in file.attrs["model_config"]
    again = erf.load_model(tmp_path / "attention.h5")
    inputs = [draw(2, 4, 3).astype("float32"), draw(2, 5, 3).astype("float32")]
    np.testing.assert_allclose(again(inputs), model(inputs), rtol=1e-5)


def test_json_has_no_such_fault(tmp_path: Path):
    query = keras.Input((4, 3))
    model = keras.Model(query, keras.layers.Attention(score_mode="concat")([query, query]))
    (tmp_path / "m.json").write_text(model.to_json())
    assert json.loads(model.to_json())["config"]["layers"][1]["config"]["score_mode"] == "concat"
    again = erf.load_model(tmp_path / "m.json", weights="none")
    assert again.layers[-1].score_mode == "concat"
