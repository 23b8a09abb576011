"""Initialisers, activations and other parts of layers, from old configurations to Keras 3's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keras_erf.legacy.architecture import Config

__all__ = [
    "activation",
    "constraint",
    "dtype",
    "initializer",
    "plain",
    "regularizer",
    "tuples",
]

# Names of Keras 1 and classes of TensorFlow 1, by name in Keras 3.
INITIALIZERS = {
    "zero": "Zeros", "zeros": "Zeros", "one": "Ones", "ones": "Ones", "constant": "Constant",
    "uniform": "RandomUniform", "random_uniform": "RandomUniform", "normal": "RandomNormal",
    "random_normal": "RandomNormal", "truncated_normal": "TruncatedNormal",
    "lecun_uniform": "LecunUniform", "lecun_normal": "LecunNormal",
    "glorot_uniform": "GlorotUniform", "glorot_normal": "GlorotNormal",
    "he_uniform": "HeUniform", "he_normal": "HeNormal",
    "identity": "Identity", "orthogonal": "Orthogonal", "variance_scaling": "VarianceScaling",
    "Zeros": "Zeros", "Ones": "Ones", "Constant": "Constant", "Identity": "Identity",
    "RandomUniform": "RandomUniform", "RandomNormal": "RandomNormal",
    "TruncatedNormal": "TruncatedNormal", "Orthogonal": "Orthogonal",
    "OrthogonalInitializer": "Orthogonal", "VarianceScaling": "VarianceScaling",
    "GlorotUniform": "GlorotUniform", "GlorotNormal": "GlorotNormal",
    "HeUniform": "HeUniform", "HeNormal": "HeNormal",
    "LecunUniform": "LecunUniform", "LecunNormal": "LecunNormal",
}  # fmt: skip
INITIALIZER_ARGUMENTS = {
    "Constant": ("value",),
    "RandomUniform": ("minval", "maxval", "seed"),
    "RandomNormal": ("mean", "stddev", "seed"),
    "TruncatedNormal": ("mean", "stddev", "seed"),
    "Orthogonal": ("gain", "seed"),
    "Identity": ("gain",),
    "VarianceScaling": ("scale", "mode", "distribution", "seed"),
    "GlorotUniform": ("seed",), "GlorotNormal": ("seed",), "HeUniform": ("seed",),
    "HeNormal": ("seed",), "LecunUniform": ("seed",), "LecunNormal": ("seed",),
}  # fmt: skip
CONSTRAINTS = {
    "MaxNorm": ("max_value", "axis"), "UnitNorm": ("axis",), "NonNeg": (),
    "MinMaxNorm": ("min_value", "max_value", "rate", "axis"),
}  # fmt: skip
CONSTRAINT_NAMES = {
    "maxnorm": "MaxNorm", "max_norm": "MaxNorm", "unitnorm": "UnitNorm", "unit_norm": "UnitNorm",
    "nonneg": "NonNeg", "non_neg": "NonNeg", "min_max_norm": "MinMaxNorm",
}  # fmt: skip
# What Keras 2 computes under a name that stands for something else, or for nothing, in Keras 3.
ACTIVATIONS = {"hard_sigmoid": "keras_erf>hard_sigmoid_of_keras_2"}
ACTIVATION_NAMES = {
    "swish": "silu", "relu_6": "relu6", "softmax_v2": "softmax", "gelu_new": "gelu",
    "hardtanh": "keras_erf>hard_tanh", "mish": "mish", "lisht": "keras_erf>lisht",
    "tanhshrink": "tanh_shrink", "hardshrink": "hard_shrink", "softshrink": "soft_shrink",
    "LeakyReLU": "leaky_relu", "ELU": "elu", "ReLU": "relu",
}  # fmt: skip
DTYPES = {"floatx": "float32", "_infer": "float32", "infer_from_variable": None}


def plain(value: Any) -> Any:
    """A value without the wrappers in which archives of 2.12 to 2.15 put it."""
    if isinstance(value, Mapping):
        kind, inner = value.get("class_name"), value.get("config")
        if kind in ("__tuple__", "__list__"):
            return tuple(plain(item) for item in value.get("items", ()))
        if kind in ("__tensor__", "__numpy__") and isinstance(inner, Mapping):
            return plain(inner.get("value"))
        if kind == "TensorShape":
            return tuple(plain(item) for item in value.get("items", ()))
        if value.get("type") == "ndarray":
            return value.get("value")
        if value.get("type") in ("list", "tuple") and "value" in value:
            return plain(value["value"])
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def tuples(value: Any) -> Any:
    """Lists, also those in lists, as tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def named(value: Any) -> tuple[str, Config]:
    """Class and arguments of a part of a layer, however the file writes it."""
    if isinstance(value, str):
        return value, {}
    name = str(value.get("class_name") or value.get("name") or "")
    inner = value.get("config")
    if isinstance(inner, str):
        return inner, {}
    if inner is None:
        inner = {key: item for key, item in value.items() if key not in ("class_name", "name")}
    return name, dict(inner)


def _part(module: str, name: str, config: Config) -> Config:
    return {
        "module": f"keras.{module}",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


def _kept(value: Any, known: Mapping[str, str], arguments: Mapping[str, Any], module: str) -> Any:
    if value is None:
        return None
    name, config = named(value)
    name = known.get(name, name)
    if name not in arguments:
        return value
    return _part(module, name, {key: config[key] for key in arguments[name] if key in config})


def initializer(value: Any) -> Any:
    """An initialiser of any Keras as Keras 3 writes it."""
    if isinstance(value, Mapping) and value.get("class_name") == "VarianceScaling":
        config = dict(value.get("config") or {})
        # Keras 2.0 to 2.2 call the truncated distribution normal.
        config["distribution"] = {"normal": "truncated_normal"}.get(
            config.get("distribution", "truncated_normal"), config.get("distribution")
        )
        value = {"class_name": "VarianceScaling", "config": config}
    every = dict.fromkeys(INITIALIZERS.values(), ()) | INITIALIZER_ARGUMENTS
    result = _kept(value, INITIALIZERS, every, "initializers")
    # It draws weights that the file replaces, so that one for another will do.
    if result is value and value is not None:
        return _part("initializers", "GlorotUniform", {})
    return result


def constraint(value: Any) -> Any:
    """A constraint as Keras 3 writes it; `None` for one of the user's own, which only trains."""
    if isinstance(value, Mapping):
        name, config = named(value)
        if "m" in config:  # Keras 1.
            config["max_value"] = config.pop("m")
        value = {"class_name": name, "config": config}
    result = _kept(value, CONSTRAINT_NAMES, CONSTRAINTS, "constraints")
    return None if result is value else result


def regularizer(value: Any) -> Any:
    """A regulariser as Keras 3 writes it; `None` for one of the user's own, which only trains."""
    if value is None:
        return None
    name, config = named(value)
    if name.endswith("OrthogonalRegularizer"):
        return _part(
            "regularizers", "OrthogonalRegularizer",
            {key: config[key] for key in ("factor", "mode") if key in config},
        )  # fmt: skip
    factors = {key: _number(config[key]) for key in ("l1", "l2") if config.get(key) is not None}
    if name.lower() in ("l1", "l2", "l1l2", "l1_l2", "weightregularizer", "l1l2regularizer"):
        return _part("regularizers", "L1L2", factors or {"l1": 0.01})
    return None


def _number(value: Any) -> float:
    return float(value if not isinstance(value, list) else value[0])


def activation(value: Any, known: Callable[[str], bool] = lambda name: False) -> Any:
    """An activation as Keras 3 names it.

    Args:
        value: A name, or what the file writes in its place.
        known: Whether the user gives a function or class of that name.
    """
    if value is None:
        return None
    if isinstance(value, str):
        bare = value.rpartition(">")[2]
        if known(value) or known(bare):
            return value
        return ACTIVATIONS.get(bare, ACTIVATION_NAMES.get(bare, bare))
    name, config = named(value)
    if config and not known(name):
        return {"class_name": name, "config": config, "layer": True}
    return activation(name, known)


def dtype(value: Any) -> Any:
    """A data type or policy as a name."""
    if isinstance(value, Mapping):
        config = value.get("config") or {}
        value = config.get("name") if isinstance(config, Mapping) else config
    if value is None:
        return None
    name = str(value).removesuffix("_ref")
    return DTYPES.get(name, name)
