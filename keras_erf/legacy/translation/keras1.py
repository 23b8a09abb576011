"""Layers of Keras 0.3 to 1.2, from their arguments to those of Keras 2.

Reference:
    The documentation of Keras 1.2.2, and of the change to Keras 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keras_erf.legacy.architecture import Config

__all__ = ["MERGE_MODES", "modernized"]

Result = tuple[str, Config]

CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D", "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose", "Deconvolution3D": "Conv3DTranspose",
    "Deconv2D": "Conv2DTranspose", "Deconv3D": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D", "SeparableConvolution2D": "SeparableConv2D",
    "SeparableConv": "SeparableConv2D", "DepthwiseConvolution2D": "DepthwiseConv2D",
    "Convolution2DTranspose": "Conv2DTranspose", "Convolution3DTranspose": "Conv3DTranspose",
    "Convolution1DTranspose": "Conv1DTranspose",
    "AvgPool1D": "AveragePooling1D", "AvgPool2D": "AveragePooling2D",
    "AvgPool3D": "AveragePooling3D",
    "MaxPool1D": "MaxPooling1D", "MaxPool2D": "MaxPooling2D", "MaxPool3D": "MaxPooling3D",
    "GlobalAvgPool1D": "GlobalAveragePooling1D", "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalAvgPool3D": "GlobalAveragePooling3D",
    "GlobalMaxPool1D": "GlobalMaxPooling1D", "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "GlobalMaxPool3D": "GlobalMaxPooling3D",
    "TimeDistributedDense": "Dense",
}  # fmt: skip

# Old argument to new one, where a layer has it; the same name means the same in every layer.
COMMON = {
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "W_constraint": "kernel_constraint",
    "b_regularizer": "bias_regularizer",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
}
CONVOLUTION = {"nb_filter": "filters", "subsample": "strides", "atrous_rate": "dilation_rate"}
RECURRENT = {
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "U_regularizer": "recurrent_regularizer",
    "U_constraint": "recurrent_constraint",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "output_dim": "units",
}
ONE_D = CONVOLUTION | {
    "filter_length": "kernel_size", "subsample_length": "strides", "atrous_rate": "dilation_rate",
}  # fmt: skip
RENAMED: Mapping[str, Mapping[str, str]] = {
    "Dense": {"output_dim": "units"},
    "MaxoutDense": {"output_dim": "units"},
    "Conv1D": ONE_D,
    "LocallyConnected1D": ONE_D,
    "Conv2D": CONVOLUTION,
    "LocallyConnected2D": CONVOLUTION,
    "Conv2DTranspose": CONVOLUTION,
    "Conv3DTranspose": CONVOLUTION,
    "Conv3D": CONVOLUTION,
    "SeparableConv1D": ONE_D,
    "SeparableConv2D": CONVOLUTION,
    "SimpleRNN": RECURRENT,
    "LSTM": RECURRENT,
    "GRU": RECURRENT,
    "ConvLSTM2D": CONVOLUTION | RECURRENT,
    "Embedding": {
        "init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    },
    "MaxPooling1D": {"pool_length": "pool_size", "stride": "strides"},
    "AveragePooling1D": {"pool_length": "pool_size", "stride": "strides"},
    "UpSampling1D": {"length": "size"},
    "Dropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
    "SpatialDropout3D": {"p": "rate"},
    "GaussianDropout": {"p": "rate"},
    "AlphaDropout": {"p": "rate"},
    "GaussianNoise": {"sigma": "stddev"},
    "BatchNormalization": {
        "beta_init": "beta_initializer", "gamma_init": "gamma_initializer",
    },
    "PReLU": {"init": "alpha_initializer"},
    "Reshape": {"dims": "target_shape"},
    "RepeatVector": {},
    "ActivityRegularization": {},
}  # fmt: skip
# Layers whose `init` and similar arguments mean the kernel's.
NO_KERNEL = ("Embedding", "BatchNormalization", "PReLU", "SReLU", "ParametricSoftplus")
KERNEL_AXES = {
    "Conv2D": ("nb_row", "nb_col"),
    "LocallyConnected2D": ("nb_row", "nb_col"),
    "Conv2DTranspose": ("nb_row", "nb_col"),
    "SeparableConv2D": ("nb_row", "nb_col"),
    "ConvLSTM2D": ("nb_row", "nb_col"),
    "Conv3D": ("kernel_dim1", "kernel_dim2", "kernel_dim3"),
    "Conv3DTranspose": ("kernel_dim1", "kernel_dim2", "kernel_dim3"),
}
DATA_FORMATS = {"th": "channels_first", "tf": "channels_last", "default": "channels_last"}
# What only the old implementation knows.
DROPPED = ("input_dim", "input_length", "input_dtype", "weights", "consume_less", "name_scope")
MERGE_MODES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "min": "Minimum",
    "concat": "Concatenate", "dot": "Dot", "cos": "Dot", "sub": "Subtract",
}  # fmt: skip


def modernized(name: str, config: Config) -> Result:
    """Class and arguments of a layer as Keras 2 has them; unchanged where they are."""
    name = CLASSES.get(name, name)
    if name == "Highway":
        return name, _dropped(config)
    renamed = dict(RENAMED.get(name, {}))
    common = {} if name in NO_KERNEL else COMMON
    renamed = {**common, **renamed}
    if name in NO_KERNEL:
        renamed.setdefault("dim_ordering", "data_format")
    result: Config = {}
    for key, value in _dropped(config, keep=("input_dim",) if name == "Embedding" else ()).items():
        new = renamed.get(key, key)
        if new == key or new not in config:
            result[new] = value
    axes = KERNEL_AXES.get(name)
    if axes and axes[0] in result:
        result["kernel_size"] = tuple(result.pop(axis) for axis in axes)
    if result.get("data_format") in DATA_FORMATS:
        result["data_format"] = DATA_FORMATS[result["data_format"]]
    special = SPECIAL.get(name)
    return special(name, result) if special else (name, result)


def _dropped(config: Config, keep: tuple[str, ...] = ()) -> Config:
    return {key: value for key, value in config.items() if key not in DROPPED or key in keep}


def _deconvolution(name: str, config: Config) -> Result:
    # The size of the output, which follows from the padding except for the border.
    shape = config.pop("output_shape", None)
    if shape is not None:
        config["old_output_shape"] = shape
    return name, config


def _merge(name: str, config: Config) -> Result:
    """`Merge`; a mode that is a function stays, for the user to stand in for."""
    mode = config.get("mode", "sum")
    if mode not in MERGE_MODES or config.get("mode_type", "raw") != "raw":
        return name, config
    kept: Config = {key: config[key] for key in ("name", "trainable") if key in config}
    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        axes = config.get("dot_axes", -1)
        kept["axes"] = axes[0] if isinstance(axes, list) and len(axes) == 1 else axes
        kept["normalize"] = mode == "cos"
    if "layers" in config:
        kept["layers"] = config["layers"]
    return MERGE_MODES[mode], kept


def _lstm(name: str, config: Config) -> Result:
    forget = config.pop("forget_bias_init", None)
    if forget is not None:
        config["unit_forget_bias"] = forget == "one"
    return _recurrent(name, config)


def _recurrent(name: str, config: Config) -> Result:
    config.pop("regularizers", None)
    return name, config


def _pooling(name: str, config: Config) -> Result:
    if isinstance(config.get("pool_size"), list) and name.endswith("1D"):
        config["pool_size"] = config["pool_size"][0]
    if isinstance(config.get("strides"), list) and name.endswith("1D"):
        config["strides"] = config["strides"][0]
    return name, config


def _batch_normalization(name: str, config: Config) -> Result:
    mode = config.pop("mode", 0)
    for key in ("gamma_regularizer", "beta_regularizer"):
        config.setdefault(key, None)
    if mode == 1:
        # Each sample by itself, over the last axis.
        kept = ("name", "trainable", "epsilon", "gamma_initializer", "beta_initializer")
        return "LayerNormalization", {key: config[key] for key in kept if key in config}
    return name, config


def _embedding(name: str, config: Config) -> Result:
    config.pop("dropout", None)
    return name, config


SPECIAL: dict[str, Callable[[str, Config], Result]] = {
    "Conv2DTranspose": _deconvolution,
    "Conv3DTranspose": _deconvolution,
    "Merge": _merge,
    "LSTM": _lstm,
    "GRU": _recurrent,
    "SimpleRNN": _recurrent,
    "ConvLSTM2D": _lstm,
    "MaxPooling1D": _pooling,
    "AveragePooling1D": _pooling,
    "BatchNormalization": _batch_normalization,
    "Embedding": _embedding,
}
