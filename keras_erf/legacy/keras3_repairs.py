"""Configurations in HDF5 files of Keras 3 that Keras 3 itself does not read as it wrote them."""

from __future__ import annotations

from typing import Any

__all__ = ["repaired"]


def repaired(config: Any) -> Any:
    """A configuration that Keras 3 reads from HDF5; the same object if nothing is wrong with it.

    Its reader takes a text that is the name of a function in `keras.layers` for that function, and
    `"dot"`, the default of `Attention`, is one.
    """
    if isinstance(config, list):
        items = [repaired(item) for item in config]
        same = all(new is old for new, old in zip(items, config, strict=True))
        return config if same else items
    if not isinstance(config, dict):
        return config
    inner = {key: repaired(value) for key, value in config.items()}
    own = inner.get("config")
    own = own if isinstance(own, dict) else {}
    if config.get("class_name") == "Attention" and own.get("score_mode") == "dot":
        inner["config"] = {key: value for key, value in own.items() if key != "score_mode"}
    return config if all(inner[key] is config[key] for key in config) else inner
