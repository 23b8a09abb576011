"""Layers of Keras 2 and tf.keras, from their arguments to those of Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation.values import plain, tuples

__all__ = ["HARMLESS", "current"]

Result = tuple[str, Config]

CLASSES = {
    "SyncBatchNormalization": "BatchNormalization",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "LSTMV2": "LSTM", "GRUV2": "GRU", "LSTMCellV2": "LSTMCell", "GRUCellV2": "GRUCell",
    "UnifiedLSTM": "LSTM", "UnifiedGRU": "GRU",
}  # fmt: skip
# They only train, or change nothing that a field sees.
IDENTITIES = ("RandomHeight", "RandomWidth", "AddLoss", "AddMetric", "NoOpLayer")
# Arguments of every layer that Keras 3 does not use.
EVERYWHERE = (
    "batch_input_shape", "batch_shape", "input_shape", "input_dtype", "dynamic",
    "build_config", "shared_object_id", "autocast",
)  # fmt: skip
KERNEL = (
    "kernel_initializer", "kernel_regularizer", "kernel_constraint", "kernel_quantizer",
)  # fmt: skip
RECURRENT = ("implementation", "time_major", "input_dim", "input_length")
# Arguments that an old class writes and the new one lacks, by class.
DROPPED: dict[str, tuple[str, ...]] = {
    "SeparableConv1D": KERNEL,
    "SeparableConv2D": KERNEL,
    "DepthwiseConv1D": ("filters", *KERNEL),
    "DepthwiseConv2D": ("filters", *KERNEL),
    "BatchNormalization": (
        "fused", "renorm", "renorm_clipping", "renorm_momentum", "virtual_batch_size",
        "adjustment", "mode", "feature_axis",
    ),
    "Embedding": ("input_length", "activity_regularizer", "sparse"),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
    "LSTM": RECURRENT,
    "GRU": RECURRENT,
    "SimpleRNN": (*RECURRENT, "recurrent_activation"),
    "RNN": RECURRENT,
    "ConvLSTM1D": (*RECURRENT, "unroll"),
    "ConvLSTM2D": (*RECURRENT, "unroll"),
    "ConvLSTM3D": (*RECURRENT, "unroll"),
    "LSTMCell": ("implementation",),
    "GRUCell": ("implementation",),
    "SpatialDropout1D": ("noise_shape", "data_format"),
    "SpatialDropout2D": ("noise_shape",),
    "SpatialDropout3D": ("noise_shape",),
    "GaussianDropout": ("noise_shape",),
    "Dense": ("input_dim", "input_length", "implementation"),
    "Activation": ("input_dim",),
    "UpSampling1D": ("data_format",),
    "Cropping1D": ("data_format",),
    "Bidirectional": ("input_dim", "input_length", "implementation"),
    "TimeDistributed": ("input_dim",),
    "Normalization": ("input_mean", "input_variance"),
    "Discretization": ("input_type",),
    "Flatten": ("input_dim",),
    "Conv1D": ("input_dim", "input_length"),
}  # fmt: skip
# Arguments that are dropped at these values, and refused at others.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "cache_enabled": (True, False),
    "rng_type": ("stateful", "stateless", "legacy_stateful", None),
    "groups": (1,),
    "ragged": (False, None),
    "sparse": (False, None),
    "optional": (False, None),
    "time_major": (False, None),
    "causal": (False, None),
    "zero_output_for_mask": (False, None),
    "type_spec": (None,),
    "noise_shape": (None,),
    "stateful": (False,),
    "renorm": (False, None),
    "unroll": (False, True),
}


def current(name: str, config: Config) -> Result:
    """Class and arguments of a Keras 2 layer as Keras 3 has them."""
    name = CLASSES.get(name, name)
    dropped = (*EVERYWHERE, *DROPPED.get(name, ()))
    keep = ("batch_shape",) if name == "InputLayer" else ()
    kept = {key: value for key, value in config.items() if key not in dropped or key in keep}
    if name in IDENTITIES:
        return "Identity", {key: kept[key] for key in ("name", "trainable", "dtype") if key in kept}
    special = SPECIAL.get(name)
    if name == "InputLayer":
        kept["batch_shape"] = config.get("batch_input_shape", config.get("batch_shape"))
    return special(name, kept) if special else (name, kept)


def _one(value: Any) -> Any:
    """A list of one number as the number."""
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value


def _batch_normalization(name: str, config: Config) -> Result:
    # tf.keras 1.13 to 2.2 write the axis as a list.
    config["axis"] = _one(config.get("axis", -1))
    return name, config


def _layer_normalization(name: str, config: Config) -> Result:
    config["axis"] = _one(config.get("axis", -1))
    return name, config


def _leaky_relu(name: str, config: Config) -> Result:
    if "alpha" in config:
        config["negative_slope"] = float(_one(config.pop("alpha")))
    return name, config


def _relu(name: str, config: Config) -> Result:
    return name, {
        key: float(_one(value)) if key in ("max_value", "negative_slope", "threshold")
        and value is not None else value
        for key, value in config.items()
    }  # fmt: skip


def _elu(name: str, config: Config) -> Result:
    if "alpha" in config:
        config["alpha"] = float(_one(config["alpha"]))
    return name, config


def _thresholded_relu(name: str, config: Config) -> Result:
    # Behind the threshold it is the identity, before it nothing: a ReLU with a threshold.
    config["threshold"] = float(_one(config.pop("theta", 1.0)))
    return "ReLU", config


def _cudnn_lstm(name: str, config: Config) -> Result:
    return "LSTM", {**config, "activation": "tanh", "recurrent_activation": "sigmoid"}


def _cudnn_gru(name: str, config: Config) -> Result:
    return "GRU", {
        **config, "activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True,
    }  # fmt: skip


def _gru(name: str, config: Config) -> Result:
    # Before 2.1 there was no such argument, and the gate was applied first.
    config.setdefault("reset_after", False)
    config.setdefault("recurrent_activation", "hard_sigmoid")
    return name, config


def _lstm(name: str, config: Config) -> Result:
    config.setdefault("recurrent_activation", "hard_sigmoid")
    return name, config


def _attention(name: str, config: Config) -> Result:
    # Keras 3 asks for it in the call.
    causal = config.pop("causal", False)
    return name, {**config, "call:use_causal_mask": True} if causal else config


def _multi_head_attention(name: str, config: Config) -> Result:
    for key in ("attention_axes", "output_shape"):
        if config.get(key) is not None:
            config[key] = tuples(config[key])
    return name, config


def _random_zoom(name: str, config: Config) -> Result:
    return name, {
        key: tuples(value) if key.endswith("factor") else value for key, value in config.items()
    }


def _bidirectional(name: str, config: Config) -> Result:
    forward = config["layer"]
    if config.get("backward_layer") is None:
        config.pop("backward_layer", None)
        if forward["config"].get("go_backwards"):
            # Keras 3 would have the copy go backwards too.
            own = {**forward["config"], "go_backwards": False}
            own["name"] = f"backward_{own.get('name')}"
            config["backward_layer"] = {**forward, "name": own["name"], "config": own}
    return name, config


def _stacked_cells(name: str, config: Config) -> Result:
    if len(config["cells"]) > 1:
        return name, config
    # Keras 3 does not run a stack of one: the cell is the same.
    cell = config["cells"][0]
    return current(cell["class_name"], plain(cell["config"]))


def _random_crop(name: str, config: Config) -> Result:
    # Outside of training Keras 2 cuts the input to the ratio of the sides and resizes the rest.
    kept: Config = {
        key: config[key] for key in ("name", "dtype", "height", "width") if key in config
    }
    return "Resizing", {**kept, "crop_to_aspect_ratio": True}


def _text(name: str, config: Config) -> Result:
    for key in ("vocabulary_size", "has_input_vocabulary", "vocab_size", "max_vocab_size"):
        config.pop(key, None)
    return name, config


def _dense_units(name: str, config: Config) -> Result:
    if "units" in config:
        config["units"] = int(_one(config["units"]))
    return name, config


SPECIAL: dict[str, Callable[[str, Config], Result]] = {
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": _leaky_relu,
    "ReLU": _relu,
    "ELU": _elu,
    "ThresholdedReLU": _thresholded_relu,
    "CuDNNLSTM": _cudnn_lstm,
    "CuDNNGRU": _cudnn_gru,
    "GRU": _gru,
    "GRUCell": _gru,
    "LSTM": _lstm,
    "LSTMCell": _lstm,
    "ConvLSTM2D": _lstm,
    "Attention": _attention,
    "AdditiveAttention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "RandomZoom": _random_zoom,
    "RandomRotation": _random_zoom,
    "RandomTranslation": _random_zoom,
    "RandomCrop": _random_crop,
    "Bidirectional": _bidirectional,
    "StackedRNNCells": _stacked_cells,
    "StringLookup": _text,
    "IntegerLookup": _text,
    "TextVectorization": _text,
    "Dense": _dense_units,
}
