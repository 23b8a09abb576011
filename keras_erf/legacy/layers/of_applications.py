"""Layers that networks of `keras.applications` define for themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
from keras.src.applications import convnext, inception_resnet_v2

from keras_erf.legacy.translation.configurations import name_of, takes_several

__all__ = ["APPLICATION_LAYERS", "known_lambda"]

APPLICATION_LAYERS: dict[str, Any] = {
    "CustomScaleLayer": inception_resnet_v2.CustomScaleLayer,
    "LayerScale": convnext.LayerScale,
    "StochasticDepth": convnext.StochasticDepth,
}


def known_lambda(layer: Mapping[str, Any]) -> keras.Layer | None:
    """The layer that stands for a Lambda of InceptionResNetV2; `None` for any other Lambda.

    Until 2.12, its residual blocks ended in `inputs[0] + inputs[1] * scale`, with the scale among
    the arguments: nothing of the file is run.

    Args:
        layer: The Lambda's configuration.
    """
    arguments = layer["config"].get("arguments") or {}
    if (
        re.fullmatch(r"block(35|17|8)_\d+", name_of(layer))
        and takes_several(layer)
        and set(arguments) == {"scale"}
        and isinstance(arguments["scale"], int | float)
    ):
        return inception_resnet_v2.CustomScaleLayer(arguments["scale"], name=name_of(layer))
    return None
