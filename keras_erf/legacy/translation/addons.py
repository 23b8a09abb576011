"""Layers of tensorflow-addons, keras-contrib and similar packages, by their counterparts."""

from __future__ import annotations

from collections.abc import Callable

from keras_erf.legacy.architecture import Config

__all__ = ["replaced"]

Result = tuple[str, Config]

COMMON = ("name", "trainable", "dtype", "batch_input_shape")
NORMALIZED = (
    *COMMON, "axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
    "beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint",
)  # fmt: skip


def replaced(name: str, config: Config) -> Result:
    """Class and arguments of what Keras 3 has in place of a layer; unchanged for all others."""
    special = SPECIAL.get(name)
    return special(name, dict(config)) if special else (name, config)


def _kept(config: Config, names: tuple[str, ...]) -> Config:
    return {key: config[key] for key in names if key in config}


def _instance_normalization(name: str, config: Config) -> Result:
    # That of keras-contrib has no groups, and adds `epsilon` to the standard deviation.
    if "groups" not in config:
        return "InstanceNormalization", _kept(config, NORMALIZED)
    return "GroupNormalization", {**_kept(config, NORMALIZED), "groups": -1}


def _group_normalization(name: str, config: Config) -> Result:
    return name, {**_kept(config, NORMALIZED), "groups": config.get("groups", 32)}


def _activation(function: str) -> Callable[[str, Config], Result]:
    def replace(name: str, config: Config) -> Result:
        return "Activation", {**_kept(config, COMMON), "activation": function}

    return replace


def _gelu(name: str, config: Config) -> Result:
    # Their default is the approximation by tanh, which Keras has as a function only.
    approximate = config.get("approximate", True)
    function = "keras_erf>gelu_by_tanh" if approximate else "gelu"
    return "Activation", {**_kept(config, COMMON), "activation": function}


def _adaptive(name: str, config: Config) -> Result:
    return name, _kept(config, (*COMMON, "output_size", "data_format"))


def _weight_normalization(name: str, config: Config) -> Result:
    return name, _kept(config, (*COMMON, "layer", "data_init"))


def _spectral(name: str, config: Config) -> Result:
    return name, _kept(config, (*COMMON, "layer", "power_iterations"))


def _fixed_dropout(name: str, config: Config) -> Result:
    # Of the packages efficientnet and segmentation_models.
    return "Dropout", _kept(config, (*COMMON, "rate", "noise_shape", "seed"))


def _softmax_layer(name: str, config: Config) -> Result:
    return "Activation", {**_kept(config, COMMON), "activation": "sparsemax"}


SPECIAL: dict[str, Callable[[str, Config], Result]] = {
    "InstanceNormalization": _instance_normalization,
    "GroupNormalization": _group_normalization,
    "FixedDropout": _fixed_dropout,
    "GELU": _gelu,
    "Mish": _activation("mish"),
    "Swish": _activation("silu"),
    "SiLU": _activation("silu"),
    "HardSwish": _activation("hard_silu"),
    "Hardswish": _activation("hard_silu"),
    "Relu6": _activation("relu6"),
    "Sparsemax": _softmax_layer,
    "AdaptiveAveragePooling1D": _adaptive,
    "AdaptiveAveragePooling2D": _adaptive,
    "AdaptiveAveragePooling3D": _adaptive,
    "AdaptiveMaxPooling1D": _adaptive,
    "AdaptiveMaxPooling2D": _adaptive,
    "AdaptiveMaxPooling3D": _adaptive,
    "WeightNormalization": _weight_normalization,
    "SpectralNormalization": _spectral,
}
