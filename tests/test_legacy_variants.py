"""Configurations as particular versions and packages wrote them, against formulas in NumPy.

Each variant changes one thing of a file of Keras 2 whose predictions are known, or is a layer of
tensorflow-addons, keras-contrib or cuDNN, which cannot be installed or need a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import keras_erf as erf
from keras_erf.errors import ModelLoadError
from tests import numpy_layers as by_hand
from tests.keras1_files import OldLayer, entry, save
from tests.numpy_layers import Array

TOLERANCE = 1e-5
IMAGE, SERIES = (6, 7, 3), (5, 4)
Config = dict[str, Any]


def draws() -> Callable[..., Array]:
    random = np.random.default_rng(0)
    return lambda *shape: random.normal(size=shape).astype("float32") * 0.5


def initializer(name: str, **config) -> Config:
    return {"class_name": name, "config": config}


def conv_config(filters: int, size: int, **config) -> Config:
    return {
        "trainable": True, "dtype": "float32", "filters": filters, "kernel_size": [size, size],
        "strides": [1, 1], "padding": "valid", "data_format": "channels_last",
        "dilation_rate": [1, 1], "activation": "linear", "use_bias": True,
        "kernel_initializer": initializer("GlorotUniform", seed=None),
        "bias_initializer": initializer("Zeros"), "kernel_regularizer": None,
        "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None,
        "bias_constraint": None, **config,
    }  # fmt: skip


def node(*names: str) -> list[Any]:
    """A call, as Keras 2 has it."""
    return [[[name, 0, 0, {}] for name in names]]


def placed(layer: OldLayer, inbound: list[Any], **config) -> Config:
    base = entry(layer)
    return {**base, "config": {**base["config"], **config}, "name": layer.named,
            "inbound_nodes": inbound}  # fmt: skip


KERNEL, BIAS = draws()(3, 3, 3, 2), draws()(2)
CONV = OldLayer("Conv2D", conv_config(2, 3), {"kernel:0": KERNEL, "bias:0": BIAS}, "conv")
LEAKY = OldLayer("LeakyReLU", {"alpha": 0.30000001192092896}, {}, "leaky")
INPUT = OldLayer(
    "InputLayer", {"batch_input_shape": [None, *IMAGE], "dtype": "float32", "sparse": False},
    {}, "image",
)  # fmt: skip


def graph() -> Config:
    """Image, convolution, leaky ReLU, and the image's middle added to it."""
    layers = [
        placed(INPUT, []), placed(CONV, node("image")), placed(LEAKY, node("conv")),
    ]  # fmt: skip
    config = {"name": "network", "layers": layers, "input_layers": [["image", 0, 0]],
              "output_layers": [["leaky", 0, 0]]}  # fmt: skip
    return {"class_name": "Model", "config": config}


def leaky(x: Array) -> Array:
    y = by_hand.convolution(x, KERNEL, BIAS)
    return np.where(y > 0, y, 0.30000001192092896 * y)


def check(model: Any, inputs: Any, expected: Array) -> None:
    output = keras.ops.convert_to_numpy(model(inputs, training=False))
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def image() -> Array:
    return np.random.default_rng(1).normal(size=(2, *IMAGE)).astype("float32")


# --- Writing of models ---------------------------------------------------------------------------


def layer(config: Config, name: str) -> Config:
    return next(one for one in config["config"]["layers"] if one["name"] == name)


def renamed_class(name: str, **others) -> Callable[[Config], None]:
    return lambda config: config.update(class_name=name, **others)


def of_module(config: Config) -> None:
    config |= {"class_name": "Functional", "module": "keras.src.engine.functional",
               "registered_name": "Functional"}  # fmt: skip
    for one in config["config"]["layers"]:
        one |= {"module": "keras.layers", "registered_name": None}


def typed_initializers(config: Config) -> None:
    own = layer(config, "conv")["config"]
    own["kernel_initializer"] = initializer("GlorotUniform", seed=None, dtype="float32")
    own["bias_initializer"] = initializer("Zeros", dtype="float32")


def grouped(config: Config) -> None:
    layer(config, "conv")["config"]["groups"] = 1


def policies(config: Config) -> None:
    policy = {"class_name": "Policy", "config": {"name": "float32"}}
    for one in config["config"]["layers"][1:]:
        one["config"]["dtype"] = policy


def own_shape(config: Config) -> None:
    """The shape of the input is stated again by the first layer."""
    layer(config, "conv")["config"]["batch_input_shape"] = [None, *IMAGE]


def marked_tuples(config: Config) -> None:
    """As archives of 2.13 mark tuples."""
    own = layer(config, "conv")["config"]
    own["kernel_size"] = {"class_name": "__tuple__", "items": [3, 3]}


def alpha_as_array(config: Config) -> None:
    own = layer(config, "leaky")["config"]
    own["alpha"] = {"class_name": "__numpy__", "config": {"value": 0.30000001192092896,
                                                          "dtype": "float32"}}  # fmt: skip


def alpha_as_old_array(config: Config) -> None:
    layer(config, "leaky")["config"]["alpha"] = {"type": "ndarray", "value": 0.30000001192092896}


def own_parts(config: Config) -> None:
    """Regularisers, constraints and initialisers of the author's, which only train."""
    own = layer(config, "conv")["config"]
    own["kernel_initializer"] = initializer("MyInitializer", gain=3)
    own["kernel_regularizer"] = initializer("MyRegularizer", weight=0.1)
    own["kernel_constraint"] = initializer("MyConstraint")


def flat_edges(config: Config) -> None:
    """As the archives of 2.13 to 2.15 write a call with one input."""
    layer(config, "conv")["inbound_nodes"] = [["image", 0, 0, {}]]


def single_reference(config: Config) -> None:
    config["config"] |= {"input_layers": ["image", 0, 0], "output_layers": ["leaky", 0, 0]}


WRITINGS: dict[str, Callable[[Config], None]] = {
    "as it is": lambda config: None,
    "class Functional": renamed_class("Functional"),
    "class Network": renamed_class("Network"),
    "class Container": renamed_class("Container"),
    "class of the author's, a graph": renamed_class("MyModel"),
    "registered class, a graph": renamed_class("Custom>MyModel"),
    "module of keras.src": of_module,
    "dtype in initialisers": typed_initializers,
    "groups": grouped,
    "policies of precision": policies,
    "shape stated twice": own_shape,
    "marked tuples": marked_tuples,
    "number as an array": alpha_as_array,
    "number as an array of Keras 2.2": alpha_as_old_array,
    "parts of the author's": own_parts,
    "flat edges": flat_edges,
    "single reference": single_reference,
}


@pytest.mark.parametrize("name", WRITINGS)
def test_writings_of_one_model(name, tmp_path):
    config = copy.deepcopy(graph())
    WRITINGS[name](config)
    file = save(tmp_path / "old.h5", config, [INPUT, CONV, LEAKY], version="2.4.0")
    check(erf.load_model(file), image(), leaky(image()))


def inner_chain(*, listed: bool, with_input: bool, with_shape: bool) -> Config:
    layers = [entry(CONV), entry(LEAKY)]
    layers[0]["config"] |= {"batch_input_shape": [None, *IMAGE]} if with_shape else {}
    if with_input:
        layers.insert(0, entry(INPUT))
    config: Any = layers if listed else {"name": "inner", "layers": layers}
    return {"class_name": "Sequential", "config": config}


@pytest.mark.parametrize("listed", [True, False], ids=["list", "object"])
@pytest.mark.parametrize(
    ("with_input", "with_shape"), [(False, True), (True, False), (True, True)],
    ids=["shape", "input", "both"],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
def test_chains_state_their_shape_in_several_ways(nested, with_input, with_shape, listed, tmp_path):
    chain = inner_chain(listed=listed, with_input=with_input, with_shape=with_shape)
    held = [CONV, LEAKY]
    if nested:
        chain = {"class_name": "Sequential", "config": {"name": "outer", "layers": [
            chain, {"class_name": "Flatten", "config": {"name": "flat"}}]}}  # fmt: skip
        # Without a name of its own, a list has that which Keras gave to its group of weights.
        held = [OldLayer("Sequential", {}, CONV.arrays, "inner")]
    file = save(tmp_path / "old.h5", chain, held, version="2.2.4-tf")
    expected = leaky(image())
    check(erf.load_model(file), image(), by_hand.flat(expected) if nested else expected)


# --- Layers of other packages --------------------------------------------------------------------


def one_layer(tmp_path: Any, old: OldLayer, shape: tuple[int, ...], **load) -> Any:
    first = {"batch_input_shape": [None, *shape], "dtype": "float32"}
    old = OldLayer(old.class_name, first | old.config, old.arrays, old.name or "layer")
    config = {"class_name": "Sequential", "config": {"name": "network", "layers": [entry(old)]}}
    return erf.load_model(save(tmp_path / "old.h5", config, [old], version="2.4.0"), **load)


def norm_config(**config) -> Config:
    return {
        "trainable": True, "axis": -1, "epsilon": 0.01, "center": True, "scale": True,
        "beta_initializer": initializer("Zeros"), "gamma_initializer": initializer("Ones"),
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None,
        "gamma_constraint": None, **config,
    }  # fmt: skip


def test_instance_normalization_of_tensorflow_addons(tmp_path):
    gamma, beta = draws()(3), draws()(3) + 1
    old = OldLayer("Addons>InstanceNormalization", norm_config(groups=-1),
                   {"gamma:0": gamma, "beta:0": beta})  # fmt: skip
    x = image()
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 0.01) * gamma + beta
    check(one_layer(tmp_path, old, IMAGE), x, expected)


@pytest.mark.parametrize("class_name", ["Addons>GroupNormalization", "GroupNormalization"])
def test_group_normalization(class_name, tmp_path):
    gamma, beta = draws()(4), draws()(4) + 1
    old = OldLayer(class_name, norm_config(groups=2), {"gamma:0": gamma, "beta:0": beta})
    x = np.random.default_rng(2).normal(size=(2, 6, 7, 4)).astype("float32")
    groups = x.reshape(2, 6, 7, 2, 2)
    mean, variance = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 0.01)).reshape(x.shape) * gamma + beta
    check(one_layer(tmp_path, old, (6, 7, 4)), x, expected)


def test_instance_normalization_of_keras_contrib(tmp_path):
    """Its epsilon is added to the deviation, not to the variance."""
    gamma, beta = draws()(3), draws()(3) + 1
    old = OldLayer("InstanceNormalization", norm_config(), {"gamma:0": gamma, "beta:0": beta})
    x = image()
    mean, deviation = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    check(one_layer(tmp_path, old, IMAGE), x, (x - mean) / (deviation + 0.01) * gamma + beta)


def test_instance_normalization_of_keras_contrib_over_all_axes(tmp_path):
    """With no axis, its default, one mean of each sample, and one gain for all channels."""
    gamma, beta = draws()(1), draws()(1) + 1
    old = OldLayer("InstanceNormalization", norm_config(axis=None),
                   {"gamma:0": gamma, "beta:0": beta})  # fmt: skip
    x = image()
    mean, deviation = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    check(one_layer(tmp_path, old, IMAGE), x, (x - mean) / (deviation + 0.01) * gamma + beta)


@pytest.mark.parametrize("data_init", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_weight_normalization_of_tensorflow_addons(use_bias, data_init, tmp_path):
    """Salimans & Kingma 2016, equation 2: a direction, and a gain for each output."""
    draw = draws()
    gain, direction, bias = draw(2), draw(3, 3, 3, 2), draw(2)
    arrays = {"g:0": gain, "kernel:0": direction}
    arrays |= {"bias:0": bias} if use_bias else {}
    arrays["initialized:0"] = np.ones(())
    if data_init:
        arrays |= {"naked_kernel:0": draw(3, 3, 3, 2)} | ({"naked_bias:0": draw(2)} if use_bias
                                                          else {})  # fmt: skip
    inner = {"class_name": "Conv2D", "config": {"name": "conv", **conv_config(
        2, 3, use_bias=use_bias)}}  # fmt: skip
    old = OldLayer("Addons>WeightNormalization",
                   {"trainable": True, "layer": inner, "data_init": data_init}, arrays)  # fmt: skip
    kernel = gain * direction / np.sqrt((direction**2).sum((0, 1, 2)))
    expected = by_hand.convolution(image(), kernel, bias if use_bias else 0.0)
    check(one_layer(tmp_path, old, IMAGE), image(), expected)


ACTIVATIONS: dict[str, tuple[str, Config, Callable[[Array], Array]]] = {
    "GELU by tanh": (
        "Addons>GELU", {"approximate": True},
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "Mish": ("Addons>Mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "mish as an activation": (
        "Activation", {"activation": "Addons>mish"}, lambda x: x * np.tanh(np.log1p(np.exp(x)))
    ),
    "hard sigmoid": ("Activation", {"activation": "hard_sigmoid"}, by_hand.hard_sigmoid),
    "swish": ("Swish", {}, lambda x: x * by_hand.sigmoid(x)),
    "relu6 by a function": (
        "ReLU", {"max_value": 6.0, "negative_slope": [0.0], "threshold": 0.0},
        lambda x: np.clip(x, 0, 6),
    ),
    "hardtanh": ("Activation", {"activation": "Addons>hardtanh"}, lambda x: np.clip(x, -1, 1)),
    "lisht": ("Activation", {"activation": "Addons>lisht"}, lambda x: x * np.tanh(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_other_packages(name, tmp_path):
    class_name, config, function = ACTIVATIONS[name]
    old = OldLayer(class_name, {"trainable": True, **config})
    check(one_layer(tmp_path, old, IMAGE), image(), function(image().astype(float)))


# --- cuDNN ---------------------------------------------------------------------------------------


def stored_for_cudnn(kernel: Array) -> Array:
    """The matrix (units, inputs) that cuDNN takes, row by row, in an array of the kernel's shape.

    `CuDNNLSTM` of Keras 2 hands its arrays to cuDNN as flat vectors, without transposing them.
    """
    return np.ascontiguousarray(kernel.T).reshape(kernel.shape)


def cudnn_config(units: int) -> Config:
    return {
        "trainable": True, "return_sequences": True, "return_state": False, "go_backwards": False,
        "stateful": False, "units": units, "kernel_initializer": initializer("GlorotUniform"),
        "recurrent_initializer": initializer("Orthogonal", gain=1.0, seed=None),
        "bias_initializer": initializer("Zeros"), "kernel_regularizer": None,
        "recurrent_regularizer": None, "bias_regularizer": None, "activity_regularizer": None,
        "kernel_constraint": None, "recurrent_constraint": None, "bias_constraint": None,
    }  # fmt: skip


def cudnn_arrays(gates: dict[str, tuple[Array, ...]], biases: list[Array]) -> dict[str, Array]:
    kernels = [stored_for_cudnn(gate[0]) for gate in gates.values()]
    recurrent = [stored_for_cudnn(gate[1]) for gate in gates.values()]
    return {
        "kernel:0": np.concatenate(kernels, -1),
        "recurrent_kernel:0": np.concatenate(recurrent, -1),
        "bias:0": np.concatenate(biases),
    }


def series() -> Array:
    return np.random.default_rng(1).normal(size=(2, *SERIES)).astype("float32")


@pytest.mark.parametrize("wrapped", [False, True], ids=["forward", "bidirectional"])
def test_lstm_of_cudnn(wrapped, tmp_path):
    draw = draws()

    def gates() -> dict[str, tuple[Array, Array, Array]]:
        return {name: (draw(4, 3), draw(3, 3), draw(3)) for name in "ifco"}

    def arrays(held: dict[str, tuple[Array, Array, Array]]) -> dict[str, Array]:
        # Two biases, which are added.
        first = [draw(3) for _ in held]
        second = [gate[2] - one for gate, one in zip(held.values(), first, strict=True)]
        return cudnn_arrays(held, [*first, *second])

    forth, back = gates(), gates()
    config = {"class_name": "CuDNNLSTM", "config": {"name": "inner", **cudnn_config(3)}}
    if wrapped:
        both = {"trainable": True, "layer": config, "merge_mode": "concat"}
        old = OldLayer("Bidirectional", both,
                       {f"forward_{k}": v for k, v in arrays(forth).items()}
                       | {f"backward_{k}": v for k, v in arrays(back).items()})  # fmt: skip
    else:
        old = OldLayer("CuDNNLSTM", cudnn_config(3), arrays(forth))
    x = series()
    expected = by_hand.lstm(x, forth, by_hand.sigmoid)
    if wrapped:
        other = by_hand.lstm(x[:, ::-1], back, by_hand.sigmoid)[:, ::-1]
        expected = np.concatenate([expected, other], -1)
    check(one_layer(tmp_path, old, SERIES), x, expected)


def test_gru_of_cudnn(tmp_path):
    """Its gate r acts after the product with the recurrent kernel, whose bias is inside."""
    draw = draws()
    gates = {name: (draw(4, 3), draw(3, 3)) for name in "zrh"}
    of_inputs, of_states = {n: draw(3) for n in gates}, {n: draw(3) for n in gates}
    old = OldLayer("CuDNNGRU", cudnn_config(3),
                   cudnn_arrays(gates, [*of_inputs.values(), *of_states.values()]))  # fmt: skip
    x, states, hidden = series(), [], np.zeros((2, 3))
    for step in np.swapaxes(x, 0, 1):
        parts = {
            name: (step @ w + of_inputs[name], hidden @ u + of_states[name])
            for name, (w, u) in gates.items()
        }
        z, r = by_hand.sigmoid(sum(parts["z"])), by_hand.sigmoid(sum(parts["r"]))
        fresh = np.tanh(parts["h"][0] + r * parts["h"][1])
        hidden = z * hidden + (1 - z) * fresh
        states.append(hidden)
    check(one_layer(tmp_path, old, SERIES), x, np.stack(states, 1))


# --- Classes of the author's ---------------------------------------------------------------------


class Scaled(keras.layers.Layer):
    """Multiplies by a weight and a factor."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain * self.factor


@pytest.mark.parametrize("class_name", ["Scaled", "Custom>Scaled", "my_package>Scaled"])
@pytest.mark.parametrize("key", ["Scaled", "Custom>Scaled"])
def test_registered_classes_are_found_by_either_name(key, class_name, tmp_path):
    gain = draws()(3)
    old = OldLayer(class_name, {"trainable": True, "factor": 2.5}, {"gain:0": gain})
    if key == "Custom>Scaled" and class_name != key:
        # The name of another package is another class.
        with pytest.raises(ModelLoadError, match=f"not Keras's own: {class_name}"):
            one_layer(tmp_path, old, IMAGE, custom_objects={key: Scaled})
        return
    model = one_layer(tmp_path, old, IMAGE, custom_objects={key: Scaled})
    check(model, image(), image() * gain * 2.5)


# --- What a file does not hold -------------------------------------------------------------------


LOST = {
    "equality": ("__operators__.ne", [["image", 0, 0, {}]]),
    "einsum": ("einsum", [["_CONSTANT_VALUE", -1, "bhwc,bhvc->bhwv", {}]]),
}


@pytest.mark.parametrize("name", LOST)
def test_operands_that_tf_keras_does_not_store_are_not_made_up(name, tmp_path):
    """`x != y` and `tf.einsum(equation, x, y)` of tf.keras are stored without their operands."""
    function, inbound = LOST[name]
    config = graph()
    lost = OldLayer("TFOpLambda", {"trainable": True, "function": function}, {}, "operation")
    config["config"]["layers"].append(placed(lost, inbound))
    config["config"]["output_layers"] = [["operation", 0, 0]]
    file = save(tmp_path / "old.h5", config, [INPUT, CONV, LEAKY], version="2.12.0")
    with pytest.raises(ModelLoadError, match=r"'operation' of the file .* does not hold .*operand"):
        erf.load_model(file)
