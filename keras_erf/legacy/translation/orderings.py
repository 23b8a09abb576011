"""The order of axes in files of Keras 1 that do not state it for every layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_erf.legacy.architecture import Config
from keras_erf.legacy.translation.configurations import each_layer

__all__ = ["with_orderings"]

# Layers without `dim_ordering` in files of some versions: the setting of the machine applied.
SILENT = tuple(
    f"{kind}{rank}D"
    for kind in ("UpSampling", "ZeroPadding", "Cropping", "MaxPooling", "AveragePooling",
                 "GlobalMaxPooling", "GlobalAveragePooling")
    for rank in (2, 3)
)  # fmt: skip


def with_orderings(config: Config) -> Config:
    """A model's configuration in which each layer states its order as the others do.

    Args:
        config: The configuration; unchanged.
    """
    stated = {
        layer["config"].get("dim_ordering")
        for layer in each_layer(config)
        if isinstance(layer.get("config"), Mapping)
    }
    return _filled(config) if "th" in stated else config


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    filled = {key: _filled(item) for key, item in value.items()}
    own = filled.get("config")
    if filled.get("class_name") in SILENT and isinstance(own, dict):
        own.setdefault("dim_ordering", "th")
    return filled
